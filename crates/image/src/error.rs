use std::io;
use std::sync::Arc;

use sealift_files::{FilePath, ListError};
use sealift_keywrap::UnwrapError;
use sealift_layer::{FormatError, OpenError, SealError};
use sealift_oci::{Digest, DocumentError};
use sealift_registry::Error as RegistryError;
use sealift_signature::Unproven;
use thiserror::Error;

/// Why an operation on an image failed. Nothing was published then: the destination's tag is where it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The operation would change nothing although it was asked to.
    #[error("nothing to do: {reason}")]
    NothingToDo {
        /// Why there is nothing.
        reason: Box<str>,
    },

    /// A layer was chosen that the image does not have.
    #[error("layer {layer} is out of range: the image has {layers} layers")]
    LayerOutOfRange {
        /// The number that was asked for.
        layer: i64,
        /// How many there are.
        layers: usize,
    },

    /// A platform was chosen that the image does not have.
    #[error("no image for platform {wanted}; there are {available}")]
    NoSuchPlatform {
        /// What was asked for.
        wanted: Box<str>,
        /// What there is.
        available: Box<str>,
    },

    /// A selected layer cannot be sealed, and would therefore stay in clear.
    #[error("layer {digest} of type `{media_type}` cannot be sealed and would stay in clear")]
    NotSealable {
        /// The layer.
        digest: Digest,
        /// Its type.
        media_type: Box<str>,
    },

    /// The index holds something that is neither image nor index.
    #[error("index entry {digest} of type `{media_type}` is not an image")]
    NotAnImage {
        /// The entry.
        digest: Digest,
        /// Its type.
        media_type: Box<str>,
    },

    /// Indexes within indexes without end.
    #[error("indexes are nested more than {limit} deep")]
    NestedTooDeeply {
        /// The limit.
        limit: usize,
    },

    /// More images than any index has, counted over all nested indexes.
    #[error("image has more than {limit} manifests")]
    TooManyManifests {
        /// The limit.
        limit: usize,
    },

    /// Manifests, indexes and configurations that would fill the memory.
    #[error("manifests and configurations of the image are longer than {limit} octets together")]
    TooManyDocuments {
        /// The limit.
        limit: usize,
    },

    /// The rewritten document is longer than registries accept.
    #[error(
        "the sealed {kind} would be {len} octets long, more than the {limit} that registries accept"
    )]
    TooLong {
        /// Manifest or index.
        kind: &'static str,
        /// Its length.
        len: usize,
        /// The limit.
        limit: usize,
    },

    /// A manifest, an index or a configuration is not well formed.
    #[error("cannot read {digest}")]
    Document {
        /// The document.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: DocumentError,
    },

    /// A layer could not be sealed.
    #[error("cannot seal layer {digest}")]
    Seal {
        /// The layer, by its plain blob.
        digest: Digest,
        /// Why.
        #[source]
        source: SealError,
    },

    /// A layer could not be opened.
    #[error("cannot open layer {digest}")]
    Open {
        /// The layer, by its sealed blob.
        digest: Digest,
        /// Why.
        #[source]
        source: OpenError,
    },

    /// What came out is not what the image's own records say.
    #[error("{what} of layer {digest} is {actual}, not {expected}")]
    Mismatch {
        /// Which fact.
        what: &'static str,
        /// The layer.
        digest: Digest,
        /// What the image says.
        expected: Box<str>,
        /// What was computed.
        actual: Box<str>,
    },

    /// Several images of an index suit, and one was asked for.
    #[error("{count} images suit platform {wanted}; there are {available}")]
    SeveralImages {
        /// What was asked for.
        wanted: Box<str>,
        /// How many suit.
        count: usize,
        /// What there is.
        available: Box<str>,
    },

    /// There is no file of that name in the image.
    #[error("there is no `{path}` in image {manifest}")]
    NoSuchFile {
        /// What was asked for, as far as links led.
        path: FilePath,
        /// The image, by its manifest.
        manifest: Digest,
    },

    /// What was to be read has no content.
    #[error("`{path}` is a {kind}, not a file")]
    NotAFile {
        /// What was asked for.
        path: FilePath,
        /// What it is.
        kind: &'static str,
    },

    /// The content of a file is stored in a way that is not read.
    #[error("cannot read `{path}`, which is stored as {form}")]
    FileForm {
        /// What was asked for.
        path: FilePath,
        /// How it is stored.
        form: &'static str,
    },

    /// Symbolic links lead to each other.
    #[error("`{path}` leads through too many links")]
    TooManyLinks {
        /// The last of them.
        path: FilePath,
    },

    /// No file has such a path.
    #[error("the path is longer than {limit} octets")]
    PathTooLong {
        /// The limit.
        limit: usize,
    },

    /// The files of a layer could not be listed, or are not as they are listed.
    #[error("cannot read the files of layer {digest}")]
    Files {
        /// The layer.
        digest: Digest,
        /// Why.
        #[source]
        source: Arc<ListError>,
    },

    /// A layer that holds no files, such as those of artifacts.
    #[error("layer {digest} of type `{media_type}` holds no files")]
    NoFiles {
        /// The layer.
        digest: Digest,
        /// Its type.
        media_type: Box<str>,
    },

    /// Nobody could open the layer any more.
    #[error("layer {digest} would have no recipient left")]
    LastRecipient {
        /// The layer.
        digest: Digest,
    },

    /// A recipient's wrapped key also stands in front of the layer itself.
    #[error("layer {digest} carries the wrapped key of that recipient itself")]
    Embedded {
        /// The layer.
        digest: Digest,
    },

    /// One wrapped key is for several recipients, of whom one cannot be taken away alone.
    #[error("element {element} of layer {digest} is for {recipients} recipients at once")]
    SharedElement {
        /// The layer.
        digest: Digest,
        /// For how many.
        recipients: usize,
        /// The element's name.
        element: Box<str>,
    },

    /// Somebody else has changed the image while it was being changed.
    #[error("the image was replaced in the meantime: it is {actual}, and was {expected}")]
    Moved {
        /// What was read.
        expected: Digest,
        /// What is there now.
        actual: Digest,
    },

    /// A sealed image has another digest, about which the signatures of the original say nothing.
    #[error(
        "the image is signed ({count} signatures or signed statements), and sealed it has another digest"
    )]
    Signed {
        /// How many there are.
        count: usize,
    },

    /// A configuration was to be sealed, and would stay readable.
    #[error(
        "the configuration of {manifest} cannot be sealed: none of its layers is sealed now, or some were before"
    )]
    ConfigNotSealable {
        /// The image.
        manifest: Digest,
    },

    /// Wrapped keys that cannot be read would get lost.
    #[error("layer {digest} has wrapped keys that cannot be read, and would get lost")]
    UnreadableWraps {
        /// The layer.
        digest: Digest,
        /// What is wrong with the first.
        #[source]
        source: FormatError,
    },

    /// The sealed configuration of an image could not be opened any more.
    #[error(
        "the sealed configuration of {manifest} opens with the key of layer {layer}, and other layers would stay sealed"
    )]
    ConfigNeedsLayer {
        /// The image.
        manifest: Digest,
        /// The layer.
        layer: Digest,
    },

    /// It is not proven that those made the image who must have.
    #[error("the image is not to be used")]
    Unproven {
        /// What was looked at in vain.
        #[source]
        source: Box<Unproven>,
    },

    /// The registry, layout or archive failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),

    /// A temporary file failed.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },

    /// Another part of the operation failed first.
    #[error("stopped because another layer failed")]
    Stopped,
}

