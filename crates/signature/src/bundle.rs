//! Sigstore bundles.

use sigstore_verify::types::bundle::VerificationMaterialContent;
use sigstore_verify::types::{Bundle, DsseEnvelope, SignatureContent, Statement};
use sigstore_verify::{PublicKeyVerificationPolicy, VerificationPolicy};

use crate::claim::Claim;
use crate::demand::{Demand, TransparencyLog};
use crate::error::{Refusal, excerpt};
use crate::judge::{Entry, Found, Image, identity_of, key_of};

pub(crate) fn check(json: &[u8], demand: &Demand, image: Image<'_>) -> Result<Found, Refusal> {
    if json.len() > Claim::MAX_LEN {
        return Err(Refusal::form(format_args!(
            "it is longer than {} octets",
            Claim::MAX_LEN
        )));
    }
    let text = std::str::from_utf8(json).map_err(Refusal::form)?;
    let bundle = Bundle::from_json(text).map_err(Refusal::form)?;
    let SignatureContent::DsseEnvelope(envelope) = &bundle.content else {
        return Err(Refusal::form("it signs octets and not a statement"));
    };
    check_statement(envelope, image)?;
    match bundle.verification_material.content {
        VerificationMaterialContent::PublicKey(_) => by_key(&bundle, envelope, demand, image),
        VerificationMaterialContent::Certificate(_)
        | VerificationMaterialContent::X509CertificateChain { .. } => {
            by_certificate(&bundle, demand, image)
        }
        _ => Err(Refusal::form("it names neither key nor certificate")),
    }
}

/// Refuses what does not say "this image is mine"; who says so is checked after that.
fn check_statement(envelope: &DsseEnvelope, image: Image<'_>) -> Result<(), Refusal> {
    if envelope.payload_type != IN_TOTO {
        return Err(Refusal::form(format_args!(
            "payload of type `{}`",
            excerpt(&envelope.payload_type)
        )));
    }
    let statement: Statement =
        serde_json::from_slice(envelope.payload.as_bytes()).map_err(Refusal::form)?;
    if !STATEMENTS.contains(&statement.type_.as_str()) {
        return Err(Refusal::form(format_args!(
            "statement of type `{}`",
            excerpt(&statement.type_)
        )));
    }
    if statement.predicate_type != SIGN {
        return Err(Refusal::Statement {
            predicate: excerpt(&statement.predicate_type),
        });
    }
    let algorithm = image.digest.algorithm().to_string();
    let digests: Vec<String> = statement
        .subject
        .iter()
        .filter_map(|subject| serde_json::to_value(&subject.digest).ok())
        .filter_map(|digest| Some(digest.get(&algorithm)?.as_str()?.to_owned()))
        .collect();
    if digests.iter().any(|hex| hex == image.digest.hex()) {
        return Ok(());
    }
    Err(Refusal::OtherImage {
        about: match digests.first() {
            Some(hex) => excerpt(&format!("{algorithm}:{hex}")),
            None => "of which it has no digest".into(),
        },
    })
}

fn by_key(
    bundle: &Bundle,
    envelope: &DsseEnvelope,
    demand: &Demand,
    image: Image<'_>,
) -> Result<Found, Refusal> {
    if demand.keys.is_empty() {
        return Err(Refusal::NoKeys);
    }
    let (at, signer) =
        key_of(demand, &envelope.pae(), &envelope.signature.sig).ok_or(Refusal::Stranger)?;
    if demand.log == TransparencyLog::Required {
        let not_logged = |reason: Box<str>| Refusal::NotLogged { reason };
        let (Some(roots), Some(key)) = (&demand.roots, demand.keys.get(at)) else {
            return Err(not_logged("no log is trusted".into()));
        };
        if !has_proofs(bundle) {
            return Err(not_logged("it has a promise at most, and no proof".into()));
        }
        let policy = PublicKeyVerificationPolicy::new(key.spki().clone());
        let verified = roots
            .verifier
            .verify(image.octets, bundle, &policy)
            .map_err(|error| not_logged(excerpt(&error.to_string())))?;
        if !verified.tlog_verified() {
            return Err(not_logged("it was not checked".into()));
        }
    }
    Ok((Entry::Key(at), signer))
}

/// Whether every entry of a log comes with a proof; the first version of bundles may do with a promise, and any bundle may say that
/// it is of that version.
fn has_proofs(bundle: &Bundle) -> bool {
    let entries = &bundle.verification_material.tlog_entries;
    !entries.is_empty() && entries.iter().all(|entry| entry.inclusion_proof.is_some())
}

fn by_certificate(bundle: &Bundle, demand: &Demand, image: Image<'_>) -> Result<Found, Refusal> {
    if demand.identities.is_empty() {
        return Err(Refusal::NoIdentities);
    }
    let Some(roots) = &demand.roots else {
        return Err(Refusal::invalid("no certificate authority is trusted"));
    };
    if !has_proofs(bundle) {
        return Err(Refusal::invalid("no proof that a log has it"));
    }
    let policy = VerificationPolicy::any_identity();
    let verified = roots
        .verifier
        .verify(image.octets, bundle, &policy)
        .map_err(Refusal::invalid)?;
    if !verified.tlog_verified() {
        return Err(Refusal::invalid("its entry in the log was not checked"));
    }
    identity_of(demand, &verified)
}

/// Payload type of in-toto statements (in-toto attestation framework, `envelope.md`).
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// Types of in-toto statements.
const STATEMENTS: [&str; 2] = [
    "https://in-toto.io/Statement/v1",
    "https://in-toto.io/Statement/v0.1",
];
/// Predicate type of what `cosign sign` writes since version 3.
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
