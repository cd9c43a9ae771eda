//! Where the members of a tar file lie, so that they can be read in any order and in parallel.
//!
//! Reads POSIX ustar, pax and GNU long names. Sparse and compressed archives are refused. Only the headers are read.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Error;

/// A tar file and its members.
#[derive(Debug)]
pub(crate) struct TarIndex {
    file: Arc<File>,
    path: PathBuf,
    members: HashMap<String, Member>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Member {
    File {
        start: u64,
        len: u64,
    },
    /// To another member; the target is a full name.
    Link(String),
}

impl TarIndex {
    /// Reads the headers of a tar file.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::NotFound {
                what: "archive".into(),
                place: path.to_string_lossy().into(),
            },
            _ => Error::io("open", path)(error),
        })?;
        if !metadata.is_file() {
            return Err(Error::malformed(
                format!("archive `{}`", path.display()),
                "it is not a regular file",
            ));
        }
        let file = Arc::new(File::open(path).map_err(Error::io("open", path))?);
        let mut scan = Scan {
            file: &file,
            path,
            len: metadata.len(),
            members: HashMap::new(),
        };
        scan.run()?;
        let members = scan.members;
        Ok(Self {
            file,
            path: path.to_owned(),
            members,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a member, through links; returns its length too.
    pub(crate) fn member(&self, name: &str) -> Result<Option<(Section, u64)>, Error> {
        let mut name = name.to_owned();
        for _ in 0..=MAX_LINKS {
            match self.members.get(&name) {
                None => return Ok(None),
                Some(Member::Link(target)) => name.clone_from(target),
                Some(Member::File { start, len }) => {
                    let section = Section {
                        file: Arc::clone(&self.file),
                        at: *start,
                        end: start + len,
                    };
                    return Ok(Some((section, *len)));
                }
            }
        }
        Err(malformed(&self.path, "it has a chain of links without end"))
    }

    /// Reads a whole member; nothing if there is none of that name.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<Option<Bytes>, Error> {
        let Some((mut section, len)) = self.member(name)? else {
            return Ok(None);
        };
        if len > limit {
            let what = format!("`{name}` in `{}`", self.path.display());
            return Err(Error::malformed(
                what,
                format!("it is longer than {limit} octets"),
            ));
        }
        let mut octets = Vec::new();
        section
            .read_to_end(&mut octets)
            .map_err(Error::io("read", &self.path))?;
        Ok(Some(octets.into()))
    }
}

/// A piece of a file, with a position of its own.
#[derive(Debug)]
pub(crate) struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Section {
    /// Leaves out the next `offset` octets.
    pub(crate) fn behind(mut self, offset: u64) -> Self {
        self.at = self.at.saturating_add(offset).min(self.end);
        self
    }
}

impl Read for Section {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let len = left.min(buf.len());
        let len = read_at(&self.file, buf.get_mut(..len).unwrap_or_default(), self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}

/// Most members of an archive.
const MAX_MEMBERS: usize = 200_000;
/// Longest pax header or GNU long name.
const MAX_EXTENSION_LEN: u64 = 1024 * 1024;
const MAX_LINKS: usize = 8;
const BLOCK: usize = 512;

struct Scan<'a> {
    file: &'a Arc<File>,
    path: &'a Path,
    len: u64,
    members: HashMap<String, Member>,
}

/// What extension headers say about the member after them.
#[derive(Default)]
struct Overrides {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl Scan<'_> {
    fn run(&mut self) -> Result<(), Error> {
        let mut at = 0;
        let mut overrides = Overrides::default();
        let mut count = 0;
        while at < self.len {
            let mut block = [0; BLOCK];
            self.read_exact(&mut block, at)?;
            if at == 0 {
                self.refuse_compression(&block)?;
            }
            if block.iter().all(|b| *b == 0) {
                return Ok(());
            }
            count += 1;
            if count > MAX_MEMBERS {
                return Err(self.malformed(&format!("it has more than {MAX_MEMBERS} members")));
            }
            let header =
                Header::parse(&block).ok_or_else(|| self.malformed("a header is broken"))?;
            let is_extension = matches!(header.kind, b'x' | b'g' | b'L' | b'K');
            let size = overrides
                .size
                .filter(|_| !is_extension)
                .unwrap_or(header.size);
            let start = at + BLOCK as u64;
            let end = start.checked_add(size).filter(|end| *end <= self.len);
            let end = end.ok_or_else(|| self.malformed("it ends early"))?;
            if is_extension {
                self.extension(header.kind, start, size, &mut overrides)?;
            } else {
                self.member(header, std::mem::take(&mut overrides), start, size)?;
            }
            at = end.next_multiple_of(BLOCK as u64);
        }
        Ok(())
    }

