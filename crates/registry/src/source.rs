use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use sealift_oci::{Descriptor, Digest, Hasher, Reference};

use crate::error::{Error, Mismatch};
use crate::manifest::RawManifest;

/// Where an image is read from. Blocking: never call it on an async worker.
pub trait Source: fmt::Debug + Send + Sync {
    /// Fetches the manifest or index that the reference names.
    ///
    /// # Errors
    /// Any [`Error`]
    fn root(&self) -> Result<RawManifest, Error>;

    /// Fetches a manifest or index by its descriptor; size and digest are verified.
    ///
    /// # Errors
    /// Any [`Error`]
    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest, Error>;

    /// Opens a blob; size and digest are verified while it is read.
    ///
    /// # Errors
    /// Any [`Error`]; a blob that is known to be absent or of another size is refused here, not on the first read.
    fn blob(&self, descriptor: &Descriptor) -> Result<BlobReader, Error>;

    /// Opens a blob whose first `offset` octets the caller has.
    ///
    /// They are not read again where that can be helped, and then only the length is verified: whoever has the octets before
    /// `offset` must check the digest of the whole, as every [`Sink`](crate::Sink) does.
    ///
    /// # Errors
    /// As [`blob`](Self::blob)
    fn blob_from(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader, Error> {
        let mut reader = self.blob(descriptor)?;
        reader.skip(offset)?;
        Ok(reader)
    }

    /// Reads the octets of a blob from `range.start` up to `range.end`, and no others; nothing where the place has no way to
    /// do that, so that the blob can only be read from its start.
    ///
    /// **Nothing but the blob's length is verified**: a part has no digest. Whoever uses it must know by other means that it
    /// is authentic. An empty range yields no octets, and asks nobody.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::Malformed`] for a range that is not within the blob, or longer than
    /// [`MAX_PART_LEN`].
    fn blob_part(
        &self,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, Error> {
        let _ = (descriptor, range);
        Ok(None)
    }

    /// Returns the repository at a registry from which blobs come, if there is one.
    fn repository(&self) -> Option<&Reference> {
        None
    }

    /// Returns the names that the image has where it is, if the reference gives none.
    ///
    /// # Errors
    /// Any [`Error`]
    fn names(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    /// Lists the manifests whose `subject` has a digest; a source that cannot hold any lists none.
    ///
    /// # Errors
    /// Any [`Error`]
    fn referrers(&self, _subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        Ok(Vec::new())
    }

    /// Fetches what another name beside this image stands for, if there is such a name.
    ///
    /// # Errors
    /// Any [`Error`] but [`Error::NotFound`]
    fn tagged(&self, _tag: &str) -> Result<Option<RawManifest>, Error> {
        Ok(None)
    }

    /// Returns whether everything comes from this machine's disk.
    fn is_local(&self) -> bool;
}

/// Most octets that [`Source::blob_part`] gives at once.
pub const MAX_PART_LEN: u64 = crate::ranges::MAX_PART_LEN as u64;

/// Returns the length of a part that may be asked for.
pub(crate) fn part_len(descriptor: &Descriptor, range: &Range<u64>) -> Result<usize, Error> {
    let len = range.end.checked_sub(range.start);
    len.filter(|len| *len <= MAX_PART_LEN && range.end <= descriptor.size())
        .and_then(|len| usize::try_from(len).ok())
        .ok_or_else(|| {
            Error::malformed(
                format!("part of {}", crate::client::blob_what(descriptor.digest())),
                format!(
                    "{} to {} of {} is none, or too long",
                    range.start,
                    range.end,
                    descriptor.size()
                ),
            )
        })
}

/// Reads a part out of what is behind the octets in front of it.
pub(crate) fn read_part(
    mut reader: impl Read,
    len: usize,
    place: &std::path::Path,
) -> Result<Bytes, Error> {
    let mut octets = vec![0; len];
    reader
        .read_exact(&mut octets)
        .map_err(Error::io("read", place))?;
    Ok(octets.into())
}

/// A blob that is verified while it is read.
///
/// The last octets are released only when size and digest are right, so whoever has read as much as the descriptor
/// promises has read the right blob. An error is sticky and never turns into end of file; it wraps an [`Error`], see
/// [`Error::of_io`].
pub struct BlobReader {
    inner: Box<dyn Read + Send>,
    promise: Promise,
    size: u64,
    read: u64,
    check: Check,
    failed: Option<Error>,
}

/// Which blob it must be, and who is asked when it is another.
#[derive(Clone)]
struct Promise {
    digest: Digest,
    place: Box<str>,
    judge: Option<Judge>,
}

/// Says whose fault it is that a blob is another one.
type Judge = Arc<dyn Fn(Error) -> Error + Send + Sync>;

impl Promise {
    fn broken(&self, mismatch: Mismatch) -> Error {
        let error = Error::Mismatch {
            what: crate::client::blob_what(&self.digest).into(),
            place: self.place.clone(),
            mismatch,
        };
        match &self.judge {
            Some(judge) => judge(error),
            None => error,
        }
    }

    fn compare(&self, hasher: Hasher) -> Result<(), Error> {
        let actual = hasher.finish();
        if actual == self.digest {
            return Ok(());
        }
        Err(self.broken(Mismatch::Digest {
            expected: self.digest.clone(),
            actual,
        }))
    }
}

/// The check of a blob's digest, apart from its [`BlobReader`], so that it can be made on another thread.
///
/// Whoever has it must feed it everything the reader yields, in order, and must not rely on the blob before
/// [`finish`](Self::finish).
#[must_use]
pub struct BlobCheck {
    hasher: Hasher,
    promise: Promise,
}

impl BlobCheck {
    /// Takes the octets that come next.
    pub fn update(&mut self, octets: &[u8]) {
        self.hasher.update(octets);
    }

    /// Borrows what [`update`](Self::update) feeds, to feed it together with another one.
    pub fn hasher(&mut self) -> &mut Hasher {
        &mut self.hasher
    }

    /// Compares the digest of everything that was taken.
    ///
    /// # Errors
    /// What the reader would have said: [`Error::Mismatch`], or [`Error::FalseMirror`] if another place may have the blob.
    pub fn finish(self) -> Result<(), Error> {
        self.promise.compare(self.hasher)
    }
}

impl fmt::Debug for BlobCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobCheck({})", self.promise.digest)
    }
}

enum Check {
    Digest(Hasher),
    SizeOnly,
    Done,
}

impl BlobReader {
    /// Reads a blob out of `inner`; `place` names it in errors.
    pub fn new(
        inner: Box<dyn Read + Send>,
        descriptor: &Descriptor,
        place: impl Into<Box<str>>,
    ) -> Self {
        let digest = descriptor.digest().clone();
        Self {
            inner,
            check: Check::Digest(Hasher::new(digest.algorithm())),
            promise: Promise {
                digest,
                place: place.into(),
                judge: None,
            },
            size: descriptor.size(),
            read: 0,
            failed: None,
        }
    }

