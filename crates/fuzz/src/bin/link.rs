//! The next page of a list is a part of the header that named it, and is found again when it stands alone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_registry::next_link;

fuzz_target!(|value: &str| {
    let Some(target) = next_link(value) else {
        return;
    };
    assert!(value.contains(target) && !target.contains('>'));
    assert_eq!(next_link(&format!("<{target}>; rel=next")), Some(target));
});