    fn extension(
        &self,
        kind: u8,
        start: u64,
        size: u64,
        overrides: &mut Overrides,
    ) -> Result<(), Error> {
        if size > MAX_EXTENSION_LEN {
            return Err(self.malformed("an extension header is too long"));
        }
        let mut text = Vec::new();
        let mut section = Section {
            file: Arc::clone(self.file),
            at: start,
            end: start + size,
        };
        section
            .read_to_end(&mut text)
            .map_err(Error::io("read", self.path))?;
        match kind {
            b'L' => overrides.name = Some(until_nul(&text)),
            b'K' => overrides.link = Some(until_nul(&text)),
            b'x' => {
                for (key, value) in
                    pax(&text).ok_or_else(|| self.malformed("a pax header is broken"))?
                {
                    match key {
                        "path" => overrides.name = Some(value.to_owned()),
                        "linkpath" => overrides.link = Some(value.to_owned()),
                        "size" => {
                            let size = value
                                .parse()
                                .map_err(|_| self.malformed("a pax size is no number"))?;
                            overrides.size = Some(size);
                        }
                        key if key.starts_with("GNU.sparse.") => {
                            return Err(
                                self.malformed("it has sparse members, which are not supported")
                            );
                        }
                        _ => {}
                    }
                }
            }
            // Global headers carry comments such as Git's.
            _ => {}
        }
        Ok(())
    }

    fn member(
        &mut self,
        header: Header,
        overrides: Overrides,
        start: u64,
        len: u64,
    ) -> Result<(), Error> {
        let name = overrides.name.unwrap_or(header.name);
        let link = overrides.link.unwrap_or(header.link);
        let Some(name) = join("", &name) else {
            return Err(self.malformed("a member lies outside of it"));
        };
        let member = match header.kind {
            b'0' | 0 | b'7' => Member::File { start, len },
            b'1' => Member::Link(
                join("", &link).ok_or_else(|| self.malformed("a link leads outside of it"))?,
            ),
            b'2' => {
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                // A symbolic link to nowhere is harmless until somebody follows it.
                Member::Link(join(folder, &link).unwrap_or_default())
            }
            b'S' => return Err(self.malformed("it has sparse members, which are not supported")),
            _ => return Ok(()),
        };
        // Two readers may take different ones, so two of a name are not an image.
        if self.members.insert(name, member).is_some() {
            return Err(self.malformed("two members have the same name"));
        }
        Ok(())
    }

    fn refuse_compression(&self, block: &[u8]) -> Result<(), Error> {
        let program = match block {
            [0x1f, 0x8b, ..] => "gunzip",
            [0x28, 0xb5, 0x2f, 0xfd, ..] => "unzstd",
            [0xfd, b'7', b'z', b'X', b'Z', ..] => "unxz",
            _ => return Ok(()),
        };
        Err(Error::unsupported(format!(
            "archive `{}` is compressed; decompress it with {program} first",
            self.path.display()
        )))
    }

    fn read_exact(&self, buf: &mut [u8], at: u64) -> Result<(), Error> {
        let mut section = Section {
            file: Arc::clone(self.file),
            at,
            end: self.len,
        };
        section.read_exact(buf).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.malformed("it ends early"),
            _ => Error::io("read", self.path)(error),
        })
    }

    fn malformed(&self, reason: &str) -> Error {
        malformed(self.path, reason)
    }
}

struct Header {
    name: String,
    link: String,
    kind: u8,
    size: u64,
}

impl Header {
    fn parse(block: &[u8; BLOCK]) -> Option<Self> {
        let checksum = number(block.get(148..156)?)?;
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(index, b)| {
                if (148..156).contains(&index) {
                    u64::from(b' ')
                } else {
                    u64::from(*b)
                }
            })
            .sum();
        if checksum != sum {
            return None;
        }
        let mut name = until_nul(block.get(..100)?);
        if block.get(257..263)? == b"ustar\0" {
            let prefix = until_nul(block.get(345..500)?);
            if !prefix.is_empty() {
                name = format!("{prefix}/{name}");
            }
        }
        Some(Self {
            name,
            link: until_nul(block.get(157..257)?),
            kind: *block.get(156)?,
            size: number(block.get(124..136)?)?,
        })
    }
}

/// Reads a numeric field: octal, or base 256 if the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // The sign bit follows; nothing here is negative.
        return rest.iter().try_fold(u64::from(first & 0x7f), |value, b| {
            Some(value.checked_mul(256)? | u64::from(*b))
        });
    }
    let text = std::str::from_utf8(field).ok()?;
    let text = text.trim_matches(['\0', ' ']);
    if text.is_empty() {
        return Some(0);
    }
    text.bytes()
        .all(|b| (b'0'..=b'7').contains(&b))
        .then(|| u64::from_str_radix(text, 8).ok())?
}

/// Reads `length key=value\n` records (POSIX.1-2001, pax interchange format).
fn pax(mut octets: &[u8]) -> Option<Vec<(&str, &str)>> {
    let mut records = Vec::new();
    while !octets.is_empty() {
        let space = octets.iter().position(|b| *b == b' ')?;
        let len: usize = std::str::from_utf8(octets.get(..space)?)
            .ok()?
            .parse()
            .ok()?;
        let record = octets.get(space + 1..len)?.strip_suffix(b"\n")?;
        octets = octets.get(len..)?;
        // Values of other keys may be binary.
        if let Ok(record) = std::str::from_utf8(record) {
            records.push(record.split_once('=')?);
        }
    }
    Some(records)
}

