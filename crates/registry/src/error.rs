use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sealift_oci::Digest;
use thiserror::Error;

use crate::retry::is_transient;

/// Why something could not be read or written.
///
/// Variants differ by what the caller can do. No variant carries a credential, a token or the query of a URL.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The image, manifest, blob or file does not exist there: check the reference.
    #[error("{what} was not found at {place}")]
    NotFound {
        /// What was looked for.
        what: Box<str>,
        /// Registry and repository, or path.
        place: Box<str>,
    },

    /// The registry wants other credentials: log in.
    #[error("{request} needs credentials: {detail}")]
    Unauthorized {
        /// Method, host and path.
        request: Box<str>,
        /// Which credentials were tried, and what the registry said.
        detail: Box<str>,
    },

    /// The credentials are known but not good for this: ask the owner of the repository.
    #[error("{request} was denied: {detail}")]
    Denied {
        /// Method, host and path.
        request: Box<str>,
        /// What the registry said.
        detail: Box<str>,
    },

    /// The registry or the way to it failed: try later, see [`may_retry`](Self::may_retry).
    #[error("{request} failed (attempt {attempts})")]
    Network {
        /// Method, host and path.
        request: Box<str>,
        /// How often it was tried.
        attempts: u32,
        /// What happened last.
        #[source]
        failure: Failure,
    },

    /// The content is not what its descriptor promises: reject it.
    #[error("{what} at {place} {mismatch}")]
    Mismatch {
        /// Which manifest or blob.
        what: Box<str>,
        /// Registry and repository, or path.
        place: Box<str>,
        /// How it differs.
        mismatch: Mismatch,
    },

    /// A mirror gave something else than the blob, and is not asked for it again: read it from its start, elsewhere.
    #[error("{what} at mirror {place} {mismatch}")]
    FalseMirror {
        /// Which blob.
        what: Box<str>,
        /// The mirror, or those that gave parts of it.
        place: Box<str>,
        /// How it differs.
        mismatch: Mismatch,
    },

    /// Something that was read breaks its specification: reject it.
    #[error("{what} is malformed: {reason}")]
    Malformed {
        /// Which document, header or file.
        what: Box<str>,
        /// What is wrong with it.
        reason: Box<str>,
    },

    /// A form of storage, request or protocol that is not supported: use another one.
    #[error("{what}")]
    Unsupported {
        /// What is not supported, and what is instead.
        what: Box<str>,
    },

    /// What an earlier process had written of a blob was not its beginning. It is gone: write the blob from its start.
    #[error("what an earlier run left of {what} at {place} was damaged")]
    DamagedLeftover {
        /// Which blob.
        what: Box<str>,
        /// The folder.
        place: Box<str>,
    },

    /// A local file could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
}

impl Error {
    /// Returns whether the same operation, begun anew, may succeed without anybody changing anything.
    ///
    /// Attempts have been made already, so later is better than at once; only
    /// [`begins_anew`](Self::begins_anew) asks for a new start without delay.
    pub fn may_retry(&self) -> bool {
        let Self::Network { failure, .. } = self else {
            return false;
        };
        match failure {
            Failure::Status { status, .. } => is_transient(*status),
            Failure::Tls(_) | Failure::NotTls(_) => false,
            Failure::Transport(_)
            | Failure::Stalled { .. }
            | Failure::Busy { .. }
            | Failure::Overwritten
            | Failure::UploadLost { .. } => true,
        }
    }

    /// Returns whether what was written of a blob is lost, so that it must be written again from its start: a registry
    /// forgot an upload, or what an earlier process left was damaged.
    pub fn is_lost_upload(&self) -> bool {
        let lost = |failure: &Failure| matches!(failure, Failure::UploadLost { .. });
        matches!(self, Self::DamagedLeftover { .. })
            || matches!(self, Self::Network { failure, .. } if lost(failure))
    }

    /// Returns whether a blob is to be moved again, at once and from its start, after it was begun `starts` times.
    ///
    /// A lost upload is not begun for ever. A mirror that failed is left out the next time, so this comes to an end too.
    pub fn begins_anew(&self, starts: u32) -> bool {
        matches!(self, Self::FalseMirror { .. }) || (self.is_lost_upload() && starts < MAX_STARTS)
    }

