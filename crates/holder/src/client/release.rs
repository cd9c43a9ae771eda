//! Opening wraps with the help of enough holders: the nearest first, others when those are late, down, refuse or lie.
//!
//! Every partial is an audited release, so no holder is asked without need. A refusal of one holder stops nothing while
//! enough others answer. Time is the runtime's; the clock dates requests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use sealift_keywrap::{LayerSecret, Scheme, WrappedKey};
use sealift_threshold::{
    CombineError, Combined, Combiner, Culprit, ErrorId, GroupKey, HolderId, Part,
    PartialDecryption, ReplyContext, ReplyKem, ReplyKey, SealedReply, ThresholdError,
    UnlabelledWrap, Wrap, combine_unlabelled, request_hash,
};
use thiserror::Error;
use tokio::time::Instant;

use super::http::HttpError;
use crate::Clock;
use crate::deployment::Deployment;
use crate::descriptor::{self, Administrator};
use crate::keys::{PublicKey, SigningKey};
use crate::octets::Octets;
use crate::request::{self, NONCE_LEN, RequestError, SALT_LEN};
use crate::statement::KeyRequest;
use crate::wire::{
    Code, Evidence, KeyAnswer, MAX_WRAPS, PartialsAnswer, PartialsRequest, WireWrap, WrapAnswer,
};

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

/// Something that holders open.
#[derive(Clone, Debug)]
pub enum Element {
    /// A wrap with a label.
    Wrap(Box<Wrap>),
    /// A recipient of a stock JWE, for keys that are unbound.
    Jwe {
        /// The JWE.
        element: Vec<u8>,
        /// The recipient's ephemeral key.
        wrap: UnlabelledWrap,
    },
}

impl Element {
    /// Reads what a key annotation carries: one element, or one per recipient of a JWE that `group` may be.
    ///
    /// # Errors
    /// As the threshold crate has them; `key_mismatch` when `group` certainly does not open it.
    pub fn read(wrapped: &WrappedKey, group: &GroupKey) -> Result<Vec<Self>, ThresholdError> {
        let mismatch = ThresholdError {
            id: ErrorId::KeyMismatch,
            culprit: Culprit::Presenter,
        };
        if wrapped.scheme == Scheme::sealift() && !group.unbound() {
            let wrap = Wrap::parse(&wrapped.element)?;
            if *wrap.label().key_id != *group.key_id() || wrap.label().epoch != group.epoch() {
                return Err(mismatch);
            }
            Ok(vec![Self::Wrap(Box::new(wrap))])
        } else if wrapped.scheme == Scheme::Jwe && group.unbound() {
            let wraps = UnlabelledWrap::from_jwe(&wrapped.element)?;
            Ok(wraps
                .into_iter()
                .map(|wrap| Self::Jwe {
                    element: wrapped.element.clone(),
                    wrap,
                })
                .collect())
        } else {
            Err(mismatch)
        }
    }

    /// Makes the checks that come before any holder is asked (`SPEC.md` of the threshold crate, section 9).
    fn check(&self, group: &GroupKey) -> Result<[u8; 32], ThresholdError> {
        match self {
            Self::Wrap(wrap) => wrap.check(group).map(|checked| checked.wrap().digest()),
            Self::Jwe { wrap, .. } => Ok(wrap.digest(group)),
        }
    }

    fn combine(
        &self,
        group: &GroupKey,
        request_hash: [u8; 32],
        partials: &[PartialDecryption],
    ) -> Result<Combined, CombineError> {
        match self {
            Self::Wrap(wrap) => {
                Combiner::new(group, wrap.check(group)?, request_hash).combine(partials)
            }
            Self::Jwe { element, wrap } => {
                combine_unlabelled(group, wrap, element, &request_hash, partials)
            }
        }
    }

