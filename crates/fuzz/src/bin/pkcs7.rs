//! An envelope is refused alike by every key or opens to what was sealed; a certificate that reads is one that envelopes name.
// libfuzzer: -max_len=20000
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sealift_keywrap::{
    Identity, LayerSecret, PrivateKey, Recipient, Scheme, UnwrapError, WrapContext, WrappedKey, describe, keys,
    pkcs7::Envelope,
};

/// A key with its certificate, one with another certificate, and one without.
static KEYS: LazyLock<Vec<PrivateKey>> = LazyLock::new(|| {
    let key = |file: &[u8]| keys::parse_private(file, None).unwrap().remove(0);
    let certify = |mut key: PrivateKey, file: &[u8]| {
        assert!(key.add_certificate(&keys::parse_certificates(file).unwrap()[0]));
        key
    };
    vec![
        certify(
            key(include_bytes!("../../../../testdata/keywrap/skopeo/x509.key.pem")),
            include_bytes!("../../../../testdata/keywrap/skopeo/x509.cert.pem"),
        ),
        certify(
            key(include_bytes!("../../../../testdata/keywrap/skopeo/rsa.pem")),
            include_bytes!("../../../../testdata/keywrap/certificates/odd-issuer.cert.pem"),
        ),
        key(include_bytes!("../../../../testdata/keywrap/skopeo/rsa.pem")),
    ]
});

fuzz_target!(|octets: &[u8]| {
    let wrapped = WrappedKey {
        scheme: Scheme::Pkcs7,
        element: octets.to_vec(),
    };
    let parsed = Envelope::parse(octets);
    let described = describe(&wrapped);
    match &parsed {
        Ok(envelope) => {
            assert_eq!(envelope.recipients().count(), described.len());
            for name in described.iter().filter_map(|info| info.certificate.as_ref()) {
                assert!(!name.to_string().chars().any(char::is_control));
            }
        }
        Err(_) => assert!(described.len() == 1 && described[0].algorithm.is_none()),
    }
    for key in KEYS.iter() {
        let result = key.unwrap_key(&wrapped, &WrapContext::default());
        match (&parsed, result) {
            // Every seed holds private options; nobody can seal others without having drawn the key.
            (Ok(_), Ok(secret)) => assert!(secret.expose().starts_with(b"{\"symkey\":\"")),
            (
                Ok(_),
                Err(
                    UnwrapError::NotForThisKey
                    | UnwrapError::NoCertificate
                    | UnwrapError::UnsupportedAlgorithm { .. },
                ),
            ) => {}
            (Err(parse), Err(unwrap)) => assert_eq!(*parse, unwrap),
            (parsed, result) => panic!("{parsed:?} {result:?}"),
        }
    }
    for certificate in keys::parse_certificates(octets).unwrap_or_default() {
        let secret = LayerSecret::new(b"x".to_vec().into());
        if let Ok(wrapped) = certificate.wrap_key(&secret, &WrapContext::default()) {
            assert_eq!(describe(&wrapped)[0].certificate.as_ref(), Some(certificate.name()));
        }
    }
});
