//! A reference that is accepted prints as one that means the same, and that prints as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_oci::Reference;

fuzz_target!(|text: &str| {
    let Ok(reference) = text.parse::<Reference>() else {
        return;
    };
    let printed = reference.to_string();
    assert_eq!(printed.parse().as_ref(), Ok(&reference));
    assert!(reference.registry().starts_with(reference.host()));
    let name = format!("{}/{}", reference.registry(), reference.repository());
    assert!(name.len() <= Reference::MAX_NAME_LEN);
    assert!(printed.starts_with(&name));
    if let Some(digest) = reference.digest() {
        assert_eq!(reference.manifest_name(), digest.to_string());
        assert_eq!(reference.with_digest(digest.clone()).tag(), None);
    }
});
