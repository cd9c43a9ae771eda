//! The client of the OCI distribution API (distribution-spec v1.1).

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Url};
use sealift_oci::{Descriptor, Digest, MAX_DOCUMENT_LEN, MediaType, Reference};

use crate::answer::Complaint;
use crate::credentials::Credentials;
use crate::error::{Error, Failure, Mismatch};
use crate::holding::Holding;
use crate::http::{Answer, Call, Http, HttpOptions, Proxies, Setback, Streamed, may_speak_no_tls};
use crate::journal::Journal;
use crate::login::{Access, Login, Logins, Repository};
use crate::manifest::RawManifest;
use crate::mirrors::Mirrors;
use crate::rate::RateLimit;
use crate::referrers::Referrer;
use crate::retry::{self, Attempts, RetryPolicy, Verdict};
use crate::routes::{Role, Route, Routes, Wanted};
use crate::tls::{Tls, Verification};
use crate::traffic::{Meter, Traffic};

/// How to reach registries.
#[derive(Debug)]
pub struct Options {
    /// Who logs in.
    pub credentials: Credentials,
    /// Whom we trust, and who we are.
    pub tls: Tls,
    /// Ways around a firewall.
    pub proxies: Proxies,
    /// Uses `http` for every registry. Registries on this machine need no such leave.
    pub plain_http: bool,
    /// Mirrors, and whom to trust where, as configuration files have it.
    pub routes: Routes,
    /// When to try again.
    pub retry: RetryPolicy,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Longest time without progress, whatever the size of the transfer.
    pub idle_timeout: Duration,
    /// Most octets of a manifest or index.
    pub manifest_limit: usize,
    /// Octets per request of an upload whose digest is not known yet; as many are kept in memory to be sent again, while as
    /// many are sent. What is known beforehand is not kept, and its requests grow from this length to 16 times as much.
    pub chunk_size: usize,
    /// Most octets per second, up and down together.
    pub rate_limit: Option<RateLimit>,
    /// How many parts of one long blob are fetched at the same time, at most 16; each takes 2 MiB of memory.
    pub parallel_ranges: NonZeroUsize,
    /// Folder in which uploads are recorded while they are under way, so that another process can continue them.
    pub journal: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            tls: Tls::default(),
            proxies: Proxies::default(),
            plain_http: false,
            routes: Routes::default(),
            retry: RetryPolicy::default(),
            connect_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(60),
            manifest_limit: MAX_DOCUMENT_LEN,
            chunk_size: 16 * 1024 * 1024,
            rate_limit: None,
            parallel_ranges: NonZeroUsize::MIN,
            journal: None,
        }
    }
}

/// A client for any number of registries. Cheap to clone; logins and connections are shared.
///
/// Manifests are handled here as raw octets; blobs stream through [`Source`](crate::Source) and [`Sink`](crate::Sink).
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http_options: HttpOptions,
    https: Mutex<HashMap<(Tls, Verification), Arc<Http>>>,
    logins: Logins,
    schemes: tokio::sync::Mutex<HashMap<Box<str>, &'static str>>,
    routes: Routes,
    mirrors: Mirrors,
    plain_http: bool,
    retry: RetryPolicy,
    manifest_limit: usize,
    chunk_size: usize,
    /// Shared with every upload that holds octets until they have arrived.
    holding: Holding,
    journal: Option<Journal>,
    parallel_ranges: NonZeroUsize,
    /// Registries that take blobs in one piece only.
    without_chunks: Mutex<HashSet<Box<str>>>,
    /// Held while a list of referrers is changed.
    turn: tokio::sync::Mutex<()>,
}

