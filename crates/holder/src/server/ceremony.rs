//! Ceremonies at a holder: distributed generation, import, refresh, reshare and repair (`threshold-spec.md`, section 14).
//!
//! The coordinator carries messages and is trusted with nothing: everything confidential is sealed to its receiver,
//! every message is signed by its sender and names ceremony, key, epoch, generation, sender and receiver, and before a
//! holder accepts a descriptor it has seen that all receivers saw the same. A holder takes part only in the ceremony
//! that the command in force orders.
//!
//! Secrets of a ceremony that is under way are in memory only; what results is a *candidate*, sealed in the store, and
//! becomes the active share when a signed descriptor with the acceptance of every holder in it arrives
//! ([`super::shares`]).

mod error;
mod plan;
mod run;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use sealift_policy::{KeyState, Role};
use sealift_threshold::{
    Culprit, GroupKey, HolderId, KeyRef, ProofKind, Purpose, Received, Repair, RepairScalar,
    ReplyKem, Reshare, SealedReply, Share, ThresholdError, apply_refresh, apply_reshare,
    check_refresh, check_reshare, dkg, hpke_open, hpke_seal, refresh_contribution,
    refreshed_commitments, reshare_contribution, reshared_commitments,
};
use serde_json::json;
use zeroize::Zeroizing;

pub use self::error::{CeremonyError, Fault};
use self::plan::{Kind, Plan};
use self::run::{Phase, Runs};
use super::audit::Entry;
use super::secrets::Secrets;
use super::shares::{Candidate, SealedShares, SharesError, id_of};
use super::state::{Epoch, State};
use super::store::{ShareId, StoreError};
use super::vault::ShareVault;
use super::writer::Writer;
use crate::command::{Command, Order};
use crate::dsse::{self, DsseError, Unverified};
use crate::keys::PublicKey;
use crate::octets::Octets;
use crate::statement::{CEREMONY, CeremonyMessage, HolderDescriptor};
use crate::wire::{CeremonyAnswer, CeremonyRequest, Step};

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
    pub share: Option<&'a Share>,
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
        if plan.kind != Kind::Create || request.step == Step::Accept {
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

/// Answers one step of a ceremony: `POST /v1/keys/{id}/shares`.
///
/// The caller has checked that the operator `actor` may order ceremonies. What the step leaves and its audit row are
/// durable before the answer leaves; a refusal is recorded too, and names the culprit.
///
/// # Errors
///
/// [`StoreError`]; then nothing was answered.
pub async fn serve(
    ceremonies: &Arc<Ceremonies>,
    key_id: &str,
    request: CeremonyRequest,
    actor: &str,
    holder: &Holder,
    writer: &Writer,
    now_ms: u64,
) -> Result<CeremonyAnswer, StoreError> {
    let (state, ceremonies, shares) = (
        writer.state(),
        Arc::clone(ceremonies),
        holder.shares.clone(),
    );
    let holder = holder.clone();
    let (id, question) = (key_id.to_owned(), request.clone());
    let outcome = tokio::task::spawn_blocking(move || {
        let rng = SystemRandom::new();
        order(&state, &id, &question, now_ms).and_then(|order| {
            let situation = Situation {
                now_ms,
                ..order.situation(&id)
            };
            ceremonies.step(&question, &situation, &holder.secrets, &holder.shares, &rng)
        })
    })
    .await
    .unwrap_or(Err(CeremonyError::Interrupted));
    let mut entry = Entry {
        event: "ceremony",
        actor: actor.to_owned(),
        subject: format!("key:{key_id}"),
        decision: "allow",
        detail: json!({ "ceremony": request.ceremony, "step": request.step }),
        ..Entry::default()
    };
    let (answer, keep) = match outcome {
        Ok(Outcome { messages, keep }) => (
            CeremonyAnswer {
                messages,
                refusal: None,
            },
            keep,
        ),
        Err(error) => {
            let refusal = error.refusal();
            entry.decision = "deny";
            entry.reason.clone_from(&refusal.reason);
            entry.detail = json!({ "ceremony": request.ceremony, "step": request.step, "culprits": refusal.culprits });
            (
                CeremonyAnswer {
                    messages: Vec::new(),
                    refusal: Some(refusal),
                },
                None,
            )
        }
    };
    let ceremony = request.ceremony;
    writer
        .transact(move |transaction| {
            transaction.audit(entry);
            match keep {
                Some(Keep::Candidate { id, blob }) => {
                    transaction.put_candidate(&id, &ceremony, blob)
                }
                Some(Keep::Share { id, blob, share }) => {
                    let current = transaction
                        .state()
                        .keys()
                        .get(&id.key_id)
                        .and_then(|key| key.epochs.get(&id.epoch));
                    // A newer generation may have come meanwhile: then this share is a thing of the past.
                    if current.is_some_and(|epoch| epoch.group.generation() == id.generation) {
                        // After a missed refresh the old share is still there.
                        if let Err(error) = shares.destroy(&id, transaction) {
                            tracing::error!(key = id.key_id, %error, "older shares are left");
                        }
                        transaction.put_share(&id, blob);
                        transaction
                            .state_mut()
                            .set_share(&id.key_id, id.epoch, Some(share));
                    }
                }
                None => {}
            }
        })
        .await?;
    Ok(answer)
}

/// What a holder brings into a ceremony.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Its keys.
    pub secrets: Arc<Secrets>,
    /// Its shares.
    pub shares: SealedShares,
}

