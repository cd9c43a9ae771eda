//! Keys out of passphrases (RFC 9580, section 3.7), as secret keys are protected with them.

use aws_lc_rs::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};
use zeroize::Zeroizing;

use super::{MAX_DERIVED_OCTETS, algorithm::hash_name, packet::Octets};
use crate::{KeyError, Password};

/// How a passphrase becomes a key.
pub(super) enum Specifier {
    /// Salted, and hashed again until so many octets were hashed.
    Salted {
        hash: &'static Algorithm,
        salt: [u8; 8],
        count: usize,
    },
    /// Not with this file: gpg's mark for secrets that it left out, or keeps on a card.
    Absent,
}

impl Specifier {
    pub(super) fn read(rest: &mut Octets<'_>) -> Result<Self, KeyError> {
        let kind = rest.octet()?;
        let number = rest.octet()?;
        if kind == GNU_EXTENSION {
            return match rest.take(4)? {
                // Nothing follows the first, and the serial number of a card the second.
                b"GNU\x01" | b"GNU\x02" => Ok(Self::Absent),
                _ => Err(KeyError::unsupported_encryption("extension of GnuPG")),
            };
        }
        let hash = match number {
            2 => &SHA1_FOR_LEGACY_USE_ONLY,
            8 => &SHA256,
            9 => &SHA384,
            10 => &SHA512,
            other => return Err(KeyError::unsupported_encryption(&hash_name(other))),
        };
        let (salt, count) = match kind {
            1 => (rest.array()?, 0),
            3 => {
                let salt = rest.array()?;
                let coded = rest.octet()?;
                // At most 65 011 712.
                (salt, (16 + usize::from(coded & 15)) << ((coded >> 4) + 6))
            }
            4 => return Err(KeyError::unsupported_encryption("Argon2")),
            _ => return Err(KeyError::unsupported_encryption("S2K without salt")),
        };
        Ok(Self::Salted { hash, salt, count })
    }

    /// Derives a key of `length` octets; what is hashed is taken from `budget`.
    pub(super) fn derive(
        &self,
        password: &Password,
        length: usize,
        budget: &mut usize,
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let Self::Salted { hash, salt, count } = self else {
            return Err(KeyError::PrivateExpected);
        };
        let unit = Zeroizing::new([&salt[..], password.expose()].concat());
        let total = (*count).max(unit.len());
        // Several rounds, each with one more zero in front, where the hash is shorter than the key.
        let rounds = length.div_ceil(hash.output_len());
        *budget = total
            .checked_mul(rounds)
            .and_then(|cost| budget.checked_sub(cost))
            .ok_or_else(|| {
                KeyError::unsupported_encryption(&format!("S2K beyond {MAX_DERIVED_OCTETS} octets"))
            })?;
        // Calls cost more than what they hash if there are millions.
        let block = Zeroizing::new(unit.repeat((BLOCK_LEN / unit.len()).max(1)));
        let mut key = Zeroizing::new(Vec::with_capacity(rounds * hash.output_len()));
        for round in 0..rounds {
            let mut context = Context::new(hash);
            context.update(&vec![0; round]);
            let mut left = total;
            while let Some(rest) = left.checked_sub(block.len()) {
                context.update(&block);
                left = rest;
            }
            context.update(block.get(..left).unwrap_or_default());
            key.extend_from_slice(context.finish().as_ref());
        }
        key.truncate(length);
        Ok(key)
    }
}

const BLOCK_LEN: usize = 8192;
const GNU_EXTENSION: u8 = 101;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hashed_is_counted_against_the_budget() {
        let dearest = [3, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0xff];
        let specifier = Specifier::read(&mut Octets(&dearest)).expect("a specifier");
        let password = Password::from("x");
        let derive = |budget: usize| {
            let mut left = budget;
            let key = specifier.derive(&password, 32, &mut left);
            key.map(|key| (key.len(), left))
        };
        assert_eq!(derive(65_011_712), Ok((32, 0)));
        let limit = KeyError::unsupported_encryption("S2K beyond 2080374784 octets");
        assert_eq!(derive(65_011_711), Err(limit));
    }
}