    fn wire(&self) -> WireWrap {
        match self {
            Self::Wrap(wrap) => WireWrap::Compact(wrap.as_bytes().into()),
            Self::Jwe { wrap, .. } => WireWrap::Unlabelled {
                epk: wrap.r1().as_slice().into(),
            },
        }
    }

    fn wire_len(&self) -> usize {
        match self {
            Self::Wrap(wrap) => wrap.as_bytes().len(),
            Self::Jwe { .. } => UNLABELLED_LEN,
        }
    }
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
    administrators: Vec<Administrator>,
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
            administrators: deployment.administrators.clone(),
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
        let json = descriptor::verify_key_descriptor(&envelope.0, &self.administrators)
            .map_err(|error| error.to_string())?;
        let group = GroupKey::from_json(&json).map_err(|error| error.to_string())?;
        if group.key_id() != key_id {
            return Err("descriptor of another key".to_owned());
        }
        let mut groups = lock(&self.groups);
        let known = groups
            .entry((key_id.to_owned(), group.epoch()))
            .or_insert_with(|| group.clone());
        if known.public_key() != group.public_key() {
            return Err("descriptor with another public key".to_owned());
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

/// What became of elements.
#[derive(Debug, Default)]
pub struct Released {
    /// One per element, in order.
    pub secrets: Vec<Result<LayerSecret, ReleaseError>>,
    /// Holders that are proven to have lied.
    pub accusations: Vec<Accusation>,
}

/// A lie of a holder, for the record of the others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Accusation {
    /// Who lied.
    pub holder: String,
    /// About which wrap.
    pub wrap_digest: [u8; 32],
    /// In which request.
    pub request_hash: [u8; 32],
    /// The compact partial that is false.
    pub partial: Vec<u8>,
    /// Octets of the receipt in which the holder vouches for the partial.
    pub receipt: Octets,
}

/// Why an element was not opened.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ReleaseError {
    /// So many holders refused that the rest is too few.
    #[error("denied by key holder `{by}`: {code}{}", request_id.as_deref().map(|id| format!(" (request {id})")).unwrap_or_default())]
    Denied {
        /// The first that refused.
        by: Box<str>,
        /// Its code.
        code: Code,
        /// What its record calls the request, if it refused the request as a whole.
        request_id: Option<Box<str>>,
    },
    /// Too few holders answered.
    #[error("{reached} of {needed} key holders answered: {reason}")]
    QuorumUnavailable {
        /// How many did.
        reached: usize,
        /// How many are needed.
        needed: usize,
        /// What happened at the others.
        reason: Box<str>,
    },
    /// The element itself is bad, or for another key.
    #[error("wrapped key does not open")]
    Element {
        /// What is wrong.
        #[from]
        source: ThresholdError,
    },
    /// The request could not be made.
    #[error("key request could not be made")]
    Request {
        /// Why.
        #[from]
        source: RequestError,
    },
}

impl ReleaseError {
    fn none_answered() -> Self {
        Self::QuorumUnavailable {
            reached: 0,
            needed: 1,
            reason: "no answer in time".into(),
        }
    }
}

/// A request that is the same for every holder.
struct Question {
    reply_key: ReplyKey,
    request_hash: [u8; 32],
    digests: Vec<[u8; 32]>,
    body: Arc<PartialsRequest>,
}

/// One element of a question.
struct Item {
    /// Position among the caller's elements.
    at: usize,
    /// Usable partials.
    partials: Vec<PartialDecryption>,
    denials: Vec<(HolderId, ReleaseError)>,
    /// How many partials beyond the thresholds are wanted since the first ones gave nothing.
    beyond: usize,
    /// What the last attempt to combine said.
    failure: Option<ThresholdError>,
    outcome: Option<Result<LayerSecret, ReleaseError>>,
}

/// A holder that was asked.
struct Asked {
    started: Instant,
    late_at: Instant,
    has_answered: bool,
}

type Pending = FuturesUnordered<BoxFuture<'static, (HolderId, Result<PartialsAnswer, HttpError>)>>;

