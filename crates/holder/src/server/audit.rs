//! The audit record on its way to the store.

use serde_json::Value;

use super::store::{Change, Store, StoreError};
use crate::audit_row::{AuditRow, Chain, ChainError};
use crate::octets::Octets;

/// What a row says; position, time and hashes are added when it is written.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// `release`, `refusal`, `command`, `conflict`, …
    pub event: &'static str,
    /// `node:NAME`, `operator:NAME`, `holder:NAME`, or empty.
    pub actor: String,
    /// `key:ID`, `node:NAME`, …
    pub subject: String,
    /// `allow`, `deny` or empty.
    pub decision: &'static str,
    /// The whole reason.
    pub reason: String,
    /// Leaf hash of the request.
    pub request_hash: Option<[u8; 32]>,
    /// Digest of the wrap.
    pub wrap_digest: Option<[u8; 32]>,
    /// Label of the wrap, or further facts.
    pub detail: Value,
}

impl Entry {
    /// Turns it into the next row of `chain`, as changes of a batch.
    pub(super) fn append(self, chain: &mut Chain, time_ms: u64, changes: &mut Vec<Change>) {
        let mut row = AuditRow {
            seq: 0,
            time_ms,
            event: self.event.to_owned(),
            actor: self.actor,
            subject: self.subject,
            decision: self.decision.to_owned(),
            reason: self.reason,
            request_hash: self.request_hash.map(hex::encode).unwrap_or_default(),
            wrap_digest: self.wrap_digest.map(hex::encode).unwrap_or_default(),
            detail: self.detail,
            previous: Octets::default(),
            hash: Octets::default(),
        };
        let closed = chain.append(&mut row);
        // INVARIANT: strings, numbers and values with text keys always have a JSON form.
        let text = serde_json::to_string(&row).unwrap_or_default();
        changes.push(Change::Audit {
            seq: row.seq,
            row: text,
            hash: *chain.head(),
        });
        if let Some((index, root)) = closed {
            changes.push(Change::Segment { index, root });
        }
    }
}

/// Reads where the record ends, checking the open segment.
pub(super) fn resume(store: &dyn Store) -> Result<Chain, StoreError> {
    let segments = store.segments()?.len() as u64;
    let before = segments.saturating_mul(Chain::SEGMENT_LEN);
    let head = match before.checked_sub(1) {
        None => [0; 32],
        Some(at) => {
            let row = rows(store, at, 1)?
                .pop()
                .ok_or_else(|| StoreError::corrupt("a segment without its last row"))?;
            row.hash
                .0
                .try_into()
                .map_err(|_| StoreError::corrupt("the hash of an audit row"))?
        }
    };
    let mut chain = Chain::at_segment(segments, head);
    for row in rows(store, before, usize::MAX)? {
        let closed = chain.check(&row).map_err(StoreError::corrupt)?;
        if closed.is_some() {
            return Err(StoreError::corrupt("a full audit segment without its root"));
        }
    }
    if store.audit_len()? != chain.len() {
        return Err(StoreError::corrupt("audit rows are missing"));
    }
    Ok(chain)
}

/// Checks the whole record: every row, the chain, every segment root. Returns where it ends.
pub fn verify(store: &dyn Store) -> Result<Chain, StoreError> {
    let segments = store.segments()?;
    let mut roots = segments.iter().zip(0u64..);
    let mut chain = Chain::new();
    loop {
        let page = rows(store, chain.len(), PAGE)?;
        if page.is_empty() {
            break;
        }
        for row in page {
            if let Some((index, root)) = chain.check(&row).map_err(StoreError::corrupt)?
                && roots.next() != Some((&root, index))
            {
                return Err(StoreError::corrupt(ChainError::Segment { index }));
            }
        }
    }
    match roots.next() {
        None => Ok(chain),
        Some((_, index)) => Err(StoreError::corrupt(ChainError::Segment { index })),
    }
}

/// Reads up to `limit` rows after the row `since`.
pub fn rows(store: &dyn Store, since: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
    let texts = store.audit(since, limit)?;
    texts
        .iter()
        .map(|text| serde_json::from_str(text).map_err(StoreError::corrupt))
        .collect()
}

const PAGE: usize = 4096;
