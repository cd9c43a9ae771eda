//! The one writer: everything that changes, changes here, in batches that become durable with one flush.
//!
//! A [`Job`](Writer::transact) sees the state with all changes before it, committed or earlier in its batch, so what it
//! decides is decided in the transaction that records it. Its answer leaves only after the batch is durable. When a
//! batch fails, every job in it fails and the state goes back to what is durable.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use tokio::sync::{oneshot, watch};
use tracing::{error, warn};

use super::audit::{self, Entry};
use super::state::State;
use super::store::{Answered, Change, Pin, ShareId, Store, StoreError};
use crate::Clock;
use crate::audit_row::Chain;

/// Hands jobs to the writer thread.
#[derive(Clone)]
pub struct Writer {
    jobs: SyncSender<Job>,
    published: Arc<ArcSwap<State>>,
    changed: watch::Receiver<u64>,
    working: Arc<AtomicBool>,
    queued: Arc<AtomicUsize>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

impl Writer {
    /// Starts the thread on what `store` holds; `state` has been rebuilt from it.
    ///
    /// The thread ends when the last [`Writer`] is gone, after the jobs that wait.
    pub fn start(
        store: Arc<dyn Store>,
        state: State,
        rebuild: Rebuild,
        clock: Clock,
    ) -> Result<(Self, JoinHandle<()>), StoreError> {
        let working = Working {
            state: Arc::new(state),
            chain: audit::resume(&*store)?,
            answered: Replays::new(store.answered()?),
            refused: HashSet::new(),
        };
        let (jobs, waiting) = sync_channel(QUEUE_LEN);
        let published = Arc::new(ArcSwap::new(Arc::clone(&working.state)));
        let (notify, changed) = watch::channel(0);
        let well = Arc::new(AtomicBool::new(true));
        let writer = Self {
            jobs,
            published: Arc::clone(&published),
            changed,
            working: Arc::clone(&well),
            queued: Arc::default(),
        };
        let failed = Failure::None;
        let queued = Arc::clone(&writer.queued);
        let thread = WriterThread {
            store,
            rebuild,
            clock,
            published,
            notify,
            working,
            failed,
            well,
            queued,
        };
        let thread = std::thread::Builder::new()
            .name("holder-writer".into())
            .spawn(move || thread.run(&waiting))
            .map_err(StoreError::Thread)?;
        Ok((writer, thread))
    }

    /// Runs `job` in the next batch, and returns what it returned once that is durable.
    pub async fn transact<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Transaction<'_>) -> T + Send + 'static,
    {
        self.submit(job)?.await.map_err(|_| StoreError::Closed)?
    }

    fn submit<T, F>(&self, job: F) -> Result<oneshot::Receiver<Result<T, StoreError>>, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Transaction<'_>) -> T + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |transaction| match transaction {
            Err(error) => Box::new(move |_| drop(answer.send(Err(error)))),
            Ok(transaction) => {
                let outcome = job(transaction);
                Box::new(move |result| drop(answer.send(result.map(|()| outcome))))
            }
        });
        self.queued.fetch_add(1, Ordering::SeqCst);
        self.jobs.try_send(job).map_err(|error| {
            self.queued.fetch_sub(1, Ordering::SeqCst);
            match error {
                TrySendError::Full(_) => StoreError::Overloaded,
                TrySendError::Disconnected(_) => StoreError::Closed,
            }
        })?;
        Ok(answered)
    }

    /// The same, for threads that may block.
    pub fn transact_blocking<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Transaction<'_>) -> T + Send + 'static,
    {
        self.submit(job)?
            .blocking_recv()
            .map_err(|_| StoreError::Closed)?
    }

    /// Returns how many jobs wait for a batch to take them.
    pub fn waiting(&self) -> usize {
        self.queued.load(Ordering::SeqCst)
    }

    /// Returns whether the last batch was written.
    pub fn is_working(&self) -> bool {
        self.working.load(Ordering::Relaxed)
    }

    /// Returns the newest durable state.
    pub fn state(&self) -> Arc<State> {
        self.published.load_full()
    }

    /// Returns a receiver that wakes whenever the state has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}

/// Makes the state anew from the store, after a batch was rolled back.
pub type Rebuild = Box<dyn Fn(&dyn Store) -> Result<State, StoreError> + Send>;

/// What a job may do.
pub struct Transaction<'a> {
    working: &'a mut Working,
    changes: &'a mut Vec<Change>,
    now_ms: u64,
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("changes", &self.changes.len())
            .finish_non_exhaustive()
    }
}

