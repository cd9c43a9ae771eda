//! Connections: accepted up to a limit, cut when slow, closed when their other side is no longer welcome.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::decision::Caller;
use super::http::Connection;
use super::{Service, events, stopped};
use crate::tls::Peer;

/// Serves the API until `stop`; then finishes what is open.
pub(super) async fn serve(
    service: Arc<Service>,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let room = Arc::new(Semaphore::new(service.limits.connections));
    // Whoever shows no certificate must not take the places of those who do.
    let strangers = Arc::new(Semaphore::new((service.limits.connections / 8).max(1)));
    let mut connections = JoinSet::new();
    loop {
        let (stream, src) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause(&error).await;
                    continue;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = stopped(&mut stop) => break,
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            service.metrics.shed.inc();
            continue;
        };
        let (service, acceptor, router, stop) = (
            Arc::clone(&service),
            acceptor.clone(),
            router.clone(),
            stop.clone(),
        );
        let strangers = Arc::clone(&strangers);
        connections.spawn(async move {
            let _place = place;
            service.metrics.connections.inc();
            connection(&service, stream, src, &acceptor, &strangers, router, stop).await;
            service.metrics.connections.dec();
        });
    }
    drop(listener);
    let finish = async { while connections.join_next().await.is_some() {} };
    if timeout(service.limits.shutdown, finish).await.is_err() {
        connections.shutdown().await;
    }
}

/// Waits after a failed accept: for want of descriptors the next one fails as well.
async fn pause(error: &std::io::Error) {
    let of_one_peer = matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    );
    if !of_one_peer {
        tracing::warn!(%error, "no connection can be accepted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn connection(
    service: &Arc<Service>,
    stream: TcpStream,
    src: SocketAddr,
    acceptor: &TlsAcceptor,
    strangers: &Semaphore,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let _best_effort = stream.set_nodelay(true);
    let Ok(Ok(stream)) = timeout(service.limits.header_time, acceptor.accept(stream)).await else {
        tracing::debug!(%src, "no handshake");
        return;
    };
    let shown: Vec<CertificateDer<'static>> = stream
        .get_ref()
        .1
        .peer_certificates()
        .unwrap_or_default()
        .iter()
        .map(|der| der.clone().into_owned())
        .collect();
    let mut changes = service.writer.changes();
    changes.mark_unchanged();
    let Ok(peer) = identify(service, &shown) else {
        return;
    };
    let _among_strangers = match (&peer, strangers.try_acquire()) {
        (Some(_), _) => None,
        (None, Ok(place)) => Some(place),
        (None, Err(_)) => {
            service.metrics.shed.inc();
            return;
        }
    };
    // Nobody renews on a connection: who has a new certificate makes a new one.
    let expiry = tokio::time::sleep(peer.as_ref().map_or(Duration::MAX, |peer| {
        let now = (service.clock)() / 1000;
        Duration::from_secs(
            peer.validity
                .not_after
                .saturating_sub(now)
                .saturating_add(1),
        )
    }));
    tokio::pin!(expiry);
    let errand = tokio::time::sleep(
        service
            .limits
            .header_time
            .saturating_add(service.limits.body_time),
    );
    tokio::pin!(errand);
    let extension = Connection {
        peer: peer.clone(),
        src,
    };
    let overdue = Arc::new(Notify::new());
    let (is_overdue, answer_time) = (Arc::clone(&overdue), service.limits.answer_time);
    let handler = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(extension.clone());
        let answered = router.clone().oneshot(request.map(Body::new));
        let is_overdue = Arc::clone(&is_overdue);
        async move {
            let answer = answered.await?;
            Ok::<_, std::convert::Infallible>(to_be_taken(answer, answer_time, is_overdue))
        }
    });
    let builder = builder(service.limits.header_time);
    let serving = builder.serve_connection(TokioIo::new(stream), handler);
    tokio::pin!(serving);
    // Who is not welcome from the beginning is told so, request by request, and that is recorded; but not for long.
    let welcome = is_welcome(service, &shown, peer.as_ref());
    let patience = tokio::time::sleep(PATIENCE);
    tokio::pin!(patience);
    let (mut closing, mut unwelcome) = (false, false);
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%src, error, "connection ended");
                }
                return;
            }
            changed = changes.changed(), if !closing => {
                unwelcome = changed.is_err() || (welcome && !is_welcome(service, &shown, peer.as_ref()));
                closing = unwelcome;
            }
            () = patience.as_mut(), if !welcome && !closing => (unwelcome, closing) = (true, true),
            () = expiry.as_mut(), if !closing => (unwelcome, closing) = (true, true),
            () = stopped(&mut stop), if !closing => closing = true,
            // Requests that are open are answered, a feed ends by itself; then it is over.
            () = tokio::time::sleep(CLOSING), if unwelcome => return,
            // Whoever asks and does not read would make us keep what he asked for.
            () = overdue.notified() => return,
            // A stranger can only enrol, which is one request.
            () = errand.as_mut(), if peer.is_none() => return,
        }
        if closing {
            serving.as_mut().graceful_shutdown();
        }
    }
}

