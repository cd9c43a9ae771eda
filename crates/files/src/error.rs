use std::io;

use thiserror::Error;

/// Why the files of a layer could not be listed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListError {
    /// The octets could not be read; the source is what the reader said.
    #[error("cannot read the layer")]
    Read(#[source] io::Error),

    /// Not a tar, or a broken one.
    #[error("it is no sound tar: {reason}")]
    Tar {
        /// What is wrong.
        reason: &'static str,
    },

    /// A table of contents that contradicts itself or the blob.
    #[error("its table of contents is broken: {reason}")]
    Toc {
        /// What is wrong.
        reason: &'static str,
    },

    /// A name that no file below the root can have.
    #[error("it names a file that {reason}")]
    Name {
        /// What is wrong with it.
        reason: &'static str,
    },

    /// More than is read.
    #[error("it has more than {limit} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
}

impl ListError {
    pub(crate) fn tar(reason: &'static str) -> Self {
        Self::Tar { reason }
    }

    pub(crate) fn toc(reason: &'static str) -> Self {
        Self::Toc { reason }
    }

    /// Takes what a reader said; one that ended early is a broken tar.
    pub(crate) fn reading_tar(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof if error.get_ref().is_none() => Self::tar("it ends early"),
            _ => Self::Read(error),
        }
    }
}
