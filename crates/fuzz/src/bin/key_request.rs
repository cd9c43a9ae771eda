//! A key request that is accepted says the same when it is written again.
// libfuzzer: -max_len=8192
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use libfuzzer_sys::fuzz_target;
use sealift_holder::keys::SigningKey;
use sealift_holder::statement::STATEMENT;
use sealift_holder::{dsse, request};

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().expect("randomness"));

fuzz_target!(|payload: &[u8]| {
    let Ok((asked, time)) = request::read_key_request(payload) else {
        return;
    };
    let envelope = request::sign_key_request(&asked, time, &KEY, &SystemRandom::new()).expect("signed");
    let verified = dsse::verify(&envelope, STATEMENT, [KEY.public()]).expect("own signature");
    assert_eq!(request::read_key_request(&verified.payload), Ok((asked, time)));
});
