//! The files of a tar, by its headers: POSIX ustar and pax, GNU long names and sparse files.
//!
//! Contents are skipped, never read. Sparse files in pax form are listed, but their octets are not found.

use std::io::{self, Read};

use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use crate::MAX_ENTRIES;
use crate::error::ListError;
use crate::member::{Content, Device, File, Kind, Member, Piece};
use crate::path::FilePath;
use crate::timestamp::Timestamp;

/// Octets that come in order, and some of which need not come at all.
pub trait Tape: Read {
    /// Leaves out the next octets.
    ///
    /// # Errors
    /// Any error of reading; [`io::ErrorKind::UnexpectedEof`] where there are not as many.
    fn skip(&mut self, octets: u64) -> io::Result<()>;
}

impl Tape for &[u8] {
    fn skip(&mut self, octets: u64) -> io::Result<()> {
        let rest = usize::try_from(octets).ok().and_then(|at| self.get(at..));
        *self = rest.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(())
    }
}

/// Hands the members of a tar to `take`, in their order. A later one of the same name replaces an earlier one.
///
/// Stops where `take` returns an error. What follows the end of the archive is not read.
///
/// # Errors
/// [`ListError::Tar`] for headers that are none and archives that end early, [`ListError::Name`] for names that lead
/// outside, [`ListError::TooMuch`] beyond [`MAX_ENTRIES`] or for extension headers longer than [`MAX_EXTENSION_LEN`].
pub fn walk(
    tape: &mut dyn Tape,
    take: &mut dyn FnMut(Member) -> Result<(), ListError>,
) -> Result<(), ListError> {
    let mut walk = Walk {
        tape,
        at: 0,
        entries: 0,
    };
    let mut named = Named::default();
    while let Some(header) = walk.header()? {
        let kind = header.entry_type();
        let stored = header
            .entry_size()
            .map_err(|_| ListError::tar("a size is no number"))?;
        match kind {
            EntryType::GNULongName => named.path = Some(until_nul(walk.extension(stored)?)),
            EntryType::GNULongLink => named.link = Some(until_nul(walk.extension(stored)?)),
            EntryType::XHeader => named.pax(&walk.extension(stored)?)?,
            // Comments of whoever made the archive, such as Git.
            EntryType::XGlobalHeader => drop(walk.extension(stored)?),
            _ => {
                let named = std::mem::take(&mut named);
                if let Some(member) = walk.member(&header, named, stored)? {
                    take(member)?;
                }
            }
        }
    }
    Ok(())
}

/// Longest name or pax header that is read, in octets.
pub const MAX_EXTENSION_LEN: u64 = 1024 * 1024;
const BLOCK_LEN: usize = 512;
const BLOCK: u64 = BLOCK_LEN as u64;

struct Walk<'t> {
    tape: &'t mut dyn Tape,
    at: u64,
    entries: usize,
}

