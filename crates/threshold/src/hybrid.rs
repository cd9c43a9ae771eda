//! Suite `P256-TDH2+SSS-HPKE-XWING`: both secrets are needed (`SPEC.md`, section 17).
//!
//! The P-256 half is that of the default suite with a challenge, a second generator and a key derivation of its own;
//! the other half is the share list of [`crate::sss`]. A holder answers with both or not at all.

use std::borrow::Borrow;

use aws_lc_rs::rand::SecureRandom;
use sealift_keywrap::LayerSecret;
use zeroize::Zeroizing;

use crate::{
    CheckedWrap, CombineError, Combined, Culprit, ErrorId, GroupKey, HolderId, HpkePrivateKey,
    Label, PartialDecryption, Share, Suite, ThresholdError, Wrap,
    combine::{Attempt, Proofs, combine},
    dem::WrapKey,
    gf256,
    group::{self, EncodedPoint, Point, Scalar, domain},
    partial::Question,
    randomness,
    share_list::{Binding, ShareList, WrapShare},
    wrap::sha256,
};

impl GroupKey {
    /// Checks a wrap of this suite as section 9 says, with the challenge of section 17.
    ///
    /// # Errors
    /// As [`Wrap::check`].
    pub fn check_hybrid<'a>(
        &self,
        wrap: &'a Wrap,
    ) -> Result<CheckedHybridWrap<'a>, ThresholdError> {
        if wrap.suite() != Suite::Hybrid {
            return Err(ThresholdError::presenter(ErrorId::SuiteMismatch));
        }
        if self.suite() != Suite::Hybrid {
            return Err(ThresholdError::presenter(ErrorId::KeyMismatch));
        }
        Ok(CheckedHybridWrap {
            tdh2: wrap.check_proof(self, domain::HYBRID_CHALLENGE)?,
            list: ShareList::parse(wrap.list())?,
            t: self.receivers()?.t,
        })
    }

    /// Wraps with given exponents, neither of which may be zero.
    pub(crate) fn wrap_hybrid_with(
        &self,
        label: &Label,
        plaintext: &[u8],
        exponents: [&Scalar; 2],
        rng: &dyn SecureRandom,
    ) -> Result<Wrap, ThresholdError> {
        let octets = label.encode()?;
        let secret = randomness::octets(rng)?;
        let binding = Binding::new(label, &octets);
        let list = ShareList::seal(&secret, self.receivers()?, &binding, rng)?.encode();
        let key = |y: &EncodedPoint, x: &[u8; 32], r1: &[u8]| {
            wrap_key(y, x, &secret, [r1, &octets, &list])
        };
        let compact = self.prove(Suite::Hybrid, &octets, plaintext, exponents, &list, key)?;
        Wrap::parse(&compact)
    }
}

/// A wrap of this suite that passed every check of section 9.
#[derive(Clone, Debug)]
pub struct CheckedHybridWrap<'a> {
    tdh2: CheckedWrap<'a>,
    list: ShareList,
    t: u8,
}

/// What one holder answers: both halves. The share is wiped on drop.
#[derive(Debug)]
pub struct HybridAnswer {
    /// The partial of the P-256 half.
    pub partial: PartialDecryption,
    /// The share of the other half.
    pub share: WrapShare,
}

