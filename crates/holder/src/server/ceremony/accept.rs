//! What a holder keeps of a ceremony, and what it accepts.

use sealift_threshold::{GroupKey, HpkePrivateKey, KeyShare, ProofKind};

use super::messages::Message;
use super::plan::Kind;
use super::taking::Taking;
use super::{CeremonyError, Keep, MAX_CANDIDATES, Outcome, sha256};
use crate::server::shares::Candidate;

impl Taking<'_> {
    pub(super) fn accept(&self) -> Result<Outcome, CeremonyError> {
        self.receives()?;
        let descriptor = self.descriptor()?;
        let candidate = self
            .shares
            .candidate(&self.id(), &self.request.ceremony)?
            .ok_or(CeremonyError::NoCandidate)?;
        // Rule (a) of section 14.4: whoever saw something else is named before anything is accepted.
        let outcomes =
            self.messages(self.plan.outcome(), None, self.plan.holders.keys().copied())?;
        self.same_view(&outcomes, &candidate.view)?;
        let public = candidate.commitments.concat();
        let liars: Vec<_> = outcomes
            .iter()
            .filter(|(_, message)| message.public.0 != public)
            .map(|(from, _)| self.name(*from))
            .collect();
        if !liars.is_empty() {
            return Err(CeremonyError::Views { culprits: liars });
        }
        self.same_kem_keys(&descriptor.key, &outcomes)?;
        if descriptor.commitments != candidate.commitments {
            return Err(CeremonyError::Descriptor {
                why: "its commitments are not those of the ceremony",
            });
        }
        candidate
            .share(self.me, self.plan.generation)?
            .verify(&descriptor.key)
            .map_err(|_| CeremonyError::Descriptor {
                why: "the candidate share does not belong to it",
            })?;
        Ok(vec![self.sign(Message {
            view: sha256(&descriptor.octets),
            ..Message::default()
        })?]
        .into())
    }

    /// Reads the candidate descriptor and compares it with the plan.
    pub(super) fn descriptor(&self) -> Result<Descriptor, CeremonyError> {
        let octets = self
            .request
            .descriptor
            .as_ref()
            .ok_or(CeremonyError::Descriptor {
                why: "there is none",
            })?;
        let key = GroupKey::from_json(&octets.0).map_err(|_| CeremonyError::Descriptor {
            why: "it is malformed or contradicts itself",
        })?;
        let fail = |why| Err(CeremonyError::Descriptor { why });
        let [part] = key.parts() else {
            return fail("it has several parts");
        };
        let plan = self.plan;
        if (key.key_id(), key.epoch(), key.generation())
            != (plan.key_id.as_str(), plan.epoch, plan.generation)
        {
            return fail("it is of another key, epoch or generation");
        }
        if part.t != plan.threshold || !part.holders.iter().eq(plan.holders.keys()) {
            return fail("its threshold or holders are not those of the command");
        }
        if key.suite() != plan.suite {
            return fail("its suite is not that of the command");
        }
        if key.unbound() != plan.unbound {
            return fail("it is unbound where the command is not, or the other way round");
        }
        for entry in key.holders() {
            let known = plan
                .holders
                .get(&entry.index)
                .and_then(|name| self.situation.holders.get(name));
            let fits = known.is_some_and(|holder| {
                holder.name == *entry.id && holder.jurisdiction == *entry.jurisdiction
            });
            if !fits {
                return fail("a holder in it has another name or jurisdiction");
            }
        }
        if key
            .holders()
            .iter()
            .any(|entry| entry.proof != ProofKind::Dleq)
        {
            return fail("a holder in it answers without proof");
        }
        if let (Kind::Refresh | Kind::Reshare, Some(current)) = (&plan.kind, self.situation.current)
            && !current.is_same_key(&key)
        {
            return fail("its public keys are not those of the key");
        }
        Ok(Descriptor {
            octets: octets.0.clone(),
            commitments: part.commitments.clone(),
            key,
        })
    }

    /// Keeps the candidate and says what was seen.
    pub(super) fn keep(
        &self,
        view: [u8; 32],
        share: &KeyShare,
        commitments: &[[u8; 33]],
    ) -> Result<Outcome, CeremonyError> {
        let id = self.id();
        // An acceptance may have been signed for the candidate that is there: another one must not take its place.
        match self.shares.candidate(&id, &self.request.ceremony)? {
            Some(before)
                if before.commitments != commitments
                    || before.share(self.me, self.plan.generation)?.to_octets()
                        != share.to_octets() =>
            {
                return Err(CeremonyError::Step);
            }
            Some(_) => {}
            None if self.shares.count(&id)? >= MAX_CANDIDATES => {
                return Err(CeremonyError::TooMany);
            }
            None => {}
        }
        let blob = self
            .shares
            .seal_candidate(&id, &Candidate::new(view, share, commitments))?;
        let messages = vec![self.sign(Message {
            view,
            public: commitments.concat(),
            kem_public_key: share.key().map(HpkePrivateKey::public).map(Into::into),
            ..Message::default()
        })?];
        Ok(Outcome {
            messages,
            keep: Some(Keep::Candidate { id, blob }),
        })
    }
}

/// A candidate descriptor that fits the plan.
pub(super) struct Descriptor {
    pub(super) octets: Vec<u8>,
    pub(super) key: GroupKey,
    pub(super) commitments: Vec<[u8; 33]>,
}
