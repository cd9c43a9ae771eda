//! Layers that the programs packed which define the formats: `testdata/files/README.md`.

use std::fs;
use std::ops::Range;
use std::path::Path;

use sealift_oci::Digest;

use crate::estargz;
use crate::member::{Content, Kind, Packed};
use crate::zstd_chunked::{self, Position};
use crate::{Chunk, ListError, Toc};

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/files");
    fs::read(folder.join(name)).unwrap()
}

/// Returns the value of an annotation that the library told.
fn annotation(name: &str, keys: &[&str]) -> String {
    let text = String::from_utf8(fixture(name)).unwrap();
    let mut lines = text.lines().filter_map(|line| line.split_once('='));
    let found = lines.find(|(key, _)| keys.contains(key)).unwrap();
    found.1.to_owned()
}

fn slice<'b>(blob: &'b [u8], range: &Range<u64>) -> &'b [u8] {
    &blob[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
}

/// Unpacks all files, and returns their paths with their contents.
fn contents(
    toc: &Toc,
    blob: &[u8],
    unpack: impl Fn(&Chunk, &[u8]) -> Result<Vec<u8>, ListError>,
) -> Vec<(String, Vec<u8>)> {
    let files = toc.members.iter().filter_map(|member| {
        let Kind::File(file) = &member.kind else {
            return None;
        };
        let Content::Chunks(chunks) = &file.content else {
            panic!("{file:?}");
        };
        let mut octets = Vec::new();
        for chunk in chunks {
            let Packed::Octets { range, .. } = &chunk.packed else {
                panic!("{chunk:?}");
            };
            let packed = slice(blob, range);
            octets.extend(unpack(chunk, packed).unwrap());
        }
        assert_eq!(octets.len() as u64, file.size);
        if let Some(digest) = &file.digest {
            assert_eq!(Digest::sha256(&octets), *digest);
        }
        Some((member.path.to_string(), octets))
    });
    files.collect()
}

fn check(toc: &Toc, contents: &[(String, Vec<u8>)]) {
    let content = |path: &str| {
        let found = contents.iter().find(|(own, _)| own == path);
        found.map(|(_, octets)| octets.as_slice())
    };
    assert_eq!(
        content("/etc/hard"),
        Some(&b"root:x:0:0::/root:/bin/sh\n"[..])
    );
    assert_eq!(content("/etc/empty"), Some(&b""[..]));
    let long: String = (1..=250).map(|n| format!("line {n:03}.\n")).collect();
    assert_eq!(content("/etc/long"), Some(long.as_bytes()));
    assert_eq!(content("/etc/noise").map(<[u8]>::len), Some(200_000));
    let deep = format!("/{}/grün", "long".repeat(40));
    assert_eq!(content(&deep), Some("grün\n".as_bytes()));
    let member = |path: &str| {
        let found = toc.members.iter().find(|m| m.path.to_string() == path);
        found.unwrap()
    };
    let hard = crate::FilePath::of_entry(b"etc/hard").unwrap();
    assert_eq!(member("/etc/passwd").kind, Kind::HardLink(hard));
    assert_eq!(
        member("/etc/link").kind,
        Kind::Symlink(b"../etc/passwd"[..].into())
    );
    assert_eq!(member("/etc/pipe").kind, Kind::Fifo);
    let folder = member("/etc");
    assert_eq!(folder.kind, Kind::Folder);
    assert_eq!((folder.mode, folder.uid, folder.gid), (0o755, 7, 8));
    assert_eq!(folder.modified.to_string(), "1994-11-06T08:49:37Z");
}

#[test]
fn what_stargz_snapshotter_packed_is_read() {
    let blob = fixture("estargz.tar.gz");
    let digest = annotation("estargz.annotations", &[estargz::TOC_DIGEST]);
    let offset = estargz::toc_offset(&blob[blob.len() - 51..]).unwrap();
    let packed = slice(&blob, &(offset..blob.len() as u64));
    let toc = estargz::toc(packed, offset, Some(&digest.parse().unwrap())).unwrap();
    check(&toc, &contents(&toc, &blob, estargz::unpack_chunk));
}

#[test]
fn what_containers_storage_packed_is_read() {
    let blob = fixture("zstd-chunked.tar.zst");
    let named = |keys| annotation("zstd-chunked.annotations", keys);
    let position = Position::of_footer(&blob[blob.len() - 72..]).unwrap();
    let annotated = Position::of_annotation(&named(&zstd_chunked::POSITION));
    assert_eq!(annotated.as_ref(), Some(&position));
    let digest: Digest = named(&zstd_chunked::CHECKSUM).parse().unwrap();
    let packed = slice(&blob, &position.packed);
    let toc = zstd_chunked::toc(&position, packed, Some(&digest)).unwrap();
    let contents = contents(&toc, &blob, zstd_chunked::unpack_chunk);
    check(&toc, &contents);
}
