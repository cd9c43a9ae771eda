//! The release of partial decryptions, in its normative order.
//!
//! Everything up to the transaction may refuse; the transaction decides again on what may have changed, and records;
//! only what is on record is computed and leaves. A caller learns a code, the record keeps the reason.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use sealift_policy::{Operation, state_allows};
use sealift_threshold::{
    CheckedWrap, ErrorId, GroupKey, HolderId, PartialDecryption, ReplyContext, ReplyKem, Share,
    ThresholdError, UnlabelledWrap, Wrap, seal_reply,
};
use serde_json::{Value, json};

use super::Service;
use super::audit::Entry;
use super::commands::state_code;
use super::decision::{
    Caller, Surroundings, decide_release, posture, unlabelled_facts, wrap_facts,
};
use super::metrics::Reason;
use super::state::{PolicyInForce, State};
use super::store::{Answered, StoreError};
use super::writer::{Replay, Transaction};
use crate::dsse::{self, DsseError};
use crate::octets::Octets;
use crate::request;
use crate::statement::{KeyRelease, KeyRequest, Release, STATEMENT};
use crate::wire::{Code, MAX_WRAPS, PartialsAnswer, PartialsRequest, WireWrap, WrapAnswer};

/// Why a whole request got no answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denied {
    /// What the caller learns.
    pub code: Code,
    /// Seconds after which to come again.
    pub retry_after: Option<u64>,
}

impl From<Code> for Denied {
    fn from(code: Code) -> Self {
        Self {
            code,
            retry_after: None,
        }
    }
}

/// A reason for a refusal: the code for the caller, the text for the record.
type Refused = (Code, String);

/// What was asked, as far as it is verified.
struct Question<'a> {
    service: &'a Service,
    caller: &'a Caller,
    src: IpAddr,
    key_id: &'a str,
    now_ms: u64,
    request_hash: [u8; 32],
}

/// A wrap on its way through the checks.
struct Candidate {
    digest: [u8; 32],
    detail: Value,
    /// Why it may be released, or why not.
    decision: Result<String, Refused>,
}

/// What the transaction lets go.
struct Granted {
    group: Arc<GroupKey>,
    share: Arc<Share>,
    answered_at: u64,
}

/// Answers `POST /v1/keys/{id}/partials`. Blocks; for threads that may.
pub fn release(
    service: &Service,
    caller: &Caller,
    src: IpAddr,
    key_id: &str,
    body: &PartialsRequest,
) -> Result<PartialsAnswer, Denied> {
    let started = std::time::Instant::now();
    let request_hash = leaf_hash(&body.request.0);
    let question = Question {
        service,
        caller,
        src,
        key_id,
        now_ms: (service.clock)(),
        request_hash,
    };
    let result = question.answer(body);
    service
        .metrics
        .release_seconds
        .observe(started.elapsed().as_secs_f64());
    if let Err(denied) = &result {
        let reason = Reason {
            reason: denied.code.as_str(),
        };
        service
            .metrics
            .decisions
            .get_or_create(&reason)
            .inc_by(body.wraps.len().max(1) as u64);
    }
    result
}

