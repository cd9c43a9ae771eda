//! Suite `P256-TDH2+SSS-HPKE-XWING`: both secrets are needed (`SPEC.md`, section 17).
//!
//! The P-256 half is that of the default suite with a challenge, a second generator and a key derivation of its own;
//! the other half is the share list of [`crate::sss`]. A holder answers with both or not at all.

use std::collections::BTreeMap;

use aws_lc_rs::rand::SecureRandom;
use sealift_keywrap::LayerSecret;
use zeroize::Zeroizing;

use crate::{
    CheckedWrap, CombineError, Combined, Culprit, ErrorId, GroupKey, HolderId, HpkePrivateKey,
    Label, PartialDecryption, Share, Suite, ThresholdError, Wrap,
    combine::{Attempt, Proofs, combine},
    dem::{PLAINTEXT_LEN, WrapKey},
    gf256,
    group::{self, EncodedPoint, Point, Scalar, domain},
    partial::Question,
    randomness,
    share_list::{Binding, Receivers, ShareList, WrapShare},
    wrap::{challenge, compact, sha256},
};

impl GroupKey {
    /// Wraps `plaintext`, 1 to 4096 octets, so that a partial *and* a share of `t` holders are needed.
    ///
    /// # Errors
    /// As [`wrap`](Self::wrap); `descriptor_invalid` unless the key has one part and every holder an X-Wing key.
    pub fn wrap_hybrid(
        &self,
        label: &Label,
        plaintext: &[u8],
        rng: &dyn SecureRandom,
    ) -> Result<Wrap, ThresholdError> {
        if label.suite != Suite::Hybrid {
            return Err(ThresholdError::encryptor(ErrorId::SuiteMismatch));
        }
        if *label.key_id != *self.key_id() || label.epoch != self.epoch() {
            return Err(ThresholdError::encryptor(ErrorId::KeyMismatch));
        }
        if self.unbound() {
            return Err(ThresholdError::encryptor(ErrorId::ModeMismatch));
        }
        if !PLAINTEXT_LEN.contains(&plaintext.len()) {
            return Err(ThresholdError::encryptor(ErrorId::ArgumentInvalid));
        }
        let octets = label.encode()?;
        let hedged = |nonce_domain| {
            randomness::non_zero(|| {
                let random = randomness::octets::<32>(rng)?;
                let parts = [&random[..], plaintext, &octets];
                Ok(group::hash_to_scalar(nonce_domain, &parts))
            })
        };
        let (r, s) = (hedged(domain::NONCE_R)?, hedged(domain::NONCE_S)?);
        self.wrap_hybrid_with(label, plaintext, [&r, &s], rng)
    }

    /// Checks a wrap of this suite as section 9 says, with the challenge of section 17.
    ///
    /// # Errors
    /// As [`Wrap::check`]; `descriptor_invalid` unless the key has one part and every holder an X-Wing key.
    pub fn check_hybrid<'a>(
        &self,
        wrap: &'a Wrap,
    ) -> Result<CheckedHybridWrap<'a>, ThresholdError> {
        if wrap.suite() != Suite::Hybrid {
            return Err(ThresholdError::presenter(ErrorId::SuiteMismatch));
        }
        let (gamma, encoded) = hybrid_gamma(self)?;
        Ok(CheckedHybridWrap {
            tdh2: wrap.check_proof(self, domain::HYBRID_CHALLENGE, &gamma, &encoded)?,
            list: ShareList::parse(wrap.list())?,
            receivers: receivers(self)?,
        })
    }

    /// Wraps with given exponents, neither of which may be zero.
    pub(crate) fn wrap_hybrid_with(
        &self,
        label: &Label,
        plaintext: &[u8],
        [r, s]: [&Scalar; 2],
        rng: &dyn SecureRandom,
    ) -> Result<Wrap, ThresholdError> {
        let octets = label.encode()?;
        let secret = randomness::octets(rng)?;
        let binding = Binding::new(label, &octets);
        let list = ShareList::seal(&secret, &receivers(self)?, &binding, rng)?.encode();

        let (gamma, gamma_encoded) = hybrid_gamma(self)?;
        let [r1, r2, w1, w2] = group::encode_all(&[
            group::multiply_generator(r),
            gamma * r,
            group::multiply_generator(s),
            gamma * s,
        ])
        .ok_or(ThresholdError::randomness())?;
        let y = self.public_key();
        let key = wrap_key(&y, &(self.y() * r), &secret, [&r1, &octets, &list])
            .ok_or(ThresholdError::randomness())?;
        let c = key.seal(&octets, plaintext);
        let e = challenge(
            domain::HYBRID_CHALLENGE,
            [&c, &octets],
            &y,
            &gamma_encoded,
            [&r1, &w1, &r2, &w2],
            &list,
        );
        let (e_octets, f_octets) = (
            group::encode_scalar(&e),
            group::encode_scalar(&(*s + *r * e)),
        );
        let middle: [&[u8]; 5] = [&r1, &r2, &e_octets, &f_octets, &list];
        let compact = compact(Suite::Hybrid, &octets, &middle, &c)
            .ok_or(ThresholdError::encryptor(ErrorId::ArgumentInvalid))?;
        Wrap::parse(&compact)
    }
}

