//! Commands: who signed them, whether they make sense, and what they do to the state.
//!
//! A command is checked twice: signatures before it is handed to the writer ([`check`]), approvals by the operators of
//! that very moment when it is applied ([`apply`]). Whether it came from an operator or from a peer makes no
//! difference to what it must prove; what is in force elsewhere proves itself by that (`adopt`).
//!
//! Three guards are for the holder that an operator asks, and for no other (`fits_state`, and policy): they look at a
//! clock, at a policy or at keys that a peer may not have heard of yet, and a peer that refused for want of them what is in
//! force elsewhere would miss a disabled key for good. What must hold whoever brings a command is said elsewhere:
//! dual control here (approvals, and two for a lower minimum epoch), that a deleted key stays deleted here as well
//! (shares are gone), deletion protection and the continuity of epochs in what the registers mean
//! ([`Key::state`](super::state::Key::state)): there they hold in any order.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use sealift_policy::{
    Engine, HolderAction, KeyAction, KeyState, Operation, PolicySet, Role, StateCode, state_allows,
};
use sealift_threshold::GroupKey;
use serde_json::json;

use super::audit::Entry;
use super::state::{Applied, Operator, PolicyInForce, State};
use super::store::{Change, ShareId, Store, StoreError, StoredCommand};
use super::vault::ShareVault;
use super::writer::Transaction;
use crate::command::{Command, Family, KeyPlan, Order};
use crate::dsse::{self, DsseError};
use crate::keys::PublicKey;
use crate::names;
use crate::octets::Octets;
use crate::statement::{CEREMONY, COMMAND, CeremonyMessage, KEY_DESCRIPTOR};
use crate::wire::{Code, Step};

/// A command that known operators signed and that makes sense.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What it says.
    pub command: Command,
    /// SHA-256 of the payload.
    pub digest: [u8; 32],
    /// Octets of its envelope.
    pub envelope: Vec<u8>,
    /// Keys of operators that signed, whatever their roles.
    pub signers: BTreeSet<PublicKey>,
    /// What its body was found to contain.
    pub content: Content,
    /// How many commands were applied when it was checked.
    basis: usize,
}

/// What a command's body was found to contain.
#[derive(Clone, Debug)]
pub enum Content {
    /// Nothing that needs reading.
    Plain,
    /// A descriptor that two administrators signed and all its holders accepted.
    Descriptor {
        /// The key.
        group: Arc<GroupKey>,
        /// Who signed it.
        signers: BTreeSet<PublicKey>,
    },
    /// A policy set that validates.
    Policy(Arc<PolicyInForce>),
    /// An operator, or none any more.
    Operator(Option<Operator>),
}

/// Why a command was not taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// What the caller learns.
    pub code: Code,
    /// What the record keeps.
    pub reason: String,
}

impl Refusal {
    pub(super) fn new(code: Code, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }
}

/// Reads a command and checks its signatures and its sense.
pub fn check(state: &State, envelope: &[u8]) -> Result<Checked, Refusal> {
    let bad = |reason: &str| Refusal::new(Code::BadRequest, reason);
    let verified =
        dsse::verify(envelope, COMMAND, state.signing_keys()).map_err(|error| match error {
            DsseError::BadSignature => Refusal::new(Code::ProofInvalid, error.to_string()),
            DsseError::NoKnownSigner => Refusal::new(Code::Forbidden, error.to_string()),
            _ => Refusal::new(Code::BadRequest, error.to_string()),
        })?;
    let command: Command =
        serde_json::from_slice(&verified.payload).map_err(|error| bad(&error.to_string()))?;
    if command.v != 1
        || command.version == 0
        || command.reason.is_empty()
        || command.reason.len() > MAX_REASON_LEN
    {
        return Err(bad("version or reason of a command"));
    }
    if command.deployment != state.deployment().me.deployment {
        return Err(Refusal::new(
            Code::OtherDeployment,
            format!("the command is for the deployment {}", command.deployment),
        ));
    }
    if !is_subject(&command) {
        return Err(bad("subject of a command"));
    }
    let content = content(state, &command)?;
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest(&SHA256, &verified.payload).as_ref());
    Ok(Checked {
        command,
        digest: sha256,
        envelope: envelope.to_vec(),
        signers: verified.signers,
        content,
        basis: state.commands().len(),
    })
}

