//! A PKCS #11 URI that is read prints as one that is read alike, and shows no PIN.
// libfuzzer: -max_len=5000
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_keywrap::pkcs11::{PinSource, TokenUri};

fuzz_target!(|text: &str| {
    let uri = match TokenUri::parse(text) {
        Ok(uri) => uri,
        Err(error) => {
            assert!(!error.to_string().chars().any(char::is_control));
            return;
        }
    };
    let printed = uri.to_string();
    assert!(printed.is_ascii());
    // Encoding may make a long one longer than any.
    if let Ok(again) = TokenUri::parse(&printed) {
        assert_eq!(again.to_string(), printed);
        assert_eq!(again.token(), uri.token());
        assert_eq!(again.object(), uri.object());
        assert_eq!(again.id(), uri.id());
        assert_eq!(again.slot_id(), uri.slot_id());
        assert!(again.pin().is_none());
    }
    if let Some(PinSource::File(path)) = uri.pin() {
        assert!(path.len() > 1 || &**path == "/");
    }
});
