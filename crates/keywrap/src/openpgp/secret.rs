//! Secret keys (RFC 9580, section 5.5.3): which of a file can decrypt, and how they are unlocked.

use aws_lc_rs::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, digest},
    rsa::Pkcs1PrivateDecryptingKey,
};
use der::{Encode, asn1::UintRef};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use super::{
    DecryptionKey, MAX_DERIVED_OCTETS,
    algorithm::{BLOCK_LEN, Cipher, cipher_name},
    armor,
    certificate::MAY_ENCRYPT,
    ecdh::Agreement,
    key::{Key, Material},
    packet::{Octets, PUBLIC_KEY, Packet, Packets, SECRET_KEY, SECRET_SUBKEY, SIGNATURE},
    s2k::Specifier,
    signature::Signature,
};
use crate::{
    KeyError, Password,
    keys::{MAX_FILE_LEN, MAX_KEYS, rsa_decrypting_key},
};

/// Reads every secret key that can decrypt in a binary or armoured file.
///
/// Whether a key has expired, was revoked or is bound to another is not asked: what was sealed for it may still be opened.
/// Passed over are keys that can only sign, keys of algorithms that are not implemented, and secrets that gpg left out.
///
/// # Errors
/// [`KeyError`]; a file in which one of the keys for decryption cannot be unlocked is refused whole, and one that holds none
/// says why.
pub fn parse_secret(
    file: &[u8],
    password: Option<&Password>,
) -> Result<Vec<DecryptionKey>, KeyError> {
    if file.len() > MAX_FILE_LEN {
        return Err(KeyError::TooLarge {
            limit: MAX_FILE_LEN,
        });
    }
    let octets = armor::decode(file, armor::Kind::SecretKeys)?;
    let packets: Vec<Packet> = Packets::new(&octets).collect::<Result<_, _>>()?;
    match packets.first().map(|packet| packet.tag) {
        Some(SECRET_KEY) => {}
        Some(PUBLIC_KEY) => return Err(KeyError::PrivateExpected),
        _ => return Err(KeyError::NotAKey),
    }
    let mut keys = Vec::new();
    let mut passed_over = None;
    let mut budget = MAX_DERIVED_OCTETS;
    for (index, packet) in packets.iter().enumerate() {
        if !matches!(packet.tag, SECRET_KEY | SECRET_SUBKEY) {
            continue;
        }
        let behind = packets.get(index + 1..).unwrap_or_default();
        match secret_key(packet, behind, password, &mut budget) {
            Ok(key) if keys.len() < MAX_KEYS => keys.push(key),
            Ok(_) => return Err(KeyError::TooMany { limit: MAX_KEYS }),
            Err(Skipped::Reason(reason)) => passed_over = Some(more_telling(passed_over, reason)),
            Err(Skipped::Fatal(error)) => return Err(error),
        }
    }
    if keys.is_empty() {
        return Err(passed_over.unwrap_or(KeyError::NotAKey));
    }
    Ok(keys)
}

/// Why a key of a file is not among those returned.
enum Skipped {
    /// Others may do.
    Reason(KeyError),
    /// Nobody may take the file for whole.
    Fatal(KeyError),
}

impl<T: Into<KeyError>> From<T> for Skipped {
    fn from(error: T) -> Self {
        Self::Fatal(error.into())
    }
}

