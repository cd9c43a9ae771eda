//! Challenges that are accepted print as ones that mean the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_registry::Challenge;

fuzz_target!(|text: &str| {
    let Ok(challenges) = Challenge::parse(text) else {
        return;
    };
    assert!(challenges.len() <= Challenge::MAX_CHALLENGES);
    let printed: Vec<_> = challenges.iter().map(ToString::to_string).collect();
    let printed = printed.join(", ");
    // Escapes may make it longer than a header may be.
    if printed.len() <= Challenge::MAX_LEN {
        assert_eq!(Challenge::parse(&printed), Ok(challenges));
    }
});
