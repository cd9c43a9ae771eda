//! Coordinating ceremonies: carrying messages between holders, building the descriptor, collecting acceptances.
//!
//! The coordinator is trusted with nothing but its time: what it carries is signed and what is confidential is sealed.
//! A ceremony that fails leaves nothing in force. Begin it anew with the same command; holders forget the failed
//! attempt. One that has come as far as [`Prepared`] can be put aside and announced later, when a second administrator
//! has signed.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SecureRandom;
use futures_util::future::join_all;
use sealift_threshold::{
    Dealt, DescriptorParts, GroupKey, HolderEntry, HolderId, KeyRef, Part, ProofKind, Purpose,
    ReplyKem, Suite, ThresholdError, hpke_seal, public_share,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::http::HolderClient;
use crate::command::{Command, KeyPlan, Order};
use crate::deployment::DeploymentId;
use crate::dsse::{self, DsseError};
use crate::keys::{PublicKey, SigningKey};
use crate::octets::Octets;
use crate::statement::{CEREMONY, COMMAND, CeremonyMessage, HolderDescriptor, KEY_DESCRIPTOR};
use crate::wire::{CeremonyAnswer, CeremonyRequest, Code, Step};

/// How steps reach a holder.
pub trait Transport: Sync {
    /// Asks one holder to take one step; a refusal is an answer, not an error.
    fn step(
        &self,
        holder: &str,
        key_id: &str,
        request: &CeremonyRequest,
    ) -> impl Future<Output = Result<CeremonyAnswer, Box<dyn Error + Send + Sync>>> + Send;
}

impl Transport for BTreeMap<String, HolderClient> {
    async fn step(
        &self,
        holder: &str,
        key_id: &str,
        request: &CeremonyRequest,
    ) -> Result<CeremonyAnswer, Box<dyn Error + Send + Sync>> {
        let client = self.get(holder).ok_or_else(|| {
            Box::new(CeremonyFailure::UnknownHolder {
                holder: holder.into(),
            })
        })?;
        Ok(client.ceremony(key_id, request).await?)
    }
}

/// One attempt at the ceremony that a command orders.
pub struct Coordinator<'a, T> {
    transport: &'a T,
    holders: &'a [HolderDescriptor],
    key_id: &'a str,
    command: Octets,
    ceremony: String,
}

impl<T> std::fmt::Debug for Coordinator<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Coordinator(ceremony {} for key {})",
            self.ceremony, self.key_id
        )
    }
}

impl<'a, T: Transport> Coordinator<'a, T> {
    /// Begins an attempt. `command` is the envelope that all holders have applied; `holders` are all of them.
    ///
    /// # Errors
    ///
    /// [`CeremonyFailure::Randomness`].
    pub fn new(
        transport: &'a T,
        holders: &'a [HolderDescriptor],
        key_id: &'a str,
        command: &[u8],
        rng: &dyn SecureRandom,
    ) -> Result<Self, CeremonyFailure> {
        let mut name = [0; 16];
        rng.fill(&mut name)
            .map_err(|_| CeremonyFailure::Randomness)?;
        Ok(Self {
            transport,
            holders,
            key_id,
            command: command.into(),
            ceremony: hex::encode(name),
        })
    }

    /// Generates a key among its holders.
    ///
    /// # Errors
    ///
    /// [`CeremonyFailure`], naming the holder that failed and whom it blames.
    pub async fn create(&self, plan: &KeyPlan) -> Result<Prepared, CeremonyFailure> {
        let to = self.named(&plan.holders)?;
        if plan.suite == Suite::SssXwing {
            let outcomes = self
                .ask_all(&to, Step::KemKey, |_| Vec::new(), None)
                .await?;
            return self
                .conclude(&to, &Sharing::of_plan(plan, Vec::new()), &outcomes)
                .await;
        }
        let round1 = self
            .ask_all(&to, Step::DkgRound1, |_| Vec::new(), None)
            .await?;
        let round1: Vec<Octets> = round1.into_iter().map(|message| message.envelope).collect();
        let round2 = self
            .ask_all(&to, Step::DkgRound2, |_| round1.clone(), None)
            .await?;
        let outcomes = self
            .ask_all(&to, Step::DkgFinish, |to| addressed(&round2, to), None)
            .await?;
        let sharing = Sharing::of_plan(plan, agreed(&outcomes)?);
        self.conclude(&to, &sharing, &outcomes).await
    }

