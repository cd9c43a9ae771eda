//! A platform is printed as it was read, and satisfies a request for itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_oci::Platform;

fuzz_target!(|text: &str| {
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.to_string(), text);
        assert!(platform.satisfies(&platform));
        assert!(platform.label().split('/').count() <= 4);
    }
});
