//! What became of a question to holders, and who lied about it.

use sealift_keywrap::LayerSecret;
use sealift_threshold::ThresholdError;
use thiserror::Error;

use crate::octets::Octets;
use crate::request::RequestError;
use crate::wire::Code;

/// What became of elements.
#[derive(Debug, Default)]
pub struct Released {
    /// One per element, in order.
    pub secrets: Vec<Result<LayerSecret, ReleaseError>>,
    /// Holders that are proven to have lied.
    pub accusations: Vec<Accusation>,
}

/// A lie of a holder, for the record of the others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Accusation {
    /// Who lied.
    pub holder: String,
    /// About which wrap.
    pub wrap_digest: [u8; 32],
    /// In which request.
    pub request_hash: [u8; 32],
    /// What it answered, as it was sealed to us.
    pub partial: Vec<u8>,
    /// Octets of the receipt in which the holder vouches for the partial.
    pub receipt: Octets,
}

/// Why an element was not opened.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ReleaseError {
    /// So many holders refused that the rest is too few.
    #[error("denied by key holder `{by}`: {code}{}", request_id.as_deref().map(|id| format!(" (request {id})")).unwrap_or_default())]
    Denied {
        /// The first that refused.
        by: Box<str>,
        /// Its code.
        code: Code,
        /// What its record calls the request, if it refused the request as a whole.
        request_id: Option<Box<str>>,
    },
    /// Too few holders answered.
    #[error("{reached} of {needed} key holders answered: {reason}")]
    QuorumUnavailable {
        /// How many did.
        reached: usize,
        /// How many are needed.
        needed: usize,
        /// What happened at the others.
        reason: Box<str>,
    },
    /// The element itself is bad, or for another key.
    #[error("wrapped key does not open")]
    Element {
        /// What is wrong.
        #[from]
        source: ThresholdError,
    },
    /// The request could not be made.
    #[error("key request could not be made")]
    Request {
        /// Why.
        #[from]
        source: RequestError,
    },
}

impl ReleaseError {
    pub(super) fn none_answered() -> Self {
        Self::QuorumUnavailable {
            reached: 0,
            needed: 1,
            reason: "no answer in time".into(),
        }
    }
}