/// One question, put to as many holders as it takes.
struct Run<'a> {
    releaser: &'a Releaser,
    group: GroupKey,
    elements: Arc<[Element]>,
    question: Arc<Question>,
    /// Those of them that passed their checks are in the question, in this order; settled ones stay.
    items: Vec<Item>,
    asked: BTreeMap<HolderId, Asked>,
    pending: Pending,
    receipts: BTreeMap<HolderId, Octets>,
    failures: BTreeMap<String, String>,
    accusations: Vec<Accusation>,
    /// The holder that may have a newer descriptor than ours.
    stale: Option<String>,
    /// Whether it surely has: then what the others answer is of no use either.
    is_outdated: bool,
}

impl<'a> Run<'a> {
    async fn prepare(
        releaser: &'a Releaser,
        group: &GroupKey,
        elements: &Arc<[Element]>,
        wanted: &[usize],
    ) -> Result<Self, ReleaseError> {
        let job = {
            let (group, elements, wanted) = (group.clone(), Arc::clone(elements), wanted.to_vec());
            let (key, options) = (Arc::clone(&releaser.key), releaser.options.clone());
            let (now_ms, posture) = ((releaser.clock)(), releaser.posture.load_full());
            move || {
                let mut items = Vec::new();
                let mut asked = Vec::new();
                for at in wanted {
                    let Some(element) = elements.get(at) else {
                        continue;
                    };
                    let checked = element.check(&group);
                    let mut item = Item::new(at);
                    match checked {
                        Ok(digest) => asked.push((element, digest)),
                        Err(error) => item.outcome = Some(Err(error.into())),
                    }
                    items.push(item);
                }
                // Those in the question come first, so that positions in answers are positions here.
                items.sort_by_key(|item| item.outcome.is_some());
                let question = if asked.is_empty() {
                    Question::empty(&options)
                } else {
                    Question::sign(&group, &asked, &options, &key, now_ms, posture.as_deref())
                };
                question.map(|question| (Arc::new(question), items))
            }
        };
        let (question, items) = blocking(job).await?;
        Ok(Self {
            releaser,
            group: group.clone(),
            elements: Arc::clone(elements),
            question,
            items,
            asked: BTreeMap::new(),
            pending: FuturesUnordered::new(),
            receipts: BTreeMap::new(),
            failures: BTreeMap::new(),
            accusations: Vec::new(),
            stale: None,
            is_outdated: false,
        })
    }

    async fn ask(&mut self, deadline: Instant) {
        loop {
            self.settle_hopeless();
            if self.is_outdated || self.items.iter().all(|item| item.outcome.is_some()) {
                break;
            }
            for holder in self.next_holders() {
                self.ask_holder(holder);
            }
            let late = self
                .asked
                .values()
                .filter(|asked| !asked.has_answered)
                .map(|asked| asked.late_at);
            let wake = late
                .filter(|at| *at > Instant::now())
                .min()
                .unwrap_or(deadline)
                .min(deadline);
            tokio::select! {
                Some((holder, answer)) = self.pending.next() => self.take(holder, answer).await,
                () = tokio::time::sleep_until(wake) => {
                    if Instant::now() >= deadline {
                        self.give_up();
                        break;
                    }
                }
            }
        }
        // Whoever was late and not waited for: its round trip is at least this long.
        for (holder, asked) in &self.asked {
            if !asked.has_answered && asked.late_at <= Instant::now() {
                self.releaser.note(&self.name(*holder), asked.started, true);
            }
        }
    }

