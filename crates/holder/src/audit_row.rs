//! Rows of the local audit record: append-only, each chained to the one before.

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::octets::Octets;

/// One row. Its hash covers the JSON of all other members, in this order, and the hash of the row before.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AuditRow {
    /// Position, from 1, without gaps.
    pub seq: u64,
    /// Unix milliseconds of this holder's clock.
    pub time_ms: u64,
    /// `release`, `refusal`, `command`, `conflict`, `ceremony`, `enrolment`, `certificate`, `start`, `accusation`, …
    pub event: String,
    /// Who asked: `node:tokyo-7`, `operator:alice`, `holder:gru`, or empty.
    pub actor: String,
    /// What it was about: `key:default`, `node:tokyo-7`, …
    pub subject: String,
    /// `allow`, `deny` or empty.
    pub decision: String,
    /// The whole reason; callers see a code only.
    pub reason: String,
    /// Leaf hash of the request, hex, where there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_hash: String,
    /// Digest of the wrap, hex, where there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub wrap_digest: String,
    /// Label of the wrap as JSON, or further facts.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub detail: serde_json::Value,
    /// Hash of the row before; 32 zero octets for the first.
    pub previous: Octets,
    /// SHA-256 over the canonical octets of this row without this member.
    pub hash: Octets,
}

/// Why a row does not belong where it stands.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ChainError {
    /// A row is missing, or out of order.
    #[error("audit row {found} stands where row {expected} belongs")]
    Gap {
        /// Position that follows from the row before.
        expected: u64,
        /// Position the row claims.
        found: u64,
    },
    /// The row is not chained to the one before.
    #[error("audit row {seq} does not follow the row before")]
    Unchained {
        /// Position of the row.
        seq: u64,
    },
    /// The row was altered.
    #[error("audit row {seq} is not what was written")]
    Altered {
        /// Position of the row.
        seq: u64,
    },
    /// The rows of a closed segment are not those its root was computed over.
    #[error("audit segment {index} is not what was written")]
    Segment {
        /// Index of the segment.
        index: u64,
    },
}

impl AuditRow {
    /// Returns the hash that this row must carry.
    pub fn computed_hash(&self) -> [u8; 32] {
        #[derive(Serialize)]
        struct Hashed<'a> {
            seq: u64,
            time_ms: u64,
            event: &'a str,
            actor: &'a str,
            subject: &'a str,
            decision: &'a str,
            reason: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            request_hash: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            wrap_digest: &'a str,
            #[serde(skip_serializing_if = "serde_json::Value::is_null")]
            detail: &'a serde_json::Value,
            previous: &'a Octets,
        }
        let octets = serde_json::to_vec(&Hashed {
            seq: self.seq,
            time_ms: self.time_ms,
            event: &self.event,
            actor: &self.actor,
            subject: &self.subject,
            decision: &self.decision,
            reason: &self.reason,
            request_hash: &self.request_hash,
            wrap_digest: &self.wrap_digest,
            detail: &self.detail,
            previous: &self.previous,
        });
        // INVARIANT: strings, numbers and values with text keys always have a JSON form.
        sha256(&[octets.unwrap_or_default().as_slice()])
    }
}

/// The place after the last row of a record: what the next row must continue, and the open segment.
///
/// Segments have [`SEGMENT_LEN`](Self::SEGMENT_LEN) rows; the root of a segment is the RFC 6962 Merkle tree hash over
/// the rows' hashes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Chain {
    len: u64,
    head: [u8; 32],
    /// Roots of full subtrees of the open segment, largest first, with their heights.
    subtrees: Vec<(u32, [u8; 32])>,
}

impl Chain {
    /// Starts before the first row.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts at a segment's beginning, trusting the hash of the row before it.
    pub const fn at_segment(index: u64, head: [u8; 32]) -> Self {
        Self {
            len: index.saturating_mul(Self::SEGMENT_LEN),
            head,
            subtrees: Vec::new(),
        }
    }

    /// Returns how many rows there are.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether there is no row.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the hash of the last row.
    pub const fn head(&self) -> &[u8; 32] {
        &self.head
    }

    /// Gives the row its position and its hashes, and goes past it.
    ///
    /// Returns the index and root of the segment that it closes, if it closes one.
    pub fn append(&mut self, row: &mut AuditRow) -> Option<(u64, [u8; 32])> {
        row.seq = self.len.saturating_add(1);
        row.previous = self.head.as_slice().into();
        let hash = row.computed_hash();
        row.hash = hash.as_slice().into();
        self.pass(hash)
    }

    /// Checks that the row is the next one, unaltered, and goes past it; returns what [`append`](Self::append) did.
    pub fn check(&mut self, row: &AuditRow) -> Result<Option<(u64, [u8; 32])>, ChainError> {
        let expected = self.len.saturating_add(1);
        if row.seq != expected {
            return Err(ChainError::Gap {
                expected,
                found: row.seq,
            });
        }
        if row.previous.0 != self.head {
            return Err(ChainError::Unchained { seq: row.seq });
        }
        let hash = row.computed_hash();
        if row.hash.0 != hash {
            return Err(ChainError::Altered { seq: row.seq });
        }
        Ok(self.pass(hash))
    }

