//! One holder over HTTP/2: warm connection, time limits, size limits, errors that name the holder.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::events::EventStream;
use super::release::Transport;
use crate::Clock;
use crate::deployment::Holder;
use crate::octets::Octets;
use crate::tls::{self, Credential, TlsConfigError};
use crate::wire::{
    AuditPage, CeremonyAnswer, CeremonyRequest, CertificateAnswer, CertificateRequest, Code,
    CommandsAnswer, CommandsPage, CommandsRequest, EnrolRequest, ErrorBody, KeyAnswer,
    MAX_BODY_LEN, PartialsAnswer, PartialsRequest, RegistrationAnswer, RegistrationRequest,
};

/// A connection to one holder, opened when it is first used and then kept.
#[derive(Clone)]
pub struct HolderClient {
    name: Arc<str>,
    url: Arc<str>,
    http: reqwest::Client,
}

impl HolderClient {
    /// Prepares to speak with `holder`, as the owner of `credential` or, for enrolment, as nobody.
    ///
    /// After a new certificate was obtained, make a new client: a connection keeps the certificate it began with.
    ///
    /// # Errors
    /// [`HttpError`] when the holder's authority is unreadable.
    pub fn new(
        holder: &Holder,
        credential: Option<&Arc<Credential>>,
        clock: Clock,
    ) -> Result<Self, HttpError> {
        let failed = |cause| HttpError {
            holder: holder.name.as_str().into(),
            request_id: None,
            cause,
        };
        let credential = credential.map_or_else(Credential::none, Arc::clone);
        let config = tls::client_config(&holder.name, &holder.ca, credential, clock)
            .map_err(|source| failed(Cause::Tls { source }))?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .https_only(true)
            .http2_prior_knowledge()
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .http2_keep_alive_while_idle(true)
            .pool_idle_timeout(None)
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|source| failed(Cause::transport(source)))?;
        Ok(Self {
            name: holder.name.as_str().into(),
            url: holder.url.trim_end_matches('/').into(),
            http,
        })
    }

    /// Returns the holder's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks for partial decryptions.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn partials(
        &self,
        key_id: &str,
        request: &PartialsRequest,
    ) -> Result<PartialsAnswer, HttpError> {
        self.post(
            &format!("/v1/keys/{}/partials", segment(key_id)),
            request,
            RELEASE_TIMEOUT,
        )
        .await
    }

    /// Asks for a key's descriptor and state.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn key(&self, key_id: &str) -> Result<KeyAnswer, HttpError> {
        self.get(&format!("/v1/keys/{}", segment(key_id))).await
    }

    /// Takes one step of a ceremony.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn ceremony(
        &self,
        key_id: &str,
        request: &CeremonyRequest,
    ) -> Result<CeremonyAnswer, HttpError> {
        self.post(
            &format!("/v1/keys/{}/shares", segment(key_id)),
            request,
            COMMAND_TIMEOUT,
        )
        .await
    }

    /// Ties unlabelled wraps of a key to a repository.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn register(
        &self,
        key_id: &str,
        request: &RegistrationRequest,
    ) -> Result<RegistrationAnswer, HttpError> {
        self.post(
            &format!("/v1/keys/{}/registrations", segment(key_id)),
            request,
            COMMAND_TIMEOUT,
        )
        .await
    }

    /// Hands in one signed command.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn command(&self, envelope: &Octets) -> Result<CommandsAnswer, HttpError> {
        self.commands(&CommandsRequest {
            commands: vec![envelope.clone()],
        })
        .await
    }

    /// Hands in signed commands.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn commands(&self, request: &CommandsRequest) -> Result<CommandsAnswer, HttpError> {
        self.post("/v1/commands", request, COMMAND_TIMEOUT).await
    }

    /// Asks for the commands that the holder applied after `since`.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn commands_since(&self, since: u64) -> Result<CommandsPage, HttpError> {
        self.get(&format!("/v1/commands?since={since}")).await
    }

    /// Follows the commands that the holder applies after the one numbered `last`.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn events(&self, last: Option<u64>) -> Result<EventStream, HttpError> {
        let mut request = self
            .request(Method::GET, "/v1/events")
            .header(header::ACCEPT, "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        // The beginning is limited like any other answer; afterwards only silence is.
        let response = tokio::time::timeout(GET_TIMEOUT, request.send())
            .await
            .map_err(|_| self.failed(Cause::Timeout))?
            .map_err(|source| self.failed(Cause::transport(source)))?;
        if !response.status().is_success() {
            return Err(self.refused(response).await);
        }
        Ok(EventStream::new(self.name(), response.bytes_stream()))
    }

    /// Enrols a node; the connection shows no certificate.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn enrol(&self, request: &EnrolRequest) -> Result<CertificateAnswer, HttpError> {
        self.post("/v1/enrol", request, COMMAND_TIMEOUT).await
    }

    /// Asks for the next certificate over the present one.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn renew(
        &self,
        request: &CertificateRequest,
    ) -> Result<CertificateAnswer, HttpError> {
        self.post("/v1/certificates", request, COMMAND_TIMEOUT)
            .await
    }

    /// Asks for rows of the record.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn audit(&self, since: u64, limit: u32) -> Result<AuditPage, HttpError> {
        self.get(&format!("/v1/audit?since={since}&limit={limit}"))
            .await
    }

    /// Asks any path of the API for JSON.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, HttpError> {
        let request = self.request(Method::GET, path).timeout(GET_TIMEOUT);
        self.exchange(request).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<T, HttpError> {
        let body = serde_json::to_vec(body).map_err(|_| self.failed(Cause::TooLong))?;
        if body.len() > MAX_BODY_LEN {
            return Err(self.failed(Cause::TooLong));
        }
        let request = self
            .request(Method::POST, path)
            .header(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            )
            .timeout(timeout)
            .body(body);
        self.exchange(request).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, HttpError> {
        let response = request
            .send()
            .await
            .map_err(|source| self.failed(Cause::transport(source)))?;
        if !response.status().is_success() {
            return Err(self.refused(response).await);
        }
        let body = self.body(response, MAX_ANSWER_LEN).await?;
        serde_json::from_slice(&body).map_err(|source| self.failed(Cause::Malformed { source }))
    }

    async fn refused(&self, response: reqwest::Response) -> HttpError {
        let status = response.status().as_u16();
        let text = |name: header::HeaderName| {
            Some(response.headers().get(name)?.to_str().ok()?.to_owned())
        };
        let retry_after = text(header::RETRY_AFTER).and_then(|seconds| seconds.parse().ok());
        let request_id = text(header::HeaderName::from_static("request-id"));
        let mut error = match self.body(response, MAX_ERROR_LEN).await {
            Err(error) => error,
            Ok(body) => match serde_json::from_slice::<ErrorBody>(&body) {
                Ok(body) => {
                    let cause = Cause::Refused {
                        code: body.code,
                        retry_after,
                    };
                    HttpError {
                        request_id: Some(body.request_id.into()),
                        ..self.failed(cause)
                    }
                }
                Err(_) => self.failed(Cause::Status { status }),
            },
        };
        // Somebody else's text goes to a terminal: nothing but what an identifier needs.
        let printable = |id: &str| {
            id.chars()
                .filter(char::is_ascii_graphic)
                .take(MAX_REQUEST_ID_LEN)
                .collect()
        };
        error.request_id = error
            .request_id
            .or(request_id.map(Into::into))
            .map(|id| printable(&id));
        error
    }

    async fn body(
        &self,
        mut response: reqwest::Response,
        limit: usize,
    ) -> Result<Vec<u8>, HttpError> {
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|source| self.failed(Cause::transport(source)))?
        {
            if body.len() + chunk.len() > limit {
                return Err(self.failed(Cause::TooLong));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn failed(&self, cause: Cause) -> HttpError {
        HttpError {
            holder: self.name().into(),
            request_id: None,
            cause,
        }
    }
}

impl fmt::Debug for HolderClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HolderClient({} at {})", self.name, self.url)
    }
}

