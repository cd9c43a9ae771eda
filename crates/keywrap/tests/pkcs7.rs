//! PKCS #7 envelopes: the vectors of `testdata/keywrap/pkcs7`, then laws of reading, then what we write.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use std::{fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use sealift_keywrap::{
    Identity, KeyError, Keyring, LayerSecret, MAX_ELEMENT_LEN, PrivateKey, Recipient, Scheme,
    UnwrapError, WrapContext, WrapError, WrappedKey, describe,
    keys::{Certificate, certificates_beside, parse_certificates, parse_private, parse_public},
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

fn identity(key: &str, certificate: Option<&str>) -> PrivateKey {
    let mut key = parse_private(&read(key), None)
        .expect("a private key")
        .remove(0);
    if let Some(name) = certificate {
        assert!(key.add_certificate(&certificate_of(name)), "{name}");
    }
    key
}

fn certificate_of(name: &str) -> Certificate {
    parse_certificates(&read(name))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
        .remove(0)
}

fn wrapped(element: Vec<u8>) -> WrappedKey {
    WrappedKey {
        scheme: Scheme::Pkcs7,
        element,
    }
}

fn vector(name: &str) -> Value {
    serde_json::from_slice(&read(&format!("pkcs7/{name}.json"))).expect("JSON")
}

fn element(vector: &Value) -> Vec<u8> {
    let encoded = vector["element_base64"].as_str().expect("an element");
    STANDARD.decode(encoded).expect("base64")
}

/// Says how unwrapping ended, in the words of the vectors.
fn outcome(identity: &PrivateKey, element: Vec<u8>) -> String {
    match identity.unwrap_key(&wrapped(element), &WrapContext::default()) {
        Ok(secret) if secret.expose() == SECRET => "opened".into(),
        Ok(_) => "opened to something else".into(),
        Err(error) => error.to_string(),
    }
}

fn secret() -> LayerSecret {
    LayerSecret::new(Zeroizing::new(SECRET.to_vec()))
}

#[test]
fn every_envelope_ends_as_its_vector_says() {
    let mut names: Vec<String> = fs::read_dir(folder("pkcs7"))
        .expect("a folder")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            path.file_stem().expect("a name").to_string_lossy().into()
        })
        .collect();
    names.sort();
    assert_eq!(names.len(), 296);
    let mut failures = Vec::new();
    for name in names {
        let vector = vector(&name);
        let key = vector["key"].as_str().expect("a key");
        let identity = identity(key, vector["certificate"].as_str());
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
    let identity = identity(KEY, Some(CERTIFICATE));
    for name in ["go_last_fits", "valid_primitive", "openssl_aes256_gcm"] {
        let whole = element(&vector(name));
        for length in 0..whole.len() {
            let result =
                identity.unwrap_key(&wrapped(whole[..length].to_vec()), &WrapContext::default());
            assert!(
                matches!(result, Err(UnwrapError::Malformed { .. })),
                "{name} cut to {length}: {result:?}"
            );
        }
    }
}

#[test]
fn every_octet_counts() {
    let identity = identity(KEY, Some(CERTIFICATE));
    // Nothing authenticates the version, and 2 is one that is read alike.
    let ignored = |name: &str, position: usize| name == "valid_primitive" && position == 25;
    for name in ["valid_primitive", "openssl_aes256_gcm"] {
        let whole = element(&vector(name));
        for position in 0..whole.len() {
            for bit in [0x01, 0x02, 0x80] {
                let mut changed = whole.clone();
                changed[position] ^= bit;
                let got = outcome(&identity, changed);
                if got == "opened" {
                    assert!(ignored(name, position), "{name} octet {position} bit {bit}");
                } else {
                    assert_ne!(got, "opened to something else", "{name} octet {position}");
                }
            }
        }
    }
}

