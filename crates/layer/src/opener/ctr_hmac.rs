use std::fmt;

use sealift_keywrap::{LayerSecret, WrapContext};

use crate::annotations::{Recipients, Wraps};
use crate::claims::Claims;
use crate::ctr_hmac::{CipherFault, Keystream, Tagger};
use crate::error::{Fact, FirstOctets, FormatError, OpenError, Place};
use crate::frame::MAGIC;
use crate::key::LayerKey;
use crate::layer_id::LayerId;
use crate::options::{CounterBlock, PrivateOptions, PublicOptions};
use crate::original::OriginalKey;
use crate::unlock::{SecretSource, Trial, unlock};

/// A layer of ocicrypt's format before a key has been found for it.
///
/// The blob tells nothing about itself: everything comes from the descriptor. The caller keeps the ciphertext in a
/// spool, for it is needed twice.
#[derive(Debug)]
pub struct CtrHmacLayer {
    wraps: Wraps,
    recipients: Recipients,
    tag: [u8; PublicOptions::TAG_LEN],
    public_nonce: Option<CounterBlock>,
    tried: Vec<LayerSecret>,
}

impl CtrHmacLayer {
    /// Takes what the descriptor claims; `first` are the first octets of the blob, as far as read.
    ///
    /// # Errors
    /// [`OpenError::MissingOptions`] without public options; [`OpenError::NotSealed`] when they name the default cipher,
    /// since the blob lacks its magic; [`OpenError::Truncated`] when the blob ends within it.
    pub fn new(claims: &Claims, first: &[u8]) -> Result<Self, OpenError> {
        match &claims.public {
            None => Err(OpenError::MissingOptions),
            Some(PublicOptions::Chunked { .. }) if MAGIC.starts_with(first) => {
                Err(OpenError::Truncated { after: None })
            }
            Some(PublicOptions::Chunked { .. }) => Err(OpenError::NotSealed {
                first: FirstOctets::of(first),
            }),
            Some(PublicOptions::CtrHmac { tag, nonce }) => Ok(Self {
                wraps: claims.wraps.clone(),
                recipients: claims.recipients.clone(),
                tag: *tag,
                public_nonce: *nonce,
                tried: Vec::new(),
            }),
        }
    }

    /// Finds the next key worth trying: called again after an [`Unchecked`] failed, it goes on with other wrapped keys.
    ///
    /// `context` should have the ciphertext's digest as subject, if that is known.
    ///
    /// # Errors
    /// [`OpenError::NoKey`] with a report; [`OpenError::Authentication`] when keys were unwrapped but all of them have
    /// been tried, or [`MAX_ATTEMPTS`](Self::MAX_ATTEMPTS) of them; [`OpenError::Disagreement`] between public and
    /// private nonce; [`OpenError::Malformed`] for private options that ocicrypt's cipher cannot work with.
    pub fn unlock(
        &mut self,
        source: &(impl SecretSource + ?Sized),
        context: &WrapContext<'_>,
    ) -> Result<Unchecked, OpenError> {
        if self.tried.len() >= Self::MAX_ATTEMPTS {
            return Err(OpenError::Authentication);
        }
        let tried = &self.tried;
        let (secret, private, nonce) = unlock(
            source,
            &self.wraps,
            &self.recipients,
            None,
            context,
            |secret| {
                if tried.iter().any(|other| other.expose() == secret.expose()) {
                    return Err(Trial::Foreign);
                }
                let private = PrivateOptions::from_secret(&secret).map_err(Trial::Malformed)?;
                let nonce = private
                    .nonce
                    .ok_or(Trial::Malformed(FormatError::Missing { member: "nonce" }))?;
                Ok((secret, private, nonce))
            },
        )?;
        let kept = LayerSecret::new(secret.expose().to_vec().into());
        self.tried.push(secret);
        if self.public_nonce.is_some_and(|public| public != nonce) {
            return Err(OpenError::Disagreement {
                what: Fact::Nonce,
                one: Place::PublicOptions,
                other: Place::PrivateOptions,
            });
        }
        Ok(Unchecked {
            tagger: Tagger::new(&private.key),
            tag: self.tag,
            len: 0,
            key: private.key,
            digest: private.digest,
            nonce,
            secret: kept,
        })
    }

