use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use sealift_oci::Digest;
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

use crate::MAX_ENTRIES;
use crate::error::ListError;
use crate::member::{Chunk, Content, Device, File, Kind, Member, Packed};
use crate::path::FilePath;
use crate::timestamp::Timestamp;

/// A table of contents: which files a packed layer holds, and where each of them is packed for itself.
///
/// eStargz and zstd:chunked have the same table but for a few members (`SPEC.md`, section 3). It exists only if it does
/// not contradict itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Toc {
    /// The files, in their order. A later one of the same name replaces an earlier one.
    pub members: Vec<Member>,
}

impl Toc {
    /// Parses the JSON of a table; what it points to must lie within the first `data_len` octets of the packed layer.
    ///
    /// # Errors
    /// [`ListError::Toc`] for anything that contradicts itself or points elsewhere, [`ListError::Name`] for names that lead
    /// outside, [`ListError::TooMuch`] beyond [`MAX_ENTRIES`].
    pub fn parse(json: &[u8], data_len: u64) -> Result<Self, ListError> {
        let document: Document = serde_json::from_slice(json)
            .map_err(|_| ListError::toc("it is not the JSON of one"))?;
        if document.version != VERSION {
            return Err(ListError::toc("it is not of version 1"));
        }
        if document.entries.is_cut {
            return Err(ListError::TooMuch {
                what: "entries",
                limit: MAX_ENTRIES as u64,
            });
        }
        let ends = ends(&document.entries.list, data_len);
        let mut members: Vec<Member> = Vec::new();
        let mut entries = document.entries.list.into_iter().peekable();
        while let Some(mut entry) = entries.next() {
            if entry.kind == CHUNK {
                return Err(ListError::toc("a piece belongs to no file"));
            }
            let mut pieces = Vec::new();
            while let Some(piece) = entries.next_if(|next| next.kind == CHUNK) {
                pieces.push(piece);
            }
            if entry.kind != "reg" && !pieces.is_empty() {
                return Err(ListError::toc("a piece belongs to no file"));
            }
            let kind = match &*entry.kind {
                "reg" => Kind::File(file(&mut entry, pieces, &ends, data_len)?),
                "dir" => Kind::Folder,
                "symlink" => Kind::Symlink(entry.link.as_bytes().into()),
                "hardlink" => Kind::HardLink(FilePath::of_entry(entry.link.as_bytes())?),
                "char" => Kind::CharDevice(entry.device()),
                "block" => Kind::BlockDevice(entry.device()),
                "fifo" => Kind::Fifo,
                _ => return Err(ListError::toc("an entry is of an unknown kind")),
            };
            members.push(Member {
                path: FilePath::of_entry(entry.name.as_bytes())?,
                kind,
                // Some writers say again in the upper bits what the kind says.
                mode: u32::try_from(entry.mode & 0o7777).unwrap_or_default(),
                uid: entry.uid,
                gid: entry.gid,
                modified: entry
                    .modified
                    .as_deref()
                    .and_then(Timestamp::parse)
                    .unwrap_or_default(),
            });
        }
        Ok(Self { members })
    }
}

/// Most octets in front of a piece that have to be unpacked with it.
const MAX_INNER_OFFSET: u64 = 64 * 1024 * 1024;
/// The only version there is.
const VERSION: u64 = 1;
const CHUNK: &str = "chunk";

#[derive(serde::Deserialize)]
struct Document {
    #[serde(default)]
    version: u64,
    #[serde(default)]
    entries: Entries,
}

/// As many entries as are read, and whether there were more.
#[derive(Default)]
struct Entries {
    list: Vec<Entry>,
    is_cut: bool,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Entries, A::Error> {
                let mut entries = Entries::default();
                while entries.list.len() < MAX_ENTRIES {
                    match seq.next_element()? {
                        Some(entry) => entries.list.push(entry),
                        None => return Ok(entries),
                    }
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    entries.is_cut = true;
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_seq(List)
    }
}

#[derive(serde::Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    size: u64,
    #[serde(default, rename = "modtime")]
    modified: Option<String>,
    #[serde(default, rename = "linkName")]
    link: String,
    #[serde(default)]
    mode: i64,
    #[serde(default)]
    uid: u64,
    #[serde(default)]
    gid: u64,
    #[serde(default)]
    offset: u64,
    #[serde(default, rename = "innerOffset")]
    inner_offset: u64,
    /// zstd:chunked only: where the file ends in the blob.
    #[serde(default, rename = "endOffset")]
    end_offset: u64,
    #[serde(default, rename = "devMajor")]
    major: i64,
    #[serde(default, rename = "devMinor")]
    minor: i64,
    #[serde(default)]
    digest: String,
    #[serde(default, rename = "chunkOffset")]
    chunk_offset: u64,
    #[serde(default, rename = "chunkSize")]
    chunk_size: u64,
    #[serde(default, rename = "chunkDigest")]
    chunk_digest: String,
    /// zstd:chunked only: `zeros`, or empty.
    #[serde(default, rename = "chunkType")]
    chunk_type: String,
}

