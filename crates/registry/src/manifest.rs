use bytes::Bytes;
use sealift_oci::{Descriptor, Digest, MediaType, json};

use crate::error::Error;

/// A manifest or index as it is stored: never re-rendered, so its digest stays what it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RawManifest {
    /// The exact octets.
    pub bytes: Bytes,
    /// Its type.
    pub media_type: MediaType,
    /// The digest of the octets.
    pub digest: Digest,
}

impl RawManifest {
    /// Takes a manifest that was made here.
    pub fn new(bytes: Bytes, media_type: MediaType) -> Self {
        let digest = Digest::sha256(&bytes);
        Self {
            bytes,
            media_type,
            digest,
        }
    }

    /// Returns a descriptor of it.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(
            self.media_type.clone(),
            self.digest.clone(),
            self.bytes.len() as u64,
        )
    }

    /// Finds the type of a document whose digest has been verified. What it says itself and what was declared must agree.
    ///
    /// Anything further, such as a document that is manifest and index at once, is for [`sealift_oci::Document`] to refuse.
    pub(crate) fn typed(
        bytes: Bytes,
        digest: Digest,
        declared: Option<&MediaType>,
        what: &str,
    ) -> Result<Self, Error> {
        let limits = json::Limits {
            len: usize::MAX,
            depth: MAX_DEPTH,
        };
        let refuse = |reason: String| Error::malformed(what, reason);
        let members = json::object(&bytes, limits).map_err(|error| refuse(error.to_string()))?;
        let own = match members.get("mediaType") {
            None => None,
            Some(text) => {
                let text: String = serde_json::from_str(text.get())
                    .map_err(|_| refuse("its `mediaType` is not a string".into()))?;
                let parsed = text.parse::<MediaType>();
                Some(parsed.map_err(|error| refuse(error.to_string()))?)
            }
        };
        // Registries answer with generic types for documents they do not look into; those declare nothing.
        let declared = declared.filter(|declared| declared.is_manifest() || declared.is_index());
        let media_type = match (own, declared) {
            (Some(own), Some(declared)) if own != *declared => {
                return Err(refuse(format!(
                    "it says it is `{own}`, but was announced as `{declared}`"
                )));
            }
            (Some(own), _) => own,
            (None, Some(declared)) => declared.clone(),
            (None, None) => {
                let guess = match (
                    members.contains_key("manifests"),
                    members.contains_key("layers"),
                ) {
                    (true, false) => MediaType::OCI_INDEX,
                    (false, true) => MediaType::OCI_MANIFEST,
                    _ => {
                        return Err(refuse(
                            "it is neither an image manifest nor an index".into(),
                        ));
                    }
                };
                guess
                    .parse()
                    .map_err(|_| refuse("its type is unknown".into()))?
            }
        };
        Ok(Self {
            bytes,
            media_type,
            digest,
        })
    }
}

/// Most objects and arrays within each other.
const MAX_DEPTH: usize = 32;