/// What the caller can do about an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Read the message.
    Other,
    /// Ask for something that exists.
    Usage,
    /// Bring another key.
    NoKeyFits,
    /// Reject the image.
    Integrity,
    /// Look at the network, the registry, the credentials, the key holders.
    Network,
    /// Ask the operators of the key holders.
    Denied,
    /// Check the reference.
    NotFound,
    /// Nothing, or ask for something else.
    NothingToDo,
}

impl ImageError {
    /// Returns what the caller can do.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NothingToDo { .. } => Kind::NothingToDo,
            Self::LayerOutOfRange { .. }
            | Self::LastRecipient { .. }
            | Self::Embedded { .. }
            | Self::SharedElement { .. }
            | Self::ConfigNeedsLayer { .. }
            | Self::Signed { .. }
            | Self::ConfigNotSealable { .. }
            | Self::SeveralImages { .. }
            | Self::PathTooLong { .. } => Kind::Usage,
            Self::NoSuchPlatform { .. } | Self::NoSuchFile { .. } => Kind::NotFound,
            Self::Document { .. }
            | Self::Unproven { .. }
            | Self::UnreadableWraps { .. }
            | Self::Files { .. }
            | Self::Mismatch { .. }
            | Self::NestedTooDeeply { .. }
            | Self::TooManyManifests { .. }
            | Self::TooManyDocuments { .. } => Kind::Integrity,
            Self::Open {
                source: OpenError::NoKey { report, .. },
                ..
            } => match report.decisive() {
                Some(UnwrapError::Denied { .. }) => Kind::Denied,
                Some(_) => Kind::Network,
                None => Kind::NoKeyFits,
            },
            Self::Open { .. } => Kind::Integrity,
            Self::Registry(error) => match error {
                RegistryError::NotFound { .. } => Kind::NotFound,
                RegistryError::Unauthorized { .. }
                | RegistryError::Denied { .. }
                | RegistryError::Network { .. } => Kind::Network,
                RegistryError::Mismatch { .. }
                | RegistryError::FalseMirror { .. }
                | RegistryError::Malformed { .. } => Kind::Integrity,
                _ => Kind::Other,
            },
            Self::NotSealable { .. }
            | Self::NotAFile { .. }
            | Self::FileForm { .. }
            | Self::TooManyLinks { .. }
            | Self::NoFiles { .. }
            | Self::NotAnImage { .. }
            | Self::TooLong { .. }
            | Self::Seal { .. }
            | Self::Io { .. }
            | Self::Moved { .. }
            | Self::Stopped => Kind::Other,
        }
    }

    /// Takes the error of a blob reader or writer.
    pub(crate) fn from_read(error: io::Error) -> Self {
        Self::from_io("read the layer", error)
    }

    /// Takes an I/O error that may carry one of the registry's.
    pub(crate) fn from_io(action: &'static str, error: io::Error) -> Self {
        match RegistryError::of_io(&error) {
            Some(inner) => Self::Registry(inner.clone()),
            None => Self::Io {
                action,
                source: Arc::new(error),
            },
        }
    }
}
