//! Key requests and release receipts: in-toto Statements v1 inside DSSE envelopes (`audit-log.md`, section 4).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::dsse::{self, DsseError};
use crate::keys::{PublicKey, SigningKey};
use crate::octets::Octets;
use crate::statement::{IMAGE_EVENT, KeyRelease, KeyRequest, STATEMENT};

/// Signs a key request; returns the octets that are sent, recorded and hashed.
///
/// # Errors
/// [`RequestError::Envelope`] or [`RequestError::Randomness`].
pub fn sign_key_request(
    request: &KeyRequest,
    now_ms: u64,
    key: &SigningKey,
    rng: &dyn SecureRandom,
) -> Result<Vec<u8>, RequestError> {
    let committed = if request.wraps.is_empty() {
        &request.wrap_commitments
    } else {
        &request.wraps
    };
    let subject = committed
        .iter()
        .map(|digest| Subject::new("wrap", digest))
        .collect();
    let event = Event {
        name: KEY_REQUEST.to_owned(),
        epoch: request.epoch,
        key_request: Some(request.clone()),
        ..Event::empty(now_ms, key, rng)?
    };
    sign(subject, event, key, rng)
}

/// Reads the verified payload of a key request; returns it with the time (Unix milliseconds) at which the node says it
/// was made.
///
/// # Errors
/// [`RequestError::Malformed`]: nothing that is not expected may stand in a statement.
pub fn read_key_request(payload: &[u8]) -> Result<(KeyRequest, u64), RequestError> {
    let event = read(payload, KEY_REQUEST)?;
    let request = event.key_request.ok_or(RequestError::Malformed)?;
    // One kind of commitment, not both; digests only.
    let is_plain = request.wrap_commitments.is_empty();
    let committed = if is_plain {
        &request.wraps
    } else {
        &request.wrap_commitments
    };
    let fits = (is_plain || request.wraps.is_empty())
        && !committed.is_empty()
        && committed.iter().all(|digest| digest.0.len() == DIGEST_LEN)
        && request.nonce.0.len() == NONCE_LEN
        && request.justification.len() <= MAX_JUSTIFICATION_LEN
        && request.epoch == event.epoch
        && event.key_release.is_none();
    if fits {
        Ok((request, event.environment.time))
    } else {
        Err(RequestError::Malformed)
    }
}

/// Signs the receipt of a release.
///
/// # Errors
/// [`RequestError::Envelope`] or [`RequestError::Randomness`].
pub fn sign_receipt(
    receipt: &KeyRelease,
    now_ms: u64,
    key: &SigningKey,
    rng: &dyn SecureRandom,
) -> Result<Vec<u8>, RequestError> {
    let subject = vec![Subject::new(KEY_REQUEST, &receipt.request_leaf)];
    let event = Event {
        name: KEY_RELEASE.to_owned(),
        prev: vec![receipt.request_leaf.clone()],
        key_release: Some(receipt.clone()),
        ..Event::empty(now_ms, key, rng)?
    };
    sign(subject, event, key, rng)
}

/// Verifies and reads a receipt that the holder with the key `holder` signed.
///
/// # Errors
/// [`RequestError::Envelope`] or [`RequestError::Malformed`].
pub fn read_receipt(envelope: &[u8], holder: &PublicKey) -> Result<KeyRelease, RequestError> {
    let verified = dsse::verify(envelope, STATEMENT, [holder])?;
    let event = read(&verified.payload, KEY_RELEASE)?;
    if event.key_request.is_some() {
        return Err(RequestError::Malformed);
    }
    event.key_release.ok_or(RequestError::Malformed)
}

/// Returns SHA-256(salt || wrap digest), what a salted request commits to.
pub fn salted(salt: &[u8; SALT_LEN], wrap_digest: &[u8; 32]) -> Octets {
    digest(&SHA256, &[&salt[..], &wrap_digest[..]].concat())
        .as_ref()
        .into()
}

/// Why a request or receipt was not made or not believed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RequestError {
    /// The envelope.
    #[error("statement is not signed as it must be")]
    Envelope {
        /// Why.
        #[from]
        source: DsseError,
    },
    /// Not the statement that was expected.
    #[error("malformed statement")]
    Malformed,
    /// The system gave no random octets.
    #[error("no randomness available")]
    Randomness,
}

/// Octets of a salt.
pub const SALT_LEN: usize = 16;
/// Octets of a request's nonce.
pub const NONCE_LEN: usize = 32;

const DIGEST_LEN: usize = 32;
const MAX_JUSTIFICATION_LEN: usize = 1024;
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const KEY_REQUEST: &str = "key-request";
const KEY_RELEASE: &str = "key-release";
const UTC: &str = "UTC";

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    #[serde(rename = "_type")]
    statement_type: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Event,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: Sha256,
}

