use std::fmt;

use sealift_oci::Digest;
use thiserror::Error;

use crate::demand::Signer;

/// Why a claim proves nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It cannot be read.
    #[error("it cannot be read: {reason}")]
    Form {
        /// Why.
        reason: Box<str>,
    },

    /// It is about another image.
    #[error("it is about another image, {about}")]
    OtherImage {
        /// What it is about.
        about: Box<str>,
    },

    /// It is a statement about the image, such as its provenance, and not its signature.
    #[error("it is no signature but a statement of type `{predicate}`")]
    Statement {
        /// Its predicate type.
        predicate: Box<str>,
    },

    /// None of the trusted keys made it.
    #[error("none of the trusted keys made it")]
    Stranger,

    /// It has a certificate, and no identity is trusted.
    #[error("it was made with a certificate, and only keys are trusted")]
    NoIdentities,

    /// It has no certificate, and no key is trusted.
    #[error("it was made with a key, and only identities of certificates are trusted")]
    NoKeys,

    /// Its certificate is of somebody else.
    #[error("it was made by {found}, who is not trusted")]
    OtherIdentity {
        /// Who made it.
        found: Signer,
    },

    /// A trusted key made it, and a transparency log was asked for too.
    #[error("no trusted transparency log proves to have it: {reason}")]
    NotLogged {
        /// Why.
        reason: Box<str>,
    },

    /// Signature, certificate, log or time stamp is not good.
    #[error("it is not valid: {reason}")]
    Invalid {
        /// Why.
        reason: Box<str>,
    },
}

impl Refusal {
    /// Says how far it is from a good signature: what is nearest is what people look for.
    pub(crate) fn distance(&self) -> u8 {
        match self {
            Self::NotLogged { .. } => 0,
            Self::OtherIdentity { .. } => 1,
            Self::Invalid { .. } => 2,
            Self::Stranger | Self::NoIdentities | Self::NoKeys => 3,
            Self::OtherImage { .. } => 4,
            Self::Statement { .. } => 5,
            Self::Form { .. } => 6,
        }
    }

    pub(crate) fn form(reason: impl fmt::Display) -> Self {
        Self::Form {
            reason: excerpt(&reason.to_string()),
        }
    }

    pub(crate) fn invalid(reason: impl fmt::Display) -> Self {
        Self::Invalid {
            reason: excerpt(&reason.to_string()),
        }
    }
}

/// An image of which it is not proven that those signed it who must have.
#[derive(Debug)]
pub struct Unproven {
    /// The image.
    pub image: Digest,
    /// How many signers are asked for.
    pub wanted: usize,
    /// Who was found.
    pub found: Vec<Signer>,
    /// What was looked at in vain: where it lies, and why it proves nothing; what was nearest to a proof comes first.
    pub refused: Vec<(Box<str>, Refusal)>,
    /// How many claims were looked at.
    pub claims: usize,
}

impl fmt::Display for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is not proven who made the image {}: ", self.image)?;
        match (self.claims, self.found.len()) {
            (0, _) => f.write_str("it has no signature")?,
            (1, 0) => f.write_str("its signature is not by whom it must be")?,
            (claims, 0) => write!(f, "none of its {claims} signatures is by whom it must be")?,
            (claims, found) => write!(
                f,
                "{found} of the {} signers asked for are among its {claims} signatures",
                self.wanted
            )?,
        }
        for (place, refusal) in self.refused.iter().take(MAX_TOLD) {
            write!(f, "; {place}: {refusal}")?;
        }
        match self.refused.len().saturating_sub(MAX_TOLD) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for Unproven {}

/// What strangers wrote, short enough to be shown.
pub(crate) fn excerpt(text: &str) -> Box<str> {
    sealift_oci::json::excerpt(text)
}

/// How many refusals are told.
const MAX_TOLD: usize = 8;
