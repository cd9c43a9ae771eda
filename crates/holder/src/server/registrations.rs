//! Registrations: which repository an unlabelled wrap of an unbound key belongs to (`key-holders.md`, section 1).
//!
//! A JWE of a stock tool says nothing about its image, so policy sees no repository. A person who may use wraps ties one
//! to a repository, once and for good; from then on a release of it is decided as one of that repository. The holder that
//! was asked knows it and no other: a client tells all.

use std::collections::BTreeSet;
use std::net::IpAddr;

use sealift_policy::{Operation, state_allows};
use sealift_threshold::UnlabelledWrap;
use serde_json::json;

use super::Service;
use super::audit::Entry;
use super::commands::{Refusal, state_code};
use super::decision::{Caller, Surroundings, decide_registration};
use super::release::unavailable;
use super::state::State;
use super::store::{Change, Registration};
use super::writer::Transaction;
use crate::names;
use crate::wire::{Code, MAX_WRAPS, RegistrationAnswer, RegistrationRequest};

/// `POST /v1/keys/{id}/registrations`: all wraps of the request, or none.
///
/// # Errors
///
/// The code of the refusal; its reason is in the audit record.
pub async fn register(
    service: &Service,
    caller: &Caller,
    src: IpAddr,
    key_id: &str,
    request: RegistrationRequest,
) -> Result<RegistrationAnswer, Code> {
    let wraps = request
        .epks
        .iter()
        .map(|epk| UnlabelledWrap::from_epk(&epk.0));
    let wraps: Vec<UnlabelledWrap> = wraps
        .collect::<Result<_, _>>()
        .map_err(|_| Code::BadRequest)?;
    if wraps.is_empty() || wraps.len() > MAX_WRAPS || !names::is_repository(&request.repo) {
        return Err(Code::BadRequest);
    }
    let (caller, key_id) = (caller.clone(), key_id.to_owned());
    // Decided on the writer thread: of two repositories for one wrap one is first.
    let decided = service.transact(move |transaction| {
        let now_ms = transaction.now_ms();
        let around = Surroundings {
            now_ms,
            src,
            approvals: 1,
        };
        let asked = Asked {
            caller: &caller,
            key_id: &key_id,
            request: &request,
            wraps: &wraps,
        };
        let decision = asked.decide(transaction.state(), &around);
        asked.record(transaction, &decision);
        let digests = decision.map_err(|refusal| refusal.code)?;
        let known = |state: &State, digest: &[u8; 32]| {
            state.registration(&key_id, &hex::encode(digest)).is_some()
        };
        for digest in &digests {
            if !known(transaction.state(), digest) {
                let registration = Registration {
                    key_id: key_id.clone(),
                    wrap: *digest,
                    repo: request.repo.clone(),
                    registered_at: now_ms,
                };
                transaction.state_mut().set_registration(&registration);
                transaction.record(Change::PutRegistration(registration));
            }
        }
        Ok(RegistrationAnswer {
            repo: request.repo,
            wrap_digests: digests
                .iter()
                .map(|digest| digest.as_slice().into())
                .collect(),
        })
    });
    decided.await.map_err(|error| unavailable(&error))?
}

struct Asked<'a> {
    caller: &'a Caller,
    key_id: &'a str,
    request: &'a RegistrationRequest,
    wraps: &'a [UnlabelledWrap],
}

impl Asked<'_> {
    /// Returns the digests of the wraps, each once, if all may be registered.
    fn decide(&self, state: &State, around: &Surroundings) -> Result<BTreeSet<[u8; 32]>, Refusal> {
        let Self {
            key_id, request, ..
        } = self;
        let refuse = |code, reason: &str| Err(Refusal::new(code, reason));
        let key = state.keys().get(*key_id);
        let group = key
            .and_then(|key| key.epochs.get(&request.epoch))
            .map(|epoch| &epoch.group);
        // Whether there is such a key is for those to know who may use it.
        let digests: BTreeSet<[u8; 32]> = match group {
            Some(group) => self.wraps.iter().map(|wrap| wrap.digest(group)).collect(),
            None => [[0; 32]].into(),
        };
        let Some(policy) = state.policy() else {
            return refuse(Code::PolicyStale, "there is no policy");
        };
        for digest in &digests {
            let (epoch, repo) = (request.epoch, &request.repo);
            let decision = decide_registration(
                state,
                policy,
                self.caller,
                (key_id, epoch),
                digest,
                repo,
                around,
            );
            if !decision.allowed {
                return refuse(Code::Forbidden, &decision.reason());
            }
        }
        let Some(key) = key else {
            return refuse(Code::KeyNotFound, "no such key");
        };
        state_allows(key.state(around.now_ms), Operation::RegisterWrap)
            .map_err(|error| Refusal::new(state_code(error.code), error.to_string()))?;
        let Some(group) = group else {
            return refuse(Code::InvalidState, "no such epoch of the key");
        };
        if !group.unbound() {
            return refuse(Code::LabelMismatch, "the key serves labelled wraps only");
        }
        for digest in &digests {
            let registered = state.registration(key_id, &hex::encode(digest));
            if registered.is_some_and(|repo| *repo != *request.repo) {
                return refuse(
                    Code::AlreadyRegistered,
                    "a wrap is registered for another repository",
                );
            }
        }
        if state.registrations(key_id).saturating_add(digests.len()) > MAX_REGISTRATIONS {
            return refuse(Code::QuotaExceeded, "too many registrations of one key");
        }
        Ok(digests)
    }

    fn record(
        &self,
        transaction: &mut Transaction<'_>,
        decision: &Result<BTreeSet<[u8; 32]>, Refusal>,
    ) {
        let (decision, reason, wraps) = match decision {
            Ok(digests) => (
                "allow",
                String::new(),
                digests.iter().map(hex::encode).collect(),
            ),
            Err(Refusal { code, reason }) => ("deny", format!("{code}: {reason}"), Vec::new()),
        };
        transaction.audit(Entry {
            event: "registration",
            actor: self.caller.actor(),
            subject: format!("key:{}", self.key_id),
            decision,
            reason,
            detail: json!({"epoch": self.request.epoch, "repo": self.request.repo, "wraps": wraps}),
            ..Entry::default()
        });
    }
}

/// Most wraps of one key that are registered.
const MAX_REGISTRATIONS: usize = 1 << 20;