#[test]
fn of_many_keys_the_one_that_fits_opens_and_the_others_say_why_not() {
    let vector = element(&vector("go_last_fits"));
    let elements = [wrapped(b"\x30\x00".to_vec()), wrapped(vector)];
    let ring = |keys: Vec<PrivateKey>| {
        let mut ring = Keyring::new();
        for key in keys {
            ring.push(Box::new(key)).expect("room");
        }
        ring
    };
    let other = || identity("skopeo/rsa.pem", Some("certificates/odd-issuer.cert.pem"));
    let ec = || identity("skopeo/ec384.pem", None);

    let complete = ring(vec![ec(), other(), identity(KEY, Some(CERTIFICATE))]);
    let mut candidates = complete.unwrap_keys(&elements, WrapContext::default());
    let found = candidates.next().expect("a secret");
    assert_eq!((found.element, found.secret.expose()), (1, SECRET));

    for (keys, expected) in [
        (vec![ec()], "no key for it"),
        (vec![ec(), other()], "wrapped for another key"),
        (
            vec![other(), identity(KEY, None)],
            "wrapped for a certificate, and no certificate was given with the key",
        ),
    ] {
        let ring = ring(keys);
        let mut candidates = ring.unwrap_keys(&elements, WrapContext::default());
        assert!(candidates.next().is_none(), "{expected}");
        let report = candidates.into_report();
        assert_eq!(report[1].outcome.to_string(), expected);
    }
}

#[test]
fn an_envelope_names_its_recipients() {
    let lines = |name: &str| -> Vec<String> {
        describe(&wrapped(element(&vector(name))))
            .into_iter()
            .map(|info| {
                let certificate = info.certificate.map(|name| name.to_string());
                format!(
                    "{} {}",
                    info.algorithm.unwrap_or_default(),
                    certificate.unwrap_or_default()
                )
            })
            .collect()
    };
    assert_eq!(
        lines("recipients_last_fits"),
        [
            "rsaEncryption CN=rsa serial 1001",
            "rsaEncryption CN=rsa serial 1002",
            "rsaEncryption CN=pkcs7-recipient serial 4a7208f0e50e8dee04bda7f113388f0f704dda52",
        ]
    );
    assert_eq!(
        lines("odd_issuer"),
        ["rsaEncryption CN=line\\0abreak \\1b[31m,O=Käse & Söhne\\, \\\"Bern\\\",C=CH serial 80"]
    );
    assert_eq!(
        lines("key_agreement_beside_ours"),
        [
            "KeyAgreeRecipientInfo ",
            "rsaEncryption CN=pkcs7-recipient serial 4a7208f0e50e8dee04bda7f113388f0f704dda52",
        ]
    );
    assert_eq!(
        lines("content_aes256_cbc"),
        ["rsaEncryption CN=pkcs7-recipient serial 4a7208f0e50e8dee04bda7f113388f0f704dda52"]
    );
    assert_eq!(lines("trailing"), [" "]);
}

#[test]
fn certificates_read_as_they_should() {
    let read_all = |name: &str| {
        parse_certificates(&read(name)).map(|found| {
            let names = found.iter().map(|one| one.name().to_string());
            names.collect::<Vec<_>>()
        })
    };
    for (name, expected) in [
        ("certificates/rsa.cert.pem", vec!["CN=rsa serial 1001"]),
        ("certificates/rsa.cert.der", vec!["CN=rsa serial 1001"]),
        (
            "certificates/serial-20-octets.cert.pem",
            vec!["CN=rsa serial 7fffffffffffffffffffffffffffffffffffffff"],
        ),
        (
            "certificates/two.cert.pem",
            vec!["CN=rsa serial 1001", "CN=x509 serial 2001"],
        ),
    ] {
        let expected = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(read_all(name), Ok(expected), "{name}");
    }
    let malformed = |reason| KeyError::Malformed { reason };
    for (name, expected) in [
        ("certificates/bad.ec.cert.pem", KeyError::NotForRsa),
        ("certificates/bad.secp256k1.cert.pem", KeyError::NotForRsa),
        ("certificates/bad.ed25519.cert.pem", KeyError::NotForRsa),
        ("keys/p256.cert.der", KeyError::NotForRsa),
        (
            "certificates/bad.rsa1024.cert.pem",
            KeyError::TooWeak { bits: 1024 },
        ),
        ("certificates/bad.chain.pem", KeyError::CertificateChain),
        (
            "certificates/bad.trailing.cert.der",
            KeyError::CertificateExpected,
        ),
        (
            "certificates/bad.truncated.cert.der",
            KeyError::CertificateExpected,
        ),
        (
            "certificates/key-and-certificate.pem",
            KeyError::CertificateExpected,
        ),
        ("keys/rsa.pem", KeyError::CertificateExpected),
        ("keys/rsa.pub.pem", KeyError::CertificateExpected),
        ("keys/rsa.jwk", KeyError::CertificateExpected),
        ("keys/bad.no-end.pem", malformed("PEM without end")),
        ("keys/bad.empty.public", KeyError::NotAKey),
    ] {
        assert_eq!(read_all(name), Err(expected), "{name}");
    }
}