/// Applies a checked command in a transaction: approvals, registers, shares, audit.
///
/// `actor` is who brought it (`operator:NAME`, `holder:NAME`); for the record only.
pub fn apply(
    transaction: &mut Transaction<'_>,
    checked: &Checked,
    vault: &dyn ShareVault,
    actor: &str,
) -> Result<Applied, Refusal> {
    apply_by(transaction, checked, vault, actor, Judge::Present)
}

/// Applies a command that present administrators do not approve, because it is in force elsewhere
/// ([`gossip`](super::gossip)): whoever signed it was an administrator.
pub(super) fn adopt(
    transaction: &mut Transaction<'_>,
    checked: &Checked,
    vault: &dyn ShareVault,
    actor: &str,
) -> Result<Applied, Refusal> {
    apply_by(transaction, checked, vault, actor, Judge::Ever)
}

/// Whose approvals count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Judge {
    /// Of who is an administrator now.
    Present,
    /// Of who is or was one.
    Ever,
}

fn apply_by(
    transaction: &mut Transaction<'_>,
    checked: &Checked,
    vault: &dyn ShareVault,
    actor: &str,
    judge: Judge,
) -> Result<Applied, Refusal> {
    let result = attempt(transaction, checked, vault, judge);
    // Peers bring the same commands again and again, and a dishonest one could fill the record with them.
    if !matches!(result, Ok(Applied::Applied { .. }))
        && actor.starts_with("holder:")
        && !transaction.is_first_refusal(checked.digest)
    {
        return result;
    }
    let command = &checked.command;
    let (event, decision, reason) = match &result {
        Ok(Applied::Known) => return result,
        Ok(Applied::Applied { instead_of: None }) if judge == Judge::Ever => (
            "command",
            "allow",
            format!("in force at other holders: {}", command.reason),
        ),
        Ok(Applied::Applied { instead_of: None }) => ("command", "allow", command.reason.clone()),
        Ok(Applied::Applied {
            instead_of: Some(other),
        }) => (
            "conflict",
            "allow",
            format!("replaces {} of the same version", hex::encode(other)),
        ),
        Ok(Applied::Lost { to }) => (
            "conflict",
            "deny",
            format!("{} of the same version stays", hex::encode(to)),
        ),
        Ok(Applied::Older) => ("command", "deny", "a newer version is in force".to_owned()),
        Err(refusal) => (
            "command",
            "deny",
            format!("{}: {}", refusal.code, refusal.reason),
        ),
    };
    let signers: Vec<&str> = checked
        .signers
        .iter()
        .filter_map(|key| transaction.state().operator(key))
        .map(|(name, _)| name)
        .collect();
    let detail = json!({
        "digest": hex::encode(checked.digest),
        "version": command.version,
        "kind": kind(&command.order),
        "signers": signers,
    });
    let subject = command.subject.clone();
    transaction.audit(Entry {
        event,
        actor: actor.to_owned(),
        subject,
        decision,
        reason,
        detail,
        ..Entry::default()
    });
    result
}

fn attempt(
    transaction: &mut Transaction<'_>,
    checked: &Checked,
    vault: &dyn ShareVault,
    judge: Judge,
) -> Result<Applied, Refusal> {
    // What was applied since may have changed whose signatures count, or what a descriptor continues; and what is
    // written must verify in its place when it is read again.
    let again;
    let checked = if checked.basis == transaction.state().commands().len() {
        checked
    } else {
        again = check(transaction.state(), &checked.envelope)?;
        &again
    };
    let command = &checked.command;
    approve(transaction.state(), checked, judge)?;
    if transaction.state().leaps(checked) {
        return Err(Refusal::new(
            Code::VersionConflict,
            "the version is too far ahead of its register",
        ));
    }
    let applied_at = transaction.now_ms();
    if is_too_late(transaction.state(), checked, applied_at) {
        return Err(Refusal::new(
            Code::KeyNotFound,
            "the key is deleted, and stays so",
        ));
    }
    let before = transaction.state().commands().len();
    let applied = transaction.state_mut().apply(checked, applied_at);
    if transaction.state().commands().len() > before {
        transaction.record(Change::Command {
            seq: transaction.state().commands().len() as u64,
            digest: checked.digest,
            envelope: checked.envelope.clone(),
            applied_at,
        });
    }
    if !matches!(applied, Applied::Applied { .. }) {
        return Ok(applied);
    }
    match (&command.order, &checked.content) {
        (_, Content::Descriptor { group, .. }) => take_share(transaction, group, vault),
        // A node that is admitted anew enrols anew: its old key must not stand in the way, nor be good any more.
        (Order::AdmitNode(_), _) => {
            if let Some(("node", node)) = command.subject.split_once(':')
                && transaction.state().pin(node).is_some()
            {
                transaction.delete_pin(node);
            }
        }
        _ => {}
    }
    Ok(applied)
}