impl Entry {
    fn device(&self) -> Device {
        Device {
            major: u32::try_from(self.major).unwrap_or_default(),
            minor: u32::try_from(self.minor).unwrap_or_default(),
        }
    }

    fn is_zeros(&self) -> bool {
        self.chunk_type == "zeros"
    }
}

/// Returns, for each place at which something is packed, where the next one is.
fn ends(entries: &[Entry], data_len: u64) -> HashMap<u64, u64> {
    let mut starts: Vec<u64> = entries
        .iter()
        .filter(|entry| entry.offset > 0)
        .map(|entry| entry.offset)
        .collect();
    starts.sort_unstable();
    starts.dedup();
    let nexts = starts.iter().skip(1).copied().chain([data_len]);
    starts.iter().copied().zip(nexts).collect()
}

/// Puts a file together; the first of its pieces stands in its own entry.
fn file(
    entry: &mut Entry,
    pieces: Vec<Entry>,
    ends: &HashMap<u64, u64>,
    data_len: u64,
) -> Result<File, ListError> {
    let (size, end_offset) = (entry.size, entry.end_offset);
    let whole = digest(&std::mem::take(&mut entry.digest))?;
    if size == 0 {
        return Ok(File {
            size,
            content: Content::Chunks(Box::default()),
            digest: whole,
        });
    }
    let is_single = pieces.is_empty();
    let mut chunks = Vec::with_capacity(1 + pieces.len());
    let mut expected = 0_u64;
    let mut rest = pieces.iter();
    let mut current = Some(&*entry);
    while let Some(piece) = current.take() {
        let next = rest.next();
        // The last piece may leave its length out: it reaches up to the file's end.
        let len = match (piece.chunk_size, next) {
            (0, None) => size.checked_sub(piece.chunk_offset),
            (0, Some(_)) => None,
            (len, _) => Some(len),
        };
        let len = len.ok_or_else(|| ListError::toc("a piece has no length"))?;
        if piece.chunk_offset != expected || len == 0 {
            return Err(ListError::toc(
                "the pieces of a file do not follow each other",
            ));
        }
        expected = expected
            .checked_add(len)
            .filter(|end| *end <= size)
            .ok_or_else(|| ListError::toc("the pieces of a file are longer than the file"))?;
        let end = match next {
            Some(next) if end_offset > 0 && next.offset > piece.offset => next.offset,
            None if end_offset > 0 => end_offset,
            _ => ends.get(&piece.offset).copied().unwrap_or_default(),
        };
        let mut chunk_digest = digest(&piece.chunk_digest)?;
        if is_single && chunk_digest.is_none() {
            chunk_digest.clone_from(&whole);
        }
        chunks.push(Chunk {
            offset: piece.chunk_offset,
            len,
            packed: packed(piece, end, data_len)?,
            digest: chunk_digest,
        });
        current = next;
    }
    if expected != size {
        return Err(ListError::toc(
            "the pieces of a file are shorter than the file",
        ));
    }
    Ok(File {
        size,
        content: Content::Chunks(chunks.into()),
        digest: whole,
    })
}

fn packed(piece: &Entry, end: u64, data_len: u64) -> Result<Packed, ListError> {
    if piece.is_zeros() {
        return Ok(Packed::Zeros);
    }
    let range: Range<u64> = piece.offset..end;
    if range.is_empty() || range.end > data_len {
        return Err(ListError::toc("a piece lies outside of the layer"));
    }
    if piece.inner_offset > MAX_INNER_OFFSET {
        return Err(ListError::toc(
            "a piece lies too deep in what is packed together",
        ));
    }
    Ok(Packed::Octets {
        range,
        skip: piece.inner_offset,
    })
}

fn digest(text: &str) -> Result<Option<Digest>, ListError> {
    match text {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| ListError::toc("a digest is none")),
    }
}

#[cfg(test)]
mod tests;