    /// Returns whom to ask now: for every part the nearest of those not asked, as many as some element lacks.
    fn next_holders(&self) -> Vec<HolderId> {
        let mut next = Vec::new();
        for part in self.group.parts() {
            let on_time = self
                .unanswered(part)
                .filter(|asked| asked.late_at > Instant::now())
                .count();
            let missing = self
                .open_items()
                .map(|item| item.lacks(part).saturating_sub(on_time))
                .max()
                .unwrap_or(0);
            // In the order of the descriptor where nothing is known.
            let unasked = part
                .holders
                .iter()
                .filter(|holder| !self.asked.contains_key(holder));
            let unasked: Vec<(String, HolderId)> = unasked
                .map(|holder| (self.name(*holder), *holder))
                .collect();
            let nearest = self
                .releaser
                .nearest(unasked.iter().map(|(name, _)| name.as_str()));
            let of_name = |name: &String| {
                unasked
                    .iter()
                    .find(|(other, _)| other == name)
                    .map(|(_, holder)| *holder)
            };
            next.extend(nearest.iter().take(missing).filter_map(of_name));
        }
        next
    }

    /// Settles elements that enough holders refuse, or for which nobody is left to ask.
    fn settle_hopeless(&mut self) {
        let mut verdicts = Vec::new();
        for (position, item) in self
            .items
            .iter()
            .enumerate()
            .filter(|(_, item)| item.outcome.is_none())
        {
            for part in self.group.parts() {
                let t = usize::from(part.t);
                let denials: Vec<_> = item
                    .denials
                    .iter()
                    .filter(|(by, _)| part.holders.contains(by))
                    .collect();
                let is_denied = part.holders.len().saturating_sub(denials.len()) < t;
                let exhausted = item.lacks(part) > 0
                    && part
                        .holders
                        .iter()
                        .all(|holder| self.asked.contains_key(holder))
                    && self.unanswered(part).next().is_none();
                let verdict = match (denials.first(), &item.failure) {
                    (Some((_, denial)), _) if is_denied => denial.clone(),
                    (_, Some(failure)) if exhausted => failure.clone().into(),
                    _ if exhausted => self.unavailable(item, part),
                    _ => continue,
                };
                verdicts.push((position, verdict));
                break;
            }
        }
        for (position, verdict) in verdicts {
            if let Some(item) = self.items.get_mut(position) {
                item.outcome = Some(Err(verdict));
            }
        }
    }

    fn give_up(&mut self) {
        for asked in self.asked.iter().filter(|(_, asked)| !asked.has_answered) {
            let name = self
                .group
                .holder(*asked.0)
                .map(|entry| entry.id.to_string())
                .unwrap_or_default();
            self.failures.insert(name, "no answer in time".to_owned());
        }
        let part = self.group.parts().first().cloned();
        for position in 0..self.items.len() {
            let verdict = match (self.items.get(position), &part) {
                (Some(item), Some(part)) if item.outcome.is_none() => self.unavailable(item, part),
                _ => continue,
            };
            if let Some(item) = self.items.get_mut(position) {
                item.outcome = Some(Err(verdict));
            }
        }
    }

    fn unavailable(&self, item: &Item, part: &Part) -> ReleaseError {
        let denied = item.denials.iter().map(|(by, denial)| match denial {
            ReleaseError::Denied { code, .. } => format!("{}: {code}", self.name(*by)),
            other => format!("{}: {other}", self.name(*by)),
        });
        let failed = self
            .failures
            .iter()
            .map(|(holder, reason)| format!("{holder}: {reason}"));
        ReleaseError::QuorumUnavailable {
            reached: item.usable(part),
            needed: part.t.into(),
            reason: denied.chain(failed).collect::<Vec<_>>().join("; ").into(),
        }
    }

    fn ask_holder(&mut self, holder: HolderId) {
        let name = self.name(holder);
        let started = Instant::now();
        let late_at = started + self.releaser.patience(&name);
        self.asked.insert(
            holder,
            Asked {
                started,
                late_at,
                has_answered: false,
            },
        );
        let answer = self.releaser.transport.partials(
            &name,
            self.group.key_id(),
            Arc::clone(&self.question.body),
        );
        self.pending
            .push(Box::pin(async move { (holder, answer.await) }));
    }

