use std::fmt;

use serde::Deserialize;
use sigstore_verify::Verifier;
use sigstore_verify::trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot};
use thiserror::Error;

use crate::error::excerpt;

/// Certificate authorities, transparency logs and time-stamp authorities (sigstore/protobuf-specs,
/// `sigstore_trustroot.proto`).
pub struct TrustedRoots {
    pub(crate) verifier: Verifier,
}

impl TrustedRoots {
    /// Takes those of sigstore's public service, as they were when this program was built.
    ///
    /// # Errors
    /// [`RootsError`], when this program was built with broken ones.
    pub fn public() -> Result<Self, RootsError> {
        Self::from_json(SIGSTORE_PRODUCTION_TRUSTED_ROOT)
    }

    /// Reads a `trusted_root.json`, as `cosign trusted-root create` and sigstore's TUF repository give it.
    ///
    /// # Errors
    /// [`RootsError`]
    pub fn from_json(text: &str) -> Result<Self, RootsError> {
        if text.len() > MAX_LEN {
            return Err(RootsError {
                reason: format!("it is longer than {MAX_LEN} octets").into(),
            });
        }
        let broken = |error: &dyn std::error::Error| RootsError {
            reason: error.to_string().into(),
        };
        let head: Head = serde_json::from_str(text).map_err(|error| broken(&error))?;
        if !MEDIA_TYPES.contains(&head.media_type.as_str()) {
            return Err(RootsError {
                reason: format!("it is of type `{}`", excerpt(&head.media_type)).into(),
            });
        }
        let root = TrustedRoot::from_json(text).map_err(|error| broken(&error))?;
        let verifier = Verifier::new(&root).map_err(|error| broken(&error))?;
        Ok(Self { verifier })
    }
}

/// What the library does not look at.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "mediaType")]
    media_type: String,
}

impl fmt::Debug for TrustedRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedRoots").finish_non_exhaustive()
    }
}

/// Why a file of trusted roots cannot be used.
#[derive(Debug, Error)]
#[error("not a trusted root of sigstore: {reason}")]
pub struct RootsError {
    reason: Box<str>,
}

/// The types of such a file, of which the second is the older way to write the first.
const MEDIA_TYPES: [&str; 2] = [
    "application/vnd.dev.sigstore.trustedroot.v0.1+json",
    "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
];
/// Longest file; the public service's has less than 10 KiB.
const MAX_LEN: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_ones_can_be_used() {
        TrustedRoots::public().unwrap();
    }

    #[test]
    fn what_is_no_root_is_refused() {
        for text in ["", "{}", "[]", "{\"mediaType\":\"text/plain\"}"] {
            assert!(TrustedRoots::from_json(text).is_err(), "{text}");
        }
    }
}
