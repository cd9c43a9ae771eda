//! A key file is refused, or gives keys whose public half reads back to the same key.
// libfuzzer: -max_len=8192
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_keywrap::{Identity, KeyError, Password, Recipient, keys};

fuzz_target!(|file: &[u8]| {
    if let Ok(public) = keys::parse_public(file) {
        assert!(!public.is_empty() && public.len() <= keys::MAX_KEYS);
        for key in public {
            let again = keys::parse_public(key.spki()).unwrap();
            assert_eq!(again.len(), 1);
            assert_eq!(again[0].spki(), key.spki());
            assert_eq!(again[0].fingerprint(), key.fingerprint());
        }
        assert!(matches!(
            keys::parse_private(file, None),
            Err(KeyError::PrivateExpected | KeyError::Malformed { .. })
        ));
    }
    if let Ok(private) = keys::parse_private(file, None) {
        assert!(!private.is_empty() && private.len() <= keys::MAX_KEYS);
        assert!(private.iter().all(|key| key.fingerprint().len() == 64));
    }
    // PBES2 may cost seconds by its own parameters; the old encryption costs nothing.
    if file.windows(9).any(|window| window == b"DEK-Info:")
        && !file.windows(9).any(|window| window == b"ENCRYPTED")
    {
        let _ = keys::parse_private(file, Some(&Password::from("päss word:1")));
    }
});
