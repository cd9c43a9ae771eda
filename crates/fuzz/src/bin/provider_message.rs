//! Messages of key providers: what is accepted reads back the same when we write it, and neither a frame nor JSON gives too much.
// libfuzzer: -max_len=70000
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_provider::frame;
use sealift_provider::message::{self, MAX_OCTETS, Request};
use sealift_provider::{ProviderName, Said};

fuzz_target!(|octets: &[u8]| {
    let name = ProviderName::parse("fuzz").unwrap();
    if let Ok(element) = message::wrap_answer(octets) {
        assert!(!element.is_empty() && element.len() <= MAX_OCTETS);
        let written = message::wrapped(&element);
        assert_eq!(message::wrap_answer(&written).unwrap(), element);
    }
    if let Ok(secret) = message::unwrap_answer(octets) {
        assert!(!secret.expose().is_empty() && secret.expose().len() <= MAX_OCTETS);
        let written = message::unwrapped(&secret);
        assert_eq!(message::unwrap_answer(&written).unwrap().expose(), secret.expose());
    }
    match Request::parse(octets) {
        Ok(Request::Wrap(secret)) => {
            let written = message::wrap_request(&name, octets, &secret);
            let Ok(Request::Wrap(read)) = Request::parse(&written) else {
                panic!("another request");
            };
            assert_eq!(read.expose(), secret.expose());
        }
        Ok(Request::Unwrap(element)) => {
            let written = message::unwrap_request(&name, octets, &element);
            let Ok(Request::Unwrap(read)) = Request::parse(&written) else {
                panic!("another request");
            };
            assert_eq!(read, element);
        }
        Err(_) => {}
    }
    assert_eq!(frame::read(&frame::write(octets)), Ok(octets));
    if let Ok(message) = frame::read(octets) {
        assert!(message.len() < octets.len());
    }
    let said = Said::new(octets).to_string();
    assert!(!said.chars().any(char::is_control) && said.len() < 8 * Said::MAX_CHARS);
});
