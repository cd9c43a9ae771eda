//! Sigstore bundles: whatever they hold, none is the signature of a key or an identity that did not sign it.
// libfuzzer: -max_len=32768
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use sealift_oci::Digest;
use sealift_signature::{
    CertificateIdentity, Claim, Demand, Judge, Pattern, PublicKey, TransparencyLog, TrustedRoots,
};

const IMAGE: &[u8] = include_bytes!("../../../../testdata/signature/manifest.json");

/// The stranger's key, which signed none of the seeds, and anybody at the public service, where none of them is known.
static DEMANDS: LazyLock<[Demand; 2]> = LazyLock::new(|| {
    let key = include_str!("../../../../testdata/signature/keys/nobody.pub.pem");
    let demand = Demand {
        keys: vec![PublicKey::from_pem(key).unwrap()],
        identities: vec![CertificateIdentity {
            identity: Pattern::matching(".*").unwrap(),
            issuer: Pattern::matching(".*").unwrap(),
        }],
        roots: Some(Arc::new(TrustedRoots::public().unwrap())),
        log: TransparencyLog::Required,
        signers: 1,
    };
    let unlogged = Demand {
        log: TransparencyLog::Optional,
        ..demand.clone()
    };
    [demand, unlogged]
});

static DIGEST: LazyLock<Digest> = LazyLock::new(|| Digest::sha256(IMAGE));

fuzz_target!(|octets: &[u8]| {
    for demand in &*DEMANDS {
        let mut judge = Judge::new(demand, &DIGEST, IMAGE);
        judge.hear("fuzz", Claim::Bundle { json: octets });
        let unproven = judge.verdict().unwrap_err();
        assert!(unproven.to_string().len() < 4096);
    }
});
