//! Opening wraps with the help of enough holders: the nearest first, others when those are late, down, refuse or lie.
//!
//! Every partial is an audited release, so no holder is asked without need. A refusal of one holder stops nothing while
//! enough others answer. Time is the runtime's; the clock dates requests.

mod answers;
mod distance;
mod element;
mod item;
mod outcome;
mod question;
mod run;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::future::{BoxFuture, join_all};
use sealift_keywrap::LayerSecret;
use sealift_threshold::{GroupKey, ReplyKem};
use tokio::time::Instant;

use self::distance::RoundTrip;
use self::element::split;
use self::item::Item;
use self::run::Run;
use super::http::HttpError;
use crate::Clock;
use crate::deployment::Deployment;
use crate::descriptor::{self, Administrator};
use crate::keys::{PublicKey, SigningKey};
use crate::octets::Octets;
use crate::wire::{KeyAnswer, PartialsAnswer, PartialsRequest};

pub use self::element::Element;
pub use self::outcome::{Accusation, ReleaseError, Released};

/// How questions reach a holder.
pub trait Transport: fmt::Debug + Send + Sync {
    /// Asks the holder named `holder` for partials.
    fn partials(
        &self,
        holder: &str,
        key_id: &str,
        request: Arc<PartialsRequest>,
    ) -> BoxFuture<'static, Result<PartialsAnswer, HttpError>>;

    /// Asks the holder named `holder` for a key's descriptor.
    fn key(&self, holder: &str, key_id: &str) -> BoxFuture<'static, Result<KeyAnswer, HttpError>>;
}

/// How requests name the wraps they are for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Commitments {
    /// By digest.
    #[default]
    Plain,
    /// By salted digest: a public log shows nothing about the wraps, holders get the salts.
    Salted,
}

/// What a node asks for.
#[derive(Clone, Debug)]
pub struct Options {
    /// To which kind of key answers are sealed.
    pub kem: ReplyKem,
    /// How long what is released may be kept.
    pub lease_seconds: u32,
    /// Why, for the record; may be empty.
    pub justification: String,
    /// How wraps are named.
    pub commitments: Commitments,
    /// When to give up.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kem: ReplyKem::XWing,
            lease_seconds: 600,
            justification: String::new(),
            commitments: Commitments::default(),
            timeout: Duration::from_secs(30),
        }
    }
}

/// Asks the holders of a deployment on behalf of one node or operator.
pub struct Releaser {
    transport: Arc<dyn Transport>,
    key: Arc<SigningKey>,
    administrators: Mutex<Vec<Administrator>>,
    receipt_keys: BTreeMap<String, PublicKey>,
    holders: Vec<String>,
    options: Options,
    clock: Clock,
    posture: ArcSwapOption<Octets>,
    round_trips: Mutex<BTreeMap<String, RoundTrip>>,
    groups: Mutex<BTreeMap<(String, u32), GroupKey>>,
}

impl Releaser {
    /// Prepares to ask; `key` signs requests and is the one in the certificate that `transport` shows.
    ///
    /// # Errors
    /// [`ReleaseError::Element`] when a key of the deployment contradicts itself.
    pub fn new(
        transport: Arc<dyn Transport>,
        deployment: &Deployment,
        key: Arc<SigningKey>,
        options: Options,
        clock: Clock,
    ) -> Result<Self, ReleaseError> {
        let mut groups = BTreeMap::new();
        for known in &deployment.keys {
            let group = GroupKey::from_json(&known.descriptor)?;
            groups.insert((group.key_id().to_owned(), group.epoch()), group);
        }
        let receipt_keys = deployment.holders.iter().filter_map(|holder| {
            let key = PublicKey::from_spki(&holder.descriptor.as_ref()?.signing_key.0).ok()?;
            Some((holder.name.clone(), key))
        });
        Ok(Self {
            transport,
            key,
            administrators: Mutex::new(deployment.administrators.clone()),
            receipt_keys: receipt_keys.collect(),
            holders: deployment
                .holders
                .iter()
                .map(|holder| holder.name.clone())
                .collect(),
            options,
            clock,
            posture: ArcSwapOption::empty(),
            round_trips: Mutex::default(),
            groups: Mutex::new(groups),
        })
    }

