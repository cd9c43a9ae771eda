//! The gRPC service.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Method as HttpMethod, Request, Response};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::{Method, frame, tls};
use crate::message::MAX_REQUEST_LEN;
use crate::server::KeyServer;
use crate::{GrpcCode, ProviderError};

/// Where a service listens.
#[derive(Debug)]
pub enum Listener {
    /// On a Unix socket: for root and the user of this process, whoever made the socket with whatever mode.
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
    /// On a loopback address, in clear.
    Loopback(TcpListener),
    /// With TLS in both directions.
    Tls(TcpListener, ServerTls),
}

impl Listener {
    /// Takes a listener on a loopback address.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] on every other, where layer keys would travel in clear.
    pub fn loopback(listener: TcpListener) -> io::Result<Self> {
        if !listener.local_addr()?.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "not a loopback address, and without TLS layer keys would travel in clear",
            ));
        }
        Ok(Self::Loopback(listener))
    }

    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Option<TlsAcceptor>)> {
        match self {
            #[cfg(unix)]
            Self::Unix(listener) => Ok((Box::new(unix(listener).await?), None)),
            Self::Loopback(listener) => Ok((Box::new(tcp(listener).await?), None)),
            Self::Tls(listener, ServerTls(config)) => {
                let acceptor = TlsAcceptor::from(Arc::clone(config));
                Ok((Box::new(tcp(listener).await?), Some(acceptor)))
            }
        }
    }
}

/// Accepts root and our own user; the kernel says who calls.
#[cfg(unix)]
async fn unix(listener: &tokio::net::UnixListener) -> io::Result<tokio::net::UnixStream> {
    let stream = listener.accept().await?.0;
    let user = stream.peer_cred()?.uid();
    if user != 0 && user != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("user {user} is turned away"),
        ));
    }
    Ok(stream)
}

async fn tcp(listener: &TcpListener) -> io::Result<tokio::net::TcpStream> {
    let stream = listener.accept().await?.0;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What a connection is made of.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// TLS of a service: its certificate, and the authority of those that may ask.
#[derive(Clone, Debug)]
pub struct ServerTls(Arc<ServerConfig>);

impl ServerTls {
    /// Takes PEM: the service's certificate with its chain, its private key, and the authorities of clients.
    ///
    /// # Errors
    /// [`ProviderError::Tls`]
    pub fn new(chain: &[u8], key: &[u8], authorities: &[u8]) -> Result<Self, ProviderError> {
        let refused = |reason: String| ProviderError::Tls {
            reason: reason.into(),
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for authority in certificates(authorities)? {
            roots
                .add(authority)
                .map_err(|error| refused(error.to_string()))?;
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| refused(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| refused("no private key in PEM that is not encrypted".into()))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates(chain)?, key)
            .map_err(|error| refused(error.to_string()))?;
        config.alpn_protocols = vec![tls::H2.to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ProviderError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(ProviderError::Tls {
            reason: "no certificate in PEM".into(),
        }),
    }
}

/// What happened to a request, for a log. No secrets, nothing from the request.
pub type Note = dyn Fn(&str) + Send + Sync;

/// Answers until it is dropped or `end` comes.
pub async fn serve(
    listener: Listener,
    keys: Arc<KeyServer>,
    note: Arc<Note>,
    end: impl Future<Output = ()>,
) {
    let mut end = std::pin::pin!(end);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let calls = Arc::new(Semaphore::new(MAX_CALLS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            // Never closed.
            let place = Arc::clone(&room).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut end => return,
        };
        while connections.try_join_next().is_some() {}
        let (stream, acceptor) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                note(&format!("cannot accept a connection: {error}"));
                if error.kind() != io::ErrorKind::PermissionDenied {
                    sleep(PAUSE).await;
                }
                continue;
            }
        };
        let service = Service {
            keys: Arc::clone(&keys),
            calls: Arc::clone(&calls),
            note: Arc::clone(&note),
        };
        connections.spawn(async move {
            let _place = place;
            let Some(acceptor) = acceptor else {
                return service.converse(stream).await;
            };
            match timeout(PATIENCE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(tls::H2) => {
                    service.converse(stream).await;
                }
                Ok(Ok(_)) => (service.note)("turned away: no HTTP/2"),
                Ok(Err(error)) => (service.note)(&format!("turned away: {error}")),
                Err(_) => (service.note)("turned away: too slow"),
            }
        });
    }
}

#[derive(Clone)]
struct Service {
    keys: Arc<KeyServer>,
    calls: Arc<Semaphore>,
    note: Arc<Note>,
}

impl Service {
    async fn converse(self, stream: impl Stream) {
        let handshake = h2::server::Builder::new()
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADERS_LEN)
            .handshake::<_, Bytes>(stream);
        let Ok(Ok(mut connection)) = timeout(PATIENCE, handshake).await else {
            return;
        };
        let mut calls = JoinSet::new();
        let mut is_ending = false;
        loop {
            // This also moves what belongs to calls under way.
            let next = tokio::select! {
                next = timeout(IDLE, connection.accept()) => next,
                Some(_) = calls.join_next() => continue,
            };
            match next {
                Ok(Some(Ok((request, respond)))) => {
                    calls.spawn(self.clone().call(request, respond));
                }
                Ok(Some(Err(_)) | None) => return,
                // Who does not even answer the farewell keeps no place.
                Err(_) if is_ending => return,
                Err(_) if calls.is_empty() => {
                    is_ending = true;
                    connection.graceful_shutdown();
                }
                Err(_) => {}
            }
        }
    }

    async fn call(self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let answer = match Method::of(&request) {
            Ok(_) => self.answer(request.into_body()).await,
            Err(failure) => Err(failure),
        };
        // If the caller is gone there is nobody to tell.
        let _ = match answer {
            Ok(answer) => send(&mut respond, &answer),
            Err(failure) => {
                (self.note)(&format!("refused: {} {}", failure.code, failure.text));
                refuse(&mut respond, &failure)
            }
        };
    }

    async fn answer(&self, body: RecvStream) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let busy = || Failure::new(GrpcCode::UNAVAILABLE, "too many calls");
        let turn = timeout(PATIENCE, Arc::clone(&self.calls).acquire_owned())
            .await
            .map_err(|_| busy())?
            .map_err(|_| busy())?;
        let frame = timeout(PATIENCE, read(body)).await.map_err(|_| {
            Failure::new(GrpcCode::DEADLINE_EXCEEDED, "the request came too slowly")
        })??;
        let keys = Arc::clone(&self.keys);
        // Some keys are far away, and all of them keep a processor busy.
        let answering = tokio::task::spawn_blocking(move || {
            // It goes on when the caller has gone, and counts until it ends.
            let _turn = turn;
            let request = frame::read(&frame)
                .map_err(|error| Failure::new(GrpcCode::INVALID_ARGUMENT, error.0))?;
            keys.answer(request)
                .map_err(|error| Failure::new(error.code(), &error.whole()))
        });
        answering
            .await
            .map_err(|_| Failure::new(GrpcCode::INTERNAL, "the call was stopped"))?
    }
}

