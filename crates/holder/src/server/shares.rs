//! Shares and candidates, sealed in the store.
//!
//! A candidate is what a ceremony left at this holder: the new share, what it saw, and the commitments it was checked
//! against. It becomes the active share in the transaction that applies a signed descriptor; the old share and all
//! candidates of that generation are destroyed in the same one.

use std::collections::BTreeMap;
use std::sync::Arc;

use sealift_policy::KeyState;
use sealift_threshold::{GroupKey, HolderId, HpkePrivateKey, KeyShare, ThresholdError};
use thiserror::Error;
use zeroize::Zeroizing;

use super::audit::Entry;
use super::ceremony::points;
use super::sealing::{Context, SealingError};
use super::secrets::Secrets;
use super::state::Key;
use super::store::{ShareId, Store, StoreError};
use super::vault::{ShareVault, VaultError};
use super::writer::{Transaction, Writer};

/// The sealed shares of one holder.
#[derive(Clone, Debug)]
pub struct SealedShares {
    secrets: Arc<Secrets>,
    store: Arc<dyn Store>,
}

impl SealedShares {
    /// Looks after the shares in `store`.
    pub const fn new(secrets: Arc<Secrets>, store: Arc<dyn Store>) -> Self {
        Self { secrets, store }
    }

    /// Counts what ceremonies for one generation left.
    pub(super) fn count(&self, id: &ShareId) -> Result<usize, SharesError> {
        Ok(self.store.candidates(id)?.len())
    }

    /// Opens what one ceremony left.
    pub(super) fn candidate(
        &self,
        id: &ShareId,
        ceremony: &str,
    ) -> Result<Option<Candidate>, SharesError> {
        let Some(blob) = self.store.candidate(id, ceremony)? else {
            return Ok(None);
        };
        self.open_candidate(id, &blob).map(Some)
    }

    /// Seals what a ceremony leaves.
    pub(super) fn seal_candidate(
        &self,
        id: &ShareId,
        candidate: &Candidate,
    ) -> Result<Vec<u8>, SharesError> {
        Ok(self
            .secrets
            .sealing()
            .seal(&self.context(CANDIDATE, id), &candidate.to_octets())?)
    }

    /// Seals a share.
    pub(super) fn seal_share(
        &self,
        id: &ShareId,
        share: &KeyShare,
    ) -> Result<Vec<u8>, SharesError> {
        Ok(self
            .secrets
            .sealing()
            .seal(&self.context(SHARE, id), &share.to_octets())?)
    }

    /// Finds this holder's key for sealed shares of `group` in any share that is left: it outlives every sharing.
    pub(super) fn kem_key(&self, group: &GroupKey) -> Result<Option<HpkePrivateKey>, SharesError> {
        let entry = group.holder(self.secrets.index());
        let public = entry.and_then(|entry| entry.kem_public_key.as_deref());
        for id in self.store.shares()? {
            if id.key_id != group.key_id() || id.epoch != group.epoch() {
                continue;
            }
            // One damaged share must not hide a sound one.
            let key = self.open(&id).ok().flatten().and_then(into_kem_key);
            if let Some(key) = key.filter(|key| Some(key.public()) == public) {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    fn open(&self, id: &ShareId) -> Result<Option<KeyShare>, SharesError> {
        let Some(blob) = self.store.share(id)? else {
            return Ok(None);
        };
        let octets = self
            .secrets
            .sealing()
            .open(&self.context(SHARE, id), &blob)?;
        Ok(Some(KeyShare::from_octets(
            self.secrets.index(),
            id.generation,
            &octets,
        )?))
    }

    fn open_candidate(&self, id: &ShareId, blob: &[u8]) -> Result<Candidate, SharesError> {
        let octets = self
            .secrets
            .sealing()
            .open(&self.context(CANDIDATE, id), blob)?;
        Candidate::from_octets(&octets).ok_or(SharesError::Foreign)
    }

    fn context<'a>(&'a self, kind: &'a str, id: &'a ShareId) -> Context<'a> {
        Context {
            kind,
            key_id: &id.key_id,
            epoch: id.epoch,
            generation: id.generation,
            holder: self.secrets.name(),
        }
    }

    /// Returns the share of the candidate that fits `group`.
    fn fitting(&self, group: &GroupKey, id: &ShareId) -> Result<Option<KeyShare>, SharesError> {
        let [part] = group.parts() else {
            return Ok(None);
        };
        for (_, blob) in self.store.candidates(id)? {
            // One damaged candidate must not hide a sound one; if none is sound, the holder has lost its share.
            let Ok(candidate) = self.open_candidate(id, &blob) else {
                continue;
            };
            if candidate.commitments != part.commitments {
                continue;
            }
            let share = candidate.share(self.secrets.index(), id.generation)?;
            if share.verify(group).is_ok() {
                return Ok(Some(share));
            }
        }
        Ok(None)
    }

    /// Destroys the shares of keys whose deletion is due; call it now and then.
    ///
    /// Once enough holders have done so nobody can open anything, whatever anybody orders.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the next call tries again.
    pub async fn destroy_deleted(&self, writer: &Writer, now_ms: u64) -> Result<(), StoreError> {
        let is_deleted = |key: &Key, now_ms| key.state(now_ms) == KeyState::Deleted;
        let state = writer.state();
        if !state.keys().values().any(|key| is_deleted(key, now_ms)) {
            return Ok(());
        }
        let store = Arc::clone(&self.store);
        let destroy = move |transaction: &mut Transaction<'_>| {
            let now_ms = transaction.now_ms();
            let mut due: BTreeMap<String, Vec<ShareId>> = BTreeMap::new();
            for id in store.shares()? {
                let key = transaction.state().keys().get(&id.key_id);
                if key.is_some_and(|key| is_deleted(key, now_ms)) {
                    due.entry(id.key_id.clone()).or_default().push(id);
                }
            }
            for (key_id, shares) in due {
                for id in shares {
                    transaction.delete_share(&id);
                    transaction.delete_candidates(&id, None);
                    transaction.state_mut().set_share(&key_id, id.epoch, None);
                    let generation = id.generation.saturating_add(1);
                    transaction.delete_candidates(&ShareId { generation, ..id }, None);
                }
                transaction.audit(Entry {
                    event: "deleted",
                    subject: format!("key:{key_id}"),
                    reason: "its time is over: the share is destroyed".to_owned(),
                    ..Entry::default()
                });
            }
            Ok(())
        };
        writer.transact(destroy).await?
    }

