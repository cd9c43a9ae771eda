//! A holder's own secrets: drawn when it is set up, sealed in its store, opened once at start.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SecureRandom;
use sealift_threshold::{HolderId, HpkePrivateKey, ReplyKem, ThresholdError};
use thiserror::Error;
use zeroize::Zeroizing;

use super::sealing::{Context, Cost, Seal, SealingError, SealingKey};
use super::store::{Change, Store, StoreError};
use crate::keys::{KeyError, SigningKey};

/// The keys of one holder. Wiped on drop, silent under `Debug`.
pub struct Secrets {
    name: String,
    index: HolderId,
    authority: SigningKey,
    service: SigningKey,
    signing: Arc<SigningKey>,
    hpke: HpkePrivateKey,
    sealing: SealingKey,
}

impl Secrets {
    /// Draws all keys and seals them under `passphrase`; returns the changes that keep them.
    ///
    /// # Errors
    ///
    /// [`SecretsError`], among others when the passphrase is empty.
    pub fn create(
        name: &str,
        index: HolderId,
        passphrase: &[u8],
        cost: Cost,
        rng: &dyn SecureRandom,
    ) -> Result<(Self, Vec<Change>), SecretsError> {
        let (seal, sealing) = Seal::create(passphrase, cost, rng)?;
        let secrets = Self {
            name: name.to_owned(),
            index,
            authority: SigningKey::generate()?,
            service: SigningKey::generate()?,
            signing: Arc::new(SigningKey::generate()?),
            hpke: HpkePrivateKey::generate(ReplyKem::P256, rng)?,
            sealing,
        };
        let seal = serde_json::to_vec(&seal).map_err(|_| SecretsError::Damaged { what: SEAL })?;
        let mut changes = vec![Change::Meta {
            name: SEAL.to_owned(),
            value: seal,
        }];
        let own: [(&str, &[u8]); 4] = [
            (AUTHORITY, secrets.authority.expose_pkcs8()),
            (SERVICE, secrets.service.expose_pkcs8()),
            (SIGNING, secrets.signing.expose_pkcs8()),
            (HPKE, secrets.hpke.expose()),
        ];
        for (kind, secret) in own {
            let blob = secrets.sealing.seal(&secrets.context(kind), secret)?;
            changes.push(Change::PutSecret {
                kind: kind.to_owned(),
                name: String::new(),
                blob,
            });
        }
        Ok((secrets, changes))
    }

    /// Opens the keys that [`create`](Self::create) sealed.
    ///
    /// # Errors
    ///
    /// [`SealingError::WrongPassphrase`] and [`SealingError::Corrupted`], which names the secret.
    pub fn open(
        name: &str,
        index: HolderId,
        passphrase: &[u8],
        store: &dyn Store,
    ) -> Result<Self, SecretsError> {
        let seal = store
            .meta(SEAL)?
            .ok_or(SecretsError::Damaged { what: SEAL })?;
        let seal: Seal =
            serde_json::from_slice(&seal).map_err(|_| SecretsError::Damaged { what: SEAL })?;
        let sealing = seal.open(passphrase)?;
        let read = |kind: &'static str| -> Result<Zeroizing<Vec<u8>>, SecretsError> {
            let blob = store
                .secret(kind, "")?
                .ok_or(SecretsError::Damaged { what: kind })?;
            Ok(sealing.open(&context(name, kind), &blob)?)
        };
        let hpke: [u8; 32] = read(HPKE)?
            .as_slice()
            .try_into()
            .map_err(|_| SecretsError::Damaged { what: HPKE })?;
        Ok(Self {
            name: name.to_owned(),
            index,
            authority: SigningKey::from_pkcs8(&read(AUTHORITY)?)?,
            service: SigningKey::from_pkcs8(&read(SERVICE)?)?,
            signing: Arc::new(SigningKey::from_pkcs8(&read(SIGNING)?)?),
            hpke: HpkePrivateKey::from_octets(ReplyKem::P256, Zeroizing::new(hpke))?,
            sealing,
        })
    }

    /// Returns the holder's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the holder's index.
    pub const fn index(&self) -> HolderId {
        self.index
    }

    /// Borrows the key of the holder's authority.
    pub const fn authority(&self) -> &SigningKey {
        &self.authority
    }

    /// Borrows the key of the holder's TLS certificate.
    pub const fn service(&self) -> &SigningKey {
        &self.service
    }

    /// Borrows the key that signs receipts and ceremony messages.
    pub const fn signing(&self) -> &Arc<SigningKey> {
        &self.signing
    }

    /// Borrows the key that shares are sealed to.
    pub const fn hpke(&self) -> &HpkePrivateKey {
        &self.hpke
    }

    /// Borrows the key that seals what the store keeps.
    pub const fn sealing(&self) -> &SealingKey {
        &self.sealing
    }

    fn context<'a>(&'a self, kind: &'a str) -> Context<'a> {
        context(&self.name, kind)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets(of holder {}, ..)", self.name)
    }
}

/// Why a holder's secrets could not be made or opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SecretsError {
    /// Wrong passphrase, or a blob that does not open.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// The store failed.
    #[error("the holder's secrets cannot be read")]
    Store(#[from] StoreError),
    /// A part is missing or unreadable.
    #[error("the {what} is missing from the store or damaged")]
    Damaged {
        /// Which.
        what: &'static str,
    },
    /// A signing key could not be drawn or read.
    #[error("a signing key cannot be used")]
    Key(#[from] KeyError),
    /// The sealing key pair of shares could not be drawn or read.
    #[error("the HPKE key cannot be used")]
    Hpke(#[from] ThresholdError),
}

const fn context<'a>(holder: &'a str, kind: &'a str) -> Context<'a> {
    Context {
        kind,
        key_id: "",
        epoch: 0,
        generation: 0,
        holder,
    }
}

const SEAL: &str = "seal";
const AUTHORITY: &str = "authority-key";
const SERVICE: &str = "service-key";
const SIGNING: &str = "signing-key";
const HPKE: &str = "hpke-key";
