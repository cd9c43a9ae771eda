//! zstd:chunked: zstd frames file by file, and behind them, in frames that decoders skip, a table of contents (`SPEC.md`,
//! section 2).

use std::io::Read;
use std::ops::Range;

use sealift_oci::Digest;

use crate::error::ListError;
use crate::member::Chunk;
use crate::{MAX_TOC_LEN, Toc};

/// The annotations of a layer's descriptor that say where the table is: offset, length, unpacked length, and type. The second is
/// that of the first versions.
pub const POSITION: [&str; 2] = [
    "io.github.containers.zstd-chunked.manifest-position",
    "io.containers.zstd-chunked.manifest-position",
];
/// The annotations that hold the digest of the table as it is packed.
pub const CHECKSUM: [&str; 2] = [
    "io.github.containers.zstd-chunked.manifest-checksum",
    "io.containers.zstd-chunked.manifest-checksum",
];

/// Octets of the longest footer with the header of its frame; whoever has as many from the blob's end can look for one.
pub const FOOTER_LEN: u64 = 72;

/// Where a table is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Position {
    /// Its octets in the blob.
    pub packed: Range<u64>,
    /// How long it is unpacked.
    pub len: u64,
}

impl Position {
    /// Looks for a footer; `tail` are the last octets of a blob, [`FOOTER_LEN`] of them if it has as many.
    ///
    /// Nothing for a layer without one, also for one whose footer names no place for a table.
    pub fn of_footer(tail: &[u8]) -> Option<Self> {
        let footer = tail.strip_suffix(MAGIC)?;
        // Later versions say more behind the first four numbers; the length of the frame tells which one it is.
        PAYLOADS.iter().find_map(|payload| {
            let numbers = payload.checked_sub(MAGIC.len())?;
            let at = footer.len().checked_sub(numbers)?;
            let (before, numbers) = footer.split_at_checked(at)?;
            let len = u32::try_from(*payload).ok()?;
            let frame = [SKIPPABLE.to_le_bytes(), len.to_le_bytes()].concat();
            if !before.ends_with(&frame) {
                return None;
            }
            let mut numbers = numbers
                .chunks_exact(8)
                .map_while(|number| number.try_into().ok().map(u64::from_le_bytes));
            let mut next = || numbers.next();
            Self::new(next()?, next()?, next()?, next()?)
        })
    }

    /// Reads the annotation [`POSITION`]: four numbers with colons between them.
    pub fn of_annotation(text: &str) -> Option<Self> {
        let mut numbers = text.split(':').map(|number| {
            let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| number.parse().ok()).flatten()
        });
        let mut next = || numbers.next().flatten();
        let position = Self::new(next()?, next()?, next()?, next()?);
        position.filter(|_| numbers.next().is_none())
    }

    fn new(offset: u64, packed_len: u64, len: u64, kind: u64) -> Option<Self> {
        let end = offset.checked_add(packed_len)?;
        (kind == TABLE && packed_len > 0).then_some(Self {
            packed: offset..end,
            len,
        })
    }
}

const MAGIC: &[u8] = b"GnUlInUx";
/// The frame of the footer (RFC 8878, section 3.1.2).
const SKIPPABLE: u32 = 0x184d_2a50;
/// Lengths of the footers that were ever written.
const PAYLOADS: [usize; 3] = [64, 56, 40];
/// The one type of table: that of CRFS, which became eStargz.
const TABLE: u64 = 1;

/// Unpacks and parses a table; `packed` are the octets that its position names. `expected` is the digest that the layer's
/// descriptor promises.
///
/// # Errors
/// [`ListError::Toc`], also for another digest or length; the other errors of [`Toc::parse`].
pub fn toc(
    position: &Position,
    packed: &[u8],
    expected: Option<&Digest>,
) -> Result<Toc, ListError> {
    if let Some(expected) = expected
        && Digest::of(expected.algorithm(), packed) != *expected
    {
        return Err(ListError::toc("it is not the one that the manifest names"));
    }
    if position.len > MAX_TOC_LEN {
        return Err(ListError::TooMuch {
            what: "octets in its table of contents",
            limit: MAX_TOC_LEN,
        });
    }
    let broken = |_: std::io::Error| ListError::toc("it cannot be unpacked");
    let mut json = Vec::new();
    decoder(packed)
        .map_err(broken)?
        .take(position.len.saturating_add(1))
        .read_to_end(&mut json)
        .map_err(broken)?;
    if json.len() as u64 != position.len {
        return Err(ListError::toc("it is not as long as the footer says"));
    }
    Toc::parse(&json, position.packed.start)
}

/// Unpacks a chunk, and checks its digest where there is one.
///
/// # Errors
/// [`ListError::Toc`] where it has another length or digest than the table says. Nothing is longer than the table says.
pub fn unpack_chunk(chunk: &Chunk, packed: &[u8]) -> Result<Vec<u8>, ListError> {
    let unpacked = decoder(packed).map_err(|_| ListError::toc("a piece cannot be unpacked"))?;
    crate::estargz::unpack_from(chunk, unpacked)
}

/// Unpacks frames with a window of bounded length.
fn decoder(packed: &[u8]) -> std::io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    Ok(decoder)
}

/// Windows of 128 MiB at most, which is also what zstd's own tool takes without being told.
pub const MAX_WINDOW_LOG: u32 = 27;

#[cfg(test)]
mod tests;
