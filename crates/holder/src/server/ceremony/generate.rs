//! Distributed generation: nobody ever has the key.

use std::collections::BTreeMap;

use sealift_threshold::{HolderId, Purpose, dkg};

use super::messages::Message;
use super::run::Phase;
use super::taking::Taking;
use super::{CeremonyError, Fault, Outcome};
use crate::wire::Step;

impl Taking<'_> {
    pub(super) fn round1(&self, phase: &mut Phase) -> Result<Outcome, CeremonyError> {
        self.receives()?;
        if !matches!(phase, Phase::Begun) {
            return Err(CeremonyError::Step);
        }
        let holders = self.plan.holders.keys().copied().collect();
        let (secret, package) = dkg::part1(self.me, self.plan.threshold, &holders, self.rng)
            .map_err(|e| self.blame(e))?;
        let message = self.sign(Message {
            view: self.situation.command,
            public: package,
            ..Message::default()
        })?;
        *phase = Phase::Round1(secret);
        Ok(Outcome::from(vec![message]))
    }

    pub(super) fn round2(&self, phase: &mut Phase) -> Result<Outcome, CeremonyError> {
        if !matches!(phase, Phase::Round1(_)) {
            return Err(CeremonyError::Step);
        }
        let messages = self.messages(Step::DkgRound1, None, self.plan.holders.keys().copied())?;
        for (from, message) in &messages {
            if message.view.0 != self.situation.command {
                return Err(self.fault(*from, Fault::View));
            }
        }
        let packages: BTreeMap<HolderId, Vec<u8>> = messages
            .into_iter()
            .map(|(from, message)| (from, message.public.0))
            .collect();
        // From here on the secret of round 1 is used up: it must not meet a second set of packages.
        let Phase::Round1(secret) = std::mem::take(phase) else {
            return Err(CeremonyError::Step);
        };
        *phase = Phase::Spent;
        let view = dkg::round1_digest(&packages);
        let (secret, scalars) = dkg::part2(secret, &packages).map_err(|e| self.blame(e))?;
        let mut answer = Vec::with_capacity(scalars.len());
        for (to, scalar) in &scalars {
            let purpose = Purpose::Generation {
                key: self.key(),
                from: self.me,
                to: *to,
                round1_digest: &view,
            };
            let sealed = self.seal(*to, &purpose, &scalar[..])?;
            answer.push(self.sign(Message {
                to: Some(*to),
                view,
                sealed,
                ..Message::default()
            })?);
        }
        *phase = Phase::Round2 { secret, view };
        Ok(answer.into())
    }

    pub(super) fn finish(&self, phase: &mut Phase) -> Result<Outcome, CeremonyError> {
        let others = self
            .plan
            .holders
            .keys()
            .copied()
            .filter(|holder| *holder != self.me);
        let messages = self.messages(Step::DkgRound2, Some(self.me), others)?;
        let Phase::Round2 { view, .. } = phase else {
            return Err(CeremonyError::Step);
        };
        let view = *view;
        self.same_view(&messages, &view)?;
        let mut scalars = BTreeMap::new();
        for (from, message) in messages {
            let purpose = Purpose::Generation {
                key: self.key(),
                from,
                to: self.me,
                round1_digest: &view,
            };
            scalars.insert(from, self.open_scalar(from, &purpose, message)?);
        }
        let Phase::Round2 { secret, .. } = std::mem::take(phase) else {
            return Err(CeremonyError::Step);
        };
        *phase = Phase::Spent;
        let outcome = dkg::part3(secret, &scalars).map_err(|e| self.blame(e))?;
        self.keep(view, &self.complete(outcome.share)?, &outcome.commitments)
    }
}
