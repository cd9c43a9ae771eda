//! The holder API over HTTP.
//!
//! Every answer carries `request-id`; every error is `{"code","request_id"}` and nothing else. Identity comes from the
//! connection and is judged again for every request.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::Instrument;

use super::Service;
use super::audit::{self, Entry};
use super::commands::{self, Asked, Refusal};
use super::decision::{Caller, Surroundings, decide_order};
use super::release::{self, Denied, unavailable};
use super::state::State as Known;
use super::{events, gossip, registrations};
use crate::command::{Command, Order};
use crate::dsse;
use crate::octets::Octets;
use crate::tls::Peer;
use crate::wire::{
    AuditPage, Code, CommandStatus, CommandsAnswer, CommandsPage, CommandsRequest, ErrorBody,
    KeyAnswer, MAX_BODY_LEN, MAX_COMMANDS, Need, PartialsRequest, RegistrationRequest,
};
use sealift_policy::{HolderAction, KeyAction, Role};

/// Who is at the other end of a connection; an extension of every request on it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Whom the handshake found, if it showed a certificate.
    pub peer: Option<Peer>,
    /// The other end of the socket.
    pub src: SocketAddr,
}

/// Puts the API together. `more` has the paths of enrolment, certificates and ceremonies; its handlers take
/// [`Recognised`] or [`Connection`] and [`ReadBody`], and answer [`Failure`]s, so that all errors look alike.
pub(super) fn router(service: Arc<Service>, more: Router<Arc<Service>>) -> Router {
    Router::new()
        .route("/v1/keys/{id}/partials", post(partials))
        .route("/v1/keys/{id}", get(key))
        .route("/v1/keys/{id}/registrations", post(register))
        .route("/v1/keys", post(create_key))
        .route("/v1/commands", post(take_commands).get(give_commands))
        .route("/v1/events", get(follow))
        .route("/v1/audit", get(audit_rows))
        .route("/v1/checkpoints", get(checkpoints))
        .merge(more)
        .fallback(async || Failure::from(Code::NotFound))
        .layer(middleware::from_fn_with_state(Arc::clone(&service), finish))
        .with_state(service)
}

/// What only this machine may see.
pub(super) fn local_router(service: Arc<Service>) -> Router {
    Router::new()
        .route(
            "/healthz",
            get(async |State(service): State<Arc<Service>>| health(&service)),
        )
        .route(
            "/metrics",
            get(async |State(service): State<Arc<Service>>| metrics(&service)),
        )
        .with_state(service)
}

fn health(service: &Service) -> Response {
    if service.writer.is_working() {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the store cannot be written\n",
        )
            .into_response()
    }
}

