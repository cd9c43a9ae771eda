//! A JWE is refused alike by every key or opens to what was sealed; what is written is described as it was named.
// libfuzzer: -max_len=20000
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sealift_keywrap::{
    Identity, LayerSecret, PrivateKey, Recipient, Scheme, UnwrapError, WrapContext, WrappedKey,
    describe, jwe::Jwe, keys,
};

static KEYS: LazyLock<Vec<PrivateKey>> = LazyLock::new(|| {
    [
        &include_bytes!("../../../../testdata/keywrap/keys/rsa.pem")[..],
        include_bytes!("../../../../testdata/keywrap/keys/p256.pem"),
        include_bytes!("../../../../testdata/keywrap/keys/p384.pem"),
        include_bytes!("../../../../testdata/keywrap/keys/p521.pem"),
    ]
    .into_iter()
    .flat_map(|file| keys::parse_private(file, None).unwrap())
    .collect()
});

fuzz_target!(|element: &[u8]| {
    let wrapped = WrappedKey {
        scheme: Scheme::Jwe,
        element: element.to_vec(),
    };
    let parsed = Jwe::parse(element);
    let described = describe(&wrapped);
    match &parsed {
        Ok(jwe) => assert_eq!(jwe.recipients().count(), described.len()),
        Err(_) => assert!(described.len() == 1 && described[0].algorithm.is_none()),
    }
    for key in KEYS.iter() {
        let result = key.unwrap_key(&wrapped, &WrapContext::default());
        match (&parsed, result) {
            // Every seed holds private options; nobody can seal others without having drawn the key.
            (Ok(_), Ok(secret)) => assert!(secret.expose().starts_with(b"{\"symkey\":\"")),
            (
                Ok(_),
                Err(UnwrapError::Malformed { .. } | UnwrapError::UnsupportedAlgorithm { .. }),
            ) => {}
            (Ok(_), Err(UnwrapError::NotForThisKey | UnwrapError::Authentication)) => {}
            (Err(parse), Err(unwrap)) => assert_eq!(*parse, unwrap),
            (parsed, result) => panic!("{parsed:?} {result:?}"),
        }
    }
    if let Ok(name) = str::from_utf8(element)
        && name.len() <= keys::MAX_KEY_ID_LEN
    {
        written_is_described(name);
    }
});

fn written_is_described(name: &str) {
    let jwk = format!("{{{JWK},\"kid\":{}}}", serde_json::Value::from(name));
    let recipient = keys::parse_public(jwk.as_bytes()).unwrap().remove(0);
    let secret = LayerSecret::new(b"x".to_vec().into());
    let wrapped = recipient
        .wrap_key(&secret, &WrapContext::default())
        .unwrap();
    assert_eq!(describe(&wrapped)[0].key_id.as_deref(), Some(name));
}

const JWK: &str = r#""kty":"EC","crv":"P-256","x":"pfEgZ73eCa5rVoAGMOL9Bs32mvZrQOAFljfRatzSzRk","y":"5cq6JBTdiA9Y5gsDDAm5m07-JHyxP1UkbD8bx9Wf4aE""#;