impl Client {
    /// Prepares a client; nothing is contacted.
    ///
    /// # Errors
    /// [`Error::Malformed`], for options that cannot be used.
    pub fn new(options: Options) -> Result<Self, Error> {
        let http_options = HttpOptions {
            tls: options.tls,
            verification: Verification::Full,
            proxies: options.proxies,
            connect_timeout: options.connect_timeout,
            idle_timeout: options.idle_timeout,
            rate_limit: options.rate_limit,
            meter: Arc::new(Meter::default()),
        };
        let key = (http_options.tls.clone(), http_options.verification);
        let http = Arc::new(Http::new(http_options.clone())?);
        Ok(Self(Arc::new(Inner {
            http_options,
            https: Mutex::new(HashMap::from([(key, http)])),
            logins: Logins::new(options.credentials, options.plain_http),
            schemes: tokio::sync::Mutex::default(),
            routes: options.routes,
            mirrors: Mirrors::default(),
            plain_http: options.plain_http,
            retry: options.retry,
            manifest_limit: options.manifest_limit,
            chunk_size: options.chunk_size.max(MIN_CHUNK_SIZE),
            holding: Holding::default(),
            journal: options.journal.map(Journal::new),
            parallel_ranges: options.parallel_ranges.min(MAX_PARALLEL_RANGES),
            without_chunks: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        })))
    }

