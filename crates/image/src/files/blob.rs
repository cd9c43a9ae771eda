//! A stored blob that is read in parts: where it is, or after all of it was kept.

use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;

use bytes::Bytes;
use sealift_oci::Descriptor;
use sealift_registry::{MAX_PART_LEN, Source};
use tempfile::SpooledTempFile;

use crate::error::ImageError;
use crate::files::WholeReason;
use crate::opening::SPOOL_IN_MEMORY;
use crate::progress::{Action, Event, Progress};
use crate::pump::pass;
use crate::work::restarting;

/// A blob, and as much of it as was needed.
pub(crate) struct Blob<'a> {
    source: &'a dyn Source,
    descriptor: Descriptor,
    progress: &'a dyn Progress,
    /// Place in the image, for messages.
    index: usize,
    kept: Option<SpooledTempFile>,
    /// Whether all of it was read, and had its digest.
    is_verified: bool,
    whole: Option<WholeReason>,
    fetched: u64,
}

impl<'a> Blob<'a> {
    pub(crate) fn new(
        index: usize,
        descriptor: &Descriptor,
        source: &'a dyn Source,
        progress: &'a dyn Progress,
    ) -> Self {
        Self {
            source,
            descriptor: descriptor.clone(),
            progress,
            index,
            kept: None,
            is_verified: false,
            whole: None,
            fetched: 0,
        }
    }

    pub(crate) fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    pub(crate) fn is_local(&self) -> bool {
        self.source.is_local()
    }

    pub(crate) fn fetched(&self) -> u64 {
        self.fetched
    }

    pub(crate) fn whole(&self) -> Option<WholeReason> {
        self.whole
    }

    /// Reads the octets of a range, which must lie within the blob. They are authentic only if all of it was kept.
    pub(crate) fn part(&mut self, range: Range<u64>) -> Result<Bytes, ImageError> {
        if self.kept.is_none() {
            match self.fetch(range.clone())? {
                Some(octets) => return Ok(octets),
                None => self.keep(WholeReason::NoParts)?,
            }
        }
        let kept = self.kept.as_mut().ok_or(ImageError::Stopped)?;
        let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let mut octets = vec![0; len];
        kept.seek(SeekFrom::Start(range.start))
            .and_then(|_| kept.read_exact(&mut octets))
            .map_err(|error| ImageError::from_io("read the layer that was kept", error))?;
        Ok(octets.into())
    }

    /// Reads a range where the blob is; nothing if there are no parts to be had.
    fn fetch(&mut self, range: Range<u64>) -> Result<Option<Bytes>, ImageError> {
        let mut octets: Option<Vec<u8>> = None;
        let mut at = range.start;
        loop {
            let end = range.end.min(at.saturating_add(MAX_PART_LEN));
            let Some(part) = self.source.blob_part(&self.descriptor, at..end)? else {
                return Ok(None);
            };
            self.fetched += part.len() as u64;
            at = end;
            match &mut octets {
                None if at >= range.end => return Ok(Some(part)),
                octets => octets.get_or_insert_default().extend_from_slice(&part),
            }
            if at >= range.end {
                return Ok(octets.map(Bytes::from));
            }
        }
    }

    /// Makes sure that all of the blob was read and has its digest. It is kept unless it lies on this machine.
    ///
    /// Beyond [`SPOOL_IN_MEMORY`] it is kept in a temporary file that has no name and goes with the process.
    pub(crate) fn verify(&mut self, reason: WholeReason) -> Result<(), ImageError> {
        if self.is_verified {
            return Ok(());
        }
        match self.source.is_local() {
            false => self.keep(reason),
            true => self.read_whole(reason, |_, _| Ok(())),
        }
    }

    /// Makes sure that all of the blob is kept, and has its digest.
    pub(crate) fn keep(&mut self, reason: WholeReason) -> Result<(), ImageError> {
        if self.kept.is_some() {
            return Ok(());
        }
        let failed = |error| ImageError::from_io("keep the layer in a temporary file", error);
        self.read_whole(reason, |kept, piece| kept.write_all(piece).map_err(failed))
    }

    /// Says that all of the blob is going to be read.
    pub(crate) fn tell_whole(&mut self, reason: WholeReason) {
        self.whole = Some(reason);
        self.progress.event(Event::WholeLayer {
            index: self.index,
            digest: self.descriptor.digest(),
            size: self.descriptor.size(),
            reason,
        });
    }

    fn read_whole(
        &mut self,
        reason: WholeReason,
        mut take: impl FnMut(&mut SpooledTempFile, &[u8]) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        self.tell_whole(reason);
        let (digest, size) = (self.descriptor.digest(), self.descriptor.size());
        self.progress.event(Event::Started {
            digest,
            size,
            action: Action::Read,
        });
        let mut kept = restarting(|| {
            let mut kept = SpooledTempFile::new(SPOOL_IN_MEMORY);
            let mut reader = self.source.blob(&self.descriptor)?;
            pass(&mut reader, |piece| {
                self.progress.event(Event::Advanced {
                    digest,
                    bytes: piece.len() as u64,
                });
                take(&mut kept, piece)
            })?;
            Ok(kept)
        })?;
        self.progress.event(Event::Finished { digest });
        self.fetched += size;
        self.is_verified = true;
        let len = kept
            .seek(SeekFrom::End(0))
            .map_err(|error| ImageError::from_io("read the layer that was kept", error))?;
        // What lies on this machine was only read.
        self.kept = (len == size).then_some(kept);
        Ok(())
    }
}
