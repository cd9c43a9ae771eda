//! A sealift element is refused alike by one key and by a map of keys, or opens to what was sealed.
// libfuzzer: -max_len=20000
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sealift_keywrap::{
    Identity, Scheme, WrapContext, WrappedKey,
    customer_key::{CustomerKey, CustomerKeys},
    describe,
};

/// The key of testdata/keywrap/customer_key.
const KEY: [u8; 32] = *include_bytes!("../../seeds/customer_key.key");

static KEYS: LazyLock<(CustomerKey, CustomerKeys)> = LazyLock::new(|| {
    let mut map = CustomerKeys::default();
    map.insert(CustomerKey::new(KEY.into())).unwrap();
    (CustomerKey::new(KEY.into()), map)
});

fuzz_target!(|element: &[u8]| {
    let wrapped = WrappedKey {
        scheme: Scheme::sealift(),
        element: element.to_vec(),
    };
    assert_eq!(describe(&wrapped).len(), 1);
    let one = KEYS.0.unwrap_key(&wrapped, &WrapContext::default());
    let many = KEYS.1.unwrap_key(&wrapped);
    match (one, many) {
        (Ok(one), Ok(many)) => {
            assert_eq!(one.expose(), many.expose());
            assert!(one.expose().starts_with(b"{\"symkey\":\""));
        }
        (Err(one), Err(many)) => assert_eq!(one, many),
        (one, many) => panic!("{one:?} {many:?}"),
    }
});
