//! DSSE envelopes (Dead Simple Signing Envelope 1.0) with ECDSA P-256 over SHA-256.
//!
//! A reader verifies first and then uses the octets that were verified; it never reads the envelope twice.

use std::collections::BTreeSet;

use aws_lc_rs::rand::SecureRandom;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::keys::{KeyError, PublicKey, SigningKey};

/// What an envelope said, and who said it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    /// The octets that were signed.
    pub payload: Vec<u8>,
    /// The known keys that signed: at least one, each once.
    pub signers: BTreeSet<PublicKey>,
}

/// An envelope whose signatures nobody has looked at yet.
#[derive(Clone, Debug)]
pub struct Unverified {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<(String, Vec<u8>)>,
}

impl Unverified {
    /// Reads the JSON of an envelope.
    ///
    /// # Errors
    /// [`DsseError::TooLong`], [`DsseError::TooManySignatures`] or [`DsseError::Malformed`].
    pub fn parse(envelope: &[u8]) -> Result<Self, DsseError> {
        if envelope.len() > MAX_ENVELOPE_LEN {
            return Err(DsseError::TooLong);
        }
        let json: Envelope = serde_json::from_slice(envelope).map_err(|_| DsseError::Malformed)?;
        if json.signatures.len() > MAX_SIGNATURES {
            return Err(DsseError::TooManySignatures);
        }
        // Verifiers must accept either alphabet (DSSE, section "Protocol").
        let decode = |text: &str| {
            STANDARD
                .decode(text)
                .or_else(|_| URL_SAFE.decode(text))
                .map_err(|_| DsseError::Malformed)
        };
        Ok(Self {
            payload: decode(&json.payload)?,
            payload_type: json.payload_type,
            signatures: json
                .signatures
                .iter()
                .map(|s| Ok((s.keyid.clone(), decode(&s.sig)?)))
                .collect::<Result<_, DsseError>>()?,
        })
    }

    /// Returns what the payload claims to be.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// Returns the payload before anybody has verified it: only to find out whose keys are to be used.
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    /// Checks every signature that names a key among `keys`.
    ///
    /// Signatures of other keys are passed over; the same key counts once however often it signed. A signature
    /// without a key id is tried with every key.
    ///
    /// # Errors
    /// [`DsseError::PayloadType`] for another type, [`DsseError::BadSignature`] when a known key's signature is false,
    /// [`DsseError::NoKnownSigner`] when no known key signed.
    pub fn verify<'a>(
        self,
        payload_type: &str,
        keys: impl IntoIterator<Item = &'a PublicKey>,
    ) -> Result<Verified, DsseError> {
        if self.payload_type != payload_type {
            return Err(DsseError::PayloadType);
        }
        let keys: Vec<(String, &PublicKey)> = keys
            .into_iter()
            .map(|key| (key.fingerprint(), key))
            .collect();
        let message = pae(&self.payload_type, &self.payload);
        let mut signers = BTreeSet::new();
        for (keyid, signature) in &self.signatures {
            let mut named = keys
                .iter()
                .filter(|(id, _)| id == keyid || keyid.is_empty());
            match named.find(|(_, key)| key.verifies(&message, signature)) {
                Some((_, key)) => {
                    signers.insert((*key).clone());
                }
                None if keys.iter().any(|(id, _)| id == keyid) => {
                    return Err(DsseError::BadSignature);
                }
                None => {}
            }
        }
        if signers.is_empty() {
            return Err(DsseError::NoKnownSigner);
        }
        Ok(Verified {
            payload: self.payload,
            signers,
        })
    }
}

/// Signs `payload` with every key of `keys`.
///
/// # Errors
/// [`DsseError::Key`] when a key cannot be used, [`DsseError::TooLong`] for payloads no reader would take.
pub fn sign(
    payload_type: &str,
    payload: &[u8],
    keys: &[&SigningKey],
    rng: &dyn SecureRandom,
) -> Result<Vec<u8>, DsseError> {
    let message = pae(payload_type, payload);
    let signatures = keys
        .iter()
        .map(|key| signature(key, &message, rng))
        .collect::<Result<_, _>>()?;
    Envelope {
        payload: STANDARD.encode(payload),
        payload_type: payload_type.to_owned(),
        signatures,
    }
    .to_vec()
}

