//! Claims that others made, one peculiarity each (testdata/signature/README.md).
#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealift_oci::Digest;
use sealift_signature::{
    CertificateIdentity, Claim, Demand, Judge, Pattern, PublicKey, Signer, TransparencyLog,
    TrustedRoots, Unproven,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    expect: String,
    why: String,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    identities: Vec<Identity>,
    #[serde(default)]
    roots: bool,
    #[serde(default)]
    log: bool,
    bundle: Option<String>,
    payload: Option<String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    identity: Option<String>,
    identity_regexp: Option<String>,
    issuer: Option<String>,
    issuer_regexp: Option<String>,
}

impl Case {
    fn claim(&self) -> Claim<'_> {
        match (&self.bundle, &self.payload) {
            (Some(json), None) => Claim::Bundle {
                json: json.as_bytes(),
            },
            (None, Some(payload)) => Claim::Simple {
                payload: payload.as_bytes(),
                annotations: &self.annotations,
            },
            _ => panic!("{} is neither form, or both", self.name),
        }
    }

    fn demand(&self) -> Demand {
        Demand {
            keys: self.keys.iter().map(|name| key(name)).collect(),
            identities: self.identities.iter().map(Identity::read).collect(),
            roots: self.roots.then(roots),
            log: if self.log {
                TransparencyLog::Required
            } else {
                TransparencyLog::Optional
            },
            signers: 1,
        }
    }
}

impl Identity {
    fn read(&self) -> CertificateIdentity {
        let pattern =
            |exact: &Option<String>, expression: &Option<String>| match (exact, expression) {
                (Some(exact), None) => Pattern::exact(exact),
                (None, Some(expression)) => Pattern::matching(expression).unwrap(),
                _ => panic!("neither exact nor an expression, or both"),
            };
        CertificateIdentity {
            identity: pattern(&self.identity, &self.identity_regexp),
            issuer: pattern(&self.issuer, &self.issuer_regexp),
        }
    }
}

fn file(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/signature");
    fs::read(folder.join(name)).unwrap()
}

fn text(name: &str) -> String {
    String::from_utf8(file(name)).unwrap()
}

fn key(name: &str) -> PublicKey {
    PublicKey::from_pem(&text(&format!("keys/{name}.pub.pem"))).unwrap()
}

fn roots() -> Arc<TrustedRoots> {
    Arc::new(TrustedRoots::from_json(&text("trusted_root.json")).unwrap())
}

fn cases() -> Vec<Case> {
    serde_json::from_slice(&file("cases.json")).unwrap()
}

