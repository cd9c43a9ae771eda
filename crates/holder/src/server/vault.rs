//! Where decrypted shares come from.

use std::fmt;

use sealift_threshold::{GroupKey, KeyShare};
use thiserror::Error;

use super::store::{ShareId, StoreError};
use super::writer::Transaction;

/// Opens and promotes the sealed shares of this holder.
///
/// [`promote`](Self::promote) and [`destroy`](Self::destroy) run on the writer thread: what they record in the
/// transaction becomes durable together with the command that caused it.
pub trait ShareVault: fmt::Debug + Send + Sync {
    /// Opens the active share; `None` when there is none.
    fn get(&self, id: &ShareId) -> Result<Option<KeyShare>, VaultError>;

    /// Makes the candidate that fits `group` the active share, and destroys the active shares of older generations and
    /// all candidates of its own and older generations.
    ///
    /// Returns the share, verified against `group`; `None` when no candidate fits, and then nothing is destroyed.
    fn promote(
        &self,
        group: &GroupKey,
        transaction: &mut Transaction<'_>,
    ) -> Result<Option<KeyShare>, VaultError>;

    /// Destroys all shares and candidates of older generations than `id`'s in `id`'s epoch: the holder has no part in
    /// the newer one.
    fn destroy(&self, id: &ShareId, transaction: &mut Transaction<'_>) -> Result<(), VaultError>;
}

/// Why a share could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The store failed.
    #[error("share could not be read")]
    Store(#[from] StoreError),
    /// It does not open under the sealing key, or not as this key's share.
    #[error("share of key `{key_id}` epoch {epoch} generation {generation} does not open")]
    Sealed {
        /// The key.
        key_id: String,
        /// Its epoch.
        epoch: u32,
        /// The generation.
        generation: u32,
    },
}
