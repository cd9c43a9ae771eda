//! X-Wing: elements open to what was sealed or to nothing, and key files give keys that read back the same.
// libfuzzer: -max_len=8192
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sealift_keywrap::xwing::{XWingPrivateKey, parse_private, parse_public};
use sealift_keywrap::{Identity, Scheme, WrapContext, WrappedKey, describe};

/// The key for which the element among the seeds was made; it protects nothing else.
static KEY: LazyLock<XWingPrivateKey> = LazyLock::new(|| {
    let file = include_bytes!("../../seeds/xwing.key");
    parse_private(file).unwrap().unwrap().remove(0)
});

fuzz_target!(|octets: &[u8]| {
    let wrapped = WrappedKey {
        scheme: Scheme::sealift(),
        element: octets.to_vec(),
    };
    assert_eq!(describe(&wrapped).len(), 1);
    if let Ok(secret) = KEY.unwrap_key(&wrapped, &WrapContext::default()) {
        assert!(secret.expose().starts_with(b"{\"symkey\":\""));
    }
    for key in parse_public(octets).into_iter().flatten().flatten() {
        let again = parse_public(key.to_pem().as_bytes()).unwrap().unwrap();
        assert_eq!(again[0].key_id(), key.key_id());
    }
    for key in parse_private(octets).into_iter().flatten().flatten() {
        let again = parse_private(key.to_pem().as_bytes()).unwrap().unwrap();
        assert_eq!(again[0].public().key_id(), key.public().key_id());
    }
});
