//! The C2SP vectors of Wycheproof, for the message part. They are third-party data and lie outside the project.

use std::io::Read;
use std::path::PathBuf;

use aws_lc_rs::digest::{SHA512, digest};
use serde_json::Value;

use super::*;

#[test]
fn every_wycheproof_message_opens_or_fails_as_its_vector_says() {
    let Some(vectors) = wycheproof("c2sp_chunked_encryption_aes_256_gcm_test.json") else {
        return;
    };
    let tests: Vec<_> = vectors["testGroups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["tests"].as_array().unwrap())
        .collect();
    assert_eq!(tests.len(), 35);
    for test in tests {
        for piece in [1, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, usize::MAX] {
            // One octet at a time through four mebibytes proves nothing that shorter ones do not.
            if piece == 1 && test["flags"] == serde_json::json!(["CounterRollover"]) {
                continue;
            }
            for library in AeadLibrary::ALL {
                check(library, test, piece);
            }
        }
    }
}

fn check(library: AeadLibrary, test: &Value, piece: usize) {
    let case = format!("{library}, {} in pieces of {piece}", test["comment"]);
    let octets = |name: &str| hex::decode(test[name].as_str().unwrap()).unwrap();
    let flagged = |flag: &str| test["flags"].as_array().unwrap().iter().any(|f| f == flag);
    let sealed = inflate(&octets("ct"));
    let mut plain = Vec::new();
    let opened = open(
        library,
        &octets("key"),
        &octets("ctx"),
        &sealed,
        piece,
        &mut plain,
    );
    if flagged("HeaderFailure") {
        assert_eq!((opened, plain.len()), (Err(Stage::Header), 0), "{case}");
        return;
    }
    if test["result"] == "valid" {
        assert_eq!(opened, Ok(()), "{case}");
        assert_eq!(
            plain.len() as u64,
            test["msgLength"].as_u64().unwrap(),
            "{case}"
        );
        assert_eq!(
            hex::encode(digest(&SHA512, &plain)),
            test["msgSha512"],
            "{case}"
        );
        let key = LayerKey::from_octets(&octets("key")).unwrap();
        assert!(
            seal(library, &key, &sealed, &octets("ctx"), &plain, piece) == sealed,
            "{case}"
        );
        return;
    }
    let truncated = flagged("Truncation");
    match opened {
        Err(Stage::Chunks(MessageFault::Truncated { .. })) => {
            assert!(truncated || flagged("TrailingData"), "{case}")
        }
        Err(Stage::Chunks(MessageFault::Refused)) => {}
        other => panic!("{case}: {other:?}"),
    }
    // What is released stays one chunk behind the longest valid prefix.
    let valid = usize::try_from(test["msgLength"].as_u64().unwrap_or(0)).unwrap();
    assert_eq!(plain.len(), valid.saturating_sub(CHUNK_LEN), "{case}");
}

#[derive(Debug, Eq, PartialEq)]
enum Stage {
    Header,
    Chunks(MessageFault),
}

fn open(
    library: AeadLibrary,
    key: &[u8],
    context: &[u8],
    sealed: &[u8],
    piece: usize,
    out: &mut Vec<u8>,
) -> Result<(), Stage> {
    let key = LayerKey::from_octets(key).ok_or(Stage::Header)?;
    let (salt, rest) = sealed.split_first_chunk().ok_or(Stage::Header)?;
    let (commitment, chunks) = rest.split_first_chunk().ok_or(Stage::Header)?;
    let (key, expected) = MessageKey::derive(library, &key, &Salt(*salt), context).unwrap();
    if expected != Commitment(*commitment) {
        return Err(Stage::Header);
    }
    let mut opener = MessageOpener::new(key);
    for piece in chunks.chunks(piece) {
        if let Err(fault) = opener.update(piece, out) {
            assert_eq!(
                opener.update(&[0; 2 * SEALED_CHUNK_LEN], out),
                Err(fault),
                "an error is sticky"
            );
            assert_eq!(opener.finish(out), Err(fault), "an error is sticky");
            return Err(Stage::Chunks(fault));
        }
    }
    opener.finish(out).map_err(Stage::Chunks)
}

fn seal(
    library: AeadLibrary,
    key: &LayerKey,
    sealed: &[u8],
    context: &[u8],
    plain: &[u8],
    piece: usize,
) -> Vec<u8> {
    let salt = Salt(*sealed.first_chunk().unwrap());
    let (message, commitment) = MessageKey::derive(library, key, &salt, context).unwrap();
    let mut out = [&salt.0[..], &commitment.0].concat();
    let mut sealer = MessageSealer::new(message);
    for piece in plain.chunks(piece) {
        sealer.update(piece, &mut out).unwrap();
    }
    sealer.finish(&mut out).unwrap();
    out
}

/// The file holds its ciphertexts deflated.
fn inflate(zlib: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::ZlibDecoder::new(zlib)
        .read_to_end(&mut plain)
        .unwrap();
    plain
}

/// Reads a file of `$SEALIFT_WYCHEPROOF`, or of its place beside the workspace.
fn wycheproof(file: &str) -> Option<Value> {
    let folder = std::env::var_os("SEALIFT_WYCHEPROOF").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../../shared/vectors/wycheproof"
            ))
        },
        PathBuf::from,
    );
    let path = folder.join(file);
    match std::fs::read(&path) {
        Ok(json) => Some(serde_json::from_slice(&json).unwrap()),
        Err(error) => {
            let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!ci, "{}: {error}", path.display());
            eprintln!("NOT TESTED: {}: {error}", path.display());
            None
        }
    }
}