    /// Reads what follows the first `offset` octets of a blob out of `inner`. Only the length is checked.
    pub fn rest(
        inner: Box<dyn Read + Send>,
        descriptor: &Descriptor,
        offset: u64,
        place: impl Into<Box<str>>,
    ) -> Self {
        Self {
            read: offset.min(descriptor.size()),
            check: Check::SizeOnly,
            ..Self::new(inner, descriptor, place)
        }
    }

    /// Reads a blob out of `inner`, which is behind its first `offset` octets: [`new`](Self::new), or [`rest`](Self::rest).
    pub(crate) fn at(
        inner: Box<dyn Read + Send>,
        descriptor: &Descriptor,
        offset: u64,
        place: impl Into<Box<str>>,
    ) -> Self {
        match offset {
            0 => Self::new(inner, descriptor, place),
            _ => Self::rest(inner, descriptor, offset, place),
        }
    }

    /// Leaves the digest unchecked, for a source that the caller vouches for. The size is still checked.
    ///
    /// Works only before the first octet is read.
    #[must_use]
    pub fn trusting(mut self) -> Self {
        if self.read == 0 && matches!(self.check, Check::Digest(_)) {
            self.check = Check::SizeOnly;
        }
        self
    }

    /// Returns whether whoever reads everything knows that the digest is right.
    pub fn checks_digest(&self) -> bool {
        self.read == 0 && matches!(self.check, Check::Digest(_))
    }

