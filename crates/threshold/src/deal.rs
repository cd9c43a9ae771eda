//! A key that one dealer cuts into shares (`SPEC.md`, sections 7 and 14.2): one that exists already, or a 1-of-n one.
//!
//! The dealer has the whole key for a moment. A key that is to be new comes from [`crate::dkg`].

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::rand::SecureRandom;
use zeroize::Zeroizing;

use crate::{
    Culprit, ErrorId, HolderId, Share, ThresholdError,
    contribution::{contribution, draw},
    group::{self, Scalar},
    randomness,
};

/// What a dealer has: a share for each holder, and what the descriptor says. All of one part.
#[derive(Debug)]
pub struct Dealt {
    /// The shares, of generation 1.
    pub shares: BTreeMap<HolderId, Share>,
    /// `C_0 … C_{t-1}`; the first is the public key.
    pub commitments: Vec<[u8; 33]>,
}

/// Deals a fresh key.
///
/// # Errors
/// `argument_invalid` unless `1 <= t <= holders`; `randomness`.
pub fn deal(
    t: u8,
    holders: &BTreeSet<HolderId>,
    rng: &dyn SecureRandom,
) -> Result<Dealt, ThresholdError> {
    deal_scalar(&*randomness::scalar(rng)?, t, holders, rng)
}

/// Deals a key that its owner brings, 32 octets big-endian.
///
/// # Errors
/// As [`deal`]; `scalar_invalid` (culprit: the dealer) if the octets are no private key.
pub fn deal_key(
    key: &[u8; 32],
    t: u8,
    holders: &BTreeSet<HolderId>,
    rng: &dyn SecureRandom,
) -> Result<Dealt, ThresholdError> {
    let scalar = group::decode_scalar(key)
        .map(Zeroizing::new)
        .filter(|scalar| **scalar != Scalar::ZERO)
        .ok_or(ThresholdError::dealer(ErrorId::ScalarInvalid))?;
    deal_scalar(&scalar, t, holders, rng)
}

fn deal_scalar(
    secret: &Scalar,
    t: u8,
    holders: &BTreeSet<HolderId>,
    rng: &dyn SecureRandom,
) -> Result<Dealt, ThresholdError> {
    let first = holders
        .first()
        .copied()
        .filter(|_| t > 0 && usize::from(t) <= holders.len());
    let first = first.ok_or(ThresholdError::new(ErrorId::ArgumentInvalid, Culprit::None))?;
    let mut coefficients = draw(t, rng)?;
    coefficients.insert(0, *secret);
    let dealt = contribution(first, &coefficients, holders, 0)?;
    let shares = dealt
        .values
        .into_iter()
        .map(|(holder, octets)| Ok((holder, Share::from_octets(holder, 1, octets)?)));
    Ok(Dealt {
        shares: shares.collect::<Result<_, ThresholdError>>()?,
        commitments: dealt.commitments,
    })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;

    use super::*;

    #[test]
    fn a_key_that_was_brought_is_the_sum_of_its_weighted_shares() {
        let holders: BTreeSet<_> = (1..=3).filter_map(HolderId::new).collect();
        let key = [0x42; 32];
        let dealt = deal_key(&key, 2, &holders, &SystemRandom::new()).unwrap();
        let scalar = group::decode_scalar(&key).unwrap();
        let public = group::encode(&group::multiply_generator(&scalar));
        assert_eq!(dealt.commitments.first(), public.as_ref());
        for left_out in &holders {
            let set: Vec<_> = holders
                .iter()
                .copied()
                .filter(|one| one != left_out)
                .collect();
            let sum = set.iter().fold(Scalar::ZERO, |sum, one| {
                sum + group::lagrange(&set, *one, 0).unwrap() * dealt.shares[one].scalar()
            });
            assert_eq!(sum, scalar);
        }
    }

    #[test]
    fn what_is_no_private_key_and_impossible_thresholds_are_refused() {
        let rng = SystemRandom::new();
        let holders: BTreeSet<_> = (1..=3).filter_map(HolderId::new).collect();
        for key in [[0; 32], [0xFF; 32]] {
            assert_eq!(
                deal_key(&key, 2, &holders, &rng).unwrap_err(),
                ThresholdError::dealer(ErrorId::ScalarInvalid)
            );
        }
        for t in [0, 4] {
            let error = deal(t, &holders, &rng).unwrap_err();
            assert_eq!(error.id, ErrorId::ArgumentInvalid);
        }
    }
}
