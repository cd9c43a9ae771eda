//! Enrolment, certificates and ceremonies over HTTP, and a whole holder put together from its directory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SecureRandom;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use sealift_policy::KeyAction;
use thiserror::Error;
use tokio::task::JoinHandle;

use super::authority::{AuthorityError, RegionalAuthority};
use super::ceremony::{self, Ceremonies, Holder};
use super::commands::Asked;
use super::decision::{Caller, Surroundings, decide_order};
use super::enrol::{self, EnrolError};
use super::gossip;
use super::http::{Connection, Failure, Recognised, answer, read_body, read_body_up_to};
use super::quota::Quota;
use super::release::{Denied, unavailable};
use super::rollback::Watch;
use super::shares::SealedShares;
use super::state::Deployment;
use super::store::Store;
use super::{Config, Limits, Running, Server, Service, StartError};
use crate::Clock;
use crate::command::{Command, Order};
use crate::dsse;
use crate::setup::{Lock, Opened};
use crate::wire::{CeremonyRequest, CertificateRequest, Code, EnrolRequest, Step};

/// What a program decides about a holder that it starts.
pub struct Options {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where `/healthz` and `/metrics` are; loopback.
    pub local: Option<SocketAddr>,
    /// Unix milliseconds.
    pub clock: Clock,
    /// Randomness.
    pub rng: Arc<dyn SecureRandom + Send + Sync>,
    /// What a node may ask of a key.
    pub quota: Quota,
    /// NTP servers, `HOST[:PORT]`, that say whether the clock is right.
    pub ntp: Vec<String>,
    /// Times and sizes.
    pub limits: Limits,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// Starts the holder that [`crate::setup::open`] opened.
///
/// # Errors
///
/// [`LaunchError`]; then nothing is served.
pub async fn start(opened: Opened, options: Options) -> Result<Launched, LaunchError> {
    let Opened {
        config,
        store,
        secrets,
        lock,
    } = opened;
    let Options {
        listen,
        local,
        clock,
        rng,
        quota,
        ntp,
        limits,
    } = options;
    let secrets = Arc::new(secrets);
    let host = host(&config.me.url).ok_or(LaunchError::Url)?;
    let authority = Arc::new(RegionalAuthority::start(
        Arc::clone(&secrets),
        &host,
        clock(),
        &*rng,
    )?);
    let store: Arc<dyn Store> = Arc::new(store);
    let shares = SealedShares::new(Arc::clone(&secrets), Arc::clone(&store));
    let context = Arc::new(Context {
        authority: Arc::clone(&authority),
        ceremonies: Arc::new(Ceremonies::new()),
        holder: Holder {
            secrets: Arc::clone(&secrets),
            shares: shares.clone(),
        },
    });
    let running = Server::start(Config {
        deployment: Deployment {
            me: config.me,
            peers: config.peers,
            administrators: config.administrators,
        },
        listen,
        local,
        store,
        vault: Arc::new(shares.clone()),
        signer: Arc::clone(secrets.signing()),
        credential: authority.credential(),
        clock: Arc::clone(&clock),
        rng: Arc::clone(&rng),
        quota,
        ntp,
        limits,
        links: None,
        routes: routes(context),
    })
    .await?;
    let service = Arc::clone(running.service());
    let upkeep = tokio::spawn(async move {
        let watch = Watch::default();
        let mut every = tokio::time::interval(limits.pull_every.min(Duration::from_secs(60)));
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            if let Err(error) = authority.renew_when_due(clock(), &*rng) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the service certificate is not renewed"
                );
            }
            // What a clock that is wrong would destroy is gone for good.
            if service.timekeeping.doubt(Instant::now()).is_none()
                && let Err(error) = shares.destroy_deleted(&service.writer, clock()).await
            {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "shares of deleted keys are not destroyed"
                );
            }
            if let Err(error) = watch.look(&service.writer).await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "missing shares are not recorded"
                );
            }
        }
    });
    Ok(Launched {
        running,
        upkeep,
        lock,
    })
}

/// A holder that serves and keeps its certificate fresh.
#[derive(Debug)]
pub struct Launched {
    running: Running,
    upkeep: JoinHandle<()>,
    lock: Lock,
}

impl Launched {
    /// Returns the service.
    pub const fn running(&self) -> &Running {
        &self.running
    }

    /// Stops as [`Running::shutdown`] does.
    pub async fn shutdown(self) {
        let Self {
            running,
            upkeep,
            lock,
        } = self;
        upkeep.abort();
        // It holds the service: only when it is gone can the writer end.
        drop(upkeep.await);
        running.shutdown().await;
        drop(lock);
    }
}

/// Why a holder was not started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The descriptor's URL has no host.
    #[error("the holder's URL has no host")]
    Url,
    /// The service certificate could not be issued.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The service did not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// What the handlers of this module need beside the service.