/// Returns whether a command would bring a deleted key back: not even a peer may bring one that does.
fn is_too_late(state: &State, checked: &Checked, now_ms: u64) -> bool {
    let Checked {
        command, digest, ..
    } = checked;
    let key = command
        .subject
        .strip_prefix("key:")
        .and_then(|id| state.keys().get(id));
    command.order.family() == Family::KeyState
        && key.is_some_and(|key| key.state(now_ms) == KeyState::Deleted)
        && state.command(digest).is_none()
}

/// Takes this holder's new share in use and destroys the old ones.
fn take_share(transaction: &mut Transaction<'_>, group: &GroupKey, vault: &dyn ShareVault) {
    let me = &transaction.state().deployment().me.name;
    let is_holder = group.holders().iter().any(|holder| *holder.id == **me);
    let outcome = if is_holder {
        vault.promote(group, transaction)
    } else {
        vault.destroy(&share_id(group), transaction).map(|()| None)
    };
    let (share, lack) = match outcome {
        Ok(share) => {
            let lack = (is_holder && share.is_none())
                .then(|| "no candidate fits the descriptor".to_owned());
            (share, lack)
        }
        Err(error) => (None, Some(error.to_string())),
    };
    transaction
        .state_mut()
        .set_share(group.key_id(), group.epoch(), share);
    if let Some(reason) = lack {
        let subject = format!("key:{}", group.key_id());
        tracing::warn!(
            key = group.key_id(),
            reason,
            "this holder has no share of a key in force"
        );
        transaction.audit(Entry {
            event: "share-missing",
            subject,
            reason,
            ..Entry::default()
        });
    }
}

/// Checks that enough SecurityAdmins, distinct people, signed.
pub(super) fn approve(state: &State, checked: &Checked, judge: Judge) -> Result<(), Refusal> {
    let Command { subject, order, .. } = &checked.command;
    let (needed, count): (_, fn(&State, &BTreeSet<PublicKey>) -> usize) = match judge {
        Judge::Present => (state.needed_approvals(subject, order), State::approvals),
        Judge::Ever => (order.approvals(), State::former_approvals),
    };
    if let Content::Descriptor { signers, .. } = &checked.content
        && count(state, signers) < crate::descriptor::APPROVALS
    {
        return Err(Refusal::new(
            Code::Forbidden,
            "too few administrators signed the descriptor",
        ));
    }
    let found = count(state, &checked.signers);
    if found < needed {
        return Err(Refusal::new(
            Code::Forbidden,
            format!("approved by {found} of {needed} administrators"),
        ));
    }
    Ok(())
}

/// Makes the state anew from what is stored, checking everything as it was checked at first.
pub fn rebuild(
    mut state: State,
    store: &dyn Store,
    vault: &dyn ShareVault,
) -> Result<State, StoreError> {
    for (stored, seq) in store.commands()?.into_iter().zip(1u64..) {
        let StoredCommand {
            digest,
            envelope,
            applied_at,
            ..
        } = stored;
        let refused = |refusal: Refusal| {
            StoreError::corrupt(format!("command {seq} does not verify: {}", refusal.reason))
        };
        let checked = check(&state, &envelope).map_err(refused)?;
        // Some were adopted, and whether that was right depends on what peers had then.
        approve(&state, &checked, Judge::Ever).map_err(refused)?;
        let before = state.commands().len();
        state.apply(&checked, applied_at);
        if stored.seq != seq || checked.digest != digest || state.commands().len() == before {
            return Err(StoreError::corrupt(format!(
                "command {seq} is not what was written"
            )));
        }
    }
    for pin in store.pins()? {
        if !state.set_pin(&pin) {
            return Err(StoreError::corrupt(format!(
                "the key of node `{}`",
                pin.node
            )));
        }
    }
    for registration in store.registrations()? {
        state.set_registration(&registration);
    }
    let me = state.deployment().me.name.clone();
    let groups = state
        .keys()
        .values()
        .flat_map(|key| key.epochs.values())
        .map(|epoch| Arc::clone(&epoch.group));
    for group in groups.collect::<Vec<_>>() {
        if !group.holders().iter().any(|holder| *holder.id == *me) {
            continue;
        }
        let share = vault.get(&share_id(&group)).map_err(StoreError::corrupt)?;
        if let Some(share) = &share {
            share.verify(&group).map_err(StoreError::corrupt)?;
        }
        state.set_share(group.key_id(), group.epoch(), share);
    }
    Ok(state)
}

