//! A digest is printed as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_oci::Digest;

fuzz_target!(|text: &str| {
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
});