    async fn take(&mut self, holder: HolderId, answer: Result<PartialsAnswer, HttpError>) {
        let name = self.name(holder);
        if let Some(asked) = self.asked.get_mut(&holder) {
            asked.has_answered = true;
            let is_well = match &answer {
                Ok(_) => true,
                Err(error) => error.code().is_some(),
            };
            self.releaser.note(&name, asked.started, is_well);
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.take_failure(holder, &name, &error),
        };
        let receipt = answer.receipt.clone();
        let job = {
            let (question, group) = (Arc::clone(&self.question), self.group.clone());
            let receipt_key = self.releaser.receipt_keys.get(&name).cloned();
            move || question.unseal(&group, holder, &answer, receipt_key.as_ref())
        };
        let partials = match blocking(job).await {
            Ok(partials) => partials,
            Err(reason) => {
                self.failures.insert(name, reason.to_owned());
                return;
            }
        };
        self.receipts.insert(holder, receipt);
        let generation = self.group.generation();
        let mut is_ahead = false;
        for (position, partial) in partials.into_iter().enumerate() {
            match partial {
                Ok(partial) if partial.generation() == generation => {
                    if let Some(item) = self.items.get_mut(position) {
                        item.partials.push(partial);
                    }
                }
                // One that lags behind will catch up; one that is ahead knows a descriptor that we do not, or lies.
                Ok(partial) => {
                    self.failures.insert(
                        name.clone(),
                        format!("has generation {}", partial.generation()),
                    );
                    is_ahead |= partial.generation() > generation;
                }
                Err(code) => self.deny(position, holder, &name, code, None),
            }
        }
        if is_ahead && !self.is_outdated {
            // Only a descriptor that two administrators signed ends this: one liar must not.
            let fetch = self.releaser.fetch_from(&name, self.group.key_id());
            let _ = tokio::time::timeout(UNKNOWN_PATIENCE, fetch).await;
            self.is_outdated = self.releaser.newer_than(&self.group).is_some();
            self.stale.get_or_insert(name);
        }
        self.combine().await;
    }

    fn take_failure(&mut self, holder: HolderId, name: &str, error: &HttpError) {
        match error.code() {
            Some(code) => {
                for position in 0..self.items.len() {
                    self.deny(position, holder, name, code, error.request_id.clone());
                }
            }
            None => {
                self.failures
                    .insert(name.to_owned(), error.cause.to_string());
            }
        }
    }

    fn deny(
        &mut self,
        position: usize,
        holder: HolderId,
        name: &str,
        code: Code,
        request_id: Option<Box<str>>,
    ) {
        if !is_denial(code) {
            self.failures.insert(name.to_owned(), code.to_string());
            return;
        }
        if matches!(code, Code::KeyNotFound | Code::InvalidState) {
            self.stale.get_or_insert_with(|| name.to_owned());
        }
        if let Some(item) = self
            .items
            .get_mut(position)
            .filter(|item| item.outcome.is_none())
        {
            item.denials.push((
                holder,
                ReleaseError::Denied {
                    by: name.into(),
                    code,
                    request_id,
                },
            ));
        }
    }