impl Transaction<'_> {
    /// Returns this holder's time, Unix milliseconds.
    pub const fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Returns the state with all changes so far.
    pub fn state(&self) -> &State {
        &self.working.state
    }

    /// Returns the state to be changed; what changes here must be in [`Self::record`]ed changes too.
    pub(super) fn state_mut(&mut self) -> &mut State {
        Arc::make_mut(&mut self.working.state)
    }

    /// Adds a change to the batch.
    pub(super) fn record(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Appends a row to the audit record.
    pub fn audit(&mut self, entry: Entry) {
        entry.append(&mut self.working.chain, self.now_ms, self.changes);
    }

    /// Keeps a sealed secret, in place of an older one.
    pub fn put_secret(&mut self, kind: &str, name: &str, blob: Vec<u8>) {
        self.record(Change::PutSecret {
            kind: kind.to_owned(),
            name: name.to_owned(),
            blob,
        });
    }

    /// Destroys a sealed secret.
    pub fn delete_secret(&mut self, kind: &str, name: &str) {
        self.record(Change::DeleteSecret {
            kind: kind.to_owned(),
            name: name.to_owned(),
        });
    }

    /// Keeps a sealed active share, in place of an older one.
    pub fn put_share(&mut self, id: &ShareId, blob: Vec<u8>) {
        self.record(Change::PutShare {
            id: id.clone(),
            blob,
        });
    }

    /// Destroys a sealed active share.
    pub fn delete_share(&mut self, id: &ShareId) {
        self.record(Change::DeleteShare { id: id.clone() });
    }

    /// Keeps what one run of a ceremony has made so far, sealed, in place of an older one.
    pub fn put_candidate(&mut self, id: &ShareId, ceremony: &str, blob: Vec<u8>) {
        self.record(Change::PutCandidate {
            id: id.clone(),
            ceremony: ceremony.to_owned(),
            blob,
        });
    }

    /// Destroys what ceremonies for a generation have made, of one run or of all.
    pub fn delete_candidates(&mut self, id: &ShareId, ceremony: Option<&str>) {
        self.record(Change::DeleteCandidates {
            id: id.clone(),
            ceremony: ceremony.map(str::to_owned),
        });
    }

    /// Ties a node's name to its key, in place of an older one.
    pub fn put_pin(&mut self, node: &str, spki: &[u8]) {
        let pin = Pin {
            node: node.to_owned(),
            spki: spki.to_vec(),
            enrolled_at: self.now_ms,
        };
        self.state_mut().set_pin(&pin);
        self.record(Change::PutPin {
            node: pin.node,
            spki: pin.spki,
            enrolled_at: pin.enrolled_at,
        });
    }

    /// Unties it.
    pub fn delete_pin(&mut self, node: &str) {
        self.state_mut().remove_pin(node);
        self.record(Change::DeletePin {
            node: node.to_owned(),
        });
    }

    /// Returns whether this is the first time since the start that a command with this digest changes nothing.
    pub(super) fn is_first_refusal(&mut self, digest: [u8; 32]) -> bool {
        self.working.refused.insert(digest)
    }

    /// Looks up an earlier release, and whether requests of that age are still remembered at all.
    pub(super) fn replay(
        &self,
        request_hash: &[u8; 32],
        wrap_digest: &[u8; 32],
        issued_at: u64,
    ) -> Replay {
        self.working
            .answered
            .find(request_hash, wrap_digest, issued_at)
    }

    /// Remembers a release.
    pub(super) fn remember(&mut self, answered: Answered) {
        if let Some(issued_before) = self.working.answered.insert(answered) {
            self.record(Change::ForgetAnswered { issued_before });
        }
        self.record(Change::Answered(answered));
    }
}

/// What is known of a request and a wrap.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Replay {
    /// Never released.
    New,
    /// Released before, first at this time (Unix milliseconds).
    Seen(u64),
    /// So old that it may have been forgotten.
    Forgotten,
}

/// The releases that could be asked for again.
///
/// What is forgotten is told by the times of released requests, never by this holder's clock: a clock that jumps back
/// makes no forgotten request acceptable.
#[derive(Debug, Default)]
struct Replays {
    seen: HashMap<([u8; 32], [u8; 32]), (u64, u64)>,
    newest: u64,
    horizon: u64,
}

impl Replays {
    fn new(answered: Vec<Answered>) -> Self {
        let mut replays = Self::default();
        for answered in answered {
            replays.insert(answered);
        }
        replays
    }

    fn find(&self, request_hash: &[u8; 32], wrap_digest: &[u8; 32], issued_at: u64) -> Replay {
        match self.seen.get(&(*request_hash, *wrap_digest)) {
            Some((_, answered_at)) => Replay::Seen(*answered_at),
            None if issued_at < self.newest.saturating_sub(REMEMBERED_MS) => Replay::Forgotten,
            None => Replay::New,
        }
    }

