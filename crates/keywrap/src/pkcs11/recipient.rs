use std::fmt;

use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey,
};
use thiserror::Error;

use super::{Element, oaep};
use crate::{
    LayerSecret, MAX_ELEMENT_LEN, PublicKey, Scheme, WrapContext, WrapError, WrappedKey,
    jwe::OaepHash, keys::fingerprint,
};

/// An RSA public key whose private key lives in a token; wrapping for it takes no token.
pub struct Recipient {
    key: PublicEncryptingKey,
    spki: Vec<u8>,
    hash: OaepHash,
}

/// A public key that is not RSA cannot be a PKCS #11 recipient: ocicrypt's elements know RSA-OAEP alone.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("not an RSA key, and PKCS #11 elements are for RSA alone")]
pub struct NotRsa;

impl Recipient {
    /// Takes an RSA key.
    ///
    /// # Errors
    /// [`NotRsa`]
    pub fn new(key: &PublicKey, hash: OaepHash) -> Result<Self, NotRsa> {
        Ok(Self {
            key: key.rsa().ok_or(NotRsa)?.clone(),
            spki: key.spki().to_vec(),
            hash,
        })
    }

    /// Refuses a key that cannot hold a secret of `len` octets.
    ///
    /// # Errors
    /// [`WrapError::KeyTooSmall`], which says what to do.
    pub fn check_capacity(&self, len: usize) -> Result<(), WrapError> {
        let modulus_len = self.key.key_size_bytes();
        let capacity = oaep::capacity(self.hash, modulus_len);
        if len <= capacity {
            return Ok(());
        }
        Err(WrapError::KeyTooSmall {
            bits: modulus_len * 8,
            hash: match self.hash {
                OaepHash::Sha1 => "SHA-1",
                OaepHash::Sha256 => "SHA-256",
            },
            capacity,
            needed: len,
        })
    }
}

impl crate::Recipient for Recipient {
    fn scheme(&self) -> Scheme {
        Scheme::Pkcs11
    }

    fn fingerprint(&self) -> String {
        fingerprint(&self.spki)
    }

    fn wrap_key(&self, secret: &LayerSecret, _: &WrapContext<'_>) -> Result<WrappedKey, WrapError> {
        self.check_capacity(secret.expose().len())?;
        let key = OaepPublicEncryptingKey::new(self.key.clone()).map_err(|_| WrapError::Refused)?;
        let algorithm = match self.hash {
            OaepHash::Sha1 => &OAEP_SHA1_MGF1SHA1,
            OaepHash::Sha256 => &OAEP_SHA256_MGF1SHA256,
        };
        let mut blob = vec![0; key.ciphertext_size()];
        let len = key
            .encrypt(algorithm, secret.expose(), &mut blob, None)
            .map_err(|_| WrapError::Refused)?
            .len();
        blob.truncate(len);
        let element = Element::new(blob, self.hash).to_octets();
        if element.len() > MAX_ELEMENT_LEN {
            return Err(WrapError::TooLong {
                limit: MAX_ELEMENT_LEN,
            });
        }
        Ok(WrappedKey {
            scheme: Scheme::Pkcs11,
            element,
        })
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pkcs11::Recipient({})", fingerprint(&self.spki))
    }
}
