//! What a command orders, resolved to indices: who deals, who receives, which epoch and generation result.

use std::collections::{BTreeMap, BTreeSet};

use sealift_threshold::{GroupKey, HolderId, Suite};

use super::CeremonyError;
use crate::command::{KeyPlan, Order};
use crate::statement::HolderDescriptor;
use crate::wire::Step;

/// Kinds of ceremonies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Distributed generation.
    Create,
    /// A key that its owner dealt.
    Import,
    /// New shares for the same holders.
    Refresh,
    /// New shares for other holders.
    Reshare,
    /// One lost share.
    Repair {
        /// Who lost it.
        lost: HolderId,
    },
}

/// One ceremony, as its command orders it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) key_id: String,
    pub(crate) epoch: u32,
    /// The generation that results.
    pub(crate) generation: u32,
    pub(crate) threshold: u8,
    /// Who receives, with its name.
    pub(crate) holders: BTreeMap<HolderId, String>,
    /// Who deals or helps.
    pub(crate) dealers: BTreeSet<HolderId>,
    pub(crate) unbound: bool,
    pub(crate) suite: Suite,
}

impl Plan {
    /// Resolves `order` for the key `key_id`.
    ///
    /// `holders` are all holders that are known here, by name; `current` is the newest descriptor in force.
    pub(crate) fn new(
        key_id: &str,
        order: &Order,
        holders: &BTreeMap<String, HolderDescriptor>,
        current: Option<&GroupKey>,
    ) -> Result<Self, CeremonyError> {
        let index = |name: &String| {
            holders
                .get(name)
                .and_then(|holder| HolderId::new(holder.index))
                .ok_or_else(|| CeremonyError::UnknownHolder {
                    name: name.as_str().into(),
                })
        };
        let named = |names: &[String]| {
            let indices = names
                .iter()
                .map(|name| Ok((index(name)?, name.clone())))
                .collect::<Result<BTreeMap<_, _>, CeremonyError>>()?;
            if indices.len() == names.len() {
                Ok(indices)
            } else {
                Err(CeremonyError::Plan)
            }
        };
        let first = |kind: Kind, plan: &KeyPlan| {
            if current.is_some_and(|current| plan.epoch <= current.epoch()) {
                return Err(CeremonyError::Superseded);
            }
            let receivers = named(&plan.holders)?;
            Ok(Self {
                kind,
                key_id: key_id.to_owned(),
                epoch: plan.epoch,
                generation: 1,
                threshold: plan.threshold,
                dealers: receivers.keys().copied().collect(),
                holders: receivers,
                unbound: plan.unbound,
                suite: plan.suite,
            })
        };
        match order {
            Order::CreateKey(plan) => first(Kind::Create, plan)?.checked(),
            Order::ImportKey(plan) => first(Kind::Import, plan)?.checked(),
            Order::RefreshKey { generation } => {
                let old = Self::of_current(Kind::Refresh, current)?;
                old.allows(&[Suite::Tdh2, Suite::Hybrid])?;
                Self {
                    generation: *generation,
                    ..old.clone()
                }
                .follows(&old)
            }
            Order::ReshareKey {
                generation,
                threshold,
                holders,
                dealers,
            } => {
                let old = Self::of_current(Kind::Reshare, current)?;
                old.allows(&[Suite::Tdh2])?;
                let dealers = named(dealers)?.into_keys().collect();
                old.may_deal(&dealers)?;
                // With a threshold of one whoever receives anything receives the whole key.
                if *threshold < 2 && old.threshold > 1 {
                    return Err(CeremonyError::Plan);
                }
                Self {
                    generation: *generation,
                    threshold: *threshold,
                    holders: named(holders)?,
                    dealers,
                    ..old.clone()
                }
                .follows(&old)
            }
            Order::RepairKey { lost, helpers } => {
                let lost = index(lost)?;
                let old = Self::of_current(Kind::Repair { lost }, current)?;
                old.allows(&[Suite::Tdh2, Suite::Hybrid])?;
                let dealers = named(helpers)?.into_keys().collect();
                old.may_deal(&dealers)?;
                if dealers.contains(&lost) || !old.holders.contains_key(&lost) {
                    return Err(CeremonyError::Plan);
                }
                Self { dealers, ..old }.checked()
            }
            _ => Err(CeremonyError::NotOrdered),
        }
    }

    /// Takes the sharing that is in force.
    fn of_current(kind: Kind, current: Option<&GroupKey>) -> Result<Self, CeremonyError> {
        let current = current.ok_or(CeremonyError::NoKey)?;
        let [part] = current.parts() else {
            return Err(CeremonyError::Plan);
        };
        let holders: BTreeMap<_, _> = current
            .holders()
            .iter()
            .map(|holder| (holder.index, holder.id.to_string()))
            .collect();
        Ok(Self {
            kind,
            key_id: current.key_id().to_owned(),
            epoch: current.epoch(),
            generation: current.generation(),
            threshold: part.t,
            dealers: holders.keys().copied().collect(),
            holders,
            unbound: current.unbound(),
            suite: current.suite(),
        })
    }

    /// Refuses what would leave images without holders that open them: their shares are sealed to the present ones.
    fn allows(&self, suites: &[Suite]) -> Result<(), CeremonyError> {
        if suites.contains(&self.suite) {
            Ok(())
        } else {
            Err(CeremonyError::SealedShares { suite: self.suite })
        }
    }

    /// Refuses dealers that are not exactly a quorum of this sharing.
    fn may_deal(&self, dealers: &BTreeSet<HolderId>) -> Result<(), CeremonyError> {
        let known = dealers
            .iter()
            .all(|dealer| self.holders.contains_key(dealer));
        if known && dealers.len() == usize::from(self.threshold) {
            Ok(())
        } else {
            Err(CeremonyError::Plan)
        }
    }

    fn follows(self, old: &Self) -> Result<Self, CeremonyError> {
        if Some(self.generation) == old.generation.checked_add(1) {
            self.checked()
        } else {
            Err(CeremonyError::Superseded)
        }
    }

    fn checked(self) -> Result<Self, CeremonyError> {
        let possible = self.threshold >= 1
            && usize::from(self.threshold) <= self.holders.len()
            && self.epoch >= 1
            // With a threshold of one every dealer would know the whole key.
            && (self.kind != Kind::Create || self.threshold >= 2)
            // A dealer cannot make the holders' own keys, and stock tools seal no shares.
            && (self.suite == Suite::Tdh2 || (self.kind != Kind::Import && !self.unbound));
        if possible {
            Ok(self)
        } else {
            Err(CeremonyError::Plan)
        }
    }

    /// Returns whether nothing is shared but what is sealed to each holder.
    pub(crate) const fn is_without_scalar(&self) -> bool {
        matches!(self.suite, Suite::SssXwing)
    }

    /// The step whose messages say what each receiver saw.
    pub(crate) const fn outcome(&self) -> Step {
        match self.kind {
            Kind::Create if self.is_without_scalar() => Step::KemKey,
            Kind::Create => Step::DkgFinish,
            Kind::Import => Step::Import,
            Kind::Refresh | Kind::Reshare => Step::Collect,
            Kind::Repair { .. } => Step::RepairFinish,
        }
    }
}