/// Returns where this holder's share of a group is kept.
pub fn share_id(group: &GroupKey) -> ShareId {
    ShareId {
        key_id: group.key_id().to_owned(),
        epoch: group.epoch(),
        generation: group.generation(),
    }
}

/// Returns the code for a state that does not allow an operation.
pub(super) const fn state_code(code: StateCode) -> Code {
    match code {
        StateCode::InvalidState | StateCode::Refuse => Code::InvalidState,
        StateCode::KeyPendingImport => Code::KeyPendingImport,
        StateCode::KeyDisabled => Code::KeyDisabled,
        StateCode::KeyPendingDeletion => Code::KeyPendingDeletion,
        StateCode::KeyNotFound => Code::KeyNotFound,
        StateCode::DeletionProtected => Code::DeletionProtected,
    }
}

/// What an operator who brings a command asks of the policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    Key(KeyAction),
    Holder(HolderAction),
}

pub(super) const fn asked(order: &Order) -> Asked {
    match order {
        Order::RevokeNode {} => Asked::Holder(HolderAction::RevokeNode),
        Order::UnrevokeNode {} => Asked::Holder(HolderAction::UnrevokeNode),
        // Who may say what a node is may as well say who a person is.
        Order::AdmitNode(_) | Order::Role { .. } => Asked::Holder(HolderAction::AssignRole),
        Order::Policy { .. } => Asked::Holder(HolderAction::UploadPolicy),
        Order::CreateKey(_) | Order::Descriptor { .. } => Asked::Key(KeyAction::CreateKey),
        Order::ImportKey(_) => Asked::Key(KeyAction::ImportKey),
        Order::RefreshKey { .. } => Asked::Key(KeyAction::RefreshShares),
        Order::ReshareKey { .. } | Order::RepairKey { .. } => Asked::Key(KeyAction::Reshare),
        Order::EnableKey {} => Asked::Key(KeyAction::EnableKey),
        Order::DisableKey {} => Asked::Key(KeyAction::DisableKey),
        Order::SetMinEpoch { .. } => Asked::Key(KeyAction::RotateKey),
        Order::ScheduleDeletion { .. } => Asked::Key(KeyAction::ScheduleDeletion),
        Order::CancelDeletion {} => Asked::Key(KeyAction::CancelDeletion),
    }
}

/// Checks an operator's order against the state of the key. Peers' commands are not asked: they are in force elsewhere.
pub(super) fn fits_state(state: &State, command: &Command, now_ms: u64) -> Result<(), Refusal> {
    let Some(("key", id)) = command.subject.split_once(':') else {
        return Ok(());
    };
    let key = state.keys().get(id);
    let protected = key.is_some_and(super::state::Key::is_protected);
    let operation = match &command.order {
        Order::CreateKey(plan) | Order::ImportKey(plan) => match key {
            Some(key) if !key.epochs.is_empty() => {
                let newest = key.epochs.keys().next_back().copied().unwrap_or(0);
                if plan.epoch != newest.saturating_add(1) {
                    return Err(Refusal::new(
                        Code::InvalidState,
                        "the epoch is not the next one",
                    ));
                }
                Operation::Rotate
            }
            _ if plan.epoch != 1 => {
                return Err(Refusal::new(Code::InvalidState, "the first epoch is 1"));
            }
            _ => return Ok(()),
        },
        Order::RefreshKey { .. } | Order::ReshareKey { .. } | Order::RepairKey { .. } => {
            Operation::Reshare
        }
        Order::EnableKey {} => Operation::Enable,
        Order::DisableKey {} => Operation::Disable,
        Order::ScheduleDeletion { .. } if protected => Operation::ScheduleDeletionProtected,
        Order::ScheduleDeletion { .. } => Operation::ScheduleDeletion,
        Order::CancelDeletion {} => Operation::CancelDeletion,
        _ => return Ok(()),
    };
    let Some(key) = key else {
        return Err(Refusal::new(Code::KeyNotFound, "no such key"));
    };
    state_allows(key.state(now_ms), operation)
        .map_err(|error| Refusal::new(state_code(error.code), error.to_string()))
}

