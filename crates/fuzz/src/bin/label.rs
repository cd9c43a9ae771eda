//! A label that is accepted is written octet for octet as it was read, and its JSON view gives it back.
// libfuzzer: -max_len=1100
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_threshold::Label;

fuzz_target!(|octets: &[u8]| {
    if let Ok(label) = Label::parse(octets) {
        assert_eq!(label.encode().unwrap(), octets);
        let view = serde_json::to_vec(&label).unwrap();
        assert_eq!(serde_json::from_slice::<Label>(&view).unwrap(), label);
    }
    if let Ok(label) = serde_json::from_slice::<Label>(octets)
        && let Ok(encoded) = label.encode()
    {
        assert_eq!(Label::parse(&encoded).unwrap(), label);
    }
});