fn secret_key(
    packet: &Packet,
    behind: &[Packet],
    password: Option<&Password>,
    budget: &mut usize,
) -> Result<DecryptionKey, Skipped> {
    let (key, rest) = match Key::read(&packet.body) {
        Err(error @ KeyError::UnsupportedType { .. }) => return Err(Skipped::Reason(error)),
        other => other?,
    };
    if let Material::Other(name) = &key.material {
        return Err(Skipped::Reason(KeyError::unsupported_type(name)));
    }
    if !key.can_encrypt() || !may_decrypt(behind) {
        return Err(Skipped::Reason(KeyError::NotForDecryption));
    }
    let integers = unlock(rest, password, budget)?;
    let mut integers = Octets(&integers);
    let material = match &key.material {
        Material::Rsa { modulus, exponent } => {
            let (d, p, q) = (
                integers.integer()?,
                integers.integer()?,
                integers.integer()?,
            );
            let u = integers.integer()?;
            let der = rsa_der(modulus, exponent, d, p, q, u)
                .ok_or(KeyError::malformed("RSA secret key"))?;
            let decrypting = rsa_decrypting_key(&der)?;
            super::Secret::Rsa(
                Pkcs1PrivateDecryptingKey::new(decrypting)
                    .map_err(|_| KeyError::malformed("RSA secret key"))?,
            )
        }
        Material::Ecdh(public) => super::Secret::Ecdh(
            Agreement::new(public, integers.integer()?)
                .ok_or(KeyError::malformed("ECDH secret key"))?,
            public.clone(),
        ),
        _ => return Err(Skipped::Reason(KeyError::NotForDecryption)),
    };
    integers.end()?;
    Ok(DecryptionKey::new(&key, material))
}

/// Returns whether any of the signatures up to the next key lets it decrypt, or none says what it is for.
///
/// They are not verified: the file is its owner's, and the worst that comes of it is one attempt more.
fn may_decrypt(behind: &[Packet]) -> bool {
    let mut flags = behind
        .iter()
        .take_while(|packet| !matches!(packet.tag, SECRET_KEY | SECRET_SUBKEY))
        .filter(|packet| packet.tag == SIGNATURE)
        .filter_map(|packet| Signature::read(&packet.body).ok().flatten())
        .filter_map(|signature| signature.claims.flags)
        .peekable();
    flags.peek().is_none() || flags.any(|flags| flags & MAY_ENCRYPT != 0)
}

/// Returns the secret numbers, each as it stands in the packet, without the check behind them.
fn unlock(
    mut rest: Octets<'_>,
    password: Option<&Password>,
    budget: &mut usize,
) -> Result<Zeroizing<Vec<u8>>, Skipped> {
    match rest.octet()? {
        0 => {
            let (integers, sum) = rest
                .0
                .split_last_chunk::<2>()
                .ok_or(KeyError::malformed("secret key ends early"))?;
            if checksum(integers).to_be_bytes() != *sum {
                return Err(KeyError::malformed("secret key and its sum differ").into());
            }
            Ok(Zeroizing::new(integers.to_vec()))
        }
        usage @ (SHA1_CHECKED | SUM_CHECKED) => {
            let number = rest.octet()?;
            let specifier = Specifier::read(&mut rest)?;
            if matches!(specifier, Specifier::Absent) {
                return Err(Skipped::Reason(KeyError::SecretElsewhere));
            }
            if usage == SUM_CHECKED {
                // Whoever changes the file could go undetected, and use the key's answers.
                let what = "secret key with a sum of 16 bits";
                return Err(KeyError::unsupported_encryption(what).into());
            }
            let cipher = Cipher::from_number(number)
                .ok_or_else(|| KeyError::unsupported_encryption(&cipher_name(number)))?;
            let iv: [u8; BLOCK_LEN] = rest.array()?;
            let password = password.ok_or(KeyError::PasswordMissing)?;
            let derived = specifier.derive(password, cipher.key_len(), budget)?;
            let mut octets = Zeroizing::new(rest.0.to_vec());
            cipher
                .decrypt(&derived, iv, &mut octets)
                .ok_or(KeyError::PasswordWrong)?;
            let length = octets.len().saturating_sub(SHA1_LEN);
            let (integers, sum) = octets.split_at(length);
            let expected = digest(&SHA1_FOR_LEGACY_USE_ONLY, integers);
            if bool::from(!expected.as_ref().ct_eq(sum)) {
                return Err(KeyError::PasswordWrong.into());
            }
            octets.truncate(length);
            Ok(octets)
        }
        253 => Err(KeyError::unsupported_encryption("AEAD").into()),
        other => Err(KeyError::unsupported_encryption(&cipher_name(other)).into()),
    }
}

