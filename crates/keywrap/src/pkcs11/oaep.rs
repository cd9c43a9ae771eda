//! EME-OAEP decoding in software (RFC 8017, section 7.1.2, step 3), for tokens that only offer the raw RSA operation.
//!
//! What is decoded depends on a private key: one answer for all that can be wrong with it, and neither a branch nor an
//! address that depends on the octets before that answer is known (Manger, CRYPTO 2001).

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::jwe::OaepHash;

/// Returns how many octets a modulus of `modulus_len` octets can carry.
pub fn capacity(hash: OaepHash, modulus_len: usize) -> usize {
    modulus_len.saturating_sub(2 * hash_of(hash).output_len() + 2)
}

/// Decodes `0x00 ‖ maskedSeed ‖ maskedDB`, as long as the modulus, with an empty label; `None` whatever is wrong.
pub fn decode(hash: OaepHash, encoded: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let algorithm = hash_of(hash);
    let hash_len = algorithm.output_len();
    // The length is that of the modulus, which everybody knows.
    if encoded.len() < 2 * hash_len + 2 {
        return None;
    }
    let (first, masked) = encoded.split_first()?;
    let (masked_seed, masked_db) = masked.split_at_checked(hash_len)?;
    let mut seed = Zeroizing::new(masked_seed.to_vec());
    mask(algorithm, masked_db, &mut seed)?;
    let mut db = Zeroizing::new(masked_db.to_vec());
    mask(algorithm, &seed, &mut db)?;

    let label = digest::digest(algorithm, b"");
    let (label_found, rest) = db.split_at_checked(hash_len)?;
    let mut good = first.ct_eq(&0) & label_found.ct_eq(label.as_ref());
    // Before the 0x01 that ends the padding, everything is zero.
    let mut in_padding = Choice::from(1);
    let mut end = 0_u32;
    for (position, octet) in (0_u32..).zip(rest) {
        let is_end = in_padding & octet.ct_eq(&1);
        end.conditional_assign(&position, is_end);
        good &= !in_padding | octet.ct_eq(&0) | octet.ct_eq(&1);
        in_padding &= !octet.ct_eq(&1);
    }
    good &= !in_padding;
    // From here on the answer is public: it is what is returned.
    if !bool::from(good) {
        return None;
    }
    let message = rest.get(usize::try_from(end).ok()?.checked_add(1)?..)?;
    Some(Zeroizing::new(message.to_vec()))
}

/// MGF1 (RFC 8017, appendix B.2.1), added to `target`.
fn mask(algorithm: &'static digest::Algorithm, seed: &[u8], target: &mut [u8]) -> Option<()> {
    for (counter, block) in (0_u32..).zip(target.chunks_mut(algorithm.output_len())) {
        let mut context = digest::Context::new(algorithm);
        context.update(seed);
        context.update(&counter.to_be_bytes());
        let octets = context.finish();
        for (octet, mask) in block.iter_mut().zip(octets.as_ref()) {
            *octet ^= mask;
        }
    }
    Some(())
}

fn hash_of(hash: OaepHash) -> &'static digest::Algorithm {
    match hash {
        OaepHash::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
        OaepHash::Sha256 => &SHA256,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EME-OAEP encoding with every part to choose, the inverse of what is tested.
    fn encode(hash: OaepHash, first: u8, label: &[u8], tail: &[u8]) -> Vec<u8> {
        let algorithm = hash_of(hash);
        let mut db = digest::digest(algorithm, label).as_ref().to_vec();
        db.extend(tail);
        let seed = vec![0x5a; algorithm.output_len()];
        mask(algorithm, &seed, &mut db).unwrap();
        let mut masked_seed = seed;
        mask(algorithm, &db, &mut masked_seed).unwrap();
        [&[first], &masked_seed[..], &db].concat()
    }

    fn decoded(hash: OaepHash, encoded: &[u8]) -> Option<Vec<u8>> {
        decode(hash, encoded).map(|message| message.to_vec())
    }

    #[test]
    fn the_message_begins_behind_the_first_one() {
        for hash in [OaepHash::Sha1, OaepHash::Sha256] {
            for (tail, message) in [
                (&[1][..], &[][..]),
                (&[1, 7, 8], &[7, 8]),
                (&[0, 0, 1, 1, 0, 2], &[1, 0, 2]),
                (&[0, 0, 0, 1], &[]),
            ] {
                let encoded = encode(hash, 0, b"", tail);
                assert_eq!(decoded(hash, &encoded), Some(message.to_vec()), "{tail:?}");
            }
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for hash in [OaepHash::Sha1, OaepHash::Sha256] {
            for (first, label, tail) in [
                (1, &b""[..], &[0, 0, 1, 7][..]),
                (0x80, b"", &[0, 0, 1, 7]),
                (0, b"x", &[0, 0, 1, 7]),
                (0, b"", &[0, 0, 0, 0]),
                (0, b"", &[0, 2, 1, 7]),
                (0, b"", &[2, 0, 1, 7]),
                (0, b"", &[0x81, 0, 1, 7]),
                (0, b"", &[0, 0xff, 0, 0]),
            ] {
                let encoded = encode(hash, first, label, tail);
                assert_eq!(decoded(hash, &encoded), None, "{first} {label:?} {tail:?}");
            }
            let good = encode(hash, 0, b"", &[0, 0, 1, 7]);
            let other = match hash {
                OaepHash::Sha1 => OaepHash::Sha256,
                OaepHash::Sha256 => OaepHash::Sha1,
            };
            assert_eq!(decoded(other, &good), None);
            for len in 0..good.len() {
                assert_eq!(decoded(hash, &good[..len]), None, "{len} octets");
            }
        }
    }

    #[test]
    fn every_octet_counts() {
        let good = encode(OaepHash::Sha256, 0, b"", &[0, 0, 0, 0, 1, 7, 7, 7, 7]);
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 0x10;
            assert_ne!(
                decoded(OaepHash::Sha256, &bad),
                Some(vec![7; 4]),
                "{position}"
            );
        }
    }

    #[test]
    fn capacities_are_those_of_ocicrypt() {
        for (hash, bits, octets) in [
            (OaepHash::Sha1, 2048, 214),
            (OaepHash::Sha256, 2048, 190),
            (OaepHash::Sha256, 3072, 318),
            (OaepHash::Sha256, 512, 0),
        ] {
            assert_eq!(capacity(hash, bits / 8), octets);
        }
    }
}