/// Resolves a path within the archive; `None` if it leads outside.
fn join(folder: &str, path: &str) -> Option<String> {
    let folder = if path.starts_with('/') { "" } else { folder };
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn until_nul(octets: &[u8]) -> String {
    let text = octets.split(|b| *b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

fn malformed(path: &Path, reason: &str) -> Error {
    Error::malformed(format!("archive `{}`", path.display()), reason)
}

#[cfg(unix)]
fn read_at(file: &File, buf: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, at)
}

#[cfg(windows)]
fn read_at(file: &File, buf: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buf, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(
        build: impl FnOnce(&mut tar::Builder<&mut Vec<u8>>),
    ) -> (tempfile::NamedTempFile, Result<TarIndex, Error>) {
        let mut octets = Vec::new();
        let mut builder = tar::Builder::new(&mut octets);
        build(&mut builder);
        builder.finish().unwrap();
        drop(builder);
        of(&octets)
    }

    fn of(octets: &[u8]) -> (tempfile::NamedTempFile, Result<TarIndex, Error>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), octets).unwrap();
        let index = TarIndex::open(file.path());
        (file, index)
    }

    fn add(builder: &mut tar::Builder<&mut Vec<u8>>, name: &str, content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content).unwrap();
    }

    fn link(
        builder: &mut tar::Builder<&mut Vec<u8>>,
        kind: tar::EntryType,
        name: &str,
        target: &str,
    ) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        builder.append_link(&mut header, name, target).unwrap();
    }

    fn reason(index: Result<TarIndex, Error>) -> String {
        match index.unwrap_err() {
            Error::Malformed { reason, .. } => reason.into(),
            Error::Unsupported { what } => what.rsplit("; ").next().unwrap().to_owned(),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn finds_members_by_short_and_long_names_and_through_links() {
        let long = format!("{}/x", "d".repeat(200));
        let (_file, index) = index(|builder| {
            add(builder, "./a", b"first");
            add(builder, &long, b"second");
            link(builder, tar::EntryType::Symlink, "dir/up", "../a");
            link(builder, tar::EntryType::Symlink, "dir/twice", "up");
            link(builder, tar::EntryType::Link, "hard", "a");
            link(builder, tar::EntryType::Symlink, "out", "../../etc/passwd");
            link(builder, tar::EntryType::Symlink, "loop", "loop");
        });
        let index = index.unwrap();
        let read = |name: &str| index.read(name, 100).unwrap();
        for name in ["a", "dir/up", "dir/twice", "hard"] {
            assert_eq!(read(name).as_deref(), Some(&b"first"[..]), "{name}");
        }
        assert_eq!(read(&long).as_deref(), Some(&b"second"[..]));
        assert_eq!(read("out"), None);
        assert_eq!(read("none"), None);
        let error = index.read("loop", 100).unwrap_err().to_string();
        assert!(
            error.ends_with("it has a chain of links without end"),
            "{error}"
        );
        let error = index.read("a", 4).unwrap_err().to_string();
        assert!(error.ends_with("it is longer than 4 octets"), "{error}");
    }

    #[test]
    fn refuses_two_members_of_one_name() {
        let (_file, index) = index(|builder| {
            add(builder, "index.json", b"1");
            add(builder, "./index.json", b"2");
        });
        assert_eq!(reason(index), "two members have the same name");
    }

    #[test]
    fn refuses_what_is_cut_broken_or_compressed() {
        let mut octets = Vec::new();
        let mut builder = tar::Builder::new(&mut octets);
        add(&mut builder, "a", &[7; 1000]);
        builder.finish().unwrap();
        drop(builder);
        assert_eq!(reason(of(&octets[..100]).1), "it ends early");
        assert_eq!(reason(of(&octets[..1500]).1), "it ends early");
        for flipped in [0, 124, 150, 156, 511] {
            let mut octets = octets.clone();
            octets[flipped] ^= 1;
            assert_eq!(reason(of(&octets).1), "a header is broken", "{flipped}");
        }
        let mut gzip = vec![0x1f, 0x8b, 8];
        gzip.resize(600, 1);
        assert_eq!(reason(of(&gzip).1), "decompress it with gunzip first");
    }

    #[test]
    fn numbers_are_octal_or_binary() {
        for (field, expected) in [
            (&b"0000000017\0 "[..], Some(15)),
            (b"            ", Some(0)),
            (b"8", None),
            (b"-1", None),
            (b"\x80\0\0\0\0\0\0\x01\0\0\0\0", Some(1 << 32)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }

    #[test]
    fn pax_records_must_add_up() {
        assert_eq!(
            pax(b"9 path=a\n8 size=1\n").map(|records| records.len()),
            None
        );
        assert_eq!(
            pax(b"9 path=a\n9 size=1\n"),
            Some(vec![("path", "a"), ("size", "1")])
        );
        for bad in [
            &b"9 path=a"[..],
            b"99 path=a\n",
            b"path=a\n",
            b"0 \n",
            b"7 patha\n",
        ] {
            assert_eq!(pax(bad), None, "{bad:?}");
        }
    }
}