/// Adds a signature to an envelope that others have signed; a second one of the same key replaces the first.
///
/// # Errors
/// As [`Unverified::parse`] and [`sign`].
pub fn add_signature(
    envelope: &[u8],
    key: &SigningKey,
    rng: &dyn SecureRandom,
) -> Result<Vec<u8>, DsseError> {
    let unverified = Unverified::parse(envelope)?;
    let mut json: Envelope = serde_json::from_slice(envelope).map_err(|_| DsseError::Malformed)?;
    let added = signature(
        key,
        &pae(&unverified.payload_type, &unverified.payload),
        rng,
    )?;
    json.signatures.retain(|s| s.keyid != added.keyid);
    if json.signatures.len() >= MAX_SIGNATURES {
        return Err(DsseError::TooManySignatures);
    }
    json.signatures.push(added);
    json.to_vec()
}

/// Reads and verifies an envelope in one step.
///
/// # Errors
/// As [`Unverified::parse`] and [`Unverified::verify`].
pub fn verify<'a>(
    envelope: &[u8],
    payload_type: &str,
    keys: impl IntoIterator<Item = &'a PublicKey>,
) -> Result<Verified, DsseError> {
    Unverified::parse(envelope)?.verify(payload_type, keys)
}

/// Why an envelope was not believed or not made.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum DsseError {
    /// Not an envelope.
    #[error("malformed DSSE envelope")]
    Malformed,
    /// Longer than [`MAX_ENVELOPE_LEN`].
    #[error("DSSE envelope is longer than {MAX_ENVELOPE_LEN} octets")]
    TooLong,
    /// More than [`MAX_SIGNATURES`].
    #[error("DSSE envelope has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// Something else was signed.
    #[error("DSSE envelope has another payload type")]
    PayloadType,
    /// A known key's signature does not verify.
    #[error("DSSE envelope has a false signature of a known key")]
    BadSignature,
    /// Nobody known signed.
    #[error("DSSE envelope is not signed by a known key")]
    NoKnownSigner,
    /// The signing key could not be used.
    #[error("signing key could not be used")]
    Key {
        /// Why.
        #[from]
        source: KeyError,
    },
}

/// Most octets of an envelope.
pub const MAX_ENVELOPE_LEN: usize = 1024 * 1024;
/// Most signatures of an envelope.
pub const MAX_SIGNATURES: usize = 64;

#[derive(Deserialize, Serialize)]
struct Envelope {
    #[serde(rename = "payloadType")]
    payload_type: String,
    payload: String,
    signatures: Vec<Signature>,
}

impl Envelope {
    fn to_vec(&self) -> Result<Vec<u8>, DsseError> {
        let octets = serde_json::to_vec(self).map_err(|_| DsseError::Malformed)?;
        if octets.len() > MAX_ENVELOPE_LEN {
            return Err(DsseError::TooLong);
        }
        Ok(octets)
    }
}

#[derive(Deserialize, Serialize)]
struct Signature {
    #[serde(default)]
    keyid: String,
    sig: String,
}

fn signature(
    key: &SigningKey,
    message: &[u8],
    rng: &dyn SecureRandom,
) -> Result<Signature, DsseError> {
    Ok(Signature {
        keyid: key.fingerprint(),
        sig: STANDARD.encode(key.sign(message, rng)?),
    })
}