    /// Brings a key that was dealt on this machine; `dealer` is an administrator's key.
    ///
    /// # Errors
    ///
    /// [`CeremonyFailure`], naming the holder that failed.
    pub async fn import(
        &self,
        plan: &KeyPlan,
        dealt: &Dealt,
        dealer: &SigningKey,
        rng: &dyn SecureRandom,
    ) -> Result<Prepared, CeremonyFailure> {
        let to = self.named(&plan.holders)?;
        let sharing = Sharing::of_plan(plan, dealt.commitments.clone());
        let descriptor = self.descriptor(&to, &sharing, &[])?;
        let mut sealed = BTreeMap::new();
        for (index, holder) in &to {
            let share = dealt.shares.get(index).ok_or(CeremonyFailure::Plan)?;
            let key = KeyRef {
                key_id: self.key_id,
                epoch: sharing.epoch,
                generation: sharing.generation,
            };
            let purpose = Purpose::Import {
                key,
                to: *index,
                descriptor: &descriptor,
            };
            let share = hpke_seal(
                ReplyKem::P256,
                &holder.hpke_key.0,
                &purpose.info(),
                share.expose(),
                rng,
            )
            .map_err(|source| CeremonyFailure::Arithmetic { source })?;
            let message = CeremonyMessage {
                ceremony: self.ceremony.clone(),
                key_id: self.key_id.to_owned(),
                epoch: sharing.epoch,
                generation: sharing.generation,
                step: Step::Import,
                from: 0,
                to: index.get(),
                view: sha256(&descriptor),
                public: Octets::default(),
                enc: share.enc.into(),
                ct: share.ct.into(),
                kem_public_key: None,
            };
            let payload = serde_json::to_vec(&message).map_err(|_| CeremonyFailure::Plan)?;
            sealed.insert(
                *index,
                Octets(dsse::sign(CEREMONY, &payload, &[dealer], rng)?),
            );
        }
        let of = |to| sealed.get(&to).cloned().into_iter().collect();
        let outcomes = self
            .ask_all(&to, Step::Import, of, Some(&descriptor))
            .await?;
        self.accept(&to, descriptor, &outcomes).await
    }

    /// Gives the holders of `current` new shares of the same key.
    ///
    /// # Errors
    ///
    /// [`CeremonyFailure`], naming the holder that failed and whom it blames.
    pub async fn refresh(&self, current: &GroupKey) -> Result<Prepared, CeremonyFailure> {
        let [part] = current.parts() else {
            return Err(CeremonyFailure::Plan);
        };
        let names: Vec<String> = current
            .holders()
            .iter()
            .map(|holder| holder.id.to_string())
            .collect();
        self.share_anew(current, part.t, &names, &names).await
    }

    /// Gives other holders shares of the same key; exactly the old threshold of old holders deal.
    ///
    /// # Errors
    ///
    /// [`CeremonyFailure`], naming the holder that failed and whom it blames.
    pub async fn reshare(
        &self,
        current: &GroupKey,
        threshold: u8,
        holders: &[String],
        dealers: &[String],
    ) -> Result<Prepared, CeremonyFailure> {
        self.share_anew(current, threshold, holders, dealers).await
    }

    async fn share_anew(
        &self,
        current: &GroupKey,
        threshold: u8,
        holders: &[String],
        dealers: &[String],
    ) -> Result<Prepared, CeremonyFailure> {
        let (to, from) = (self.named(holders)?, self.named(dealers)?);
        let dealt = self
            .ask_all(&from, Step::Deal, |_| Vec::new(), None)
            .await?;
        let outcomes = self
            .ask_all(&to, Step::Collect, |to| addressed(&dealt, to), None)
            .await?;
        let sharing = Sharing {
            epoch: current.epoch(),
            generation: current
                .generation()
                .checked_add(1)
                .ok_or(CeremonyFailure::Plan)?,
            threshold,
            unbound: current.unbound(),
            commitments: agreed(&outcomes)?,
        };
        self.conclude(&to, &sharing, &outcomes).await
    }