#[derive(Debug)]
struct Context {
    authority: Arc<RegionalAuthority>,
    ceremonies: Arc<Ceremonies>,
    holder: Holder,
}

fn routes(context: Arc<Context>) -> Router<Arc<Service>> {
    let (one, two, three) = (Arc::clone(&context), Arc::clone(&context), context);
    Router::new()
        .route(
            "/v1/enrol",
            post(
                async move |State(service): State<Arc<Service>>, request: Request| {
                    enrol_node(&service, &one, request).await
                },
            ),
        )
        .route(
            "/v1/certificates",
            post(
                async move |State(service): State<Arc<Service>>,
                            who: Recognised,
                            request: Request| {
                    renew(&service, &two, who, request).await
                },
            ),
        )
        .route(
            "/v1/keys/{id}/shares",
            post(
                async move |State(service): State<Arc<Service>>,
                            who: Recognised,
                            Path(key_id): Path<String>,
                            request: Request| {
                    step(&service, &three, who, &key_id, request).await
                },
            ),
        )
}

async fn enrol_node(
    service: &Service,
    context: &Context,
    request: Request,
) -> Result<Response, Failure> {
    let connection = request
        .extensions()
        .get::<Connection>()
        .ok_or(Code::Unauthenticated)?;
    let address = connection.src.ip().to_string();
    service
        .strangers
        .take(&address, "", 1, (service.clock)())
        .map_err(|over| Denied {
            code: Code::QuotaExceeded,
            retry_after: Some(over.retry_after),
        })?;
    let body: EnrolRequest = read_body_up_to(service, request, MAX_ENROLMENT_LEN).await?;
    let certificate = enrol::enrol(&body, &context.authority, &service.writer)
        .await
        .map_err(refused)?;
    Ok(answer(StatusCode::OK, &certificate))
}

async fn renew(
    service: &Service,
    context: &Context,
    who: Recognised,
    request: Request,
) -> Result<Response, Failure> {
    let body: CertificateRequest = read_body(service, request).await?;
    let Caller::Node { name, key, .. } = &who.caller else {
        return Err(Code::Forbidden.into());
    };
    let certificate = enrol::renew(&body, name, key, &context.authority, &service.writer)
        .await
        .map_err(refused)?;
    Ok(answer(StatusCode::OK, &certificate))
}

/// Returns who dealt the shares of a reshare that is about to be accepted.
fn dealers(body: &CeremonyRequest) -> Vec<String> {
    let command = dsse::Unverified::parse(&body.command.0)
        .ok()
        .and_then(|envelope| serde_json::from_slice::<Command>(envelope.unverified_payload()).ok());
    // `ceremony::serve` verifies the same octets; an envelope that lies here fails there.
    match command.map(|command| command.order) {
        Some(Order::ReshareKey { dealers, .. }) if body.step == Step::Accept => dealers,
        _ => Vec::new(),
    }
}

async fn step(
    service: &Arc<Service>,
    context: &Context,
    who: Recognised,
    key_id: &str,
    request: Request,
) -> Result<Response, Failure> {
    let now_ms = (service.clock)();
    let around = Surroundings {
        now_ms,
        src: who.src.ip(),
        approvals: 1,
    };
    let state = service.writer.state();
    // Whoever may order a key may run its ceremony; what is done is in the command, not in the request.
    let may = [
        KeyAction::CreateKey,
        KeyAction::ImportKey,
        KeyAction::RefreshShares,
        KeyAction::Reshare,
    ]
    .into_iter()
    .any(|action| decide_order(&state, &who.caller, Asked::Key(action), key_id, &around).allowed);
    if !may {
        return Err(Code::Forbidden.into());
    }
    let body: CeremonyRequest = read_body(service, request).await?;
    if let Err(peer) = gossip::catch_up(service, &dealers(&body)).await {
        tracing::warn!(
            peer,
            "a share was not accepted: what this peer knows is not known here"
        );
        return Err(Code::QuorumUnavailable.into());
    }
    let actor = who.caller.actor();
    let answered = ceremony::serve(
        &context.ceremonies,
        key_id,
        body,
        &actor,
        &context.holder,
        &service.writer,
        now_ms,
    )
    .await;
    match answered {
        Ok(body) => Ok(answer(StatusCode::OK, &body)),
        Err(error) => Err(unavailable(&error).into()),
    }
}

fn refused(error: EnrolError) -> Failure {
    tracing::info!(error = &error as &dyn std::error::Error, "no certificate");
    match &error {
        EnrolError::Store(store) => unavailable(store).into(),
        _ => error.code().into(),
    }
}

fn host(url: &str) -> Option<String> {
    url.parse::<http::Uri>().ok()?.host().map(str::to_owned)
}

/// A signed enrolment and a certificate request, in base64url.
const MAX_ENROLMENT_LEN: usize = 32 * 1024;
