//! A store that was rolled back, or lost a share, is noticed.
//!
//! Descriptors travel as commands, with the signed acceptance of every holder in them. So after each round with the
//! peers a holder knows every generation that it ever accepted; where it has no share of one, its store is older than
//! its own word, and the share must be made again (`key repair`). Until then it answers nothing for that key.
//!
//! A store that comes from a backup says so ([`RESTORED`]). It may lack a revocation that this holder has confirmed and
//! perhaps one other has, so nothing is released until every peer was asked for all it knows.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use sealift_threshold::HolderId;
use serde_json::json;

use super::audit::Entry;
use super::state::State;
use super::store::{ShareId, StoreError};
use super::writer::Writer;

/// Remembers what was found, so that each loss is recorded once.
#[derive(Debug, Default)]
pub struct Watch {
    reported: Mutex<BTreeSet<ShareId>>,
}

impl Watch {
    /// Compares shares and descriptors, and records what is newly missing; call it at start and after each round with
    /// the peers. Returns all that is missing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the record cannot be written; the next call tries again.
    pub async fn look(&self, writer: &Writer) -> Result<BTreeSet<ShareId>, StoreError> {
        let missing = missing(&writer.state());
        let new: Vec<ShareId> = {
            let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
            reported.retain(|id| missing.contains(id));
            missing
                .iter()
                .filter(|id| !reported.contains(*id))
                .cloned()
                .collect()
        };
        if new.is_empty() {
            return Ok(missing);
        }
        let entries: Vec<Entry> = new.iter().map(entry).collect();
        writer
            .transact(move |transaction| {
                entries
                    .into_iter()
                    .for_each(|entry| transaction.audit(entry))
            })
            .await?;
        for id in &new {
            tracing::error!(
                key = id.key_id,
                epoch = id.epoch,
                generation = id.generation,
                "{LOST}"
            );
        }
        self.reported
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(new);
        Ok(missing)
    }
}

/// Returns the generations in force that list this holder, and of which it has no share.
pub fn missing(state: &State) -> BTreeSet<ShareId> {
    let me = HolderId::new(state.deployment().me.index);
    let wanted = state.keys().values().filter(|key| !key.is_condemned());
    let epochs = wanted.flat_map(|key| key.epochs.values());
    epochs
        .filter(|epoch| {
            epoch.share.is_none() && me.is_some_and(|me| epoch.group.holder(me).is_some())
        })
        .map(|epoch| super::shares::id_of(&epoch.group))
        .collect()
}

fn entry(id: &ShareId) -> Entry {
    Entry {
        event: "rollback",
        subject: format!("key:{}", id.key_id),
        reason: LOST.to_owned(),
        detail: json!({"epoch": id.epoch, "generation": id.generation}),
        ..Entry::default()
    }
}

const LOST: &str = "no share of a generation that this holder accepted: the store was rolled back or damaged; repair it";

/// The fact about a store that it comes from a backup, and the peers have not all been heard since; empty afterwards.
pub const RESTORED: &str = "restored";
