//! Octet-wise Shamir sharing over GF(2^8), polynomial 0x11B (section 16.1).
//!
//! No table, no branch and no index depends on a secret. The coefficients are uniform over all 256 values, zero
//! included; leaving zero out would tell two shares of the same secret apart (RUSTSEC-2024-0398).

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::rand::SecureRandom;
use subtle::{Choice, ConditionallySelectable};
use zeroize::Zeroizing;

use crate::{
    HolderId,
    error::{Culprit, ErrorId, ThresholdError},
    randomness,
};

/// Length of what is shared, and of each share.
pub const SECRET_LEN: usize = 32;

/// Thirty-two octets that are a secret or one share of it; wiped on drop.
pub type Octets = Zeroizing<[u8; SECRET_LEN]>;

/// Splits `secret` so that any `t` of `holders` can rebuild it and fewer learn nothing.
///
/// # Errors
/// `argument_invalid` unless `1 <= t <= holders`; `randomness`.
pub fn split(
    secret: &[u8; SECRET_LEN],
    t: u8,
    holders: &BTreeSet<HolderId>,
    rng: &dyn SecureRandom,
) -> Result<BTreeMap<HolderId, Octets>, ThresholdError> {
    if t == 0 || usize::from(t) > holders.len() {
        return Err(ThresholdError::new(ErrorId::ArgumentInvalid, Culprit::None));
    }
    let mut coefficients = vec![Zeroizing::new(*secret)];
    for _ in 1..t {
        coefficients.push(randomness::octets(rng)?);
    }
    Ok(holders
        .iter()
        .map(|&holder| (holder, evaluate(&coefficients, holder)))
        .collect())
}

/// Rebuilds the secret from shares; too few or wrong shares give another value, not an error.
pub fn combine(shares: &BTreeMap<HolderId, Octets>) -> Octets {
    let mut secret = Zeroizing::new([0; SECRET_LEN]);
    for (&holder, share) in shares {
        let weight = shares
            .keys()
            .filter(|&&other| other != holder)
            .fold(1, |weight, other| {
                // lambda = prod j / (j - i); subtraction is addition here.
                let quotient = multiply(other.get(), inverse(other.get() ^ holder.get()));
                multiply(weight, quotient)
            });
        for (sum, &octet) in secret.iter_mut().zip(share.iter()) {
            *sum ^= multiply(octet, weight);
        }
    }
    secret
}

/// Evaluates the polynomials, constant term first, at the abscissa of one holder.
pub(crate) fn evaluate(coefficients: &[Octets], holder: HolderId) -> Octets {
    let mut value = Zeroizing::new([0; SECRET_LEN]);
    for coefficient in coefficients.iter().rev() {
        for (sum, &octet) in value.iter_mut().zip(coefficient.iter()) {
            *sum = multiply(*sum, holder.get()) ^ octet;
        }
    }
    value
}

/// Multiplies in GF(2^8), in constant time.
fn multiply(mut a: u8, b: u8) -> u8 {
    let mut product = 0;
    for bit in 0..u8::BITS {
        product ^= u8::conditional_select(&0, &a, Choice::from((b >> bit) & 1));
        let reduction = u8::conditional_select(&0, &POLYNOMIAL, Choice::from(a >> 7));
        a = (a << 1) ^ reduction;
    }
    product
}

/// Inverts in GF(2^8) as the power 254, in constant time; zero gives zero.
fn inverse(a: u8) -> u8 {
    let mut square = a;
    let mut product = 1;
    for _ in 1..u8::BITS {
        square = multiply(square, square);
        product = multiply(product, square);
    }
    product
}

/// 0x11B without its leading term.
const POLYNOMIAL: u8 = 0x1B;

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;

    use super::*;

    #[test]
    fn multiplication_and_inversion_agree_with_logarithm_tables() {
        let (log, exp) = tables();
        let product = |a: u8, b: u8| match (a, b) {
            (0, _) | (_, 0) => 0,
            _ => exp[(usize::from(log[usize::from(a)]) + usize::from(log[usize::from(b)])) % 255],
        };
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(multiply(a, b), product(a, b), "{a} * {b}");
            }
            let expected = match a {
                0 => 0,
                _ => exp[(255 - usize::from(log[usize::from(a)])) % 255],
            };
            assert_eq!(inverse(a), expected, "1 / {a}");
        }
    }

    #[test]
    fn every_subset_of_t_rebuilds_the_secret_and_no_smaller_one_does() {
        for n in 1..=6_u8 {
            for t in 1..=n {
                let secret = [t * 16 + n; SECRET_LEN];
                let shares = split(&secret, t, &holders(n), &SystemRandom::new()).unwrap();
                for mask in 1_u32..1 << n {
                    let subset: BTreeMap<_, _> = shares
                        .iter()
                        .filter(|(holder, _)| mask >> (holder.get() - 1) & 1 == 1)
                        .map(|(&holder, share)| (holder, share.clone()))
                        .collect();
                    let rebuilt = *combine(&subset) == secret;
                    assert_eq!(
                        rebuilt,
                        subset.len() >= usize::from(t),
                        "{t} of {n}: {mask:b}"
                    );
                }
            }
        }
    }

    /// What RUSTSEC-2024-0398 got wrong: a share equal to the secret must be as likely as any other.
    #[test]
    fn zero_coefficients_are_drawn() {
        let secret = [0xA5; SECRET_LEN];
        let seen = (0..256).any(|_| {
            let shares = split(&secret, 2, &holders(2), &SystemRandom::new()).unwrap();
            shares.values().any(|share| share.contains(&0xA5))
        });
        assert!(seen);
    }

    #[test]
    fn a_threshold_of_zero_or_above_the_holders_is_refused() {
        for t in [0, 4] {
            let error = split(&[1; SECRET_LEN], t, &holders(3), &SystemRandom::new()).unwrap_err();
            assert_eq!(error.id, ErrorId::ArgumentInvalid);
        }
    }

    fn holders(n: u8) -> BTreeSet<HolderId> {
        (1..=n).filter_map(HolderId::new).collect()
    }

    /// Powers of the generator 3, as every AES text prints them.
    fn tables() -> ([u8; 256], [u8; 255]) {
        let (mut log, mut exp) = ([0; 256], [0; 255]);
        let mut power = 1_u8;
        for (exponent, entry) in (0..=254).zip(&mut exp) {
            *entry = power;
            log[usize::from(power)] = exponent;
            let double = (power << 1) ^ if power & 0x80 == 0 { 0 } else { 0x1B };
            power ^= double;
        }
        (log, exp)
    }
}
