//! A message is refused alike by every key or opens to what was sealed; a certificate that reads names keys that messages name.
// libfuzzer: -max_len=20000
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sealift_keywrap::{
    Identity, LayerSecret, Recipient, Scheme, UnwrapError, WrapContext, WrappedKey, describe,
    openpgp::{DecryptionKey, Message, is_key_file, parse_certificates, parse_secret},
};

static KEYS: LazyLock<Vec<DecryptionKey>> = LazyLock::new(|| {
    let key = |file: &[u8]| parse_secret(file, None).unwrap().remove(0);
    vec![
        key(include_bytes!("../../../../testdata/keywrap/openpgp/cv25519.sec.gpg")),
        key(include_bytes!("../../../../testdata/keywrap/openpgp/p384.sec.gpg")),
        key(include_bytes!("../../../../testdata/keywrap/openpgp/primary-only.sec.gpg")),
    ]
});

fuzz_target!(|octets: &[u8]| {
    let wrapped = WrappedKey {
        scheme: Scheme::Pgp,
        element: octets.to_vec(),
    };
    let parsed = Message::parse(octets);
    let described = describe(&wrapped);
    match &parsed {
        Ok(message) => {
            assert_eq!(message.recipients().count(), described.len());
            assert!(!is_key_file(octets));
        }
        Err(_) => assert!(described.len() == 1 && described[0].algorithm.is_none()),
    }
    for key in KEYS.iter() {
        let result = key.unwrap_key(&wrapped, &WrapContext::default());
        match (&parsed, result) {
            (Ok(_), Ok(_)) => {}
            (Err(parse), Err(unwrap)) => assert_eq!(*parse, unwrap),
            (
                Ok(_),
                Err(
                    UnwrapError::NotForThisKey
                    | UnwrapError::Authentication
                    | UnwrapError::Malformed { .. }
                    | UnwrapError::UnsupportedAlgorithm { .. },
                ),
            ) => {}
            (parsed, result) => panic!("{parsed:?} {result:?}"),
        }
    }
    // Without a password, so that no time goes into deriving keys.
    for key in parse_secret(octets, None).unwrap_or_default() {
        assert_eq!(key.fingerprint().get(24..), key.key_id());
    }
    for certificate in parse_certificates(octets).unwrap_or_default().into_iter().flatten() {
        assert!(certificate.has_fingerprint(&certificate.fingerprint()));
        for name in certificate.user_ids() {
            assert!(!name.chars().any(char::is_control));
        }
        let Ok(key) = certificate.encryption_key(NOW) else {
            continue;
        };
        assert!(certificate.has_fingerprint(&key.fingerprint()));
        let secret = LayerSecret::new(b"x".to_vec().into());
        if let Ok(wrapped) = key.wrap_key(&secret, &WrapContext::default()) {
            assert_eq!(describe(&wrapped)[0].key_id.as_deref(), key.fingerprint().get(24..));
        }
    }
});

/// After all seeds were made, and before any ended but one.
const NOW: u64 = 1_770_000_000;
