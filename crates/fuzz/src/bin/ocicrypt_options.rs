//! Options that are accepted are written so that they read the same; what is written is canonical.
// libfuzzer: -max_len=4096
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_keywrap::LayerSecret;
use sealift_layer::{PrivateOptions, PublicOptions};

fuzz_target!(|json: &[u8]| {
    if let Ok(public) = PublicOptions::from_json(json) {
        let printed = public.to_json();
        assert_eq!(PublicOptions::from_json(printed.as_bytes()), Ok(public));
    }
    let secret = LayerSecret::new(json.to_vec().into());
    if let Ok(private) = PrivateOptions::from_secret(&secret) {
        let printed = private.to_secret();
        let again = PrivateOptions::from_secret(&printed).unwrap();
        assert_eq!(again.key.expose(), private.key.expose());
        assert_eq!(
            (&again.digest, again.nonce),
            (&private.digest, private.nonce)
        );
        assert_eq!(again.to_secret().expose(), printed.expose());
    }
});