    /// Returns the error that a [`BlobReader`](crate::BlobReader) or [`BlobWriter`](crate::BlobWriter) reported as an I/O error.
    pub fn of_io(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Wraps into an I/O error that [`of_io`](Self::of_io) opens again.
    pub fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::NotFound { .. } => io::ErrorKind::NotFound,
            Self::Unauthorized { .. } | Self::Denied { .. } => io::ErrorKind::PermissionDenied,
            Self::Mismatch { .. }
            | Self::FalseMirror { .. }
            | Self::Malformed { .. }
            | Self::DamagedLeftover { .. } => io::ErrorKind::InvalidData,
            Self::Unsupported { .. } => io::ErrorKind::Unsupported,
            Self::Network { .. } => io::ErrorKind::Other,
            Self::Io { source, .. } => source.kind(),
        };
        io::Error::new(kind, self)
    }

    /// Takes an I/O error from a reader or writer that may wrap one of ours.
    pub(crate) fn from_io(error: io::Error, action: &'static str, path: &Path) -> Self {
        match Self::of_io(&error) {
            Some(inner) => inner.clone(),
            None => Self::io(action, path)(error),
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }

    pub(crate) fn malformed(what: impl Into<Box<str>>, reason: impl Into<Box<str>>) -> Self {
        Self::Malformed {
            what: what.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn unsupported(what: impl Into<Box<str>>) -> Self {
        Self::Unsupported { what: what.into() }
    }
}

/// How often a blob is begun whose upload is lost.
const MAX_STARTS: u32 = 3;

/// How content differs from its descriptor.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Mismatch {
    /// Other content.
    #[error("has digest {actual}, not {expected}")]
    Digest {
        /// What the descriptor or the registry promised.
        expected: Digest,
        /// What was computed.
        actual: Digest,
    },

    /// The other side announces another length.
    #[error("is announced with {actual} octets, not {expected}")]
    Size {
        /// What the descriptor promised.
        expected: u64,
        /// What was announced.
        actual: u64,
    },

    /// Fewer octets than promised.
    #[error("ends after {actual} of {expected} octets")]
    Truncated {
        /// What the descriptor promised.
        expected: u64,
        /// What there was.
        actual: u64,
    },

    /// More octets than promised.
    #[error("is longer than {expected} octets")]
    TooLong {
        /// What the descriptor promised.
        expected: u64,
    },

    /// The receiving registry computed another digest or size.
    #[error("was refused by the registry as not matching {expected}")]
    Refused {
        /// What was announced to the registry.
        expected: Digest,
    },
}

/// What happened to a request that did not get its answer.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Failure {
    /// The answer was not the one asked for.
    #[error("the registry answered {status}{}{detail}", if detail.is_empty() { "" } else { ": " })]
    Status {
        /// The HTTP status.
        status: u16,
        /// Error code and message out of the answer's body.
        detail: Box<str>,
    },

    /// The connection could not be made, or broke.
    #[error("the connection failed")]
    Transport(#[source] Arc<dyn std::error::Error + Send + Sync>),

    /// One side does not accept the other: add the server's authority, or show another certificate.
    #[error("the TLS connection was refused")]
    Tls(#[source] Arc<dyn std::error::Error + Send + Sync>),

    /// The server answers in clear: use plain HTTP, if that is wanted.
    #[error("the server does not speak TLS")]
    NotTls(#[source] Arc<dyn std::error::Error + Send + Sync>),

    /// Nothing moved for too long.
    #[error("no data moved for {seconds} seconds")]
    Stalled {
        /// The limit.
        seconds: u64,
    },

    /// The registry asks for a pause that is longer than the operation may wait.
    #[error("the registry asks to wait {seconds} seconds")]
    Busy {
        /// What it asks for.
        seconds: u64,
    },

    /// Others moved the same tag again and again.
    #[error("others keep writing over what was written")]
    Overwritten,

    /// The registry forgot an upload after it had acknowledged a part: the blob must be written from its start.
    #[error("the registry lost the upload after {acknowledged} octets")]
    UploadLost {
        /// How much had been acknowledged.
        acknowledged: u64,
    },
}