fn judge(image: &[u8], demand: &Demand, claims: &[Claim<'_>]) -> Result<Vec<Signer>, Unproven> {
    let digest = Digest::sha256(image);
    let mut judge = Judge::new(demand, &digest, image);
    for claim in claims {
        judge.hear("here", *claim);
    }
    judge.verdict()
}

/// What came of it, as the cases write it.
fn shown(verdict: &Result<Vec<Signer>, Unproven>) -> String {
    match verdict {
        Ok(signers) => match &signers[..] {
            [key @ Signer::Key(_)] => key.to_string(),
            [identity] => format!("identity {identity}"),
            _ => format!("{} signers", signers.len()),
        },
        Err(unproven) => {
            let refusal = format!("{:?}", unproven.refused[0].1);
            let end = refusal.find([' ', '{']).unwrap_or(refusal.len());
            refusal[..end].to_owned()
        }
    }
}

#[test]
fn every_claim_is_judged_as_it_should_be() {
    let image = file("manifest.json");
    let cases = cases();
    let mut wrong = String::new();
    let mut good = 0;
    for case in &cases {
        let verdict = judge(&image, &case.demand(), &[case.claim()]);
        let found = shown(&verdict);
        good += usize::from(verdict.is_ok());
        if found != case.expect {
            let more = verdict.err().map(|unproven| unproven.to_string());
            wrong += &format!(
                "{} ({}): expected {}, found {found} {more:?}\n",
                case.name, case.why, case.expect
            );
        }
    }
    assert_eq!(wrong, "");
    assert_eq!((cases.len(), good), (157, 36));
}

#[test]
fn no_claim_proves_another_image() {
    let other = file("other.json");
    for case in cases() {
        if case.name == "key-second-subject" || case.expect == "OtherImage" {
            continue; // these are about the other image, too
        }
        let verdict = judge(&other, &case.demand(), &[case.claim()]);
        assert!(verdict.is_err(), "{} proves another image", case.name);
    }
}

#[test]
fn no_claim_proves_that_somebody_else_signed() {
    let image = file("manifest.json");
    let strangers = [
        Demand {
            keys: vec![key("nobody")],
            ..Demand::default()
        },
        Demand {
            roots: Some(Arc::new(TrustedRoots::public().unwrap())),
            identities: vec![CertificateIdentity {
                identity: Pattern::matching(".*").unwrap(),
                issuer: Pattern::matching(".*").unwrap(),
            }],
            ..Demand::default()
        },
    ];
    for case in cases() {
        for demand in &strangers {
            let verdict = judge(&image, demand, &[case.claim()]);
            assert!(verdict.is_err(), "{} proves a stranger's", case.name);
        }
    }
}

#[test]
fn several_must_sign_and_nobody_counts_twice() {
    let image = file("manifest.json");
    let cases = cases();
    let named = |name: &str| cases.iter().find(|case| case.name == name).unwrap().claim();
    let two = |keys: &[&str]| Demand {
        keys: keys.iter().map(|name| key(name)).collect(),
        signers: 2,
        ..Demand::default()
    };
    let both = two(&["p256", "p384"]);
    let found = judge(
        &image,
        &both,
        &[named("key-p256"), named("simple-p384-sha256")],
    );
    assert_eq!(found.unwrap().len(), 2);
    // The same signer in both forms, and under two names of one key.
    let same = [named("key-p256"), named("simple-p256"), named("key-keyid")];
    judge(&image, &both, &same).unwrap_err();
    judge(&image, &two(&["p256", "p256"]), &same).unwrap_err();
    // What is bad between them does not stop the search.
    let between = [
        named("key-cut"),
        named("key-p256"),
        named("key-stranger"),
        named("simple-flipped"),
        named("key-p384-sha384"),
    ];
    judge(&image, &both, &between).unwrap();
}

#[test]
fn no_octet_of_what_is_signed_or_of_the_signature_can_be_changed() {
    let image = file("manifest.json");
    let cases = cases();
    for name in ["key-p256", "key-ed25519", "certificate-workflow"] {
        let case = cases.iter().find(|case| case.name == name).unwrap();
        let demand = case.demand();
        let bundle: serde_json::Value =
            serde_json::from_str(case.bundle.as_deref().unwrap()).unwrap();
        for member in ["/dsseEnvelope/payload", "/dsseEnvelope/signatures/0/sig"] {
            let octets = STANDARD
                .decode(bundle.pointer(member).unwrap().as_str().unwrap())
                .unwrap();
            for at in 0..octets.len() {
                let mut changed = octets.clone();
                changed[at] ^= 1;
                let mut bundle = bundle.clone();
                *bundle.pointer_mut(member).unwrap() = STANDARD.encode(changed).into();
                let json = bundle.to_string();
                let claim = Claim::Bundle {
                    json: json.as_bytes(),
                };
                let verdict = judge(&image, &demand, &[claim]);
                assert!(verdict.is_err(), "{name}: {member} changed at {at}");
            }
        }
    }
}

#[test]
fn a_promise_is_no_proof_whatever_version_the_bundle_says_it_is_of() {
    let image = file("manifest.json");
    for name in ["key-log", "certificate-workflow"] {
        let cases = cases();
        let case = cases.iter().find(|case| case.name == name).unwrap();
        let mut bundle: serde_json::Value =
            serde_json::from_str(case.bundle.as_deref().unwrap()).unwrap();
        bundle["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1".into();
        let entry = &mut bundle["verificationMaterial"]["tlogEntries"][0];
        entry
            .as_object_mut()
            .unwrap()
            .remove("inclusionProof")
            .unwrap();
        let json = bundle.to_string();
        let claim = Claim::Bundle {
            json: json.as_bytes(),
        };
        let unproven = judge(&image, &case.demand(), &[claim]).unwrap_err();
        assert!(unproven.to_string().contains("proof"), "{name}: {unproven}");
    }
}
