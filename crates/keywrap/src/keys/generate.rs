//! New key pairs, for `sealift keygen`.

use std::fmt;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeySize, PrivateDecryptingKey},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::{
    KeyError, Password, encrypted,
    public::{ec_spki, fingerprint, rsa_spki},
};
use crate::{Curve, agreement::LocalAgreement};

/// What kind of key pair to generate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyType {
    /// ECDH on P-256.
    P256,
    /// ECDH on P-384.
    P384,
    /// ECDH on P-521.
    P521,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
}

/// A new key pair, ready to be written to files.
pub struct GeneratedKey {
    /// PKCS#8 PEM, encrypted if a password was given. Wiped on drop.
    pub private_pem: Zeroizing<String>,
    /// `SubjectPublicKeyInfo` PEM.
    pub public_pem: String,
    /// Fingerprint of the public key.
    pub fingerprint: String,
}

impl fmt::Debug for GeneratedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GeneratedKey({})", self.fingerprint)
    }
}

/// Draws a key pair from the system's randomness.
///
/// # Errors
/// [`KeyError::Generation`] if the library fails.
pub fn generate(key_type: KeyType, password: Option<&Password>) -> Result<GeneratedKey, KeyError> {
    let (pkcs8, spki) = match key_type {
        KeyType::P256 => ec(Curve::P256),
        KeyType::P384 => ec(Curve::P384),
        KeyType::P521 => ec(Curve::P521),
        KeyType::Rsa3072 => rsa(KeySize::Rsa3072),
        KeyType::Rsa4096 => rsa(KeySize::Rsa4096),
    }
    .ok_or(KeyError::Generation)?;
    let private_pem = match password {
        None => pem("PRIVATE KEY", pkcs8.as_ref()),
        Some(password) => pem(
            "ENCRYPTED PRIVATE KEY",
            encrypted::encrypt(pkcs8.as_ref(), password)?.as_bytes(),
        ),
    };
    Ok(GeneratedKey {
        private_pem,
        public_pem: String::clone(&pem("PUBLIC KEY", &spki)),
        fingerprint: fingerprint(&spki),
    })
}

/// The library wipes `Pkcs8V1Der` on drop.
type KeyPair = Option<(Pkcs8V1Der<'static>, Vec<u8>)>;

fn ec(curve: Curve) -> KeyPair {
    let key = LocalAgreement::generate(curve)?;
    Some((key.key().as_der().ok()?, ec_spki(&key.public()?)))
}

fn rsa(size: KeySize) -> KeyPair {
    let key = PrivateDecryptingKey::generate(size).ok()?;
    Some((key.as_der().ok()?, rsa_spki(&key.public_key())?))
}

/// Renders a block with lines of 64 characters (RFC 7468, section 2).
fn pem(label: &str, octets: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(STANDARD.encode(octets));
    let mut text = Zeroizing::new(String::with_capacity(
        base64.len() + base64.len() / 64 + 2 * label.len() + 40,
    ));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
