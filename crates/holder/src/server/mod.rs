//! The service of one holder.
//!
//! [`release`] answers wraps, [`commands`] and [`gossip`] keep holders of one mind, [`writer`] makes everything durable
//! before it is answered, [`http`] is the API.

pub mod audit;
pub mod authority;
pub mod ceremony;
pub mod commands;
pub mod decision;
pub mod enrol;
mod events;
pub mod gossip;
pub mod http;
mod listener;
pub mod metrics;
pub mod quota;
pub mod registrations;
pub mod release;
pub mod rollback;
pub mod routes;
pub mod sealing;
pub mod secrets;
pub mod shares;
pub mod state;
pub mod store;
pub mod timekeeping;
pub mod vault;
pub mod writer;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::rand::SecureRandom;
use axum::Router;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use self::commands::{Checked, Refusal};
use self::gossip::{HttpLink, Link, LinkError};
use self::metrics::Metrics;
use self::quota::{Buckets, Quota};
use self::state::{Deployment, State};
use self::store::{Store, StoreError};
use self::timekeeping::Timekeeping;
use self::vault::ShareVault;
use self::writer::{Transaction, Writer};
use crate::Clock;
use crate::keys::SigningKey;
use crate::octets::Octets;
use crate::tls::{self, Credential, SharedTrust, TlsConfigError, Trust};
use crate::wire::Code;

/// What a holder is started with.
pub struct Config {
    /// Itself, its peers, the first administrators.
    pub deployment: Deployment,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where `/healthz` and `/metrics` are; loopback.
    pub local: Option<SocketAddr>,
    /// Its store.
    pub store: Arc<dyn Store>,
    /// Its shares.
    pub vault: Arc<dyn ShareVault>,
    /// What signs receipts.
    pub signer: Arc<SigningKey>,
    /// Its service certificate; replaced from outside.
    pub credential: Arc<Credential>,
    /// Unix milliseconds.
    pub clock: Clock,
    /// NTP servers that say whether that is the time, `HOST[:PORT]`; without any it is not doubted.
    pub ntp: Vec<String>,
    /// Randomness.
    pub rng: Arc<dyn SecureRandom + Send + Sync>,
    /// What a node may ask of a key.
    pub quota: Quota,
    /// Times and sizes.
    pub limits: Limits,
    /// Ways to the peers; none for HTTP by their descriptors.
    pub links: Option<Vec<Arc<dyn Link>>>,
    /// Paths beside those of this module.
    pub routes: Router<Arc<Service>>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.deployment.me.name)
            .finish_non_exhaustive()
    }
}

/// Times and sizes of the service.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// Time for a TLS handshake, for the headers of a request.
    pub header_time: Duration,
    /// Time for a body.
    pub body_time: Duration,
    /// Time for the other side to take an answer.
    pub answer_time: Duration,
    /// How long a command's answer waits for peers.
    pub effect_wait: Duration,
    /// How often peers are asked for commands.
    pub pull_every: Duration,
    /// How long open requests may take at shutdown.
    pub shutdown: Duration,
    /// Releases at work, most of them waiting for the disk.
    pub workers: usize,
    /// Releases that wait for a worker or are at work; more are turned away.
    pub waiting: usize,
    /// Releases that compute at the same time.
    pub cores: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(10),
            answer_time: Duration::from_secs(30),
            effect_wait: Duration::from_secs(2),
            pull_every: Duration::from_secs(5),
            shutdown: Duration::from_secs(10),
            workers: 128,
            waiting: 1024,
            cores: std::thread::available_parallelism().map_or(2, usize::from),
        }
    }
}

