//! What a holder knows: registers of commands, and what follows from them.
//!
//! `State::apply` is the only way in, and it is deterministic: two holders that have applied the same commands, in
//! whatever order, know the same. It reads no clock and no store. Guards that must hold whoever brings a command are
//! therefore part of what a register means, not of whether a command is taken: deletion protection and the order of epochs
//! ([`Key::state`]).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use sealift_policy::{Engine, KeyFacts, KeyState, Role};
use sealift_threshold::{GroupKey, KeyShare};

use super::commands::{Checked, Content};
use super::store::{Pin, Registration, StoredCommand};
use crate::command::{Admission, Command, Family, KeyPlan, Order};
use crate::descriptor::Administrator;
use crate::keys::PublicKey;
use crate::octets::Octets;
use crate::statement::HolderDescriptor;
use crate::wire::Need;

/// What does not change while a holder runs: itself, its peers, and whom it believes at first.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// This holder.
    pub me: HolderDescriptor,
    /// The other holders.
    pub peers: Vec<HolderDescriptor>,
    /// SecurityAdmins from the beginning.
    pub administrators: Vec<Administrator>,
}

impl Deployment {
    /// Returns all holders, this one first.
    pub fn holders(&self) -> impl Iterator<Item = &HolderDescriptor> {
        std::iter::once(&self.me).chain(&self.peers)
    }

    /// Finds a holder by its name.
    pub fn holder(&self, name: &str) -> Option<&HolderDescriptor> {
        self.holders().find(|holder| holder.name == name)
    }
}

/// Somebody who may sign commands or connect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Operator {
    /// The key, for signatures and for TLS.
    pub key: PublicKey,
    /// The one role.
    pub role: Role,
}

/// What administrators said about a node.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Its place; without one it is served nothing.
    pub admission: Option<Arc<Admission>>,
    /// Whether it is revoked.
    pub revoked: bool,
}

/// What is known of a key.
#[derive(Clone, Debug, Default)]
pub struct Key {
    /// Plans by epoch, and whether the key of that epoch is brought.
    plans: BTreeMap<u32, (Arc<KeyPlan>, bool)>,
    /// What is in force, by epoch.
    pub epochs: BTreeMap<u32, Epoch>,
    /// The newest order about use, and when this holder applied it.
    order: Option<(KeyOrder, u64)>,
    /// Epochs below open nothing.
    pub min_epoch: u32,
    /// The newest order of a ceremony.
    pub ceremony: Option<CeremonyOrder>,
}

/// An order that begins a ceremony.
#[derive(Clone, Debug)]
pub struct CeremonyOrder {
    /// Its version.
    pub version: u64,
    /// SHA-256 of the command's payload.
    pub digest: [u8; 32],
    /// What it orders.
    pub order: Arc<Order>,
}

/// One epoch of a key.
#[derive(Clone, Debug)]
pub struct Epoch {
    /// The descriptor in force.
    pub group: Arc<GroupKey>,
    /// The signed descriptor, as it came.
    pub descriptor: Arc<Octets>,
    /// This holder's share of it.
    pub share: Option<Arc<KeyShare>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum KeyOrder {
    Enabled,
    Disabled,
    Deletion { days: u8 },
}

impl Key {
    /// Returns the state at a time (Unix milliseconds).
    pub fn state(&self, now_ms: u64) -> KeyState {
        match self.order {
            Some((KeyOrder::Deletion { days }, since)) if !self.is_protected() => {
                let end = since.saturating_add(u64::from(days).saturating_mul(DAY_MS));
                if now_ms >= end {
                    KeyState::Deleted
                } else {
                    KeyState::PendingDeletion
                }
            }
            _ if self.epochs.is_empty() => match self.plans.last_key_value() {
                Some((_, (_, true))) => KeyState::PendingImport,
                _ => KeyState::Creating,
            },
            Some((KeyOrder::Disabled | KeyOrder::Deletion { .. }, _)) => KeyState::Disabled,
            // A plan that leaves epochs out begins nothing.
            _ if self.plans.contains_key(&self.newest().saturating_add(1)) => KeyState::Rotating,
            _ => KeyState::Enabled,
        }
    }

    /// Returns the plan of the newest epoch in force; before there is one, the newest.
    pub fn plan(&self) -> Option<&KeyPlan> {
        self.plan_of(self.newest())
    }

