//! A PKCS #11 element is refused alike by every key, or opens to what was sealed; what is read is printed and read alike.
// libfuzzer: -max_len=20000
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sealift_keywrap::{
    Identity, PrivateKey, Scheme, UnwrapError, WrapContext, WrappedKey, describe, keys,
    pkcs11::Element,
};

static KEYS: LazyLock<Vec<PrivateKey>> = LazyLock::new(|| {
    [
        &include_bytes!("../../../../testdata/keywrap/keys/rsa.pem")[..],
        include_bytes!("../../../../testdata/keywrap/skopeo/rsa.pem"),
    ]
    .into_iter()
    .flat_map(|file| keys::parse_private(file, None).unwrap())
    .collect()
});

fuzz_target!(|octets: &[u8]| {
    let wrapped = WrappedKey {
        scheme: Scheme::Pkcs11,
        element: octets.to_vec(),
    };
    let parsed = Element::parse(octets);
    let described = describe(&wrapped);
    match &parsed {
        Ok(element) => {
            assert_eq!(element.recipients().count(), described.len());
            // Versions to come are written as hashes that nobody knows, which is what they are read as.
            let printed = element.to_octets();
            if let Ok(again) = Element::parse(&printed) {
                assert_eq!(again.to_octets(), printed);
            }
        }
        Err(_) => assert!(described.len() == 1 && described[0].algorithm.is_none()),
    }
    for key in KEYS.iter() {
        let result = key.unwrap_key(&wrapped, &WrapContext::default());
        match (&parsed, result) {
            // Every seed holds private options; anybody may seal others, though no fuzzer will.
            (Ok(_), Ok(secret)) => assert!(secret.expose().starts_with(b"{\"symkey\":\"")),
            (
                Ok(_),
                Err(UnwrapError::NotForThisKey | UnwrapError::UnsupportedAlgorithm { .. }),
            ) => {}
            (Err(parse), Err(unwrap)) => assert_eq!(*parse, unwrap),
            (parsed, result) => panic!("{parsed:?} {result:?}"),
        }
    }
});
