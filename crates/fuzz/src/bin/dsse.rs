//! An envelope that is read keeps its payload when somebody signs it, and nobody else is taken for a signer.
// libfuzzer: -max_len=4096
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use libfuzzer_sys::fuzz_target;
use sealift_holder::dsse::{self, DsseError, MAX_SIGNATURES, Unverified};
use sealift_holder::keys::SigningKey;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().expect("randomness"));

fuzz_target!(|envelope: &[u8]| {
    let Ok(read) = Unverified::parse(envelope) else {
        return;
    };
    let (payload_type, payload) = (read.payload_type().to_owned(), read.unverified_payload().to_vec());
    // The key is drawn anew in every run, so whatever names it or signs nothing does not verify.
    assert!(matches!(
        read.verify(&payload_type, [KEY.public()]),
        Err(DsseError::NoKnownSigner | DsseError::BadSignature)
    ));
    match dsse::add_signature(envelope, &KEY, &SystemRandom::new()) {
        Ok(signed) => {
            let verified = dsse::verify(&signed, &payload_type, [KEY.public()]).expect("own signature");
            assert_eq!(verified.payload, payload);
            assert_eq!(verified.signers.len(), 1);
        }
        Err(error) => assert!(error == DsseError::TooManySignatures, "more than {MAX_SIGNATURES}"),
    }
});