    /// Tries every element that has enough partials.
    async fn combine(&mut self) {
        let ready = |item: &Item| {
            item.outcome.is_none() && self.group.parts().iter().all(|part| item.lacks(part) == 0)
        };
        let jobs: Vec<_> = self
            .items
            .iter()
            .enumerate()
            .filter(|(_, item)| ready(item))
            .map(|(position, item)| (position, item.at, item.partials.clone()))
            .collect();
        if jobs.is_empty() {
            return;
        }
        let (group, elements) = (self.group.clone(), Arc::clone(&self.elements));
        let hash = self.question.request_hash;
        let results = blocking(move || {
            jobs.into_iter()
                .filter_map(|(position, at, mut partials)| {
                    let element = elements.get(at)?;
                    let mut liars = Vec::new();
                    let result = loop {
                        match element.combine(&group, hash, &partials) {
                            Err(error) => {
                                let named = named_by(&error);
                                let before = partials.len();
                                liars.extend(
                                    partials
                                        .iter()
                                        .filter(|one| named.contains(&one.holder()))
                                        .cloned(),
                                );
                                partials.retain(|one| !named.contains(&one.holder()));
                                let enough = group
                                    .parts()
                                    .iter()
                                    .all(|part| usable(&partials, part) >= part.t.into());
                                if partials.len() == before || !enough {
                                    break Err(error.error);
                                }
                            }
                            Ok(combined) => {
                                let named = &combined.culprits;
                                liars.extend(
                                    partials
                                        .iter()
                                        .filter(|one| named.contains(&one.holder()))
                                        .cloned(),
                                );
                                break Ok(combined.secret);
                            }
                        }
                    };
                    Some((position, partials, liars, result))
                })
                .collect::<Vec<_>>()
        })
        .await;
        for (position, partials, liars, result) in results {
            for liar in liars {
                self.accuse(position, &liar);
            }
            let Some(item) = self.items.get_mut(position) else {
                continue;
            };
            item.partials = partials;
            match result {
                Ok(secret) => item.outcome = Some(Ok(secret)),
                Err(error) if is_final(&error) => item.outcome = Some(Err(error.into())),
                Err(error) => {
                    // Enough partials and no result: some unproven one is false, and one more will tell.
                    let parts = self.group.parts();
                    if parts
                        .iter()
                        .all(|part| usable(&item.partials, part) >= part.t.into())
                    {
                        let spare = |part: &Part| {
                            usable(&item.partials, part).saturating_sub(part.t.into())
                        };
                        item.beyond = parts.iter().map(spare).min().unwrap_or(0) + 1;
                    }
                    item.failure = Some(error);
                }
            }
        }
    }

    fn accuse(&mut self, position: usize, liar: &PartialDecryption) {
        let holder = self.name(liar.holder());
        self.failures
            .insert(holder.clone(), "gave a false partial decryption".to_owned());
        let wrap_digest = self
            .question
            .digests
            .get(position)
            .copied()
            .unwrap_or_default();
        let receipt = self
            .receipts
            .get(&liar.holder())
            .cloned()
            .unwrap_or_default();
        self.accusations.push(Accusation {
            holder,
            wrap_digest,
            request_hash: self.question.request_hash,
            partial: liar.as_bytes().to_vec(),
            receipt,
        });
    }

    fn open_items(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.outcome.is_none())
    }

    fn unanswered(&self, part: &Part) -> impl Iterator<Item = &Asked> {
        let of_part = |(holder, asked)| part.holders.contains(holder).then_some(asked);
        self.asked
            .iter()
            .filter_map(of_part)
            .filter(|asked: &&Asked| !asked.has_answered)
    }

    fn name(&self, holder: HolderId) -> String {
        self.group
            .holder(holder)
            .map(|entry| entry.id.to_string())
            .unwrap_or_default()
    }
}

impl Item {
    fn new(at: usize) -> Self {
        Self {
            at,
            partials: Vec::new(),
            denials: Vec::new(),
            beyond: 0,
            failure: None,
            outcome: None,
        }
    }

    const fn is_unopened(&self) -> bool {
        !matches!(self.outcome, Some(Ok(_)))
    }

    fn usable(&self, part: &Part) -> usize {
        usable(&self.partials, part)
    }

    /// Returns how many more partials of a part are wanted.
    fn lacks(&self, part: &Part) -> usize {
        (usize::from(part.t) + self.beyond).saturating_sub(self.usable(part))
    }
}

