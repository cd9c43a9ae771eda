use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sealift_holder::command::Command;
use sealift_keywrap::{LayerSecret, ThresholdLabel, WrappedKey};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::lease::{Leases, WrapId};
use super::standing::{Effect, Standing};
use crate::protocol::{MAX_SECRET_LEN, Refusal, Secret, Status};

/// The time since the machine started, sleep included (`CLOCK_BOOTTIME`).
pub type BootClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Whoever asks the holders.
pub trait KeySource: Send + Sync {
    /// Asks for all of `wraps` at once and returns one result for each, in order.
    ///
    /// Must end by itself, in less time than [`AgentIdentity::TIMEOUT`](crate::AgentIdentity::TIMEOUT).
    fn release<'a>(
        &'a self,
        wraps: &'a [WrappedKey],
    ) -> BoxFuture<'a, Vec<Result<Released, Refusal>>>;
}

/// What holders released.
#[derive(Debug)]
pub struct Released {
    /// The secret.
    pub secret: LayerSecret,
    /// The key that opened it.
    pub key_id: Box<str>,
    /// The key's epoch.
    pub epoch: u32,
    /// How long the holders let it be kept, from when the request was sent.
    pub lease: Duration,
}

/// How a [`Resident`] behaves.
#[derive(Clone)]
pub struct Settings {
    /// The node's name.
    pub node: Box<str>,
    /// Longest lease. Zero keeps nothing.
    pub lease: Duration,
    /// The clock.
    pub clock: BootClock,
}

/// The agent itself: asks for the keys of an image once, keeps them for the lease, and lets go of them when told.
pub struct Resident {
    settings: Settings,
    source: Arc<dyn KeySource>,
    state: Mutex<State>,
    /// Unix seconds; zero if not known.
    certificate_until: AtomicU64,
}

struct State {
    standing: Standing,
    leases: Leases,
    /// Elements that are being asked for, and how that ended.
    fetching: HashMap<WrapId, watch::Receiver<Option<Fetched>>>,
}

/// `Ok` once the secret is among the leases, if it may be kept at all.
type Fetched = Result<(), Refusal>;

/// One run to the holders; the secret of its first element is for whoever began it.
type Run = JoinHandle<Result<Secret, Refusal>>;

impl Resident {
    /// The longest lease unless configured otherwise.
    pub const LEASE: Duration = Duration::from_secs(600);

    /// Begins with nothing.
    pub fn new(settings: Settings, standing: Standing, source: Arc<dyn KeySource>) -> Self {
        Self {
            settings,
            source,
            state: Mutex::new(State {
                standing,
                leases: Leases::default(),
                fetching: HashMap::new(),
            }),
            certificate_until: AtomicU64::new(0),
        }
    }

    /// Returns the node's name.
    pub fn node(&self) -> &str {
        &self.settings.node
    }

