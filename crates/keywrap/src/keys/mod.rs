//! Key files: from octets to recipients and identities.
//!
//! Public: DER `SubjectPublicKeyInfo`, PKCS#1, X.509 certificate; PEM of these; JWK and JWK Set. Private: PKCS#8,
//! encrypted PKCS#8 (PBES2), PKCS#1, SEC 1; PEM of these, also with `DEK-Info` encryption (AES-CBC); JWK and JWK
//! Set. Certificates by themselves, as PKCS #7 needs them. RSA of 2048 to 8192 bits, P-256, P-384, P-521. What is not
//! read is refused by name, never skipped.

mod certificate;
mod der_keys;
mod encrypted;
mod error;
mod generate;
mod jwk;
mod legacy_pem;
mod password;
pub(crate) mod pem;
mod private;
mod public;

use zeroize::Zeroizing;

use crate::EcPoint;

pub use certificate::Certificate;
pub(crate) use der_keys::{rsa_decrypting_key, rsa_encrypting_key};
pub use error::KeyError;
pub use generate::{GeneratedKey, KeyType, generate};
pub use password::Password;
pub use private::PrivateKey;
pub use public::PublicKey;
pub(crate) use public::fingerprint;

use self::pem::Block;

/// Largest key file.
pub const MAX_FILE_LEN: usize = 1024 * 1024;

/// Most keys in one file.
pub const MAX_KEYS: usize = 100;

/// Longest `kid` of a JWK, in octets.
pub const MAX_KEY_ID_LEN: usize = 256;

/// Smallest RSA modulus, in bits.
pub const MIN_RSA_BITS: usize = 2048;

/// Largest RSA modulus, in bits.
pub const MAX_RSA_BITS: usize = 8192;

/// Reads every public key or certificate in a file.
///
/// # Errors
/// [`KeyError`]; a file in which one key cannot be used is refused whole, since a recipient would be missing.
pub fn parse_public(file: &[u8]) -> Result<Vec<PublicKey>, KeyError> {
    let keys = match Form::of(file)? {
        Form::Json => jwk::parse_public(file)?,
        Form::Der => vec![der_keys::public(file)?],
        Form::Pem => public_blocks(&pem::blocks(file)?)?,
    };
    counted(keys)
}

/// Makes an RSA public key of its two numbers, big-endian.
///
/// # Errors
/// [`KeyError`] for a key that is not used here.
pub fn rsa_public(modulus: &[u8], exponent: &[u8]) -> Result<PublicKey, KeyError> {
    der_keys::rsa_public_of_numbers(modulus, exponent)
}

/// Makes an elliptic-curve public key of its point.
pub fn ec_public(point: EcPoint) -> PublicKey {
    PublicKey::from_point(point)
}

/// Reads every certificate in a file of nothing else: the recipients of PKCS #7 envelopes.
///
/// # Errors
/// [`KeyError`]; a file in which one certificate cannot be used is refused whole. [`KeyError::NotForRsa`] where the
/// key is of another kind, [`KeyError::CertificateChain`] where an issuer stands beside.
pub fn parse_certificates(file: &[u8]) -> Result<Vec<Certificate>, KeyError> {
    let certificates = match Form::of(file)? {
        Form::Json => return Err(KeyError::CertificateExpected),
        Form::Der => vec![Certificate::from_der(file)?],
        Form::Pem => certificate_blocks(&pem::blocks(file)?)?,
    };
    counted(certificates)
}

/// Returns the certificates in a PEM file that PKCS #7 envelopes could be made for; whatever else is there is passed over.
///
/// For files that are read for their private keys: certificates beside them may be those of issuers or for other uses.
pub fn certificates_beside(file: &[u8]) -> Vec<Certificate> {
    let Ok(Form::Pem) = Form::of(file) else {
        return Vec::new();
    };
    let blocks = pem::blocks(file).unwrap_or_default();
    blocks
        .iter()
        .filter(|block| is_certificate(block.label()))
        .filter_map(|block| Certificate::from_der(block.octets()).ok())
        .collect()
}

/// Reads every private key in a file. Certificates and public keys beside a PEM private key are passed over; see
/// [`certificates_beside`].
///
/// # Errors
/// [`KeyError`]; a file in which one private key cannot be read is refused whole.
pub fn parse_private(
    file: &[u8],
    password: Option<&Password>,
) -> Result<Vec<PrivateKey>, KeyError> {
    let keys = match Form::of(file)? {
        Form::Json => jwk::parse_private(file)?,
        Form::Der => vec![der_keys::private(file, password)?],
        Form::Pem => private_blocks(&pem::blocks(file)?, password)?,
    };
    counted(keys)
}

