//! The vectors of `testdata/keywrap`, made by a program that shares no code with us.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use std::{collections::BTreeMap, fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use sealift_keywrap::{
    Identity, Password, Recipient, Scheme, UnwrapError, WrapContext, WrappedKey,
    customer_key::{CustomerKey, CustomerKeys},
    describe, keys,
};
use serde_json::Value;
use zeroize::Zeroizing;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/keywrap")
        .join(name)
}

fn read(name: &str) -> Vec<u8> {
    let path = folder(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

struct Vector {
    name: String,
    key: String,
    expect: String,
    element: Vec<u8>,
}

fn vectors(name: &str) -> Vec<Vector> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder(name))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let json: Value =
                serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
            let text = |member: &str| json[member].as_str().map(str::to_owned);
            Vector {
                name: path.file_stem().expect("a name").to_string_lossy().into(),
                key: text("key").expect("a key"),
                expect: text("expect").expect("an expectation"),
                element: text("element").map_or_else(
                    || {
                        let encoded = text("element_base64").expect("an element");
                        STANDARD.decode(encoded).expect("base64")
                    },
                    String::into_bytes,
                ),
            }
        })
        .collect()
}

/// Says how unwrapping ended, in the words of the vectors.
fn outcome(result: Result<sealift_keywrap::LayerSecret, UnwrapError>) -> String {
    match result {
        Ok(secret) if secret.expose() == read("skopeo/jwe-ec256.secret.json") => "opened".into(),
        Ok(_) => "opened to something else".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_jwe_ends_as_its_vector_says() {
    let mut identities = BTreeMap::new();
    let vectors = vectors("jwe");
    assert_eq!(vectors.len(), 126);
    let mut failures = Vec::new();
    for vector in vectors {
        let identity = identities.entry(vector.key.clone()).or_insert_with(|| {
            keys::parse_private(&read(&format!("keys/{}", vector.key)), None)
                .expect("a private key")
                .remove(0)
        });
        let wrapped = WrappedKey {
            scheme: Scheme::Jwe,
            element: vector.element,
        };
        let got = outcome(identity.unwrap_key(&wrapped, &WrapContext::default()));
        if got != vector.expect {
            failures.push(format!("{}: {got}", vector.name));
        }
        assert!(!describe(&wrapped).is_empty(), "{}", vector.name);
    }
    assert_eq!(failures, Vec::<String>::new());
}

#[test]
fn every_customer_element_ends_as_its_vector_says() {
    let vectors = vectors("customer_key");
    assert_eq!(vectors.len(), 31);
    let mut failures = Vec::new();
    for vector in vectors {
        let key = || {
            let octets = hex::decode(&vector.key).expect("hex");
            CustomerKey::from_file(&octets).expect("a key")
        };
        let wrapped = WrappedKey {
            scheme: Scheme::sealift(),
            element: vector.element.clone(),
        };
        let mut ring = CustomerKeys::default();
        ring.insert(key()).expect("room");
        for got in [
            outcome(key().unwrap_key(&wrapped, &WrapContext::default())),
            outcome(ring.unwrap_key(&wrapped)),
        ] {
            if got != vector.expect {
                failures.push(format!("{}: {got}", vector.name));
            }
        }
    }
    assert_eq!(failures, Vec::<String>::new());
}

#[test]
fn every_key_file_reads_as_the_index_says() {
    let index: Vec<Value> = serde_json::from_slice(&read("keys/index.json")).expect("JSON");
    assert_eq!(index.len(), 153);
    let mut failures = Vec::new();
    for entry in index {
        let name = entry["file"].as_str().expect("a file");
        let file = read(&format!("keys/{name}"));
        let password = entry["password"].as_str().map(Password::from);
        let fingerprints = if entry["kind"] == "public" {
            keys::parse_public(&file)
                .map(|keys| keys.iter().map(Recipient::fingerprint).collect::<Vec<_>>())
        } else {
            keys::parse_private(&file, password.as_ref())
                .map(|keys| keys.iter().map(Identity::fingerprint).collect())
        };
        let got = match fingerprints {
            Ok(fingerprints) => Value::from(fingerprints),
            Err(error) => Value::from(error.to_string()),
        };
        if got != entry["expect"] {
            failures.push(format!("{name} as {}: {got}", entry["kind"]));
        }
    }
    assert_eq!(failures, Vec::<String>::new());
}

#[test]
fn a_key_file_ends_at_its_limits() {
    let over = vec![b' '; keys::MAX_FILE_LEN + 1];
    let expected = Some(keys::KeyError::TooLarge {
        limit: keys::MAX_FILE_LEN,
    });
    assert_eq!(keys::parse_public(&over).err(), expected);
    assert_eq!(keys::parse_private(&over, None).err(), expected);

    let one = read("keys/p256.pub.pem");
    assert_eq!(
        keys::parse_public(&one.repeat(100)).map(|keys| keys.len()),
        Ok(100)
    );
    let expected = Some(keys::KeyError::TooMany { limit: 100 });
    assert_eq!(keys::parse_public(&one.repeat(101)).err(), expected);
    assert_eq!(keys::parse_public(&one.repeat(201)).err(), expected);
    let one = read("keys/p256.pem");
    assert_eq!(keys::parse_private(&one.repeat(101), None).err(), expected);
}

#[test]
fn each_bit_of_a_customer_element_counts() {
    let key = CustomerKey::new(Zeroizing::new([7; 32]));
    let secret = sealift_keywrap::LayerSecret::new(Zeroizing::new(b"{}".to_vec()));
    let wrapped = key
        .wrap_key(&secret, &WrapContext::default())
        .expect("wraps");
    for position in 0..wrapped.element.len() {
        for bit in 0..8 {
            let mut changed = wrapped.clone();
            changed.element[position] ^= 1 << bit;
            let result = key.unwrap_key(&changed, &WrapContext::default());
            assert!(
                matches!(
                    result,
                    Err(UnwrapError::Authentication
                        | UnwrapError::Malformed { .. }
                        | UnwrapError::NotForThisKey
                        | UnwrapError::UnsupportedAlgorithm { .. })
                ),
                "octet {position} bit {bit}: {result:?}"
            );
        }
    }
}

#[test]
fn every_packet_of_confidential_containers_ends_as_its_vector_says() {
    let vectors = vectors("coco");
    assert_eq!(vectors.len(), 43);
    let mut failures = Vec::new();
    for vector in vectors {
        let octets = hex::decode(&vector.key).expect("hex");
        let key = CustomerKey::from_file(&octets).expect("a key");
        let wrapped = |name: &str| WrappedKey {
            scheme: Scheme::Provider(name.into()),
            element: vector.element.clone(),
        };
        let got = outcome(key.unwrap_key(&wrapped("attestation-agent"), &WrapContext::default()));
        if got != vector.expect {
            failures.push(format!("{}: {got}", vector.name));
        }
        // Under another name it is another provider's.
        let other = key.unwrap_key(&wrapped("demo"), &WrapContext::default());
        assert_eq!(outcome(other), "wrapped for another key");
        if vector.expect == "opened" {
            let described = describe(&wrapped("attestation-agent"));
            assert_eq!(described.len(), 1);
            assert_eq!(described[0].key_id.as_deref(), Some("kbs:///default/key/1"));
        }
    }
    assert_eq!(failures, Vec::<String>::new());
}

/// The packet of a valid vector cut at every octet, and with every bit of its octets turned over: nothing else opens, and
/// with `A256GCM` nothing opens to anything else.
#[test]
fn no_packet_opens_that_was_cut_or_changed() {
    for (name, authenticated) in [("gcm_v2", true), ("ctr_v2", false)] {
        let vector = vectors("coco")
            .into_iter()
            .find(|vector| vector.name == name)
            .expect("a vector");
        let octets = hex::decode(&vector.key).expect("hex");
        let key = CustomerKey::from_file(&octets).expect("a key");
        let open = |element: &[u8]| {
            let wrapped = WrappedKey {
                scheme: Scheme::Provider("attestation-agent".into()),
                element: element.to_vec(),
            };
            key.unwrap_key(&wrapped, &WrapContext::default())
        };
        let secret = read("skopeo/jwe-ec256.secret.json");
        for length in 0..vector.element.len() {
            assert!(open(&vector.element[..length]).is_err(), "{length}");
        }
        for position in 0..vector.element.len() {
            for bit in 0..8 {
                let mut element = vector.element.clone();
                element[position] ^= 1 << bit;
                if let Ok(opened) = open(&element) {
                    // Changes to names of unknown members, or without authentication.
                    let same = opened.expose() == secret;
                    assert!(same || !authenticated, "{position} {bit}");
                    assert!(opened.is_private_options());
                }
            }
        }
    }
}
