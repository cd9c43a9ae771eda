//! Sets of wrapped keys: what is accepted reads back the same, is bounded, and opens only through keys that fit.
// libfuzzer: -max_len=20000
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sealift_keywrap::customer_key::CustomerKey;
use sealift_keywrap::{KeySet, Keyring, Scheme, WrapContext, WrappedKey, describe};

static RING: LazyLock<Keyring> = LazyLock::new(|| {
    let mut ring = Keyring::new();
    let key = include_bytes!("../../seeds/customer_key.key");
    ring.push(Box::new(CustomerKey::from_file(key).unwrap())).unwrap();
    ring
});

fuzz_target!(|octets: &[u8]| {
    let wrapped = [WrappedKey {
        scheme: Scheme::Provider("fuzz".into()),
        element: octets.to_vec(),
    }];
    assert!(!describe(&wrapped[0]).is_empty());
    if let Some(Ok(set)) = KeySet::of(&wrapped[0]) {
        assert!((1..=KeySet::MAX_KEYS).contains(&set.keys().len()));
        assert!(set.keys().iter().all(|key| KeySet::of(key).is_none()));
        let written = KeySet::parse(&set.to_element());
        // Written without escapes a set may be longer than it was, but not by much.
        if let Some(read) = written {
            assert_eq!(read.unwrap(), set);
        }
    }
    let mut candidates = RING.unwrap_keys(&wrapped, WrapContext::default());
    for unwrapped in candidates.by_ref() {
        assert!(unwrapped.secret.expose().starts_with(b"{\"symkey\":\""));
    }
    assert_eq!(candidates.into_report().len(), 1);
});