/// All holders of a deployment, by name.
#[derive(Clone, Debug, Default)]
pub struct Clients(BTreeMap<String, HolderClient>);

impl Clients {
    /// Prepares to speak with all of `holders`.
    ///
    /// # Errors
    /// As [`HolderClient::new`].
    pub fn new(
        holders: &[Holder],
        credential: Option<&Arc<Credential>>,
        clock: &Clock,
    ) -> Result<Self, HttpError> {
        let client = |holder: &Holder| {
            Ok((
                holder.name.clone(),
                HolderClient::new(holder, credential, Arc::clone(clock))?,
            ))
        };
        Ok(Self(holders.iter().map(client).collect::<Result<_, _>>()?))
    }

    /// Finds one.
    pub fn client(&self, name: &str) -> Option<&HolderClient> {
        self.0.get(name)
    }

    /// Lists them by name.
    pub fn iter(&self) -> impl Iterator<Item = &HolderClient> {
        self.0.values()
    }
}

impl Transport for Clients {
    fn partials(
        &self,
        holder: &str,
        key_id: &str,
        request: Arc<PartialsRequest>,
    ) -> BoxFuture<'static, Result<PartialsAnswer, HttpError>> {
        let found = self.0.get(holder).cloned();
        let (holder, key_id) = (holder.to_owned(), key_id.to_owned());
        Box::pin(async move {
            let client = found.ok_or_else(|| HttpError::unknown(&holder))?;
            client.partials(&key_id, &request).await
        })
    }

    fn key(&self, holder: &str, key_id: &str) -> BoxFuture<'static, Result<KeyAnswer, HttpError>> {
        let found = self.0.get(holder).cloned();
        let (holder, key_id) = (holder.to_owned(), key_id.to_owned());
        Box::pin(async move {
            let client = found.ok_or_else(|| HttpError::unknown(&holder))?;
            client.key(&key_id).await
        })
    }
}