impl Question {
    fn sign(
        group: &GroupKey,
        elements: &[(&Element, [u8; 32])],
        options: &Options,
        key: &SigningKey,
        now_ms: u64,
        posture: Option<&Octets>,
    ) -> Result<Self, ReleaseError> {
        let rng = SystemRandom::new();
        let reply_key = ReplyKey::generate(options.kem, &rng)?;
        let digests: Vec<[u8; 32]> = elements.iter().map(|(_, digest)| *digest).collect();
        let mut nonce = vec![0; NONCE_LEN];
        rng.fill(&mut nonce).map_err(|_| RequestError::Randomness)?;
        let (mut wraps, mut wrap_commitments, mut salts) = (Vec::new(), Vec::new(), None);
        match options.commitments {
            Commitments::Plain => {
                wraps = digests
                    .iter()
                    .map(|digest| digest.as_slice().into())
                    .collect()
            }
            Commitments::Salted => {
                let mut drawn = Vec::new();
                for digest in &digests {
                    let mut salt = [0; SALT_LEN];
                    rng.fill(&mut salt).map_err(|_| RequestError::Randomness)?;
                    wrap_commitments.push(request::salted(&salt, digest));
                    drawn.push(salt.as_slice().into());
                }
                salts = Some(drawn);
            }
        }
        let request = KeyRequest {
            key_id: group.key_id().to_owned(),
            epoch: group.epoch(),
            wraps,
            wrap_commitments,
            ephemeral_key: reply_key.public().into(),
            kem: options.kem.number(),
            nonce: nonce.into(),
            lease_seconds: options.lease_seconds,
            justification: options.justification.clone(),
        };
        let signed = request::sign_key_request(&request, now_ms, key, &rng)?;
        Ok(Self {
            reply_key,
            request_hash: request_hash(&signed),
            digests,
            body: Arc::new(PartialsRequest {
                request: signed.into(),
                wraps: elements.iter().map(|(element, _)| element.wire()).collect(),
                salts,
                proof: None,
                evidence: posture.map(|posture| Evidence {
                    posture: Some(posture.clone()),
                }),
            }),
        })
    }

    /// A question that is never asked: no element passed its checks.
    fn empty(options: &Options) -> Result<Self, ReleaseError> {
        Ok(Self {
            reply_key: ReplyKey::generate(options.kem, &SystemRandom::new())?,
            request_hash: [0; 32],
            digests: Vec::new(),
            body: Arc::new(PartialsRequest {
                request: Octets::default(),
                wraps: Vec::new(),
                salts: None,
                proof: None,
                evidence: None,
            }),
        })
    }

    /// Opens the sealed partials of an answer; says what is wrong with an answer that cannot be used at all.
    fn unseal(
        &self,
        group: &GroupKey,
        holder: HolderId,
        answer: &PartialsAnswer,
        receipt_key: Option<&PublicKey>,
    ) -> Result<Vec<Result<PartialDecryption, Code>>, &'static str> {
        if answer.request_hash.0 != self.request_hash || answer.answers.len() != self.digests.len()
        {
            return Err("answered something else");
        }
        let opened =
            answer
                .answers
                .iter()
                .zip(&self.digests)
                .map(|(answer, digest)| match answer {
                    WrapAnswer::Refused { wrap_digest, error } if wrap_digest.0 == digest => {
                        Ok(Err(*error))
                    }
                    WrapAnswer::Sealed {
                        wrap_digest,
                        enc,
                        ct,
                    } if wrap_digest.0 == digest => {
                        let context = ReplyContext {
                            request_hash: self.request_hash,
                            wrap_digest: *digest,
                            holder,
                            epoch: group.epoch(),
                        };
                        let sealed = SealedReply {
                            enc: enc.0.clone(),
                            ct: ct.0.clone(),
                        };
                        let octets = self
                            .reply_key
                            .open(&sealed, &context)
                            .map_err(|_| "answer does not open")?;
                        let partial = PartialDecryption::parse(&octets)
                            .map_err(|_| "malformed partial decryption")?;
                        if partial.holder() != holder {
                            Err("answered as somebody else")
                        } else {
                            Ok(Ok(partial))
                        }
                    }
                    _ => Err("answered something else"),
                });
        let opened: Vec<_> = opened.collect::<Result<_, _>>()?;
        if let Some(key) = receipt_key {
            let receipt = request::read_receipt(&answer.receipt.0, key)
                .map_err(|_| "receipt is not its own")?;
            let vouched = receipt.releases.len() == opened.len()
                && receipt.request_leaf.0 == self.request_hash
                && receipt.releases.iter().zip(&self.digests).zip(&opened).all(
                    |((release, digest), opened)| {
                        let partial = opened
                            .as_ref()
                            .ok()
                            .map(|partial| Octets(partial.digest().to_vec()));
                        release.wrap_digest.0 == digest && release.partial_digest == partial
                    },
                );
            if !vouched {
                return Err("receipt is about something else");
            }
        }
        Ok(opened)
    }
}

