//! A media type is printed as it was read, and sealing it can be undone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_oci::MediaType;

fuzz_target!(|text: &str| {
    let Ok(media_type) = text.parse::<MediaType>() else {
        return;
    };
    assert_eq!(media_type.as_str(), text);
    let twin = media_type.to_oci();
    assert_eq!(twin.to_oci(), twin);
    if let Ok(sealed) = media_type.sealed() {
        assert!(sealed.is_sealed() && sealed.is_layer() && !sealed.is_docker());
        assert_eq!(sealed.plain(), Ok(twin));
        assert_eq!(sealed.compression(), media_type.compression());
        assert_eq!(
            sealed.is_nondistributable(),
            media_type.is_nondistributable()
        );
    }
    if let Ok(plain) = media_type.plain() {
        assert!(!plain.is_sealed());
        let resealed = plain.sealed().map(|sealed| sealed.is_sealed());
        assert_eq!(resealed, Ok(true));
    }
});
