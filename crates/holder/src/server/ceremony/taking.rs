//! One step being taken: what it may rely on, and whom it may name.

use aws_lc_rs::rand::SecureRandom;
use sealift_threshold::{Culprit, GroupKey, HolderId, KeyRef, KeyShare, Share, ThresholdError};

use super::plan::{Kind, Plan};
use super::run::Phase;
use super::{CeremonyError, Fault, Outcome, Situation, sha256};
use crate::keys::PublicKey;
use crate::server::secrets::Secrets;
use crate::server::shares::{SealedShares, SharesError};
use crate::server::store::ShareId;
use crate::statement::HolderDescriptor;
use crate::wire::{CeremonyRequest, Step};

/// One step being taken.
pub(super) struct Taking<'a> {
    pub(super) request: &'a CeremonyRequest,
    pub(super) situation: &'a Situation<'a>,
    pub(super) plan: &'a Plan,
    pub(super) me: HolderId,
    pub(super) secrets: &'a Secrets,
    pub(super) shares: &'a SealedShares,
    pub(super) rng: &'a dyn SecureRandom,
}

impl Taking<'_> {
    pub(super) fn generate(&self, phase: &mut Phase) -> Result<Outcome, CeremonyError> {
        match self.request.step {
            Step::DkgRound1 => self.round1(phase),
            Step::DkgRound2 => self.round2(phase),
            Step::DkgFinish => self.finish(phase),
            _ => Err(CeremonyError::Step),
        }
    }

    pub(super) fn take(&self) -> Result<Outcome, CeremonyError> {
        match (&self.plan.kind, self.request.step) {
            (Kind::Create, Step::KemKey) => self.kem_key(),
            (Kind::Import, Step::Import) => self.import(),
            (Kind::Refresh | Kind::Reshare, Step::Deal) => self.deal(),
            (Kind::Refresh | Kind::Reshare, Step::Collect) => self.collect(),
            (Kind::Repair { lost }, Step::RepairSplit) => self.repair_split(*lost),
            (Kind::Repair { lost }, Step::RepairSum) => self.repair_sum(*lost),
            (Kind::Repair { lost }, Step::RepairFinish) => self.repair_finish(*lost),
            (Kind::Create | Kind::Import | Kind::Refresh | Kind::Reshare, Step::Accept) => {
                self.accept()
            }
            _ => Err(CeremonyError::Step),
        }
    }

    pub(super) fn takes_part(&self) -> Result<(), CeremonyError> {
        if self.plan.holders.contains_key(&self.me) || self.plan.dealers.contains(&self.me) {
            Ok(())
        } else {
            Err(CeremonyError::NotAskedFor)
        }
    }

    pub(super) fn receives(&self) -> Result<(), CeremonyError> {
        if self.plan.holders.contains_key(&self.me) {
            Ok(())
        } else {
            Err(CeremonyError::NotAskedFor)
        }
    }

    pub(super) fn deals(&self) -> Result<&GroupKey, CeremonyError> {
        if self.plan.dealers.contains(&self.me) {
            self.current()
        } else {
            Err(CeremonyError::NotAskedFor)
        }
    }

    pub(super) fn current(&self) -> Result<&GroupKey, CeremonyError> {
        self.situation.current.ok_or(CeremonyError::NoKey)
    }

    /// Returns what this holder keeps of the key.
    pub(super) fn kept(&self) -> Result<&KeyShare, CeremonyError> {
        self.situation
            .share
            .ok_or(CeremonyError::Shares(SharesError::NoShare))
    }

    /// Returns this holder's share of the scalar.
    pub(super) fn share(&self) -> Result<&Share, CeremonyError> {
        self.kept()?
            .share()
            .ok_or(CeremonyError::Shares(SharesError::NoShare))
    }

    pub(super) fn id(&self) -> ShareId {
        ShareId {
            key_id: self.plan.key_id.clone(),
            epoch: self.plan.epoch,
            generation: self.plan.generation,
        }
    }

    pub(super) fn holder(&self, index: HolderId) -> Result<&HolderDescriptor, CeremonyError> {
        self.situation
            .holders
            .values()
            .find(|holder| holder.index == index.get())
            .ok_or_else(|| CeremonyError::UnknownHolder {
                name: format!("index {index}").into(),
            })
    }

    pub(super) fn signing_key(&self, index: HolderId) -> Result<PublicKey, CeremonyError> {
        let holder = self.holder(index)?;
        PublicKey::from_spki(&holder.signing_key.0).map_err(|_| CeremonyError::UnknownHolder {
            name: holder.name.as_str().into(),
        })
    }

    pub(super) fn name(&self, index: HolderId) -> Box<str> {
        match self.holder(index) {
            Ok(holder) => holder.name.as_str().into(),
            Err(_) => format!("index {index}").into(),
        }
    }

    pub(super) fn fault(&self, from: HolderId, fault: Fault) -> CeremonyError {
        CeremonyError::Holder {
            name: self.name(from),
            fault,
        }
    }

    /// Translates whom the arithmetic names.
    pub(super) fn blame(&self, error: ThresholdError) -> CeremonyError {
        let culprit = match error.culprit {
            Culprit::Holder(Some(holder)) => Some(self.name(holder)),
            _ => None,
        };
        CeremonyError::Arithmetic {
            culprit,
            source: error,
        }
    }

    pub(super) fn key(&self) -> KeyRef<'_> {
        KeyRef {
            key_id: &self.plan.key_id,
            epoch: self.plan.epoch,
            generation: self.plan.generation,
        }
    }

    /// What a dealer relies on: the order and the sharing that it starts from.
    pub(super) fn view_of_current(&self, current: &GroupKey) -> [u8; 32] {
        sha256(&[&self.situation.command[..], &current.to_json()].concat())
    }
}

pub(super) fn of(key: &GroupKey) -> KeyRef<'_> {
    KeyRef {
        key_id: key.key_id(),
        epoch: key.epoch(),
        generation: key.generation(),
    }
}