    /// Leaves the digest to the caller, who feeds the check with what this reader yields. The size is still checked here.
    ///
    /// There is no check where none is to be made any more, nor after the first octet, which only the reader has seen.
    pub fn leaving_digest(mut self) -> (Self, Option<BlobCheck>) {
        if self.read > 0 {
            return (self, None);
        }
        match std::mem::replace(&mut self.check, Check::SizeOnly) {
            Check::Digest(hasher) => {
                let promise = self.promise.clone();
                (self, Some(BlobCheck { hasher, promise }))
            }
            other => {
                self.check = other;
                (self, None)
            }
        }
    }

    /// Reads through `wrap`, which sees the octets before they are checked.
    #[must_use]
    pub fn through(
        mut self,
        wrap: impl FnOnce(Box<dyn Read + Send>) -> Box<dyn Read + Send>,
    ) -> Self {
        self.inner = wrap(self.inner);
        self
    }

    /// Has a mismatch judged before it is reported.
    pub(crate) fn judged_by(
        mut self,
        judge: impl Fn(Error) -> Error + Send + Sync + 'static,
    ) -> Self {
        self.promise.judge = Some(Arc::new(judge));
        self
    }

    /// Returns the length the blob must have.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads the first `offset` octets for their part in the digest.
    fn skip(&mut self, offset: u64) -> Result<(), Error> {
        io::copy(&mut self.take(offset), &mut io::sink())
            .map(drop)
            .map_err(|error| Error::from_io(error, "read", self.promise.place.as_ref().as_ref()))
    }

    fn fill(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let left = self.size - self.read;
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let wanted = buf.get_mut(..len).unwrap_or_default();
        let len = if wanted.is_empty() {
            0
        } else {
            self.pull(wanted)?
        };
        if len == 0 && left > 0 {
            return Err(self.promise.broken(Mismatch::Truncated {
                expected: self.size,
                actual: self.read,
            }));
        }
        if let (Check::Digest(hasher), Some(octets)) = (&mut self.check, buf.get(..len)) {
            hasher.update(octets);
        }
        self.read += len as u64;
        if self.read == self.size {
            self.conclude()?;
        }
        Ok(len)
    }

    /// Checks that nothing follows, and the digest.
    fn conclude(&mut self) -> Result<(), Error> {
        let check = std::mem::replace(&mut self.check, Check::Done);
        if matches!(check, Check::Done) {
            return Ok(());
        }
        // The length first, because "longer" tells more than "different".
        if self.pull(&mut [0])? > 0 {
            return Err(self.promise.broken(Mismatch::TooLong {
                expected: self.size,
            }));
        }
        match check {
            Check::Digest(hasher) => self.promise.compare(hasher),
            Check::SizeOnly | Check::Done => Ok(()),
        }
    }

    fn pull(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.inner.read(buf) {
                Ok(len) => return Ok(len),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(Error::from_io(
                        error,
                        "read",
                        self.promise.place.as_ref().as_ref(),
                    ));
                }
            }
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(error.clone().into_io());
        }
        if buf.is_empty() {
            return Ok(0);
        }
        self.fill(buf).map_err(|error| {
            self.failed = Some(error.clone());
            error.into_io()
        })
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "BlobReader({} from {})",
            self.promise.digest, self.promise.place
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(content: &[u8], size: u64) -> Descriptor {
        let media_type = "application/octet-stream".parse().unwrap();
        Descriptor::new(media_type, Digest::sha256(content), size)
    }

    fn reader(content: &'static [u8], promised: &[u8], size: u64) -> BlobReader {
        BlobReader::new(Box::new(content), &descriptor(promised, size), "here")
    }

    /// Reads in pieces of `step`; returns what was released, and the error twice.
    fn drain(mut reader: BlobReader, step: usize) -> (Vec<u8>, Option<(String, String)>) {
        let mut released = Vec::new();
        let mut buf = vec![0; step];
        loop {
            match reader.read(&mut buf) {
                Ok(0) => return (released, None),
                Ok(len) => released.extend_from_slice(&buf[..len]),
                Err(first) => {
                    let second = reader.read(&mut buf).unwrap_err();
                    let show = |error| Error::of_io(&error).unwrap().to_string();
                    return (released, Some((show(first), show(second))));
                }
            }
        }
    }

