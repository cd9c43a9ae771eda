//! The release of partial decryptions, in its normative order.
//!
//! Everything up to the transaction may refuse; the transaction decides again on what may have changed, and records;
//! only what is on record is computed and leaves. A caller learns a code, the record keeps the reason.

mod answer;
mod decide;
mod presented;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::digest::{Context, SHA256};
use sealift_policy::{Operation, state_allows};
use sealift_threshold::GroupKey;
use serde_json::{Value, json};

use self::decide::{Candidate, Decide, Granted, gate, hidden};
use self::presented::{Commitment, Opened, Presented};
use super::Service;
use super::audit::Entry;
use super::commands::state_code;
use super::decision::{Caller, Surroundings, decide_release, posture};
use super::metrics::Reason;
use super::state::{PolicyInForce, State};
use super::store::StoreError;
use crate::dsse::{self, DsseError};
use crate::request;
use crate::statement::{KeyRequest, STATEMENT};
use crate::wire::{Code, MAX_WRAPS, PartialsAnswer, PartialsRequest};

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

/// Answers `POST /v1/keys/{id}/partials`. Blocks; for threads that may.
pub fn release(
    service: &Service,
    caller: &Caller,
    src: IpAddr,
    key_id: &str,
    body: &PartialsRequest,
) -> Result<PartialsAnswer, Denied> {
    let started = Instant::now();
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
        if let Some(doubt) = self.service.timekeeping.doubt(Instant::now()) {
            return Err(self.refuse((Code::PolicyStale, doubt.to_string())));
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
                let kept = epoch.share.as_deref();
                let (facts, opened, refused) = match presented.check(&group, kept, &commitment) {
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
        let answer = self.make_answer(&request, &policy, &digests, opened, &outcomes);
        drop(core);
        answer
    }

    /// Takes the wraps from the caller's bucket. Keys that are not there share one bucket, and so do all keys for a
    /// revoked node, which would find out by its quota which are there.
    fn take_quota(&self, state: &State, wraps: usize) -> Result<(), Denied> {
        let actor = self.caller.actor();
        let bucket = if state.keys().contains_key(self.key_id) && !self.is_revoked(state) {
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

/// The one code with which all wraps were refused, if so.
fn common_refusal(outcomes: &[Result<Granted, Refused>]) -> Option<Code> {
    let mut codes = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().err().map(|(code, _)| *code));
    let first = codes.next()??;
    codes.all(|code| code == Some(first)).then_some(first)
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
