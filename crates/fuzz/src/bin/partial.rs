//! A partial that is read is kept octet for octet.
// libfuzzer: -max_len=128
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_threshold::PartialDecryption;

fuzz_target!(|octets: &[u8]| {
    let Ok(partial) = PartialDecryption::parse(octets) else {
        return;
    };
    assert_eq!(partial.as_bytes(), octets);
    assert_eq!(partial.generation().to_be_bytes(), octets[3..7]);
    assert_eq!(partial.holder().get(), octets[2]);
});