    /// Destroys shares older than `id`, and what ceremonies for them and for `id` left.
    fn destroy_before(
        &self,
        id: &ShareId,
        transaction: &mut Transaction<'_>,
    ) -> Result<(), StoreError> {
        transaction.delete_candidates(id, None);
        for old in self.store.shares()? {
            if old.key_id == id.key_id && old.epoch == id.epoch && old.generation < id.generation {
                transaction.delete_share(&old);
                transaction.delete_candidates(&old, None);
            }
        }
        Ok(())
    }
}

impl ShareVault for SealedShares {
    fn get(&self, id: &ShareId) -> Result<Option<KeyShare>, VaultError> {
        self.open(id).map_err(|error| error.of(id))
    }

    fn promote(
        &self,
        group: &GroupKey,
        transaction: &mut Transaction<'_>,
    ) -> Result<Option<KeyShare>, VaultError> {
        let id = id_of(group);
        // A share that is there already was promoted or repaired: the command only comes again.
        let there = self
            .open(&id)
            .ok()
            .flatten()
            .filter(|share| share.verify(group).is_ok());
        let share = match there {
            Some(share) => Some(share),
            None => self.fitting(group, &id).map_err(|error| error.of(&id))?,
        };
        let Some(share) = share else {
            return Ok(None);
        };
        let blob = self
            .seal_share(&id, &share)
            .map_err(|error| error.of(&id))?;
        transaction.put_share(&id, blob);
        self.destroy_before(&id, transaction)?;
        Ok(Some(share))
    }

    fn destroy(&self, id: &ShareId, transaction: &mut Transaction<'_>) -> Result<(), VaultError> {
        Ok(self.destroy_before(id, transaction)?)
    }
}

/// What a ceremony left at this holder. Wiped on drop.
pub(super) struct Candidate {
    /// What this holder saw of all contributions.
    pub(super) view: [u8; 32],
    /// Commitments of the key that results.
    pub(super) commitments: Vec<[u8; 33]>,
    /// As [`KeyShare::to_octets`] has it.
    share: Zeroizing<Vec<u8>>,
}

impl Candidate {
    pub(super) fn new(view: [u8; 32], share: &KeyShare, commitments: &[[u8; 33]]) -> Self {
        Self {
            view,
            commitments: commitments.to_vec(),
            share: share.to_octets(),
        }
    }

    /// Takes the share out.
    pub(super) fn share(&self, index: HolderId, generation: u32) -> Result<KeyShare, SharesError> {
        Ok(KeyShare::from_octets(index, generation, &self.share)?)
    }

    fn to_octets(&self) -> Zeroizing<Vec<u8>> {
        let commitments = self.commitments.concat();
        let len = VIEW_LEN + 1 + self.share.len() + commitments.len();
        let mut octets = Zeroizing::new(Vec::with_capacity(len));
        octets.extend_from_slice(&self.view);
        // A share is far shorter than 256 octets.
        octets.push(u8::try_from(self.share.len()).unwrap_or_default());
        octets.extend_from_slice(&self.share);
        octets.extend_from_slice(&commitments);
        octets
    }

    fn from_octets(octets: &[u8]) -> Option<Self> {
        let (view, rest) = octets.split_first_chunk::<VIEW_LEN>()?;
        let (len, rest) = rest.split_first()?;
        let (share, commitments) = rest.split_at_checked(usize::from(*len))?;
        Some(Self {
            view: *view,
            share: Zeroizing::new(share.to_vec()),
            commitments: points(commitments)?,
        })
    }
}

fn into_kem_key(share: KeyShare) -> Option<HpkePrivateKey> {
    match share {
        KeyShare::Tdh2(_) => None,
        KeyShare::SssXwing { key, .. } | KeyShare::Hybrid(_, key) => Some(key),
    }
}

/// Why shares could not be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SharesError {
    /// This holder has no share of that generation: it was lost, or the store was rolled back.
    #[error("this holder has no share of the key's generation in force")]
    NoShare,
    /// What opens is not the share of this key.
    #[error("the sealed share does not belong to the key")]
    Foreign,
    /// A blob does not open.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SharesError {
    fn of(self, id: &ShareId) -> VaultError {
        match self {
            Self::Store(error) => VaultError::Store(error),
            Self::NoShare | Self::Foreign | Self::Sealing(_) => VaultError::Sealed {
                key_id: id.key_id.clone(),
                epoch: id.epoch,
                generation: id.generation,
            },
        }
    }
}

impl From<ThresholdError> for SharesError {
    fn from(_: ThresholdError) -> Self {
        Self::Foreign
    }
}

/// Names the share that a holder must have for `group`.
pub(super) fn id_of(group: &GroupKey) -> ShareId {
    ShareId {
        key_id: group.key_id().to_owned(),
        epoch: group.epoch(),
        generation: group.generation(),
    }
}

const SHARE: &str = "share";
const CANDIDATE: &str = "candidate";
const VIEW_LEN: usize = 32;