impl Question<'_> {
    fn answer(&self, body: &PartialsRequest) -> Result<PartialsAnswer, Denied> {
        let core = self.service.core();
        let state = self.service.writer.state();
        self.take_quota(&state, body.wraps.len())?;
        if let Caller::Holder { .. } = self.caller {
            return Err(self.refuse((Code::Forbidden, "holders open nothing".into())));
        }
        if self.service.is_behind() {
            let reason = "restored from a backup, and not all peers were heard since";
            return Err(self.refuse((Code::StoreUnavailable, reason.into())));
        }
        let (request, issued_at) = self
            .read_request(body)
            .map_err(|refused| self.refuse(refused))?;
        // What a revoked node may learn does not depend on what it asks.
        if self.is_revoked(&state) {
            return Err(self.refuse((Code::Forbidden, "the node is revoked".into())));
        }
        let Some(policy) = state.policy().cloned() else {
            return Err(self.refuse((Code::PolicyStale, "there is no policy".into())));
        };
        let Some(key) = state.keys().get(self.key_id) else {
            return Err(self.refuse((Code::Forbidden, "no such key".into())));
        };
        let Some(epoch) = key.epochs.get(&request.epoch) else {
            let refused = match state_allows(key.state(self.now_ms), Operation::Partials) {
                Err(error) => (hidden(state_code(error.code)), error.to_string()),
                Ok(()) => (Code::Forbidden, format!("no epoch {}", request.epoch)),
            };
            return Err(self.refuse(refused));
        };
        let group = Arc::clone(&epoch.group);
        let presented: Vec<Presented> = body
            .wraps
            .iter()
            .map(|wrap| Presented::read(wrap, &group))
            .collect();
        let posture = self.posture(&policy, body);
        let checked: Vec<(Candidate, Option<Opened<'_>>)> = presented
            .iter()
            .enumerate()
            .map(|(index, presented)| {
                let commitment = Commitment {
                    request: &request,
                    salts: body.salts.as_deref(),
                    index,
                };
                let (facts, opened, refused) = match presented.check(&group, &commitment) {
                    Ok((facts, opened)) => (Some(facts), Some(opened), None),
                    Err(refused) => (None, None, Some(refused)),
                };
                let decision = match (refused, facts) {
                    (Some(refused), _) => Err(refused),
                    (None, None) => Err((Code::BadRequest, "nothing was presented".into())),
                    (None, Some(facts)) => match gate(&state, self.key_id, &group, self.now_ms) {
                        Err(refused) => Err(refused),
                        Ok(()) => {
                            let around = Surroundings {
                                now_ms: self.now_ms,
                                src: self.src,
                                approvals: 0,
                            };
                            let key = key.facts_of(self.key_id, group.epoch(), self.now_ms);
                            let posture =
                                posture.as_ref().and_then(|posture| posture.as_ref().ok());
                            let decision = decide_release(
                                &state,
                                &policy,
                                self.caller,
                                posture,
                                &facts,
                                &key,
                                &around,
                            );
                            if decision.allowed {
                                Ok(decision.reason())
                            } else {
                                Err((Code::Forbidden, decision.reason()))
                            }
                        }
                    },
                };
                let mut detail = presented.detail();
                if let (Some(Err(lack)), Value::Object(detail)) = (&posture, &mut detail) {
                    detail.insert("posture".into(), json!(lack));
                }
                (
                    Candidate {
                        digest: presented.digest,
                        detail,
                        decision,
                    },
                    opened,
                )
            })
            .collect();
        let (candidates, opened): (Vec<Candidate>, Vec<Option<Opened<'_>>>) =
            checked.into_iter().unzip();
        let digests: Vec<[u8; 32]> = candidates
            .iter()
            .map(|candidate| candidate.digest)
            .collect();
        // While this waits for the disk another may have the core.
        drop(core);
        let outcomes = self.decide(
            candidates,
            &group,
            &policy,
            issued_at,
            request.lease_seconds,
        )?;
        let core = self.service.core();
        for outcome in &outcomes {
            let reason = outcome
                .as_ref()
                .map_or_else(|(code, _)| code.as_str(), |_| "Released");
            self.service
                .metrics
                .decisions
                .get_or_create(&Reason { reason })
                .inc();
        }
        // Where nothing is released, a whole request that fails for one reason fails with it.
        if let Some(code) = common_refusal(&outcomes) {
            return Err(code.into());
        }
        let answer = self.make_answer(&request, &policy, &digests, &opened, &outcomes);
        drop(core);
        answer
    }

    /// Takes the wraps from the caller's bucket. Keys that are not there share one bucket.
    fn take_quota(&self, state: &State, wraps: usize) -> Result<(), Denied> {
        let actor = self.caller.actor();
        let bucket = if state.keys().contains_key(self.key_id) {
            self.key_id
        } else {
            ""
        };
        match self
            .service
            .buckets
            .take(&actor, bucket, wraps.max(1), self.now_ms)
        {
            Ok(()) => Ok(()),
            Err(over) => {
                if over.is_first {
                    self.refuse((
                        Code::QuotaExceeded,
                        format!("{wraps} wraps are over the quota"),
                    ));
                }
                Err(Denied {
                    code: Code::QuotaExceeded,
                    retry_after: Some(over.retry_after),
                })
            }
        }
    }

    /// Verifies the request by the key the caller is known by, and everything in it that depends on no key.
    fn read_request(&self, body: &PartialsRequest) -> Result<(KeyRequest, u64), Refused> {
        let bad = |reason: &str| Err((Code::BadRequest, reason.to_owned()));
        if body.wraps.is_empty() || body.wraps.len() > MAX_WRAPS {
            return bad("number of wraps");
        }
        let verified =
            dsse::verify(&body.request.0, STATEMENT, [self.caller.key()]).map_err(|error| {
                match error {
                    DsseError::BadSignature | DsseError::NoKnownSigner => {
                        (Code::ProofInvalid, error.to_string())
                    }
                    _ => (Code::BadRequest, error.to_string()),
                }
            })?;
        let (request, issued_at) = request::read_key_request(&verified.payload)
            .map_err(|error| (Code::BadRequest, format!("key request: {error}")))?;
        if request.key_id != self.key_id {
            return Err((Code::LabelMismatch, "the request is for another key".into()));
        }
        let kem_len = match request.kem {
            KEM_P256 => 65,
            KEM_XWING => 1216,
            _ => return bad("key encapsulation of the request"),
        };
        if request.ephemeral_key.0.len() != kem_len || request.nonce.0.len() != 32 {
            return bad("ephemeral key or nonce of the request");
        }
        if request.lease_seconds > MAX_LEASE_SECONDS {
            return bad("lease of the request");
        }
        let committed = if body.salts.is_some() {
            &request.wrap_commitments
        } else {
            &request.wraps
        };
        let salts_fit = body.salts.as_ref().is_none_or(|salts| {
            salts.len() == body.wraps.len() && salts.iter().all(|salt| salt.0.len() == 16)
        });
        if committed.len() != body.wraps.len() || !salts_fit {
            return Err((
                Code::LabelMismatch,
                "the request does not commit to as many wraps".into(),
            ));
        }
        if issued_at.abs_diff(self.now_ms) > TIME_TOLERANCE_MS {
            return Err((
                Code::ReplayDetected,
                "the request is out of its time".into(),
            ));
        }
        Ok((request, issued_at))
    }

    fn is_revoked(&self, state: &State) -> bool {
        matches!(self.caller, Caller::Node { name, .. } if state.is_revoked(&name.name))
    }

    fn posture(
        &self,
        policy: &PolicyInForce,
        body: &PartialsRequest,
    ) -> Option<Result<crate::statement::Posture, &'static str>> {
        let Caller::Node { name, .. } = self.caller else {
            return None;
        };
        let envelope = body.evidence.as_ref()?.posture.as_ref()?;
        Some(posture(
            policy.engine.policy_set().settings(),
            envelope,
            &name.name,
        ))
    }

    /// Decides in the transaction, and records.
    fn decide(
        &self,
        candidates: Vec<Candidate>,
        group: &Arc<GroupKey>,
        policy: &PolicyInForce,
        issued_at: u64,
        lease_seconds: u32,
    ) -> Result<Vec<Result<Granted, Refused>>, Denied> {
        let job = Decide {
            caller: self.caller.clone(),
            key_id: self.key_id.to_owned(),
            request_hash: self.request_hash,
            issued_at,
            lease_ms: u64::from(lease_seconds).saturating_mul(1000),
            group: Arc::clone(group),
            policy_hash: policy.hash,
        };
        let result = self.service.transact_blocking(move |transaction| {
            candidates
                .into_iter()
                .map(|candidate| job.decide(transaction, candidate))
                .collect::<Vec<_>>()
        });
        result.map_err(|error| unavailable(&error).into())
    }

    /// Computes what was granted, seals it, and signs the receipt.
    fn make_answer(
        &self,
        request: &KeyRequest,
        policy: &PolicyInForce,
        digests: &[[u8; 32]],
        opened: &[Option<Opened<'_>>],
        outcomes: &[Result<Granted, Refused>],
    ) -> Result<PartialsAnswer, Denied> {
        let mut answers = Vec::with_capacity(digests.len());
        let mut releases = Vec::with_capacity(digests.len());
        let mut answered_at = self.now_ms;
        let mut generation = 0;
        for ((digest, opened), outcome) in digests.iter().zip(opened).zip(outcomes) {
            let sealed = match (outcome, opened) {
                (Ok(granted), Some(opened)) => {
                    answered_at = answered_at.min(granted.answered_at);
                    generation = granted.group.generation();
                    self.seal(request, granted, opened, digest)
                        .map_err(|error| {
                            tracing::error!(%error, "a granted partial could not be made");
                            match error.id {
                                ErrorId::PointInvalid | ErrorId::ArgumentInvalid => {
                                    Code::BadRequest
                                }
                                _ => Code::StoreUnavailable,
                            }
                        })
                }
                (Err((code, _)), _) => Err(*code),
                (Ok(_), None) => Err(Code::BadRequest),
            };
            let wrap_digest = Octets::from(digest.as_slice());
            let (partial_digest, decision) = match &sealed {
                Ok((partial, _)) => (Some(partial.digest().as_slice().into()), "allow"),
                Err(_) => (None, "deny"),
            };
            releases.push(Release {
                wrap_digest: wrap_digest.clone(),
                partial_digest,
                decision: decision.to_owned(),
            });
            answers.push(match sealed {
                Ok((_, sealed)) => WrapAnswer::Sealed {
                    wrap_digest,
                    enc: sealed.enc.into(),
                    ct: sealed.ct.into(),
                },
                Err(error) => WrapAnswer::Refused { wrap_digest, error },
            });
        }
        let receipt = KeyRelease {
            request_leaf: self.request_hash.as_slice().into(),
            holder: self.service.name.clone(),
            generation,
            releases,
            policy_hash: policy.hash.as_slice().into(),
            lease_until: answered_at
                .saturating_add(u64::from(request.lease_seconds).saturating_mul(1000)),
        };
        let rng = &*self.service.rng;
        let receipt = request::sign_receipt(&receipt, self.now_ms, &self.service.signer, rng)
            .map_err(|error| {
                tracing::error!(%error, "a receipt could not be signed");
                Denied::from(Code::StoreUnavailable)
            })?;
        Ok(PartialsAnswer {
            request_hash: self.request_hash.as_slice().into(),
            answers,
            receipt: receipt.into(),
        })
    }

    fn seal(
        &self,
        request: &KeyRequest,
        granted: &Granted,
        opened: &Opened<'_>,
        digest: &[u8; 32],
    ) -> Result<(PartialDecryption, sealift_threshold::SealedReply), ThresholdError> {
        let Granted { group, share, .. } = granted;
        let rng = &*self.service.rng;
        let partial = match opened {
            Opened::Labelled(wrap) => share.partial(group, wrap, &self.request_hash, rng)?,
            Opened::Unlabelled(wrap) => {
                share.partial_unlabelled(group, wrap, &self.request_hash, rng)?
            }
        };
        let kem = if request.kem == KEM_XWING {
            ReplyKem::XWing
        } else {
            ReplyKem::P256
        };
        let holder: HolderId = share.index();
        let context = ReplyContext {
            request_hash: self.request_hash,
            wrap_digest: *digest,
            holder,
            epoch: group.epoch(),
        };
        let sealed = seal_reply(
            kem,
            &request.ephemeral_key.0,
            &context,
            partial.as_bytes(),
            rng,
        )?;
        Ok((partial, sealed))
    }

    /// Records why the whole request is refused; what cannot be recorded is refused for that.
    fn refuse(&self, (code, reason): Refused) -> Denied {
        let entry = Entry {
            event: "refusal",
            actor: self.caller.actor(),
            subject: format!("key:{}", self.key_id),
            decision: "deny",
            reason: format!("{code}: {reason}"),
            request_hash: Some(self.request_hash),
            detail: json!({"src": self.src}),
            ..Entry::default()
        };
        match self
            .service
            .transact_blocking(move |transaction| transaction.audit(entry))
        {
            Ok(()) => code.into(),
            Err(error) => unavailable(&error).into(),
        }
    }
}

/// What the transaction needs to decide.
struct Decide {
    caller: Caller,
    key_id: String,
    request_hash: [u8; 32],
    issued_at: u64,
    lease_ms: u64,
    group: Arc<GroupKey>,
    policy_hash: [u8; 32],
}

impl Decide {
    fn decide(
        &self,
        transaction: &mut Transaction<'_>,
        candidate: Candidate,
    ) -> Result<Granted, Refused> {
        let digest = candidate.digest;
        let outcome = candidate.decision.and_then(|reason| {
            let share = self.still_stands(transaction.state(), transaction.now_ms())?;
            let now_ms = transaction.now_ms();
            let (answered_at, note) =
                match transaction.replay(&self.request_hash, &digest, self.issued_at) {
                    Replay::New => (now_ms, ""),
                    Replay::Seen(at)
                        if now_ms.saturating_sub(at) <= self.lease_ms && now_ms >= at =>
                    {
                        (at, ", again within the lease")
                    }
                    Replay::Seen(_) => {
                        return Err((Code::ReplayDetected, "the lease is over".to_owned()));
                    }
                    Replay::Forgotten => {
                        return Err((Code::ReplayDetected, "the request is too old".to_owned()));
                    }
                };
            if note.is_empty() {
                transaction.remember(Answered {
                    request_hash: self.request_hash,
                    wrap_digest: digest,
                    issued_at: self.issued_at,
                    answered_at,
                });
            }
            let granted = Granted {
                group: Arc::clone(&self.group),
                share,
                answered_at,
            };
            Ok((granted, format!("{reason}{note}")))
        });
        let (event, decision, reason) = match &outcome {
            Ok((_, reason)) => ("release", "allow", reason.clone()),
            Err((code, reason)) => ("refusal", "deny", format!("{code}: {reason}")),
        };
        transaction.audit(Entry {
            event,
            actor: self.caller.actor(),
            subject: format!("key:{}", self.key_id),
            decision,
            reason,
            request_hash: Some(self.request_hash),
            wrap_digest: Some(digest),
            detail: candidate.detail,
        });
        outcome.map(|(granted, _)| granted)
    }

    /// Checks again all that commands may have changed since the decision was made.
    fn still_stands(&self, state: &State, now_ms: u64) -> Result<Arc<Share>, Refused> {
        let changed = |what: &str| (Code::Forbidden, format!("{what} since the decision"));
        match &self.caller {
            Caller::Node { name, key, .. } => {
                if state.is_revoked(&name.name) {
                    return Err((Code::Forbidden, "the node is revoked".into()));
                }
                if state.pin(&name.name) != Some(key) {
                    return Err(changed("the node's key was taken back"));
                }
            }
            Caller::Operator {
                name, key, role, ..
            } => {
                if state
                    .operators()
                    .get(name)
                    .is_none_or(|operator| operator.key != *key || operator.role != *role)
                {
                    return Err(changed("the operator's role changed"));
                }
            }
            Caller::Holder { .. } => return Err((Code::Forbidden, "holders open nothing".into())),
        }
        if state
            .policy()
            .is_none_or(|policy| policy.hash != self.policy_hash)
        {
            return Err((
                Code::PolicyStale,
                "another policy is in force since the decision".into(),
            ));
        }
        gate(state, &self.key_id, &self.group, now_ms)?;
        let epoch = state
            .keys()
            .get(&self.key_id)
            .and_then(|key| key.epochs.get(&self.group.epoch()));
        let epoch = epoch.ok_or_else(|| changed("the key is gone"))?;
        if epoch.group.generation() != self.group.generation() {
            return Err((
                Code::InvalidState,
                "the shares were renewed since the decision".into(),
            ));
        }
        epoch
            .share
            .clone()
            .ok_or_else(|| (Code::StoreUnavailable, "this holder has no share".into()))
    }
}

/// Checks the state of a key and its lowest epoch.
fn gate(state: &State, key_id: &str, group: &GroupKey, now_ms: u64) -> Result<(), Refused> {
    let key = state
        .keys()
        .get(key_id)
        .ok_or_else(|| (Code::Forbidden, "no such key".to_owned()))?;
    state_allows(key.state(now_ms), Operation::Partials)
        .map_err(|error| (hidden(state_code(error.code)), error.to_string()))?;
    if group.epoch() < key.min_epoch {
        return Err((
            Code::Forbidden,
            format!("epoch {} is below {}", group.epoch(), key.min_epoch),
        ));
    }
    Ok(())
}

/// A wrap as it was presented.
struct Presented {
    digest: [u8; 32],
    kind: Kind,
}

enum Kind {
    Labelled(Box<Wrap>),
    Unlabelled(Box<UnlabelledWrap>),
    Malformed(ErrorId),
}

/// A wrap that is what it claims to be.
enum Opened<'a> {
    Labelled(Box<CheckedWrap<'a>>),
    Unlabelled(&'a UnlabelledWrap),
}

/// What the request commits to.
struct Commitment<'a> {
    request: &'a KeyRequest,
    salts: Option<&'a [Octets]>,
    index: usize,
}

impl Commitment<'_> {
    fn covers(&self, digest: &[u8; 32]) -> bool {
        match self.salts {
            None => self
                .request
                .wraps
                .get(self.index)
                .is_some_and(|wrap| wrap.0 == digest),
            Some(salts) => {
                let salt = salts
                    .get(self.index)
                    .map(|salt| salt.0.as_slice())
                    .unwrap_or_default();
                let commitment = sha256(&[salt, digest]);
                self.request
                    .wrap_commitments
                    .get(self.index)
                    .is_some_and(|wrap| wrap.0 == commitment)
            }
        }
    }
}