    /// Makes the lost share of one holder again; it is active at once.
    ///
    /// # Errors
    ///
    /// [`CeremonyFailure`], naming the holder that failed and whom it blames.
    pub async fn repair(&self, lost: &str, helpers: &[String]) -> Result<(), CeremonyFailure> {
        let (lost, from) = (self.named(&[lost.to_owned()])?, self.named(helpers)?);
        let split = self
            .ask_all(&from, Step::RepairSplit, |_| Vec::new(), None)
            .await?;
        let sums = self
            .ask_all(&from, Step::RepairSum, |to| addressed(&split, to), None)
            .await?;
        self.ask_all(&lost, Step::RepairFinish, |to| addressed(&sums, to), None)
            .await?;
        Ok(())
    }

    async fn conclude(
        &self,
        to: &Holders<'_>,
        sharing: &Sharing,
        outcomes: &[Message],
    ) -> Result<Prepared, CeremonyFailure> {
        let descriptor = self.descriptor(to, sharing, outcomes)?;
        self.accept(to, descriptor, outcomes).await
    }

    async fn accept(
        &self,
        to: &Holders<'_>,
        descriptor: Vec<u8>,
        outcomes: &[Message],
    ) -> Result<Prepared, CeremonyFailure> {
        let all: Vec<Octets> = outcomes
            .iter()
            .map(|message| message.envelope.clone())
            .collect();
        let accepted = self
            .ask_all(to, Step::Accept, |_| all.clone(), Some(&descriptor))
            .await?;
        let view = sha256(&descriptor);
        if let Some(other) = accepted.iter().find(|message| message.content.view != view) {
            return Err(CeremonyFailure::Answer {
                holder: other.sender.clone(),
            });
        }
        let acceptances = accepted
            .into_iter()
            .map(|message| message.envelope)
            .collect();
        let deployment = to.values().next().map(|holder| holder.deployment);
        Ok(Prepared {
            deployment: deployment.ok_or(CeremonyFailure::Plan)?,
            key_id: self.key_id.to_owned(),
            descriptor: descriptor.into(),
            acceptances,
        })
    }

    /// Builds the descriptor; holders said in `outcomes` which keys shares are sealed to, if the suite has any.
    fn descriptor(
        &self,
        to: &Holders<'_>,
        sharing: &Sharing,
        outcomes: &[Message],
    ) -> Result<Vec<u8>, CeremonyFailure> {
        let arithmetic = |source| CeremonyFailure::Arithmetic { source };
        let commitments = &sharing.commitments;
        let holders = to
            .iter()
            .map(|(index, holder)| {
                Ok(HolderEntry {
                    index: *index,
                    id: holder.name.as_str().into(),
                    jurisdiction: holder.jurisdiction.as_str().into(),
                    public_share: match commitments.as_slice() {
                        [] => None,
                        commitments => Some(public_share(commitments, *index)?),
                    },
                    proof: ProofKind::Dleq,
                    kem_public_key: outcomes
                        .iter()
                        .find(|outcome| outcome.content.from == index.get())
                        .and_then(|outcome| outcome.content.kem_public_key.as_ref())
                        .map(|key| key.0.as_slice().into()),
                })
            })
            .collect::<Result<_, _>>()
            .map_err(arithmetic)?;
        let group = GroupKey::from_parts(DescriptorParts {
            key_id: self.key_id.into(),
            epoch: sharing.epoch,
            generation: sharing.generation,
            public_key: commitments.first().copied(),
            unbound: sharing.unbound,
            parts: vec![Part {
                t: sharing.threshold,
                holders: to.keys().copied().collect(),
                commitments: commitments.clone(),
            }],
            holders,
        })
        .map_err(arithmetic)?;
        Ok(group.to_json())
    }