    fn pass(&mut self, hash: [u8; 32]) -> Option<(u64, [u8; 32])> {
        let index = self.len / Self::SEGMENT_LEN;
        self.len = self.len.saturating_add(1);
        self.head = hash;
        let mut node = (0, sha256(&[&[0], &hash]));
        while let Some(left) = self.subtrees.pop_if(|left| left.0 == node.0) {
            node = (node.0 + 1, sha256(&[&[1], &left.1, &node.1]));
        }
        self.subtrees.push(node);
        if self.len.is_multiple_of(Self::SEGMENT_LEN) {
            self.subtrees.pop().map(|root| (index, root.1))
        } else {
            None
        }
    }

    /// Rows of a segment; a power of two.
    pub const SEGMENT_LEN: u64 = 4096;
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut octets = [0; 32];
    octets.copy_from_slice(digest(&SHA256, &parts.concat()).as_ref());
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n: u64) -> AuditRow {
        AuditRow {
            seq: 0,
            time_ms: 1_700_000_000_000 + n,
            event: "release".into(),
            actor: "node:n".into(),
            subject: "key:default".into(),
            decision: "allow".into(),
            reason: format!("row {n}"),
            request_hash: if n.is_multiple_of(2) {
                String::new()
            } else {
                "ab".into()
            },
            wrap_digest: String::new(),
            detail: if n.is_multiple_of(3) {
                serde_json::json!({"z": 1, "a": [n]})
            } else {
                serde_json::Value::Null
            },
            previous: Octets::default(),
            hash: Octets::default(),
        }
    }

    /// Rows, the roots of segments they close, and where the chain stands.
    type Record = (Vec<AuditRow>, Vec<(u64, [u8; 32])>, Chain);

    fn record(n: u64) -> Record {
        let mut chain = Chain::new();
        let mut segments = Vec::new();
        let rows = (0..n)
            .map(|n| {
                let mut row = row(n);
                segments.extend(chain.append(&mut row));
                row
            })
            .collect();
        (rows, segments, chain)
    }

    fn check(rows: &[AuditRow]) -> Result<Chain, ChainError> {
        let mut chain = Chain::new();
        for row in rows {
            chain.check(row)?;
        }
        Ok(chain)
    }

    #[test]
    fn a_record_survives_its_json_form() {
        let (rows, _, chain) = record(50);
        let text: Vec<String> = rows
            .iter()
            .map(|row| serde_json::to_string(row).unwrap())
            .collect();
        let again: Vec<AuditRow> = text
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect();
        assert_eq!(check(&again), Ok(chain));
    }

    #[test]
    fn every_altered_member_is_noticed() {
        let alterations: [fn(&mut AuditRow); 9] = [
            |row| row.time_ms += 1,
            |row| row.event.push('x'),
            |row| row.actor.push('x'),
            |row| row.subject.push('x'),
            |row| row.decision = "deny".into(),
            |row| row.reason.push('x'),
            |row| row.request_hash.push('x'),
            |row| row.wrap_digest.push('x'),
            |row| row.detail = serde_json::json!({"z": 2}),
        ];
        for alter in alterations {
            for at in [0, 4, 9] {
                let (mut rows, _, _) = record(10);
                alter(&mut rows[at]);
                assert_eq!(check(&rows), Err(ChainError::Altered { seq: rows[at].seq }));
            }
        }
    }

    #[test]
    fn a_rewritten_row_does_not_fit_the_next() {
        let (mut rows, _, _) = record(10);
        rows[4].reason.push('x');
        rows[4].hash = rows[4].computed_hash().as_slice().into();
        assert_eq!(check(&rows), Err(ChainError::Unchained { seq: 6 }));
    }

    #[test]
    fn a_missing_or_moved_row_is_noticed() {
        let (mut rows, _, _) = record(10);
        rows.remove(4);
        assert_eq!(
            check(&rows),
            Err(ChainError::Gap {
                expected: 5,
                found: 6
            })
        );
        let (mut rows, _, _) = record(10);
        rows.swap(2, 3);
        assert_eq!(
            check(&rows),
            Err(ChainError::Gap {
                expected: 3,
                found: 4
            })
        );
    }

    #[test]
    fn a_segment_root_is_the_merkle_tree_hash_of_its_rows() {
        fn tree(hashes: &[[u8; 32]]) -> [u8; 32] {
            match hashes {
                [one] => sha256(&[&[0], one]),
                _ => {
                    let (left, right) = hashes.split_at(hashes.len() / 2);
                    sha256(&[&[1], &tree(left), &tree(right)])
                }
            }
        }
        let (rows, segments, chain) = record(2 * Chain::SEGMENT_LEN + 3);
        let hashes: Vec<[u8; 32]> = rows
            .iter()
            .map(|row| row.hash.0.clone().try_into().unwrap())
            .collect();
        let (first, rest) = hashes.split_at(4096);
        assert_eq!(segments, [(0, tree(first)), (1, tree(&rest[..4096]))]);
        let mut resumed = Chain::at_segment(2, hashes[8191]);
        for row in &rows[8192..] {
            resumed.check(row).unwrap();
        }
        assert_eq!(resumed, chain);
    }
}
