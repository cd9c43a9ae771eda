use std::collections::BTreeMap;
use std::time::Duration;

use sealift_holder::command::{Command, Order};

use crate::protocol::{HolderStatus, Refusal};

/// What the holders' feeds say about this node and the keys, and whether they can still be heard.
///
/// A revocation is in force once `n - t + 1` of `n` holders have it (`key-holders.md`, section 3.2). Whoever hears `t` of them
/// therefore hears one that knows; with fewer feeds a revocation may have passed unnoticed.
#[derive(Debug)]
pub struct Standing {
    subject: String,
    /// How many feeds must be alive: the largest threshold of any key.
    needed: usize,
    started: Duration,
    heard: BTreeMap<Box<str>, Option<Duration>>,
    access: Register<bool>,
    keys: BTreeMap<Box<str>, KeyStanding>,
}

#[derive(Debug, Default)]
struct KeyStanding {
    closed: Register<bool>,
    min_epoch: Register<u32>,
}

/// The newest command of one family and subject.
#[derive(Debug, Default)]
struct Register<T> {
    version: u64,
    value: T,
    /// Name of the holder it was heard from.
    by: Box<str>,
}

/// What has to happen at once because of a command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Nothing.
    None,
    /// This node is revoked: wipe everything.
    NodeRevoked,
    /// A key opens nothing below this epoch; if it is closed, nothing at all.
    KeyClosed {
        /// The key.
        key_id: Box<str>,
        /// The lowest epoch that is still opened.
        below: u64,
    },
}

impl Standing {
    /// Begins without any news, at the time since boot `now`.
    pub fn new<'a>(
        node: &str,
        holders: impl IntoIterator<Item = &'a str>,
        needed: usize,
        now: Duration,
    ) -> Self {
        Self {
            subject: format!("node:{node}"),
            needed,
            started: now,
            heard: holders
                .into_iter()
                .map(|name| (name.into(), None))
                .collect(),
            access: Register::default(),
            keys: BTreeMap::new(),
        }
    }

    /// Notes that a holder's feed is alive. Holders that are not of the deployment are passed over.
    pub fn heard(&mut self, holder: &str, now: Duration) {
        if let Some(heard) = self.heard.get_mut(holder) {
            *heard = Some(heard.map_or(now, |before| before.max(now)));
        }
    }

    /// Sets how many feeds must be alive.
    pub fn need(&mut self, count: usize) {
        self.needed = count;
    }

    /// Returns until when no revocation can have passed unnoticed.
    pub fn assured(&self) -> Duration {
        let heard = self
            .heard
            .values()
            .map(|heard| heard.unwrap_or(self.started));
        let mut heard: Vec<Duration> = heard.collect();
        heard.sort_unstable_by(|one, other| other.cmp(one));
        let last = self.needed.max(1) - 1;
        heard.get(last).copied().unwrap_or(self.started)
    }

    /// Applies a command whose signatures have been verified.
    pub fn apply(&mut self, command: &Command, holder: &str) -> Effect {
        let Command {
            subject, version, ..
        } = command;
        let key = |subject: &str| subject.strip_prefix("key:").map(Box::from);
        match &command.order {
            Order::RevokeNode {}
                if *subject == self.subject && self.access.set(*version, true, holder) =>
            {
                return Effect::NodeRevoked;
            }
            Order::UnrevokeNode {} if *subject == self.subject => {
                self.access.set(*version, false, holder);
            }
            Order::DisableKey {} | Order::ScheduleDeletion { .. } => {
                if let Some(key_id) = key(subject)
                    && self.key(&key_id).closed.set(*version, true, holder)
                {
                    let below = u64::MAX;
                    return Effect::KeyClosed { key_id, below };
                }
            }
            // A cancelled deletion leaves the key disabled.
            Order::CancelDeletion {} => {
                if let Some(key_id) = key(subject) {
                    self.key(&key_id).closed.set(*version, true, holder);
                }
            }
            Order::EnableKey {} => {
                if let Some(key_id) = key(subject) {
                    self.key(&key_id).closed.set(*version, false, holder);
                }
            }
            Order::SetMinEpoch { epoch } => {
                if let Some(key_id) = key(subject)
                    && self.key(&key_id).min_epoch.set(*version, *epoch, holder)
                {
                    let below = u64::from(*epoch);
                    return Effect::KeyClosed { key_id, below };
                }
            }
            _ => {}
        }
        Effect::None
    }

    /// Returns whether this node is revoked.
    pub fn revoked(&self) -> bool {
        self.access.value
    }

    /// Returns why nothing is given out any more; `key` is a key and an epoch, where they are known.
    pub fn refusal(&self, key: Option<(&str, u32)>) -> Option<Refusal> {
        let denied = |by: &str, code: &str| {
            Some(Refusal::Denied {
                by: by.to_owned(),
                code: code.to_owned(),
            })
        };
        if self.access.value {
            return denied(&self.access.by, "Forbidden");
        }
        let (key_id, epoch) = key?;
        let key = self.keys.get(key_id)?;
        if key.closed.value {
            return denied(&key.closed.by, "KeyDisabled");
        }
        if epoch < key.min_epoch.value {
            return denied(&key.min_epoch.by, "InvalidState");
        }
        None
    }

    /// Lists the keys that open nothing.
    pub fn closed_keys(&self) -> impl Iterator<Item = &str> {
        let closed = self.keys.iter().filter(|(_, key)| key.closed.value);
        closed.map(|(key_id, _)| &**key_id)
    }

    /// Says how the feeds are.
    pub fn holders(&self, now: Duration) -> Vec<HolderStatus> {
        let silent = |heard: &Option<Duration>| {
            heard.map(|heard| {
                u64::try_from(now.saturating_sub(heard).as_millis()).unwrap_or(u64::MAX)
            })
        };
        let holders = self.heard.iter().map(|(name, heard)| HolderStatus {
            name: name.to_string(),
            silent_for: silent(heard),
        });
        holders.collect()
    }

    fn key(&mut self, key_id: &str) -> &mut KeyStanding {
        self.keys.entry(key_id.into()).or_default()
    }
}

impl<T: PartialOrd> Register<T> {
    /// Takes a newer value, or of the same version the more restrictive, which is the greater one.
    fn set(&mut self, version: u64, value: T, by: &str) -> bool {
        let newer = version > self.version || (version == self.version && value > self.value);
        if newer {
            *self = Self {
                version,
                value,
                by: by.into(),
            };
        }
        newer
    }
}
