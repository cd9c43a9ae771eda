//! One HTTP request and its answer: redirects, TLS, time limits. No retry, no login.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Method, StatusCode, Url};
use tokio::sync::mpsc;

use crate::error::{Error, Failure};
use crate::rate::RateLimit;
use crate::retry;
use crate::tls::{Identify, Tls, Verification};
use crate::traffic::Meter;

/// Forward proxies, as `HTTP_PROXY` and its siblings describe them. Loopback is never proxied.
///
/// Silent under `Debug`, because the URLs may hold passwords.
#[derive(Clone, Default)]
pub struct Proxies {
    /// For `http` URLs.
    pub http: Option<Box<str>>,
    /// For `https` URLs.
    pub https: Option<Box<str>>,
    /// Hosts, domains and networks that are reached directly, separated by commas.
    pub except: Box<str>,
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxies")
    }
}

#[derive(Clone, Debug)]
pub(crate) struct HttpOptions {
    pub(crate) tls: Tls,
    pub(crate) verification: Verification,
    pub(crate) proxies: Proxies,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) meter: Arc<Meter>,
}

/// The connections. TLS is set up when first needed, so that plain HTTP works on machines without certificates.
pub(crate) struct Http {
    options: HttpOptions,
    plain: reqwest::Client,
    to_registry: OnceLock<reqwest::Client>,
    to_others: OnceLock<reqwest::Client>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

/// A request that can be sent any number of times.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
}

impl Call {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn body(mut self, body: Bytes) -> Self {
        self.body = Some(body);
        self
    }

    /// Returns method, host and path, as errors name a request. Never the query, which may hold signatures.
    pub(crate) fn name(&self) -> Box<str> {
        format!("{} {}", self.method, place(&self.url)).into()
    }
}

/// Returns host and path of a URL.
pub(crate) fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    format!("{host}{port}{}", url.path())
}

/// A body that is handed over while it is sent.
#[derive(Debug)]
pub(crate) struct Streamed {
    pub(crate) len: u64,
    /// Its pieces; a body whose sender goes away too early fails the request.
    pub(crate) pieces: mpsc::Receiver<Bytes>,
}

/// A failure of one attempt.
#[derive(Debug)]
pub(crate) enum Setback {
    /// Another attempt may succeed.
    Transient {
        failure: Failure,
        retry_after: Option<Duration>,
    },
    /// It will not.
    Final(Error),
}

impl Setback {
    pub(crate) fn transient(failure: Failure) -> Self {
        Self::Transient {
            failure,
            retry_after: None,
        }
    }

    /// Returns whether the body may be what the registry, or the way to it, did not bear.
    pub(crate) fn may_be_for_the_body(&self) -> bool {
        use Failure::{Stalled, Status, Transport};
        let Self::Transient { failure, .. } = self else {
            return false;
        };
        matches!(
            failure,
            Status { status: 500, .. } | Transport(_) | Stalled { .. }
        )
    }
}

impl From<Error> for Setback {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl Http {
    pub(crate) fn new(options: HttpOptions) -> Result<Self, Error> {
        // Trusts nobody, and therefore cannot fail for want of certificates; `client` never hands it an https URL.
        let plain = builder(&options)?
            .tls_certs_only([])
            .build()
            .map_err(|error| Error::malformed("HTTP configuration", describe(&error)))?;
        Ok(Self {
            options,
            plain,
            to_registry: OnceLock::new(),
            to_others: OnceLock::new(),
        })
    }

