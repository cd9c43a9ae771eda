//! A policy set is refused or taken as it is, as a document and as the policies within, and the reports agree.
// libfuzzer: -max_len=8192
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_policy::{PolicySet, Settings, validate};

fuzz_target!(|octets: &[u8]| {
    let read = PolicySet::from_json(octets);
    let report = validate(octets);
    assert_eq!(read.is_ok(), report.findings.is_empty());
    if let Ok(set) = read {
        assert_eq!(set.as_bytes(), octets);
        assert_eq!(report.policies, set.len());
    }
    // The same octets as policies within a sound document, so that they need not guess the frame.
    let Ok(cedar) = std::str::from_utf8(octets) else {
        return;
    };
    let settings: Settings = serde_json::from_str(r#"{"jurisdictions":["DE"]}"#).unwrap();
    if let Ok(set) = PolicySet::new("fuzz", cedar, settings) {
        let again = PolicySet::from_json(set.as_bytes()).unwrap();
        assert_eq!(again.hash(), set.hash());
    }
});