/// What all requests share.
pub struct Service {
    /// This holder's name.
    pub name: String,
    /// The writer, and the state.
    pub writer: Writer,
    /// The store, for reading.
    pub store: Arc<dyn Store>,
    /// Unix milliseconds.
    pub clock: Clock,
    /// Randomness.
    pub rng: Arc<dyn SecureRandom + Send + Sync>,
    /// What signs receipts.
    pub signer: Arc<SigningKey>,
    /// What can be seen from outside.
    pub metrics: Metrics,
    vault: Arc<dyn ShareVault>,
    buckets: Buckets,
    /// What an address without a certificate may ask.
    strangers: Buckets,
    links: Vec<Arc<dyn Link>>,
    limits: Limits,
    peers_up: Mutex<BTreeSet<String>>,
    witnesses: Arc<Mutex<gossip::Witnesses>>,
    /// Whether commands that this holder once confirmed may be unknown to it.
    behind: AtomicBool,
    timekeeping: Arc<Timekeeping>,
    waiting: Arc<Semaphore>,
    workers: Arc<Semaphore>,
    cores: Cores,
    trust: SharedTrust,
    stop: watch::Receiver<bool>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// Runs `job` on the writer, and returns what it returned once that is durable.
    pub async fn transact<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Transaction<'_>) -> T + Send + 'static,
    {
        let started = std::time::Instant::now();
        let result = self.writer.transact(job).await;
        self.metrics
            .audit_lag_seconds
            .observe(started.elapsed().as_secs_f64());
        result
    }

    /// The same, for threads that may block.
    fn transact_blocking<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Transaction<'_>) -> T + Send + 'static,
    {
        let started = std::time::Instant::now();
        let result = self.writer.transact_blocking(job);
        self.metrics
            .audit_lag_seconds
            .observe(started.elapsed().as_secs_f64());
        result
    }

    /// Checks a command away from the threads that serve.
    async fn check_command(
        &self,
        state: &Arc<State>,
        envelope: &Octets,
    ) -> Result<Result<Checked, Refusal>, Code> {
        let (state, envelope) = (Arc::clone(state), envelope.clone());
        let check = tokio::task::spawn_blocking(move || commands::check(&state, &envelope.0));
        check.await.map_err(|_| Code::StoreUnavailable)
    }

    /// Returns whether commands that this holder once confirmed may be unknown to it.
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::SeqCst)
    }

    fn core(&self) -> CoreHeld<'_> {
        self.cores.take()
    }

    fn request_id(&self) -> String {
        let mut octets = [0; 16];
        // An id names a request in records; it protects nothing, so a failed draw costs only its uniqueness.
        let _drawn = self.rng.fill(&mut octets);
        hex::encode(octets)
    }
}

/// How many threads may compute.
#[derive(Debug)]
struct Cores {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Cores {
    const fn new(count: usize) -> Self {
        Self {
            free: Mutex::new(count),
            freed: Condvar::new(),
        }
    }

    fn take(&self) -> CoreHeld<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .freed
            .wait_while(free, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free = free.saturating_sub(1);
        CoreHeld(self)
    }
}

struct CoreHeld<'a>(&'a Cores);

impl Drop for CoreHeld<'_> {
    fn drop(&mut self) {
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = free.saturating_add(1);
        self.0.freed.notify_one();
    }
}