impl CheckedHybridWrap<'_> {
    /// Opens the sealed share of one holder.
    ///
    /// # Errors
    /// `share_open_failed`, `share_commitment_mismatch`.
    pub fn open_share(
        &self,
        holder: HolderId,
        key: &HpkePrivateKey,
    ) -> Result<WrapShare, ThresholdError> {
        self.list.open(holder, key, &self.binding())
    }

    /// Answers with both halves or not at all; `opened` is what the same holder's entry gave.
    ///
    /// # Errors
    /// As [`Share::partial`]; `argument_invalid` for another holder's sealed share.
    pub fn answer(
        &self,
        group: &GroupKey,
        share: &Share,
        opened: WrapShare,
        request_hash: &[u8; 32],
        rng: &dyn SecureRandom,
    ) -> Result<HybridAnswer, ThresholdError> {
        if opened.holder() != share.index() {
            return Err(ThresholdError::new(ErrorId::ArgumentInvalid, Culprit::None));
        }
        Ok(HybridAnswer {
            share: opened,
            partial: share.partial(group, &self.tdh2, request_hash, rng)?,
        })
    }

    /// Opens the wrap with the answers of holders, and names who answered wrongly with either half.
    ///
    /// # Errors
    /// As [`PartialDecryption::verify`]; `holder_unknown`, `holder_duplicate`, `partials_insufficient`,
    /// `share_commitment_mismatch`, `partial_proof_invalid`, `combine_mismatch`, `aead_failed`.
    pub fn combine<A: Borrow<HybridAnswer>>(
        &self,
        group: &GroupKey,
        request_hash: &[u8; 32],
        answers: &[A],
    ) -> Result<Combined, CombineError> {
        self.tdh2.belongs_to(group)?;
        let answers = answers.iter().map(Borrow::borrow);
        let shares: Vec<&WrapShare> = answers.clone().map(|answer| &answer.share).collect();
        let (secret, liars) = self.list.combine(self.t, &shares, &self.binding())?;
        // Whoever lied with one half is not believed with the other.
        let partials: Vec<PartialDecryption> = answers
            .filter(|answer| !liars.contains(&answer.share.holder()))
            .map(|answer| answer.partial.clone())
            .collect();

        let wrap = self.tdh2.wrap();
        let (label, c) = (wrap.label_octets(), wrap.c());
        let (r1, y) = (self.tdh2.r1(), group.curve()?.public_key);
        let question = Question::of_wrap(&self.tdh2, request_hash);
        let open = |z: &Point| {
            let x = group::x_coordinate(z);
            let key = x.map(|x| wrap_key(&y, &x, &secret, [&r1, label, wrap.list()]));
            match key.filter(|key| key.confirms(c)) {
                None => Attempt::WrongPoint,
                Some(key) => match key.open(label, c) {
                    Some(opened) => Attempt::Opened(LayerSecret::new(opened)),
                    None => Attempt::Broken(ThresholdError::encryptor(ErrorId::AeadFailed)),
                },
            }
        };
        let found = combine(group, &question, &partials, Proofs::WhenNeeded, &open);
        let with_liars = |mut culprits: Vec<HolderId>| {
            culprits.extend(&liars);
            culprits.sort();
            culprits
        };
        match found {
            Ok((secret, culprits)) => Ok(Combined {
                secret,
                culprits: with_liars(culprits),
            }),
            Err(failed) => Err(CombineError {
                error: failed.error,
                culprits: with_liars(failed.culprits),
            }),
        }
    }

    fn binding(&self) -> Binding<'_> {
        let wrap = self.tdh2.wrap();
        Binding::new(wrap.label(), wrap.label_octets())
    }
}

impl HybridAnswer {
    /// Writes what a holder seals to the node: the compact partial, then the share.
    pub fn write(&self) -> Zeroizing<Vec<u8>> {
        let partial = self.partial.as_bytes();
        let mut octets = Zeroizing::new(Vec::with_capacity(partial.len() + gf256::SECRET_LEN));
        octets.extend_from_slice(partial);
        octets.extend_from_slice(self.share.expose());
        octets
    }

    /// Reads what a holder sealed to the node.
    ///
    /// # Errors
    /// As [`PartialDecryption::parse`].
    pub fn parse(octets: &[u8]) -> Result<Self, ThresholdError> {
        let (partial, share) =
            octets
                .split_last_chunk::<{ gf256::SECRET_LEN }>()
                .ok_or(ThresholdError::new(
                    ErrorId::PartialMalformed,
                    Culprit::Holder(None),
                ))?;
        let partial = PartialDecryption::parse(partial)?;
        Ok(Self {
            share: WrapShare::new(partial.holder(), Zeroizing::new(*share)),
            partial,
        })
    }
}

/// Derives the key of a wrap from both secrets.
fn wrap_key(
    y: &EncodedPoint,
    x: &[u8; 32],
    secret: &gf256::Octets,
    [r1, label, list]: [&[u8]; 3],
) -> WrapKey {
    let mut both = Zeroizing::new([0; 64]);
    let (first, second) = both.split_at_mut(32);
    first.copy_from_slice(x);
    second.copy_from_slice(&secret[..]);
    WrapKey::derive(y, &both[..], &kek_info(r1, label, list))
}

pub(crate) fn kek_info(r1: &[u8], label: &[u8], list: &[u8]) -> Vec<u8> {
    group::length_prefixed(&[
        domain::HYBRID_KEK.as_bytes(),
        Suite::Hybrid.as_str().as_bytes(),
        r1,
        &sha256(label),
        &sha256(list),
    ])
}