impl Method {
    /// Returns what a request calls. Both methods take the same messages, which say themselves what is wanted.
    fn of(request: &Request<RecvStream>) -> Result<Self, Failure> {
        let kind = request.headers().get("content-type");
        let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if request.method() != HttpMethod::POST || !is_grpc {
            return Err(Failure::new(GrpcCode::UNIMPLEMENTED, "not a call of gRPC"));
        }
        Self::from_path(request.uri().path())
            .ok_or_else(|| Failure::new(GrpcCode::UNIMPLEMENTED, "no such method"))
    }
}

/// A status that is not OK.
struct Failure {
    code: GrpcCode,
    text: String,
}

impl Failure {
    fn new(code: GrpcCode, text: &str) -> Self {
        Self {
            code,
            text: text.chars().take(MAX_STATUS_LEN).collect(),
        }
    }
}

async fn read(mut body: RecvStream) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let limit = MAX_REQUEST_LEN + frame::OVERHEAD;
    let mut pieces = Zeroizing::new(Vec::with_capacity(FIRST_LEN));
    while let Some(piece) = body.data().await {
        let piece =
            piece.map_err(|_| Failure::new(GrpcCode::INVALID_ARGUMENT, "the request broke off"))?;
        if pieces.len() + piece.len() > limit {
            return Err(Failure::new(
                GrpcCode::RESOURCE_EXHAUSTED,
                "the request is too long",
            ));
        }
        if pieces.capacity() < pieces.len() + piece.len() {
            // Grown by itself the vector would leave copies of keys in freed memory.
            let capacity = limit.min(2 * (pieces.len() + piece.len()));
            let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
            larger.extend_from_slice(&pieces);
            pieces = larger;
        }
        pieces.extend_from_slice(&piece);
        let _ = body.flow_control().release_capacity(piece.len());
    }
    Ok(pieces)
}

fn head() -> Response<()> {
    let mut response = Response::new(());
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn send(respond: &mut SendResponse<Bytes>, answer: &[u8]) -> Result<(), h2::Error> {
    let mut stream = respond.send_response(head(), false)?;
    stream.send_data(Bytes::from_owner(frame::write(answer)), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(GrpcCode::OK.0));
    stream.send_trailers(trailers)
}

fn refuse(respond: &mut SendResponse<Bytes>, failure: &Failure) -> Result<(), h2::Error> {
    let mut response = head();
    let headers = response.headers_mut();
    headers.insert("grpc-status", HeaderValue::from(failure.code.0));
    if let Ok(text) = HeaderValue::from_str(&percent_encoded(&failure.text)) {
        headers.insert("grpc-message", text);
    }
    respond.send_response(response, true).map(|_| ())
}

/// Encodes what is not printable ASCII, and the percent sign.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b' '..=b'~' if octet != b'%' => encoded.push(octet.into()),
            _ => encoded.push_str(&format!("%{octet:02X}")),
        }
    }
    encoded
}

/// Connections at the same time; more wait.
const MAX_CONNECTIONS: usize = 64;
/// Requests that are read and answered at the same time, on all connections; more wait.
const MAX_CALLS: usize = 16;
/// Requests at the same time on one connection.
const MAX_STREAMS: u32 = 16;
/// Most octets of headers in a request.
const MAX_HEADERS_LEN: u32 = 16 * 1024;
/// Most characters of a status message.
const MAX_STATUS_LEN: usize = 1024;
/// Room for requests as they usually are.
const FIRST_LEN: usize = 4096;
/// How long a caller may take for a handshake, and for a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may stay without calls.
const IDLE: Duration = Duration::from_secs(60);
/// How long to wait when connections cannot be accepted.
const PAUSE: Duration = Duration::from_millis(100);
