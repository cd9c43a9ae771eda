//! Ceremonies at a holder: distributed generation, import, refresh, reshare and repair (`SPEC.md` of the threshold crate,
//! section 14), and keys for sealed shares, which each holder makes itself (sections 16 and 17).
//!
//! The coordinator carries messages and is trusted with nothing: everything confidential is sealed to its receiver,
//! every message is signed by its sender and names ceremony, key, epoch, generation, sender and receiver, and before a
//! holder accepts a descriptor it has seen that all receivers saw the same. A holder takes part only in the ceremony
//! that the command in force orders.
//!
//! Secrets of a ceremony that is under way are in memory only; what results is a *candidate*, sealed in the store, and
//! becomes the active share when a signed descriptor with the acceptance of every holder in it arrives
//! ([`super::shares`]).

mod accept;
mod error;
mod generate;
mod import;
mod kem_key;
mod messages;
mod plan;
mod repair;
mod run;
mod serve;
mod share_anew;
mod taking;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SecureRandom;
use sealift_threshold::{GroupKey, KeyShare};

use self::plan::{Kind, Plan};
use self::run::Runs;
use self::taking::Taking;
use super::secrets::Secrets;
use super::shares::SealedShares;
use super::store::ShareId;
use crate::command::Order;
use crate::keys::PublicKey;
use crate::octets::Octets;
use crate::statement::HolderDescriptor;
use crate::wire::{CeremonyRequest, Step};

pub use self::error::{CeremonyError, Fault};
pub use self::serve::{Holder, serve};

/// What a holder knows when a step arrives. The caller takes it from the state that commands made.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// Unix milliseconds.
    pub now_ms: u64,
    /// The key's name.
    pub key_id: &'a str,
    /// SHA-256 of the payload of the command that orders the ceremony.
    pub command: [u8; 32],
    /// What it orders.
    pub order: &'a Order,
    /// All holders, this one included, by name.
    pub holders: &'a BTreeMap<String, HolderDescriptor>,
    /// The newest descriptor in force.
    pub current: Option<&'a GroupKey>,
    /// This holder's share of it.
    pub share: Option<&'a KeyShare>,
    /// Keys of the administrators: one of them signs what the dealer of an import sends.
    pub administrators: &'a [PublicKey],
}

/// A holder's part in ceremonies.
#[derive(Debug)]
pub struct Ceremonies {
    runs: Mutex<Runs>,
}

impl Default for Ceremonies {
    fn default() -> Self {
        Self::new()
    }
}

impl Ceremonies {
    /// Begins with no ceremony under way.
    pub fn new() -> Self {
        Self {
            runs: Mutex::new(Runs::default()),
        }
    }

    /// Takes one step.
    ///
    /// A step of a distributed generation asked again with the same messages gives the same answer. The caller has
    /// checked that the coordinator may order the ceremony; nothing here depends on who it is. What is to be kept must
    /// be durable before the messages leave.
    ///
    /// # Errors
    ///
    /// [`CeremonyError`], which names the culprit where there is one.
    pub fn step(
        &self,
        request: &CeremonyRequest,
        situation: &Situation<'_>,
        secrets: &Secrets,
        shares: &SealedShares,
        rng: &dyn SecureRandom,
    ) -> Result<Outcome, CeremonyError> {
        let is_name = request.ceremony.len() == 2 * CEREMONY_LEN
            && request
                .ceremony
                .bytes()
                .all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f'));
        if !is_name {
            return Err(CeremonyError::Name);
        }
        let plan = Plan::new(
            situation.key_id,
            situation.order,
            situation.holders,
            situation.current,
        )?;
        let taking = Taking {
            request,
            situation,
            plan: &plan,
            me: secrets.index(),
            secrets,
            shares,
            rng,
        };
        if plan.kind != Kind::Create || plan.is_without_scalar() || request.step == Step::Accept {
            return taking.take();
        }
        // Steps of a generation follow each other: it is rare, and its secrets have one owner at a time.
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let run = runs.enter(&request.ceremony, situation)?;
        let asked = fingerprint(request);
        if let Some(answer) = run.answered(request.step, &asked) {
            return Ok(answer);
        }
        let answer = taking.generate(&mut run.phase)?;
        run.remember(request.step, asked, &answer);
        Ok(answer)
    }
}

/// What a step gives.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Envelopes for the coordinator.
    pub messages: Vec<Octets>,
    /// What must be durable before they leave.
    pub keep: Option<Keep>,
}

/// What a step leaves at the holder, sealed.
#[derive(Debug)]
pub enum Keep {
    /// A candidate share.
    Candidate {
        /// Of which key.
        id: ShareId,
        /// Sealed octets.
        blob: Vec<u8>,
    },
    /// A repaired share, which is active at once.
    Share {
        /// Of which key.
        id: ShareId,
        /// Sealed octets.
        blob: Vec<u8>,
        /// The share.
        share: KeyShare,
    },
}

impl From<Vec<Octets>> for Outcome {
    fn from(messages: Vec<Octets>) -> Self {
        Self {
            messages,
            keep: None,
        }
    }
}

/// Splits concatenated points.
pub(crate) fn points(octets: &[u8]) -> Option<Vec<[u8; 33]>> {
    let (points, rest) = octets.as_chunks();
    rest.is_empty().then(|| points.to_vec())
}

pub(crate) fn sha256(octets: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, octets).as_ref());
    hash
}

/// Identifies what was asked, so that a repetition is told from a second question.
fn fingerprint(request: &CeremonyRequest) -> [u8; 32] {
    let mut parts: Vec<&[u8]> = request.messages.iter().map(AsRef::as_ref).collect();
    parts.extend(request.descriptor.iter().map(AsRef::<[u8]>::as_ref));
    sha256(&super::sealing::length_prefixed(&parts))
}

/// Octets of a ceremony's name.
const CEREMONY_LEN: usize = 16;
/// Most candidates of one generation: as many attempts may fail late.
const MAX_CANDIDATES: usize = 64;
