//! Unwrapping the session key without telling a bad padding from a wrong key (RFC 9580, section 13.5).

use std::fmt;

use aws_lc_rs::{rand, rsa::Pkcs1PrivateDecryptingKey};
use subtle::{ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use super::{
    Message,
    algorithm::{Cipher, cipher_name},
    ecdh::{self, Agreement},
    key::{EcdhKey, Fingerprint, Key},
    message::{EncryptedSessionKey, RecipientPart, literal},
    packet::Octets,
    protected,
    secret::checksum,
};
use crate::{
    Identity, LayerSecret, Scheme, UnwrapError, WrapContext, WrappedKey, jwe::more_telling,
};

/// A secret key or subkey that can decrypt, in this process.
///
/// Not `Clone`, not `Serialize`, and silent under `Debug`; the library wipes it when it is dropped.
pub struct DecryptionKey {
    fingerprint: Fingerprint,
    key_id: String,
    secret: Secret,
}

pub(super) enum Secret {
    Rsa(Pkcs1PrivateDecryptingKey),
    Ecdh(Agreement, EcdhKey),
}

impl DecryptionKey {
    pub(super) fn new(key: &Key, secret: Secret) -> Self {
        Self {
            fingerprint: key.fingerprint,
            key_id: hex::encode(key.fingerprint.key_id()),
            secret,
        }
    }

    fn open(
        &self,
        recipient: &RecipientPart,
        ciphertext: &[u8],
    ) -> Result<LayerSecret, UnwrapError> {
        let is_ours = |id| id == self.fingerprint.key_id();
        if !recipient.key_id.is_none_or(is_ours) {
            return Err(UnwrapError::NotForThisKey);
        }
        let session_key = recipient
            .session_key
            .as_ref()
            .map_err(|name| UnwrapError::unsupported(name))?;
        let packets = match (session_key, &self.secret) {
            (EncryptedSessionKey::Rsa(number), Secret::Rsa(key)) => {
                let session_key = decrypt_or_substitute(key, number)?;
                session_key
                    .open(ciphertext)
                    .ok_or(UnwrapError::NotForThisKey)?
            }
            (EncryptedSessionKey::Ecdh { point, wrapped }, Secret::Ecdh(key, public)) => {
                let octets = ecdh::unwrap(key, public, &self.fingerprint, point, wrapped)?;
                let session_key = SessionKey::read(&octets)?;
                session_key
                    .open(ciphertext)
                    .ok_or(UnwrapError::Authentication)?
            }
            _ => return Err(UnwrapError::NotForThisKey),
        };
        literal(&packets).map(LayerSecret::new)
    }
}

impl Identity for DecryptionKey {
    fn opens(&self, scheme: &Scheme) -> bool {
        *scheme == Scheme::Pgp
    }

    /// Returns the fingerprint of the key or subkey in hex.
    fn fingerprint(&self) -> String {
        hex::encode(self.fingerprint.0)
    }

    fn key_id(&self) -> Option<&str> {
        Some(&self.key_id)
    }

    fn unwrap_key(
        &self,
        wrapped: &WrappedKey,
        _: &WrapContext<'_>,
    ) -> Result<LayerSecret, UnwrapError> {
        if wrapped.scheme != Scheme::Pgp {
            return Err(UnwrapError::NotForThisKey);
        }
        let message = Message::parse(&wrapped.element)?;
        let ciphertext = message
            .data
            .as_ref()
            .map_err(|name| UnwrapError::unsupported(name))?;
        let mut worst = None;
        for recipient in &message.recipients {
            match self.open(recipient, ciphertext) {
                Ok(secret) => return Ok(secret),
                Err(error) => worst = Some(more_telling(worst, error)),
            }
        }
        Err(worst.unwrap_or(UnwrapError::NotForThisKey))
    }
}

impl fmt::Debug for DecryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DecryptionKey({})", self.key_id)
    }
}

/// The key of one message.
struct SessionKey {
    cipher: Cipher,
    key: Zeroizing<Vec<u8>>,
}

impl SessionKey {
    /// Reads the number of a cipher, its key and the sum of the key's octets, out of something authenticated.
    fn read(octets: &[u8]) -> Result<Self, UnwrapError> {
        let mut rest = Octets(octets);
        let number = rest.octet()?;
        let cipher = Cipher::from_number(number)
            .ok_or_else(|| UnwrapError::unsupported(&cipher_name(number)))?;
        let key = rest.take(cipher.key_len())?;
        if rest.array()? != checksum(key).to_be_bytes() {
            return Err(UnwrapError::malformed("session key and its sum differ"));
        }
        rest.end()?;
        Ok(Self {
            cipher,
            key: Zeroizing::new(key.to_vec()),
        })
    }

    fn open(&self, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        protected::open(self.cipher, &self.key, ciphertext)
    }
}

/// Decrypts a session key, or goes on with a random one.
///
/// The random key is drawn first and replaced without a branch, so that padding, cipher, length and sum all end in the
/// one place where a message fails that was altered, too. A session key for another cipher than AES is none. The library
/// itself searches the padding in constant time and then branches on the verdict.
fn decrypt_or_substitute(
    key: &Pkcs1PrivateDecryptingKey,
    number: &[u8],
) -> Result<SessionKey, UnwrapError> {
    // Public knowledge: a number for this modulus is not longer than it.
    let zeros = key
        .key_size_bytes()
        .checked_sub(number.len())
        .ok_or(UnwrapError::NotForThisKey)?;
    let ciphertext = [&vec![0; zeros], number].concat();
    let mut block = Zeroizing::new(vec![0; key.min_output_size()]);
    let length = key
        .decrypt(&ciphertext, &mut block)
        .map_or(0, |plaintext| plaintext.len());
    let mut chosen = Cipher::Aes256.number();
    let mut octets = Zeroizing::new(vec![0; Cipher::Aes256.key_len()]);
    rand::fill(&mut octets).map_err(|_| UnwrapError::NotForThisKey)?;
    let (number, behind) = block.split_first().ok_or(UnwrapError::NotForThisKey)?;
    for cipher in Cipher::ALL {
        let (candidate, behind) = behind
            .split_at_checked(cipher.key_len())
            .ok_or(UnwrapError::NotForThisKey)?;
        let sum = behind
            .first_chunk::<2>()
            .ok_or(UnwrapError::NotForThisKey)?;
        let fits = length.ct_eq(&(1 + cipher.key_len() + sum.len()))
            & number.ct_eq(&cipher.number())
            & checksum(candidate).to_be_bytes().ct_eq(sum);
        chosen.conditional_assign(&cipher.number(), fits);
        for (octet, decrypted) in octets.iter_mut().zip(candidate) {
            octet.conditional_assign(decrypted, fits);
        }
    }
    // Only whoever has made a padding with a cipher, a length and a sum that fit sees another width than the longest.
    let cipher = Cipher::from_number(chosen).unwrap_or(Cipher::Aes256);
    octets.truncate(cipher.key_len());
    Ok(SessionKey {
        cipher,
        key: octets,
    })
}
