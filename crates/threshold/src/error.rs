use std::fmt;

use thiserror::Error;

use crate::HolderId;

/// Why an operation failed, and who is to blame (`SPEC.md`, section 12).
///
/// One type for all operations: the identifiers are part of the specification, and every party answers them alike.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{id} (culprit: {culprit})")]
pub struct ThresholdError {
    /// What is wrong.
    pub id: ErrorId,
    /// Who sent it.
    pub culprit: Culprit,
}

impl ThresholdError {
    pub(crate) const fn new(id: ErrorId, culprit: Culprit) -> Self {
        Self { id, culprit }
    }

    pub(crate) const fn presenter(id: ErrorId) -> Self {
        Self::new(id, Culprit::Presenter)
    }

    pub(crate) const fn encryptor(id: ErrorId) -> Self {
        Self::new(id, Culprit::Encryptor)
    }

    pub(crate) const fn dealer(id: ErrorId) -> Self {
        Self::new(id, Culprit::Dealer)
    }

    pub(crate) const fn holder(id: ErrorId, holder: HolderId) -> Self {
        Self::new(id, Culprit::Holder(Some(holder)))
    }

    pub(crate) const fn randomness() -> Self {
        Self::new(ErrorId::Randomness, Culprit::None)
    }
}

/// What went wrong; the identifiers never change.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorId {
    /// Neither the compact nor the JSON form of a wrap.
    WrapMalformed,
    /// No suite has this number or name.
    SuiteUnknown,
    /// The label is not the one CBOR map that the specification describes.
    LabelMalformed,
    /// A value of the label is outside its range.
    LabelInvalid,
    /// The label names another suite than the wrap, or than the operation serves.
    SuiteMismatch,
    /// The label names another key or another epoch.
    KeyMismatch,
    /// Not the encoding of a point on the curve.
    PointInvalid,
    /// Not the encoding of a scalar.
    ScalarInvalid,
    /// Label, ciphertext and points of a wrap do not belong together.
    WrapProofInvalid,
    /// Not the compact form of a partial decryption.
    PartialMalformed,
    /// The partial was made with a share of another generation.
    GenerationMismatch,
    /// The descriptor demands a proof and there is none.
    PartialProofMissing,
    /// The partial was not made with the holder's share, for this wrap and this request.
    PartialProofInvalid,
    /// The descriptor does not list this holder.
    HolderUnknown,
    /// Two partials of one holder.
    HolderDuplicate,
    /// Fewer partials than the threshold of some part.
    PartialsInsufficient,
    /// The key confirmation does not belong to the secret that the partials give.
    CombineMismatch,
    /// The key is right and the ciphertext is not.
    AeadFailed,
    /// The key descriptor contradicts itself.
    DescriptorInvalid,
    /// The share does not belong to the holder's public share.
    ShareInvalid,
    /// The commitments of a contribution are too few, too many or not the right ones.
    CommitmentInvalid,
    /// The answers of a token belong to no point.
    TokenInconsistent,
    /// The JWE uses an algorithm that cannot be opened by partials.
    JweAlgUnsupported,
    /// The JWE does not open.
    JweOpenFailed,
    /// What was sealed to us does not open here.
    ShareOpenFailed,
    /// The share is not the one that its encryptor committed to.
    ShareCommitmentMismatch,
    /// A key is bound to labels and was asked without one, or the other way round.
    ModeMismatch,
    /// The system gave no random octets.
    Randomness,
    /// The arguments of a call do not fit together.
    ArgumentInvalid,
}

impl ErrorId {
    /// Returns the stable identifier.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WrapMalformed => "wrap_malformed",
            Self::SuiteUnknown => "suite_unknown",
            Self::LabelMalformed => "label_malformed",
            Self::LabelInvalid => "label_invalid",
            Self::SuiteMismatch => "suite_mismatch",
            Self::KeyMismatch => "key_mismatch",
            Self::PointInvalid => "point_invalid",
            Self::ScalarInvalid => "scalar_invalid",
            Self::WrapProofInvalid => "wrap_proof_invalid",
            Self::PartialMalformed => "partial_malformed",
            Self::GenerationMismatch => "generation_mismatch",
            Self::PartialProofMissing => "partial_proof_missing",
            Self::PartialProofInvalid => "partial_proof_invalid",
            Self::HolderUnknown => "holder_unknown",
            Self::HolderDuplicate => "holder_duplicate",
            Self::PartialsInsufficient => "partials_insufficient",
            Self::CombineMismatch => "combine_mismatch",
            Self::AeadFailed => "aead_failed",
            Self::DescriptorInvalid => "descriptor_invalid",
            Self::ShareInvalid => "share_invalid",
            Self::CommitmentInvalid => "commitment_invalid",
            Self::TokenInconsistent => "token_inconsistent",
            Self::JweAlgUnsupported => "jwe_alg_unsupported",
            Self::JweOpenFailed => "jwe_open_failed",
            Self::ShareOpenFailed => "share_open_failed",
            Self::ShareCommitmentMismatch => "share_commitment_mismatch",
            Self::ModeMismatch => "mode_mismatch",
            Self::Randomness => "randomness",
            Self::ArgumentInvalid => "argument_invalid",
        }
    }
}

impl fmt::Display for ErrorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose fault it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Culprit {
    /// Nobody's.
    None,
    /// Who presented the wrap.
    Presenter,
    /// Who made the wrap.
    Encryptor,
    /// Who dealt the shares and published the descriptor.
    Dealer,
    /// A key holder; `None` while its index is not known.
    Holder(Option<HolderId>),
    /// Someone who calls itself a key holder by an index that no key holder can have.
    NotAHolder(u16),
    /// All of these, or one of them: it cannot be decided which.
    Many(Vec<Self>),
}

impl Culprit {
    /// Blames every one of `holders`.
    pub(crate) fn holders(holders: &[HolderId]) -> Self {
        match holders {
            [] => Self::None,
            [one] => Self::Holder(Some(*one)),
            many => Self::Many(many.iter().map(|one| Self::Holder(Some(*one))).collect()),
        }
    }
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Presenter => f.write_str("presenter"),
            Self::Encryptor => f.write_str("encryptor"),
            Self::Dealer => f.write_str("dealer"),
            Self::Holder(None) => f.write_str("holder"),
            Self::Holder(Some(holder)) => write!(f, "holder:{holder}"),
            Self::NotAHolder(index) => write!(f, "holder:{index}"),
            Self::Many(culprits) => {
                for (position, culprit) in culprits.iter().enumerate() {
                    if position > 0 {
                        f.write_str(",")?;
                    }
                    culprit.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}
