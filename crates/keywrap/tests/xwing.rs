//! X-Wing elements: against a second implementation made of the standards' parts, and everything that must fail.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, X25519},
    digest, hmac,
    kem::{EncapsulationKey, ML_KEM_768},
    rand::SystemRandom,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sealift_keywrap::{
    Identity, KeyError, Keyring, LayerSecret, Recipient, Scheme, UnwrapError, WrapContext,
    WrappedKey,
    customer_key::CustomerKey,
    describe, xwing,
    xwing::{XWingPrivateKey, XWingPublicKey},
};
use zeroize::Zeroizing;

const SECRET: &[u8] =
    br#"{"symkey":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","digest":"","cipheroptions":{}}"#;

fn key(octet: u8) -> XWingPrivateKey {
    XWingPrivateKey::from_seed(Zeroizing::new([octet; 32])).unwrap()
}

/// The octets in the PEM file of a public key.
fn public_octets(key: &XWingPublicKey) -> Vec<u8> {
    let pem = key.to_pem();
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    STANDARD.decode(lines.collect::<String>()).unwrap()
}

fn wrap(key: &XWingPrivateKey) -> WrappedKey {
    let secret = LayerSecret::new(Zeroizing::new(SECRET.to_vec()));
    let context = WrapContext::default();
    key.public().wrap_key(&secret, &context).unwrap()
}

fn unwrap(key: &XWingPrivateKey, element: Vec<u8>) -> Result<Vec<u8>, UnwrapError> {
    let wrapped = WrappedKey {
        scheme: Scheme::sealift(),
        element,
    };
    let secret = key.unwrap_key(&wrapped, &WrapContext::default())?;
    Ok(secret.expose().to_vec())
}

/// HPKE in base mode (RFC 9180, section 5) over X-Wing (draft-connolly-cfrg-xwing-kem-10, section 5), of nothing that the code
/// under test uses: ML-KEM, X25519, SHA-3, HMAC and AES of another library.
fn seal_with_other_code(public: &[u8], info: &[u8], plaintext: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (ml_kem, x25519) = public.split_at(1184);
    let encapsulation = EncapsulationKey::new(&ML_KEM_768, ml_kem).unwrap();
    let (ct_m, ss_m) = encapsulation.encapsulate().unwrap();
    let random = SystemRandom::new();
    let ephemeral = agreement::EphemeralPrivateKey::generate(&X25519, &random).unwrap();
    let ct_x = ephemeral.compute_public_key().unwrap().as_ref().to_vec();
    let peer = agreement::UnparsedPublicKey::new(&X25519, x25519);
    let ss_x = agreement::agree_ephemeral(ephemeral, peer, (), |ss| Ok(ss.to_vec())).unwrap();
    let parts = [ss_m.as_ref(), &ss_x, &ct_x, x25519, br"\.//^\"];
    let shared = digest::digest(&digest::SHA3_256, &parts.concat());

    let suite = [&b"HPKE"[..], &[0x64, 0x7a, 0, 1, 0, 2]].concat();
    let extract = |salt: &[u8], label: &[u8], ikm: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, salt);
        let input = [b"HPKE-v1", &suite[..], label, ikm].concat();
        hmac::sign(&key, &input).as_ref().to_vec()
    };
    let expand = |prk: &[u8], label: &[u8], info: &[u8], len: u8| {
        // One block is enough.
        let key = hmac::Key::new(hmac::HMAC_SHA256, prk);
        let input = [&[0, len], &b"HPKE-v1"[..], &suite, label, info, &[1]].concat();
        hmac::sign(&key, &input).as_ref()[..usize::from(len)].to_vec()
    };
    let context = [
        &[0][..],
        &extract(&[], b"psk_id_hash", &[]),
        &extract(&[], b"info_hash", info),
    ]
    .concat();
    let secret = extract(shared.as_ref(), b"secret", &[]);
    let key = expand(&secret, b"key", &context, 32);
    let nonce = expand(&secret, b"base_nonce", &context, 12);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
    let mut sealed = plaintext.to_vec();
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)
        .unwrap();
    ([ct_m.as_ref(), &ct_x].concat(), sealed)
}

