//! Who may open a sealed layer, changed without touching the layer (`SPEC.md`, section 3).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use indexmap::IndexMap;
use sealift_keywrap::{LayerSecret, Recipient, RecipientInfo, WrapContext, WrappedKey, describe};
use sealift_oci::Digest;

use crate::annotations::{RECIPIENTS, Recipients, Wraps, element_id};
use crate::cipher::Cipher;
use crate::claims::Claims;
use crate::error::{OpenError, SealError};
use crate::layer_id::LayerId;
use crate::options::PrivateOptions;
use crate::sealer::Binding;
use crate::unlock::{SecretSource, Trial, unlock_all};

/// The wrapped keys of a layer, and whom they are for, while they change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LayerRecipients {
    wraps: Wraps,
    notes: Recipients,
    id: LayerId,
    cipher: Cipher,
}

/// What private keys got out of the wrapped keys of a layer.
#[derive(Debug)]
pub struct LayerSecrets {
    secrets: Vec<LayerSecret>,
    /// The elements that opened.
    pub opened: Vec<WrappedKey>,
}

impl LayerRecipients {
    /// Takes what a descriptor claims; `digest` is that of the sealed blob.
    ///
    /// # Errors
    /// [`OpenError::MissingOptions`] without public options: nobody knows then what the layer is named by.
    pub fn new(claims: &Claims, digest: &Digest) -> Result<Self, OpenError> {
        let (Some(public), Some(id)) = (&claims.public, claims.layer_id(digest)) else {
            return Err(OpenError::MissingOptions);
        };
        Ok(Self {
            wraps: claims.wraps.clone(),
            notes: claims.recipients.clone(),
            id,
            cipher: public.cipher(),
        })
    }

    /// Borrows the wrapped keys.
    pub fn wraps(&self) -> &Wraps {
        &self.wraps
    }

    /// Unwraps with the keys at hand; elements of `more` are tried after the descriptor's own.
    ///
    /// Which of several secrets is the layer's shows only when the layer is opened. So all of them are handed on, as they are
    /// to whoever opens it, up to [`MAX_SECRETS`](Self::MAX_SECRETS).
    ///
    /// # Errors
    /// [`OpenError::NoKey`] if nothing opens; [`OpenError::Malformed`] if nothing of what opens is a layer's secret.
    pub fn unwrap(
        &self,
        keys: &(impl SecretSource + ?Sized),
        more: &Wraps,
        context: &WrapContext<'_>,
    ) -> Result<LayerSecrets, OpenError> {
        let mut all = self.wraps.clone();
        all.append_what_fits(more);
        let id = self.id.to_string();
        let mut secrets: Vec<LayerSecret> = Vec::new();
        let opened = unlock_all(keys, &all, &self.notes, Some(&id), context, |secret| {
            let private = PrivateOptions::from_secret(&secret).map_err(Trial::Malformed)?;
            if private.nonce.is_some() != (self.cipher == Cipher::CtrHmac) {
                return Err(Trial::Foreign);
            }
            let secret = private.to_secret();
            let known = secrets
                .iter()
                .any(|other| verify_slices_are_equal(other.expose(), secret.expose()).is_ok());
            if !known && secrets.len() < Self::MAX_SECRETS {
                secrets.push(secret);
            }
            Ok(())
        })?;
        Ok(LayerSecrets { secrets, opened })
    }

