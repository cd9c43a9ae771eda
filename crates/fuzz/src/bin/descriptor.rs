//! A key descriptor that is accepted is written so that it reads the same.
// libfuzzer: -max_len=8192
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_threshold::GroupKey;

fuzz_target!(|json: &[u8]| {
    let Ok(key) = GroupKey::from_json(json) else {
        return;
    };
    let printed = key.to_json();
    let again = GroupKey::from_json(&printed).unwrap();
    assert_eq!(again.to_json(), printed);
    assert_eq!(
        (again.parts(), again.holders()),
        (key.parts(), key.holders())
    );
    assert!(key.threshold_w() >= 1);
});