/// A holder.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Reads the store, checks it, and serves; nothing is served from a store that does not check.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        let Config {
            listen,
            local,
            store,
            vault,
            signer,
            credential,
            clock,
            rng,
            limits,
            ..
        } = config;
        let deployment = Arc::new(config.deployment);
        let make = {
            let (deployment, vault) = (Arc::clone(&deployment), Arc::clone(&vault));
            move |store: &dyn Store| {
                commands::rebuild(State::new(Arc::clone(&deployment)), store, &*vault)
            }
        };
        let state = make(&*store)?;
        let behind = store
            .meta(rollback::RESTORED)?
            .is_some_and(|mark| !mark.is_empty());
        let trust = SharedTrust::new(ArcSwap::from_pointee(trust(&state)?));
        let (writer, thread) = Writer::start(
            Arc::clone(&store),
            state,
            Box::new(make),
            Arc::clone(&clock),
        )?;
        let links = match config.links {
            Some(links) => links,
            None => {
                let link = |peer| -> Result<Arc<dyn Link>, LinkError> {
                    Ok(Arc::new(HttpLink::new(
                        peer,
                        Arc::clone(&credential),
                        Arc::clone(&clock),
                    )?))
                };
                deployment
                    .peers
                    .iter()
                    .map(link)
                    .collect::<Result<_, _>>()?
            }
        };
        let tls = tls::server_config(credential, Arc::clone(&trust), Arc::clone(&clock))?;
        let bind = |address| async move {
            TcpListener::bind(address)
                .await
                .map_err(|source| StartError::Listen { address, source })
        };
        let listener = bind(listen).await?;
        let local = match local {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let (stop, stopped) = watch::channel(false);
        let service = Arc::new(Service {
            name: deployment.me.name.clone(),
            writer,
            store,
            clock,
            rng,
            signer,
            metrics: Metrics::default(),
            vault,
            buckets: Buckets::new(config.quota),
            strangers: Buckets::new(Quota::STRANGERS),
            links,
            limits,
            peers_up: Mutex::default(),
            witnesses: Arc::default(),
            behind: AtomicBool::new(behind),
            timekeeping: Arc::new(Timekeeping::new(config.ntp)),
            waiting: Arc::new(Semaphore::new(limits.waiting)),
            workers: Arc::new(Semaphore::new(limits.workers)),
            cores: Cores::new(limits.cores.max(1)),
            trust,
            stop: stopped.clone(),
        });
        if behind {
            tracing::warn!("restored from a backup: nothing is released until all peers are heard");
        }
        let mut tasks = JoinSet::new();
        let addr = listener.local_addr().map_err(|source| StartError::Listen {
            address: listen,
            source,
        })?;
        let local_addr = local.as_ref().and_then(|local| local.local_addr().ok());
        let router = http::router(Arc::clone(&service), config.routes);
        tasks.spawn(listener::serve(
            Arc::clone(&service),
            listener,
            Arc::new(tls),
            router,
            stopped.clone(),
        ));
        if let Some(local) = local {
            tasks.spawn(listener::serve_local(
                local,
                http::local_router(Arc::clone(&service)),
                stopped.clone(),
            ));
        }
        tasks.spawn(Arc::clone(&service.timekeeping).follow(stopped.clone()));
        tasks.spawn(gossip::pull_forever(Arc::clone(&service), stopped.clone()));
        tasks.spawn(follow_trust(Arc::clone(&service), stopped));
        tracing::info!(name = service.name, %addr, "serving");
        Ok(Running {
            addr,
            local_addr,
            service,
            stop,
            tasks,
            thread,
        })
    }
}

/// A holder that serves.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    local_addr: Option<SocketAddr>,
    service: Arc<Service>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Running {
    /// Returns where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns where `/healthz` and `/metrics` are.
    pub const fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// Returns what requests share.
    pub const fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Stops taking requests, finishes those that are open, and writes what waits to be written.
    pub async fn shutdown(self) {
        let Self {
            service,
            stop,
            mut tasks,
            thread,
            ..
        } = self;
        let _none_listens = stop.send(true);
        let patience = service
            .limits
            .shutdown
            .saturating_add(Duration::from_secs(1));
        let finish = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, finish).await.is_err() {
            tracing::warn!("requests were cut off");
            tasks.shutdown().await;
        }
        drop(service);
        // Whoever still holds the service keeps the writer; then there is nothing to wait for.
        let joined = tokio::task::spawn_blocking(move || thread.join());
        if tokio::time::timeout(patience, joined).await.is_err() {
            tracing::warn!("the writer is still in use");
        }
    }
}

/// Why a holder does not serve.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The store cannot be used; nothing is served.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsConfigError),
    /// A way to a peer cannot be set up.
    #[error("a way to a peer cannot be set up")]
    Link(#[from] LinkError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Address and port.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Returns whom TLS believes by this state.
fn trust(state: &State) -> Result<Trust, TlsConfigError> {
    let mut trust = Trust::default();
    for holder in state.deployment().holders() {
        trust.add_authority(&holder.name, &holder.ca)?;
    }
    for (name, node) in state.nodes() {
        if let Some(admission) = &node.admission {
            trust.set_home(name, &admission.home);
        }
    }
    for (name, operator) in state.operators() {
        trust.add_operator(operator.key.clone(), name);
    }
    Ok(trust)
}

/// Waits until the holder is to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Whoever would have said so is gone: that is a stop as well.
    let _said_or_gone = stop.wait_for(|stopped| *stopped).await;
}

/// Keeps what TLS believes up to date.
async fn follow_trust(service: Arc<Service>, mut stop: watch::Receiver<bool>) {
    let mut changes = service.writer.changes();
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = stopped(&mut stop) => return,
        }
        match trust(&service.writer.state()) {
            Ok(trust) => service.trust.store(Arc::new(trust)),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "trust cannot be renewed"
            ),
        }
    }
}