    /// Sends a request once, and follows redirects.
    ///
    /// `authorization` and the client certificate reach the origin of `home` only, whatever the answers say.
    pub(crate) async fn send(
        &self,
        call: &Call,
        home: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Setback> {
        let mut url = call.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.send_to(&url, call, home, authorization).await?;
            let Some(next) = redirect(&answer, call)? else {
                return Ok(answer);
            };
            let next = resolve(&url, &next)?;
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(Error::malformed(
                    format!("redirect from {}", place(&url)),
                    "it leaves https",
                )
                .into());
            }
            // Such a body may be a refresh token; where it goes is for the one who was asked to serve it.
            let has_body = call.body.as_ref().is_some_and(|body| !body.is_empty());
            if call.method == Method::POST && has_body && !same_origin(&next, &url) {
                return Err(Error::malformed(
                    format!("redirect from {}", place(&url)),
                    "it would carry what was posted to another host",
                )
                .into());
            }
            url = next;
        }
        let reason = format!("there are more than {MAX_REDIRECTS}");
        Err(Error::malformed(
            format!("chain of redirects from {}", place(&call.url)),
            reason,
        )
        .into())
    }

    async fn send_to(
        &self,
        url: &Url,
        call: &Call,
        home: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, Setback> {
        let mut request = self.request(url, call, home, authorization)?;
        let moved = Arc::new(AtomicU64::new(0));
        if let Some(body) = &call.body {
            request = request.header(CONTENT_LENGTH, body.len());
            if !body.is_empty() {
                // The channel holds it already, and its other end is closed.
                let (sender, pieces) = mpsc::channel(1);
                let _ = sender.try_send(body.clone());
                drop(sender);
                request = request.body(self.watched(pieces, Arc::clone(&moved)));
            }
        }
        self.finish(request, url, call, &moved).await
    }

    /// Sends a request once whose body comes as it goes. Its redirects are not followed.
    pub(crate) async fn send_streamed(
        &self,
        call: &Call,
        home: &Url,
        authorization: Option<&HeaderValue>,
        body: Streamed,
    ) -> Result<Answer, Setback> {
        let moved = Arc::new(AtomicU64::new(0));
        let request = self
            .request(&call.url, call, home, authorization)?
            .header(CONTENT_LENGTH, body.len)
            .body(self.watched(body.pieces, Arc::clone(&moved)));
        self.finish(request, &call.url, call, &moved).await
    }

    fn request(
        &self,
        url: &Url,
        call: &Call,
        home: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<reqwest::RequestBuilder, Error> {
        let at_home = same_origin(url, home);
        let request = self
            .client(url, at_home)?
            .request(call.method.clone(), url.clone())
            .headers(call.headers.clone());
        Ok(match authorization.filter(|_| at_home) {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        })
    }

    /// Waits for the answer as long as something moves.
    async fn finish(
        &self,
        request: reqwest::RequestBuilder,
        url: &Url,
        call: &Call,
        moved: &AtomicU64,
    ) -> Result<Answer, Setback> {
        self.options.meter.requested();
        let mut sending = std::pin::pin!(request.send());
        let mut seen = 0;
        let response = loop {
            match tokio::time::timeout(self.options.idle_timeout, &mut sending).await {
                Ok(sent) => break sent.map_err(|error| setback(error, call))?,
                Err(_) => {
                    let now = moved.load(Ordering::Relaxed);
                    if now == seen {
                        return Err(Setback::transient(self.stalled()));
                    }
                    seen = now;
                }
            }
        };
        Ok(Answer {
            response,
            url: url.clone(),
            idle_timeout: self.options.idle_timeout,
            rate_limit: self.options.rate_limit.clone(),
            meter: Arc::clone(&self.options.meter),
        })
    }

    /// Hands out a body in pieces, as fast as is allowed, and counts them.
    fn watched(&self, pieces: mpsc::Receiver<Bytes>, moved: Arc<AtomicU64>) -> reqwest::Body {
        let limit: Option<RateLimit> = self.options.rate_limit.clone();
        let meter = Arc::clone(&self.options.meter);
        let start = (pieces, Bytes::new(), limit, moved, meter);
        let body = stream::unfold(
            start,
            |(mut pieces, mut rest, limit, moved, meter)| async move {
                if rest.is_empty() {
                    rest = pieces.recv().await?;
                }
                let most = if limit.is_some() {
                    LIMITED_PIECE
                } else {
                    PIECE
                };
                let piece = rest.split_to(rest.len().min(most));
                if let Some(limit) = &limit {
                    limit.pass(piece.len()).await;
                }
                moved.fetch_add(1, Ordering::Relaxed);
                meter.sent(piece.len());
                let piece = Ok::<_, std::convert::Infallible>(piece);
                Some((piece, (pieces, rest, limit, moved, meter)))
            },
        );
        reqwest::Body::wrap_stream(body)
    }

    fn stalled(&self) -> Failure {
        Failure::Stalled {
            seconds: self.options.idle_timeout.as_secs(),
        }
    }

    fn client(&self, url: &Url, at_home: bool) -> Result<&reqwest::Client, Error> {
        if url.scheme() != "https" {
            return Ok(&self.plain);
        }
        let slot = if at_home {
            &self.to_registry
        } else {
            &self.to_others
        };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let client = self.secured(at_home)?;
        Ok(slot.get_or_init(|| client))
    }

    fn secured(&self, at_home: bool) -> Result<reqwest::Client, Error> {
        // Leave to be anybody was given to the registry alone, not to where it redirects.
        let (identify, verification) = match at_home {
            true => (Identify::Yes, self.options.verification),
            false => (Identify::No, Verification::Full),
        };
        builder(&self.options)?
            .tls_backend_preconfigured(self.options.tls.config(identify, verification)?)
            .build()
            .map_err(|error| Error::malformed("TLS configuration", describe(&error)))
    }
}

/// An answer whose body has not been read.
#[derive(Debug)]
pub(crate) struct Answer {
    response: reqwest::Response,
    url: Url,
    idle_timeout: Duration,
    rate_limit: Option<RateLimit>,
    meter: Arc<Meter>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Returns what was asked last, after redirects.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Returns a header of which there is exactly one, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.response.headers().get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        }
    }

