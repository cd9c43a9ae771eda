use thiserror::Error;

/// Why a layer secret could not be wrapped.
#[derive(Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum WrapError {
    /// The key cannot carry a secret of this size, or the library refused it.
    #[error("recipient key cannot wrap a layer key")]
    Refused,
}

/// Why an element could not be unwrapped.
#[derive(Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum UnwrapError {
    /// The element was made for another key; try the next identity.
    #[error("wrapped for another key")]
    NotForThisKey,

    /// The element is not what its annotation claims.
    #[error("malformed wrapped key: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The element uses an algorithm this build does not implement.
    #[error("unsupported key-wrapping algorithm `{name}`")]
    UnsupportedAlgorithm {
        /// The name as it stands in the element.
        name: Box<str>,
    },
}