fn element(key_id: &str, enc: &[u8], ct: &[u8]) -> Vec<u8> {
    let (enc, ct) = (STANDARD.encode(enc), STANDARD.encode(ct));
    format!(r#"{{"v":1,"type":"xwing","kid":"{key_id}","enc":"{enc}","ct":"{ct}"}}"#).into_bytes()
}

#[test]
fn what_other_code_seals_opens() {
    let key = key(7);
    let public = public_octets(key.public());
    assert_eq!(public.len(), XWingPublicKey::LEN);
    let key_id = hex::encode(digest::digest(&digest::SHA256, &public));
    assert_eq!(key.public().key_id(), key_id);
    let (enc, ct) = seal_with_other_code(&public, b"sealift/v1/xwing", SECRET);
    assert_eq!(enc.len(), 1120);
    assert_eq!(
        unwrap(&key, element(&key_id, &enc, &ct)),
        Ok(SECRET.to_vec())
    );

    // Other info, as somebody has who seals for another purpose.
    let (enc, ct) = seal_with_other_code(&public, b"sealift/v2/xwing", SECRET);
    let foreign = unwrap(&key, element(&key_id, &enc, &ct));
    assert_eq!(foreign, Err(UnwrapError::Authentication));
}

/// The first vector of draft-connolly-cfrg-xwing-kem-10, appendix C: a seed, and how its public key begins.
#[test]
fn a_seed_gives_the_public_key_of_the_draft() {
    let seed = "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26";
    let seed = hex::decode(seed).unwrap().try_into().unwrap();
    let key = XWingPrivateKey::from_seed(Zeroizing::new(seed)).unwrap();
    let public = hex::encode(public_octets(key.public()));
    assert!(
        public.starts_with("e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5"),
        "{public}"
    );
}

#[test]
fn no_octet_of_an_element_can_change() {
    let key = key(7);
    let wrapped = wrap(&key).element;
    assert_eq!(unwrap(&key, wrapped.clone()), Ok(SECRET.to_vec()));
    for place in 0..wrapped.len() {
        let mut changed = wrapped.clone();
        changed[place] ^= 1;
        assert_ne!(unwrap(&key, changed), Ok(SECRET.to_vec()), "octet {place}");
    }
    for len in 0..wrapped.len() {
        let cut = unwrap(&key, wrapped[..len].to_vec());
        assert!(matches!(cut, Err(UnwrapError::Malformed { .. })), "{len}");
    }
    let longer = [&wrapped[..], b" {}"].concat();
    assert!(matches!(
        unwrap(&key, longer),
        Err(UnwrapError::Malformed { .. })
    ));
}

#[test]
fn bad_elements_are_told_from_those_of_others() {
    let mine = key(7);
    let text = String::from_utf8(wrap(&mine).element).unwrap();
    let edited = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        unwrap(&mine, text.replacen(from, to, 1).into_bytes())
    };
    let other = key(8).public().key_id().to_owned();
    assert_eq!(
        edited(mine.public().key_id(), &other),
        Err(UnwrapError::NotForThisKey)
    );
    for (from, to) in [
        (r#""v":1,"#, ""),
        (r#""v":1"#, r#""v":"1""#),
        (r#""type":"xwing","#, ""),
        (r#""enc":""#, r#""enc":"A"#),
        (r#""enc":""#, r#""enc":"AAAA"#),
        (r#""ct":""#, r#""ct":"","was":""#),
        (r#""kid":""#, r#""kid":"A"#),
        (r#"{"v":1"#, r#"{"v":1,"v":1"#),
    ] {
        let refused = edited(from, to);
        assert!(
            matches!(refused, Err(UnwrapError::Malformed { .. })),
            "{from} {refused:?}"
        );
    }
    for (from, to, name) in [
        (r#""v":1"#, r#""v":2"#, "xwing v2"),
        (r#""type":"xwing""#, r#""type":"kms""#, "kms"),
        (r#""type":"xwing""#, r#""type":"aes256""#, "aes256"),
    ] {
        let expected = UnwrapError::UnsupportedAlgorithm { name: name.into() };
        assert_eq!(edited(from, to), Err(expected));
    }
    let long = vec![b' '; sealift_keywrap::MAX_ELEMENT_LEN + 1];
    assert!(matches!(
        unwrap(&mine, long),
        Err(UnwrapError::Malformed { .. })
    ));
}

#[test]
fn the_last_of_several_recipients_opens_beside_other_schemes() {
    let keys = [1, 2, 3].map(key);
    let customer = CustomerKey::new(Zeroizing::new([9; 32]));
    let secret = LayerSecret::new(Zeroizing::new(b"another".to_vec()));
    let mut elements = vec![
        customer.wrap_key(&secret, &WrapContext::default()).unwrap(),
        WrappedKey {
            scheme: Scheme::Provider("unknown".into()),
            element: b"?".to_vec(),
        },
    ];
    elements.extend(keys.iter().map(wrap));
    let [_, _, last] = keys;
    let info = describe(&elements[4]).remove(0);
    assert_eq!(info.algorithm.as_deref(), Some("xwing"));
    assert_eq!(info.fingerprint.as_deref(), Some(last.public().key_id()));
    let mut ring = Keyring::new();
    ring.push(Box::new(last)).unwrap();
    let mut found = ring.unwrap_keys(&elements, WrapContext::default());
    let opened = found.next().unwrap();
    assert_eq!((opened.element, opened.secret.expose()), (4, SECRET));
    assert!(found.next().is_none());
}

#[test]
fn key_files_are_read_as_they_are_written_and_nothing_else_is() {
    let key = key(7);
    let (private, public) = (key.to_pem(), key.public().to_pem());
    let read = xwing::parse_private(private.as_bytes()).unwrap().unwrap();
    assert_eq!(read[0].public().key_id(), key.public().key_id());
    let two = format!("# two\n{public}\n{public}");
    let read = xwing::parse_public(two.as_bytes()).unwrap().unwrap();
    assert_eq!(read.len(), 2);
    let error = |keys: Option<Result<Vec<XWingPublicKey>, KeyError>>| keys.unwrap().err();
    assert_eq!(
        error(xwing::parse_public(private.as_bytes())),
        Some(KeyError::PublicExpected)
    );
    let expected = xwing::parse_private(public.as_bytes()).unwrap().err();
    assert_eq!(expected, Some(KeyError::PrivateExpected));
    // Cut or grown by one group of base64.
    let body = public.lines().nth(1).unwrap();
    for damaged in [
        public.replace(body, &body[4..]),
        public.replace(body, &format!("AAAA{body}")),
    ] {
        let error = error(xwing::parse_public(damaged.as_bytes()));
        assert_eq!(
            error,
            Some(KeyError::Malformed {
                reason: "X-Wing public key"
            })
        );
    }
    for other in [
        &b""[..],
        b"{}",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    ] {
        assert!(xwing::parse_public(other).is_none());
        assert!(xwing::parse_private(other).is_none());
    }
}
