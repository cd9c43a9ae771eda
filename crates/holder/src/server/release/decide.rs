//! The decision in the transaction: made again on what may have changed, and recorded.

use std::sync::Arc;

use sealift_policy::{Operation, state_allows};
use sealift_threshold::{GroupKey, KeyShare};
use serde_json::Value;

use super::Refused;
use crate::server::audit::Entry;
use crate::server::commands::state_code;
use crate::server::decision::Caller;
use crate::server::state::State;
use crate::server::store::Answered;
use crate::server::writer::{Replay, Transaction};
use crate::wire::Code;

/// A wrap on its way through the checks.
pub(super) struct Candidate {
    pub(super) digest: [u8; 32],
    pub(super) detail: Value,
    /// Why it may be released, or why not.
    pub(super) decision: Result<String, Refused>,
}

/// What the transaction lets go.
pub(super) struct Granted {
    pub(super) group: Arc<GroupKey>,
    pub(super) share: Arc<KeyShare>,
    pub(super) answered_at: u64,
}

/// What the transaction needs to decide.
pub(super) struct Decide {
    pub(super) caller: Caller,
    pub(super) key_id: String,
    pub(super) request_hash: [u8; 32],
    pub(super) issued_at: u64,
    pub(super) lease_ms: u64,
    pub(super) group: Arc<GroupKey>,
    pub(super) policy_hash: [u8; 32],
}

impl Decide {
    pub(super) fn decide(
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
    pub(super) fn still_stands(
        &self,
        state: &State,
        now_ms: u64,
    ) -> Result<Arc<KeyShare>, Refused> {
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
pub(super) fn gate(
    state: &State,
    key_id: &str,
    group: &GroupKey,
    now_ms: u64,
) -> Result<(), Refused> {
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

/// Who may not describe a key does not learn that it is gone.
pub(super) const fn hidden(code: Code) -> Code {
    match code {
        Code::KeyNotFound => Code::Forbidden,
        code => code,
    }
}
