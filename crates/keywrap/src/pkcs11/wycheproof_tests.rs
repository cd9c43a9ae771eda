//! Wycheproof's vectors for RSAES-OAEP, with the raw RSA operation in software where a token would perform it.

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U2048, U3072, U4096, Uint};
use wycheproof::rsa_oaep::{TestName, TestSet};

use super::oaep;
use crate::jwe::OaepHash;

/// `ciphertext ^ d mod n` as a token computes it (`CKM_RSA_X_509`): `None` for what is not below the modulus.
fn raw<const LIMBS: usize>(n: &[u8], d: &[u8], ciphertext: &[u8]) -> Option<Vec<u8>> {
    let number = |octets: &[u8]| {
        let len = Uint::<LIMBS>::BYTES;
        let significant = octets
            .iter()
            .position(|octet| *octet != 0)
            .unwrap_or(octets.len());
        let octets = &octets[significant..];
        let mut padded = vec![0; len.checked_sub(octets.len())?];
        padded.extend(octets);
        Some(Uint::<LIMBS>::from_be_slice(&padded))
    };
    let (n, c) = (number(n)?, number(ciphertext)?);
    if ciphertext.len() != Uint::<LIMBS>::BYTES || c >= n {
        return None;
    }
    let parameters = FixedMontyParams::new_vartime(Odd::new(n).into_option()?);
    let power = FixedMontyForm::new(&c, &parameters).pow_vartime(&number(d)?);
    Some(power.retrieve().to_be_bytes().as_ref().to_vec())
}

fn opens_what_is_valid(name: TestName, hash: OaepHash, expected: (usize, usize)) {
    let (mut count, mut opened) = (0, 0);
    for group in TestSet::load(name).unwrap().test_groups {
        let (n, d) = (&group.key.n, &group.key.d);
        for test in &group.tests {
            let encoded = match group.key_size {
                2048 => raw::<{ U2048::LIMBS }>(n, d, &test.ct),
                3072 => raw::<{ U3072::LIMBS }>(n, d, &test.ct),
                4096 => raw::<{ U4096::LIMBS }>(n, d, &test.ct),
                other => panic!("{other} bits"),
            };
            let decoded = encoded.and_then(|encoded| oaep::decode(hash, &encoded));
            // No element has a label: what was encrypted with one must not open.
            let valid = !test.result.must_fail() && test.label.is_empty();
            assert_eq!(
                decoded.as_deref(),
                valid.then(|| test.pt.to_vec()).as_ref(),
                "{}",
                test.tc_id
            );
            count += 1;
            opened += usize::from(valid);
        }
    }
    assert_eq!((count, opened), expected, "{name:?}");
}

#[test]
fn sha1() {
    opens_what_is_valid(TestName::Rsa2048Sha1Mgf1Sha1, OaepHash::Sha1, (36, 10));
}

#[test]
fn sha256() {
    for (name, expected) in [
        (TestName::Rsa2048Sha256Mgf1Sha256, (37, 10)),
        (TestName::Rsa3072Sha256Mgf1Sha256, (37, 10)),
        (TestName::Rsa4096Sha256Mgf1Sha256, (37, 10)),
    ] {
        opens_what_is_valid(name, OaepHash::Sha256, expected);
    }
}
