use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use sealift_oci::{Descriptor, Digest};

use crate::error::Error;
use crate::manifest::RawManifest;
use crate::source::BlobReader;

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

    /// Stores a manifest or index under its digest.
    ///
    /// # Errors
    /// Any [`Error`]
    fn put_manifest(&self, manifest: &RawManifest) -> Result<(), Error>;

    /// Gives the image its name: moves the tag, or replaces `index.json`. Comes last.
    ///
    /// # Errors
    /// Any [`Error`]
    fn finish(&self, root: &RawManifest) -> Result<(), Error>;

    /// Copies a blob unchanged, unless it is there already; returns whether it had to be moved.
    ///
    /// `open` may be called again, to begin anew what cannot be continued.
    ///
    /// # Errors
    /// Any [`Error`]
    fn copy_blob(
        &self,
        descriptor: &Descriptor,
        open: &mut dyn FnMut() -> Result<BlobReader, Error>,
    ) -> Result<bool, Error> {
        if self.has_blob(descriptor.digest(), descriptor.size())? {
            return Ok(false);
        }
        let mut starts = 1;
        loop {
            match copy_once(self, descriptor, open()?) {
                Err(error) if error.is_lost_upload() && starts < MAX_STARTS => starts += 1,
                outcome => return outcome.map(|()| true),
            }
        }
    }
}

fn copy_once<S: Sink + ?Sized>(
    sink: &S,
    descriptor: &Descriptor,
    mut reader: BlobReader,
) -> Result<(), Error> {
    let mut writer = sink.blob(Some(descriptor.size()))?;
    let place = Path::new("blob");
    io::copy(&mut reader, &mut writer).map_err(|error| Error::from_io(error, "copy", place))?;
    writer.commit(descriptor.digest(), descriptor.size())
}

/// How often a blob is begun whose upload the registry forgets.
const MAX_STARTS: u32 = 3;

/// A blob in the making. Dropping it without [`commit`](Self::commit) leaves nothing behind.
///
/// An error is sticky; it wraps an [`Error`], see [`Error::of_io`].
pub struct BlobWriter(Box<dyn Draft>);

impl BlobWriter {
    pub(crate) fn new(draft: impl Draft + 'static) -> Self {
        Self(Box::new(draft))
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
}