    /// Fetches what a reference names. A digest in the reference, or in the answer's header, is verified.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn manifest(&self, reference: &Reference) -> Result<RawManifest, Error> {
        let name = reference.manifest_name();
        let wanted = match reference.digest() {
            Some(_) => Wanted::Digest,
            None => Wanted::Tag,
        };
        self.manifest_from_any(reference, wanted, &name, reference.digest(), None)
            .await
    }

    /// Fetches the manifest that a descriptor of the same repository points to; size and digest are verified.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn child(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<RawManifest, Error> {
        let name = descriptor.digest().to_string();
        let digest = Some(descriptor.digest());
        self.manifest_from_any(reference, Wanted::Digest, &name, digest, Some(descriptor))
            .await
    }

    /// Asks one place after the other.
    async fn manifest_from_any(
        &self,
        reference: &Reference,
        wanted: Wanted,
        name: &str,
        digest: Option<&Digest>,
        descriptor: Option<&Descriptor>,
    ) -> Result<RawManifest, Error> {
        let routes = self.routes(reference, wanted)?;
        let mut left = routes.len();
        for route in &routes {
            left -= 1;
            let outcome = match self.at(route, Access::Pull).await {
                Ok(place) => self.fetch_manifest(&place, name, digest, descriptor).await,
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) if left > 0 => self.note_failure(route, &error),
                Ok(manifest) => {
                    self.note_success(route, &manifest_what(name));
                    return Ok(manifest);
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::unsupported(format!("no host has `{reference}`")))
    }

    /// Returns the places that may have an image, its registry last.
    pub(crate) fn routes(
        &self,
        reference: &Reference,
        wanted: Wanted,
    ) -> Result<Vec<Route>, Error> {
        let Inner {
            routes,
            http_options,
            ..
        } = &*self.0;
        routes.of(reference, wanted, &http_options.tls)
    }

    /// Returns what this client and its clones have sent and received so far.
    pub fn traffic(&self) -> Traffic {
        self.0.http_options.meter.read()
    }

    /// Returns what is known of mirrors.
    pub(crate) fn mirrors(&self) -> &Mirrors {
        &self.0.mirrors
    }

    /// Stores a manifest under its digest, or under a tag.
    ///
    /// One that refers to another is also entered into the list that clients keep, where the registry keeps none.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn put_manifest(
        &self,
        reference: &Reference,
        tag: Option<&str>,
        manifest: &RawManifest,
    ) -> Result<(), Error> {
        let repository = self.repository(reference, Access::PullPush).await?;
        let name = tag.map_or_else(|| manifest.digest.to_string(), str::to_owned);
        let listed = self.store(&repository, &name, manifest).await?;
        match Referrer::of(manifest) {
            Some(referrer) if !listed => self.enter_referrer(&repository, &referrer).await,
            _ => Ok(()),
        }
    }

    /// Stores a manifest; returns whether the registry says that it lists it as a referrer.
    pub(crate) async fn store(
        &self,
        repository: &Repository,
        name: &str,
        manifest: &RawManifest,
    ) -> Result<bool, Error> {
        let call = Call::new(Method::PUT, endpoint(repository, &["manifests", name])?)
            .header(CONTENT_TYPE, media_type_header(&manifest.media_type)?)
            .body(manifest.bytes.clone());
        let mut answer = self.call(repository, &call).await?;
        if !matches!(answer.status(), 200..=204) {
            return Err(self
                .refusal(repository, &call, &mut answer, &manifest_what(name))
                .await);
        }
        match digest_header(&answer) {
            Some(stored)
                if stored.algorithm() == manifest.digest.algorithm()
                    && stored != manifest.digest =>
            {
                Err(Error::Mismatch {
                    what: manifest_what(name).into(),
                    place: repository.to_string().into(),
                    mismatch: Mismatch::Digest {
                        expected: manifest.digest.clone(),
                        actual: stored,
                    },
                })
            }
            _ => Ok(answer.header("oci-subject").is_some()),
        }
    }

    /// Returns whether a repository holds a blob.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::Mismatch`] if it holds the blob with another size.
    pub async fn has_blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        size: u64,
    ) -> Result<bool, Error> {
        let repository = self.repository(reference, Access::PullPush).await?;
        self.holds(&repository, digest, Some(size)).await
    }

    pub(crate) async fn holds(
        &self,
        repository: &Repository,
        digest: &Digest,
        size: Option<u64>,
    ) -> Result<bool, Error> {
        let call = Call::new(
            Method::HEAD,
            endpoint(repository, &["blobs", &digest.to_string()])?,
        );
        let mut answer = self.call(repository, &call).await?;
        match (answer.status(), size, answer.content_length()) {
            (404, ..) => Ok(false),
            (200, Some(expected), Some(actual)) if expected != actual => Err(Error::Mismatch {
                what: blob_what(digest).into(),
                place: repository.to_string().into(),
                mismatch: Mismatch::Size { expected, actual },
            }),
            (200 | 204, ..) => Ok(true),
            _ => Err(self
                .refusal(repository, &call, &mut answer, &blob_what(digest))
                .await),
        }
    }

    /// Finds out how the registry of an image is reached, and names the repository there. Never a mirror.
    pub(crate) async fn repository(
        &self,
        reference: &Reference,
        access: Access,
    ) -> Result<Repository, Error> {
        match self.routes(reference, Wanted::Digest)?.pop() {
            Some(route) => self.at(&route, access).await,
            None => Err(Error::unsupported(format!("no host has `{reference}`"))),
        }
    }

    /// Finds out how one place for an image is reached.
    pub(crate) async fn at(&self, route: &Route, access: Access) -> Result<Repository, Error> {
        let http = self.http(route)?;
        let registry = route.reference.registry();
        let root = match &route.root {
            Some(root) => root.clone(),
            None => {
                let host = match registry {
                    Reference::DEFAULT_REGISTRY => DOCKER_HUB,
                    other => other,
                };
                let scheme = self.scheme(host, route, &http).await?;
                join(&base(scheme, host)?, "v2/")?
            }
        };
        Ok(Repository {
            base: join(&root, "/")?,
            root,
            http,
            registry: registry.into(),
            name: route.reference.repository().into(),
            access,
            mounts_from: None,
            role: route.role,
            namespace: route.namespace.clone(),
        })
    }

    /// Returns the connections for one kind of trust.
    fn http(&self, route: &Route) -> Result<Arc<Http>, Error> {
        let inner = &*self.0;
        let key = (route.tls.clone(), route.verification);
        let mut https = inner.https.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(http) = https.get(&key) {
            return Ok(Arc::clone(http));
        }
        let http = Arc::new(Http::new(HttpOptions {
            tls: route.tls.clone(),
            verification: route.verification,
            ..inner.http_options.clone()
        })?);
        https.insert(key, Arc::clone(&http));
        Ok(http)
    }

    /// Sends a request until it is answered with more than "later", or attempts run out. Other refusals are returned.
    pub(crate) async fn call(&self, repository: &Repository, call: &Call) -> Result<Answer, Error> {
        let mut attempts = self.attempts_at(repository);
        loop {
            match self.attempt(repository, call).await {
                Ok(answer) => return Ok(answer),
                Err(setback) => self.pause(&mut attempts, setback, call).await?,
            }
        }
    }

    /// Sends a request once, and once more after logging in if that is asked for. "Later" is a setback.
    pub(crate) async fn attempt(
        &self,
        repository: &Repository,
        call: &Call,
    ) -> Result<Answer, Setback> {
        let logins = &self.0.logins;
        let http = &*repository.http;
        // A session at another host, as some registries use for uploads, never sees the login nor gets to ask for one.
        let at_home = crate::http::same_origin(&call.url, &repository.base);
        let login = if at_home {
            logins.current(http, repository).await?
        } else {
            None
        };
        let header = login.as_ref().map(|login: &Login| &login.header);
        let mut answer = http.send(call, &repository.base, header).await?;
        if answer.status() == 401 && crate::http::same_origin(answer.url(), &repository.base) {
            let login = self.renew(repository, answer, login.as_ref()).await?;
            answer = http
                .send(call, &repository.base, Some(&login.header))
                .await?;
            if answer.status() == 401 {
                let complaint = Complaint::read(&mut answer).await;
                return Err(self.refused(repository, call, &complaint.text).await.into());
            }
        }
        if retry::is_transient(answer.status()) {
            return Err(Setback::Transient {
                retry_after: answer.retry_after(),
                failure: crate::answer::failure(&mut answer).await,
            });
        }
        Ok(answer)
    }

    pub(crate) fn attempts(&self) -> Attempts {
        Attempts::new(self.0.retry)
    }

    /// Mirrors are asked a second time only: there is another place to ask.
    pub(crate) fn attempts_at(&self, repository: &Repository) -> Attempts {
        let mut policy = self.0.retry;
        if repository.role == Role::Mirror {
            policy.attempts = policy.attempts.min(MIRROR_ATTEMPTS);
        }
        Attempts::new(policy)
    }

    /// Waits after a setback, or turns it into the error to report.
    pub(crate) async fn pause(
        &self,
        attempts: &mut Attempts,
        setback: Setback,
        call: &Call,
    ) -> Result<(), Error> {
        let (failure, retry_after) = match setback {
            Setback::Final(error) => return Err(error),
            Setback::Transient {
                failure,
                retry_after,
            } => (failure, retry_after),
        };
        let verdict = attempts.after_failure(retry_after, fastrand::f64());
        let error = |failure| Error::Network {
            request: call.name(),
            attempts: attempts.failures(),
            failure,
        };
        match verdict {
            Verdict::Pause(pause) => {
                self.0.http_options.meter.retried();
                tokio::time::sleep(pause).await;
                Ok(())
            }
            Verdict::GiveUp => Err(error(failure)),
            Verdict::TooLong(pause) => Err(error(Failure::Busy {
                seconds: pause.as_secs(),
            })),
        }
    }

    /// Turns an answer that is not the one asked for into an error.
    pub(crate) async fn refusal(
        &self,
        repository: &Repository,
        call: &Call,
        answer: &mut Answer,
        what: &str,
    ) -> Error {
        let status = answer.status();
        let complaint = Complaint::read(answer).await;
        match status {
            404 if matches!(call.method, Method::GET | Method::HEAD) => Error::NotFound {
                what: what.into(),
                place: repository.to_string().into(),
            },
            404 if complaint.has("NAME_UNKNOWN") => Error::NotFound {
                what: format!("repository `{}`", repository.name).into(),
                place: repository.registry.clone(),
            },
            401 => self.refused(repository, call, &complaint.text).await,
            403 => Error::Denied {
                request: call.name(),
                detail: complaint.text.into(),
            },
            _ => Error::Network {
                request: call.name(),
                attempts: 1,
                failure: Failure::Status {
                    status,
                    detail: complaint.text.into(),
                },
            },
        }
    }

    pub(crate) fn parallel_ranges(&self) -> NonZeroUsize {
        self.0.parallel_ranges
    }

    /// Returns whether the registry refused a chunk before.
    pub(crate) fn refuses_chunks(&self, repository: &Repository) -> bool {
        let without = self.0.without_chunks.lock();
        without
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&repository.registry)
    }

    pub(crate) fn remember_refusal(&self, repository: &Repository) {
        let without = self.0.without_chunks.lock();
        without
            .unwrap_or_else(PoisonError::into_inner)
            .insert(repository.registry.clone());
    }

    /// Sends a request whose body comes as it goes, once: it cannot be sent again.
    pub(crate) async fn stream(
        &self,
        repository: &Repository,
        call: &Call,
        body: Streamed,
    ) -> Result<Answer, Setback> {
        let (http, logins) = (&*repository.http, &self.0.logins);
        let at_home = crate::http::same_origin(&call.url, &repository.base);
        let login = if at_home {
            logins.current(http, repository).await?
        } else {
            None
        };
        let header = login.as_ref().map(|login: &Login| &login.header);
        let mut answer = http
            .send_streamed(call, &repository.base, header, body)
            .await?;
        let is_refused = answer.status() == 401;
        if retry::is_transient(answer.status()) || is_refused {
            let setback = Setback::Transient {
                retry_after: answer.retry_after(),
                failure: crate::answer::failure(&mut answer).await,
            };
            if is_refused && crate::http::same_origin(answer.url(), &repository.base) {
                self.renew(repository, answer, login.as_ref()).await?;
            }
            return Err(setback);
        }
        Ok(answer)
    }

    /// Logs in as a refusal demands; `login` is what it refused.
    async fn renew(
        &self,
        repository: &Repository,
        mut refusal: Answer,
        login: Option<&Login>,
    ) -> Result<Login, Setback> {
        let http = &*repository.http;
        if refusal.headers(WWW_AUTHENTICATE.as_str()).next().is_none() {
            // Some say how to log in at the root of their API only. Where that leads elsewhere, nobody may ask.
            let root = Call::new(Method::GET, repository.root.clone());
            let told = http.send(&root, &repository.base, None).await?;
            if crate::http::same_origin(told.url(), &repository.base) {
                refusal = told;
            }
        }
        let logins = &self.0.logins;
        logins.renew(http, repository, &refusal, login).await
    }

    /// Explains a refusal that another login did not cure.
    pub(crate) async fn refused(
        &self,
        repository: &Repository,
        call: &Call,
        detail: &str,
    ) -> Error {
        let logins = &self.0.logins;
        logins.refused(repository, call.name(), detail).await
    }

    pub(crate) fn journal(&self) -> Option<&Journal> {
        self.0.journal.as_ref()
    }

    /// Waits for leave to change a list of referrers.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.turn.lock().await
    }

    /// Returns the pause after which others may be asked again.
    pub(crate) fn pace(&self) -> Duration {
        self.0.retry.base
    }

    pub(crate) fn chunk_size(&self) -> usize {
        self.0.chunk_size
    }

    /// Says that an upload holds octets, until it is dropped.
    pub(crate) fn hold(&self) -> Holding {
        self.0.holding.clone()
    }

    /// Returns the length up to which a blob that is known beforehand is held, to be sent in one request.
    pub(crate) fn held_size(&self) -> usize {
        self.0.chunk_size.min(MAX_HELD)
    }

    async fn scheme(&self, host: &str, route: &Route, http: &Http) -> Result<&'static str, Error> {
        let inner = &*self.0;
        if inner.plain_http {
            return Ok("http");
        }
        let secured = base("https", host)?;
        let insecure = route.verification == Verification::Skipped;
        match (is_loopback(&secured), route.tls.is_given() || insecure) {
            (false, _) if !insecure => return Ok("https"),
            (true, false) => return Ok("http"),
            _ => {}
        }
        // TLS was set up, but perhaps for the other registry of this command: ask the port.
        let mut schemes = inner.schemes.lock().await;
        if let Some(scheme) = schemes.get(host) {
            return Ok(scheme);
        }
        let probe = Call::new(Method::GET, join(&secured, "v2/")?);
        let scheme = match http.send(&probe, &secured, None).await {
            Err(Setback::Transient { failure, .. }) if may_speak_no_tls(&failure) => "http",
            Err(Setback::Final(Error::Network { failure, .. })) if may_speak_no_tls(&failure) => {
                "http"
            }
            // Any other trouble is better told by the request itself.
            _ => "https",
        };
        schemes.insert(host.into(), scheme);
        Ok(scheme)
    }

    pub(crate) async fn fetch_manifest(
        &self,
        repository: &Repository,
        name: &str,
        digest: Option<&Digest>,
        descriptor: Option<&Descriptor>,
    ) -> Result<RawManifest, Error> {
        let what = manifest_what(name);
        let limit = self.0.manifest_limit;
        let mismatch = |mismatch| Error::Mismatch {
            what: what.as_str().into(),
            place: repository.to_string().into(),
            mismatch,
        };
        let too_long =
            || Error::malformed(what.as_str(), format!("it is longer than {limit} octets"));
        if descriptor.is_some_and(|descriptor| descriptor.size() > limit as u64) {
            return Err(too_long());
        }
        let call = Call::new(Method::GET, endpoint(repository, &["manifests", name])?)
            .header(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let mut attempts = self.attempts_at(repository);
        let (answer, body) = loop {
            let mut answer = match self.attempt(repository, &call).await {
                Ok(answer) => answer,
                Err(setback) => {
                    self.pause(&mut attempts, setback, &call).await?;
                    continue;
                }
            };
            if answer.status() != 200 {
                return Err(self.refusal(repository, &call, &mut answer, &what).await);
            }
            match answer.body(limit).await {
                Ok(Some(body)) => break (answer, body),
                Ok(None) => return Err(too_long()),
                Err(failure) => {
                    self.pause(&mut attempts, Setback::transient(failure), &call)
                        .await?
                }
            }
        };
        if let Some(descriptor) = descriptor
            && descriptor.size() != body.len() as u64
        {
            return Err(mismatch(Mismatch::Size {
                expected: descriptor.size(),
                actual: body.len() as u64,
            }));
        }
        // The header's word is not proof, but a wrong one shows that something on the way is broken.
        for expected in digest.into_iter().chain(digest_header(&answer).as_ref()) {
            let actual = Digest::of(expected.algorithm(), &body);
            if actual != *expected {
                return Err(mismatch(Mismatch::Digest {
                    expected: expected.clone(),
                    actual,
                }));
            }
        }
        let declared = match descriptor {
            Some(descriptor) => Some(descriptor.media_type().clone()),
            None => content_type(&answer),
        };
        let digest = digest.cloned().unwrap_or_else(|| Digest::sha256(&body));
        RawManifest::typed(body, digest, declared.as_ref(), &what)
    }
}