/// Says `is_overdue` when the other side has not taken the answer after `time`. A feed is no answer: it has no end.
fn to_be_taken(answer: Response, time: Duration, is_overdue: Arc<Notify>) -> Response {
    if events::is_feed(&answer) {
        return answer;
    }
    let late = tokio::spawn(async move {
        tokio::time::sleep(time).await;
        is_overdue.notify_one();
    });
    answer.map(|body| {
        Body::new(Taken {
            body,
            rest: Bytes::new(),
            late,
        })
    })
}

/// The body of an answer, in pieces: HTTP/2 takes the next one when the other side has room for it, and so it is known
/// until then that there is a rest.
struct Taken {
    body: Body,
    rest: Bytes,
    late: JoinHandle<()>,
}

impl hyper::body::Body for Taken {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return Poll::Ready(other),
            }
        }
        let len = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(len)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        match hint.exact() {
            Some(exact) => SizeHint::with_exact(exact.saturating_add(rest)),
            None => hint,
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.late.abort();
    }
}

/// Finds out who showed these certificates; nobody, when none were shown.
fn identify(service: &Service, shown: &[CertificateDer<'static>]) -> Result<Option<Peer>, ()> {
    let Some((leaf, chain)) = shown.split_first() else {
        return Ok(None);
    };
    let now = (service.clock)() / 1000;
    service
        .trust
        .load()
        .identify(leaf, chain, now)
        .map(Some)
        .map_err(|error| {
            tracing::info!(%error, "certificate refused");
        })
}

/// Returns whether the other side would be let in by the state of this moment.
fn is_welcome(service: &Service, shown: &[CertificateDer<'static>], peer: Option<&Peer>) -> bool {
    let Some(peer) = peer else { return true };
    let state = service.writer.state();
    match Caller::recognise(&state, peer, (service.clock)()) {
        Err(_) => false,
        Ok(Caller::Node { name, .. }) if state.is_revoked(&name.name) => false,
        // What TLS believes follows the state a moment later; here only what it took away matters.
        Ok(_) => identify(service, shown).is_ok(),
    }
}

fn builder(header_time: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_time)
        .max_headers(64);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(16 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    builder
}

/// Serves liveness and metrics, in the clear, on loopback.
pub(super) async fn serve_local(
    listener: TcpListener,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let room = Arc::new(Semaphore::new(64));
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    pause(&error).await;
                    continue;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = stopped(&mut stop) => return,
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            continue;
        };
        let router = router.clone();
        connections.spawn(async move {
            let _place = place;
            let handler = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                router.clone().oneshot(request.map(Body::new))
            });
            let builder = builder(Duration::from_secs(5));
            let serving = builder.serve_connection(TokioIo::new(stream), handler);
            // A scrape is short; whoever stays longer is cut.
            let _ended = timeout(Duration::from_secs(30), serving).await;
        });
    }
}

/// Octets of an answer that are handed to the connection at once.
const PIECE: usize = 16 * 1024;
const CLOSING: Duration = Duration::from_secs(1);
/// How long somebody may stay who was not welcome when he came.
const PATIENCE: Duration = Duration::from_secs(10);