    /// Sets the posture statement that goes along with requests: octets of its envelope.
    pub fn set_posture(&self, envelope: Option<Octets>) {
        self.posture.store(envelope.map(Arc::new));
    }

    /// Believes descriptors that these people signed as well.
    pub fn believe(&self, administrators: &[Administrator]) {
        let mut known = lock(&self.administrators);
        for one in administrators {
            if !known.contains(one) {
                known.push(one.clone());
            }
        }
    }

    /// Lists the keys that are known, each in its latest generation.
    pub fn groups(&self) -> Vec<GroupKey> {
        lock(&self.groups).values().cloned().collect()
    }

    /// Finds a key.
    pub fn group(&self, key_id: &str, epoch: u32) -> Option<GroupKey> {
        lock(&self.groups).get(&(key_id.to_owned(), epoch)).cloned()
    }

    /// Fetches a key's descriptor from the holders and returns the latest one known then.
    ///
    /// A descriptor is believed when two administrators signed it, and taken when its epoch is not known yet or its
    /// generation is higher and its public key the same.
    ///
    /// # Errors
    /// [`ReleaseError::QuorumUnavailable`] when no holder has a descriptor to be believed.
    pub async fn fetch(&self, key_id: &str) -> Result<GroupKey, ReleaseError> {
        let mut reasons = Vec::new();
        for holder in self.nearest(self.holders.iter().map(String::as_str)) {
            match self.fetch_from(&holder, key_id).await {
                Ok(group) => return Ok(group),
                Err(reason) => reasons.push(format!("{holder}: {reason}")),
            }
        }
        Err(ReleaseError::QuorumUnavailable {
            reached: 0,
            needed: 1,
            reason: reasons.join("; ").into(),
        })
    }

    async fn fetch_from(&self, holder: &str, key_id: &str) -> Result<GroupKey, String> {
        let started = Instant::now();
        let answer = self.transport.key(holder, key_id).await;
        self.note(holder, started, answer.is_ok());
        let answer = answer.map_err(|error| error.cause.to_string())?;
        let envelope = answer.descriptor.ok_or("no descriptor yet")?;
        let json = descriptor::verify_key_descriptor(&envelope.0, &lock(&self.administrators))
            .map_err(|error| error.to_string())?;
        let group = GroupKey::from_json(&json).map_err(|error| error.to_string())?;
        if group.key_id() != key_id {
            return Err("descriptor of another key".to_owned());
        }
        let mut groups = lock(&self.groups);
        let known = groups
            .entry((key_id.to_owned(), group.epoch()))
            .or_insert_with(|| group.clone());
        if !known.is_same_key(&group) {
            return Err("descriptor with other public keys".to_owned());
        }
        if group.generation() > known.generation() {
            *known = group;
        }
        Ok(known.clone())
    }

    /// Asks every holder for one of the keys: connections are warm then, and distances known.
    pub async fn warm(&self) {
        let Some(key_id) = self.groups().first().map(|group| group.key_id().to_owned()) else {
            return;
        };
        join_all(
            self.holders
                .iter()
                .map(|holder| self.fetch_from(holder, &key_id)),
        )
        .await;
    }

    /// Opens elements of one key; one that fails does not fail the others.
    ///
    /// The caller has compared labels with what they are to open.
    pub async fn open(&self, group: &GroupKey, elements: Vec<Element>) -> Released {
        let batches = split(elements);
        let opened = join_all(
            batches
                .into_iter()
                .map(|batch| self.open_batch(group, batch)),
        )
        .await;
        let mut all = Released::default();
        for released in opened {
            all.secrets.extend(released.secrets);
            all.accusations.extend(released.accusations);
        }
        all
    }