/// How long a holder takes: moving average and mean deviation, as RFC 6298 has them.
#[derive(Clone, Copy, Debug)]
struct RoundTrip {
    mean: Duration,
    deviation: Duration,
    is_down: bool,
}

impl RoundTrip {
    fn first(took: Duration) -> Self {
        Self {
            mean: took,
            deviation: took / 2,
            is_down: false,
        }
    }

    fn note(&mut self, took: Duration) {
        self.deviation = (self.deviation * 3 + self.mean.abs_diff(took)) / 4;
        self.mean = (self.mean * 7 + took) / 8;
    }

    /// About the 95th percentile; never so short that jitter alone costs a release.
    fn p95(&self) -> Duration {
        (self.mean + self.deviation * 2).max(MIN_PATIENCE)
    }
}

/// Returns whether a code is a decision about the request and not trouble of the holder's.
const fn is_denial(code: Code) -> bool {
    !matches!(
        code,
        Code::PolicyStale
            | Code::StoreUnavailable
            | Code::AuditUnavailable
            | Code::LogUnavailable
            | Code::QuorumUnavailable
            | Code::Unknown
    )
}

/// Returns whether more partials would not help.
fn is_final(error: &ThresholdError) -> bool {
    matches!(error.culprit, Culprit::Encryptor | Culprit::Presenter)
}

fn named_by(error: &CombineError) -> BTreeSet<HolderId> {
    let mut named: BTreeSet<HolderId> = error.culprits.iter().copied().collect();
    if let Culprit::Holder(Some(holder)) = error.error.culprit {
        named.insert(holder);
    }
    named
}

fn usable(partials: &[PartialDecryption], part: &Part) -> usize {
    partials
        .iter()
        .filter(|partial| part.holders.contains(&partial.holder()))
        .count()
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

/// Cuts elements into requests that holders take.
fn split(elements: Vec<Element>) -> Vec<Arc<[Element]>> {
    let mut batches = Vec::new();
    let mut batch: Vec<Element> = Vec::new();
    let mut octets = 0;
    for element in elements {
        let len = element.wire_len();
        if batch.len() == MAX_WRAPS || (!batch.is_empty() && octets + len > MAX_BATCH_LEN) {
            batches.push(std::mem::take(&mut batch).into());
            octets = 0;
        }
        octets += len;
        batch.push(element);
    }
    if !batch.is_empty() {
        batches.push(batch.into());
    }
    batches
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
const MIN_PATIENCE: Duration = Duration::from_millis(20);
/// A descriptor may change while it is used; twice in a row is enough.
const MAX_REFETCHES: usize = 2;
/// Most octets of wraps in one request, so that its base64 stays below the limit of bodies.
const MAX_BATCH_LEN: usize = 512 * 1024;
/// A compressed point and what stands around it.
const UNLABELLED_LEN: usize = 64;

#[cfg(test)]
mod tests;