    fn named(&self, names: &[String]) -> Result<Holders<'a>, CeremonyFailure> {
        let mut holders = BTreeMap::new();
        for name in names {
            let holder = self.holders.iter().find(|holder| holder.name == *name);
            let holder = holder.ok_or_else(|| CeremonyFailure::UnknownHolder {
                holder: name.as_str().into(),
            })?;
            holders.insert(
                HolderId::new(holder.index).ok_or(CeremonyFailure::Plan)?,
                holder,
            );
        }
        if holders.len() == names.len() {
            Ok(holders)
        } else {
            Err(CeremonyFailure::Plan)
        }
    }

    /// Asks all holders at once, and returns their verified messages; the first failure in the order of indices counts.
    async fn ask_all(
        &self,
        to: &Holders<'_>,
        step: Step,
        messages: impl Fn(HolderId) -> Vec<Octets>,
        descriptor: Option<&[u8]>,
    ) -> Result<Vec<Message>, CeremonyFailure> {
        let asked = to.iter().map(|(index, holder)| {
            let request = CeremonyRequest {
                ceremony: self.ceremony.clone(),
                step,
                command: self.command.clone(),
                messages: messages(*index),
                descriptor: descriptor.map(Octets::from),
            };
            async move { self.ask(*index, holder, &request).await }
        });
        let mut all = Vec::new();
        for answer in join_all(asked).await {
            all.extend(answer?);
        }
        Ok(all)
    }

    async fn ask(
        &self,
        index: HolderId,
        holder: &HolderDescriptor,
        request: &CeremonyRequest,
    ) -> Result<Vec<Message>, CeremonyFailure> {
        let name = || holder.name.as_str().into();
        let mut attempts = 0;
        let answer = loop {
            attempts += 1;
            match self
                .transport
                .step(&holder.name, self.key_id, request)
                .await
            {
                Ok(answer) => break answer,
                Err(source) if attempts >= ATTEMPTS => {
                    return Err(CeremonyFailure::Unreachable {
                        holder: name(),
                        source,
                    });
                }
                Err(_) => {}
            }
        };
        if let Some(refusal) = answer.refusal {
            return Err(CeremonyFailure::Refused {
                holder: name(),
                code: refusal.code,
                reason: refusal.reason.into(),
                culprits: refusal.culprits,
            });
        }
        let key = PublicKey::from_spki(&holder.signing_key.0)
            .map_err(|_| CeremonyFailure::UnknownHolder { holder: name() })?;
        let read = |envelope: Octets| {
            let verified = dsse::verify(&envelope.0, CEREMONY, [&key]).ok()?;
            let content: CeremonyMessage = serde_json::from_slice(&verified.payload).ok()?;
            let fits = content.ceremony == self.ceremony
                && content.key_id == self.key_id
                && content.step == request.step
                && content.from == index.get();
            fits.then(|| Message {
                sender: name(),
                envelope,
                content,
            })
        };
        let messages: Option<Vec<_>> = answer.messages.into_iter().map(read).collect();
        messages
            .filter(|all| !all.is_empty())
            .ok_or_else(|| CeremonyFailure::Answer { holder: name() })
    }
}

/// A candidate descriptor that every holder in it has accepted.
///
/// It is not secret and can wait in a file until enough administrators have signed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Prepared {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The key.
    pub key_id: String,
    /// JSON of the descriptor.
    pub descriptor: Octets,
    /// Envelopes of the acceptances.
    pub acceptances: Vec<Octets>,
}

impl Prepared {
    /// Signs the descriptor; an envelope that others have signed is signed in addition with [`dsse::add_signature`].
    ///
    /// # Errors
    ///
    /// [`CeremonyFailure::Signing`].
    pub fn sign(
        &self,
        administrators: &[&SigningKey],
        rng: &dyn SecureRandom,
    ) -> Result<Vec<u8>, CeremonyFailure> {
        Ok(dsse::sign(
            KEY_DESCRIPTOR,
            &self.descriptor.0,
            administrators,
            rng,
        )?)
    }