fn metrics(service: &Service) -> Response {
    let kind =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    match service.metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, kind)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// An error of the API.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure(pub Denied);

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Self(code.into())
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        Self(denied)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if let Some(seconds) = self.0.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        // The body is written where the request's id is known.
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives the request its id, and errors their body.
async fn finish(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let id = service.request_id();
    let method = request.method().clone();
    let span = tracing::info_span!("request", id, %method, path = request.uri().path());
    let mut response = next.run(request).instrument(span.clone()).await;
    let failure = response.extensions_mut().remove::<Failure>();
    let status = response.status();
    if failure.is_some() || status.is_client_error() || status.is_server_error() {
        // What the framework refuses by itself: paths, methods, parameters.
        let code = failure.map_or(
            if status == StatusCode::NOT_FOUND || status == StatusCode::METHOD_NOT_ALLOWED {
                Code::NotFound
            } else {
                Code::BadRequest
            },
            |failure| failure.0.code,
        );
        let retry = response.headers().get(RETRY_AFTER).cloned();
        let body = ErrorBody {
            code,
            request_id: id.clone(),
        };
        let status =
            StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response = answer(status, &body);
        if let Some(retry) = retry {
            response.headers_mut().insert(RETRY_AFTER, retry);
        }
        // By its id a caller's complaint is found here.
        span.in_scope(|| tracing::info!(id, %code, "refused"));
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Somebody the holder knows, of this moment.
#[derive(Clone, Debug)]
pub struct Recognised {
    /// Who.
    pub caller: Caller,
    /// The other end of the socket.
    pub src: SocketAddr,
}

impl FromRequestParts<Arc<Service>> for Recognised {
    type Rejection = Failure;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, Failure> {
        let connection = parts
            .extensions
            .get::<Connection>()
            .ok_or(Code::Unauthenticated)?;
        let peer = connection.peer.as_ref().ok_or(Code::Unauthenticated)?;
        let caller = Caller::recognise(&service.writer.state(), peer, (service.clock)()).map_err(
            |reason| {
                tracing::info!(name = %peer.name, reason, "not recognised");
                Code::Unauthenticated
            },
        )?;
        Ok(Self {
            caller,
            src: connection.src,
        })
    }
}

/// Reads the body as JSON: at most [`MAX_BODY_LEN`] octets, in a short time.
pub async fn read_body<T: DeserializeOwned>(
    service: &Service,
    request: Request,
) -> Result<T, Failure> {
    read_body_up_to(service, request, MAX_BODY_LEN).await
}

/// The same with another limit: what callers whom nobody knows can make a holder keep must be little.
pub(super) async fn read_body_up_to<T: DeserializeOwned>(
    service: &Service,
    request: Request,
    limit: usize,
) -> Result<T, Failure> {
    let length = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > limit) {
        return Err(Code::TooLarge.into());
    }
    let read = async {
        let mut octets = Vec::with_capacity(length.unwrap_or(0));
        let mut stream = request.into_body().into_data_stream();
        while let Some(part) = stream.next().await {
            let part = part.map_err(|_| Code::BadRequest)?;
            if octets.len().saturating_add(part.len()) > limit {
                return Err(Failure::from(Code::TooLarge));
            }
            octets.extend_from_slice(&part);
        }
        Ok(octets)
    };
    let octets = tokio::time::timeout(service.limits.body_time, read)
        .await
        .map_err(|_| Code::BadRequest)??;
    serde_json::from_slice(&octets).map_err(|error| {
        tracing::info!(%error, "malformed body");
        Code::BadRequest.into()
    })
}

async fn partials(
    State(service): State<Arc<Service>>,
    Recognised { caller, src }: Recognised,
    Path(key_id): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let body: PartialsRequest = read_body(&service, request).await?;
    let Ok(waiting) = Arc::clone(&service.waiting).try_acquire_owned() else {
        service.metrics.shed.inc();
        return Err(Denied {
            code: Code::StoreUnavailable,
            retry_after: Some(1),
        }
        .into());
    };
    let worker = Arc::clone(&service.workers)
        .acquire_owned()
        .await
        .map_err(|_| Code::StoreUnavailable)?;
    let span = tracing::Span::current();
    let task = tokio::task::spawn_blocking(move || {
        let _held = (waiting, worker);
        span.in_scope(|| release::release(&service, &caller, src.ip(), &key_id, &body))
    });
    let result = task.await.map_err(|_| Code::StoreUnavailable)?;
    Ok(answer(StatusCode::OK, &result?))
}

async fn key(
    State(service): State<Arc<Service>>,
    Recognised { caller, src }: Recognised,
    Path(key_id): Path<String>,
) -> Result<Response, Failure> {
    let state = service.writer.state();
    let now_ms = (service.clock)();
    let key = state.keys().get(&key_id);
    let may = match &caller {
        Caller::Node { name, .. } => !state.is_revoked(&name.name),
        Caller::Holder { .. } => true,
        Caller::Operator { .. } => {
            let around = Surroundings {
                now_ms,
                src: src.ip(),
                approvals: 1,
            };
            decide_order(
                &state,
                &caller,
                Asked::Key(KeyAction::DescribeKey),
                &format!("key:{key_id}"),
                &around,
            )
            .allowed
        }
    };
    let key = match (may, key, &caller) {
        (true, Some(key), _) => key,
        // Nodes may read what they are told of, not find out what there is.
        (true, None, Caller::Operator { .. } | Caller::Holder { .. }) => {
            return Err(Code::KeyNotFound.into());
        }
        _ => return Err(Code::Forbidden.into()),
    };
    let descriptor = key
        .epochs
        .last_key_value()
        .map(|(_, epoch)| Octets::clone(&epoch.descriptor));
    let state = key.state(now_ms).as_str().to_owned();
    Ok(answer(
        StatusCode::OK,
        &KeyAnswer {
            descriptor,
            state,
            min_unwrap_epoch: key.min_epoch,
        },
    ))
}

async fn register(
    State(service): State<Arc<Service>>,
    Recognised { caller, src }: Recognised,
    Path(key_id): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let body: RegistrationRequest = read_body(&service, request).await?;
    let registered = registrations::register(&service, &caller, src.ip(), &key_id, body).await?;
    Ok(answer(StatusCode::OK, &registered))
}

/// Takes the one signed command that begins a key; everything else is for `/v1/commands`.
async fn create_key(
    State(service): State<Arc<Service>>,
    Recognised { caller, src }: Recognised,
    request: Request,
) -> Result<Response, Failure> {
    let Caller::Operator { .. } = &caller else {
        return Err(Code::Forbidden.into());
    };
    let body: CommandsRequest = read_body(&service, request).await?;
    let [envelope] = body.commands.as_slice() else {
        return Err(Code::BadRequest.into());
    };
    // What it says counts when its signatures have been verified, which `order` does.
    match unverified(envelope).map(|command| command.order) {
        Some(Order::CreateKey(_) | Order::ImportKey(_)) => {
            order(&service, &caller, src, envelope).await
        }
        _ => Err(Code::BadRequest.into()),
    }
}

fn unverified(envelope: &Octets) -> Option<Command> {
    let envelope = dsse::Unverified::parse(&envelope.0).ok()?;
    serde_json::from_slice(envelope.unverified_payload()).ok()
}

async fn take_commands(
    State(service): State<Arc<Service>>,
    Recognised { caller, src }: Recognised,
    request: Request,
) -> Result<Response, Failure> {
    let body: CommandsRequest = read_body(&service, request).await?;
    match &caller {
        Caller::Node { .. } => Err(Code::Forbidden.into()),
        Caller::Holder { .. } if body.commands.len() <= MAX_COMMANDS => {
            let taken = gossip::take(&service, &caller.actor(), &body.commands).await?;
            let accepted = taken.results.iter().all(|result| result.error.is_none());
            let status = if accepted {
                CommandStatus::Effective
            } else {
                CommandStatus::Refused
            };
            let holders = vec![service.name.clone()];
            let results = taken.results;
            let needs = match body.commands.as_slice() {
                [envelope] => needs(&service, envelope),
                _ => Vec::new(),
            };
            Ok(answer(
                StatusCode::OK,
                &CommandsAnswer {
                    status,
                    applied: 1,
                    needed: 1,
                    holders,
                    results,
                    needs,
                },
            ))
        }
        Caller::Holder { .. } => Err(Code::BadRequest.into()),
        Caller::Operator { .. } => {
            let [envelope] = body.commands.as_slice() else {
                return Err(Code::BadRequest.into());
            };
            order(&service, &caller, src, envelope).await
        }
    }
}

/// Returns what this holder knows to be needed until a command is in force.
fn needs(service: &Service, envelope: &Octets) -> Vec<Vec<Need>> {
    // It has been applied, so its signatures hold; and a lie about it would only make it wait longer.
    unverified(envelope).map_or_else(Vec::new, |command| {
        let requirement = service
            .writer
            .state()
            .requirement(&command.subject, &command.order);
        requirement.needs().to_vec()
    })
}

/// Takes an operator's command: judged here, then spread until it is in force.
async fn order(
    service: &Arc<Service>,
    caller: &Caller,
    src: SocketAddr,
    envelope: &Octets,
) -> Result<Response, Failure> {
    let state = service.writer.state();
    let judged = match service.check_command(&state, envelope).await? {
        Ok(checked) => judge(&state, caller, src, &checked, (service.clock)()).map(|()| checked),
        Err(refusal) => Err(refusal),
    };
    let checked = match judged {
        Ok(checked) => checked,
        Err(Refusal { code, reason }) => {
            let entry = Entry {
                event: "command",
                actor: caller.actor(),
                decision: "deny",
                reason: format!("{code}: {reason}"),
                detail: json!({"src": src.ip()}),
                ..Entry::default()
            };
            service
                .transact(move |transaction| transaction.audit(entry))
                .await
                .map_err(|error| unavailable(&error))?;
            return Err(code.into());
        }
    };
    let taken = gossip::take(service, &caller.actor(), std::slice::from_ref(envelope)).await?;
    if let Some(code) = taken.results.iter().find_map(|result| result.error) {
        return Err(code.into());
    }
    let mut requirement = service
        .writer
        .state()
        .requirement(&checked.command.subject, &checked.command.order);
    let confirmed = gossip::spread(service, envelope.clone(), &mut requirement).await;
    let effective = requirement.is_met(&confirmed);
    let (http, status) = if effective {
        (StatusCode::OK, CommandStatus::Effective)
    } else {
        (StatusCode::ACCEPTED, CommandStatus::Pending)
    };
    let body = CommandsAnswer {
        status,
        applied: confirmed.len(),
        needed: requirement.needed(),
        holders: confirmed.into_iter().collect(),
        results: taken.results,
        needs: Vec::new(),
    };
    Ok(answer(http, &body))
}

/// Checks what an operator orders against policy and state. A command that is known is only spread again.
fn judge(
    state: &Known,
    caller: &Caller,
    src: SocketAddr,
    checked: &commands::Checked,
    now_ms: u64,
) -> Result<(), Refusal> {
    let command = &checked.command;
    let around = Surroundings {
        now_ms,
        src: src.ip(),
        approvals: state.approvals(&checked.signers),
    };
    let decision = decide_order(
        state,
        caller,
        commands::asked(&command.order),
        &command.subject,
        &around,
    );
    if !decision.allowed {
        return Err(Refusal {
            code: Code::Forbidden,
            reason: decision.reason(),
        });
    }
    if state.command(&checked.digest).is_some() {
        return Ok(());
    }
    commands::fits_state(state, command, now_ms)
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
    limit: Option<usize>,
}

async fn give_commands(
    State(service): State<Arc<Service>>,
    Recognised { caller, .. }: Recognised,
    Query(Since { since, limit }): Query<Since>,
) -> Result<Response, Failure> {
    if let Caller::Node { .. } = caller {
        return Err(Code::Forbidden.into());
    }
    let state = service.writer.state();
    let all = state.commands();
    let at = usize::try_from(since).unwrap_or(usize::MAX).min(all.len());
    let mut page = CommandsPage {
        next: at as u64,
        commands: Vec::new(),
    };
    let mut room = gossip::MAX_PAGE_LEN / 2;
    for command in all
        .iter()
        .skip(at)
        .take(limit.unwrap_or(MAX_COMMANDS).min(MAX_COMMANDS))
    {
        // In base64url three octets are four.
        let needed = command.envelope.len().saturating_mul(4) / 3 + 4;
        if needed > room && !page.commands.is_empty() {
            break;
        }
        room = room.saturating_sub(needed);
        page.next = command.seq;
        page.commands.push(command.envelope.as_slice().into());
    }
    Ok(answer(StatusCode::OK, &page))
}

async fn follow(
    State(service): State<Arc<Service>>,
    Recognised { caller, .. }: Recognised,
    request: Request,
) -> Result<Response, Failure> {
    let last = request
        .headers()
        .get(LAST_EVENT_ID)
        .map(|id| id.to_str().ok().and_then(|id| id.parse().ok()));
    let since = match last {
        Some(None) => return Err(Code::BadRequest.into()),
        Some(Some(since)) => since,
        None => 0,
    };
    let node = match caller {
        Caller::Node { name, .. } => Some(name.name),
        _ => None,
    };
    let ends = move |state: &Known| node.as_ref().is_some_and(|node| state.is_revoked(node));
    Ok(events::feed(&service, since, ends).into_response())
}

fn may_read(
    service: &Service,
    caller: &Caller,
    src: SocketAddr,
    action: HolderAction,
) -> Result<(), Failure> {
    let state = service.writer.state();
    let around = Surroundings {
        now_ms: (service.clock)(),
        src: src.ip(),
        approvals: 1,
    };
    let allowed = match caller {
        // Auditors read from the beginning, whatever policies say later.
        Caller::Operator {
            role: Role::Auditor,
            ..
        } if state.policy().is_none() => true,
        Caller::Operator { .. } => {
            decide_order(&state, caller, Asked::Holder(action), "", &around).allowed
        }
        _ => false,
    };
    if allowed {
        Ok(())
    } else {
        Err(Code::Forbidden.into())
    }
}

async fn audit_rows(
    State(service): State<Arc<Service>>,
    Recognised { caller, src }: Recognised,
    Query(Since { since, limit }): Query<Since>,
) -> Result<Response, Failure> {
    may_read(&service, &caller, src, HolderAction::ReadAudit)?;
    let limit = limit.unwrap_or(MAX_ROWS).min(MAX_ROWS);
    let read = tokio::task::spawn_blocking(move || audit::rows(&*service.store, since, limit));
    let rows = read
        .await
        .map_err(|_| Code::StoreUnavailable)?
        .map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the audit record cannot be read"
            );
            Code::StoreUnavailable
        })?;
    let (next, head) = rows.last().map_or((since, Octets::default()), |row| {
        (row.seq, row.hash.clone())
    });
    Ok(answer(StatusCode::OK, &AuditPage { next, rows, head }))
}

