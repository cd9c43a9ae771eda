//! P-256 signing keys of holders, nodes and operators, and the public halves they are known by.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair, ParsedPublicKey,
};
use pem::{EncodeConfig, LineEnding, Pem};
use thiserror::Error;
use zeroize::Zeroizing;

/// A P-256 private key that signs with ECDSA over SHA-256.
///
/// Wiped on drop and silent under `Debug`.
pub struct SigningKey {
    pkcs8: Zeroizing<Vec<u8>>,
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// Draws a fresh key.
    ///
    /// # Errors
    /// [`KeyError::Randomness`] when the system gives no random octets.
    pub fn generate() -> Result<Self, KeyError> {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(|_| KeyError::Randomness)?;
        Self::from_pkcs8(document.as_ref())
    }

    /// Reads a PKCS #8 `PrivateKeyInfo`.
    ///
    /// # Errors
    /// [`KeyError::NotP256`] for anything but an unencrypted P-256 key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = pair_from(der, &ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let document = pair.to_pkcs8v1().map_err(|_| KeyError::NotP256)?;
        let public = PublicKey::from_point(pair.public_key().as_ref())?;
        Ok(Self {
            pkcs8: Zeroizing::new(document.as_ref().to_vec()),
            pair,
            public,
        })
    }

    /// Reads PEM with one `PRIVATE KEY` block.
    ///
    /// # Errors
    /// As [`from_pkcs8`](Self::from_pkcs8), and [`KeyError::Pem`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let block = pem::parse(text).map_err(|_| KeyError::Pem)?;
        let tag_fits = block.tag() == PRIVATE_KEY;
        let der = Zeroizing::new(block.into_contents());
        if tag_fits {
            Self::from_pkcs8(&der)
        } else {
            Err(KeyError::Pem)
        }
    }

    /// Returns the PKCS #8 octets.
    pub fn expose_pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// Returns the PEM text.
    pub fn expose_pem(&self) -> Zeroizing<String> {
        let block = Pem::new(PRIVATE_KEY, self.pkcs8.to_vec());
        let text = Zeroizing::new(pem::encode_config(
            &block,
            EncodeConfig::new().set_line_ending(LineEnding::LF),
        ));
        drop(Zeroizing::new(block.into_contents()));
        text
    }

    /// Returns the public half.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Returns the DER `SubjectPublicKeyInfo`.
    pub fn spki(&self) -> &[u8] {
        self.public.spki()
    }

    /// Returns the hex SHA-256 of the DER `SubjectPublicKeyInfo`.
    pub fn fingerprint(&self) -> String {
        self.public.fingerprint()
    }

    /// Signs `message`; 64 octets, `r || s`.
    ///
    /// # Errors
    /// [`KeyError::Randomness`] when the system gives no random octets.
    pub fn sign(&self, message: &[u8], rng: &dyn SecureRandom) -> Result<Vec<u8>, KeyError> {
        let signature = self
            .pair
            .sign(rng, message)
            .map_err(|_| KeyError::Randomness)?;
        Ok(signature.as_ref().to_vec())
    }

    /// Signs `message` as X.509 has it: a DER sequence of `r` and `s`.
    pub(crate) fn sign_der(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let pair = pair_from(&self.pkcs8, &ECDSA_P256_SHA256_ASN1_SIGNING)?;
        let signature = pair
            .sign(&SystemRandom::new(), message)
            .map_err(|_| KeyError::Randomness)?;
        Ok(signature.as_ref().to_vec())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.fingerprint())
    }
}

/// A P-256 public key: a point on the curve, in the one DER form that stands in certificates.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PublicKey([u8; SPKI_LEN]);