impl Walk<'_> {
    /// Reads the next header; nothing at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, ListError> {
        let mut header = Header::new_old();
        if !self.block(header.as_mut_bytes())? {
            return Ok(None);
        }
        if header.as_bytes().iter().all(|octet| *octet == 0) {
            return Ok(None);
        }
        let sum = header.as_bytes().iter().enumerate().map(|(index, octet)| {
            // The checksum itself counts as blanks.
            let counted = if CHECKSUM.contains(&index) {
                b' '
            } else {
                *octet
            };
            u32::from(counted)
        });
        if header.cksum().ok() != Some(sum.sum()) {
            return Err(ListError::tar("a header is broken"));
        }
        self.count(1)?;
        Ok(Some(header))
    }

    fn count(&mut self, entries: usize) -> Result<(), ListError> {
        self.entries = self.entries.saturating_add(entries);
        if self.entries > MAX_ENTRIES {
            return Err(ListError::TooMuch {
                what: "entries",
                limit: MAX_ENTRIES as u64,
            });
        }
        Ok(())
    }

    /// Fills a block; `false` where the archive ended before it.
    fn block(&mut self, block: &mut [u8; BLOCK_LEN]) -> Result<bool, ListError> {
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.tape.read(rest) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(ListError::tar("it ends early")),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ListError::reading_tar(error)),
            }
        }
        self.at += BLOCK;
        Ok(true)
    }

    fn skip(&mut self, octets: u64) -> Result<(), ListError> {
        self.at = self
            .at
            .checked_add(octets)
            .ok_or_else(|| ListError::tar("a size is too large"))?;
        if octets == 0 {
            return Ok(());
        }
        self.tape.skip(octets).map_err(ListError::reading_tar)
    }

    /// Skips what a member stores, up to the next block.
    fn skip_content(&mut self, stored: u64) -> Result<(), ListError> {
        let blocks = stored
            .checked_next_multiple_of(BLOCK)
            .ok_or_else(|| ListError::tar("a size is too large"))?;
        self.skip(blocks)
    }

    fn extension(&mut self, len: u64) -> Result<Vec<u8>, ListError> {
        if len > MAX_EXTENSION_LEN {
            return Err(ListError::TooMuch {
                what: "octets in an extension header",
                limit: MAX_EXTENSION_LEN,
            });
        }
        let mut octets = Vec::new();
        let read = (&mut *self.tape).take(len).read_to_end(&mut octets);
        if read.map_err(ListError::reading_tar)? as u64 != len {
            return Err(ListError::tar("it ends early"));
        }
        self.at += len;
        self.skip(len.next_multiple_of(BLOCK) - len)?;
        Ok(octets)
    }

    fn member(
        &mut self,
        header: &Header,
        named: Named,
        stored: u64,
    ) -> Result<Option<Member>, ListError> {
        let stored = named.size.unwrap_or(stored);
        let name = named.path.unwrap_or_else(|| header.path_bytes().into());
        let link = named
            .link
            .or_else(|| header.link_name_bytes().map(|link| link.into_owned()))
            .unwrap_or_default();
        let mut pieces = Vec::new();
        if header.entry_type() == EntryType::GNUSparse {
            pieces = self.pieces(header)?;
        }
        let at = self.at;
        self.skip_content(stored)?;
        let file = |size, content| {
            Kind::File(File {
                size,
                content,
                digest: None,
            })
        };
        let device = || Device {
            major: header.device_major().ok().flatten().unwrap_or_default(),
            minor: header.device_minor().ok().flatten().unwrap_or_default(),
        };
        let kind = match header.entry_type() {
            // As archives from before POSIX mark folders.
            EntryType::Regular if name.ends_with(b"/") => Kind::Folder,
            EntryType::Regular | EntryType::Continuous => match named.sparse {
                None => file(stored, Content::Tar(at)),
                Some(size) => file(
                    size.unwrap_or(stored),
                    Content::Unsupported("a sparse file in pax form"),
                ),
            },
            EntryType::GNUSparse => {
                let size = header.as_gnu().and_then(|gnu| gnu.real_size().ok());
                let size = size.ok_or_else(|| ListError::tar("a sparse file has no size"))?;
                file(size, sparse(pieces, at, stored, size)?)
            }
            EntryType::Link => Kind::HardLink(FilePath::of_entry(&link)?),
            EntryType::Symlink => Kind::Symlink(link.into()),
            EntryType::Directory => Kind::Folder,
            EntryType::Char => Kind::CharDevice(device()),
            EntryType::Block => Kind::BlockDevice(device()),
            EntryType::Fifo => Kind::Fifo,
            // Dumps of folders, labels of volumes, and whatever else is no file.
            _ => return Ok(None),
        };
        Ok(Some(Member {
            path: FilePath::of_entry(&name)?,
            kind,
            mode: header.mode().unwrap_or_default() & 0o7777,
            uid: named.uid.or_else(|| header.uid().ok()).unwrap_or_default(),
            gid: named.gid.or_else(|| header.gid().ok()).unwrap_or_default(),
            modified: named.modified.unwrap_or_else(|| Timestamp {
                seconds: header
                    .mtime()
                    .ok()
                    .and_then(|seconds| i64::try_from(seconds).ok())
                    .unwrap_or_default(),
            }),
        }))
    }

    /// Reads the map of a sparse file, as places in the file and lengths; the end of it follows the header.
    fn pieces(&mut self, header: &Header) -> Result<Vec<(u64, u64)>, ListError> {
        let gnu = header
            .as_gnu()
            .ok_or_else(|| ListError::tar("a sparse file has no map"))?;
        let mut pieces = Vec::new();
        add_pieces(&mut pieces, &gnu.sparse)?;
        let mut has_more = gnu.is_extended();
        while has_more {
            let mut more = GnuExtSparseHeader::new();
            if !self.block(more.as_mut_bytes())? {
                return Err(ListError::tar("it ends early"));
            }
            self.count(more.sparse.len())?;
            add_pieces(&mut pieces, &more.sparse)?;
            has_more = more.is_extended();
        }
        Ok(pieces)
    }
}