    /// Makes the command that brings the signed descriptor into force; two administrators sign it as well.
    ///
    /// # Errors
    ///
    /// [`CeremonyFailure::Signing`].
    pub fn announce(
        &self,
        signed: &[u8],
        version: u64,
        issued_at: u64,
        reason: &str,
        administrators: &[&SigningKey],
        rng: &dyn SecureRandom,
    ) -> Result<Vec<u8>, CeremonyFailure> {
        let command = Command {
            v: 1,
            deployment: self.deployment,
            subject: format!("key:{}", self.key_id),
            version,
            issued_at,
            reason: reason.to_owned(),
            order: Order::Descriptor {
                descriptor: signed.into(),
                acceptances: self.acceptances.clone(),
            },
        };
        let payload = serde_json::to_vec(&command).map_err(|_| CeremonyFailure::Plan)?;
        Ok(dsse::sign(COMMAND, &payload, administrators, rng)?)
    }
}

/// Why a ceremony ended without result. Nothing is in force; the same command allows another attempt.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CeremonyFailure {
    /// A holder did not answer.
    #[error("key holder `{holder}` does not answer")]
    Unreachable {
        /// Its name.
        holder: Box<str>,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A holder refused a step.
    #[error("key holder `{holder}` refuses ({code}): {reason}")]
    Refused {
        /// Its name.
        holder: Box<str>,
        /// The code.
        code: Code,
        /// In words.
        reason: Box<str>,
        /// Whom it blames.
        culprits: Vec<String>,
    },
    /// A holder's answer is not a signed message of this step.
    #[error("the answer of key holder `{holder}` is not a signed message of this step")]
    Answer {
        /// Its name.
        holder: Box<str>,
    },
    /// Holders saw different messages; whoever is in the minority, or the way to it, is to be looked at.
    #[error("key holders saw different messages: `{}`", holders.join("`, `"))]
    Disagreement {
        /// Names of those that differ from the first.
        holders: Vec<String>,
    },
    /// A holder is not known here.
    #[error("key holder `{holder}` is not known here")]
    UnknownHolder {
        /// Its name.
        holder: Box<str>,
    },
    /// Names, threshold or shares do not fit together.
    #[error("holders, threshold and shares do not fit together")]
    Plan,
    /// The result is not a key.
    #[error("the result of the ceremony is not a key")]
    Arithmetic {
        /// Why.
        #[source]
        source: ThresholdError,
    },
    /// A message could not be signed.
    #[error("a message could not be signed")]
    Signing(#[from] DsseError),
    /// The system gave no randomness.
    #[error("no randomness")]
    Randomness,
}

type Holders<'a> = BTreeMap<HolderId, &'a HolderDescriptor>;

struct Message {
    sender: Box<str>,
    envelope: Octets,
    content: CeremonyMessage,
}

struct Sharing {
    epoch: u32,
    generation: u32,
    threshold: u8,
    unbound: bool,
    commitments: Vec<[u8; 33]>,
}

impl Sharing {
    fn of_plan(plan: &KeyPlan, commitments: Vec<[u8; 33]>) -> Self {
        Self {
            epoch: plan.epoch,
            generation: 1,
            threshold: plan.threshold,
            unbound: plan.unbound,
            commitments,
        }
    }
}

fn addressed(messages: &[Message], to: HolderId) -> Vec<Octets> {
    let mine = messages
        .iter()
        .filter(|message| message.content.to == to.get());
    mine.map(|message| message.envelope.clone()).collect()
}

/// Returns the commitments that all holders report.
fn agreed(outcomes: &[Message]) -> Result<Vec<[u8; 33]>, CeremonyFailure> {
    let first = outcomes.first().ok_or(CeremonyFailure::Plan)?;
    let said = |message: &Message| (message.content.view.clone(), message.content.public.clone());
    let differ: Vec<String> = outcomes
        .iter()
        .filter(|other| said(other) != said(first))
        .map(|other| other.sender.to_string())
        .collect();
    if !differ.is_empty() {
        return Err(CeremonyFailure::Disagreement { holders: differ });
    }
    let (points, rest) = first.content.public.0.as_chunks();
    if points.is_empty() || !rest.is_empty() {
        return Err(CeremonyFailure::Answer {
            holder: first.sender.clone(),
        });
    }
    Ok(points.to_vec())
}

fn sha256(octets: &[u8]) -> Octets {
    digest(&SHA256, octets).as_ref().into()
}

/// How often a step is asked for when the way to the holder fails.
const ATTEMPTS: usize = 3;
