use sealift_testkit::image::{Layer, Tar};

use super::*;
use crate::member::{Content, Kind};

fn layer() -> Layer {
    let tar = Tar::new()
        .folder("d")
        .file("d/empty", b"")
        .file("d/short", b"abc")
        .file("d/long", &sealift_testkit::noise(1, 2500))
        .link("link", "d/short")
        .hard_link("hard", "d/short");
    Layer::estargz(tar, 1000)
}

fn opened(blob: &[u8]) -> Result<Toc, ListError> {
    let tail = &blob[blob.len().saturating_sub(51)..];
    let offset = toc_offset(tail).unwrap();
    toc(&blob[usize::try_from(offset).unwrap()..], offset, None)
}

fn chunks(toc: &Toc, path: &str) -> Vec<Chunk> {
    let is_it = |member: &&crate::Member| member.path.to_string() == path;
    let member = toc.members.iter().find(is_it).unwrap();
    match &member.kind {
        Kind::File(file) => match &file.content {
            Content::Chunks(chunks) => chunks.to_vec(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn packed<'b>(blob: &'b [u8], chunk: &Chunk) -> &'b [u8] {
    match &chunk.packed {
        Packed::Octets { range, .. } => {
            &blob[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
        }
        Packed::Zeros => &[],
    }
}

#[test]
fn every_file_is_found_by_the_table() {
    let layer = layer();
    let blob = layer.octets();
    let toc = opened(blob).unwrap();
    let listed: Vec<(String, &str)> = toc
        .members
        .iter()
        .map(|member| (member.path.to_string(), member.kind.name()))
        .collect();
    let expected = [
        ("/d", "directory"),
        ("/d/empty", "file"),
        ("/d/short", "file"),
        ("/d/long", "file"),
        ("/link", "symlink"),
        ("/hard", "hardlink"),
    ];
    assert_eq!(listed, expected.map(|(path, kind)| (path.to_owned(), kind)));
    for (path, content) in [
        ("/d/empty", &b""[..]),
        ("/d/short", b"abc"),
        ("/d/long", &sealift_testkit::noise(1, 2500)),
    ] {
        let mut unpacked = Vec::new();
        for chunk in chunks(&toc, path) {
            assert_eq!(chunk.offset, unpacked.len() as u64);
            unpacked.extend(unpack_chunk(&chunk, packed(blob, &chunk)).unwrap());
        }
        assert_eq!(unpacked, content, "{path}");
    }
    assert_eq!(chunks(&toc, "/d/long").len(), 3);
}

#[test]
fn only_the_exact_footer_is_one() {
    let layer = layer();
    let blob = layer.octets();
    let footer = &blob[blob.len() - 51..];
    let offset = toc_offset(footer);
    assert_ne!(offset, None);
    for cut in 1..51 {
        assert_eq!(toc_offset(&footer[cut..]), None, "{cut}");
        assert_eq!(toc_offset(&footer[..51 - cut]), None, "{cut}");
    }
    for at in 0..51 {
        let mut spoilt = footer.to_vec();
        // Digits may be others, but not letters beyond `f`.
        spoilt[at] ^= 0x80;
        assert_eq!(toc_offset(&spoilt), None, "{at}");
    }
    let mut signed = footer.to_vec();
    signed[16] = b'+';
    assert_eq!(toc_offset(&signed), None);
}

#[test]
fn the_first_form_of_the_footer_is_known() {
    let footer = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x16\x0000000000000000ffSTARGZ\x01\0\0\xff\xff\0\0\0\0\0\0\0\0";
    assert_eq!(footer.len(), 47);
    assert_eq!(toc_offset(footer), Some(255));
    assert_eq!(toc_offset(&[&b"some"[..], footer].concat()), Some(255));
}

#[test]
fn a_table_must_be_the_one_that_the_manifest_names() {
    let layer = layer();
    let blob = layer.octets();
    let offset = toc_offset(&blob[blob.len() - 51..]).unwrap();
    let packed = &blob[usize::try_from(offset).unwrap()..];
    let other = Digest::sha256(b"other");
    let refused = toc(packed, offset, Some(&other)).unwrap_err().to_string();
    assert!(
        refused.ends_with("it is not the one that the manifest names"),
        "{refused}"
    );
    let json = unpack(packed).unwrap();
    toc(packed, offset, Some(&Digest::sha256(&json))).unwrap();
}

#[test]
fn refuses_a_table_that_is_cut_or_elsewhere() {
    let layer = layer();
    let blob = layer.octets();
    let offset = usize::try_from(toc_offset(&blob[blob.len() - 51..]).unwrap()).unwrap();
    for (at, reason) in [
        (offset + 1, "it cannot be unpacked"),
        (0, "it is not where the footer says"),
    ] {
        let refused = toc(&blob[at..], at as u64, None).unwrap_err().to_string();
        assert!(refused.ends_with(reason), "{refused}");
    }
    for cut in [10, 100, 200] {
        let refused = toc(&blob[offset..offset + cut], offset as u64, None);
        assert!(matches!(refused, Err(ListError::Toc { .. })), "{refused:?}");
    }
}

#[test]
fn refuses_a_piece_that_was_altered() {
    let layer = layer();
    let blob = layer.octets();
    let toc = opened(blob).unwrap();
    let chunk = &chunks(&toc, "/d/short")[0];
    let sound = packed(blob, chunk);
    assert_eq!(unpack_chunk(chunk, sound).unwrap(), b"abc");
    let mut other = chunk.clone();
    other.digest = Some(Digest::sha256(b"xyz"));
    let refused = unpack_chunk(&other, sound).unwrap_err().to_string();
    assert!(
        refused.ends_with("another digest than it says"),
        "{refused}"
    );
    let mut other = chunk.clone();
    other.len = 1_000_000;
    let refused = unpack_chunk(&other, sound).unwrap_err().to_string();
    assert!(
        refused.ends_with("a piece is shorter than it says"),
        "{refused}"
    );
    for cut in 0..sound.len().min(20) {
        let refused = unpack_chunk(chunk, &sound[..cut]);
        assert!(matches!(refused, Err(ListError::Toc { .. })), "{cut}");
    }
}

#[test]
fn several_pieces_may_share_a_gzip_member() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"before abc after").unwrap();
    let octets = encoder.finish().unwrap();
    let chunk = Chunk {
        offset: 0,
        len: 3,
        packed: Packed::Octets {
            range: 0..octets.len() as u64,
            skip: 7,
        },
        digest: Some(Digest::sha256(b"abc")),
    };
    assert_eq!(unpack_chunk(&chunk, &octets).unwrap(), b"abc");
}