fn is_subject(command: &Command) -> bool {
    match (command.subject.split_once(':'), &command.order) {
        (None, Order::Policy { .. }) => command.subject == "policy",
        (_, Order::Policy { .. }) => false,
        (
            Some(("node", name)),
            Order::RevokeNode {} | Order::UnrevokeNode {} | Order::AdmitNode(_),
        ) => names::is_name(name),
        (Some(("operator", name)), Order::Role { .. }) => names::is_name(name),
        (Some(("node" | "operator", _)), _) | (None, _) => false,
        (Some(("key", id)), order) => {
            let of_nodes = matches!(
                order,
                Order::RevokeNode {}
                    | Order::UnrevokeNode {}
                    | Order::AdmitNode(_)
                    | Order::Role { .. }
            );
            !of_nodes
                && !id.is_empty()
                && id.len() <= MAX_KEY_ID_LEN
                && id.bytes().all(|octet| octet.is_ascii_graphic())
        }
        (Some(_), _) => false,
    }
}

fn content(state: &State, command: &Command) -> Result<Content, Refusal> {
    let bad = |reason: &str| Err(Refusal::new(Code::BadRequest, reason));
    let holders = &state.deployment();
    let known = |names: &[String]| {
        let distinct: BTreeSet<&String> = names.iter().collect();
        distinct.len() == names.len() && names.iter().all(|name| holders.holder(name).is_some())
    };
    let name = command.subject.split_once(':').map_or("", |(_, name)| name);
    match &command.order {
        Order::CreateKey(plan) | Order::ImportKey(plan) => {
            let KeyPlan {
                epoch,
                threshold,
                holders,
                residency,
                ..
            } = plan;
            let t = usize::from(*threshold);
            if *epoch == 0 || t == 0 || t > holders.len() || !known(holders) {
                return bad("plan of a key");
            }
            if !residency.iter().all(|code| names::is_jurisdiction(code)) {
                return bad("residency of a key");
            }
        }
        Order::ReshareKey {
            threshold,
            holders,
            dealers,
            generation,
        } => {
            let t = usize::from(*threshold);
            if *generation == 0 || t == 0 || t > holders.len() || !known(holders) || !known(dealers)
            {
                return bad("plan of a reshare");
            }
        }
        Order::RepairKey { lost, helpers }
            if !known(helpers) || holders.holder(lost).is_none() || helpers.contains(lost) =>
        {
            return bad("plan of a repair");
        }
        Order::ScheduleDeletion { days } if !(7..=30).contains(days) => {
            return bad("days until deletion");
        }
        Order::AdmitNode(admission) => {
            let place = names::NodeName::new(
                name,
                &admission.region,
                &admission.zone,
                &admission.jurisdiction,
            );
            let join_key = PublicKey::from_spki(&admission.join_key.0);
            if place.is_err() || join_key.is_err() || holders.holder(&admission.home).is_none() {
                return bad("admission of a node");
            }
        }
        Order::Descriptor {
            descriptor,
            acceptances,
        } => {
            let (group, signers) = descriptor_in_force(state, name, descriptor, acceptances)?;
            let group = Arc::new(group);
            return Ok(Content::Descriptor { group, signers });
        }
        Order::Policy { set } => {
            let set = PolicySet::from_json(&set.0)
                .map_err(|error| Refusal::new(Code::BadRequest, format!("policy set: {error}")))?;
            let hash = set.hash();
            return Ok(Content::Policy(Arc::new(PolicyInForce {
                engine: Engine::new(set),
                hash,
            })));
        }
        Order::Role { spki, role } => {
            let Ok(key) = PublicKey::from_spki(&spki.0) else {
                return bad("key of an operator");
            };
            let Some(role) = role else {
                return Ok(Content::Operator(None));
            };
            let Some(role) = Role::ALL.into_iter().find(|known| known.as_str() == role) else {
                return bad("role of an operator");
            };
            // One key is one person: a second name for it would approve alone what two must approve.
            if state.operator(&key).is_some_and(|(other, _)| other != name) {
                return bad("the key is another operator's");
            }
            return Ok(Content::Operator(Some(Operator { key, role })));
        }
        _ => {}
    }
    Ok(Content::Plain)
}

