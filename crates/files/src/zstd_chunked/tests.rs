use sealift_testkit::image::{Layer, Tar};

use super::*;
use crate::member::{Content, Kind, Packed};

fn layer() -> Layer {
    let mut zeros = sealift_testkit::noise(2, 1000);
    zeros.extend_from_slice(&[0; 1000]);
    zeros.extend_from_slice(b"end");
    let tar = Tar::new()
        .file("short", b"abc")
        .file("zeros", &zeros)
        .hard_link("hard", "short");
    Layer::zstd_chunked(tar, 1000)
}

fn tail(blob: &[u8]) -> &[u8] {
    &blob[blob.len() - 72..]
}

fn range(range: &Range<u64>) -> Range<usize> {
    usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()
}

#[test]
fn every_file_is_found_by_the_table() {
    let layer = layer();
    let blob = layer.octets();
    let position = Position::of_footer(tail(blob)).unwrap();
    let packed = &blob[range(&position.packed)];
    let toc = toc(&position, packed, Some(&Digest::sha256(packed))).unwrap();
    let mut contents = Vec::new();
    for member in &toc.members {
        let Kind::File(file) = &member.kind else {
            continue;
        };
        let Content::Chunks(chunks) = &file.content else {
            panic!("{file:?}");
        };
        let mut content = Vec::new();
        for chunk in chunks {
            match &chunk.packed {
                Packed::Octets { range: at, .. } => {
                    content.extend(unpack_chunk(chunk, &blob[range(at)]).unwrap());
                }
                Packed::Zeros => content.resize(content.len() + 1000, 0),
            }
        }
        assert_eq!(content.len() as u64, file.size);
        assert_eq!(file.digest, Some(Digest::sha256(&content)));
        contents.push((member.path.to_string(), chunks.len()));
    }
    assert_eq!(
        contents,
        [("/short".to_owned(), 1), ("/zeros".to_owned(), 3)]
    );
}

#[test]
fn footers_of_all_versions_say_the_same() {
    let numbers = |count: usize| -> Vec<u8> {
        let all = [1000_u64, 200, 3000, 1, 9, 9, 9, 9];
        all[..count].iter().flat_map(|n| n.to_le_bytes()).collect()
    };
    let expected = Position {
        packed: 1000..1200,
        len: 3000,
    };
    for (count, payload) in [(4, 40_u32), (6, 56), (7, 64)] {
        let mut footer = b"what is before".to_vec();
        footer.extend_from_slice(&[0x50, 0x2a, 0x4d, 0x18]);
        footer.extend_from_slice(&payload.to_le_bytes());
        footer.extend(numbers(count));
        footer.extend_from_slice(b"GnUlInUx");
        assert_eq!(
            Position::of_footer(&footer),
            Some(expected.clone()),
            "{count}"
        );
        for at in 14..22 {
            let mut spoilt = footer.clone();
            spoilt[at] ^= 1;
            assert_eq!(Position::of_footer(&spoilt), None, "{count} {at}");
        }
        let end = footer.len();
        for cut in [&footer[..end - 1], &footer[16..], &footer[end - 8..], &[]] {
            assert_eq!(Position::of_footer(cut), None, "{count}");
        }
    }
}

#[test]
fn an_annotation_is_four_numbers() {
    let expected = Position {
        packed: 10..15,
        len: 20,
    };
    assert_eq!(Position::of_annotation("10:5:20:1"), Some(expected));
    for text in [
        "",
        "10:5:20",
        "10:5:20:2",
        "10:0:20:1",
        "10:5:20:1:",
        "+10:5:20:1",
        "10:5:-20:1",
        "18446744073709551615:5:20:1",
        "99999999999999999999:5:20:1",
    ] {
        assert_eq!(Position::of_annotation(text), None, "{text}");
    }
}

#[test]
fn refuses_a_table_of_another_length_or_digest() {
    let layer = layer();
    let blob = layer.octets();
    let position = Position::of_footer(tail(blob)).unwrap();
    let packed = &blob[range(&position.packed)];
    for len in [0, position.len - 1, position.len + 1, u64::MAX] {
        let lying = Position {
            len,
            ..position.clone()
        };
        let refused = toc(&lying, packed, None);
        assert!(
            matches!(
                refused,
                Err(ListError::Toc { .. } | ListError::TooMuch { .. })
            ),
            "{refused:?}"
        );
    }
    let other = Digest::sha256(b"other");
    let refused = toc(&position, packed, Some(&other))
        .unwrap_err()
        .to_string();
    assert!(
        refused.ends_with("it is not the one that the manifest names"),
        "{refused}"
    );
    let refused = toc(&position, &packed[1..], None).unwrap_err().to_string();
    assert!(refused.ends_with("it cannot be unpacked"), "{refused}");
}
