//! Simple signing, as cosign keeps it under the tag `sha256-….sig` (sigstore/cosign, `specs/SIGNATURE_SPEC.md`).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use sigstore_verify::VerificationPolicy;
use sigstore_verify::types::{Bundle, DerCertificate, SignatureBytes};

use crate::claim::Claim;
use crate::demand::{Demand, TransparencyLog};
use crate::error::{Refusal, excerpt};
use crate::judge::{Entry, Found, Image, identity_of, key_of};

/// What is signed. What else there is under `optional` is for others.
#[derive(Deserialize)]
struct Payload {
    critical: Critical,
    #[serde(default, rename = "optional")]
    _optional: Option<Value>,
}

/// What a reader must understand, all of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    #[serde(rename = "type")]
    kind: String,
    image: Subject,
    #[serde(rename = "identity")]
    _identity: Identity,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// The name under which it was signed. It may have moved since, so it decides nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    #[serde(rename = "docker-reference")]
    _reference: String,
}

/// What a log promised (annotation `dev.sigstore.cosign/bundle`).
#[derive(Deserialize)]
struct LogPromise {
    #[serde(rename = "SignedEntryTimestamp")]
    signed: String,
    #[serde(rename = "Payload")]
    entry: LogEntry,
}

#[derive(Deserialize)]
struct LogEntry {
    body: String,
    #[serde(rename = "integratedTime")]
    time: i64,
    #[serde(rename = "logIndex")]
    index: i64,
    #[serde(rename = "logID")]
    log: String,
}

pub(crate) fn check(
    payload: &[u8],
    annotations: &BTreeMap<String, String>,
    demand: &Demand,
    image: Image<'_>,
) -> Result<Found, Refusal> {
    let annotated = annotations.values().map(String::len).sum::<usize>();
    if payload.len() > Claim::MAX_LEN || annotated > Claim::MAX_LEN {
        return Err(Refusal::form(format_args!(
            "it is longer than {} octets",
            Claim::MAX_LEN
        )));
    }
    check_payload(payload, image)?;
    let signature = annotations
        .get(SIGNATURE)
        .ok_or_else(|| Refusal::form("it has no signature"))?;
    let octets = STANDARD.decode(signature).map_err(Refusal::form)?;
    let signature = SignatureBytes::new(octets);
    if let Some((at, signer)) = key_of(demand, payload, &signature) {
        return match demand.log {
            TransparencyLog::Optional => Ok((Entry::Key(at), signer)),
            // This form carries a promise, and no proof.
            TransparencyLog::Required => Err(Refusal::NotLogged {
                reason: "this form has no proof; sign with cosign 3 or later".into(),
            }),
        };
    }
    match annotations.get(CERTIFICATE) {
        None if demand.keys.is_empty() => Err(Refusal::NoKeys),
        None => Err(Refusal::Stranger),
        Some(_) if demand.identities.is_empty() => Err(Refusal::NoIdentities),
        Some(certificate) => by_certificate(certificate, payload, &signature, annotations, demand),
    }
}

fn check_payload(payload: &[u8], image: Image<'_>) -> Result<(), Refusal> {
    let payload: Payload = serde_json::from_slice(payload).map_err(Refusal::form)?;
    if payload.critical.kind != KIND {
        return Err(Refusal::form(format_args!(
            "payload of type `{}`",
            excerpt(&payload.critical.kind)
        )));
    }
    let about = payload.critical.image.digest;
    if about == image.digest.to_string() {
        Ok(())
    } else {
        Err(Refusal::OtherImage {
            about: excerpt(&about),
        })
    }
}

/// Checks a certificate by the first version of sigstore's bundle, which holds the same things.
fn by_certificate(
    certificate: &str,
    payload: &[u8],
    signature: &SignatureBytes,
    annotations: &BTreeMap<String, String>,
    demand: &Demand,
) -> Result<Found, Refusal> {
    let Some(roots) = &demand.roots else {
        return Err(Refusal::invalid("no certificate authority is trusted"));
    };
    let promise = annotations
        .get(LOG_PROMISE)
        .ok_or_else(|| Refusal::invalid("no log promised to take it"))?;
    let promise: LogPromise = serde_json::from_str(promise).map_err(Refusal::form)?;
    let bundle = as_bundle(certificate, payload, signature, promise)?;
    // Without the proof of inclusion that this form lacks; the promise is what its time is taken from, and is checked.
    let policy = VerificationPolicy::any_identity().skip_tlog_unsafe();
    let verified = roots
        .verifier
        .verify(payload, &bundle, &policy)
        .map_err(Refusal::invalid)?;
    identity_of(demand, &verified)
}

fn as_bundle(
    certificate: &str,
    payload: &[u8],
    signature: &SignatureBytes,
    promise: LogPromise,
) -> Result<Bundle, Refusal> {
    let certificate = DerCertificate::from_pem(certificate).map_err(Refusal::form)?;
    let log = hex::decode(&promise.entry.log).map_err(Refusal::form)?;
    let digest = sealift_oci::Digest::sha256(payload);
    let digest = hex::decode(digest.hex()).map_err(Refusal::form)?;
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1",
        "verificationMaterial": {
            "x509CertificateChain": {
                "certificates": [{ "rawBytes": STANDARD.encode(certificate.as_bytes()) }],
            },
            "tlogEntries": [{
                "logIndex": promise.entry.index.to_string(),
                "logId": { "keyId": STANDARD.encode(log) },
                "kindVersion": { "kind": "hashedrekord", "version": "0.0.1" },
                "integratedTime": promise.entry.time.to_string(),
                "inclusionPromise": { "signedEntryTimestamp": promise.signed },
                "canonicalizedBody": promise.entry.body,
            }],
        },
        "messageSignature": {
            "messageDigest": { "algorithm": "SHA2_256", "digest": STANDARD.encode(digest) },
            "signature": STANDARD.encode(signature.as_bytes()),
        },
    });
    Bundle::from_json(&bundle.to_string()).map_err(Refusal::form)
}

/// Type of what cosign signs.
const KIND: &str = "cosign container image signature";
/// Annotation with the signature in base64.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// Annotation with the certificate in PEM.
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// Annotation with what a transparency log promised.
const LOG_PROMISE: &str = "dev.sigstore.cosign/bundle";