    pub(crate) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.response.headers().get_all(name);
        values.iter().filter_map(|value| value.to_str().ok())
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        retry::retry_after(self.header(RETRY_AFTER.as_str())?, SystemTime::now())
    }

    /// Returns the length of the body as the header announces it; also for answers to HEAD.
    pub(crate) fn content_length(&self) -> Option<u64> {
        let text = self.header(CONTENT_LENGTH.as_str())?;
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().ok())?
    }

    /// Reads the next piece of the body; nothing at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        match tokio::time::timeout(self.idle_timeout, self.response.chunk()).await {
            Ok(Ok(chunk)) => {
                self.meter.received(chunk.as_ref().map_or(0, Bytes::len));
                if let (Some(limit), Some(chunk)) = (&self.rate_limit, &chunk) {
                    limit.pass(chunk.len()).await;
                }
                Ok(chunk)
            }
            Ok(Err(error)) => Err(Failure::Transport(Arc::new(error.without_url()))),
            Err(_) => Err(Failure::Stalled {
                seconds: self.idle_timeout.as_secs(),
            }),
        }
    }

    /// Reads the whole body; `None` if it is longer than `limit`.
    pub(crate) async fn body(&mut self, limit: usize) -> Result<Option<Bytes>, Failure> {
        if self.content_length().is_some_and(|len| len > limit as u64) {
            return Ok(None);
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len().saturating_add(chunk.len()) > limit {
                return Ok(None);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body.freeze()))
    }
}

