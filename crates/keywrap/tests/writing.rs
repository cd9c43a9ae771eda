//! What we write: shape first, then the way back.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use sealift_keywrap::{
    Identity, LayerSecret, MAX_ELEMENT_LEN, Password, PublicKey, Recipient, Scheme, WrapContext,
    WrapError, describe, keys,
    keys::{KeyType, generate},
};
use zeroize::Zeroizing;

fn secret() -> LayerSecret {
    LayerSecret::new(Zeroizing::new(SECRET.to_vec()))
}

fn public(file: &str) -> PublicKey {
    keys::parse_public(file.as_bytes())
        .expect("a public key")
        .remove(0)
}

fn wrap(recipient: &PublicKey) -> String {
    let wrapped = recipient
        .wrap_key(&secret(), &WrapContext::default())
        .expect("wraps");
    assert_eq!(wrapped.scheme, Scheme::Jwe);
    String::from_utf8(wrapped.element).expect("text")
}

/// Splits `{"a":"x","b":"y"}` without a JSON parser, so that order and blanks count.
fn members(json: &str) -> Vec<(&str, &str)> {
    json.strip_prefix("{\"")
        .and_then(|rest| rest.strip_suffix("\"}"))
        .expect("a flat object of strings")
        .split("\",\"")
        .map(|member| member.split_once("\":\"").expect("a member"))
        .collect()
}

fn protected(json: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(members(json)[0].1).expect("base64");
    String::from_utf8(header).expect("text")
}

#[test]
fn an_rsa_element_is_octet_for_octet_of_the_shape_go_writes() {
    let json = wrap(&public(RSA_PUBLIC));
    let members = members(&json);
    let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        ["protected", "encrypted_key", "iv", "ciphertext", "tag"]
    );
    assert_eq!(
        members[0].1,
        "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ"
    );
    let lengths: Vec<usize> = members.iter().map(|(_, value)| value.len()).collect();
    assert_eq!(lengths, [46, 342, 16, 258, 22]);
    assert_eq!(json.len(), 752);
}