/// Checks a descriptor: every holder in it, and that it continues what is in force; returns who signed it as well.
fn descriptor_in_force(
    state: &State,
    key_id: &str,
    descriptor: &Octets,
    acceptances: &[Octets],
) -> Result<(GroupKey, BTreeSet<PublicKey>), Refusal> {
    let invalid = |reason: String| Refusal::new(Code::ProofInvalid, reason);
    let verified = dsse::verify(&descriptor.0, KEY_DESCRIPTOR, state.signing_keys())
        .map_err(|error| invalid(format!("descriptor: {error}")))?;
    let group = GroupKey::from_json(&verified.payload)
        .map_err(|error| invalid(format!("descriptor: {error}")))?;
    if group.key_id() != key_id {
        return Err(Refusal::new(
            Code::BadRequest,
            "the descriptor is another key's",
        ));
    }
    let view = digest(&SHA256, &verified.payload);
    let mut waiting: BTreeSet<&str> = group.holders().iter().map(|holder| &*holder.id).collect();
    for holder in group.holders() {
        let known = state.deployment().holder(&holder.id);
        if known.is_none_or(|known| {
            known.index != holder.index.get() || *known.jurisdiction != *holder.jurisdiction
        }) {
            return Err(invalid(format!(
                "the descriptor has a holder `{}` that is not known so",
                holder.id
            )));
        }
    }
    for acceptance in acceptances {
        let (from, message) =
            ceremony_message(state, acceptance).map_err(|error| invalid(error.to_string()))?;
        let fits = message.step == Step::Accept
            && message.key_id == key_id
            && message.epoch == group.epoch()
            && message.generation == group.generation()
            && message.view.0 == view.as_ref();
        if fits {
            waiting.remove(from.as_str());
        }
    }
    if let Some(holder) = waiting.first() {
        return Err(invalid(format!(
            "holder `{holder}` has not accepted the descriptor"
        )));
    }
    let before = state
        .keys()
        .get(key_id)
        .and_then(|key| key.epochs.get(&group.epoch()));
    if let Some(before) = before.map(|epoch| &epoch.group)
        && (!before.is_same_key(&group) || before.generation() > group.generation())
    {
        return Err(invalid(
            "the descriptor does not continue the one in force".to_owned(),
        ));
    }
    Ok((group, verified.signers))
}

/// Verifies a message of a ceremony; returns its sender's name with it.
pub(super) fn ceremony_message(
    state: &State,
    envelope: &Octets,
) -> Result<(String, CeremonyMessage), DsseError> {
    let keys: Vec<(PublicKey, &str, u8)> = state
        .deployment()
        .holders()
        .filter_map(|holder| {
            Some((
                PublicKey::from_spki(&holder.signing_key.0).ok()?,
                holder.name.as_str(),
                holder.index,
            ))
        })
        .collect();
    let verified = dsse::verify(&envelope.0, CEREMONY, keys.iter().map(|(key, ..)| key))?;
    let message: CeremonyMessage =
        serde_json::from_slice(&verified.payload).map_err(|_| DsseError::Malformed)?;
    let sender = keys
        .iter()
        .find(|(key, _, index)| verified.signers.contains(key) && *index == message.from);
    sender
        .map(|(_, name, _)| ((*name).to_owned(), message))
        .ok_or(DsseError::NoKnownSigner)
}

fn kind(order: &Order) -> String {
    let value = serde_json::to_value(order).unwrap_or_default();
    value
        .get("kind")
        .and_then(|kind| kind.as_str())
        .unwrap_or_default()
        .to_owned()
}

const MAX_REASON_LEN: usize = 1024;
const MAX_KEY_ID_LEN: usize = 128;