    /// Returns the new horizon when it is time to forget.
    fn insert(&mut self, answered: Answered) -> Option<u64> {
        let key = (answered.request_hash, answered.wrap_digest);
        self.seen
            .entry(key)
            .or_insert((answered.issued_at, answered.answered_at));
        self.newest = self.newest.max(answered.issued_at);
        let horizon = self.newest.saturating_sub(REMEMBERED_MS);
        if horizon < self.horizon.saturating_add(FORGET_EVERY_MS) {
            return None;
        }
        self.horizon = horizon;
        self.seen.retain(|_, (issued_at, _)| *issued_at >= horizon);
        Some(horizon)
    }
}

/// What the writer knows.
struct Working {
    state: Arc<State>,
    chain: Chain,
    answered: Replays,
    /// Digests of commands that changed nothing.
    refused: HashSet<[u8; 32]>,
}

type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Job =
    Box<dyn for<'a, 'b> FnOnce(Result<&'a mut Transaction<'b>, StoreError>) -> Answer + Send>;

enum Failure {
    None,
    /// The last batch was rolled back; what is in memory must be read again.
    RolledBack,
    /// Nobody knows what is durable: no more until a restart.
    Final,
}

struct WriterThread {
    store: Arc<dyn Store>,
    rebuild: Rebuild,
    clock: Clock,
    published: Arc<ArcSwap<State>>,
    notify: watch::Sender<u64>,
    working: Working,
    failed: Failure,
    well: Arc<AtomicBool>,
    queued: Arc<AtomicUsize>,
}

impl Drop for WriterThread {
    /// However the thread ends, a defect of a job included: nothing is written any more, and `/healthz` says so.
    fn drop(&mut self) {
        self.well.store(false, Ordering::Relaxed);
    }
}

impl WriterThread {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let queued = Arc::clone(&self.queued);
            let batch = std::iter::once(first)
                .chain(jobs.try_iter())
                .take(MAX_BATCH);
            self.batch(batch.inspect(|_| {
                queued.fetch_sub(1, Ordering::SeqCst);
            }));
        }
    }

    fn batch(&mut self, jobs: impl Iterator<Item = Job>) {
        if !self.recover() {
            jobs.for_each(|job| job(Err(StoreError::Closed))(Ok(())));
            return;
        }
        let before = Arc::clone(&self.working.state);
        let mut changes = Vec::new();
        let mut transaction = Transaction {
            working: &mut self.working,
            changes: &mut changes,
            now_ms: (self.clock)(),
        };
        let answers: Vec<Answer> = jobs.map(|job| job(Ok(&mut transaction))).collect();
        let result = if changes.is_empty() {
            Ok(())
        } else {
            self.store.commit(&changes)
        };
        self.well.store(result.is_ok(), Ordering::Relaxed);
        match result {
            Ok(()) => {
                if !Arc::ptr_eq(&before, &self.working.state) {
                    self.published.store(Arc::clone(&self.working.state));
                    self.notify
                        .send_modify(|version| *version = version.wrapping_add(1));
                }
                answers.into_iter().for_each(|answer| answer(Ok(())));
            }
            Err(failure) => {
                self.failed = if failure.is_clean() {
                    Failure::RolledBack
                } else {
                    Failure::Final
                };
                error!(
                    error = &failure as &dyn std::error::Error,
                    "nothing of a batch was written"
                );
                answers
                    .into_iter()
                    .for_each(|answer| answer(Err(StoreError::Batch)));
            }
        }
    }

    /// Returns whether work can go on.
    fn recover(&mut self) -> bool {
        match self.failed {
            Failure::None => return true,
            Failure::Final => return false,
            Failure::RolledBack => {}
        }
        let read = || -> Result<Working, StoreError> {
            Ok(Working {
                state: Arc::new((self.rebuild)(&*self.store)?),
                chain: audit::resume(&*self.store)?,
                answered: Replays::new(self.store.answered()?),
                refused: HashSet::new(),
            })
        };
        match read() {
            Ok(working) => {
                self.working = working;
                self.failed = Failure::None;
                true
            }
            Err(failure) => {
                warn!(
                    error = &failure as &dyn std::error::Error,
                    "the store cannot be read again"
                );
                false
            }
        }
    }
}

/// Requests older than this, measured from the newest released one, may have been forgotten.
///
/// Twice the tolerance for a request's time: no clock within it meets a forgotten request.
const REMEMBERED_MS: u64 = 2 * super::release::TIME_TOLERANCE_MS;
const FORGET_EVERY_MS: u64 = 60_000;
const QUEUE_LEN: usize = 8192;
const MAX_BATCH: usize = 1024;
