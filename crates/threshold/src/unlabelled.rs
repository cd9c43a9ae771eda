//! A stock image opened by partials: a JWE as an ElGamal ciphertext (`SPEC.md`, section 13.1).
//!
//! Its ephemeral key is `R1`, and the shared secret is the x-coordinate of `x*R1`. There is no label: a holder cannot
//! know which image it is asked for, so only keys whose descriptor says `unbound` serve this mode, and no others.

use std::fmt;

use aws_lc_rs::rand::SecureRandom;
use sealift_keywrap::{
    AgreementError, Curve, EcPoint, KeyAgreement, LayerSecret, SharedSecret, UnwrapError,
    jwe::{Jwe, KeyManagement, WrapWidth},
};
use zeroize::Zeroizing;

use crate::{
    CombineError, Combined, ErrorId, GroupKey, PartialDecryption, Share, ThresholdError,
    combine::{Attempt, Proofs, combine},
    group::{self, EncodedPoint, Point, domain},
    partial::Question,
    wrap::sha256,
};

/// The ephemeral key of one JWE recipient: all that holders see of a stock image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnlabelledWrap {
    r1: EncodedPoint,
}

impl UnlabelledWrap {
    /// Finds the recipients of a JWE that may be a key of ours, in their order; at least one.
    ///
    /// A recipient that cannot be used does not stop the one beside it.
    ///
    /// # Errors
    /// `jwe_open_failed` if it is no JWE; `point_invalid` if the only such recipients have an ephemeral key that is not
    /// on the curve; `jwe_alg_unsupported` if there is no `ECDH-ES+A256KW` on P-256.
    pub fn from_jwe(element: &[u8]) -> Result<Vec<Self>, ThresholdError> {
        let jwe = parse(element)?;
        let mut wraps = Vec::new();
        let mut error = ThresholdError::encryptor(ErrorId::JweAlgUnsupported);
        for recipient in jwe.recipients() {
            if recipient.algorithm() != KeyManagement::EcdhEs(WrapWidth::A256).name() {
                continue;
            }
            match recipient.ephemeral_key() {
                Ok(point) if point.curve() == Curve::P256 => wraps.push(Self {
                    r1: compress(point)?,
                }),
                Ok(_) | Err(UnwrapError::UnsupportedAlgorithm { .. }) => {}
                Err(_) => error = ThresholdError::presenter(ErrorId::PointInvalid),
            }
        }
        if wraps.is_empty() {
            Err(error)
        } else {
            Ok(wraps)
        }
    }

    /// Takes `enc(R1)`, as a holder receives it.
    ///
    /// # Errors
    /// `point_invalid`: the uncompressed form, which can name points off the curve, is not even read.
    pub fn from_epk(r1: &[u8]) -> Result<Self, ThresholdError> {
        let invalid = || ThresholdError::presenter(ErrorId::PointInvalid);
        group::decode_point(r1).ok_or_else(invalid)?;
        let r1 = r1.try_into().map_err(|_| invalid())?;
        Ok(Self { r1 })
    }

    /// Returns `enc(R1)`.
    pub const fn r1(&self) -> [u8; 33] {
        self.r1
    }

    /// Returns what stands in requests, proofs and logs where a wrap has its digest.
    pub fn digest(&self, group: &GroupKey) -> [u8; 32] {
        sha256(&group::length_prefixed(&[
            domain::UNLABELLED.as_bytes(),
            group.key_id().as_bytes(),
            &group.epoch().to_be_bytes(),
            &self.r1,
        ]))
    }
}

impl Share {
    /// Answers for a JWE of a stock tool.
    ///
    /// # Errors
    /// `mode_mismatch` unless the descriptor says `unbound`: with any other key this would open labelled wraps, too;
    /// `holder_unknown`, `generation_mismatch`, `randomness`.
    pub fn partial_unlabelled(
        &self,
        group: &GroupKey,
        wrap: &UnlabelledWrap,
        request_hash: &[u8; 32],
        rng: &dyn SecureRandom,
    ) -> Result<PartialDecryption, ThresholdError> {
        if !group.unbound() {
            return Err(ThresholdError::presenter(ErrorId::ModeMismatch));
        }
        let digest = wrap.digest(group);
        self.answer(
            group,
            &Question::decode(&wrap.r1, request_hash, &digest)?,
            rng,
        )
    }
}

/// Opens a JWE with partials for one of its recipients; every proof is checked first.
///
/// # Errors
/// As [`PartialDecryption::verify`]; `jwe_alg_unsupported`; `holder_duplicate`, `partials_insufficient`; if nothing opens
/// `partial_proof_invalid` naming every liar, or `jwe_open_failed`, also when the JWE was made for another key.
pub fn combine_unlabelled(
    group: &GroupKey,
    wrap: &UnlabelledWrap,
    element: &[u8],
    request_hash: &[u8; 32],
    partials: &[PartialDecryption],
) -> Result<Combined, CombineError> {
    let digest = wrap.digest(group);
    let question = Question::decode(&wrap.r1, request_hash, &digest)?;
    let open = |z: &Point| match group::x_coordinate(z).map(|x| open(element, wrap.r1, x)) {
        Some(Ok(secret)) => Attempt::Opened(secret),
        Some(Err(error)) if error.id != ErrorId::JweOpenFailed => Attempt::Broken(error),
        _ => Attempt::WrongPoint,
    };
    match combine(group, &question, partials, Proofs::First, &open) {
        Ok((secret, culprits)) => Ok(Combined { secret, culprits }),
        Err(mut failed) => {
            if failed.error.id == ErrorId::CombineMismatch {
                failed.error.id = ErrorId::JweOpenFailed;
            }
            Err(failed)
        }
    }
}

/// Opens a JWE with the x-coordinate of a shared point.
pub(crate) fn open(
    element: &[u8],
    r1: EncodedPoint,
    x: Zeroizing<[u8; 32]>,
) -> Result<LayerSecret, ThresholdError> {
    parse(element)?
        .open_with_agreement(&Agreed { r1, x })
        .map_err(|_| ThresholdError::encryptor(ErrorId::JweOpenFailed))
}

/// The whole key, for this one ephemeral key.
struct Agreed {
    r1: EncodedPoint,
    x: Zeroizing<[u8; 32]>,
}

impl KeyAgreement for Agreed {
    fn curve(&self) -> Curve {
        Curve::P256
    }

    fn agree(&self, peer: &EcPoint) -> Result<SharedSecret, AgreementError> {
        if compress(peer) != Ok(self.r1) {
            return Err(AgreementError::Refused);
        }
        Ok(SharedSecret::new(Zeroizing::new(self.x.to_vec())))
    }
}

impl fmt::Debug for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Agreed(..)")
    }
}

fn parse(element: &[u8]) -> Result<Jwe, ThresholdError> {
    Jwe::parse(element).map_err(|error| {
        ThresholdError::encryptor(match error {
            UnwrapError::UnsupportedAlgorithm { .. } => ErrorId::JweAlgUnsupported,
            _ => ErrorId::JweOpenFailed,
        })
    })
}

/// Compresses a point that was checked to lie on P-256.
fn compress(point: &EcPoint) -> Result<EncodedPoint, ThresholdError> {
    let (x, y) = point.coordinates();
    let odd = y.last().is_some_and(|last| last & 1 == 1);
    [&[2 + u8::from(odd)], x]
        .concat()
        .try_into()
        .map_err(|_| ThresholdError::presenter(ErrorId::PointInvalid))
}
