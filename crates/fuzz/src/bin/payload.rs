//! A payload is refused or understood, as protobuf and as the JSON within, and never brings more keys than a ring takes.
// libfuzzer: -max_len=8192
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealift_stream_processor::Payload;

fuzz_target!(|octets: &[u8]| {
    check(octets);
    // The same octets as the JSON within a sound message, so that they need not guess the frame.
    let mut message = vec![0x0a, u8::try_from(Payload::TYPE_URL.len()).unwrap()];
    message.extend(Payload::TYPE_URL.as_bytes());
    message.push(0x12);
    let mut len = octets.len();
    while len > 0x7f {
        message.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
        len >>= 7;
    }
    message.push(u8::try_from(len).unwrap());
    message.extend(octets);
    check(&message);
    // Fields of the future change nothing.
    let plain = Payload::parse(&message).map(|payload| (payload.descriptor, payload.keys.len()));
    message.extend([0x18, 0x01]);
    let extended = Payload::parse(&message).map(|payload| (payload.descriptor, payload.keys.len()));
    assert_eq!(plain, extended);
});

fn check(octets: &[u8]) {
    if let Ok(payload) = Payload::parse(octets) {
        assert!(payload.keys.len() <= Payload::MAX_KEYS);
    }
}
