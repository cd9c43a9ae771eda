use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use sealift_oci::{Descriptor, Digest, Reference};

use crate::error::Error;
use crate::manifest::RawManifest;
use crate::source::Source;

/// Where an image is written to. Blocking: never call it on an async worker.
///
/// The order is blobs, then manifests with children before parents, then [`finish`](Self::finish), which alone makes
/// the image visible under its name.
pub trait Sink: fmt::Debug + Send + Sync {
    /// Returns whether the blob is there already.
    ///
    /// # Errors
    /// Any [`Error`]
    fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, Error>;

    /// Begins a blob whose digest will be known at its end.
    ///
    /// # Errors
    /// Any [`Error`]
    fn blob(&self, size: Option<u64>) -> Result<BlobWriter, Error>;

    /// Begins a blob that is known beforehand, without moving what need not be moved.
    ///
    /// `from` is a repository that holds the blob: a registry that has it too may show it here at once.
    ///
    /// # Errors
    /// Any [`Error`]
    fn begin(&self, descriptor: &Descriptor, from: Option<&Reference>) -> Result<Begun, Error> {
        let _ = from;
        if self.has_blob(descriptor.digest(), descriptor.size())? {
            return Ok(Begun::Present);
        }
        self.blob(Some(descriptor.size())).map(Begun::Missing)
    }

    /// Stores a manifest or index under its digest.
    ///
    /// # Errors
    /// Any [`Error`]
    fn put_manifest(&self, manifest: &RawManifest) -> Result<(), Error>;

    /// Stores a manifest that belongs to the image without being part of it: a referrer, or with a tag what is found by
    /// its name, such as cosign's signatures. Comes before [`finish`](Self::finish).
    ///
    /// # Errors
    /// Any [`Error`]
    fn attach(&self, manifest: &RawManifest, tag: Option<&str>) -> Result<(), Error>;

    /// Stores the image's own manifest and gives it its name: moves the tag, or replaces `index.json`. Comes last.
    ///
    /// # Errors
    /// Any [`Error`]
    fn finish(&self, root: &RawManifest) -> Result<(), Error>;

    /// Copies a blob unchanged, unless it is there already; returns whether it had to be moved.
    ///
    /// # Errors
    /// Any [`Error`]
    fn copy_blob(&self, descriptor: &Descriptor, source: &dyn Source) -> Result<bool, Error> {
        let mut starts = 1;
        loop {
            let Begun::Missing(writer) = self.begin(descriptor, source.repository())? else {
                return Ok(false);
            };
            match copy_once(descriptor, source, writer) {
                Err(error) if error.begins_anew(starts) => starts += 1,
                outcome => return outcome.map(|()| true),
            }
        }
    }
}

fn copy_once(
    descriptor: &Descriptor,
    source: &dyn Source,
    mut writer: BlobWriter,
) -> Result<(), Error> {
    let written = writer.fill(|writer, offset| {
        let mut reader = source.blob_from(descriptor, offset)?;
        io::copy(&mut reader, writer)
            .map(drop)
            .map_err(|error| Error::from_io(error, "copy", Path::new("blob")))
    });
    match written {
        Ok(()) => writer.commit(descriptor.digest(), descriptor.size()),
        Err(error) => {
            writer.give_up(&error);
            Err(error)
        }
    }
}

/// What a sink makes of a blob that is known beforehand.
#[derive(Debug)]
pub enum Begun {
    /// It is there.
    Present,
    /// It must be written, from [`BlobWriter::offset`] on.
    Missing(BlobWriter),
}

/// A blob in the making. Dropping it without [`commit`](Self::commit) leaves no blob behind.
///
/// What was written of a blob that [`Sink::begin`] knew is kept for the next attempt, where the sink can.
///
/// An error is sticky unless [`fill`](Self::fill) mends it; it wraps an [`Error`], see [`Error::of_io`].
pub struct BlobWriter(Box<dyn Draft>);

impl BlobWriter {
    pub(crate) fn new(draft: impl Draft + 'static) -> Self {
        Self(Box::new(draft))
    }

    /// Returns how many octets an earlier attempt has left; what is written continues there.
    pub fn offset(&self) -> u64 {
        self.0.offset()
    }

    /// Calls `write` to write everything from an offset on, and again, from where the sink then is, as often as writing
    /// breaks off in a way that can be mended. Afterwards everything has arrived, and is to be committed.
    ///
    /// # Errors
    /// That of `write`, if it is not the sink's or cannot be mended, or what made mending it fail
    pub fn fill<E: From<Error>>(
        &mut self,
        mut write: impl FnMut(&mut Self, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut offset = self.offset();
        loop {
            let written = write(self, offset).and_then(|()| Ok(self.0.settle()?));
            let Err(error) = written else { return Ok(()) };
            match self.0.recover()? {
                Some(there) => offset = there,
                None => return Err(error),
            }
        }
    }

    /// Leaves the digest to the caller: [`commit`](Self::commit) believes the one it is told.
    ///
    /// For whoever hashes what is written anyway, as it comes. Works only before the first octet.
    pub fn leave_digest(&mut self) {
        self.0.leave_digest();
    }

    /// Ends the attempt. After a [`Error::Mismatch`] nothing is kept of it: what was read is not the blob.
    pub fn give_up(self, error: &Error) {
        if let Error::Mismatch { .. } | Error::FalseMirror { .. } = error {
            self.0.forget();
        }
    }

    /// Ends the blob and stores it under its digest, if it is the one.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if other octets were written; any other [`Error`]
    pub fn commit(self, digest: &Digest, size: u64) -> Result<(), Error> {
        self.0.commit(digest, size)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.append(buf).map_err(Error::into_io)?;
        Ok(buf.len())
    }

    /// Does nothing: only [`commit`](Self::commit) makes octets last.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for BlobWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlobWriter")
    }
}

/// How one kind of sink takes a blob. Dropping it abandons the blob.
pub(crate) trait Draft: Send {
    fn append(&mut self, octets: &[u8]) -> Result<(), Error>;
    fn commit(self: Box<Self>, digest: &Digest, size: u64) -> Result<(), Error>;

    /// Returns how many octets are there before the first is appended.
    fn offset(&self) -> u64 {
        0
    }

    /// Waits until what was appended has arrived, where it would be lost otherwise if it did not.
    fn settle(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Makes good for a failure of `append` or `settle`; returns from where to append again, or nothing if it is final, or
    /// there was none.
    fn recover(&mut self) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    /// Need not compute the digest, which the caller does. A draft that must know it itself may go on to.
    fn leave_digest(&mut self) {}

    /// Keeps nothing for a later attempt.
    fn forget(self: Box<Self>) {}
}
