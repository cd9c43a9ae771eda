use thiserror::Error;

use crate::AgreementError;

/// Why a layer secret could not be wrapped.
#[derive(Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum WrapError {
    /// The key cannot carry a secret of this size, or the library refused it.
    #[error("recipient key cannot wrap a layer key")]
    Refused,

    /// An RSA key that cannot hold the secret with this hash.
    #[error(
        "RSA key of {bits} bits holds {capacity} octets with OAEP and {hash}, and a layer key takes {needed}; choose SHA-1 for OAEP, or a key of 3072 bits or more"
    )]
    KeyTooSmall {
        /// Length of the modulus.
        bits: usize,
        /// The hash.
        hash: &'static str,
        /// What fits.
        capacity: usize,
        /// What does not.
        needed: usize,
    },

    /// The element would be longer than any reader accepts.
    #[error("wrapped key would be longer than {limit} octets")]
    TooLong {
        /// [`MAX_ELEMENT_LEN`](crate::MAX_ELEMENT_LEN).
        limit: usize,
    },

    /// The system gave no random octets.
    #[error("no randomness available")]
    Randomness,

    /// A key provider was to wrap the key, and did not.
    #[error("key provider `{name}`: {reason}")]
    Provider {
        /// Its name.
        name: Box<str>,
        /// What it said, or what kept it from saying anything.
        reason: Box<str>,
    },
}

/// Why an element could not be unwrapped.
#[derive(Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum UnwrapError {
    /// The element was made for another key; try the next identity.
    ///
    /// For RSA this is also the answer to an element that was tampered with: telling the two apart would hand
    /// out a padding oracle (RFC 7516, section 11.5; RFC 3218).
    #[error("wrapped for another key")]
    NotForThisKey,

    /// The element names its recipients by certificates, and none came with this key.
    #[error("wrapped for a certificate, and no certificate was given with the key")]
    NoCertificate,

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

    /// The element is for this key, and it was altered.
    #[error("wrapped key failed authentication")]
    Authentication,

    /// Key holders were asked and refused.
    ///
    /// They tell no more than this on purpose; the reason stands in their audit record.
    #[error("denied by key holder `{by}`: {code}")]
    Denied {
        /// The holder that refused.
        by: Box<str>,
        /// Its code, with whatever helps to find the refusal in its record.
        code: Box<str>,
    },

    /// Key holders, or whoever asks them, could not be reached.
    #[error("key holders unavailable: {reason}")]
    Unavailable {
        /// What is in the way.
        reason: Box<str>,
    },

    /// A key provider was asked and did not unwrap the key: it refused, failed, or answered nonsense.
    #[error("key provider `{name}`: {reason}")]
    ProviderFailed {
        /// Its name.
        name: Box<str>,
        /// What it said.
        reason: Box<str>,
    },

    /// The token that holds the private key, or its module, failed.
    #[error("PKCS #11: {reason}")]
    Token {
        /// What it said.
        reason: Box<str>,
    },

    /// A key provider could not be asked, or gave no answer in time.
    #[error("key provider `{name}` unavailable: {reason}")]
    ProviderUnavailable {
        /// Its name.
        name: Box<str>,
        /// What is in the way.
        reason: Box<str>,
    },

    /// The private key could not be used.
    #[error("private key could not be used")]
    Agreement {
        /// What its keeper said.
        #[from]
        source: AgreementError,
    },
}

impl UnwrapError {
    pub(crate) const fn malformed(reason: &'static str) -> Self {
        Self::Malformed { reason }
    }

    pub(crate) fn unsupported(name: &str) -> Self {
        Self::UnsupportedAlgorithm {
            name: printable(name),
        }
    }
}

/// Returns `name` cut to a length and a character set that is safe to print.
pub(crate) fn printable(name: &str) -> Box<str> {
    printable_up_to(name, MAX_NAME_LEN)
}

/// Returns the first characters of `name`, in a character set that is safe to print.
pub(crate) fn printable_up_to(name: &str, limit: usize) -> Box<str> {
    name.chars()
        .take(limit)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Most characters of a foreign name that an error repeats.
const MAX_NAME_LEN: usize = 64;