    /// Wraps the layer's secrets for one more recipient; returns whether it was none yet.
    ///
    /// # Errors
    /// [`SealError::Wrap`], or [`SealError::TooManyRecipients`]; nothing has changed then.
    pub fn add(
        &mut self,
        secrets: &LayerSecrets,
        recipient: &dyn Recipient,
        binding: &Binding,
    ) -> Result<bool, SealError> {
        let subject = self.id.to_string();
        let context = WrapContext {
            subject: Some(&subject),
            repo: binding.repo.as_deref(),
            platform: binding.platform.as_deref(),
            created_at: binding.created_at,
        };
        let fingerprint = recipient.fingerprint();
        let mut changed = self.clone();
        for secret in &secrets.secrets {
            let wrap = recipient
                .wrap_key(secret, &context)
                .map_err(|source| SealError::Wrap {
                    scheme: recipient.scheme(),
                    fingerprint: fingerprint.as_str().into(),
                    source,
                })?;
            if self.is_for(&wrap, &fingerprint) {
                return Ok(false);
            }
            changed
                .notes
                .note(&wrap, fingerprint.clone(), String::new());
            changed
                .wraps
                .push(wrap)
                .map_err(SealError::TooManyRecipients)?;
        }
        *self = changed;
        Ok(true)
    }

    /// Takes elements away. Whom they were for stays known, until somebody [forgets](Self::forget) it.
    pub fn remove(&mut self, elements: &[WrappedKey]) {
        self.wraps = self.wraps.without(elements);
    }

    /// Forgets whom elements were for that stand nowhere any more.
    pub fn forget(&mut self, elements: &[WrappedKey]) {
        for wrap in elements {
            self.notes.forget(wrap);
        }
    }

    /// Returns whether the layer may carry wrapped keys itself.
    pub fn may_be_embedded(&self) -> bool {
        self.cipher == Cipher::Chunked
    }

    /// Returns whether an element is for a recipient: one whose fingerprint, key ID or certificate begins with `name` or is
    /// named so, or the element that is called `name` itself.
    pub fn is_named(&self, wrap: &WrappedKey, name: &str) -> bool {
        if element_id(wrap) == name {
            return true;
        }
        let described = describe(wrap);
        let noted = self.notes.of(wrap).map(|note| note.fingerprint.as_str());
        let begins = |text: &str| name.len() >= Self::MIN_PREFIX && text.starts_with(name);
        let is_named = |info: &RecipientInfo| {
            info.fingerprint.as_deref().is_some_and(begins)
                || info.key_id.as_deref() == Some(name)
                || info
                    .certificate
                    .as_ref()
                    .is_some_and(|certificate| certificate.to_string() == name)
        };
        described.iter().any(is_named) || (described.len() == 1 && noted.is_some_and(begins))
    }

    /// Returns whether something tells whom an element is for.
    pub fn names_somebody(&self, wrap: &WrappedKey) -> bool {
        self.notes.of(wrap).is_some()
            || describe(wrap).iter().all(|info| {
                info.fingerprint.is_some() || info.key_id.is_some() || info.certificate.is_some()
            })
    }

    /// Returns the descriptor's annotations that tell of wrapped keys and recipients.
    pub fn to_annotations(&self) -> IndexMap<String, String> {
        let mut annotations = self.wraps.to_annotations();
        if !self.notes.is_empty() {
            annotations.insert(RECIPIENTS.into(), self.notes.to_json());
        }
        annotations
    }

    /// Returns whether an element that was wrapped just now has its like already.
    fn is_for(&self, new: &WrappedKey, fingerprint: &str) -> bool {
        let described = describe(new);
        let certificate = described.first().and_then(|info| info.certificate.as_ref());
        self.wraps
            .as_slice()
            .iter()
            .filter(|old| old.scheme == new.scheme)
            .any(|old| {
                let infos = describe(old);
                if let Some(certificate) = certificate {
                    // Of two certificates for one key only one may be known to whoever has the key.
                    return infos
                        .iter()
                        .any(|info| info.certificate.as_ref() == Some(certificate));
                }
                let noted = self.notes.of(old).map(|note| note.fingerprint.as_str());
                infos.len() == 1 && noted == Some(fingerprint)
                    || infos
                        .iter()
                        .any(|info| info.fingerprint.as_deref() == Some(fingerprint))
            })
    }

    /// Most secrets that are handed on: as many pairs of key and nonce as are tried for one layer.
    pub const MAX_SECRETS: usize = 16;
    /// Fewest hex digits that stand for a fingerprint.
    pub const MIN_PREFIX: usize = 8;
}