enum Form {
    Json,
    Der,
    Pem,
}

impl Form {
    fn of(file: &[u8]) -> Result<Self, KeyError> {
        if file.len() > MAX_FILE_LEN {
            return Err(KeyError::TooLarge {
                limit: MAX_FILE_LEN,
            });
        }
        if file.trim_ascii_start().first() == Some(&b'{') {
            Ok(Self::Json)
        } else if pem::looks_like(file) {
            // Before DER: text in front of a block may begin with any character, `0` included.
            Ok(Self::Pem)
        } else if file.first() == Some(&SEQUENCE) {
            Ok(Self::Der)
        } else {
            Err(KeyError::NotAKey)
        }
    }
}

fn counted<T>(keys: Vec<T>) -> Result<Vec<T>, KeyError> {
    if keys.is_empty() {
        return Err(KeyError::NotAKey);
    }
    if keys.len() > MAX_KEYS {
        return Err(KeyError::TooMany { limit: MAX_KEYS });
    }
    Ok(keys)
}

fn public_blocks(blocks: &[Block]) -> Result<Vec<PublicKey>, KeyError> {
    let certificates = blocks
        .iter()
        .filter(|block| is_certificate(block.label()))
        .map(Block::octets);
    der_keys::refuse_chain(certificates)?;
    blocks
        .iter()
        .map(|block| match block.label() {
            "PUBLIC KEY" => der_keys::spki(block.octets()),
            "RSA PUBLIC KEY" => der_keys::rsa_public(block.octets()),
            label if is_certificate(label) => der_keys::certificate(block.octets()),
            label if label.ends_with("PRIVATE KEY") => Err(KeyError::PublicExpected),
            label => Err(KeyError::unsupported_type(label)),
        })
        .collect()
}

fn certificate_blocks(blocks: &[Block]) -> Result<Vec<Certificate>, KeyError> {
    if blocks.iter().any(|block| !is_certificate(block.label())) {
        return Err(KeyError::CertificateExpected);
    }
    der_keys::refuse_chain(blocks.iter().map(Block::octets))?;
    blocks
        .iter()
        .map(|block| Certificate::from_der(block.octets()))
        .collect()
}

fn private_blocks(
    blocks: &[Block],
    password: Option<&Password>,
) -> Result<Vec<PrivateKey>, KeyError> {
    let mut keys = Vec::new();
    let mut public_seen = false;
    for block in blocks {
        let read: fn(&[u8]) -> Result<PrivateKey, KeyError> = match block.label() {
            "PRIVATE KEY" => der_keys::pkcs8,
            "RSA PRIVATE KEY" => der_keys::rsa_private,
            "EC PRIVATE KEY" => der_keys::sec1,
            "ENCRYPTED PRIVATE KEY" => {
                keys.push(der_keys::encrypted_pkcs8(block.octets(), password)?);
                continue;
            }
            "EC PARAMETERS" => continue,
            "PUBLIC KEY" | "RSA PUBLIC KEY" => {
                public_seen = true;
                continue;
            }
            label if is_certificate(label) => {
                public_seen = true;
                continue;
            }
            label => return Err(KeyError::unsupported_type(label)),
        };
        keys.push(match block.encryption()? {
            None => read(block.octets())?,
            Some(encryption) => {
                let password = password.ok_or(KeyError::PasswordMissing)?;
                let der: Zeroizing<Vec<u8>> =
                    legacy_pem::decrypt(&encryption, block.octets(), password)?;
                read(&der).map_err(after_decryption)?
            }
        });
    }
    if keys.is_empty() && public_seen {
        return Err(KeyError::PrivateExpected);
    }
    Ok(keys)
}

fn is_certificate(label: &str) -> bool {
    matches!(label, "CERTIFICATE" | "X509 CERTIFICATE")
}

/// Neither form of encryption authenticates: what does not parse was decrypted with another password.
fn after_decryption(error: KeyError) -> KeyError {
    match error {
        KeyError::Malformed { .. } | KeyError::NotAKey => KeyError::PasswordWrong,
        other => other,
    }
}

/// First octet of every DER structure we read.
const SEQUENCE: u8 = 0x30;
