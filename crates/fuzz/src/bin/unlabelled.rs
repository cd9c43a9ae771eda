//! Every ephemeral key that is taken out of a JWE is a point of the curve, and has one spelling.
// libfuzzer: -max_len=20000
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_threshold::{ErrorId, UnlabelledWrap};

fuzz_target!(|element: &[u8]| {
    match UnlabelledWrap::from_jwe(element) {
        Ok(wraps) => {
            assert!(!wraps.is_empty());
            for wrap in wraps {
                assert_eq!(UnlabelledWrap::from_epk(&wrap.r1()), Ok(wrap));
            }
        }
        Err(error) => assert!(matches!(
            error.id,
            ErrorId::JweAlgUnsupported | ErrorId::JweOpenFailed | ErrorId::PointInvalid
        )),
    }
    if let Ok(wrap) = UnlabelledWrap::from_epk(element) {
        assert_eq!(wrap.r1(), element);
    }
});
