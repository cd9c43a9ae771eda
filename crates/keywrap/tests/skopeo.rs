//! What skopeo wrote, we open: `testdata/keywrap/skopeo`.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use std::{fs, path::PathBuf};

use sealift_keywrap::{
    Identity, PrivateKey, Recipient, RecipientInfo, Scheme, UnwrapError, WrapContext, WrappedKey,
    describe, keys,
};

fn file(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata/keywrap/skopeo")
        .join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn identity(name: &str) -> PrivateKey {
    keys::parse_private(&file(name), None)
        .expect("a private key")
        .remove(0)
}

fn element(name: &str) -> WrappedKey {
    WrappedKey {
        scheme: Scheme::Jwe,
        element: file(&format!("{name}.jwe.json")),
    }
}

const ELEMENTS: [(&str, &str, &str); 8] = [
    ("jwe-rsa2048-0", "rsa.pem", "RSA-OAEP"),
    ("jwe-rsa2048-1", "rsa.pem", "RSA-OAEP"),
    ("jwe-rsa2048-2", "rsa.pem", "RSA-OAEP"),
    ("jwe-rsa2048-zstd-0", "rsa.pem", "RSA-OAEP"),
    ("jwe-ec384-0", "ec384.pem", "ECDH-ES+A256KW"),
    ("jwe-ec384-1", "ec384.pem", "ECDH-ES+A256KW"),
    ("jwe-ec384-2", "ec384.pem", "ECDH-ES+A256KW"),
    ("jwe-ec256", "ec256.sec1.pem", "ECDH-ES+A256KW"),
];

#[test]
fn every_key_of_skopeo_opens_to_its_private_options() {
    for (name, key, _) in ELEMENTS {
        let secret = identity(key)
            .unwrap_key(&element(name), &WrapContext::default())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            secret.expose(),
            file(&format!("{name}.secret.json")),
            "{name}"
        );
    }
}

#[test]
fn another_key_is_told_that_the_element_is_not_for_it() {
    for key in ["rsa.pem", "x509.key.pem", "ec384.pem", "ec256.sec1.pem"] {
        let identity = identity(key);
        for (name, right_key, _) in ELEMENTS {
            if key != right_key {
                assert_eq!(
                    identity
                        .unwrap_key(&element(name), &WrapContext::default())
                        .map(|_| ()),
                    Err(UnwrapError::NotForThisKey),
                    "{name} with {key}"
                );
            }
        }
    }
}

#[test]
fn an_element_describes_its_recipient() {
    for (name, _, algorithm) in ELEMENTS {
        assert_eq!(
            describe(&element(name)),
            [RecipientInfo {
                scheme: Scheme::Jwe,
                algorithm: Some(algorithm.into()),
                key_id: None,
                fingerprint: None,
                certificate: None,
            }],
            "{name}"
        );
    }
}

/// The digests are those that `openssl pkey -pubin -outform DER | sha256sum` prints.
#[test]
fn public_and_private_keys_have_the_fingerprint_openssl_gives() {
    for (private, public, fingerprint) in [
        ("rsa.pem", "rsa.pub.pem", RSA_FINGERPRINT),
        ("ec384.pem", "ec384.pub.pem", EC384_FINGERPRINT),
        ("x509.key.pem", "x509.cert.pem", X509_FINGERPRINT),
    ] {
        let public = keys::parse_public(&file(public)).expect("a public key");
        assert_eq!(public.len(), 1);
        assert_eq!(public[0].fingerprint(), fingerprint);
        assert_eq!(identity(private).fingerprint(), fingerprint);
    }
}

const RSA_FINGERPRINT: &str = "352358f408abc462d65a22bba74e947ce7663ae95830d9af3694a288d0b093ec";
const EC384_FINGERPRINT: &str = "2bbf99e985173c3da15391a60ff2c9ab144927f491cc37feda1f93a190d20bc0";
const X509_FINGERPRINT: &str = "3f35ab89c64d6d60a378fc079b8cbf6f850fe16b363e102acdded70179a1cbe0";