    fn newest(&self) -> u32 {
        self.epochs
            .keys()
            .next_back()
            .or_else(|| self.plans.keys().next_back())
            .copied()
            .unwrap_or(0)
    }

    /// Returns whether the key is being deleted, or is gone.
    pub(super) fn is_condemned(&self) -> bool {
        matches!(self.order, Some((KeyOrder::Deletion { .. }, _))) && !self.is_protected()
    }

    /// Returns whether the key in force is protected from deletion: an order to delete it only disables it.
    pub(super) fn is_protected(&self) -> bool {
        !self.epochs.is_empty() && self.plan().is_some_and(|plan| plan.deletion_protection)
    }

    /// Returns the plan of an epoch.
    pub fn plan_of(&self, epoch: u32) -> Option<&KeyPlan> {
        self.plans.get(&epoch).map(|(plan, _)| &**plan)
    }

    /// Returns what policies may know: of the newest epoch in force.
    pub fn facts(&self, id: &str, now_ms: u64) -> KeyFacts {
        self.facts_of(id, self.newest(), now_ms)
    }

    /// The same for one epoch: what is planned for the next one says nothing about it.
    pub fn facts_of(&self, id: &str, epoch: u32, now_ms: u64) -> KeyFacts {
        let plan = self.plan_of(epoch);
        KeyFacts {
            id: id.to_owned(),
            state: self.state(now_ms),
            epoch: self.epochs.keys().next_back().copied().unwrap_or(0),
            min_unwrap_epoch: self.min_epoch,
            residency: plan.map(|plan| plan.residency.clone()).unwrap_or_default(),
            allow_unbound: plan.is_some_and(|plan| plan.unbound),
        }
    }
}

/// A policy set in force.
#[derive(Debug)]
pub struct PolicyInForce {
    /// What decides.
    pub engine: Engine,
    /// SHA-256 of the set.
    pub hash: [u8; 32],
}

/// Everything a holder knows.
#[derive(Clone, Debug)]
pub struct State {
    deployment: Arc<Deployment>,
    registers: HashMap<Register, Held>,
    operators: BTreeMap<String, Operator>,
    /// Names and keys of everybody who is or once was a SecurityAdmin.
    ever_admins: BTreeSet<(String, PublicKey)>,
    nodes: BTreeMap<String, Node>,
    pins: HashMap<String, PublicKey>,
    /// Repositories by key and digest (hex) of an unlabelled wrap.
    registrations: Arc<Registrations>,
    keys: BTreeMap<String, Key>,
    policy: Option<Arc<PolicyInForce>>,
    commands: Vec<Arc<StoredCommand>>,
    known: HashMap<[u8; 32], u64>,
    envelopes: HashSet<[u8; 32]>,
}

type Registrations = BTreeMap<String, HashMap<String, Arc<str>>>;

/// Commands of one register replace each other.
///
/// Orders about one epoch of a key have a register of their own: a holder that hears of epoch 2 before epoch 1 must
/// not miss epoch 1.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Register {
    family: Family,
    subject: String,
    epoch: u32,
}

#[derive(Clone, Debug)]
struct Held {
    version: u64,
    severity: (u8, u64),
    digest: [u8; 32],
}

/// What became of a command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Applied {
    /// It was applied before, and nothing has replaced it.
    Known,
    /// It is in force here now; it replaced another of the same version if so said.
    Applied {
        /// Digest of the command of the same version that it replaced.
        instead_of: Option<[u8; 32]>,
    },
    /// Another of the same version is more restrictive and stays.
    Lost {
        /// Digest of the one that stays.
        to: [u8; 32],
    },
    /// A newer one is in force.
    Older,
}

impl State {
    /// Starts with what the configuration says.
    pub fn new(deployment: Arc<Deployment>) -> Self {
        let operators = deployment.administrators.iter().map(|administrator| {
            let operator = Operator {
                key: administrator.key.clone(),
                role: Role::SecurityAdmin,
            };
            (administrator.name.clone(), operator)
        });
        let operators: BTreeMap<_, Operator> = operators.collect();
        let ever_admins = operators
            .iter()
            .map(|(name, operator)| (name.clone(), operator.key.clone()))
            .collect();
        Self {
            deployment,
            operators,
            ever_admins,
            registers: HashMap::new(),
            nodes: BTreeMap::new(),
            pins: HashMap::new(),
            registrations: Arc::default(),
            keys: BTreeMap::new(),
            policy: None,
            commands: Vec::new(),
            known: HashMap::new(),
            envelopes: HashSet::new(),
        }
    }