    #[test]
    fn an_error_is_sticky_and_the_last_octets_are_withheld() {
        let digest = Digest::sha256(b"abcdef");
        let other = Digest::sha256(b"abcdeX");
        for (content, promised, size, step, released, message) in [
            (
                &b"abcdeX"[..],
                &b"abcdef"[..],
                6,
                4,
                &b"abcd"[..],
                format!("has digest {other}, not {digest}"),
            ),
            (
                b"abcdeX",
                b"abcdef",
                6,
                1,
                b"abcde",
                format!("has digest {other}, not {digest}"),
            ),
            (
                b"abcde",
                b"abcdef",
                6,
                4,
                b"abcde",
                "ends after 5 of 6 octets".into(),
            ),
            (b"", b"abcdef", 6, 4, b"", "ends after 0 of 6 octets".into()),
            (
                b"abcdefg",
                b"abcdef",
                6,
                4,
                b"abcd",
                "is longer than 6 octets".into(),
            ),
            (
                b"abcdefg",
                b"abcdefg",
                6,
                8,
                b"",
                "is longer than 6 octets".into(),
            ),
            (b"a", b"", 0, 1, b"", "is longer than 0 octets".into()),
        ] {
            let digest = Digest::sha256(promised);
            let message = format!("blob `{digest}` at here {message}");
            let outcome = drain(reader(content, promised, size), step);
            assert_eq!(
                outcome,
                (released.to_vec(), Some((message.clone(), message))),
                "{content:?}"
            );
        }
    }

    #[test]
    fn the_cut_of_the_reads_does_not_matter() {
        for step in [1, 2, 5, 6, 7, 100] {
            assert_eq!(
                drain(reader(b"abcdef", b"abcdef", 6), step),
                (b"abcdef".to_vec(), None)
            );
            assert_eq!(drain(reader(b"", b"", 0), step), (Vec::new(), None));
        }
    }

    #[test]
    fn a_trusting_reader_still_checks_the_size() {
        assert_eq!(
            drain(reader(b"abcdeX", b"abcdef", 6).trusting(), 4),
            (b"abcdeX".to_vec(), None)
        );
        let (released, error) = drain(reader(b"abc", b"abcdef", 6).trusting(), 4);
        assert_eq!(released, b"abc");
        assert!(error.unwrap().0.ends_with("ends after 3 of 6 octets"));
    }

    #[test]
    fn a_digest_that_is_left_to_the_caller_is_judged_as_the_reader_would() {
        let check = |content, promised| {
            let (mut reader, check) = reader(content, promised, 6).leaving_digest();
            let mut check = check.unwrap();
            let mut octets = Vec::new();
            reader.read_to_end(&mut octets).unwrap();
            octets.chunks(4).for_each(|piece| check.update(piece));
            check.finish().map_err(|error| error.to_string())
        };
        assert_eq!(check(b"abcdef", b"abcdef"), Ok(()));
        let (_, error) = drain(reader(b"abcdeX", b"abcdef", 6), 4);
        assert_eq!(check(b"abcdeX", b"abcdef"), Err(error.unwrap().0));
    }

    #[test]
    fn there_is_no_check_to_leave_once_octets_were_read_or_when_none_is_made() {
        let mut begun = reader(b"abcdeX", b"abcdef", 6);
        begun.read_exact(&mut [0; 2]).unwrap();
        let (begun, check) = begun.leaving_digest();
        assert!(check.is_none());
        let (_, error) = drain(begun, 4);
        assert!(error.unwrap().0.contains("has digest"));
        let (_, check) = reader(b"abcdef", b"abcdef", 6).trusting().leaving_digest();
        assert!(check.is_none());
    }

    #[test]
    fn a_reader_that_leaves_the_digest_still_checks_the_size() {
        let (short, _) = reader(b"abc", b"abcdef", 6).leaving_digest();
        let (released, error) = drain(short, 4);
        assert_eq!(released, b"abc");
        assert!(error.unwrap().0.ends_with("ends after 3 of 6 octets"));
        let (long, _) = reader(b"abcdefg", b"abcdef", 6).leaving_digest();
        let (_, error) = drain(long, 4);
        assert!(error.unwrap().0.ends_with("is longer than 6 octets"));
    }
}
