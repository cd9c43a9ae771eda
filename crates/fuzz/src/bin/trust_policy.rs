//! Trust policies: what is accepted decides about every name, and never that nobody must have signed.
// libfuzzer: -max_len=8192
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_signature::{Decision, TrustPolicy};

const NAMES: [Option<&str>; 4] = [
    None,
    Some("registry.example/app"),
    Some("registry.example:5000/team/app"),
    Some(""),
];

fuzz_target!(|octets: &[u8]| {
    let Ok(text) = std::str::from_utf8(octets) else {
        return;
    };
    let policy = match TrustPolicy::from_toml(text) {
        Ok(policy) => policy,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for name in NAMES {
        match policy.decide(name) {
            // Nothing is free to everybody unless the policy says so in so many letters.
            Decision::Unsigned => assert!(text.contains("unsigned") || text.contains('\\')),
            Decision::Signed(rule) => {
                assert!(!rule.keys.is_empty() || !rule.identities.is_empty());
                assert!(rule.signers >= 1);
            }
            Decision::Refused => {}
        }
    }
});
