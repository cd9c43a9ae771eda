//! Secrets at rest: AES-256-GCM under a key that Argon2id derives from a passphrase or a credential.
//!
//! The authenticated context of a sealed secret is the length-prefixed tuple (kind, key, epoch, generation, holder,
//! version), so a blob moved to another row, key, generation or holder does not open.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::octets::Octets;

/// What one derivation costs an attacker, and us at every start.
///
/// Only tests lower it, and they do so by passing [`Cost::LOWEST`] where a program passes [`Cost::STANDARD`]; no
/// variable, option or file of a running program does. The cost travels in the [`Seal`], so a later version can raise
/// [`Cost::STANDARD`] and still open older stores.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// 64 MiB, three passes, one lane.
    pub const STANDARD: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
        lanes: 1,
    };
    /// For tests only: worthless against an attacker.
    pub const LOWEST: Self = Self {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
    /// Above this a store that was tampered with could stop the machine.
    const MOST: Self = Self {
        memory_kib: 1024 * 1024,
        passes: 16,
        lanes: 8,
    };

    fn params(self) -> Result<Params, SealingError> {
        if self.memory_kib > Self::MOST.memory_kib
            || self.passes > Self::MOST.passes
            || self.lanes > Self::MOST.lanes
        {
            return Err(SealingError::Cost);
        }
        Params::new(self.memory_kib, self.passes, self.lanes, Some(KEY_LEN))
            .map_err(|_| SealingError::Cost)
    }
}

/// How the sealing key of a store is derived again, and a blob that tells a wrong passphrase from a broken store.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// 1: Argon2id, version 0x13.
    v: u8,
    cost: Cost,
    salt: Octets,
    check: Octets,
}

impl Seal {
    /// Makes a new seal for `passphrase` and returns it with its key.
    ///
    /// # Errors
    ///
    /// [`SealingError::NoPassphrase`] when it is empty; [`SealingError::Randomness`].
    pub fn create(
        passphrase: &[u8],
        cost: Cost,
        rng: &dyn SecureRandom,
    ) -> Result<(Self, SealingKey), SealingError> {
        let mut salt = vec![0; SALT_LEN];
        rng.fill(&mut salt).map_err(|_| SealingError::Randomness)?;
        let key = derive(passphrase, cost, &salt)?;
        let check = key.seal(&CHECK, &[])?;
        Ok((
            Self {
                v: 1,
                cost,
                salt: salt.into(),
                check: check.into(),
            },
            key,
        ))
    }

    /// Derives the key again.
    ///
    /// # Errors
    ///
    /// [`SealingError::WrongPassphrase`] when it does not open this store.
    pub fn open(&self, passphrase: &[u8]) -> Result<SealingKey, SealingError> {
        if self.v != 1 {
            return Err(SealingError::Version { version: self.v });
        }
        let key = derive(passphrase, self.cost, &self.salt.0)?;
        match key.open(&CHECK, &self.check.0) {
            Ok(_) => Ok(key),
            Err(_) => Err(SealingError::WrongPassphrase),
        }
    }
}

/// The key that seals a holder's secrets. Wiped on drop, silent under `Debug`.
pub struct SealingKey(Zeroizing<[u8; KEY_LEN]>);

impl SealingKey {
    /// Seals `secret` in its context.
    ///
    /// # Errors
    ///
    /// [`SealingError::Randomness`] when no nonce could be drawn.
    pub fn seal(&self, context: &Context<'_>, secret: &[u8]) -> Result<Vec<u8>, SealingError> {
        // Room for the tag beforehand: growing would leave a copy of the secret in freed memory.
        let mut sealed = Zeroizing::new(Vec::with_capacity(secret.len() + AES_256_GCM.tag_len()));
        sealed.extend_from_slice(secret);
        let nonce = self
            .cipher()?
            .seal_in_place_append_tag(Aad::from(context.to_octets()), &mut *sealed)
            .map_err(|_| SealingError::Randomness)?;
        let mut blob = Vec::with_capacity(1 + NONCE_LEN + sealed.len());
        blob.push(FORMAT);
        blob.extend_from_slice(nonce.as_ref());
        blob.extend_from_slice(&sealed);
        Ok(blob)
    }

    /// Opens what [`seal`](Self::seal) made in the same context.
    ///
    /// # Errors
    ///
    /// [`SealingError::Corrupted`] naming the context, when the blob was changed or belongs elsewhere.
    pub fn open(
        &self,
        context: &Context<'_>,
        blob: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealingError> {
        let corrupted = || SealingError::Corrupted {
            what: context.to_string().into(),
        };
        let (&format, rest) = blob.split_first().ok_or_else(corrupted)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or_else(corrupted)?;
        if format != FORMAT {
            return Err(corrupted());
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| corrupted())?;
        let mut secret = Zeroizing::new(sealed.to_vec());
        let len = self
            .cipher()?
            .open_in_place(nonce, Aad::from(context.to_octets()), &mut secret)
            .map_err(|_| corrupted())?
            .len();
        secret.truncate(len);
        Ok(secret)
    }

    fn cipher(&self) -> Result<RandomizedNonceKey, SealingError> {
        RandomizedNonceKey::new(&AES_256_GCM, self.0.as_ref()).map_err(|_| SealingError::Randomness)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

/// Where a sealed secret belongs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// `share`, `candidate`, `signing-key`, …
    pub kind: &'a str,
    /// The key's name; empty for secrets of the holder itself.
    pub key_id: &'a str,
    /// The key's epoch; 0 for secrets of the holder itself.
    pub epoch: u32,
    /// The share's generation; 0 for secrets of the holder itself.
    pub generation: u32,
    /// Name of the holder.
    pub holder: &'a str,
}

impl Context<'_> {
    fn to_octets(self) -> Vec<u8> {
        let (epoch, generation) = (self.epoch.to_be_bytes(), self.generation.to_be_bytes());
        let parts: [&[u8]; 6] = [
            self.kind.as_bytes(),
            self.key_id.as_bytes(),
            &epoch,
            &generation,
            self.holder.as_bytes(),
            &[FORMAT],
        ];
        length_prefixed(&parts)
    }
}

impl fmt::Display for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        if !self.key_id.is_empty() {
            write!(
                f,
                " of key `{}` epoch {} generation {}",
                self.key_id, self.epoch, self.generation
            )?;
        }
        Ok(())
    }
}

