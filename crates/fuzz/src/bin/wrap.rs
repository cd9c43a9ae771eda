//! A wrap that is read is kept octet for octet, and its JSON form gives it back.
// libfuzzer: -max_len=8192
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_threshold::Wrap;

fuzz_target!(|octets: &[u8]| {
    if let Ok(wrap) = Wrap::parse(octets) {
        assert_eq!(wrap.as_bytes(), octets);
        assert_eq!(wrap.label().suite, wrap.suite());
        if let Some(json) = wrap.to_json() {
            assert_eq!(Wrap::from_json(&json).unwrap(), wrap);
        }
    }
    if let Ok(wrap) = Wrap::from_json(octets) {
        assert_eq!(Wrap::parse(wrap.as_bytes()).unwrap(), wrap);
    }
});
