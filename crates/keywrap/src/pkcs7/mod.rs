//! PKCS #7 envelopes (RFC 5652) as ocicrypt writes and reads them, and as `openssl cms` writes the authenticated ones.
//!
//! Reads `EnvelopedData` and `AuthEnvelopedData` (RFC 5083) in DER. A recipient is found by issuer and serial number of
//! its certificate. Key transport: RSAES-PKCS1-v1_5, RSAES-OAEP with SHA-1 or SHA-256. Content encryption: AES-GCM with 128,
//! 192 or 256 bits and whole tags, its parameters as RFC 5084 has them or as Go's libraries do. Written is
//! `EnvelopedData` with RSAES-PKCS1-v1_5 and AES-128-GCM, as ocicrypt does, so that all its releases read it.
//!
//! # What is not read, and why
//!
//! * AES-CBC, DES, Triple DES, RC2: no writer of images uses them. Content that carries no authentication would turn
//!   RSAES-PKCS1-v1_5 into a padding oracle, whatever the layer's own check says later. They are refused by name.
//! * Attributes: nothing would look at them. Indefinite lengths and content in pieces: BER, which no writer of images uses.
//! * Recipients by subject key identifier, key agreement, key-encryption key or password: passed over beside others.
//!
//! Refused as a whole: what is not DER, octets left over, versions that do not exist, and whatever exceeds
//! [`MAX_RECIPIENTS`] or [`MAX_ELEMENT_LEN`](crate::MAX_ELEMENT_LEN).

mod algorithm;
mod content;
mod der;
mod envelope;
mod name;
mod open;
mod write;

use crate::{RecipientInfo, Scheme};

pub use algorithm::KeyTransport;
pub use envelope::{Envelope, RecipientPart};
pub use name::IssuerAndSerial;
pub(crate) use open::RsaPair;
pub(crate) use write::wrap_for_rsa;

/// Most recipients in one envelope.
pub const MAX_RECIPIENTS: usize = 64;

/// Lists the recipients; empty if the element is no envelope.
pub(crate) fn describe(element: &[u8]) -> Vec<RecipientInfo> {
    let Ok(envelope) = Envelope::parse(element) else {
        return Vec::new();
    };
    envelope
        .recipients()
        .map(|recipient| RecipientInfo {
            scheme: Scheme::Pkcs7,
            algorithm: Some(recipient.algorithm().into()),
            key_id: None,
            fingerprint: None,
            certificate: recipient.certificate().cloned(),
        })
        .collect()
}