/// Why a secret could not be sealed or opened.
#[derive(Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SealingError {
    /// An empty passphrase protects nothing.
    #[error("the passphrase is empty")]
    NoPassphrase,
    /// The passphrase or credential is not the one the store was made with.
    #[error("wrong passphrase or credential for this holder's store")]
    WrongPassphrase,
    /// The blob was changed, or taken from another row, key, generation or holder.
    #[error("the sealed {what} is damaged or does not belong here")]
    Corrupted {
        /// Which secret.
        what: Box<str>,
    },
    /// The seal was written by a later version.
    #[error("seal version {version} is unknown")]
    Version {
        /// As it stands in the store.
        version: u8,
    },
    /// The derivation's cost is out of bounds.
    #[error("the seal's derivation cost is out of bounds")]
    Cost,
    /// The system gave no randomness.
    #[error("no randomness")]
    Randomness,
}

/// Returns `I2OSP(len, 4) || part` for every part (`threshold-spec.md`, section 2).
pub(crate) fn length_prefixed(parts: &[&[u8]]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        // Bodies are at most 1 MiB, so no part reaches 4 GiB.
        octets.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        octets.extend_from_slice(part);
    }
    octets
}

fn derive(passphrase: &[u8], cost: Cost, salt: &[u8]) -> Result<SealingKey, SealingError> {
    if passphrase.is_empty() {
        return Err(SealingError::NoPassphrase);
    }
    let mut key = Zeroizing::new([0; KEY_LEN]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.params()?)
        .hash_password_into(passphrase, salt, key.as_mut())
        .map_err(|_| SealingError::Cost)?;
    Ok(SealingKey(key))
}

const KEY_LEN: usize = 32;
const SALT_LEN: usize = 16;
/// First octet of every blob, and the version in its context.
const FORMAT: u8 = 1;
const CHECK: Context<'static> = Context {
    kind: "check",
    key_id: "",
    epoch: 0,
    generation: 0,
    holder: "",
};

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;

    use super::*;

    const SHARE: Context<'static> = Context {
        kind: "share",
        key_id: "default",
        epoch: 1,
        generation: 2,
        holder: "fra",
    };

    fn seal() -> (Seal, SealingKey) {
        Seal::create(b"correct horse", Cost::LOWEST, &SystemRandom::new()).unwrap()
    }

    #[test]
    fn the_same_passphrase_opens_what_was_sealed() {
        let (seal, key) = seal();
        let blob = key.seal(&SHARE, b"secret").unwrap();
        let again = serde_json::from_str::<Seal>(&serde_json::to_string(&seal).unwrap()).unwrap();
        assert_eq!(
            *again
                .open(b"correct horse")
                .unwrap()
                .open(&SHARE, &blob)
                .unwrap(),
            b"secret"
        );
    }

    #[test]
    fn a_wrong_passphrase_is_told_from_a_damaged_blob() {
        let (seal, key) = seal();
        assert_eq!(
            seal.open(b"correct house").unwrap_err(),
            SealingError::WrongPassphrase
        );
        assert_eq!(seal.open(b"").unwrap_err(), SealingError::NoPassphrase);
        let error = key.open(&SHARE, b"short").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the sealed share of key `default` epoch 1 generation 2 is damaged or does not belong here"
        );
    }

    #[test]
    fn every_flipped_bit_of_a_blob_is_noticed() {
        let (_, key) = seal();
        let blob = key.seal(&SHARE, b"secret").unwrap();
        for bit in 0..blob.len() * 8 {
            let mut changed = blob.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(
                    key.open(&SHARE, &changed),
                    Err(SealingError::Corrupted { .. })
                ),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn a_blob_opens_only_in_its_own_context() {
        let (_, key) = seal();
        let blob = key.seal(&SHARE, b"secret").unwrap();
        let others = [
            Context {
                kind: "candidate",
                ..SHARE
            },
            Context {
                key_id: "other",
                ..SHARE
            },
            Context { epoch: 2, ..SHARE },
            Context {
                generation: 1,
                ..SHARE
            },
            Context {
                holder: "gru",
                ..SHARE
            },
            // Length prefixes keep neighbours apart.
            Context {
                kind: "sharedefault",
                key_id: "",
                ..SHARE
            },
        ];
        for context in others {
            assert!(
                matches!(
                    key.open(&context, &blob),
                    Err(SealingError::Corrupted { .. })
                ),
                "{context:?}"
            );
        }
    }

    #[test]
    fn a_seal_that_would_stop_the_machine_is_refused() {
        let (seal, _) = seal();
        let seal = Seal {
            cost: Cost {
                memory_kib: u32::MAX,
                ..Cost::STANDARD
            },
            ..seal
        };
        assert_eq!(seal.open(b"correct horse").unwrap_err(), SealingError::Cost);
    }

    #[test]
    fn the_standard_cost_is_what_the_design_says() {
        assert_eq!(
            serde_json::to_string(&Cost::STANDARD).unwrap(),
            r#"{"memory_kib":65536,"passes":3,"lanes":1}"#
        );
    }
}
