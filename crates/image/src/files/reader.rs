//! A plain layer read in order, with as much ahead as pays.

use std::io::{self, BufRead, Read};
use std::ops::Range;

use sealift_files::tar::Tape;

use crate::error::ImageError;
use crate::files::plain::PlainLayer;

/// Reads a part of a plain layer in order.
///
/// Headers of a tar lie between contents that are skipped. Where little is skipped, more and more is read at once, since a
/// request costs as much as some hundred kilobytes; where much is skipped, less and less.
pub(crate) struct PlainReader<'p, 'a> {
    plain: &'p mut PlainLayer<'a>,
    at: u64,
    end: u64,
    window: Vec<u8>,
    /// Where the window begins.
    window_at: u64,
    ahead: u64,
}

impl<'p, 'a> PlainReader<'p, 'a> {
    /// Reads everything, or what is not skipped of it.
    pub(crate) fn new(plain: &'p mut PlainLayer<'a>) -> Self {
        let range = 0..plain.len();
        Self {
            ahead: LEAST_AHEAD,
            ..Self::of(plain, range)
        }
    }

    /// Reads a range of which everything is needed.
    pub(crate) fn of(plain: &'p mut PlainLayer<'a>, range: Range<u64>) -> Self {
        Self {
            plain,
            at: range.start,
            end: range.end,
            window: Vec::new(),
            window_at: range.start,
            ahead: MOST_AHEAD,
        }
    }

    fn fill(&mut self) -> Result<(), ImageError> {
        let window_end = self.window_at + self.window.len() as u64;
        if (self.window_at..window_end).contains(&self.at) || self.at >= self.end {
            return Ok(());
        }
        if !self.window.is_empty() {
            let is_near = self.at >= window_end && self.at - window_end <= NEAR;
            self.ahead = match is_near {
                true => (self.ahead * 2).min(MOST_AHEAD),
                false => (self.ahead / 4).max(LEAST_AHEAD),
            };
        }
        let end = self.end.min(self.at.saturating_add(self.ahead));
        // Let go of first, so that there is one window at a time.
        self.window = Vec::new();
        self.window_at = self.at;
        self.window = self.plain.read(self.at..end)?;
        Ok(())
    }
}

impl BufRead for PlainReader<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill().map_err(into_io)?;
        let skip = usize::try_from(self.at.saturating_sub(self.window_at)).unwrap_or(usize::MAX);
        Ok(self.window.get(skip..).unwrap_or_default())
    }

    fn consume(&mut self, octets: usize) {
        self.at += octets as u64;
    }
}

impl Read for PlainReader<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buf)?;
        self.consume(read);
        Ok(read)
    }
}

impl Tape for PlainReader<'_, '_> {
    fn skip(&mut self, octets: u64) -> io::Result<()> {
        let at = self.at.checked_add(octets).filter(|at| *at <= self.end);
        self.at = at.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(())
    }
}

/// Wraps an error for those who read; [`of_io`] opens it again.
pub(crate) fn into_io(error: ImageError) -> io::Error {
    io::Error::other(error)
}

/// Takes an error of a reader that may wrap one of ours.
pub(crate) fn of_io(error: io::Error) -> Result<ImageError, io::Error> {
    error.downcast::<ImageError>()
}

/// Octets that a request is worth.
const NEAR: u64 = 256 * 1024;
/// Octets that are read at once at first.
const LEAST_AHEAD: u64 = 64 * 1024;
/// Most octets that are read at once.
pub(crate) const MOST_AHEAD: u64 = 4 * 1024 * 1024;