#[test]
fn an_ec_element_is_of_the_shape_go_writes() {
    for (key_type, curve, length) in [(KeyType::P256, "P-256", 649), (KeyType::P384, "P-384", 705)]
    {
        let key = generate(key_type, None).expect("a key");
        let json = wrap(&public(&key.public_pem));
        let header = protected(&json);
        let start = format!(
            r#"{{"alg":"ECDH-ES+A256KW","enc":"A256GCM","epk":{{"kty":"EC","crv":"{curve}","x":""#
        );
        assert!(header.starts_with(&start), "{header}");
        assert!(header.ends_with(r#""}}"#), "{header}");
        assert_eq!(json.len(), length);
    }
}

#[test]
fn a_jwk_decides_algorithm_and_key_id() {
    let rsa = |members: &str| public(&format!(r#"{{"kty":"RSA",{RSA_JWK}{members}}}"#));
    assert_eq!(
        protected(&wrap(&rsa(""))),
        r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#
    );
    assert_eq!(
        protected(&wrap(&rsa(r#","alg":"RSA-OAEP-256","use":"enc""#))),
        r#"{"alg":"RSA-OAEP-256","enc":"A256GCM"}"#
    );
    assert_eq!(
        protected(&wrap(&rsa(r#","kid":"<a&\"b>""#))),
        r#"{"alg":"RSA-OAEP","enc":"A256GCM","kid":"\u003ca\u0026\"b\u003e"}"#
    );
    let ec = public(&format!(
        r#"{{"kty":"EC",{EC_JWK},"alg":"ECDH-ES+A192KW","kid":"node 1"}}"#
    ));
    let header = protected(&wrap(&ec));
    assert!(header.starts_with(r#"{"alg":"ECDH-ES+A192KW","enc":"A256GCM","epk":{"#));
    assert!(header.ends_with(r#"},"kid":"node 1"}"#), "{header}");
}

#[test]
fn the_longest_key_id_still_fits_what_we_read() {
    let key_id = "\u{1}".repeat(keys::MAX_KEY_ID_LEN);
    let jwk = format!(
        r#"{{"kty":"EC",{EC_JWK},"kid":{}}}"#,
        serde_json::Value::from(key_id.as_str())
    );
    let wrapped = public(&jwk)
        .wrap_key(&secret(), &WrapContext::default())
        .expect("wraps");
    assert_eq!(describe(&wrapped)[0].key_id.as_deref(), Some(&*key_id));
}

#[test]
fn nothing_random_is_used_twice() {
    let recipient = public(RSA_PUBLIC);
    let (one, two) = (wrap(&recipient), wrap(&recipient));
    for (first, second) in members(&one).into_iter().zip(members(&two)).skip(1) {
        assert_ne!(first.1, second.1, "{}", first.0);
    }
}

#[test]
fn a_secret_that_no_reader_would_take_is_not_wrapped() {
    let long = LayerSecret::new(Zeroizing::new(vec![b'x'; MAX_ELEMENT_LEN]));
    let result = public(RSA_PUBLIC).wrap_key(&long, &WrapContext::default());
    assert_eq!(
        result,
        Err(WrapError::TooLong {
            limit: MAX_ELEMENT_LEN
        })
    );
}

#[test]
fn generated_keys_open_what_was_wrapped_for_them() {
    for key_type in [
        KeyType::P256,
        KeyType::P384,
        KeyType::P521,
        KeyType::Rsa3072,
    ] {
        let key = generate(key_type, None).expect("a key");
        let recipient = public(&key.public_pem);
        let identity = keys::parse_private(key.private_pem.as_bytes(), None)
            .expect("a private key")
            .remove(0);
        assert_eq!(recipient.fingerprint(), key.fingerprint, "{key_type:?}");
        assert_eq!(identity.fingerprint(), key.fingerprint, "{key_type:?}");
        let wrapped = recipient
            .wrap_key(&secret(), &WrapContext::default())
            .expect("wraps");
        let opened = identity
            .unwrap_key(&wrapped, &WrapContext::default())
            .expect("opens");
        assert_eq!(opened.expose(), SECRET, "{key_type:?}");
    }
}

#[test]
fn every_algorithm_a_jwk_may_ask_for_opens_again() {
    let private = |members: &str| {
        keys::parse_private(members.as_bytes(), None)
            .expect("a private key")
            .remove(0)
    };
    for algorithm in ["ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW"] {
        let recipient = public(&format!(r#"{{"kty":"EC",{EC_JWK},"alg":"{algorithm}"}}"#));
        let identity = private(&format!(r#"{{"kty":"EC",{EC_JWK},"d":"{EC_JWK_D}"}}"#));
        let wrapped = recipient
            .wrap_key(&secret(), &WrapContext::default())
            .expect("wraps");
        let opened = identity
            .unwrap_key(&wrapped, &WrapContext::default())
            .expect("opens");
        assert_eq!(opened.expose(), SECRET, "{algorithm}");
    }
}

#[test]
fn a_generated_key_can_be_encrypted() {
    let password = Password::from("correct horse");
    let key = generate(KeyType::P256, Some(&password)).expect("a key");
    let pem = key.private_pem.as_bytes();
    assert!(
        key.private_pem
            .starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    );
    let base64: String = key
        .private_pem
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let der = STANDARD.decode(base64).expect("base64");
    for (what, octets) in [
        ("600 000 rounds", &[0x02, 0x03, 0x09, 0x27, 0xc0][..]),
        (
            "of HMAC-SHA-256",
            &hex::decode("2a864886f70d0209").expect("hex"),
        ),
        (
            "for AES-256-CBC",
            &hex::decode("60864801650304012a").expect("hex"),
        ),
    ] {
        let found = der.windows(octets.len()).any(|window| window == octets);
        assert!(found, "{what}");
    }
    let parse = |password: Option<&Password>| {
        keys::parse_private(pem, password).map(|keys| keys[0].fingerprint())
    };
    assert_eq!(parse(None), Err(keys::KeyError::PasswordMissing));
    assert_eq!(
        parse(Some(&"Correct horse".into())),
        Err(keys::KeyError::PasswordWrong)
    );
    assert_eq!(parse(Some(&password)), Ok(key.fingerprint));
}

#[test]
fn nothing_secret_shows_under_debug() {
    let key = generate(KeyType::P256, None).expect("a key");
    let identity = keys::parse_private(key.private_pem.as_bytes(), None).expect("a private key");
    assert_eq!(
        format!("{key:?} {identity:?} {:?}", secret()),
        format!(
            "GeneratedKey({0}) [PrivateKey({0})] LayerSecret(..)",
            key.fingerprint
        )
    );
}

/// 193 octets, as every private options of an image with a SHA-256 digest.
const SECRET: &[u8; 193] = include_bytes!("../../../testdata/keywrap/skopeo/jwe-ec256.secret.json");
const RSA_PUBLIC: &str = include_str!("../../../testdata/keywrap/skopeo/rsa.pub.pem");
const RSA_JWK: &str = r#""n":"zt6f_-XhEKfa4c6oLT5G8i4XPdOBNZG3Wr4YCbknEuhtDEa8bI89Xfuk3SCwYAaRPDRXaER-zy7x10WJgyMdq-ESWUWNDsNT3GyQlmKxhIcf059cz63zgFro8LwRnyM6iN_Opeangx8ASHxyL1IzHJyP93o4oMZsPTLLCPQqNQn2tp-8HOKZOk-ko4HzEWFN7dkQZva7AzMzac2t0hTTpU1Ti8jMA7E0UMj44TrFvRpTq4ZTLn9sM6dTFIW-A42xBcCRDRSRwnmSrelOueLy72R3lr3Km0FTsvv4eevd545HKJSdWYoa4VDFJFkvHUvJHUzpPxKFY7G3tj64vnp0nw","e":"AQAB""#;
const EC_JWK: &str = r#""crv":"P-256","x":"pfEgZ73eCa5rVoAGMOL9Bs32mvZrQOAFljfRatzSzRk","y":"5cq6JBTdiA9Y5gsDDAm5m07-JHyxP1UkbD8bx9Wf4aE""#;
const EC_JWK_D: &str = "8o_kAWHgWe05O5l4WMpW4KXbw3A_R2v-A2DJESxiJh4";
