//! No auth file makes the search for credentials panic, and no helper's name is a path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_registry::{AuthFile, Place};

fuzz_target!(|octets: &[u8]| {
    for file in [AuthFile::parse(octets), AuthFile::parse_legacy(octets)] {
        let Ok(file) = file else { continue };
        for (registry, repository) in [("docker.io", "library/debian"), ("r.io:5000", "a/b/c"), ("[::1]:1", "a")] {
            let places = file.places(registry, repository);
            assert!(places.len() <= 3);
            for place in places {
                if let Place::Helper { helper, .. } = place {
                    assert!(!helper.as_str().contains(['/', '\\', '\0', ' ']));
                }
            }
        }
    }
});
