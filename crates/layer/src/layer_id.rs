use std::fmt;

use sealift_oci::Digest;

use crate::chunked::Commitment;

/// What names a sealed layer where its own digest cannot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LayerId {
    /// A layer of the default format, printed as hex.
    Commitment(Commitment),
    /// An ocicrypt layer: the digest of its ciphertext.
    Ciphertext(Digest),
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commitment(commitment) => commitment.fmt(f),
            Self::Ciphertext(digest) => digest.fmt(f),
        }
    }
}
