//! PKCS #11 elements: the vectors of `testdata/keywrap/pkcs11`, then laws of reading, then what we write.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use std::{fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use sealift_keywrap::{
    Identity, Keyring, LayerSecret, PrivateKey, Recipient, Scheme, UnwrapError, WrapContext,
    WrapError, WrappedKey, describe,
    jwe::OaepHash,
    keys::{parse_private, parse_public},
    pkcs11::{self, NotRsa},
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

fn identity(key: &str) -> PrivateKey {
    parse_private(&read(key), None)
        .expect("a private key")
        .remove(0)
}

fn recipient(key: &str, hash: OaepHash) -> Result<pkcs11::Recipient, NotRsa> {
    let key = parse_public(&read(key)).expect("a public key").remove(0);
    pkcs11::Recipient::new(&key, hash)
}

fn wrapped(element: Vec<u8>) -> WrappedKey {
    WrappedKey {
        scheme: Scheme::Pkcs11,
        element,
    }
}

fn vector(name: &str) -> Value {
    serde_json::from_slice(&read(&format!("pkcs11/{name}.json"))).expect("JSON")
}

fn element(vector: &Value) -> Vec<u8> {
    let encoded = vector["element_base64"].as_str().expect("an element");
    STANDARD.decode(encoded).expect("base64")
}

/// Says how unwrapping ended, in the words of the vectors.
fn outcome(identity: &PrivateKey, element: Vec<u8>) -> String {
    match identity.unwrap_key(&wrapped(element), &WrapContext::default()) {
        Ok(secret) if secret.expose() == SECRET => "opened".into(),
        Ok(secret) if secret.expose() == SHORT => "opened short".into(),
        Ok(_) => "opened to something else".into(),
        Err(error) => error.to_string(),
    }
}

fn secret(octets: &[u8]) -> LayerSecret {
    LayerSecret::new(Zeroizing::new(octets.to_vec()))
}

#[test]
fn every_element_ends_as_its_vector_says() {
    let mut names: Vec<String> = fs::read_dir(folder("pkcs11"))
        .expect("a folder")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            path.file_stem().expect("a name").to_string_lossy().into()
        })
        .collect();
    names.sort();
    assert_eq!(names.len(), 38);
    let mut failures = Vec::new();
    for name in names {
        let vector = vector(&name);
        let identity = identity(vector["key"].as_str().expect("a key"));
        let got = outcome(&identity, element(&vector));
        if vector["expect"] != got {
            failures.push(format!("{name}: {got}, not {}", vector["expect"]));
        }
        assert!(!describe(&wrapped(element(&vector))).is_empty(), "{name}");
    }
    assert_eq!(failures, Vec::<String>::new());
}

#[test]
fn every_cut_is_malformed() {
    let identity = identity(KEY);
    let whole = element(&vector("valid_last_fits"));
    for length in 0..whole.len() {
        let cut = wrapped(whole[..length].to_vec());
        let result = identity.unwrap_key(&cut, &WrapContext::default());
        assert!(
            matches!(result, Err(UnwrapError::Malformed { .. })),
            "cut to {length}: {result:?}"
        );
    }
}

#[test]
fn no_octet_that_is_changed_opens_something_else() {
    let identity = identity(KEY);
    let whole = element(&vector("valid_sha1"));
    for position in 0..whole.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut changed = whole.clone();
            changed[position] ^= bit;
            let got = outcome(&identity, changed);
            assert_ne!(got, "opened to something else", "octet {position}");
            // Members that nobody knows are passed over, and no version is the same as version 0.
            let name = &whole[..position];
            let in_name = name.ends_with(b"\"") || !name.ends_with(b":");
            assert!(got != "opened" || in_name, "octet {position} bit {bit}");
        }
    }
}

#[test]
fn another_key_and_another_kind_of_key_open_nothing() {
    let element = element(&vector("valid_sha1"));
    assert_eq!(
        outcome(&identity("keys/rsa.pem"), element.clone()),
        "wrapped for another key"
    );
    let curve = identity("keys/p256.pem");
    assert!(!curve.opens(&Scheme::Pkcs11));
    let mut ring = Keyring::new();
    ring.push(Box::new(curve)).expect("room");
    ring.push(Box::new(identity("keys/rsa.pem"))).expect("room");
    ring.push(Box::new(identity(KEY))).expect("room");
    let elements = [wrapped(b"{}".to_vec()), wrapped(element)];
    let mut candidates = ring.unwrap_keys(&elements, WrapContext::default());
    assert_eq!(candidates.next().map(|found| found.element), Some(1));
}

#[test]
fn what_is_written_opens_and_says_its_hash() {
    for (hash, octets, name) in [
        (OaepHash::Sha1, SECRET, "RSA-OAEP"),
        (OaepHash::Sha256, SHORT, "RSA-OAEP-256"),
    ] {
        let recipient = recipient("skopeo/rsa.pub.pem", hash).expect("an RSA key");
        let wrapped = recipient
            .wrap_key(&secret(octets), &WrapContext::default())
            .expect("room");
        let text = String::from_utf8(wrapped.element.clone()).expect("text");
        assert!(text.starts_with(r#"{"version":0,"recipients":[{"version":0,"blob":""#));
        let described = describe(&wrapped);
        assert_eq!(described.len(), 1);
        assert_eq!(described[0].algorithm.as_deref(), Some(name));
        let identity = identity("skopeo/rsa.pem");
        assert_eq!(identity.fingerprint(), recipient.fingerprint());
        let opened = identity.unwrap_key(&wrapped, &WrapContext::default());
        assert_eq!(opened.expect("opened").expose(), octets);
    }
}

#[test]
fn a_key_that_is_too_small_is_refused_with_what_would_do() {
    let recipient_of = |hash| recipient("skopeo/rsa.pub.pem", hash).expect("an RSA key");
    for (hash, name, capacity) in [
        (OaepHash::Sha256, "SHA-256", 190),
        (OaepHash::Sha1, "SHA-1", 214),
    ] {
        let recipient = recipient_of(hash);
        let wrap = |len| recipient.wrap_key(&secret(&vec![1; len]), &WrapContext::default());
        wrap(capacity).expect("room");
        let expected = WrapError::KeyTooSmall {
            bits: 2048,
            hash: name,
            capacity,
            needed: capacity + 1,
        };
        assert_eq!(wrap(capacity + 1), Err(expected));
    }
    let error = recipient_of(OaepHash::Sha256)
        .check_capacity(193)
        .unwrap_err();
    let message = error.to_string();
    assert!(message.contains("holds 190 octets"), "{message}");
    assert!(message.contains("choose SHA-1"), "{message}");
}

#[test]
fn keys_that_are_not_rsa_are_refused() {
    let result = recipient("keys/p256.pub.pem", OaepHash::Sha1);
    assert_eq!(result.map(|_| ()), Err(NotRsa));
}

const KEY: &str = "skopeo/x509.key.pem";
const SECRET: &[u8] = include_bytes!("../../../testdata/keywrap/skopeo/jwe-ec256.secret.json");
const SHORT: &[u8] = SECRET.split_at(159).0;