#[test]
fn each_library_opens_what_the_other_seals_and_neither_what_was_altered() {
    let key = LayerKey::from_octets(&[7; LayerKey::LEN]).unwrap();
    let derived = |library| MessageKey::derive(library, &key, &Salt([9; Salt::LEN]), b"").unwrap();
    for len in [0, 1, 15, 16, 17, 255, 4096, CHUNK_LEN - 1, CHUNK_LEN] {
        let plain: Vec<u8> = (0..len).map(|n| n.to_le_bytes()[0]).collect();
        let sealed = AeadLibrary::ALL.map(|library| {
            let mut sealed = Vec::new();
            let (message, _) = derived(library);
            message.seal_chunk(3, &plain, &mut sealed).unwrap();
            sealed
        });
        assert!(sealed[0] == sealed[1], "{len}");
        for library in AeadLibrary::ALL {
            let (message, _) = derived(library);
            let mut opened = Vec::new();
            message.open_chunk(3, &sealed[0], &mut opened).unwrap();
            assert!(opened == plain, "{library}, {len}");
            let refused = |index, sealed: &[u8]| {
                let mut opened = vec![1, 2, 3];
                let error = message.open_chunk(index, sealed, &mut opened).unwrap_err();
                assert_eq!(
                    (error, opened),
                    (ChunkError::Refused, vec![1, 2, 3]),
                    "{library}, {len}"
                );
            };
            refused(4, &sealed[0]);
            refused(3, &sealed[0][1..]);
            refused(3, &sealed[0][..TAG_LEN - 1]);
            for at in [0, len / 2, len, len + TAG_LEN - 1] {
                let mut altered = sealed[0].clone();
                altered[at] ^= 0x10;
                refused(3, &altered);
            }
        }
    }
}

#[test]
fn which_library_is_faster_follows_from_the_processor() {
    let features = |avx2, vaes, vpclmulqdq, avx512| ProcessorFeatures {
        avx2,
        vaes,
        vpclmulqdq,
        avx512,
    };
    assert_eq!(
        AeadLibrary::default(),
        AeadLibrary::AwsLc,
        "the one that wipes its keys"
    );
    for (features, library) in [
        (features(true, true, true, false), AeadLibrary::Ring),
        (features(true, true, true, true), AeadLibrary::AwsLc),
        (features(true, false, true, false), AeadLibrary::AwsLc),
        (features(true, true, false, false), AeadLibrary::AwsLc),
        (features(false, true, true, false), AeadLibrary::AwsLc),
        (features(false, false, false, false), AeadLibrary::AwsLc),
    ] {
        assert_eq!(AeadLibrary::faster_on(features), library, "{features:?}");
    }
}