/// Why a holder gave nothing.
#[derive(Debug, Error)]
#[error("key holder `{holder}`: {cause}{}", request_id.as_deref().map(|id| format!(" (request {id})")).unwrap_or_default())]
pub struct HttpError {
    /// Which holder.
    pub holder: Box<str>,
    /// What its record calls this request, when it answered.
    pub request_id: Option<Box<str>>,
    /// What happened.
    #[source]
    pub cause: Cause,
}

impl HttpError {
    /// Returns the holder's code, if the holder answered.
    pub const fn code(&self) -> Option<Code> {
        match self.cause {
            Cause::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Returns how many seconds the holder asks to wait.
    pub const fn retry_after(&self) -> Option<u64> {
        match self.cause {
            Cause::Refused { retry_after, .. } => retry_after,
            _ => None,
        }
    }

    pub(crate) fn unknown(holder: &str) -> Self {
        Self {
            holder: holder.into(),
            request_id: None,
            cause: Cause::Unknown,
        }
    }
}

/// What happened to a request.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Cause {
    /// The holder refused.
    #[error("{code}")]
    Refused {
        /// Why, as far as callers are told.
        code: Code,
        /// Seconds to wait.
        retry_after: Option<u64>,
    },
    /// Something answered that is no holder, or a holder that is not well.
    #[error("HTTP status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// It could not be reached, or broke off.
    #[error("not reachable")]
    Transport {
        /// Why; carries no address.
        source: reqwest::Error,
    },
    /// It did not answer in time.
    #[error("no answer in time")]
    Timeout,
    /// Question or answer is longer than allowed.
    #[error("message is too long")]
    TooLong,
    /// It answered something else.
    #[error("malformed answer")]
    Malformed {
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Its certificate authority cannot be used.
    #[error("connection cannot be prepared")]
    Tls {
        /// Why.
        source: TlsConfigError,
    },
    /// The deployment has no such holder.
    #[error("not known in this deployment")]
    Unknown,
}

impl Cause {
    fn transport(source: reqwest::Error) -> Self {
        if source.is_timeout() {
            Self::Timeout
        } else {
            Self::Transport {
                source: source.without_url(),
            }
        }
    }
}

/// Writes a name as one segment of a path.
fn segment(name: &str) -> String {
    name.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(b).to_string()
            }
            _ => format!("%{b:02X}"),
        })
        .collect()
}