    /// Returns this holder, its peers and the first administrators.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// Returns the operators by name.
    pub const fn operators(&self) -> &BTreeMap<String, Operator> {
        &self.operators
    }

    /// Finds the operator whose key this is.
    pub fn operator(&self, key: &PublicKey) -> Option<(&str, &Operator)> {
        self.operators
            .iter()
            .find(|(_, operator)| operator.key == *key)
            .map(|(name, operator)| (name.as_str(), operator))
    }

    /// Returns the nodes by name.
    pub const fn nodes(&self) -> &BTreeMap<String, Node> {
        &self.nodes
    }

    /// Returns whether the node is revoked.
    pub fn is_revoked(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|node| node.revoked)
    }

    /// Returns the key that the node enrolled with.
    pub fn pin(&self, node: &str) -> Option<&PublicKey> {
        self.pins.get(node)
    }

    /// Returns the repository that an unlabelled wrap is registered for; `wrap` is its digest in hex.
    pub fn registration(&self, key_id: &str, wrap: &str) -> Option<&str> {
        let repo = self.registrations.get(key_id)?.get(wrap)?;
        Some(repo)
    }

    /// Returns how many wraps of a key are registered.
    pub(super) fn registrations(&self, key_id: &str) -> usize {
        self.registrations.get(key_id).map_or(0, HashMap::len)
    }

    /// Returns the keys by id.
    pub const fn keys(&self) -> &BTreeMap<String, Key> {
        &self.keys
    }

    /// Returns the policy in force.
    pub const fn policy(&self) -> Option<&Arc<PolicyInForce>> {
        self.policy.as_ref()
    }

    /// Returns the applied commands in the order of this holder; the `n`th has position `n + 1`.
    pub fn commands(&self) -> &[Arc<StoredCommand>] {
        &self.commands
    }

    /// Finds an applied command by the SHA-256 of its payload.
    pub fn command(&self, digest: &[u8; 32]) -> Option<&StoredCommand> {
        let at = usize::try_from(self.known.get(digest)?.checked_sub(1)?).ok()?;
        self.commands.get(at).map(|command| &**command)
    }

    /// Returns whether this very envelope was applied.
    pub fn has_envelope(&self, envelope: &[u8]) -> bool {
        self.envelopes.contains(&sha256(envelope))
    }

    /// Returns the version after the newest one of an order's register.
    pub fn next_version(&self, subject: &str, order: &Order) -> u64 {
        self.registers
            .get(&Register::of(subject, order, None))
            .map_or(1, |held| held.version.saturating_add(1))
    }

    /// Returns how many SecurityAdmins, distinct people, are among these keys.
    pub fn approvals(&self, signers: &BTreeSet<PublicKey>) -> usize {
        let admins = self
            .operators
            .values()
            .filter(|operator| operator.role == Role::SecurityAdmin);
        admins
            .filter(|operator| signers.contains(&operator.key))
            .count()
    }

    /// The same for who is or once was a SecurityAdmin.
    pub(super) fn former_approvals(&self, signers: &BTreeSet<PublicKey>) -> usize {
        let signed = self
            .ever_admins
            .iter()
            .filter(|(_, key)| signers.contains(key));
        let (names, keys): (BTreeSet<_>, BTreeSet<_>) =
            signed.map(|(name, key)| (name, key)).unzip();
        // Neither two keys of one person nor two names of one key are two people.
        names.len().min(keys.len())
    }

    /// Returns the keys of everybody who is an operator, or once was a SecurityAdmin.
    pub(super) fn signing_keys(&self) -> impl Iterator<Item = &PublicKey> {
        let present = self.operators.values().map(|operator| &operator.key);
        present.chain(self.ever_admins.iter().map(|(_, key)| key))
    }

    /// Returns how many approvals a command needs: what its order says, and two for what would undo a protection.
    pub fn needed_approvals(&self, subject: &str, order: &Order) -> usize {
        let lowers = match order {
            Order::SetMinEpoch { epoch } => {
                let key = subject
                    .strip_prefix("key:")
                    .and_then(|id| self.keys.get(id));
                key.is_some_and(|key| key.min_epoch > *epoch)
            }
            _ => false,
        };
        order.approvals().max(if lowers { 2 } else { 1 })
    }

    /// Returns whether a command's version leaves so many out that its register would be used up.
    pub(super) fn leaps(&self, checked: &Checked) -> bool {
        let newest = self
            .registers
            .get(&Register::of_checked(checked))
            .map_or(0, |held| held.version);
        checked.command.version.saturating_sub(newest) > MAX_LEAP
    }

    /// Applies a command whose signatures and approvals were checked.
    pub(super) fn apply(&mut self, checked: &Checked, applied_at: u64) -> Applied {
        let digest = checked.digest;
        let command = &checked.command;
        let register = Register::of_checked(checked);
        let held = Held {
            version: command.version,
            severity: severity(&command.order),
            digest,
        };
        if let Content::Operator(Some(operator)) = &checked.content
            && operator.role == Role::SecurityAdmin
            && let Some((_, name)) = command.subject.split_once(':')
        {
            self.ever_admins
                .insert((name.to_owned(), operator.key.clone()));
        }
        let mut instead_of = None;
        if let Some(before) = self.registers.get(&register) {
            if before.digest == digest {
                return Applied::Known;
            }
            let lost = if held.version < before.version {
                Some(Applied::Older)
            } else if held.version > before.version {
                None
            } else {
                instead_of = Some(before.digest);
                // Of two equally restrictive ones any will do, as long as all holders take the same.
                let wins = (held.severity, before.digest) > (before.severity, held.digest);
                (!wins).then_some(Applied::Lost { to: before.digest })
            };
            if let Some(lost) = lost {
                // Who was an administrator for a while stays known: what they signed then may be in force.
                if command.order.family() == Family::Role && !self.known.contains_key(&digest) {
                    self.keep(checked, applied_at);
                }
                return lost;
            }
        }
        self.registers.insert(register, held);
        self.effect(checked, applied_at);
        self.keep(checked, applied_at);
        Applied::Applied { instead_of }
    }

    /// Appends a command to the log of this holder.
    fn keep(&mut self, checked: &Checked, applied_at: u64) {
        let digest = checked.digest;
        let seq = self.commands.len() as u64 + 1;
        self.known.insert(digest, seq);
        self.envelopes.insert(sha256(&checked.envelope));
        let envelope = checked.envelope.clone();
        self.commands.push(Arc::new(StoredCommand {
            seq,
            digest,
            envelope,
            applied_at,
        }));
    }

    fn effect(&mut self, checked: &Checked, applied_at: u64) {
        let Some((_, name)) = checked.command.subject.split_once(':') else {
            if let Content::Policy(policy) = &checked.content {
                self.policy = Some(Arc::clone(policy));
            }
            return;
        };
        let name = name.to_owned();
        if checked.command.order.family() == Family::KeyCeremony {
            let Command { version, order, .. } = &checked.command;
            let newest = &mut self.keys.entry(name.clone()).or_default().ceremony;
            if newest
                .as_ref()
                .is_none_or(|newest| newest.version <= *version)
            {
                let (version, digest, order) = (*version, checked.digest, Arc::new(order.clone()));
                *newest = Some(CeremonyOrder {
                    version,
                    digest,
                    order,
                });
            }
        }
        match &checked.command.order {
            Order::RevokeNode {} => self.nodes.entry(name).or_default().revoked = true,
            Order::UnrevokeNode {} => self.nodes.entry(name).or_default().revoked = false,
            Order::AdmitNode(admission) => {
                self.nodes.entry(name).or_default().admission = Some(Arc::new(admission.clone()));
            }
            Order::CreateKey(plan) => self.plan_key(name, plan, false),
            Order::ImportKey(plan) => self.plan_key(name, plan, true),
            Order::Descriptor { descriptor, .. } => {
                if let Content::Descriptor { group, .. } = &checked.content {
                    let epoch = Epoch {
                        group: Arc::clone(group),
                        descriptor: Arc::new(descriptor.clone()),
                        share: None,
                    };
                    self.keys
                        .entry(name)
                        .or_default()
                        .epochs
                        .insert(group.epoch(), epoch);
                }
            }
            Order::EnableKey {} => self.key_order(name, KeyOrder::Enabled, applied_at),
            Order::DisableKey {} | Order::CancelDeletion {} => {
                self.key_order(name, KeyOrder::Disabled, applied_at)
            }
            Order::ScheduleDeletion { days } => {
                self.key_order(name, KeyOrder::Deletion { days: *days }, applied_at)
            }
            Order::SetMinEpoch { epoch } => self.keys.entry(name).or_default().min_epoch = *epoch,
            Order::Role { .. } => match &checked.content {
                Content::Operator(Some(operator)) => {
                    self.operators.insert(name, operator.clone());
                }
                _ => {
                    self.operators.remove(&name);
                }
            },
            Order::RefreshKey { .. }
            | Order::ReshareKey { .. }
            | Order::RepairKey { .. }
            | Order::Policy { .. } => {}
        }
    }

    fn plan_key(&mut self, id: String, plan: &KeyPlan, brought: bool) {
        let key = self.keys.entry(id).or_default();
        // What two administrators brought into force one cannot plan anew: residency and protection stay.
        if !(key.epochs.contains_key(&plan.epoch) && key.plans.contains_key(&plan.epoch)) {
            key.plans
                .insert(plan.epoch, (Arc::new(plan.clone()), brought));
        }
    }

    fn key_order(&mut self, id: String, order: KeyOrder, applied_at: u64) {
        self.keys.entry(id).or_default().order = Some((order, applied_at));
    }

    pub(super) fn set_share(&mut self, key_id: &str, epoch: u32, share: Option<KeyShare>) {
        if let Some(epoch) = self
            .keys
            .get_mut(key_id)
            .and_then(|key| key.epochs.get_mut(&epoch))
        {
            epoch.share = share.map(Arc::new);
        }
    }

    pub(super) fn set_pin(&mut self, pin: &Pin) -> bool {
        let key = PublicKey::from_spki(&pin.spki).ok();
        key.is_some_and(|key| {
            self.pins.insert(pin.node.clone(), key);
            true
        })
    }

    pub(super) fn set_registration(&mut self, registration: &Registration) {
        Arc::make_mut(&mut self.registrations)
            .entry(registration.key_id.clone())
            .or_default()
            .insert(
                hex::encode(registration.wrap),
                registration.repo.as_str().into(),
            );
    }

    pub(super) fn remove_pin(&mut self, node: &str) {
        self.pins.remove(node);
    }

    /// Returns who must have applied a command before it is in force everywhere.
    pub fn requirement(&self, subject: &str, order: &Order) -> Requirement {
        self.requirement_of(subject, order.is_restrictive())
    }

    /// Returns whether a command is believed to be in force, against the roles of this moment, when these have applied it.
    ///
    /// Where fewer than t holders are enough to put an order in force, only what takes one node or one key away is believed
    /// of so few: a lie about it denies service, which they can do anyhow.
    pub(super) fn is_in_force(
        &self,
        subject: &str,
        order: &Order,
        applied: &BTreeSet<String>,
    ) -> bool {
        let takes_one_away = match order {
            Order::RevokeNode {} | Order::DisableKey {} => true,
            Order::SetMinEpoch { .. } => self.needed_approvals(subject, order) == 1,
            _ => false,
        };
        let by = |restrictive| self.requirement_of(subject, restrictive).is_met(applied);
        by(order.is_restrictive()) && (takes_one_away || by(false))
    }

    fn requirement_of(&self, subject: &str, restrictive: bool) -> Requirement {
        let of_one = subject.strip_prefix("key:");
        let keys = self
            .keys
            .iter()
            .filter(|(id, _)| of_one.is_none_or(|of| of == id.as_str()));
        let groups = keys
            .flat_map(|(_, key)| key.epochs.values())
            .map(|epoch| parts(&epoch.group));
        let mut needs: Vec<Vec<Need>> = groups
            .map(|parts| {
                let parts = parts.into_iter();
                parts
                    .map(|(t, holders)| Need {
                        count: count(restrictive, t, holders.len()),
                        holders,
                    })
                    .collect()
            })
            .collect();
        if needs.is_empty() {
            let holders: BTreeSet<String> = self
                .deployment
                .holders()
                .map(|holder| holder.name.clone())
                .collect();
            let majority = holders.len() / 2 + 1;
            needs.push(vec![Need {
                count: count(restrictive, majority, holders.len()),
                holders,
            }]);
        }
        Requirement { restrictive, needs }
    }
}

