//! cosign's simple signing: whatever payload and annotations hold, none is the signature of who did not sign it.
// libfuzzer: -max_len=32768
#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use sealift_oci::Digest;
use sealift_signature::{CertificateIdentity, Claim, Demand, Judge, Pattern, PublicKey, TrustedRoots};

const IMAGE: &[u8] = include_bytes!("../../../../testdata/signature/manifest.json");

static DEMAND: LazyLock<Demand> = LazyLock::new(|| {
    let key = include_str!("../../../../testdata/signature/keys/nobody.pub.pem");
    Demand {
        keys: vec![PublicKey::from_pem(key).unwrap()],
        identities: vec![CertificateIdentity {
            identity: Pattern::matching(".*").unwrap(),
            issuer: Pattern::matching(".*").unwrap(),
        }],
        roots: Some(Arc::new(TrustedRoots::public().unwrap())),
        ..Demand::default()
    }
});

static DIGEST: LazyLock<Digest> = LazyLock::new(|| Digest::sha256(IMAGE));

/// A payload, and the annotations beside it.
type Input = (String, BTreeMap<String, String>);

fuzz_target!(|octets: &[u8]| {
    let Ok((payload, annotations)) = serde_json::from_slice::<Input>(octets) else {
        return;
    };
    let mut judge = Judge::new(&DEMAND, &DIGEST, IMAGE);
    judge.hear(
        "fuzz",
        Claim::Simple {
            payload: payload.as_bytes(),
            annotations: &annotations,
        },
    );
    let unproven = judge.verdict().unwrap_err();
    assert!(unproven.to_string().len() < 4096);
});