/// A ceremony command that was applied here, and what is known of its key.
struct Ordered {
    command: [u8; 32],
    order: Order,
    holders: BTreeMap<String, HolderDescriptor>,
    current: Option<Epoch>,
    administrators: Vec<PublicKey>,
}

impl Ordered {
    fn situation<'a>(&'a self, key_id: &'a str) -> Situation<'a> {
        Situation {
            now_ms: 0,
            key_id,
            command: self.command,
            order: &self.order,
            holders: &self.holders,
            current: self.current.as_ref().map(|epoch| &*epoch.group),
            share: self
                .current
                .as_ref()
                .and_then(|epoch| epoch.share.as_deref()),
            administrators: &self.administrators,
        }
    }
}

/// Finds the command that orders the ceremony among those that were verified and applied.
fn order(
    state: &State,
    key_id: &str,
    request: &CeremonyRequest,
    now_ms: u64,
) -> Result<Ordered, CeremonyError> {
    let envelope = Unverified::parse(&request.command.0).map_err(|_| CeremonyError::NotOrdered)?;
    let digest = sha256(envelope.unverified_payload());
    state.command(&digest).ok_or(CeremonyError::NotOrdered)?;
    let command: Command = serde_json::from_slice(envelope.unverified_payload())
        .map_err(|_| CeremonyError::NotOrdered)?;
    let key = state.keys().get(key_id).ok_or(CeremonyError::NoKey)?;
    if command.subject != format!("key:{key_id}") {
        return Err(CeremonyError::NotOrdered);
    }
    if matches!(
        key.state(now_ms),
        KeyState::PendingDeletion | KeyState::Deleted
    ) {
        return Err(CeremonyError::Closed);
    }
    if let Order::CreateKey(plan) | Order::ImportKey(plan) = &command.order
        && key.plan_of(plan.epoch) != Some(plan)
    {
        return Err(CeremonyError::Superseded);
    }
    let admins = state
        .operators()
        .values()
        .filter(|operator| operator.role == Role::SecurityAdmin);
    Ok(Ordered {
        command: digest,
        order: command.order,
        holders: state
            .deployment()
            .holders()
            .map(|holder| (holder.name.clone(), holder.clone()))
            .collect(),
        current: key.epochs.last_key_value().map(|(_, epoch)| epoch.clone()),
        administrators: admins.map(|operator| operator.key.clone()).collect(),
    })
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
        share: Share,
    },
}

/// One step being taken.
struct Taking<'a> {
    request: &'a CeremonyRequest,
    situation: &'a Situation<'a>,
    plan: &'a Plan,
    me: HolderId,
    secrets: &'a Secrets,
    shares: &'a SealedShares,
    rng: &'a dyn SecureRandom,
}

