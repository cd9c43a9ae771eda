//! A place for images that is accepted prints as one that means the same, and that prints as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_registry::ImageRef;

fuzz_target!(|text: &str| {
    let Ok(image) = text.parse::<ImageRef>() else {
        return;
    };
    let printed = image.to_string();
    assert_eq!(printed.parse().as_ref(), Ok(&image), "{printed}");
    assert_eq!(printed.parse::<ImageRef>().map(|image| image.to_string()), Ok(printed));
});
