//! Random access (`SPEC.md`, section 1.1).

use sealift_keywrap::WrapContext;
use sealift_layer::chunked::{CHUNK_LEN, ChunkRange, Extent, MAX_CHUNKS, SEALED_CHUNK_LEN};
use sealift_layer::{ChunkedLayer, Intake, OpenError, Start};

use crate::support::{End, Vector, keys, open, vectors};

fn layer(vector: &Vector) -> ChunkedLayer {
    match Intake::default().update(&vector.body) {
        Ok(Some(Start::Chunked(layer))) => layer,
        other => panic!("{other:?}"),
    }
}

fn slice(blob: &[u8], range: &std::ops::Range<u64>) -> Vec<u8> {
    blob[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
}

#[test]
fn any_range_reads_as_the_same_part_of_the_whole() {
    for name in [
        "empty",
        "one_octet",
        "last_chunk_empty",
        "one_octet_over",
        "three_chunks",
    ] {
        let vector = vectors("chunked")
            .into_iter()
            .find(|vector| vector.name == name)
            .unwrap();
        let (plain, outcome) = open(
            vector.claims(),
            &vector.body,
            usize::MAX,
            End::Digest,
            &keys(),
        );
        assert_eq!(outcome, Ok(()));
        let layer = layer(&vector);
        let extent = layer.extent(vector.body.len() as u64).unwrap();
        assert_eq!(extent.plain_len(), plain.len() as u64, "{name}");
        let last = slice(&vector.body, &extent.last_chunk());
        let claims = vector.claims().unwrap();
        let opened = layer
            .unlock_ranges(&claims, &keys(), &WrapContext::default(), extent, &last)
            .unwrap();
        let chunk = CHUNK_LEN as u64;
        let edges = [
            0,
            1,
            100,
            chunk - 1,
            chunk,
            chunk + 1,
            2 * chunk - 1,
            2 * chunk,
            2 * chunk + 99,
            2 * chunk + 100,
            u64::MAX,
        ];
        for start in edges {
            for end in edges {
                let range = extent.chunks(start..end);
                let wanted = plain
                    .get(
                        usize::try_from(range.plain.start).unwrap()
                            ..usize::try_from(range.plain.end).unwrap(),
                    )
                    .unwrap();
                let cut = (
                    start.min(end).min(plain.len() as u64),
                    end.min(plain.len() as u64),
                );
                if start <= end {
                    assert_eq!(
                        (range.plain.start, range.plain.end),
                        cut,
                        "{name} {start}..{end}"
                    );
                }
                let sealed = slice(&vector.body, &range.sealed);
                let mut out = b"before".to_vec();
                assert_eq!(
                    opened.open(&range, &sealed, &mut out),
                    Ok(()),
                    "{name} {start}..{end}"
                );
                assert_eq!(out, [b"before", wanted].concat(), "{name} {start}..{end}");
            }
        }
    }
}

#[test]
fn a_range_fetches_no_chunk_that_it_does_not_need() {
    let extent = Extent::new(100, 100 + 3 * 16_400 + 116).unwrap();
    let sealed = |range: std::ops::Range<u64>| extent.chunks(range).sealed;
    assert_eq!(extent.plain_len(), 3 * 16_384 + 100);
    assert_eq!(sealed(0..1), 100..16_500);
    assert_eq!(sealed(16_383..16_384), 100..16_500);
    assert_eq!(sealed(16_384..16_385), 16_500..32_900);
    assert_eq!(sealed(16_383..16_385), 100..32_900);
    assert_eq!(sealed(3 * 16_384..u64::MAX), 49_300..49_416);
    assert_eq!(sealed(0..u64::MAX), 100..49_416);
    assert!(sealed(5..5).is_empty());
    assert!(sealed(u64::MAX..u64::MAX).is_empty());
}

#[test]
fn lengths_that_no_layer_has_are_truncated_ones() {
    let sealed = SEALED_CHUNK_LEN as u64;
    for (blob, after) in [
        (99, None),
        (100, None),
        (115, None),
        (100 + sealed, Some(0)),
        (100 + sealed + 15, Some(0)),
        (100 + 7 * sealed, Some(6)),
    ] {
        assert_eq!(
            Extent::new(100, blob),
            Err(OpenError::Truncated { after }),
            "{blob}"
        );
    }
    assert_eq!(Extent::new(100, 116).unwrap().plain_len(), 0);
    assert_eq!(
        Extent::new(0, MAX_CHUNKS * sealed + 16),
        Err(OpenError::TooLong)
    );
    assert_eq!(Extent::new(0, u64::MAX), Err(OpenError::TooLong));
}

#[test]
fn a_length_is_true_only_once_the_last_chunk_has_opened() {
    let vector = vectors("chunked")
        .into_iter()
        .find(|vector| vector.name == "three_chunks")
        .unwrap();
    let layer = layer(&vector);
    let claims = vector.claims().unwrap();
    let unlock = |extent: Extent, last: &[u8]| {
        let opened = layer.unlock_ranges(&claims, &keys(), &WrapContext::default(), extent, last);
        opened.map(|opened| opened.extent().plain_len())
    };
    let extent = layer.extent(vector.body.len() as u64).unwrap();
    let last = slice(&vector.body, &extent.last_chunk());
    assert_eq!(unlock(extent, &last), Ok(2 * 16_384 + 100));
    let shorter = layer.extent(vector.body.len() as u64 - 1).unwrap();
    assert_eq!(
        unlock(shorter, &last[..last.len() - 1]),
        Err(OpenError::Authentication)
    );
    assert_eq!(unlock(shorter, &last), Err(OpenError::Authentication));
    let without_last = layer.extent(vector.body.len() as u64 - 117).unwrap();
    let second = slice(&vector.body, &without_last.last_chunk());
    assert_eq!(
        unlock(without_last, &second),
        Err(OpenError::Authentication)
    );
}

#[test]
fn an_altered_or_misplaced_chunk_gives_nothing() {
    let vector = vectors("chunked")
        .into_iter()
        .find(|vector| vector.name == "three_chunks")
        .unwrap();
    let layer = layer(&vector);
    let extent = layer.extent(vector.body.len() as u64).unwrap();
    let last = slice(&vector.body, &extent.last_chunk());
    let claims = vector.claims().unwrap();
    let opened = layer
        .unlock_ranges(&claims, &keys(), &WrapContext::default(), extent, &last)
        .unwrap();
    let range = extent.chunks(0..20_000);
    let mut sealed = slice(&vector.body, &range.sealed);
    let second = extent.chunks(16_384..20_000);
    let mut out = b"before".to_vec();
    assert_eq!(
        opened.open(&second, &sealed[..SEALED_CHUNK_LEN], &mut out),
        Err(OpenError::Authentication)
    );
    assert_eq!(
        opened.open(&range, &sealed[1..], &mut out),
        Err(OpenError::Authentication)
    );
    // Ranges come from the extent; one that was made up is refused before anything is computed with it.
    for made_up in [
        ChunkRange {
            first: 1,
            ..range.clone()
        },
        ChunkRange {
            first: u64::MAX,
            ..range.clone()
        },
        ChunkRange {
            plain: 0..40_000,
            ..range.clone()
        },
        ChunkRange {
            plain: std::ops::Range {
                start: 20_000,
                end: 0,
            },
            ..range.clone()
        },
        ChunkRange {
            sealed: 0..u64::MAX,
            ..range.clone()
        },
    ] {
        assert_eq!(
            opened.open(&made_up, &sealed, &mut out),
            Err(OpenError::Authentication),
            "{made_up:?}"
        );
    }
    *sealed.last_mut().unwrap() ^= 1;
    assert_eq!(
        opened.open(&range, &sealed, &mut out),
        Err(OpenError::Authentication)
    );
    assert_eq!(out, b"before");
}
