use std::fmt;

use sealift_oci::Digest;
use sigstore_verify::crypto::{KeyAlgorithm, SigningScheme, verify_signature};
use sigstore_verify::types::{DerPublicKey, SignatureBytes};
use thiserror::Error;

/// A public key that signs images: ECDSA on P-256 or P-384, Ed25519, or RSA.
#[derive(Clone)]
pub struct PublicKey {
    spki: DerPublicKey,
    schemes: &'static [SigningScheme],
    fingerprint: Box<str>,
}

impl PublicKey {
    /// Reads a PEM file with one `PUBLIC KEY` (RFC 7468, section 13), as `cosign generate-key-pair` and
    /// `openssl pkey -pubout` write it.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        if text.len() > MAX_LEN {
            return Err(KeyError::TooLong { limit: MAX_LEN });
        }
        let found = text.matches("-----BEGIN ").count();
        if text.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        if found != 1 || !text.contains("-----BEGIN PUBLIC KEY-----") {
            return Err(KeyError::Form { found });
        }
        let spki = DerPublicKey::from_pem(text).map_err(|error| KeyError::Broken {
            reason: error.to_string().into(),
        })?;
        Self::from_spki(spki)
    }

    fn from_spki(spki: DerPublicKey) -> Result<Self, KeyError> {
        let broken = |error: sigstore_verify::crypto::Error| KeyError::Broken {
            reason: error.to_string().into(),
        };
        let schemes: &[SigningScheme] = match KeyAlgorithm::from_spki(&spki).map_err(broken)? {
            KeyAlgorithm::EcdsaP256 => &[SigningScheme::EcdsaP256Sha256],
            // cosign hashes with SHA-256 whatever the curve; the bundle's own rule is the curve's length.
            KeyAlgorithm::EcdsaP384 => &[
                SigningScheme::EcdsaP384Sha384,
                SigningScheme::EcdsaP384Sha256,
            ],
            KeyAlgorithm::Ed25519 => &[SigningScheme::Ed25519],
            KeyAlgorithm::Rsa => &[SigningScheme::RsaPkcs1Sha256],
            _ => return Err(KeyError::Algorithm),
        };
        let fingerprint = Digest::sha256(spki.as_bytes()).to_string();
        Ok(Self {
            spki,
            schemes,
            fingerprint: fingerprint.into(),
        })
    }

    /// Returns the SHA-256 of the key's `SubjectPublicKeyInfo`, as `sha256:` and hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(crate) fn spki(&self) -> &DerPublicKey {
        &self.spki
    }

    /// Returns whether this key signed a message.
    pub(crate) fn signed(&self, message: &[u8], signature: &SignatureBytes) -> bool {
        self.schemes
            .iter()
            .any(|scheme| verify_signature(&self.spki, message, signature, *scheme).is_ok())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.fingerprint).finish()
    }
}

/// Why a file is not a public key that signs images.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not one public key in PEM.
    #[error("it is not a PEM file with one PUBLIC KEY ({found} blocks of PEM)")]
    Form {
        /// How many blocks of PEM there are.
        found: usize,
    },

    /// A private key: it does not belong where signatures are checked.
    #[error("it holds a private key; signatures are checked with the public one")]
    Private,

    /// Longer than any public key.
    #[error("it is longer than {limit} octets")]
    TooLong {
        /// The limit.
        limit: usize,
    },

    /// No key can be read out of it.
    #[error("it is not a public key: {reason}")]
    Broken {
        /// Why.
        reason: Box<str>,
    },

    /// A kind of key that signs no images.
    #[error("keys that sign images are ECDSA on P-256 or P-384, Ed25519, or RSA")]
    Algorithm,
}

/// Longest PEM file: RSA of 16,384 bits takes less than 4 KiB.
const MAX_LEN: usize = 64 * 1024;
