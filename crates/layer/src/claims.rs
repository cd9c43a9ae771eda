use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealift_oci::{Digest, MediaType};

use crate::annotations::{PUBLIC_OPTIONS, RECIPIENTS, Recipients, Wraps};
use crate::error::{FormatError, OpenError, Place};
use crate::layer_id::LayerId;
use crate::options::PublicOptions;

/// What a descriptor claims about a sealed layer: its media type and its annotations.
///
/// Nothing here is authenticated. Where a runtime hands over the media type alone, the annotations are empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claims {
    /// The media type without seal; Docker types have become their OCI twins.
    pub plain_type: MediaType,
    /// The wrapped keys.
    pub wraps: Wraps,
    /// The public options, if the descriptor has any.
    pub public: Option<PublicOptions>,
    /// Whom the wrapped keys are for, as far as told.
    pub recipients: Recipients,
}

impl Claims {
    /// Reads the sealed media type and annotations of a descriptor.
    ///
    /// # Errors
    /// [`OpenError::Malformed`], or [`OpenError::UnsupportedCipher`] with the cipher's name.
    pub fn new<'a>(
        sealed_type: &MediaType,
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, OpenError> {
        let annotations: Vec<_> = annotations.into_iter().collect();
        let plain_type = sealed_type
            .plain()
            .map_err(|error| malformed(error.into()))?;
        let value = |wanted: &str| {
            let found = annotations.iter().find(|(key, _)| *key == wanted);
            found
                .map(|(_, value)| *value)
                .filter(|value| !value.is_empty())
        };
        let public = match value(PUBLIC_OPTIONS) {
            Some(text) => Some(public_options(text)?),
            None => None,
        };
        Ok(Self {
            plain_type,
            // Only hints: a layer is not refused for them.
            recipients: value(RECIPIENTS)
                .and_then(|json| Recipients::from_json(json).ok())
                .unwrap_or_default(),
            public,
            wraps: Wraps::from_annotations(annotations).map_err(malformed)?,
        })
    }
}

impl Claims {
    /// Returns what names the layer; nothing without public options. `digest` is that of the sealed blob.
    pub fn layer_id(&self, digest: &Digest) -> Option<LayerId> {
        Some(match self.public.as_ref()? {
            PublicOptions::Chunked { commitment } => LayerId::Commitment(*commitment),
            PublicOptions::CtrHmac { .. } => LayerId::Ciphertext(digest.clone()),
        })
    }
}

/// Decodes the annotation [`PUBLIC_OPTIONS`].
fn public_options(text: &str) -> Result<PublicOptions, OpenError> {
    let unbroken: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let json = STANDARD.decode(unbroken).map_err(|_| {
        malformed(FormatError::Base64 {
            member: PUBLIC_OPTIONS.into(),
        })
    })?;
    PublicOptions::from_json(&json)
}

fn malformed(source: FormatError) -> OpenError {
    OpenError::Malformed {
        place: Place::Descriptor,
        source,
    }
}
