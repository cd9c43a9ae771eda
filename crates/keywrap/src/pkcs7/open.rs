//! Unwrapping the content-encryption key without telling a bad padding from a wrong key (RFC 3218).

use aws_lc_rs::{
    rand,
    rsa::{Pkcs1PrivateDecryptingKey, PrivateDecryptingKey},
};
use subtle::{ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use super::{
    Envelope, IssuerAndSerial, KeyTransport,
    content::Content,
    envelope::{RecipientId, RecipientPart},
};
use crate::{
    LayerSecret, UnwrapError,
    jwe::{RsaKey, decrypt_oaep, more_telling},
};

impl Envelope {
    /// Opens the envelope with an RSA key that is certified under `names`.
    ///
    /// Everything that depends on the private key fails in one way.
    pub(crate) fn open_with_rsa(
        &self,
        key: &RsaPair,
        names: &[IssuerAndSerial],
    ) -> Result<LayerSecret, UnwrapError> {
        let content = self
            .content
            .as_ref()
            .map_err(|name| UnwrapError::unsupported(name))?;
        if names.is_empty() {
            return Err(UnwrapError::NoCertificate);
        }
        let mut worst = None;
        for recipient in &self.recipients {
            match recipient.open_with_rsa(content, key, names) {
                Ok(secret) => return Ok(secret),
                Err(error) => worst = Some(more_telling(worst, error)),
            }
        }
        Err(worst.unwrap_or(UnwrapError::NotForThisKey))
    }
}

impl RecipientPart {
    fn open_with_rsa(
        &self,
        content: &Content,
        key: &RsaPair,
        names: &[IssuerAndSerial],
    ) -> Result<LayerSecret, UnwrapError> {
        match &self.id {
            RecipientId::Certificate(name) if names.contains(name) => {}
            RecipientId::Certificate(_) => return Err(UnwrapError::NotForThisKey),
            RecipientId::Other(kind) => return Err(UnwrapError::unsupported(kind)),
        }
        let transport = self
            .transport
            .as_ref()
            .map_err(|name| UnwrapError::unsupported(name))?;
        // Public knowledge: a ciphertext for this modulus has its length.
        if self.encrypted_key.len() != key.oaep.key_size_bytes() {
            return Err(UnwrapError::NotForThisKey);
        }
        let key_len = content.encryption.key_len();
        let cek = key.decrypt_or_substitute(*transport, &self.encrypted_key, key_len)?;
        content
            .open(&cek)
            .map(LayerSecret::new)
            .ok_or(UnwrapError::NotForThisKey)
    }
}

/// An RSA private key in this process, ready for both paddings.
pub(crate) struct RsaPair {
    oaep: RsaKey,
    pkcs1: Pkcs1PrivateDecryptingKey,
}

impl RsaPair {
    pub(crate) fn new(key: PrivateDecryptingKey) -> Option<Self> {
        Some(Self {
            oaep: RsaKey::new(key.clone()).ok()?,
            pkcs1: Pkcs1PrivateDecryptingKey::new(key).ok()?,
        })
    }

    pub(crate) const fn oaep(&self) -> &RsaKey {
        &self.oaep
    }

    /// Decrypts a content-encryption key, or goes on with a random one.
    ///
    /// The random key is drawn first and replaced without a branch, so that after the library has looked at the padding
    /// all goes one way: only the authentication of the content fails. The library itself searches the padding in constant
    /// time and then branches on the verdict.
    fn decrypt_or_substitute(
        &self,
        transport: KeyTransport,
        ciphertext: &[u8],
        key_len: usize,
    ) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
        let mut cek = Zeroizing::new(vec![0; key_len]);
        rand::fill(&mut cek).map_err(|_| UnwrapError::NotForThisKey)?;
        let (block, length) = match transport {
            KeyTransport::RsaPkcs1 => {
                let mut block = Zeroizing::new(vec![0; self.pkcs1.min_output_size()]);
                let length = self
                    .pkcs1
                    .decrypt(ciphertext, &mut block)
                    .map_or(0, |plaintext| plaintext.len());
                (block, length)
            }
            KeyTransport::RsaOaep(hash) => {
                let block = decrypt_oaep(&self.oaep, hash, ciphertext).unwrap_or_default();
                let length = block.len();
                (block, length)
            }
        };
        let usable = length.ct_eq(&key_len);
        for (octet, decrypted) in cek.iter_mut().zip(block.iter()) {
            octet.conditional_assign(decrypted, usable);
        }
        Ok(cek)
    }
}

impl std::fmt::Debug for RsaPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RsaPair(..)")
    }
}
