//! Unwrapping the content-encryption key (RFC 7516, section 5.2).

use aws_lc_rs::{
    rand,
    rsa::{OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey},
};
use zeroize::Zeroizing;

use super::{Jwe, KeyManagement, OaepHash, concat_kdf, key_wrap, object::RecipientPart};
use crate::{KeyAgreement, LayerSecret, OaepDecryption, UnwrapError};

/// An RSA private key in this process.
pub(crate) type RsaKey = OaepPrivateDecryptingKey;

impl Jwe {
    /// Opens the object with an elliptic-curve key, wherever that key lives.
    ///
    /// # Errors
    /// Of several recipients that fail, the one that says most: altered, then unusable key, malformed, for another
    /// key, unsupported.
    pub fn open_with_agreement(&self, key: &dyn KeyAgreement) -> Result<LayerSecret, UnwrapError> {
        self.open_first(|recipient, algorithm| {
            let KeyManagement::EcdhEs(width) = algorithm else {
                return Err(UnwrapError::NotForThisKey);
            };
            let peer = recipient.header.ephemeral.clone()?;
            // The keeper of the key may be far away and need not be asked.
            if peer.curve() != key.curve() {
                return Err(UnwrapError::NotForThisKey);
            }
            let shared = key.agree(&peer)?;
            let kek = concat_kdf::derive(
                &shared,
                algorithm.name(),
                width.key_len(),
                &recipient.header.apu,
                &recipient.header.apv,
            );
            let cek = key_wrap::unwrap(width, &kek, &recipient.encrypted_key)
                .ok_or(UnwrapError::NotForThisKey)?;
            self.content
                .open(&cek)
                .map(LayerSecret::new)
                .ok_or(UnwrapError::Authentication)
        })
    }

    /// Opens the object with an RSA key, wherever that key lives; everything that depends on it fails in one way.
    ///
    /// # Errors
    /// [`UnwrapError::NotForThisKey`], or [`UnwrapError::UnsupportedAlgorithm`] if no recipient could be tried.
    pub fn open_with_oaep(&self, key: &dyn OaepDecryption) -> Result<LayerSecret, UnwrapError> {
        self.open_first(|recipient, algorithm| {
            let KeyManagement::RsaOaep(hash) = algorithm else {
                return Err(UnwrapError::NotForThisKey);
            };
            // Public knowledge: a ciphertext for this modulus has its length.
            if recipient.encrypted_key.len() != key.modulus_len() {
                return Err(UnwrapError::NotForThisKey);
            }
            let cek = decrypt_or_substitute(
                key,
                hash,
                &recipient.encrypted_key,
                self.content.encryption.key_len(),
            )?;
            self.content
                .open(&cek)
                .map(LayerSecret::new)
                .ok_or(UnwrapError::NotForThisKey)
        })
    }

    /// Tries each recipient in order and returns the first secret, else the error that says most.
    fn open_first(
        &self,
        mut open: impl FnMut(&RecipientPart, KeyManagement) -> Result<LayerSecret, UnwrapError>,
    ) -> Result<LayerSecret, UnwrapError> {
        let mut worst = None;
        for recipient in &self.recipients {
            let name = &recipient.header.algorithm;
            let result = KeyManagement::from_name(name)
                .ok_or_else(|| UnwrapError::unsupported(name))
                .and_then(|algorithm| open(recipient, algorithm));
            match result {
                Ok(secret) => return Ok(secret),
                Err(error) => worst = Some(more_telling(worst, error)),
            }
        }
        Err(worst.unwrap_or(UnwrapError::NotForThisKey))
    }
}

/// Returns whichever of two errors tells the caller more.
pub(crate) fn more_telling(seen: Option<UnwrapError>, new: UnwrapError) -> UnwrapError {
    let rank = |error: &UnwrapError| match error {
        UnwrapError::UnsupportedAlgorithm { .. } => 0,
        UnwrapError::NotForThisKey => 1,
        UnwrapError::NoCertificate => 2,
        UnwrapError::Malformed { .. } => 3,
        UnwrapError::Agreement { .. } => 4,
        UnwrapError::Token { .. } => 5,
        UnwrapError::ProviderFailed { .. } => 6,
        UnwrapError::ProviderUnavailable { .. } => 7,
        UnwrapError::Unavailable { .. } => 8,
        UnwrapError::Denied { .. } => 9,
        UnwrapError::Authentication => 10,
    };
    match seen {
        Some(seen) if rank(&seen) >= rank(&new) => seen,
        _ => new,
    }
}

/// Decrypts a content-encryption key, or goes on with a random one.
///
/// A bad padding, a bad length and a bad tag then look the same and take the same path (RFC 7516, section 11.5).
fn decrypt_or_substitute(
    key: &dyn OaepDecryption,
    hash: OaepHash,
    ciphertext: &[u8],
    key_len: usize,
) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
    let mut cek = Zeroizing::new(vec![0; key_len]);
    rand::fill(&mut cek).map_err(|_| UnwrapError::NotForThisKey)?;
    if let Some(decrypted) = key.decrypt_oaep(hash, ciphertext)
        && decrypted.len() == key_len
    {
        cek = decrypted;
    }
    Ok(cek)
}

pub(crate) fn decrypt_oaep(
    key: &RsaKey,
    hash: OaepHash,
    ciphertext: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let algorithm = match hash {
        OaepHash::Sha1 => &OAEP_SHA1_MGF1SHA1,
        OaepHash::Sha256 => &OAEP_SHA256_MGF1SHA256,
    };
    let mut plaintext = Zeroizing::new(vec![0; key.min_output_size()]);
    let length = key
        .decrypt(algorithm, ciphertext, &mut plaintext, None)
        .ok()?
        .len();
    plaintext.truncate(length);
    Some(plaintext)
}