#[test]
fn certificates_beside_a_key_count_if_they_are_its_own() {
    let vector = element(&vector("go_none_fits"));
    for (file, expected) in [
        ("certificates/key-and-certificate.pem", "opened"),
        ("certificates/key-and-chain.pem", "wrapped for another key"),
        (
            "certificates/key-and-ec-certificate.pem",
            "wrapped for a certificate, and no certificate was given with the key",
        ),
    ] {
        let mut key = identity(file, None);
        for certificate in certificates_beside(&read(file)) {
            key.add_certificate(&certificate);
        }
        assert_eq!(outcome(&key, vector.clone()), expected, "{file}");
    }
    let mut key = identity("skopeo/rsa.pem", None);
    assert!(!key.add_certificate(&certificate_of(CERTIFICATE)));
}

#[test]
fn a_certificate_is_its_key_under_another_name() {
    let certificate = certificate_of("certificates/rsa.cert.pem");
    let public = parse_public(&read("skopeo/rsa.pub.pem"))
        .expect("a key")
        .remove(0);
    assert_eq!(certificate.fingerprint(), public.fingerprint());
    assert_eq!(certificate.scheme(), Scheme::Pkcs7);
    let expected = format!("Certificate(CN=rsa serial 1001, {})", public.fingerprint());
    assert_eq!(format!("{certificate:?}"), expected);
}

#[test]
fn an_element_is_of_the_length_that_ocicrypt_writes_and_opens_again() {
    let certificate = certificate_of(CERTIFICATE);
    let identity = identity(KEY, Some(CERTIFICATE));
    let wrap = || {
        certificate
            .wrap_key(&secret(), &WrapContext::default())
            .expect("wraps")
    };
    let (one, two) = (wrap(), wrap());
    assert_eq!(one.scheme, Scheme::Pkcs7);
    assert_eq!(one.element.len(), 623);
    assert_ne!(one.element, two.element);
    for made in [one, two] {
        assert_eq!(outcome(&identity, made.element), "opened");
    }
}

#[test]
fn a_secret_that_no_reader_would_take_is_not_wrapped() {
    let certificate = certificate_of(CERTIFICATE);
    let wrap = |length: usize| {
        let secret = LayerSecret::new(Zeroizing::new(vec![b'x'; length]));
        certificate
            .wrap_key(&secret, &WrapContext::default())
            .map(|made| made.element.len())
    };
    let limit = MAX_ELEMENT_LEN;
    // Of a short content 430 octets are around it; the length of this one takes an octet more.
    let room = MAX_ELEMENT_LEN - 431;
    assert_eq!(wrap(room), Ok(MAX_ELEMENT_LEN));
    for length in [room + 1, MAX_ELEMENT_LEN, 100_000] {
        assert_eq!(wrap(length), Err(WrapError::TooLong { limit }));
    }
}

#[test]
fn an_element_is_octet_for_octet_of_the_shape_go_writes() {
    let made = certificate_of(CERTIFICATE)
        .wrap_key(&secret(), &WrapContext::default())
        .expect("wraps");
    let go = element(&vector("valid_primitive"));
    // Whatever is not random is alike: all but the encrypted key, the nonce and the content.
    let random = [(106, 362), (396, 408), (414, 623)];
    let fixed = |octets: &[u8]| -> Vec<u8> {
        octets
            .iter()
            .enumerate()
            .filter(|(position, _)| {
                !random
                    .iter()
                    .any(|(from, to)| (from..to).contains(&position))
            })
            .map(|(_, octet)| *octet)
            .collect()
    };
    assert_eq!(fixed(&made.element), fixed(&go));
}

const KEY: &str = "skopeo/x509.key.pem";
const CERTIFICATE: &str = "skopeo/x509.cert.pem";
/// 193 octets, as every private options of an image with a SHA-256 digest.
const SECRET: &[u8] = include_bytes!("../../../testdata/keywrap/skopeo/jwe-ec256.secret.json");