const KEEP_ALIVE: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RELEASE_TIMEOUT: Duration = Duration::from_secs(15);
const GET_TIMEOUT: Duration = Duration::from_secs(15);
/// Commands are pushed to all holders before they are answered; ceremonies compute.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// Most octets of an answer: pages of commands and of the record are the longest.
const MAX_ANSWER_LEN: usize = 16 * 1024 * 1024;
const MAX_ERROR_LEN: usize = 16 * 1024;
const MAX_REQUEST_ID_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use arc_swap::ArcSwap;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::certificate::{Authority, Validity};
    use crate::client::{commands, events::Event};
    use crate::keys::SigningKey;
    use crate::tls::{Trust, server_config};
    use crate::wire::CommandStatus;

    const NOW: u64 = 1_800_000_000;

    fn clock() -> Clock {
        Arc::new(|| NOW * 1000)
    }

    /// Starts a service on loopback that answers each path as the tests expect it.
    async fn serve() -> Holder {
        let (ca, key) = (
            SigningKey::generate().unwrap(),
            SigningKey::generate().unwrap(),
        );
        let validity = Validity::from(NOW, 60);
        let ca_pem = Authority::certificate("fra", &ca, validity).unwrap();
        let authority = Authority::new("fra", &ca).unwrap();
        let pem = authority
            .service("fra", &["127.0.0.1"], key.public(), validity)
            .unwrap();
        let credential = Credential::new(&pem, &key).unwrap();
        let trust = Arc::new(ArcSwap::from_pointee(Trust::default()));
        let acceptor =
            TlsAcceptor::from(Arc::new(server_config(credential, trust, clock()).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(async |request| answer(&request));
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Holder {
            name: "fra".to_owned(),
            url: format!("https://127.0.0.1:{port}/"),
            jurisdiction: "DE".to_owned(),
            ca: ca_pem,
            descriptor: None,
        }
    }

    fn answer<B>(request: &Request<B>) -> http::Result<Response<String>> {
        let response = Response::builder();
        match (
            request.method().as_str(),
            request.uri().to_string().rsplit_once("/v1/").unwrap().1,
        ) {
            ("GET", "keys/default") => {
                response.body(r#"{"state":"Enabled","min_unwrap_epoch":2}"#.to_owned())
            }
            ("GET", "keys/a%2F%3Fb") => response
                .status(403)
                .body(r#"{"code":"Forbidden","request_id":"7\u001b[31m"}"#.to_owned()),
            ("GET", "keys/busy") => response
                .status(429)
                .header("retry-after", "9")
                .body(r#"{"code":"QuotaExceeded","request_id":"8"}"#.to_owned()),
            ("GET", "keys/odd") => response.body("{".to_owned()),
            ("GET", "keys/moved") => response
                .status(302)
                .header("location", "/v1/keys/default")
                .body(String::new()),
            ("GET", "commands?since=7") => response.body(" ".repeat(MAX_ANSWER_LEN + 1)),
            ("POST", "commands") => response.status(202).body(
                r#"{"status":"PENDING","applied":1,"needed":2,"holders":["fra"],"results":[]}"#
                    .to_owned(),
            ),
            ("POST", "enrol") => response
                .status(500)
                .header("request-id", "9")
                .body("oh".to_owned()),
            ("GET", "events") => {
                let last = request.headers()["last-event-id"]
                    .to_str()
                    .unwrap()
                    .parse::<u64>()
                    .unwrap();
                response.body(format!(
                    ": heartbeat\n\nid: {}\nevent: command\ndata: YQ\n\n",
                    last + 1
                ))
            }
            _ => response.status(404).body(String::new()),
        }
    }

    fn client(holder: &Holder) -> HolderClient {
        HolderClient::new(holder, None, clock()).unwrap()
    }

    #[tokio::test]
    async fn answers_and_refusals_arrive_as_they_were_given() {
        let fra = client(&serve().await);
        let key = fra.key("default").await.unwrap();
        assert_eq!((key.state.as_str(), key.min_unwrap_epoch), ("Enabled", 2));

        let error = fra.key("a/?b").await.unwrap_err();
        assert_eq!(error.code(), Some(Code::Forbidden));
        assert_eq!(
            error.to_string(),
            "key holder `fra`: Forbidden (request 7[31m)"
        );
        let error = fra.key("busy").await.unwrap_err();
        assert_eq!(
            (error.code(), error.retry_after()),
            (Some(Code::QuotaExceeded), Some(9))
        );

        let command = Octets(b"{}".to_vec());
        let answer = commands::send([&fra], &command).await.unwrap();
        assert_eq!((answer.status, answer.needed), (CommandStatus::Pending, 2));
    }

    #[tokio::test]
    async fn what_is_no_answer_of_a_holder_is_an_error() {
        let fra = client(&serve().await);
        assert!(matches!(
            fra.key("odd").await.unwrap_err().cause,
            Cause::Malformed { .. }
        ));
        assert!(matches!(
            fra.key("moved").await.unwrap_err().cause,
            Cause::Status { status: 302 }
        ));
        assert!(matches!(
            fra.commands_since(7).await.unwrap_err().cause,
            Cause::TooLong
        ));
        let request = EnrolRequest {
            enrolment: Octets::default(),
            csr: Octets::default(),
        };
        let error = fra.enrol(&request).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "key holder `fra`: HTTP status 500 (request 9)"
        );
        let long = EnrolRequest {
            enrolment: Octets(vec![0; MAX_BODY_LEN]),
            csr: Octets::default(),
        };
        assert!(matches!(
            fra.enrol(&long).await.unwrap_err().cause,
            Cause::TooLong
        ));
    }

    #[tokio::test]
    async fn a_feed_resumes_after_the_last_event() {
        let mut feed = client(&serve().await).events(Some(41)).await.unwrap();
        assert_eq!(
            feed.next().await.unwrap(),
            Event {
                id: 42,
                command: Octets(b"a".to_vec())
            }
        );
        assert_eq!(
            feed.next().await.unwrap_err().to_string(),
            "feed of key holder `fra`: ended"
        );
    }

    #[tokio::test]
    async fn a_command_goes_to_the_next_holder_when_one_is_not_the_one() {
        let (right, other) = (serve().await, serve().await);
        // The first has the address of somebody with another authority.
        let wrong = Holder {
            url: other.url,
            ..right.clone()
        };
        let command = Octets(b"{}".to_vec());
        let holders = [client(&wrong), client(&right)];
        assert_eq!(commands::send(&holders, &command).await.unwrap().applied, 1);
        let error = commands::send(&holders[..1], &command)
            .await
            .unwrap_err()
            .unwrap();
        assert!(matches!(error.cause, Cause::Transport { .. }), "{error}");
        assert!(commands::send([], &command).await.unwrap_err().is_none());
    }
}