/// Returns `scheme://registry/v2/repository/…`.
pub(crate) fn endpoint(repository: &Repository, rest: &[&str]) -> Result<Url, Error> {
    let path = format!("{}/{}", repository.name, rest.join("/"));
    let mut url = join(&repository.root, &path)?;
    if let Some(namespace) = &repository.namespace {
        // As containerd tells one mirror of several registries which of them is meant.
        url.query_pairs_mut().append_pair("ns", namespace);
    }
    Ok(url)
}

/// Returns whether a URL's host is this machine, by its literal name.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

pub(crate) fn blob_what(digest: &Digest) -> String {
    format!("blob `{digest}`")
}

pub(crate) fn manifest_what(name: &str) -> String {
    format!("manifest `{name}`")
}

/// Returns the digest a registry states; a value that is none, or of an unknown algorithm, states nothing.
pub(crate) fn digest_header(answer: &Answer) -> Option<Digest> {
    answer.header("docker-content-digest")?.trim().parse().ok()
}

const DOCKER_HUB: &str = "registry-1.docker.io";
/// How often one request to a mirror is tried.
const MIRROR_ATTEMPTS: u32 = 2;
const MIN_CHUNK_SIZE: usize = 64 * 1024;
const MAX_HELD: usize = 1024 * 1024;
const MAX_PARALLEL_RANGES: NonZeroUsize = match NonZeroUsize::new(16) {
    Some(limit) => limit,
    None => NonZeroUsize::MIN,
};
pub(crate) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

fn base(scheme: &str, host: &str) -> Result<Url, Error> {
    Url::parse(&format!("{scheme}://{host}/"))
        .map_err(|_| Error::malformed("registry host", "it is no host"))
}

fn join(base: &Url, path: &str) -> Result<Url, Error> {
    base.join(path)
        .map_err(|_| Error::malformed("repository name", "it cannot stand in a URL"))
}

fn content_type(answer: &Answer) -> Option<MediaType> {
    let value = answer.header(CONTENT_TYPE.as_str())?;
    value.split(';').next()?.trim().parse().ok()
}

fn media_type_header(media_type: &MediaType) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(media_type.as_str())
        .map_err(|_| Error::malformed("media type", "it cannot stand in a header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_literal_names_of_this_machine_are_loopback() {
        for (url, expected) in [
            ("http://localhost:5000/", true),
            ("http://127.0.0.1/", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]:5000/", true),
            ("http://localhost.example/", false),
            ("http://10.0.0.1/", false),
            ("http://[::2]/", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