fn add_pieces(pieces: &mut Vec<(u64, u64)>, map: &[GnuSparseHeader]) -> Result<(), ListError> {
    for piece in map.iter().filter(|piece| !piece.is_empty()) {
        match (piece.offset(), piece.length()) {
            (Ok(offset), Ok(len)) => pieces.push((offset, len)),
            _ => return Err(ListError::tar("the map of a sparse file is broken")),
        }
    }
    Ok(())
}

/// Checks that the pieces of a sparse file follow each other, and are as long together as what is stored.
fn sparse(map: Vec<(u64, u64)>, at: u64, stored: u64, size: u64) -> Result<Content, ListError> {
    let broken = || ListError::tar("the map of a sparse file is broken");
    let mut pieces = Vec::with_capacity(map.len());
    let (mut end, mut used) = (0_u64, 0_u64);
    for (offset, len) in map {
        if offset < end {
            return Err(broken());
        }
        end = offset
            .checked_add(len)
            .filter(|end| *end <= size)
            .ok_or_else(broken)?;
        if len > 0 {
            let at = at.checked_add(used).ok_or_else(broken)?;
            pieces.push(Piece { offset, len, at });
        }
        used = used
            .checked_add(len)
            .filter(|used| *used <= stored)
            .ok_or_else(broken)?;
    }
    if used != stored {
        return Err(broken());
    }
    Ok(Content::Sparse(pieces.into()))
}

/// What extension headers say about the member after them.
#[derive(Default)]
struct Named {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    modified: Option<Timestamp>,
    /// Set for a sparse file in pax form; its true size, if that was told.
    sparse: Option<Option<u64>>,
}

impl Named {
    /// Takes `length key=value\n` records (POSIX.1-2001, pax interchange format).
    fn pax(&mut self, mut octets: &[u8]) -> Result<(), ListError> {
        let broken = || ListError::tar("a pax header is broken");
        while !octets.is_empty() {
            let (key, value, rest) = record(octets).ok_or_else(broken)?;
            octets = rest;
            let number = || number(value).ok_or_else(broken);
            match key {
                // An empty value takes back what a global header said, which is not heeded here.
                _ if value.is_empty() => {}
                b"path" | b"GNU.sparse.name" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(number()?),
                b"uid" => self.uid = Some(number()?),
                b"gid" => self.gid = Some(number()?),
                b"mtime" => self.modified = seconds(value),
                b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse = Some(Some(number()?)),
                key if key.starts_with(b"GNU.sparse.") => {
                    self.sparse.get_or_insert(None);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Splits the first record off.
fn record(octets: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = octets.iter().position(|octet| *octet == b' ')?;
    let len = usize::try_from(number(octets.get(..blank)?)?).ok()?;
    let record = octets.get(blank + 1..len)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|octet| *octet == b'=')?;
    Some((
        record.get(..equals)?,
        record.get(equals + 1..)?,
        octets.get(len..)?,
    ))
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

/// Reads decimal seconds, perhaps with a sign and a fraction.
fn seconds(value: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(value).ok()?;
    let whole = text.split('.').next()?;
    let seconds = whole.parse().ok()?;
    Some(Timestamp { seconds })
}

fn until_nul(mut octets: Vec<u8>) -> Vec<u8> {
    if let Some(end) = octets.iter().position(|octet| *octet == 0) {
        octets.truncate(end);
    }
    octets
}

/// Where a header's checksum stands.
const CHECKSUM: std::ops::Range<usize> = 148..156;

#[cfg(test)]
mod tests;