/// Threshold and holders of every access part.
fn parts(group: &GroupKey) -> Vec<(usize, BTreeSet<String>)> {
    let name = |index| group.holder(index).map(|holder| holder.id.to_string());
    let parts = group.parts().iter();
    parts
        .map(|part| {
            (
                usize::from(part.t),
                part.holders
                    .iter()
                    .filter_map(|index| name(*index))
                    .collect(),
            )
        })
        .collect()
}

const fn count(restrictive: bool, t: usize, n: usize) -> usize {
    if restrictive {
        n.saturating_sub(t).saturating_add(1)
    } else {
        t
    }
}

/// Who must have applied a command: for every key, in one part (restrictive) or in all parts (permissive), so many.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Requirement {
    restrictive: bool,
    needs: Vec<Vec<Need>>,
}

impl Requirement {
    /// Returns whether it is met by these holders.
    pub fn is_met(&self, confirmed: &BTreeSet<String>) -> bool {
        let enough = |need: &Need| need.holders.intersection(confirmed).count() >= need.count;
        // A release needs t holders of every part: one part without them is enough to stop it.
        self.needs.iter().all(|parts| {
            if self.restrictive {
                parts.iter().any(enough)
            } else {
                parts.iter().all(enough)
            }
        })
    }

    /// Returns what is needed: of each list one (restrictive) or all.
    pub fn needs(&self) -> &[Vec<Need>] {
        &self.needs
    }

