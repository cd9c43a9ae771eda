//! Standard output, piece by piece, for results that are longer than memory should hold.

use std::io::{self, Write};

use sealift_image::ImageError;

use crate::console::Console;
use crate::exit::{Code, Failure};

/// Standard output.
pub(crate) struct Output<'c> {
    console: &'c Console,
    pending: Vec<u8>,
    end: Option<End>,
}

/// Why nothing more is written.
enum End {
    /// Whoever read it has what they wanted (`sealift … | head`).
    ReaderGone,
    Failed(Failure),
}

impl<'c> Output<'c> {
    pub(crate) fn new(console: &'c Console) -> Self {
        Self {
            console,
            pending: Vec::new(),
            end: None,
        }
    }

    /// Writes octets, at the latest with [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`ImageError::Stopped`] when nothing more can be written; [`settle`](Self::settle) knows why.
    pub(crate) fn write(&mut self, octets: &[u8]) -> Result<(), ImageError> {
        self.pending.extend_from_slice(octets);
        match self.pending.len() < GATHERED {
            true => Ok(()),
            false => self.flush(),
        }
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(crate) fn flush(&mut self) -> Result<(), ImageError> {
        let mut stdout = io::stdout().lock();
        let written = stdout
            .write_all(&self.pending)
            .and_then(|()| stdout.flush());
        self.pending.clear();
        written.map_err(|error| {
            self.end = Some(match error.kind() {
                io::ErrorKind::BrokenPipe => End::ReaderGone,
                _ => End::Failed(
                    Failure::new(Code::Other, "cannot write to standard output").because(&error),
                ),
            });
            ImageError::Stopped
        })
    }

    /// Ends the output: a failure to write is that of the command, a reader that has gone away is none.
    pub(crate) fn settle(mut self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        match (self.end.take(), outcome) {
            (Some(End::ReaderGone), _) => Ok(()),
            (Some(End::Failed(failure)), _) => Err(failure),
            (None, Ok(())) => Ok(()),
            (None, Err(failure)) => {
                // What was authentic before the failure is written; the exit code tells that it is not all.
                if self.flush().is_err() {
                    self.console.detail("standard output was closed");
                }
                Err(failure)
            }
        }
    }
}

/// Octets that are gathered before they are written.
const GATHERED: usize = 64 * 1024;
