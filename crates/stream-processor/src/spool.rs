//! Where the ciphertext of an ocicrypt layer waits until its tag has been checked.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use tempfile::{SpooledTempFile, spooled_tempfile_in};

use crate::error::DecodeError;

/// Octets kept in memory before a temporary file is begun.
pub const SPOOL_MEMORY: usize = 2 * 1024 * 1024;

/// Most octets of an ocicrypt layer.
pub const MAX_SPOOL_LEN: u64 = 64 * 1024 * 1024 * 1024;

/// Ciphertext only, in a file without a name that is gone with the process.
pub(crate) struct Spool {
    file: SpooledTempFile,
    len: u64,
}

impl Spool {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            file: spooled_tempfile_in(SPOOL_MEMORY, folder),
            len: 0,
        }
    }

    pub(crate) fn push(&mut self, ciphertext: &[u8]) -> Result<(), DecodeError> {
        self.len += ciphertext.len() as u64;
        if self.len > MAX_SPOOL_LEN {
            return Err(DecodeError::SpoolLimit {
                limit: MAX_SPOOL_LEN,
            });
        }
        self.file.write_all(ciphertext).map_err(DecodeError::Spool)
    }

    /// Hands the whole ciphertext to `take`, from the beginning, in pieces as large as `buffer`.
    pub(crate) fn replay(
        &mut self,
        buffer: &mut [u8],
        mut take: impl FnMut(&[u8]) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.file
            .seek(SeekFrom::Start(0))
            .map_err(DecodeError::Spool)?;
        loop {
            let piece = read(&mut self.file, buffer).map_err(DecodeError::Spool)?;
            if piece.is_empty() {
                return Ok(());
            }
            take(piece)?;
        }
    }
}

/// Reads once into `buffer`; the result is empty only at the end.
pub(crate) fn read<'a>(source: &mut impl Read, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let len = loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    Ok(buffer.split_at(len.min(buffer.len())).0)
}
