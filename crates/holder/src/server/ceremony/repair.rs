//! Repair: one lost share, made again by the others.

use std::collections::BTreeMap;

use sealift_threshold::{
    Culprit, GroupKey, HolderId, KeyShare, Purpose, Repair, RepairScalar, Suite,
};

use super::messages::Message;
use super::taking::{Taking, of};
use super::{CeremonyError, Keep, Outcome};
use crate::server::shares::id_of;
use crate::wire::Step;

impl Taking<'_> {
    pub(super) fn repair_split(&self, lost: HolderId) -> Result<Outcome, CeremonyError> {
        let current = self.deals()?;
        let summands = self
            .repair(current, lost)?
            .split(self.share()?, self.rng)
            .map_err(|e| self.blame(e))?;
        let view = self.view_of_current(current);
        let mut answer = Vec::with_capacity(summands.len());
        for (to, summand) in &summands {
            let purpose = Purpose::Contribution {
                key: of(current),
                from: self.me,
                to: *to,
            };
            let sealed = self.seal(*to, &purpose, summand.expose())?;
            answer.push(self.sign(Message {
                to: Some(*to),
                view,
                sealed,
                ..Message::default()
            })?);
        }
        Ok(answer.into())
    }

    pub(super) fn repair_sum(&self, lost: HolderId) -> Result<Outcome, CeremonyError> {
        let current = self.deals()?;
        let view = self.view_of_current(current);
        let summands = self.scalars(Step::RepairSplit, current, &view)?;
        let sum = self
            .repair(current, lost)?
            .sum(&summands)
            .map_err(|e| self.blame(e))?;
        let purpose = Purpose::Contribution {
            key: of(current),
            from: self.me,
            to: lost,
        };
        let sealed = self.seal(lost, &purpose, sum.expose())?;
        Ok(vec![self.sign(Message {
            to: Some(lost),
            view,
            sealed,
            ..Message::default()
        })?]
        .into())
    }

    pub(super) fn repair_finish(&self, lost: HolderId) -> Result<Outcome, CeremonyError> {
        if self.me != lost {
            return Err(CeremonyError::NotAskedFor);
        }
        let current = self.current()?;
        let view = self.view_of_current(current);
        let sums = self.scalars(Step::RepairSum, current, &view)?;
        let share =
            self.repair(current, lost)?
                .finish(current, &sums)
                .map_err(|error| match error.culprit {
                    Culprit::Holder(Some(_)) => self.blame(error),
                    _ => CeremonyError::Repair {
                        helpers: self
                            .plan
                            .dealers
                            .iter()
                            .map(|helper| self.name(*helper))
                            .collect(),
                    },
                })?;
        let share = if self.plan.suite == Suite::Hybrid {
            let key = self.shares.kem_key(current)?;
            KeyShare::Hybrid(share, key.ok_or(CeremonyError::KemKeyLost)?)
        } else {
            share.into()
        };
        // The same share of the same generation: no new descriptor is needed.
        let id = id_of(current);
        let blob = self.shares.seal_share(&id, &share)?;
        let messages = vec![self.sign(Message {
            view,
            ..Message::default()
        })?];
        Ok(Outcome {
            messages,
            keep: Some(Keep::Share { id, blob, share }),
        })
    }

    /// Opens one scalar from each helper.
    pub(super) fn scalars(
        &self,
        step: Step,
        current: &GroupKey,
        view: &[u8; 32],
    ) -> Result<BTreeMap<HolderId, RepairScalar>, CeremonyError> {
        let messages = self.messages(step, Some(self.me), self.plan.dealers.iter().copied())?;
        self.same_view(&messages, view)?;
        let mut scalars = BTreeMap::new();
        for (from, message) in messages {
            let purpose = Purpose::Contribution {
                key: of(current),
                from,
                to: self.me,
            };
            scalars.insert(
                from,
                RepairScalar::from_octets(self.open_scalar(from, &purpose, message)?),
            );
        }
        Ok(scalars)
    }

    pub(super) fn repair(
        &self,
        current: &GroupKey,
        lost: HolderId,
    ) -> Result<Repair, CeremonyError> {
        Repair::new(current, lost, self.plan.dealers.clone()).map_err(|e| self.blame(e))
    }
}
