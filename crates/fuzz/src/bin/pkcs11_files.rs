//! Key files and module policies are read or refused; no message moves the cursor, and nothing relative is allowed.
// libfuzzer: -max_len=70000
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_keywrap::pkcs11::{KeyFile, MAX_VARIABLES, ModulePolicy, TokenUri};

fuzz_target!(|octets: &[u8]| {
    match KeyFile::parse(octets) {
        Ok(file) => {
            assert!(file.environment.len() <= MAX_VARIABLES);
            for (name, value) in &file.environment {
                assert!(!name.is_empty() && !name.starts_with("LD_") && !name.contains('='));
                assert!(!value.contains('\0'));
            }
            let printed = file.uri.to_string();
            assert!(TokenUri::looks_like(&printed));
        }
        Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
    }
    match ModulePolicy::parse(octets) {
        Ok(policy) => {
            for path in policy.directories().chain(policy.allowed()) {
                assert!(path.starts_with('/') || path.as_bytes().get(1) == Some(&b':'));
            }
        }
        Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
    }
});