    /// Adds what another holder knows to be needed: it may know keys that are not known here yet.
    pub fn join(&mut self, needs: Vec<Vec<Need>>) {
        for need in needs {
            if !self.needs.contains(&need) && self.needs.len() < MAX_NEEDS {
                self.needs.push(need);
            }
        }
    }

    /// Returns how many holders are needed at least.
    pub fn needed(&self) -> usize {
        let of_key = |parts: &Vec<Need>| {
            let counts = parts.iter().map(|need| need.count);
            if self.restrictive {
                counts.min()
            } else {
                counts.max()
            }
        };
        self.needs.iter().filter_map(of_key).max().unwrap_or(1)
    }
}

impl Register {
    fn of_checked(
        Checked {
            command, content, ..
        }: &Checked,
    ) -> Self {
        let epoch = match content {
            Content::Descriptor { group, .. } => Some(group.epoch()),
            _ => None,
        };
        Self::of(&command.subject, &command.order, epoch)
    }

    fn of(subject: &str, order: &Order, epoch: Option<u32>) -> Self {
        let epoch = epoch.unwrap_or(match order {
            Order::CreateKey(plan) | Order::ImportKey(plan) => plan.epoch,
            _ => 0,
        });
        Self {
            family: order.family(),
            subject: subject.to_owned(),
            epoch,
        }
    }
}

