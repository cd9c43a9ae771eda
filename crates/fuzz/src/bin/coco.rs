//! Packets of Confidential Containers: what opens is what was sealed, or, without authentication, at least a layer key.
// libfuzzer: -max_len=20000
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sealift_keywrap::customer_key::CustomerKey;
use sealift_keywrap::{Identity, Scheme, WrapContext, WrappedKey, describe};

static KEY: LazyLock<CustomerKey> =
    LazyLock::new(|| CustomerKey::from_file(include_bytes!("../../seeds/coco.key")).unwrap());

fuzz_target!(|octets: &[u8]| {
    let wrapped = WrappedKey {
        scheme: Scheme::Provider("attestation-agent".into()),
        element: octets.to_vec(),
    };
    let described = describe(&wrapped);
    for info in &described {
        assert!(!info.key_id.iter().flat_map(|id| id.chars()).any(char::is_control));
    }
    if let Ok(secret) = KEY.unwrap_key(&wrapped, &WrapContext::default()) {
        match described[0].algorithm.as_deref() {
            Some("A256GCM") => assert!(secret.expose().starts_with(b"{\"symkey\":\"")),
            Some("A256CTR") => assert!(secret.is_private_options()),
            other => panic!("{other:?}"),
        }
    }
});