/// Pre-authentication encoding.
fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;

    use super::*;

    const TYPE: &str = "http://example.com/HelloWorld";

    /// The example of DSSE's `protocol.md` (version 1.0.2, "Test Vectors"): P-256, RFC 6979, no key id.
    const OFFICIAL: &[u8] = br#"{"payload": "aGVsbG8gd29ybGQ=",
 "payloadType": "http://example.com/HelloWorld",
 "signatures": [{"sig": "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="}]}"#;
    const OFFICIAL_KEY: &str = "3059301306072a8648ce3d020106082a8648ce3d03010703420004\
        67cd390f77aa359cb08c2235f652270493a9ed832b0abcc01f70954c0390d238\
        0c782bd54e269125a44f4433aff1432ce94e12bca73aa67ac80cea12608ddf74";

    fn official_key() -> PublicKey {
        PublicKey::from_spki(&hex::decode(OFFICIAL_KEY).unwrap()).unwrap()
    }

    fn rng() -> SystemRandom {
        SystemRandom::new()
    }

    #[test]
    fn verifies_the_official_vector() {
        let verified = verify(OFFICIAL, TYPE, &[official_key()]).unwrap();
        assert_eq!(verified.payload, b"hello world");
        assert_eq!(verified.signers, BTreeSet::from([official_key()]));
        assert_eq!(
            pae(TYPE, b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn takes_both_base64_alphabets() {
        let text = std::str::from_utf8(OFFICIAL).unwrap();
        let url_safe = text.replace('+', "-");
        assert_ne!(url_safe, text);
        assert_eq!(
            verify(url_safe.as_bytes(), TYPE, &[official_key()])
                .unwrap()
                .payload,
            b"hello world"
        );
    }

    #[test]
    fn a_key_counts_once_however_often_it_signed() {
        let (alice, bob) = (
            SigningKey::generate().unwrap(),
            SigningKey::generate().unwrap(),
        );
        let envelope = sign(TYPE, b"m", &[&alice, &alice, &bob], &rng()).unwrap();
        let verified = verify(
            &envelope,
            TYPE,
            [alice.public(), bob.public(), alice.public()],
        )
        .unwrap();
        assert_eq!(
            verified.signers,
            BTreeSet::from([alice.public().clone(), bob.public().clone()])
        );
        let verified = verify(&envelope, TYPE, [alice.public()]).unwrap();
        assert_eq!(verified.signers, BTreeSet::from([alice.public().clone()]));
    }

    #[test]
    fn a_false_signature_of_a_known_key_spoils_the_envelope() {
        let (alice, bob) = (
            SigningKey::generate().unwrap(),
            SigningKey::generate().unwrap(),
        );
        let other = sign(TYPE, b"other", &[&bob], &rng()).unwrap();
        let mut json: serde_json::Value =
            serde_json::from_slice(&sign(TYPE, b"m", &[&alice], &rng()).unwrap()).unwrap();
        let moved =
            serde_json::from_slice::<serde_json::Value>(&other).unwrap()["signatures"][0].clone();
        json["signatures"].as_array_mut().unwrap().push(moved);
        let envelope = serde_json::to_vec(&json).unwrap();
        assert_eq!(
            verify(&envelope, TYPE, [alice.public(), bob.public()]).unwrap_err(),
            DsseError::BadSignature
        );
        // Bob is unknown here, so what carries his name says nothing.
        assert_eq!(
            verify(&envelope, TYPE, [alice.public()]).unwrap().payload,
            b"m"
        );
    }

    #[test]
    fn refuses_what_was_altered() {
        let alice = SigningKey::generate().unwrap();
        let envelope = sign(TYPE, b"m", &[&alice], &rng()).unwrap();
        let text = String::from_utf8(envelope.clone()).unwrap();
        let payload = text.replace(&STANDARD.encode(b"m"), &STANDARD.encode(b"n"));
        assert_eq!(
            verify(payload.as_bytes(), TYPE, [alice.public()]).unwrap_err(),
            DsseError::BadSignature
        );
        let retyped = text.replace(TYPE, "t");
        assert_eq!(
            verify(retyped.as_bytes(), "t", [alice.public()]).unwrap_err(),
            DsseError::BadSignature
        );
        assert_eq!(
            verify(&envelope, "t", [alice.public()]).unwrap_err(),
            DsseError::PayloadType
        );
        assert_eq!(
            verify(&envelope, TYPE, []).unwrap_err(),
            DsseError::NoKnownSigner
        );
        assert_eq!(
            verify(b"{}", TYPE, [alice.public()]).unwrap_err(),
            DsseError::Malformed
        );
        let twice = text.replacen('{', "{\"payload\":\"bQ==\",", 1);
        assert_eq!(
            verify(twice.as_bytes(), TYPE, [alice.public()]).unwrap_err(),
            DsseError::Malformed
        );
    }

    #[test]
    fn signatures_are_added_up_to_the_limit() {
        let alice = SigningKey::generate().unwrap();
        let bob = SigningKey::generate().unwrap();
        let mut envelope = sign(TYPE, b"m", &[&alice], &rng()).unwrap();
        envelope = add_signature(&envelope, &bob, &rng()).unwrap();
        envelope = add_signature(&envelope, &bob, &rng()).unwrap();
        assert_eq!(Unverified::parse(&envelope).unwrap().signatures.len(), 2);
        assert_eq!(
            verify(&envelope, TYPE, [alice.public(), bob.public()])
                .unwrap()
                .signers
                .len(),
            2
        );

        let full = sign(TYPE, b"m", &[&alice; MAX_SIGNATURES], &rng()).unwrap();
        assert_eq!(
            verify(&full, TYPE, [alice.public()]).unwrap().signers.len(),
            1
        );
        assert_eq!(
            add_signature(&full, &bob, &rng()).unwrap_err(),
            DsseError::TooManySignatures
        );
        let over = sign(TYPE, b"m", &[&alice; MAX_SIGNATURES + 1], &rng()).unwrap();
        assert_eq!(
            Unverified::parse(&over).unwrap_err(),
            DsseError::TooManySignatures
        );
        assert_eq!(
            sign(TYPE, &vec![0; MAX_ENVELOPE_LEN], &[&alice], &rng()).unwrap_err(),
            DsseError::TooLong
        );
        assert_eq!(
            Unverified::parse(&vec![b' '; MAX_ENVELOPE_LEN + 1]).unwrap_err(),
            DsseError::TooLong
        );
    }
}
