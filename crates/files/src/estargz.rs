//! eStargz: gzip members file by file, and behind them a table of contents (`SPEC.md`, section 1).

use std::io::{self, Read};

use flate2::read::{GzDecoder, MultiGzDecoder};
use sealift_oci::Digest;
use tar::Header;

use crate::error::ListError;
use crate::member::{Chunk, Packed};
use crate::{MAX_TOC_LEN, Toc};

/// The annotation of a layer's descriptor that holds the digest of the table's JSON.
pub const TOC_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";

/// Octets of the longest footer; whoever has as many from the blob's end can look for one.
pub const FOOTER_LEN: u64 = 51;

/// Finds out where the table begins; `tail` are the last octets of a blob, [`FOOTER_LEN`] of them if it has as many.
///
/// Nothing for a layer without table, or one whose table is elsewhere.
pub fn toc_offset(tail: &[u8]) -> Option<u64> {
    let footer = |len: usize| tail.len().checked_sub(len).and_then(|at| tail.get(at..));
    let current = footer(51).and_then(|footer| {
        let rest = footer.strip_prefix(&HEAD)?.strip_prefix(&[26, 0])?;
        hex_offset(rest.strip_prefix(&[b'S', b'G', 22, 0])?)
    });
    // As the first versions wrote it, against RFC 1952: without a header of the extra field.
    current.or_else(|| {
        let rest = footer(47)?.strip_prefix(&HEAD)?.strip_prefix(&[22, 0])?;
        hex_offset(rest)
    })
}

/// Reads the 16 digits, the magic, and what ends an empty gzip member.
fn hex_offset(rest: &[u8]) -> Option<u64> {
    let (digits, rest) = rest.split_at_checked(16)?;
    if rest.strip_prefix(MAGIC)? != END {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    is_hex.then(|| u64::from_str_radix(digits, 16).ok())?
}

/// Header of a gzip member with an extra field, as Go writes it.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff];
const MAGIC: &[u8] = b"STARGZ";
/// An empty stored block and the trailer of nothing.
const END: [u8; 13] = [1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];

/// Unpacks and parses a table; `packed` are the octets from [`toc_offset`] on, with the footer or without it. `expected`
/// is the digest that the layer's descriptor promises.
///
/// # Errors
/// [`ListError::Toc`], also for another digest; the other errors of [`Toc::parse`].
pub fn toc(packed: &[u8], offset: u64, expected: Option<&Digest>) -> Result<Toc, ListError> {
    let json = unpack(packed)?;
    if let Some(expected) = expected
        && Digest::of(expected.algorithm(), &json) != *expected
    {
        return Err(ListError::toc("it is not the one that the manifest names"));
    }
    Toc::parse(&json, offset)
}

/// Takes the one file out of the tar in a gzip member.
fn unpack(packed: &[u8]) -> Result<Vec<u8>, ListError> {
    let broken = |_: io::Error| ListError::toc("it cannot be unpacked");
    let mut tar = GzDecoder::new(packed);
    let mut header = Header::new_old();
    tar.read_exact(header.as_mut_bytes()).map_err(broken)?;
    let size = header.entry_size().map_err(broken)?;
    if header.path_bytes().as_ref() != NAME {
        return Err(ListError::toc("it is not where the footer says"));
    }
    if size > MAX_TOC_LEN {
        return Err(ListError::TooMuch {
            what: "octets in its table of contents",
            limit: MAX_TOC_LEN,
        });
    }
    let mut json = Vec::new();
    let read = tar.take(size).read_to_end(&mut json).map_err(broken)?;
    if read as u64 != size {
        return Err(ListError::toc("it ends early"));
    }
    Ok(json)
}

const NAME: &[u8] = b"stargz.index.json";

/// Unpacks a chunk, and checks its digest where there is one.
///
/// # Errors
/// [`ListError::Toc`] where it has another length or digest than the table says. Nothing is longer than the table says.
pub fn unpack_chunk(chunk: &Chunk, packed: &[u8]) -> Result<Vec<u8>, ListError> {
    unpack_from(chunk, MultiGzDecoder::new(packed))
}

/// Reads a chunk out of what is unpacked on the way.
pub(crate) fn unpack_from(chunk: &Chunk, mut unpacked: impl Read) -> Result<Vec<u8>, ListError> {
    let broken = |_: io::Error| ListError::toc("a piece cannot be unpacked");
    let skip = match chunk.packed {
        Packed::Octets { skip, .. } => skip,
        Packed::Zeros => 0,
    };
    io::copy(&mut (&mut unpacked).take(skip), &mut io::sink()).map_err(broken)?;
    let mut octets = Vec::new();
    unpacked
        .take(chunk.len)
        .read_to_end(&mut octets)
        .map_err(broken)?;
    if octets.len() as u64 != chunk.len {
        return Err(ListError::toc("a piece is shorter than it says"));
    }
    match &chunk.digest {
        Some(expected) if Digest::of(expected.algorithm(), &octets) != *expected => {
            Err(ListError::toc("a piece has another digest than it says"))
        }
        _ => Ok(octets),
    }
}

#[cfg(test)]
mod tests;