impl Presented {
    fn read(wrap: &WireWrap, group: &GroupKey) -> Self {
        match wrap {
            WireWrap::Compact(octets) => match Wrap::parse(&octets.0) {
                Ok(wrap) => Self {
                    digest: wrap.digest(),
                    kind: Kind::Labelled(Box::new(wrap)),
                },
                Err(error) => Self {
                    digest: sha256(&[&octets.0]),
                    kind: Kind::Malformed(error.id),
                },
            },
            WireWrap::Unlabelled { epk } => match UnlabelledWrap::from_epk(&epk.0) {
                Ok(wrap) => Self {
                    digest: wrap.digest(group),
                    kind: Kind::Unlabelled(Box::new(wrap)),
                },
                Err(error) => Self {
                    digest: sha256(&[&epk.0]),
                    kind: Kind::Malformed(error.id),
                },
            },
        }
    }

    fn check(
        &self,
        group: &GroupKey,
        commitment: &Commitment<'_>,
    ) -> Result<(sealift_policy::WrapFacts, Opened<'_>), Refused> {
        let (facts, opened) = match &self.kind {
            Kind::Malformed(id) => return Err((threshold_code(*id), id.to_string())),
            Kind::Labelled(_) if group.unbound() => {
                return Err((
                    Code::LabelMismatch,
                    "the key serves unlabelled wraps only".into(),
                ));
            }
            Kind::Unlabelled(_) if !group.unbound() => {
                return Err((
                    Code::LabelMismatch,
                    "the key serves labelled wraps only".into(),
                ));
            }
            Kind::Labelled(wrap) => {
                let checked = wrap
                    .check(group)
                    .map_err(|error| (threshold_code(error.id), error.to_string()))?;
                (
                    wrap_facts(&self.digest, wrap.label()),
                    Opened::Labelled(Box::new(checked)),
                )
            }
            Kind::Unlabelled(wrap) => (
                unlabelled_facts(&self.digest, group.epoch()),
                Opened::Unlabelled(wrap),
            ),
        };
        if !commitment.covers(&self.digest) {
            return Err((
                Code::LabelMismatch,
                "the request does not commit to this wrap".into(),
            ));
        }
        Ok((facts, opened))
    }

