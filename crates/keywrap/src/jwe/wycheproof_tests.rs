//! Wycheproof's vectors for what JWE is made of. They are not in this repository: see [`load`].

use std::{env, fs, path::PathBuf};

use aws_lc_rs::rsa::PrivateDecryptingKey;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{OaepHash, RsaKey, WrapWidth, key_wrap, open::decrypt_oaep};
use crate::{
    Curve, EcPoint, Identity, KeyAgreement, Scheme, UnwrapError, WrapContext, WrappedKey,
    agreement::LocalAgreement, keys,
};

/// Reads a file of the folder that `SEALIFT_WYCHEPROOF` names, or of the one that stands beside the workspace.
///
/// `None`, loudly, if it is absent; in continuous integration that is a failure.
fn load(name: &str) -> Option<Value> {
    let folder = env::var_os("SEALIFT_WYCHEPROOF").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/wycheproof"),
        PathBuf::from,
    );
    let path = folder.join(name);
    match fs::read(&path) {
        Ok(text) => Some(serde_json::from_slice(&text).expect("JSON")),
        Err(error) => {
            assert!(
                env::var_os("CI").is_none_or(|value| value != "true"),
                "{}: {error}",
                path.display()
            );
            eprintln!("SKIPPED: {}: {error}", path.display());
            None
        }
    }
}

/// Calls `check` with each group and test, and returns how many there were.
fn each(file: &Value, mut check: impl FnMut(&Value, &Value)) -> usize {
    let mut count = 0;
    for group in file["testGroups"].as_array().expect("groups") {
        for test in group["tests"].as_array().expect("tests") {
            check(group, test);
            count += 1;
        }
    }
    count
}

fn octets(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("text")).expect("hex")
}

fn is_valid(test: &Value) -> bool {
    test["result"] == "valid"
}

#[test]
fn aes_key_wrap() {
    let Some(file) = load("aes_wrap_test.json") else {
        return;
    };
    let count = each(&file, |group, test| {
        let width = match group["keySize"].as_u64() {
            Some(128) => WrapWidth::A128,
            Some(192) => WrapWidth::A192,
            Some(256) => WrapWidth::A256,
            other => panic!("key size {other:?}"),
        };
        let (kek, key, wrapped) = (
            octets(&test["key"]),
            octets(&test["msg"]),
            octets(&test["ct"]),
        );
        let opened = key_wrap::unwrap(width, &kek, &wrapped).map(|key| key.to_vec());
        let sealed = key_wrap::wrap(width, &kek, &key);
        let id = &test["tcId"];
        // `acceptable` marks keys of eight octets, which no content encryption has.
        if is_valid(test) {
            assert_eq!(opened, Some(key), "{id}");
            assert_eq!(sealed, Some(wrapped), "{id}");
        } else {
            assert_eq!(opened, None, "{id}");
        }
    });
    assert_eq!(count, 165);
}

#[test]
fn rsa_oaep_sha1() {
    let Some(file) = load("rsa_oaep_2048_sha1_mgf1sha1_test.json") else {
        return;
    };
    let count = each(&file, |group, test| {
        let key = PrivateDecryptingKey::from_pkcs8(&octets(&group["privateKeyPkcs8"]))
            .and_then(|key| RsaKey::new(key).map_err(|_| unreachable!("a key")))
            .expect("a key");
        let opened = decrypt_oaep(&key, OaepHash::Sha1, &octets(&test["ct"]));
        // JWE has no label: what was encrypted with one must not open.
        let expected = (is_valid(test) && test["label"] == "").then(|| octets(&test["msg"]));
        assert_eq!(
            opened.map(|plaintext| plaintext.to_vec()),
            expected,
            "{}",
            test["tcId"]
        );
    });
    assert_eq!(count, 36);
}

#[test]
fn ecdh_p256_from_jwk() {
    let Some(file) = load("ecdh_secp256r1_webcrypto_test.json") else {
        return;
    };
    let mut agreed = 0;
    let count = each(&file, |_, test| {
        let member = |key: &str, name: &str| {
            let text = test[key][name].as_str()?;
            URL_SAFE_NO_PAD.decode(text).ok()
        };
        let point = || {
            let curve = Curve::from_name(test["public"]["crv"].as_str()?)?;
            EcPoint::from_coordinates(curve, &member("public", "x")?, &member("public", "y")?)
        };
        let shared = || {
            let scalar = member("private", "d")?;
            let key = LocalAgreement::from_scalar(Curve::P256, &scalar)?;
            let shared = key.agree(&point()?).ok()?;
            Some(shared.expose().to_vec())
        };
        let expected = is_valid(test).then(|| octets(&test["shared"]));
        assert_eq!(shared(), expected, "{}", test["tcId"]);
        agreed += usize::from(expected.is_some());
    });
    assert_eq!(count, 353);
    assert!(agreed > 300, "{agreed}");
}

#[test]
fn json_web_encryption() {
    let Some(file) = load("json_web_encryption_test.json") else {
        return;
    };
    let (mut opened, mut refused_keys) = (0, 0);
    let count = each(&file, |group, test| {
        let id = &test["tcId"];
        let key = serde_json::to_vec(&group["private"]).expect("JSON");
        let identity = match keys::parse_private(&key, None) {
            Ok(mut keys) => keys.remove(0),
            // JWE with a shared key has nothing to do with container images.
            Err(keys::KeyError::UnsupportedType { name }) => {
                assert_eq!(&*name, "kty=oct", "{id}");
                refused_keys += 1;
                return;
            }
            Err(error) => panic!("{id}: {error}"),
        };
        let jwe = &test["jwe"];
        let element = jwe
            .as_str()
            .map_or_else(|| jwe.to_string(), str::to_owned)
            .into_bytes();
        let wrapped = WrappedKey {
            scheme: Scheme::Jwe,
            element,
        };
        let result = identity.unwrap_key(&wrapped, &WrapContext::default());
        match result {
            Ok(secret) => {
                assert!(is_valid(test), "{id} opened");
                assert_eq!(secret.expose(), octets(&test["pt"]), "{id}");
                opened += 1;
            }
            Err(UnwrapError::UnsupportedAlgorithm { name }) => {
                assert!(["RSA1_5", "ECDH-ES"].contains(&&*name), "{id}: {name}");
            }
            Err(error) => assert!(!is_valid(test), "{id}: {error}"),
        }
    });
    assert_eq!((count, refused_keys, opened), (139, 51, 32));
}