/// Returns whether two URLs have the same scheme, host and port.
pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str().is_some()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// Resolves a `Location`, which may be relative.
pub(crate) fn resolve(base: &Url, location: &str) -> Result<Url, Error> {
    let refuse =
        |reason: &str| Error::malformed(format!("`Location` from {}", place(base)), reason);
    if location.len() > MAX_LOCATION_LEN {
        return Err(refuse("it is too long"));
    }
    let url = base.join(location).map_err(|_| refuse("it is no URL"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(refuse("it is not http or https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it contains credentials"));
    }
    Ok(url)
}

/// Most redirects that one request follows.
pub(crate) const MAX_REDIRECTS: usize = 5;
/// Longest URL that a server may send us to; signed URLs of object stores take two thousand octets.
const MAX_LOCATION_LEN: usize = 16 * 1024;
/// Largest piece in which a body is handed to the connection; progress is counted in these.
const PIECE: usize = 64 * 1024;
/// The same under a rate limit, so that each takes a second at most.
const LIMITED_PIECE: usize = 16 * 1024;
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

fn builder(options: &HttpOptions) -> Result<reqwest::ClientBuilder, Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("sealift/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(options.connect_timeout)
        // The environment is the caller's to read.
        .no_proxy();
    let proxies = &options.proxies;
    let except = reqwest::NoProxy::from_string(&format!("{LOOPBACK},{}", proxies.except));
    let refuse = |_| Error::malformed("proxy address", "it is no URL");
    if let Some(url) = &proxies.http {
        builder = builder.proxy(
            reqwest::Proxy::http(&**url)
                .map_err(refuse)?
                .no_proxy(except.clone()),
        );
    }
    if let Some(url) = &proxies.https {
        builder = builder.proxy(
            reqwest::Proxy::https(&**url)
                .map_err(refuse)?
                .no_proxy(except),
        );
    }
    Ok(builder)
}

/// Returns where a redirect leads; only requests without effect follow the kinds that change the method.
fn redirect(answer: &Answer, call: &Call) -> Result<Option<String>, Setback> {
    let follows = match answer.response.status() {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => {
            matches!(call.method, Method::GET | Method::HEAD)
        }
        _ => false,
    };
    if !follows {
        return Ok(None);
    }
    let location = answer.header(LOCATION.as_str()).ok_or_else(|| {
        Error::malformed(
            format!("redirect from {}", place(&answer.url)),
            "it has no `Location`",
        )
    })?;
    Ok(Some(location.to_owned()))
}

fn setback(error: reqwest::Error, call: &Call) -> Setback {
    // The URL may hold a signature; the request is named by host and path.
    let error = error.without_url();
    let verdict = tls_verdict(&error);
    let is_builder = error.is_builder();
    let error = Arc::new(error);
    let failure = match verdict {
        TlsVerdict::NotTls => Failure::NotTls(error),
        TlsVerdict::Refused => Failure::Tls(error),
        TlsVerdict::NotConcerned if is_builder => Failure::Transport(error),
        TlsVerdict::NotConcerned => return Setback::transient(Failure::Transport(error)),
    };
    Setback::Final(Error::Network {
        request: call.name(),
        attempts: 1,
        failure,
    })
}

/// What TLS has to do with a failure.
enum TlsVerdict {
    /// Nothing, or nothing that must stay.
    NotConcerned,
    /// The other side answers in clear.
    NotTls,
    /// One side does not accept the other.
    Refused,
}

fn tls_verdict(error: &(dyn StdError + 'static)) -> TlsVerdict {
    use rustls::{AlertDescription, Error};
    match causes(error).find_map(|error| error.downcast_ref::<Error>()) {
        None
        | Some(Error::PeerMisbehaved(_) | Error::AlertReceived(AlertDescription::InternalError)) => {
            TlsVerdict::NotConcerned
        }
        Some(Error::InvalidMessage(_)) => TlsVerdict::NotTls,
        Some(_) => TlsVerdict::Refused,
    }
}

/// Returns whether the other side perhaps does not speak TLS: it answers in clear, or hangs up on the greeting.
pub(crate) fn may_speak_no_tls(failure: &Failure) -> bool {
    let gone = |error: &(dyn StdError + 'static)| {
        let kind = error.downcast_ref().map(io::Error::kind);
        matches!(
            kind,
            Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
        )
    };
    match failure {
        Failure::NotTls(_) => true,
        Failure::Transport(error) => causes(&**error).any(gone),
        _ => false,
    }
}

/// Walks an error and its causes.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

/// Returns the next cause. I/O errors hide their payload from `source`, hence the second way.
fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(hidden) => Some(hidden),
        None => error.source(),
    }
}

fn describe(error: &reqwest::Error) -> String {
    let texts: Vec<_> = causes(error).map(ToString::to_string).collect();
    texts.join(": ")
}
