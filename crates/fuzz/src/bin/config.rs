//! Reading a configuration never fails but with an error, and what it names can be printed.
// libfuzzer: -max_len=16384
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_oci::{Config, Digest};

fuzz_target!(|octets: &[u8]| {
    if let Ok(config) = Config::parse(octets) {
        for diff_id in &config.diff_ids {
            assert_eq!(
                diff_id.to_string().parse::<Digest>().as_ref(),
                Ok(&diff_id.0)
            );
        }
        assert!(config.platform.satisfies(&config.platform));
    }
});
