//! Which files a layer holds: by its table of contents, by the headers of its tar, or by unpacking it.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use sealift_files::zstd_chunked::{self, Position};
use sealift_files::{LayerFiles, ListError, Toc, estargz, tar};
use sealift_oci::{Compression, Digest};

use crate::error::ImageError;
use crate::files::plain::PlainLayer;
use crate::files::reader::{PlainReader, of_io};
use crate::files::unpacked::unpack;

/// How the files lie in a layer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// One after the other in a tar.
    Tar,
    /// The same, packed as one stream.
    Stream(Compression),
    /// Each packed for itself.
    Table(Compression),
}

/// Lists the files of a layer.
///
/// The list is authentic: that of a layer in clear because of the digest that its descriptor has for the table of contents,
/// else because all of the layer was read.
pub(crate) fn list(plain: &mut PlainLayer<'_>) -> Result<(LayerFiles, Form), ImageError> {
    let Some(compression) = plain.media_type().compression() else {
        return Err(ImageError::NoFiles {
            digest: plain.descriptor().digest().clone(),
            media_type: plain.descriptor().media_type().as_str().into(),
        });
    };
    if let Some(toc) = table(plain, compression)? {
        let mut files = LayerFiles::default();
        for member in toc.members {
            files.add(member).map_err(|error| unlisted(plain, error))?;
        }
        return Ok((files, Form::Table(compression)));
    }
    let mut files = LayerFiles::default();
    let mut add = |member| files.add(member);
    let (walked, form) = match compression {
        Compression::None => {
            plain.authenticate()?;
            (tar::walk(&mut PlainReader::new(plain), &mut add), Form::Tar)
        }
        packed => {
            plain.keep_for_stream()?;
            let mut stream = unpack(plain, packed)?;
            (tar::walk(&mut *stream, &mut add), Form::Stream(packed))
        }
    };
    walked.map_err(|error| unlisted(plain, error))?;
    Ok((files, form))
}

/// Reads the table of contents, if there is one that can be relied on.
fn table(plain: &mut PlainLayer<'_>, compression: Compression) -> Result<Option<Toc>, ImageError> {
    let annotated = |plain: &PlainLayer<'_>, keys: &[&str]| -> Option<String> {
        let mut found = keys
            .iter()
            .filter_map(|key| plain.descriptor().annotation(key));
        found.next().map(str::to_owned)
    };
    let expected = |plain: &PlainLayer<'_>, keys: &[&str]| -> Option<Digest> {
        annotated(plain, keys)?.parse().ok()
    };
    match compression {
        Compression::None => Ok(None),
        Compression::Gzip => {
            let digest = expected(plain, &[estargz::TOC_DIGEST]);
            if digest.is_none() && !plain.is_sealed() {
                return Ok(None);
            }
            let end = plain.len();
            let tail = plain.read(end.saturating_sub(estargz::FOOTER_LEN)..end)?;
            let Some(offset) = estargz::toc_offset(&tail) else {
                return Ok(None);
            };
            let packed = packed_table(plain, offset..end)?;
            let toc = estargz::toc(&packed, offset, digest.as_ref());
            toc.map(Some).map_err(|error| unlisted(plain, error))
        }
        Compression::Zstd => {
            let digest = expected(plain, &zstd_chunked::CHECKSUM);
            if digest.is_none() && !plain.is_sealed() {
                return Ok(None);
            }
            let annotated = annotated(plain, &zstd_chunked::POSITION);
            let mut position = annotated.as_deref().and_then(Position::of_annotation);
            if position.is_none() {
                let end = plain.len();
                let tail = plain.read(end.saturating_sub(zstd_chunked::FOOTER_LEN)..end)?;
                position = Position::of_footer(&tail);
            }
            let Some(position) = position else {
                return Ok(None);
            };
            let packed = packed_table(plain, position.packed.clone())?;
            let toc = zstd_chunked::toc(&position, &packed, digest.as_ref());
            toc.map(Some).map_err(|error| unlisted(plain, error))
        }
    }
}

fn packed_table(plain: &mut PlainLayer<'_>, range: Range<u64>) -> Result<Vec<u8>, ImageError> {
    let len = range.end.checked_sub(range.start).filter(|len| *len > 0);
    match len.filter(|_| range.end <= plain.len()) {
        None => Err(unlisted(
            plain,
            ListError::Toc {
                reason: "it lies outside of the layer",
            },
        )),
        Some(len) if len > MAX_PACKED_TABLE => Err(unlisted(
            plain,
            ListError::TooMuch {
                what: "octets in its packed table of contents",
                limit: MAX_PACKED_TABLE,
            },
        )),
        Some(_) => plain.read(range),
    }
}

/// Most octets of a table of contents as it is packed.
const MAX_PACKED_TABLE: u64 = 64 * 1024 * 1024;

/// Names the layer whose files cannot be listed; what a reader said of its own stands.
pub(crate) fn unlisted(plain: &PlainLayer<'_>, error: ListError) -> ImageError {
    let error = match error {
        ListError::Read(inner) => match of_io(inner) {
            Ok(own) => return own,
            Err(other) => unpacking(other),
        },
        other => other,
    };
    ImageError::Files {
        digest: plain.descriptor().digest().clone(),
        source: Arc::new(error),
    }
}

fn unpacking(error: io::Error) -> ListError {
    ListError::Read(error)
}