/// A wrap of this suite that passed every check of section 9.
#[derive(Clone, Debug)]
pub struct CheckedHybridWrap<'a> {
    tdh2: CheckedWrap<'a>,
    list: ShareList,
    receivers: Receivers,
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
    /// Answers with both halves or not at all.
    ///
    /// # Errors
    /// As [`Share::partial`]; `share_open_failed`, `share_commitment_mismatch`.
    pub fn answer(
        &self,
        group: &GroupKey,
        share: &Share,
        key: &HpkePrivateKey,
        request_hash: &[u8; 32],
        rng: &dyn SecureRandom,
    ) -> Result<HybridAnswer, ThresholdError> {
        Ok(HybridAnswer {
            share: self.list.open(share.index(), key, &self.binding())?,
            partial: share.partial(group, &self.tdh2, request_hash, rng)?,
        })
    }

    /// Opens the wrap with the answers of holders, and names who answered wrongly with either half.
    ///
    /// # Errors
    /// As [`PartialDecryption::verify`]; `holder_unknown`, `holder_duplicate`, `partials_insufficient`,
    /// `share_commitment_mismatch`, `partial_proof_invalid`, `combine_mismatch`, `aead_failed`.
    pub fn combine(
        &self,
        group: &GroupKey,
        request_hash: &[u8; 32],
        answers: &[HybridAnswer],
    ) -> Result<Combined, CombineError> {
        self.tdh2.belongs_to(group)?;
        let shares: Vec<&WrapShare> = answers.iter().map(|answer| &answer.share).collect();
        let (secret, liars) = self
            .list
            .combine(self.receivers.t, &shares, &self.binding())?;
        // Whoever lied with one half is not believed with the other.
        let partials: Vec<PartialDecryption> = answers
            .iter()
            .filter(|answer| !liars.contains(&answer.share.holder()))
            .map(|answer| answer.partial.clone())
            .collect();

        let wrap = self.tdh2.wrap();
        let (label, c) = (wrap.label_octets(), wrap.c());
        let (r1, y) = (self.tdh2.r1(), group.public_key());
        let question = Question::of_wrap(&self.tdh2, request_hash);
        let open = |z: &Point| {
            let key = wrap_key(&y, z, &secret, [&r1, label, wrap.list()]);
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

/// Returns the second generator of this suite, and its encoding.
pub(crate) fn hybrid_gamma(group: &GroupKey) -> Result<(Point, EncodedPoint), ThresholdError> {
    let gamma = group::gamma(Suite::Hybrid.as_str(), &group.public_key(), group.key_id());
    let encoded = group::encode(&gamma);
    let encoded = encoded.ok_or(ThresholdError::dealer(ErrorId::DescriptorInvalid))?;
    Ok((gamma, encoded))
}

/// Returns whom shares are sealed to.
fn receivers(group: &GroupKey) -> Result<Receivers, ThresholdError> {
    let keys = group.holders().iter().map(|holder| {
        let key = holder.kem_public_key.clone()?;
        Some((holder.index, key))
    });
    let keys: Option<BTreeMap<HolderId, Box<[u8]>>> = keys.collect();
    match (group.parts(), keys) {
        ([part], Some(keys)) => Receivers::new(part.t, keys),
        _ => None,
    }
    .ok_or(ThresholdError::dealer(ErrorId::DescriptorInvalid))
}

/// Derives the key of a wrap from both secrets; `None` if `z` is the identity.
fn wrap_key(
    y: &EncodedPoint,
    z: &Point,
    secret: &gf256::Octets,
    [r1, label, list]: [&[u8]; 3],
) -> Option<WrapKey> {
    let mut both = Zeroizing::new([0; 64]);
    let (first, second) = both.split_at_mut(32);
    first.copy_from_slice(&group::x_coordinate(z)?[..]);
    second.copy_from_slice(&secret[..]);
    Some(WrapKey::derive(y, &both[..], &kek_info(r1, label, list)))
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
