//! An annotation key is either no key annotation or one that is written back as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_keywrap::Scheme;

fuzz_target!(|key: &str| {
    if let Some(scheme) = Scheme::from_annotation_key(key) {
        assert_eq!(scheme.annotation_key(), key);
    }
});