impl Taking<'_> {
    fn generate(&self, phase: &mut Phase) -> Result<Outcome, CeremonyError> {
        match self.request.step {
            Step::DkgRound1 => self.round1(phase),
            Step::DkgRound2 => self.round2(phase),
            Step::DkgFinish => self.finish(phase),
            _ => Err(CeremonyError::Step),
        }
    }

    fn take(&self) -> Result<Outcome, CeremonyError> {
        match (&self.plan.kind, self.request.step) {
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

    fn round1(&self, phase: &mut Phase) -> Result<Outcome, CeremonyError> {
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

    fn round2(&self, phase: &mut Phase) -> Result<Outcome, CeremonyError> {
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

    fn finish(&self, phase: &mut Phase) -> Result<Outcome, CeremonyError> {
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
        self.keep(view, &outcome.share, &outcome.commitments)
    }

    fn import(&self) -> Result<Outcome, CeremonyError> {
        self.receives()?;
        let descriptor = self.descriptor()?;
        let [envelope] = self.request.messages.as_slice() else {
            return Err(CeremonyError::Dealer {
                fault: Fault::Missing,
            });
        };
        let message = dsse::verify(&envelope.0, CEREMONY, self.situation.administrators)
            .map_err(|_| CeremonyError::Dealer {
                fault: Fault::Signature,
            })
            .and_then(|verified| {
                parse(&verified.payload).ok_or(CeremonyError::Dealer {
                    fault: Fault::Malformed,
                })
            })?;
        let view = sha256(&descriptor.octets);
        self.check(&message, Step::Import, 0, self.me.get())
            .map_err(|fault| CeremonyError::Dealer { fault })?;
        if message.view.0 != view {
            return Err(CeremonyError::Dealer { fault: Fault::View });
        }
        let purpose = Purpose::Import {
            key: self.key(),
            to: self.me,
            descriptor: &descriptor.octets,
        };
        let sealed = SealedReply {
            enc: message.enc.0,
            ct: message.ct.0,
        };
        let octets = hpke_open(self.secrets.hpke(), &purpose.info(), &sealed)
            .ok()
            .and_then(|octets| scalar(&octets))
            .ok_or(CeremonyError::Dealer {
                fault: Fault::Sealed,
            })?;
        let share = Share::from_octets(self.me, self.plan.generation, octets).map_err(|_| {
            CeremonyError::Dealer {
                fault: Fault::Share,
            }
        })?;
        share
            .verify(&descriptor.key)
            .map_err(|_| CeremonyError::Dealer {
                fault: Fault::Share,
            })?;
        self.keep(view, &share, &descriptor.commitments)
    }

    fn deal(&self) -> Result<Outcome, CeremonyError> {
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
            })?);
        }
        Ok(answer.into())
    }

    fn collect(&self) -> Result<Outcome, CeremonyError> {
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
        self.keep(view, &share, &commitments)
    }

    fn repair_split(&self, lost: HolderId) -> Result<Outcome, CeremonyError> {
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

    fn repair_sum(&self, lost: HolderId) -> Result<Outcome, CeremonyError> {
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

    fn repair_finish(&self, lost: HolderId) -> Result<Outcome, CeremonyError> {
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

    fn accept(&self) -> Result<Outcome, CeremonyError> {
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
    fn descriptor(&self) -> Result<Descriptor, CeremonyError> {
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
            && current.public_key() != key.public_key()
        {
            return fail("its public key is not that of the key");
        }
        Ok(Descriptor {
            octets: octets.0.clone(),
            commitments: part.commitments.clone(),
            key,
        })
    }

    /// Keeps the candidate and says what was seen.
    fn keep(
        &self,
        view: [u8; 32],
        share: &Share,
        commitments: &[[u8; 33]],
    ) -> Result<Outcome, CeremonyError> {
        let id = self.id();
        // An acceptance may have been signed for the candidate that is there: another one must not take its place.
        match self.shares.candidate(&id, &self.request.ceremony)? {
            Some(before) if before.commitments != commitments => return Err(CeremonyError::Step),
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
            ..Message::default()
        })?];
        Ok(Outcome {
            messages,
            keep: Some(Keep::Candidate { id, blob }),
        })
    }

    /// Reads the messages of `step`: exactly one from each of `senders`, to `to` or to everybody.
    fn messages(
        &self,
        step: Step,
        to: Option<HolderId>,
        senders: impl Iterator<Item = HolderId>,
    ) -> Result<BTreeMap<HolderId, CeremonyMessage>, CeremonyError> {
        self.takes_part()?;
        let mut missing: BTreeMap<HolderId, PublicKey> = BTreeMap::new();
        for sender in senders {
            missing.insert(sender, self.signing_key(sender)?);
        }
        let mut messages = BTreeMap::new();
        for envelope in &self.request.messages {
            let unverified =
                Unverified::parse(&envelope.0).map_err(|_| CeremonyError::Message {
                    fault: Fault::Malformed,
                })?;
            let claimed = parse(unverified.unverified_payload()).ok_or(CeremonyError::Message {
                fault: Fault::Malformed,
            })?;
            let from = HolderId::new(claimed.from).ok_or(CeremonyError::Message {
                fault: Fault::Sender,
            })?;
            if messages.contains_key(&from) {
                return Err(self.fault(from, Fault::Repeated));
            }
            let key = missing
                .remove(&from)
                .ok_or_else(|| self.fault(from, Fault::Sender))?;
            let verified = unverified.verify(CEREMONY, [&key]).map_err(|error| {
                self.fault(
                    from,
                    match error {
                        DsseError::PayloadType => Fault::Malformed,
                        _ => Fault::Signature,
                    },
                )
            })?;
            let message =
                parse(&verified.payload).ok_or_else(|| self.fault(from, Fault::Malformed))?;
            self.check(&message, step, from.get(), to.map_or(0, HolderId::get))
                .map_err(|fault| self.fault(from, fault))?;
            messages.insert(from, message);
        }
        match missing.into_keys().next() {
            Some(silent) => Err(self.fault(silent, Fault::Missing)),
            None => Ok(messages),
        }
    }

    /// Refuses a message that was made for something else.
    fn check(&self, message: &CeremonyMessage, step: Step, from: u8, to: u8) -> Result<(), Fault> {
        let plan = self.plan;
        if message.ceremony != self.request.ceremony {
            Err(Fault::Ceremony)
        } else if (message.key_id.as_str(), message.epoch, message.generation)
            != (plan.key_id.as_str(), plan.epoch, plan.generation)
        {
            Err(Fault::Key)
        } else if message.step != step {
            Err(Fault::Step)
        } else if message.from != from {
            Err(Fault::Sender)
        } else if message.to != to {
            Err(Fault::Receiver)
        } else {
            Ok(())
        }
    }

    /// Names everybody whose view is not `view`.
    fn same_view(
        &self,
        messages: &BTreeMap<HolderId, CeremonyMessage>,
        view: &[u8; 32],
    ) -> Result<(), CeremonyError> {
        let culprits: Vec<_> = messages
            .iter()
            .filter(|(_, message)| message.view.0 != view)
            .map(|(from, _)| self.name(*from))
            .collect();
        if culprits.is_empty() {
            Ok(())
        } else {
            Err(CeremonyError::Views { culprits })
        }
    }

    /// Opens one scalar from each helper.
    fn scalars(
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

    fn open_scalar(
        &self,
        from: HolderId,
        purpose: &Purpose<'_>,
        message: CeremonyMessage,
    ) -> Result<Zeroizing<[u8; 32]>, CeremonyError> {
        let sealed = SealedReply {
            enc: message.enc.0,
            ct: message.ct.0,
        };
        hpke_open(self.secrets.hpke(), &purpose.info(), &sealed)
            .ok()
            .and_then(|octets| scalar(&octets))
            .ok_or_else(|| self.fault(from, Fault::Sealed))
    }

    fn seal(
        &self,
        to: HolderId,
        purpose: &Purpose<'_>,
        secret: &[u8],
    ) -> Result<SealedReply, CeremonyError> {
        let holder = self.holder(to)?;
        hpke_seal(
            ReplyKem::P256,
            &holder.hpke_key.0,
            &purpose.info(),
            secret,
            self.rng,
        )
        .map_err(|e| self.blame(e))
    }

    fn sign(&self, message: Message) -> Result<Octets, CeremonyError> {
        let message = CeremonyMessage {
            ceremony: self.request.ceremony.clone(),
            key_id: self.plan.key_id.clone(),
            epoch: self.plan.epoch,
            generation: self.plan.generation,
            step: self.request.step,
            from: self.me.get(),
            to: message.to.map_or(0, HolderId::get),
            view: message.view[..].into(),
            public: message.public.into(),
            enc: message.sealed.enc.into(),
            ct: message.sealed.ct.into(),
        };
        let payload = serde_json::to_vec(&message).map_err(|_| CeremonyError::Message {
            fault: Fault::Malformed,
        })?;
        let envelope = dsse::sign(CEREMONY, &payload, &[self.secrets.signing()], self.rng)?;
        Ok(envelope.into())
    }

    fn takes_part(&self) -> Result<(), CeremonyError> {
        if self.plan.holders.contains_key(&self.me) || self.plan.dealers.contains(&self.me) {
            Ok(())
        } else {
            Err(CeremonyError::NotAskedFor)
        }
    }

    fn receives(&self) -> Result<(), CeremonyError> {
        if self.plan.holders.contains_key(&self.me) {
            Ok(())
        } else {
            Err(CeremonyError::NotAskedFor)
        }
    }

    fn deals(&self) -> Result<&GroupKey, CeremonyError> {
        if self.plan.dealers.contains(&self.me) {
            self.current()
        } else {
            Err(CeremonyError::NotAskedFor)
        }
    }

    fn current(&self) -> Result<&GroupKey, CeremonyError> {
        self.situation.current.ok_or(CeremonyError::NoKey)
    }

    fn share(&self) -> Result<&Share, CeremonyError> {
        self.situation
            .share
            .ok_or(CeremonyError::Shares(SharesError::NoShare))
    }

    fn repair(&self, current: &GroupKey, lost: HolderId) -> Result<Repair, CeremonyError> {
        Repair::new(current, lost, self.plan.dealers.clone()).map_err(|e| self.blame(e))
    }

    fn id(&self) -> ShareId {
        ShareId {
            key_id: self.plan.key_id.clone(),
            epoch: self.plan.epoch,
            generation: self.plan.generation,
        }
    }

    fn holder(&self, index: HolderId) -> Result<&HolderDescriptor, CeremonyError> {
        self.situation
            .holders
            .values()
            .find(|holder| holder.index == index.get())
            .ok_or_else(|| CeremonyError::UnknownHolder {
                name: format!("index {index}").into(),
            })
    }

    fn signing_key(&self, index: HolderId) -> Result<PublicKey, CeremonyError> {
        let holder = self.holder(index)?;
        PublicKey::from_spki(&holder.signing_key.0).map_err(|_| CeremonyError::UnknownHolder {
            name: holder.name.as_str().into(),
        })
    }

    fn name(&self, index: HolderId) -> Box<str> {
        match self.holder(index) {
            Ok(holder) => holder.name.as_str().into(),
            Err(_) => format!("index {index}").into(),
        }
    }

    fn fault(&self, from: HolderId, fault: Fault) -> CeremonyError {
        CeremonyError::Holder {
            name: self.name(from),
            fault,
        }
    }

    /// Translates whom the arithmetic names.
    fn blame(&self, error: ThresholdError) -> CeremonyError {
        let culprit = match error.culprit {
            Culprit::Holder(Some(holder)) => Some(self.name(holder)),
            _ => None,
        };
        CeremonyError::Arithmetic {
            culprit,
            source: error,
        }
    }

    fn reshare(&self) -> Reshare {
        Reshare {
            set: self.plan.dealers.clone(),
            t: self.plan.threshold,
            receivers: self.plan.holders.keys().copied().collect(),
        }
    }

    fn key(&self) -> KeyRef<'_> {
        KeyRef {
            key_id: &self.plan.key_id,
            epoch: self.plan.epoch,
            generation: self.plan.generation,
        }
    }

    /// What a dealer relies on: the order and the sharing that it starts from.
    fn view_of_current(&self, current: &GroupKey) -> [u8; 32] {
        sha256(&[&self.situation.command[..], &current.to_json()].concat())
    }
}

impl From<Vec<Octets>> for Outcome {
    fn from(messages: Vec<Octets>) -> Self {
        Self {
            messages,
            keep: None,
        }
    }
}

/// The parts of a message that differ from step to step.
struct Message {
    to: Option<HolderId>,
    view: [u8; 32],
    public: Vec<u8>,
    sealed: SealedReply,
}

impl Default for Message {
    fn default() -> Self {
        Self {
            to: None,
            view: [0; 32],
            public: Vec::new(),
            sealed: SealedReply {
                enc: Vec::new(),
                ct: Vec::new(),
            },
        }
    }
}

/// A candidate descriptor that fits the plan.
struct Descriptor {
    octets: Vec<u8>,
    key: GroupKey,
    commitments: Vec<[u8; 33]>,
}

fn of(key: &GroupKey) -> KeyRef<'_> {
    KeyRef {
        key_id: key.key_id(),
        epoch: key.epoch(),
        generation: key.generation(),
    }
}

fn parse(payload: &[u8]) -> Option<CeremonyMessage> {
    serde_json::from_slice(payload).ok()
}

fn scalar(octets: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    octets.try_into().ok().map(Zeroizing::new)
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