/// Returns the sum of all octets (section 5.5.3).
pub(super) fn checksum(octets: &[u8]) -> u16 {
    octets
        .iter()
        .fold(0, |sum, octet| sum.wrapping_add((*octet).into()))
}

/// Renders an `RSAPrivateKey` (RFC 8017, appendix A.1.2) for the library, which checks all numbers against each other.
///
/// OpenPGP has `u`, the inverse of p modulo q, where PKCS #1 has that of its second prime modulo its first: so q comes first.
fn rsa_der(
    n: &[u8],
    e: &[u8],
    d: &[u8],
    p: &[u8],
    q: &[u8],
    u: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let at_first = remainder_of_predecessor(d, q)?;
    let at_second = remainder_of_predecessor(d, p)?;
    let key = pkcs1::RsaPrivateKeyRef {
        modulus: UintRef::new(n).ok()?,
        public_exponent: UintRef::new(e).ok()?,
        private_exponent: UintRef::new(d).ok()?,
        prime1: UintRef::new(q).ok()?,
        prime2: UintRef::new(p).ok()?,
        exponent1: UintRef::new(&at_first).ok()?,
        exponent2: UintRef::new(&at_second).ok()?,
        coefficient: UintRef::new(u).ok()?,
        other_prime_infos: None,
    };
    key.to_der().ok().map(Zeroizing::new)
}

/// Returns `number` modulo `prime - 1`, in time that depends on their lengths alone.
fn remainder_of_predecessor(number: &[u8], prime: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if number.len() > MAX_INTEGER_LEN || prime.len() > MAX_INTEGER_LEN {
        return None;
    }
    // One octet of room for doubling. A prime is odd; what is not one the library refuses.
    let mut modulus = Zeroizing::new([&[0], prime].concat());
    *modulus.last_mut()? &= 0xfe;
    let mut remainder = Zeroizing::new(vec![0_u8; modulus.len()]);
    let mut difference = Zeroizing::new(vec![0_u8; modulus.len()]);
    for octet in number {
        for shift in (0..8).rev() {
            let mut carry = (octet >> shift) & 1;
            for digit in remainder.iter_mut().rev() {
                let doubled = u16::from(*digit) << 1 | u16::from(carry);
                [carry, *digit] = doubled.to_be_bytes();
            }
            let mut borrow = 0_u8;
            let digits = remainder.iter().zip(modulus.iter()).rev();
            for (target, (left, right)) in difference.iter_mut().rev().zip(digits) {
                let [high, low] = u16::from(*left)
                    .wrapping_sub(u16::from(*right) + u16::from(borrow))
                    .to_be_bytes();
                *target = low;
                borrow = high & 1;
            }
            let fits = Choice::from(1 ^ borrow);
            for (digit, reduced) in remainder.iter_mut().zip(difference.iter()) {
                digit.conditional_assign(reduced, fits);
            }
        }
    }
    Some(remainder)
}

fn more_telling(seen: Option<KeyError>, new: KeyError) -> KeyError {
    match (seen, new) {
        (Some(seen), KeyError::NotForDecryption) => seen,
        (Some(seen @ KeyError::SecretElsewhere), KeyError::UnsupportedType { .. }) => seen,
        (_, new) => new,
    }
}

const SHA1_CHECKED: u8 = 254;
const SUM_CHECKED: u8 = 255;
const SHA1_LEN: usize = 20;
/// Longest number of an RSA key of 8192 bits.
const MAX_INTEGER_LEN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainders_are_those_of_division() {
        for (number, prime) in [
            (0_u64, 3_u64),
            (1, 3),
            (2, 3),
            (0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_fffd),
            (0xfedc_ba98_7654_3211, 0x1_0001),
            (0x1234_5678_9abc_def1, 0xffff_fffb),
            (12, 251),
        ] {
            let found = remainder_of_predecessor(&number.to_be_bytes(), &prime.to_be_bytes())
                .expect("a remainder");
            let found = found
                .iter()
                .fold(0_u64, |sum, octet| sum << 8 | u64::from(*octet));
            assert_eq!(found, number % (prime - 1), "{number} {prime}");
        }
    }
}