/// Orders commands of one register and version by how much they take away.
const fn severity(order: &Order) -> (u8, u64) {
    match order {
        Order::ScheduleDeletion { .. } => (3, 0),
        Order::DisableKey {} => (2, 0),
        Order::RevokeNode {} | Order::CancelDeletion {} | Order::Role { role: None, .. } => (1, 0),
        Order::SetMinEpoch { epoch } => (0, *epoch as u64),
        _ => (0, 0),
    }
}

fn sha256(octets: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, octets).as_ref());
    hash
}

/// Most versions between one command of a register and the next: each holder hears of all, so none is ever far ahead,
/// and a single administrator cannot use up what others need to order the opposite.
const MAX_LEAP: u64 = 1 << 32;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Most keys whose holders one command is waited for, of what peers add.
const MAX_NEEDS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn need(count: usize, holders: &[&str]) -> Vec<Need> {
        vec![Need {
            count,
            holders: names(holders),
        }]
    }

    #[test]
    fn a_holder_that_lags_waits_for_those_whom_its_peers_know() {
        // It knows no key; gru knows one that fra, gru and syd share.
        let mut requirement = Requirement {
            restrictive: true,
            needs: vec![need(2, &["fra", "gru", "nrt", "syd"])],
        };
        let confirmed = names(&["nrt", "gru"]);
        assert!(requirement.is_met(&confirmed));
        let of_key = need(2, &["fra", "gru", "syd"]);
        requirement.join(vec![of_key.clone(), of_key]);
        assert_eq!(requirement.needs().len(), 2);
        assert!(!requirement.is_met(&confirmed));
        assert!(requirement.is_met(&names(&["nrt", "gru", "syd"])));
    }
}
