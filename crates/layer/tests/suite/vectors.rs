//! Vectors of an independent generator: `testdata/layer/generate.py`.

use crate::support::{Clear, End, Vector, describe, keys, open, vectors};
use sealift_layer::chunked::{CHUNK_LEN, SEALED_CHUNK_LEN, Salt};
use sealift_layer::{
    AeadLibrary, Binding, Cipher, CounterBlock, Embedding, LayerKey, Material, OriginalKind, Plan,
    Sealer,
};
use sealift_oci::{Digest, MediaType};

const PIECES: [usize; 7] = [
    1,
    CHUNK_LEN - 1,
    CHUNK_LEN,
    CHUNK_LEN + 1,
    SEALED_CHUNK_LEN,
    2 * SEALED_CHUNK_LEN + 1,
    usize::MAX,
];

#[test]
fn every_blob_has_the_outcome_that_its_vector_names_however_it_is_cut() {
    for folder in ["chunked", "ctr-hmac"] {
        for vector in vectors(folder) {
            for end in [End::Digest, End::Stream] {
                let stream = vector
                    .optional("expect-stream")
                    .filter(|_| end == End::Stream);
                let expected = stream.unwrap_or(vector.field("expect"));
                for piece in PIECES {
                    let (released, outcome) =
                        open(vector.claims(), &vector.body, piece, end, &keys());
                    let case = format!("{folder}/{} in pieces of {piece}, {end:?}", vector.name);
                    assert_eq!(describe(&outcome), expected, "{case}");
                    if stream.is_none() {
                        let released = format!("{} {}", released.len(), Digest::sha256(&released));
                        assert_eq!(released, vector.field("released"), "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn sealing_with_given_key_and_salt_gives_the_vectors_octets() {
    let mut sealed = 0;
    for folder in ["chunked", "ctr-hmac"] {
        for vector in vectors(folder) {
            let Some(key) = vector.optional("layer-key") else {
                continue;
            };
            let (plain, outcome) = open(
                vector.claims(),
                &vector.body,
                usize::MAX,
                End::Digest,
                &keys(),
            );
            assert_eq!(outcome, Ok(()), "{}", vector.name);
            for piece in PIECES {
                check_sealing(&vector, key, &plain, piece);
            }
            sealed += 1;
        }
    }
    assert_eq!(sealed, 15);
}

fn check_sealing(vector: &Vector, key: &str, plain: &[u8], piece: usize) {
    let key = LayerKey::from_octets(&hex::decode(key).unwrap()).unwrap();
    let material = match vector.optional("salt") {
        Some(salt) => Material::Chunked {
            key,
            salt: Salt(hex::decode(salt).unwrap().try_into().unwrap()),
        },
        None => Material::CtrHmac {
            key,
            nonce: CounterBlock(
                hex::decode(vector.field("counter"))
                    .unwrap()
                    .try_into()
                    .unwrap(),
            ),
        },
    };
    let sealed_type: MediaType = vector.field("media-type").parse().unwrap();
    let plan = Plan {
        cipher: Cipher::Chunked,
        aead: AeadLibrary::default(),
        media_type: sealed_type.plain().unwrap(),
        plain_digest: vector
            .optional("digest")
            .filter(|text| !text.is_empty())
            .map(|text| text.parse().unwrap()),
        recipients: [Box::new(Clear) as _].into(),
        embedding: match vector.optional("embedding") {
            None => Embedding::AnnotationsAndHeader,
            Some("annotations-only") => Embedding::AnnotationsOnly,
            Some(other) => panic!("{other}"),
        },
        binding: Binding::default(),
    };
    let mut sealer = Sealer::with_material(plan, material).unwrap();
    let mut blob = Vec::new();
    for piece in plain.chunks(piece) {
        sealer.update(piece, &mut blob).unwrap();
    }
    let finished = sealer.finish(&mut blob).unwrap();
    assert!(blob == vector.body, "{} in pieces of {piece}", vector.name);
    let layer = finished.describe(&Digest::sha256(&blob)).unwrap();
    assert_eq!(layer.media_type, sealed_type);
    for line in &vector.fields["annotation"] {
        let (key, value) = line.split_once('=').unwrap();
        assert_eq!(layer.annotations[key], value, "{}: {key}", vector.name);
    }
}

#[test]
fn every_original_has_the_outcome_that_its_vector_names() {
    for vector in vectors("original") {
        let kind = match vector.field("kind") {
            "manifest" => OriginalKind::Manifest,
            "index" => OriginalKind::Index,
            "config" => OriginalKind::Config,
            other => panic!("{other}"),
        };
        let key = crate::support::original_key(&vector);
        let opened = key.open(kind, vector.field("element"));
        let outcome = match &opened {
            Ok(original) => {
                assert_eq!(original.octets, vector.body, "{}", vector.name);
                format!("success {}", original.media_type)
            }
            Err(_) => describe(&opened.map(|_| ())),
        };
        assert_eq!(outcome, vector.field("expect"), "{}", vector.name);
    }
}