impl PublicKey {
    /// Reads a DER `SubjectPublicKeyInfo`: named curve P-256, uncompressed point, nothing behind it.
    ///
    /// # Errors
    /// [`KeyError::NotP256`] for anything else, points off the curve included.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let spki: [u8; SPKI_LEN] = der.try_into().map_err(|_| KeyError::NotP256)?;
        let key = Self(spki);
        if !spki.starts_with(&SPKI_PREFIX) {
            return Err(KeyError::NotP256);
        }
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.point())
            .map_err(|_| KeyError::NotP256)?;
        Ok(key)
    }

    /// Reads PEM with one `PUBLIC KEY` block.
    ///
    /// # Errors
    /// As [`from_spki`](Self::from_spki), and [`KeyError::Pem`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let block = pem::parse(text).map_err(|_| KeyError::Pem)?;
        if block.tag() != PUBLIC_KEY {
            return Err(KeyError::Pem);
        }
        Self::from_spki(block.contents())
    }

    fn from_point(point: &[u8]) -> Result<Self, KeyError> {
        Self::from_spki(&[&SPKI_PREFIX[..], point].concat())
    }

    /// Returns the DER `SubjectPublicKeyInfo`.
    pub const fn spki(&self) -> &[u8] {
        &self.0
    }

    /// Returns the PEM text.
    pub fn to_pem(&self) -> String {
        let block = Pem::new(PUBLIC_KEY, self.0.to_vec());
        pem::encode_config(&block, EncodeConfig::new().set_line_ending(LineEnding::LF))
    }

    /// Returns the hex SHA-256 of the DER `SubjectPublicKeyInfo`.
    pub fn fingerprint(&self) -> String {
        hex::encode(digest(&SHA256, &self.0))
    }

    /// Returns the uncompressed point.
    pub(crate) fn point(&self) -> &[u8] {
        self.0.split_at(SPKI_PREFIX.len()).1
    }

    /// Returns whether `signature` (64 octets, `r || s`) is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.point())
            .is_ok_and(|key| key.verify_sig(message, signature).is_ok())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint())
    }
}

/// Why a key could not be read or used.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum KeyError {
    /// Not PEM, or of another kind.
    #[error("not PEM with one key")]
    Pem,
    /// Another algorithm, another curve, an encrypted key, or a point off the curve.
    #[error("not a P-256 key")]
    NotP256,
    /// The system gave no random octets.
    #[error("no randomness available")]
    Randomness,
}

fn pair_from(
    der: &[u8],
    algorithm: &'static EcdsaSigningAlgorithm,
) -> Result<EcdsaKeyPair, KeyError> {
    EcdsaKeyPair::from_pkcs8(algorithm, der).map_err(|_| KeyError::NotP256)
}

const PRIVATE_KEY: &str = "PRIVATE KEY";
const PUBLIC_KEY: &str = "PUBLIC KEY";
const SPKI_LEN: usize = SPKI_PREFIX.len() + 65;

/// `SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING` of 65 octets, whose first is the 04 of the point.
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_pem_and_der() {
        let key = SigningKey::generate().unwrap();
        let again = SigningKey::from_pem(&key.expose_pem()).unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(again.expose_pkcs8(), key.expose_pkcs8());
        assert_eq!(
            PublicKey::from_pem(&key.public().to_pem()).unwrap(),
            *key.public()
        );
        let signature = again.sign(b"m", &SystemRandom::new()).unwrap();
        assert_eq!(signature.len(), 64);
        assert!(key.public().verifies(b"m", &signature));
        assert!(!key.public().verifies(b"n", &signature));
    }

    #[test]
    fn a_private_key_is_silent() {
        let key = SigningKey::generate().unwrap();
        assert_eq!(
            format!("{key:?}"),
            format!("SigningKey({})", key.fingerprint())
        );
    }

    #[test]
    fn a_public_key_is_p256_and_nothing_else() {
        let key = SigningKey::generate().unwrap();
        for i in 0..SPKI_PREFIX.len() + 1 {
            let mut spki = key.spki().to_vec();
            spki[i] ^= 1;
            assert_eq!(
                PublicKey::from_spki(&spki),
                Err(KeyError::NotP256),
                "octet {i}"
            );
        }
        let mut off_curve = key.spki().to_vec();
        *off_curve.last_mut().unwrap() ^= 1;
        assert_eq!(PublicKey::from_spki(&off_curve), Err(KeyError::NotP256));
        assert_eq!(
            PublicKey::from_spki(&key.spki()[..90]),
            Err(KeyError::NotP256)
        );
        assert_eq!(
            PublicKey::from_spki(&[key.spki(), &[0]].concat()),
            Err(KeyError::NotP256)
        );
        assert_eq!(PublicKey::from_pem(&key.expose_pem()), Err(KeyError::Pem));
        assert_eq!(
            SigningKey::from_pem(&key.public().to_pem()).unwrap_err(),
            KeyError::Pem
        );
    }
}