    async fn open_batch(&self, group: &GroupKey, elements: Arc<[Element]>) -> Released {
        let deadline = Instant::now() + self.options.timeout;
        let mut group = self
            .group(group.key_id(), group.epoch())
            .unwrap_or_else(|| group.clone());
        let mut secrets: Vec<Option<Result<LayerSecret, ReleaseError>>> =
            elements.iter().map(|_| None).collect();
        let mut accusations = Vec::new();
        for attempt in 0..=MAX_REFETCHES {
            let wanted: Vec<usize> = secrets
                .iter()
                .enumerate()
                .filter(|(_, secret)| secret.is_none())
                .map(|(at, _)| at)
                .collect();
            if wanted.is_empty() {
                break;
            }
            let run = Run::prepare(self, &group, &elements, &wanted).await;
            let (items, stale) = match run {
                Ok(mut run) => {
                    run.ask(deadline).await;
                    accusations.append(&mut run.accusations);
                    (run.items, run.stale)
                }
                Err(error) => {
                    for at in wanted {
                        settle(&mut secrets, at, Err(error.clone()));
                    }
                    break;
                }
            };
            // A newer sharing explains refusals and mismatches; it is looked for where it was seen.
            let newer = match stale {
                _ if attempt >= MAX_REFETCHES || !items.iter().any(Item::is_unopened) => None,
                Some(holder) if self.newer_than(&group).is_none() => {
                    let fetch = self.fetch_from(&holder, group.key_id());
                    let _ = tokio::time::timeout_at(deadline, fetch).await;
                    self.newer_than(&group)
                }
                _ => self.newer_than(&group),
            };
            let is_last = newer.is_none();
            for item in items {
                let retry = !is_last
                    && !matches!(
                        item.outcome,
                        Some(Ok(_) | Err(ReleaseError::Element { .. }))
                    );
                if !retry {
                    let outcome = item
                        .outcome
                        .unwrap_or_else(|| Err(ReleaseError::none_answered()));
                    settle(&mut secrets, item.at, outcome);
                }
            }
            match newer {
                Some(newer) => group = newer,
                None => break,
            }
        }
        let unsettled = || Err(ReleaseError::none_answered());
        Released {
            secrets: secrets
                .into_iter()
                .map(|secret| secret.unwrap_or_else(unsettled))
                .collect(),
            accusations,
        }
    }

    /// Returns a newer sharing of the same key, if one is known.
    fn newer_than(&self, group: &GroupKey) -> Option<GroupKey> {
        self.group(group.key_id(), group.epoch())
            .filter(|new| new.generation() > group.generation())
    }

    /// Orders holders by their moving average; those not known come next, those that failed last come last.
    fn nearest<'a>(&self, holders: impl Iterator<Item = &'a str>) -> Vec<String> {
        let round_trips = lock(&self.round_trips);
        let mut holders: Vec<String> = holders.map(str::to_owned).collect();
        holders.sort_by_key(|holder| {
            round_trips
                .get(holder)
                .map_or((false, Duration::MAX), |trip| (trip.is_down, trip.mean))
        });
        holders
    }

    /// Returns after how long a holder is late.
    fn patience(&self, holder: &str) -> Duration {
        lock(&self.round_trips)
            .get(holder)
            .map_or(UNKNOWN_PATIENCE, RoundTrip::p95)
    }

    fn note(&self, holder: &str, started: Instant, answered: bool) {
        let took = started.elapsed();
        let mut round_trips = lock(&self.round_trips);
        let trip = round_trips
            .entry(holder.to_owned())
            .or_insert_with(|| RoundTrip::first(took));
        trip.is_down = !answered;
        if answered {
            trip.note(took);
        }
    }
}

impl fmt::Debug for Releaser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Releaser")
            .field("key", &self.key)
            .field("holders", &self.holders)
            .finish_non_exhaustive()
    }
}

fn settle(
    secrets: &mut [Option<Result<LayerSecret, ReleaseError>>],
    at: usize,
    outcome: Result<LayerSecret, ReleaseError>,
) {
    if let Some(secret) = secrets.get_mut(at) {
        *secret = Some(outcome);
    }
}

/// Runs arithmetic off the threads that serve connections.
async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(job).await {
        Ok(done) => done,
        // The job is never aborted: what ended it is its own panic.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long to wait for a holder about which nothing is known before another is asked.
const UNKNOWN_PATIENCE: Duration = Duration::from_millis(800);

/// A descriptor may change while it is used; twice in a row is enough.
const MAX_REFETCHES: usize = 2;

#[cfg(test)]
mod tests;