    /// Most keys that are tried on one layer; each costs a pass over the ciphertext.
    pub const MAX_ATTEMPTS: usize = 16;
}

/// A key that may be the layer's, and the ciphertext's tag in the making.
pub struct Unchecked {
    tagger: Tagger,
    tag: [u8; PublicOptions::TAG_LEN],
    len: u64,
    key: LayerKey,
    digest: Box<str>,
    nonce: CounterBlock,
    secret: LayerSecret,
}

impl Unchecked {
    /// Takes the ciphertext in pieces of any size.
    pub fn update(&mut self, ciphertext: &[u8]) {
        self.tagger.update(ciphertext);
        self.len += ciphertext.len() as u64;
    }

    /// Ends the ciphertext and compares its tag.
    ///
    /// # Errors
    /// [`OpenError::Authentication`]; another key may still fit.
    pub fn finish(self) -> Result<Checked, OpenError> {
        self.tagger
            .verify(&self.tag)
            .ok_or(OpenError::Authentication)?;
        Ok(Checked {
            key: self.key,
            nonce: self.nonce,
            digest: self.digest,
            len: self.len,
            secret: self.secret,
        })
    }
}

impl fmt::Debug for Unchecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unchecked")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// The proof that a ciphertext is authentic; the only thing that decrypts it.
#[derive(Debug)]
pub struct Checked {
    key: LayerKey,
    nonce: CounterBlock,
    digest: Box<str>,
    len: u64,
    secret: LayerSecret,
}

impl Checked {
    /// Returns the layer's length, sealed and plain.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether the layer has no octets at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the digest that the writer noted for the plain layer: advisory, since writers in the wild note the digest
    /// of something else.
    pub fn noted_digest(&self) -> &str {
        &self.digest
    }

    /// Borrows the private options that were unwrapped, to wrap them for somebody else.
    pub fn secret(&self) -> &LayerSecret {
        &self.secret
    }

    /// Returns the key that opens original documents sealed under this layer's; `id` is the ciphertext's digest.
    pub fn original(&self, ciphertext: &sealift_oci::Digest) -> Result<OriginalKey, OpenError> {
        let key = LayerKey::from_octets(self.key.expose()).ok_or(OpenError::Authentication)?;
        Ok(OriginalKey::new(
            key,
            &LayerId::Ciphertext(ciphertext.clone()),
        ))
    }

    /// Starts decrypting at octet `offset` of the very ciphertext that was checked.
    ///
    /// # Errors
    /// [`OpenError::Authentication`] beyond the end.
    pub fn decrypt_from(&self, offset: u64) -> Result<Decryptor, OpenError> {
        let left = self
            .len
            .checked_sub(offset)
            .ok_or(OpenError::Authentication)?;
        let keystream = Keystream::new(&self.key, &self.nonce, offset)?;
        Ok(Decryptor { keystream, left })
    }
}

/// Decrypts a checked ciphertext from some offset on.
pub struct Decryptor {
    keystream: Keystream,
    left: u64,
}

impl Decryptor {
    /// Takes ciphertext in pieces of any size and appends plaintext.
    ///
    /// # Errors
    /// [`OpenError::Authentication`] for more octets than were checked; nothing is appended then.
    pub fn update(&mut self, ciphertext: &[u8], out: &mut Vec<u8>) -> Result<(), OpenError> {
        self.left = self
            .left
            .checked_sub(ciphertext.len() as u64)
            .ok_or(OpenError::Authentication)?;
        Ok(self.keystream.apply(ciphertext, out)?)
    }

    /// Ends the layer.
    ///
    /// # Errors
    /// [`OpenError::Truncated`] for fewer octets than were checked.
    pub fn finish(self) -> Result<(), OpenError> {
        match self.left {
            0 => Ok(()),
            _ => Err(OpenError::Truncated { after: None }),
        }
    }
}

impl fmt::Debug for Decryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decryptor")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl From<CipherFault> for OpenError {
    fn from(CipherFault: CipherFault) -> Self {
        Self::Authentication
    }
}
