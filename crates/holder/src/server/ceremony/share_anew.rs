//! Refresh and reshare: new shares of the same key.

use std::collections::BTreeMap;

use sealift_threshold::{
    Purpose, Received, Reshare, apply_refresh, apply_reshare, check_refresh, check_reshare, dkg,
    refresh_contribution, refreshed_commitments, reshare_contribution, reshared_commitments,
};

use super::messages::Message;
use super::plan::Kind;
use super::taking::{Taking, of};
use super::{CeremonyError, Fault, Outcome, points};
use crate::wire::Step;

impl Taking<'_> {
    pub(super) fn deal(&self) -> Result<Outcome, CeremonyError> {
        let current = self.deals()?;
        // A refresh does not use the share, but a holder that lost its share cannot take part in one.
        let share = self.share()?;
        let contribution = if self.plan.kind == Kind::Refresh {
            let receivers = self.plan.holders.keys().copied().collect();
            refresh_contribution(current, self.me, &receivers, self.rng)
        } else {
            reshare_contribution(current, share, &self.reshare(), self.rng)
        }
        .map_err(|e| self.blame(e))?;
        let public = contribution.commitments.concat();
        let view = self.view_of_current(current);
        let mut answer = Vec::with_capacity(contribution.values.len());
        for (to, value) in &contribution.values {
            let purpose = Purpose::Contribution {
                key: of(current),
                from: self.me,
                to: *to,
            };
            let sealed = self.seal(*to, &purpose, &value[..])?;
            answer.push(self.sign(Message {
                to: Some(*to),
                view,
                public: public.clone(),
                sealed,
                ..Message::default()
            })?);
        }
        Ok(answer.into())
    }

    pub(super) fn collect(&self) -> Result<Outcome, CeremonyError> {
        self.receives()?;
        let current = self.current()?;
        let messages =
            self.messages(Step::Deal, Some(self.me), self.plan.dealers.iter().copied())?;
        self.same_view(&messages, &self.view_of_current(current))?;
        let view = dkg::round1_digest(
            &messages
                .iter()
                .map(|(from, message)| (*from, message.public.0.clone()))
                .collect(),
        );
        let mut dealt = BTreeMap::new();
        let mut values = BTreeMap::new();
        for (from, message) in messages {
            let purpose = Purpose::Contribution {
                key: of(current),
                from,
                to: self.me,
            };
            let commitments =
                points(&message.public.0).ok_or_else(|| self.fault(from, Fault::Malformed))?;
            values.insert(from, self.open_scalar(from, &purpose, message)?);
            dealt.insert(from, commitments);
        }
        let received = dealt.iter().filter_map(|(from, commitments)| {
            let value = values.get(from)?;
            Some(Received {
                from: *from,
                to: self.me,
                commitments,
                value,
            })
        });
        let (share, commitments) = if self.plan.kind == Kind::Refresh {
            let old = self.share()?;
            let checked = received
                .map(|one| check_refresh(current, &one))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| self.blame(e))?;
            (
                apply_refresh(old, &checked),
                refreshed_commitments(current, &dealt),
            )
        } else {
            let plan = self.reshare();
            let checked = received
                .map(|one| check_reshare(current, &plan, &one))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| self.blame(e))?;
            (
                apply_reshare(&checked),
                reshared_commitments(current, &plan, &dealt),
            )
        };
        let share = share.map_err(|e| self.blame(e))?;
        let commitments = commitments.map_err(|e| self.blame(e))?;
        self.keep(view, &self.complete(share)?, &commitments)
    }

    pub(super) fn reshare(&self) -> Reshare {
        Reshare {
            set: self.plan.dealers.clone(),
            t: self.plan.threshold,
            receivers: self.plan.holders.keys().copied().collect(),
        }
    }
}
