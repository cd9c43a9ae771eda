use std::io;
use std::path::PathBuf;

use sealift_keywrap::UnwrapError;
use sealift_layer::{KeyReport, OpenError};
use sealift_oci::{Digest, MediaTypeError};
use thiserror::Error;

use crate::payload::PayloadError;

/// Why a layer was not decoded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The layer was refused.
    #[error(transparent)]
    Open(#[from] OpenError),

    /// The layer was refused; this one.
    #[error("{source} (layer {layer})")]
    Layer {
        /// Its commitment or ciphertext digest.
        layer: Box<str>,
        /// Why.
        source: OpenError,
    },

    /// No key fits the wrapped keys at hand, and containerd's content store could not be searched for others.
    #[error("{source}; not all of containerd's content store was read: {fault}")]
    NoKeyAndStore {
        /// [`OpenError::NoKey`].
        source: OpenError,
        /// Why the content store was not read to its end.
        fault: io::Error,
    },

    /// Nothing says how the layer is sealed: neither the blob, nor a payload, nor the content store.
    #[error(
        "layer {digest} does not describe itself, containerd sent no description, and there is none in {}",
        .store.display()
    )]
    NoDescription {
        /// The digest of the ciphertext.
        digest: Digest,
        /// Where it was looked for.
        store: PathBuf,
        /// Why not everything there could be read, unless it could.
        #[source]
        fault: Option<io::Error>,
    },

    /// The payload is not what containerd sends.
    #[error(transparent)]
    Payload(#[from] PayloadError),

    /// Nobody says what kind of layer this is.
    #[error("the layer's media type is not known: STREAM_PROCESSOR_MEDIATYPE is not set")]
    NoMediaType,

    /// The media type is none.
    #[error(transparent)]
    MediaType(#[from] MediaTypeError),

    /// Standard input failed.
    #[error("cannot read the sealed layer")]
    Read(#[source] io::Error),

    /// Standard output failed.
    #[error("cannot write the plain layer")]
    Write(#[source] io::Error),

    /// The temporary file failed.
    #[error("cannot keep the sealed layer until it has been checked")]
    Spool(#[source] io::Error),

    /// The layer is longer than may be kept.
    #[error("sealed layer is longer than {limit} octets")]
    SpoolLimit {
        /// The limit.
        limit: u64,
    },

    /// The payload could not be read.
    #[error("cannot read the payload")]
    PayloadSource(#[source] io::Error),
}

impl DecodeError {
    /// Returns the exit code that tells this kind of failure from others.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Open(error) | Self::Layer { source: error, .. } => match error {
                OpenError::NoKey { .. } => self.no_key_code(),
                _ => 4,
            },
            Self::MediaType(_) | Self::Payload(_) => 4,
            Self::NoKeyAndStore { .. } => self.no_key_code(),
            Self::NoDescription { .. } => 7,
            Self::NoMediaType => 2,
            Self::Read(_)
            | Self::Write(_)
            | Self::Spool(_)
            | Self::SpoolLimit { .. }
            | Self::PayloadSource(_) => 1,
        }
    }

    /// Returns whether only the reader of the output went away, which is not worth a message.
    pub fn is_quiet(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Returns the setting or command that helps, where there is one.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoDescription { .. } => Some(
                "--containerd-root must name containerd's root folder; containerd 2.1 and later describe layers to decoders \
                 only with `use_local_image_pull = true` in [plugins.'io.containerd.cri.v1.images'], and then ask no \
                 image verifier",
            ),
            Self::NoMediaType => Some(
                "containerd sets it; by hand: STREAM_PROCESSOR_MEDIATYPE=<media type>+encrypted",
            ),
            Self::Open(_) | Self::NoKeyAndStore { .. } => match self.decisive()? {
                UnwrapError::ProviderUnavailable { .. } => Some(
                    "the file in OCICRYPT_KEYPROVIDER_CONFIG tells how key providers are reached",
                ),
                UnwrapError::Denied { .. } => Some(
                    "ask the operators of the key holders; the reason is in their audit record",
                ),
                _ => Some("`sealift agent status` tells which holders can be reached"),
            },
            Self::Spool(_) => Some("--spool-dir names a folder with room for the layer"),
            _ => None,
        }
    }

    /// Returns whether another private key may help.
    pub fn is_no_key(&self) -> bool {
        self.report().is_some() && self.decisive().is_none()
    }

    /// Returns what key holders said, or that they could not be reached.
    fn decisive(&self) -> Option<&UnwrapError> {
        self.report()?.decisive()
    }

    fn report(&self) -> Option<&KeyReport> {
        match self {
            Self::Open(OpenError::NoKey { report, .. })
            | Self::NoKeyAndStore {
                source: OpenError::NoKey { report, .. },
                ..
            } => Some(report),
            _ => None,
        }
    }

    fn no_key_code(&self) -> u8 {
        match self.decisive() {
            Some(UnwrapError::Denied { .. }) => 6,
            Some(_) => 5,
            None => 3,
        }
    }

    pub(crate) fn of_layer(layer: impl ToString, source: OpenError) -> Self {
        match source {
            // Names its layer itself.
            OpenError::NoKey { .. } => Self::Open(source),
            source => Self::Layer {
                layer: layer.to_string().into(),
                source,
            },
        }
    }
}