/// The Merkle roots of closed segments.
#[derive(Debug, Deserialize, Serialize)]
struct Checkpoints {
    /// Rows of the whole record.
    len: u64,
    /// Roots, in order.
    segments: Vec<Octets>,
}

async fn checkpoints(
    State(service): State<Arc<Service>>,
    Recognised { caller, src }: Recognised,
) -> Result<Response, Failure> {
    may_read(&service, &caller, src, HolderAction::ReadCheckpoints)?;
    let read = tokio::task::spawn_blocking(move || {
        Ok::<_, super::store::StoreError>((service.store.audit_len()?, service.store.segments()?))
    });
    let (len, segments) = read
        .await
        .map_err(|_| Code::StoreUnavailable)?
        .map_err(|_| Code::StoreUnavailable)?;
    let segments = segments.iter().map(|root| root.as_slice().into()).collect();
    Ok(answer(StatusCode::OK, &Checkpoints { len, segments }))
}

/// Answers with JSON.
pub fn answer<T: Serialize>(status: StatusCode, body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(octets) => {
            let kind = HeaderValue::from_static("application/json");
            (status, [(CONTENT_TYPE, kind)], Body::from(octets)).into_response()
        }
        Err(_) => Failure::from(Code::StoreUnavailable).into_response(),
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const MAX_ROWS: usize = 1000;