    /// Gives the secret in `wanted`, from memory or from the holders; in the latter case those of `siblings` come along.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn unwrap(
        self: &Arc<Self>,
        wanted: WrappedKey,
        subject: Option<&str>,
        siblings: Vec<WrappedKey>,
    ) -> Result<Secret, Refusal> {
        // The client has compared the label too; but this is where secrets are kept.
        let label = match ThresholdLabel::of(&wanted) {
            Some(label) => Some(
                label
                    .and_then(|label| label.naming(subject))
                    .map_err(malformed)?,
            ),
            None => None,
        };
        let key = label.as_ref().map(|label| (&*label.key_id, label.epoch));
        let id = WrapId::of(&wanted);
        let mut batch = vec![wanted];
        batch.extend(siblings);
        for _ in 0..ATTEMPTS {
            match self.look_up(&id, key, &batch)? {
                Found::Here(secret) => return Ok(secret),
                Found::Begun(run) => return run.await.unwrap_or_else(|_| Err(broken())),
                Found::Underway(mut fetched) => {
                    let ended = fetched.wait_for(Option::is_some).await;
                    let ended = ended.map_err(|_| broken())?;
                    if let Some(Err(refusal)) = &*ended {
                        return Err(refusal.clone());
                    }
                }
            }
        }
        Err(broken())
    }

    /// Begins to fetch what is not here; returns how many elements that are.
    pub fn prefetch(self: &Arc<Self>, wraps: Vec<WrappedKey>) -> usize {
        let now = (self.settings.clock)();
        let mut state = self.state();
        let batch = self.missing(&mut state, now, &wraps);
        if batch.is_empty() || self.settings.lease.is_zero() {
            return 0;
        }
        let count = batch.len();
        // The task goes on without its handle.
        drop(self.begin(&mut state, batch));
        count
    }

    /// Applies a verified command that was heard from a holder, at once.
    pub fn apply(&self, command: &Command, holder: &str) {
        let mut state = self.state();
        match state.standing.apply(command, holder) {
            Effect::None => {}
            Effect::NodeRevoked => {
                state.leases.clear();
                tracing::warn!(holder, "this node is revoked: all keys are wiped");
            }
            Effect::KeyClosed { key_id, below } => {
                state.leases.forget(&key_id, below);
                tracing::warn!(holder, %key_id, "key is closed: what it released is wiped");
            }
        }
    }

    /// Notes that a holder's feed is alive.
    pub fn heard(&self, holder: &str) {
        let now = (self.settings.clock)();
        self.state().standing.heard(holder, now);
    }

    /// Sets how many feeds must be alive, as keys come and change.
    pub fn need_feeds(&self, count: usize) {
        self.state().standing.need(count);
    }

    /// Notes until when the node's certificate is valid.
    pub fn certificate_until(&self, unix_seconds: u64) {
        self.certificate_until
            .store(unix_seconds, Ordering::Relaxed);
    }

    /// Wipes what has ended, and everything when too few feeds were alive for longer than the lease.
    ///
    /// To be called about once a second: secrets that have ended are never given out, but are wiped only here.
    pub fn tend(&self) {
        let now = (self.settings.clock)();
        self.tended(&mut self.state(), now);
    }

    /// Wipes everything that is held.
    pub fn wipe(&self) {
        self.state().leases.clear();
    }

    /// Says how the agent is.
    pub fn status(&self) -> Status {
        let now = (self.settings.clock)();
        let mut state = self.state();
        self.tended(&mut state, now);
        let until = self.certificate_until.load(Ordering::Relaxed);
        Status {
            revoked: state.standing.revoked(),
            disabled_keys: state.standing.closed_keys().map(Into::into).collect(),
            leases: state.leases.len(),
            lease_seconds: self.settings.lease.as_secs(),
            locked: state.leases.locked(),
            holders: state.standing.holders(now),
            certificate_until: (until > 0).then_some(until),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tended(&self, state: &mut State, now: Duration) {
        state.leases.sweep(now);
        if !self.is_assured(state, now) {
            state.leases.clear();
        }
    }

    /// Returns whether a revocation older than the longest lease would have been heard of.
    fn is_assured(&self, state: &State, now: Duration) -> bool {
        now.saturating_sub(state.standing.assured()) <= self.settings.lease
    }

    /// Finds a secret, joins those who wait for it, or begins to fetch it; siblings that are missing are fetched in any case.
    fn look_up(
        self: &Arc<Self>,
        id: &WrapId,
        key: Option<(&str, u32)>,
        batch: &[WrappedKey],
    ) -> Result<Found, Refusal> {
        let now = (self.settings.clock)();
        let mut state = self.state();
        self.tended(&mut state, now);
        if let Some(refusal) = state.standing.refusal(key) {
            return Err(refusal);
        }
        // Siblings that may not be kept would be released for nothing.
        let batch = match batch {
            [wanted, ..] if self.settings.lease.is_zero() => std::slice::from_ref(wanted),
            batch => batch,
        };
        let here = state.leases.get(id, now);
        let here = here.map(|secret| Secret(Zeroizing::new(secret.to_vec())));
        let underway = state.fetching.get(id).cloned();
        let missing = self.missing(&mut state, now, batch);
        let run = (!missing.is_empty()).then(|| self.begin(&mut state, missing));
        match (here, underway, run) {
            (Some(secret), ..) => Ok(Found::Here(secret)),
            (None, Some(fetched), _) => Ok(Found::Underway(fetched)),
            (None, None, Some(run)) => Ok(Found::Begun(run)),
            // What is neither here nor under way is missing.
            (None, None, None) => Err(broken()),
        }
    }

    /// Picks the elements that are neither here nor on their way nor refused in advance, each once.
    fn missing(
        &self,
        state: &mut State,
        now: Duration,
        wraps: &[WrappedKey],
    ) -> Vec<(WrapId, WrappedKey)> {
        let mut seen = HashSet::new();
        let mut batch = Vec::new();
        for wrapped in wraps {
            let id = WrapId::of(wrapped);
            let label = match ThresholdLabel::of(wrapped) {
                Some(Ok(label)) => Some(label),
                Some(Err(_)) => continue,
                None => None,
            };
            let key = label.as_ref().map(|label| (&*label.key_id, label.epoch));
            let wanted = state.leases.get(&id, now).is_none()
                && !state.fetching.contains_key(&id)
                && state.standing.refusal(key).is_none();
            if wanted && seen.insert(id) {
                batch.push((id, wrapped.clone()));
            }
        }
        batch
    }

    /// Starts a run to the holders. It goes on when nobody waits for it any more.
    fn begin(self: &Arc<Self>, state: &mut State, batch: Vec<(WrapId, WrappedKey)>) -> Run {
        let mut senders = Vec::new();
        let mut wraps = Vec::new();
        for (id, wrapped) in batch {
            let (sender, receiver) = watch::channel(None);
            state.fetching.insert(id, receiver);
            senders.push((id, sender));
            wraps.push(wrapped);
        }
        let run = Fetch {
            resident: Arc::clone(self),
            senders,
        };
        tokio::spawn(run.run(wraps))
    }

    /// Decides about one answer: whether it may still be used, and how long it may be kept.
    fn conclude(
        &self,
        state: &mut State,
        id: WrapId,
        sent: Duration,
        released: Released,
    ) -> Result<Secret, Refusal> {
        let now = (self.settings.clock)();
        // A command may have come while the answer was under way.
        let key = (&*released.key_id, released.epoch);
        if let Some(refusal) = state.standing.refusal(Some(key)) {
            return Err(refusal);
        }
        if released.secret.expose().len() > MAX_SECRET_LEN {
            return Err(malformed("secret is too long"));
        }
        let lease = self.settings.lease.min(released.lease);
        let age = now.saturating_sub(sent);
        if age >= if lease.is_zero() { ONCE } else { lease } {
            return Err(Refusal::Unavailable {
                reason: "the lease ended before the answer came".into(),
            });
        }
        if !lease.is_zero() && self.is_assured(state, now) {
            let kept = state.leases.insert(id, &released.secret, key, sent + lease);
            if let Err(error) = kept {
                tracing::warn!(%error, "a released key cannot be kept");
            }
        }
        Ok(Secret(Zeroizing::new(released.secret.expose().to_vec())))
    }
}

impl fmt::Debug for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resident")
            .field("node", &self.settings.node)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("node", &self.node)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

enum Found {
    Here(Secret),
    Underway(watch::Receiver<Option<Fetched>>),
    Begun(Run),
}

/// A run to the holders. However it ends, its elements are no longer on their way afterwards.
struct Fetch {
    resident: Arc<Resident>,
    senders: Vec<(WrapId, watch::Sender<Option<Fetched>>)>,
}

impl Fetch {
    async fn run(self, wraps: Vec<WrappedKey>) -> Result<Secret, Refusal> {
        // The lease counts from here, which is earlier than any holder counts from.
        let sent = (self.resident.settings.clock)();
        let source = Arc::clone(&self.resident.source);
        let mut releases = source.release(&wraps).await.into_iter();
        let mut first = None;
        let mut state = self.resident.state();
        for (id, sender) in &self.senders {
            let release = releases.next().unwrap_or_else(|| Err(broken()));
            let concluded = release
                .and_then(|released| self.resident.conclude(&mut state, *id, sent, released));
            state.fetching.remove(id);
            sender.send_replace(Some(concluded.as_ref().map(drop).map_err(Clone::clone)));
            first.get_or_insert(concluded);
        }
        drop(state);
        first.unwrap_or_else(|| Err(broken()))
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        let mut state = self.resident.state();
        for (id, sender) in &self.senders {
            // Another run may have begun since.
            if sender.borrow().is_none() {
                state.fetching.remove(id);
            }
        }
    }
}

fn malformed(reason: impl ToString) -> Refusal {
    Refusal::Malformed {
        reason: reason.to_string(),
    }
}

fn broken() -> Refusal {
    Refusal::Unavailable {
        reason: "the agent could not finish the request".into(),
    }
}

/// How often a caller waits for another's request before it gives up.
const ATTEMPTS: usize = 3;

/// How old an answer may be that is used once and not kept.
const ONCE: Duration = Duration::from_secs(120);