    fn detail(&self) -> Value {
        match &self.kind {
            Kind::Labelled(wrap) => {
                json!({"label": serde_json::to_value(wrap.label()).unwrap_or_default()})
            }
            Kind::Unlabelled(_) => json!({"unlabelled": true}),
            Kind::Malformed(_) => json!({}),
        }
    }
}

/// The one code with which all wraps were refused, if so.
fn common_refusal(outcomes: &[Result<Granted, Refused>]) -> Option<Code> {
    let mut codes = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().err().map(|(code, _)| *code));
    let first = codes.next()??;
    codes.all(|code| code == Some(first)).then_some(first)
}

const fn threshold_code(id: ErrorId) -> Code {
    match id {
        ErrorId::SuiteMismatch | ErrorId::KeyMismatch | ErrorId::ModeMismatch => {
            Code::LabelMismatch
        }
        ErrorId::WrapProofInvalid => Code::ProofInvalid,
        ErrorId::Randomness => Code::StoreUnavailable,
        _ => Code::BadRequest,
    }
}

/// Who may not describe a key does not learn that it is gone.
const fn hidden(code: Code) -> Code {
    match code {
        Code::KeyNotFound => Code::Forbidden,
        code => code,
    }
}

/// Returns the code for a record that could not be written.
pub(super) const fn unavailable(error: &StoreError) -> Code {
    match error {
        StoreError::Overloaded | StoreError::Closed | StoreError::Corrupt { .. } => {
            Code::StoreUnavailable
        }
        _ => Code::AuditUnavailable,
    }
}

/// RFC 6962 leaf hash.
pub fn leaf_hash(entry: &[u8]) -> [u8; 32] {
    sha256(&[&[0], entry])
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut octets = [0; 32];
    octets.copy_from_slice(context.finish().as_ref());
    octets
}

/// How far a request's time may be from this holder's clock.
pub const TIME_TOLERANCE_MS: u64 = 5 * 60 * 1000;
/// Longest lease that is granted: a day, for nodes that go offline.
pub const MAX_LEASE_SECONDS: u32 = 24 * 60 * 60;
const KEM_P256: u16 = 0x0010;
const KEM_XWING: u16 = 0x647A;