impl Subject {
    fn new(name: &str, digest: &Octets) -> Self {
        Self {
            name: name.to_owned(),
            digest: Sha256 {
                sha256: hex::encode(digest),
            },
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Sha256 {
    sha256: String,
}

/// The predicate; its names map to in-toto Link v0.3.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Event {
    name: String,
    materials: Vec<Subject>,
    byproducts: Empty,
    environment: Environment,
    prev: Vec<Octets>,
    epoch: u32,
    salt: Octets,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_request: Option<KeyRequest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_release: Option<KeyRelease>,
}

impl Event {
    fn empty(now_ms: u64, key: &SigningKey, rng: &dyn SecureRandom) -> Result<Self, RequestError> {
        let mut salt = vec![0; SALT_LEN];
        rng.fill(&mut salt).map_err(|_| RequestError::Randomness)?;
        Ok(Self {
            name: String::new(),
            materials: Vec::new(),
            byproducts: Empty {},
            environment: Environment {
                operator_key: key.fingerprint(),
                time: now_ms,
                tz: UTC.to_owned(),
            },
            prev: Vec::new(),
            epoch: 0,
            salt: salt.into(),
            key_request: None,
            key_release: None,
        })
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Environment {
    /// Hex SHA-256 of the signer's SubjectPublicKeyInfo.
    operator_key: String,
    /// Unix milliseconds.
    time: u64,
    tz: String,
}

fn sign(
    subject: Vec<Subject>,
    predicate: Event,
    key: &SigningKey,
    rng: &dyn SecureRandom,
) -> Result<Vec<u8>, RequestError> {
    let statement = Statement {
        statement_type: STATEMENT_TYPE.to_owned(),
        subject,
        predicate_type: IMAGE_EVENT.to_owned(),
        predicate,
    };
    let payload = serde_json::to_vec(&statement).map_err(|_| RequestError::Malformed)?;
    Ok(dsse::sign(STATEMENT, &payload, &[key], rng)?)
}

fn read(payload: &[u8], name: &str) -> Result<Event, RequestError> {
    let statement: Statement =
        serde_json::from_slice(payload).map_err(|_| RequestError::Malformed)?;
    let event = statement.predicate;
    let fits = statement.statement_type == STATEMENT_TYPE
        && statement.predicate_type == IMAGE_EVENT
        && event.name == name
        && event.environment.tz == UTC
        && event.salt.0.len() == SALT_LEN;
    if fits {
        Ok(event)
    } else {
        Err(RequestError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;

    use super::*;

    fn request() -> KeyRequest {
        KeyRequest {
            key_id: "default".to_owned(),
            epoch: 3,
            wraps: vec![Octets(vec![7; 32])],
            wrap_commitments: Vec::new(),
            ephemeral_key: Octets(vec![4; 65]),
            kem: 0x10,
            nonce: Octets(vec![9; 32]),
            lease_seconds: 600,
            justification: String::new(),
        }
    }

    fn payload(request: &KeyRequest) -> Vec<u8> {
        let key = SigningKey::generate().unwrap();
        let envelope =
            sign_key_request(request, 1_800_000_000_123, &key, &SystemRandom::new()).unwrap();
        dsse::verify(&envelope, STATEMENT, [key.public()])
            .unwrap()
            .payload
    }

    #[test]
    fn a_request_says_what_was_asked() {
        assert_eq!(
            read_key_request(&payload(&request())),
            Ok((request(), 1_800_000_000_123))
        );
        let salted = KeyRequest {
            wraps: Vec::new(),
            wrap_commitments: vec![Octets(vec![1; 32])],
            ..request()
        };
        assert_eq!(
            read_key_request(&payload(&salted)),
            Ok((salted, 1_800_000_000_123))
        );
    }

    #[test]
    fn a_request_that_says_too_much_or_too_little_is_refused() {
        let changes: [fn(&mut KeyRequest); 5] = [
            |r| r.wraps.clear(),
            |r| r.wrap_commitments = vec![Octets(vec![1; 32])],
            |r| r.nonce.0.truncate(31),
            |r| r.wraps = vec![Octets(vec![1; 31])],
            |r| r.justification = "x".repeat(1025),
        ];
        for change in changes {
            let mut changed = request();
            change(&mut changed);
            assert_eq!(
                read_key_request(&payload(&changed)),
                Err(RequestError::Malformed)
            );
        }
        let text = String::from_utf8(payload(&request())).unwrap();
        for (from, to) in [
            ("\"prev\":[]", "\"prev\":[],\"more\":1"),
            ("\"key-request\"", "\"key-release\""),
            ("\"epoch\":3,\"salt\"", "\"epoch\":4,\"salt\""),
            ("\"UTC\"", "\"CET\""),
            ("Statement/v1", "Statement/v0.1"),
            ("image-event/v1", "image-event/v2"),
            ("\"prev\":[]", "\"prev\":[],\"prev\":[]"),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text, "{from}");
            assert_eq!(
                read_key_request(changed.as_bytes()),
                Err(RequestError::Malformed),
                "{to}"
            );
        }
    }

    #[test]
    fn a_receipt_is_the_holders_word() {
        let (holder, other) = (
            SigningKey::generate().unwrap(),
            SigningKey::generate().unwrap(),
        );
        let receipt = KeyRelease {
            request_leaf: Octets(vec![1; 32]),
            holder: "fra".to_owned(),
            generation: 1,
            releases: Vec::new(),
            policy_hash: Octets(vec![2; 32]),
            lease_until: 5,
        };
        let envelope = sign_receipt(&receipt, 1, &holder, &SystemRandom::new()).unwrap();
        assert_eq!(read_receipt(&envelope, holder.public()), Ok(receipt));
        assert_eq!(
            read_receipt(&envelope, other.public()),
            Err(RequestError::Envelope {
                source: DsseError::NoKnownSigner
            })
        );
    }

    #[test]
    fn a_salted_commitment_is_the_hash_of_both() {
        let mut octets = [0; 48];
        octets[..16].fill(1);
        octets[16..].fill(2);
        assert_eq!(
            salted(&[1; 16], &[2; 32]).0,
            digest(&SHA256, &octets).as_ref()
        );
    }
}
