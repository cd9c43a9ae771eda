//! Logging in (distribution-spec is silent; the token protocol is Docker's "Token Authentication Specification").

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Url};
use serde::Deserialize;
use zeroize::{Zeroize as _, Zeroizing};

use crate::answer;
use crate::challenge::Challenge;
use crate::credentials::{Credential, Credentials};
use crate::error::Error;
use crate::http::{Answer, Call, Http, Setback, place};
use crate::retry;
use crate::routes::Role;

/// What an operation may do with a repository.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Access {
    Pull,
    PullPush,
    PullDelete,
}

/// A repository at a registry that was found to speak `base`'s scheme.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    /// `scheme://host[:port]/`
    pub(crate) base: Url,
    /// The root of its API: `scheme://host[:port]/v2/`, unless a file says otherwise.
    pub(crate) root: Url,
    /// The connections to it.
    pub(crate) http: Arc<Http>,
    pub(crate) role: Role,
    /// The registry whose images a mirror is asked for.
    pub(crate) namespace: Option<Box<str>>,
    /// The registry as references name it.
    pub(crate) registry: Box<str>,
    /// Its name there.
    pub(crate) name: Box<str>,
    pub(crate) access: Access,
    /// A repository of the same registry whose blobs are to be mounted here.
    pub(crate) mounts_from: Option<Box<str>>,
}

impl Repository {
    fn scopes(&self) -> Vec<Scope> {
        let scope = |name: &str, actions: &[&str]| Scope {
            resource: format!("repository:{name}"),
            actions: actions.iter().map(|&action| action.to_owned()).collect(),
        };
        let own = match self.access {
            Access::Pull => scope(&self.name, &["pull"]),
            Access::PullPush => scope(&self.name, &["pull", "push"]),
            Access::PullDelete => scope(&self.name, &["pull", "delete"]),
        };
        let other = self.mounts_from.as_ref();
        std::iter::once(own)
            .chain(other.map(|name| scope(name, &["pull"])))
            .collect()
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

/// Headers for requests, kept and renewed per repository and kind of access.
#[derive(Debug)]
pub(crate) struct Logins {
    credentials: Credentials,
    plain_http_asked: bool,
    slots: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<Slot>>>>,
}

/// A header, and which it was, so that a renewal of the same one happens once.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) header: HeaderValue,
    generation: u64,
}

#[derive(Debug, Eq, Hash, PartialEq)]
struct Key {
    registry: Box<str>,
    repository: Box<str>,
    access: Access,
    mounts_from: Option<Box<str>>,
}

#[derive(Debug, Default)]
struct Slot {
    demand: Option<Demand>,
    login: Option<Login>,
    renew_at: Option<Instant>,
    generation: u64,
    /// Who logs in, for messages.
    identity: Box<str>,
}

/// What the registry asked for last.
#[derive(Clone, Debug)]
enum Demand {
    Basic,
    Bearer {
        realm: Url,
        service: Option<Box<str>>,
        scopes: Vec<Scope>,
    },
}

impl Logins {
    pub(crate) fn new(credentials: Credentials, plain_http_asked: bool) -> Self {
        Self {
            credentials,
            plain_http_asked,
            slots: Mutex::default(),
        }
    }

    /// Returns the header for a request, renewed if it is about to expire; nothing before the registry has asked.
    pub(crate) async fn current(
        &self,
        http: &Http,
        repository: &Repository,
    ) -> Result<Option<Login>, Setback> {
        let slot = self.slot(repository);
        let mut slot = slot.lock().await;
        if slot.demand.is_none() {
            return Ok(None);
        }
        if slot
            .renew_at
            .is_some_and(|renew_at| Instant::now() >= renew_at)
        {
            self.renew_slot(http, repository, &mut slot).await?;
        }
        Ok(slot.login.clone())
    }

    /// Logs in as the answer demands. `failed` is the header that the answer refused.
    pub(crate) async fn renew(
        &self,
        http: &Http,
        repository: &Repository,
        refusal: &Answer,
        failed: Option<&Login>,
    ) -> Result<Login, Setback> {
        let slot = self.slot(repository);
        let mut slot = slot.lock().await;
        if let Some(login) = &slot.login
            && failed.is_none_or(|failed| failed.generation < login.generation)
        {
            // Somebody else renewed it while we waited.
            return Ok(login.clone());
        }
        let earlier = match &slot.demand {
            Some(Demand::Bearer { scopes, .. }) => scopes.clone(),
            _ => repository.scopes(),
        };
        slot.demand = Some(self.demand(repository, refusal, earlier)?);
        self.renew_slot(http, repository, &mut slot).await
    }

    /// Explains a refusal that renewal did not cure.
    pub(crate) async fn refused(
        &self,
        repository: &Repository,
        request: Box<str>,
        detail: &str,
    ) -> Error {
        let slot = self.slot(repository);
        let identity = slot.lock().await.identity.clone();
        let separator = if detail.is_empty() { "" } else { ": " };
        let detail = if identity.is_empty() {
            format!(
                "no credentials for {} were found{separator}{detail}",
                repository.registry
            )
        } else {
            format!("{identity} did not suffice{separator}{detail}")
        };
        Error::Unauthorized {
            request,
            detail: detail.into(),
        }
    }

    fn slot(&self, repository: &Repository) -> Arc<tokio::sync::Mutex<Slot>> {
        let key = Key {
            registry: repository.registry.clone(),
            repository: repository.name.clone(),
            access: repository.access,
            mounts_from: repository.mounts_from.clone(),
        };
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(key).or_default())
    }

    fn demand(
        &self,
        repository: &Repository,
        refusal: &Answer,
        earlier: Vec<Scope>,
    ) -> Result<Demand, Error> {
        let what = || format!("`WWW-Authenticate` from {}", repository.registry);
        let mut challenges = Vec::new();
        for line in refusal.headers(WWW_AUTHENTICATE.as_str()).take(MAX_LINES) {
            let parsed = Challenge::parse(line);
            challenges.extend(parsed.map_err(|error| Error::malformed(what(), error.to_string()))?);
        }
        if let Some(bearer) = challenges.iter().find(|challenge| challenge.is("Bearer")) {
            let realm = bearer.parameter("realm").unwrap_or_default();
            let realm =
                Url::parse(realm).map_err(|_| Error::malformed(what(), "its realm is no URL"))?;
            self.check_realm(repository, &realm)?;
            let mut scopes = earlier;
            for scope in bearer.parameter("scope").unwrap_or_default().split(' ') {
                if let Some(scope) = Scope::parse(scope) {
                    merge(&mut scopes, scope);
                }
            }
            return Ok(Demand::Bearer {
                realm,
                service: bearer.parameter("service").map(Into::into),
                scopes,
            });
        }
        if challenges.iter().any(|challenge| challenge.is("Basic")) {
            return Ok(Demand::Basic);
        }
        match challenges.first() {
            Some(other) => Err(Error::unsupported(format!(
                "{} wants to authenticate by `{}`, which is not supported; Basic and Bearer are",
                repository.registry,
                sealift_oci::json::excerpt(other.scheme()),
            ))),
            None => Err(Error::Unauthorized {
                request: place(refusal.url()).into(),
                detail: "the registry does not say how to log in".into(),
            }),
        }
    }

    /// Credentials go to the realm, so it must be protected like the registry itself.
    fn check_realm(&self, repository: &Repository, realm: &Url) -> Result<(), Error> {
        let refuse = |reason: &str| {
            let what = format!("realm `{}` of {}", place(realm), repository.registry);
            Err(Error::malformed(what, reason))
        };
        if !realm.username().is_empty() || realm.password().is_some() {
            return refuse("it contains credentials");
        }
        let plain = repository.base.scheme() == "http";
        match realm.scheme() {
            "https" => Ok(()),
            "http" if plain && (self.plain_http_asked || crate::client::is_loopback(realm)) => {
                Ok(())
            }
            "http" => refuse("credentials are not sent there without https"),
            _ => refuse("it is not http or https"),
        }
    }

    async fn renew_slot(
        &self,
        http: &Http,
        repository: &Repository,
        slot: &mut Slot,
    ) -> Result<Login, Setback> {
        let (registry, name) = (&repository.registry, &repository.name);
        let found = match repository.role {
            Role::Origin => self.credentials.find(registry, name).await?,
            Role::Mirror => self.credentials.find_stored(registry, name).await?,
        };
        slot.identity = match &found {
            Some((Credential::Basic { username, .. }, place)) => format!(
                "user `{}` from {place}",
                sealift_oci::json::excerpt(username)
            )
            .into(),
            Some((_, place)) => format!("the token from {place}").into(),
            None => "".into(),
        };
        let credential = found.map(|(credential, _)| credential);
        let (header, lifetime) = match (&slot.demand, credential) {
            (_, Some(Credential::RegistryToken(token))) => (bearer(token.expose())?, None),
            (
                Some(Demand::Bearer {
                    realm,
                    service,
                    scopes,
                }),
                credential,
            ) => {
                let order = Order {
                    realm,
                    service: service.as_deref(),
                    scopes,
                };
                let mut token = order.token(http, repository, credential.as_ref()).await?;
                let lifetime = token.lifetime();
                let text = token.take().ok_or_else(|| {
                    Error::malformed(
                        format!("token from {}", place(realm)),
                        "there is none in the answer",
                    )
                })?;
                (bearer(&text)?, Some(lifetime))
            }
            (_, Some(Credential::Basic { username, password })) => {
                (basic(&username, password.expose())?, None)
            }
            (_, Some(Credential::IdentityToken(_))) => {
                return Err(Error::unsupported(format!(
                    "{} wants a password, but the auth file holds an identity token",
                    repository.registry
                ))
                .into());
            }
            (_, None) => {
                return Err(Error::Unauthorized {
                    request: repository.to_string().into(),
                    detail: format!("no credentials for {} were found", repository.registry).into(),
                }
                .into());
            }
        };
        slot.generation += 1;
        let login = Login {
            header,
            generation: slot.generation,
        };
        slot.login = Some(login.clone());
        // Early enough for a request to arrive, without renewing short-lived tokens at once.
        slot.renew_at =
            lifetime.map(|lifetime| Instant::now() + lifetime - RENEW_BEFORE.min(lifetime / 4));
        Ok(login)
    }
}

/// A request for a token.
struct Order<'a> {
    realm: &'a Url,
    service: Option<&'a str>,
    scopes: &'a [Scope],
}

impl Order<'_> {
    async fn token(
        &self,
        http: &Http,
        repository: &Repository,
        credential: Option<&Credential>,
    ) -> Result<Token, Setback> {
        let (call, authorization) = match credential {
            Some(Credential::IdentityToken(token)) => (self.post(token.expose()), None),
            Some(Credential::Basic { username, password }) => (
                self.get(Some(username)),
                Some(basic(username, password.expose())?),
            ),
            _ => (self.get(None), None),
        };
        let call = call.header(ACCEPT, HeaderValue::from_static("application/json"));
        let mut answer = http.send(&call, self.realm, authorization.as_ref()).await?;
        let status = answer.status();
        if status != 200 {
            let retry_after = answer.retry_after();
            let failure = answer::failure(&mut answer).await;
            if retry::is_transient(status) {
                return Err(Setback::Transient {
                    failure,
                    retry_after,
                });
            }
            if matches!(status, 400 | 401 | 403) {
                return Err(Error::Unauthorized {
                    request: repository.to_string().into(),
                    detail: format!("{}: {failure}", call.name()).into(),
                }
                .into());
            }
            return Err(Error::Network {
                request: call.name(),
                attempts: 1,
                failure,
            }
            .into());
        }
        let refuse =
            |reason: &str| Error::malformed(format!("token from {}", place(self.realm)), reason);
        let body = answer
            .body(MAX_TOKEN_LEN)
            .await
            .map_err(Setback::transient)?;
        let body = body.ok_or_else(|| refuse("it is too long"))?;
        let token = serde_json::from_slice(&body)
            .map_err(|_| refuse("it is not JSON of the token protocol"))?;
        Ok(token)
    }

    fn get(&self, account: Option<&str>) -> Call {
        let mut url = self.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = self.service {
                query.append_pair("service", service);
            }
            for scope in self.scopes {
                query.append_pair("scope", &scope.to_string());
            }
            if let Some(account) = account {
                query.append_pair("account", account);
            }
        }
        Call::new(Method::GET, url)
    }

    fn post(&self, refresh_token: &str) -> Call {
        // A URL's query has the encoding that forms have.
        let mut form = self.realm.clone();
        let scopes: Vec<_> = self.scopes.iter().map(ToString::to_string).collect();
        form.query_pairs_mut()
            .clear()
            .append_pair("grant_type", "refresh_token")
            .append_pair("service", self.service.unwrap_or_default())
            .append_pair("client_id", "sealift")
            .append_pair("scope", &scopes.join(" "))
            .append_pair("refresh_token", refresh_token);
        let body = Bytes::from(form.query().unwrap_or_default().to_owned());
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        Call::new(Method::POST, self.realm.clone())
            .header(CONTENT_TYPE, kind)
            .body(body)
    }
}

/// What the token service answers. OAuth2 says `access_token`, Docker said `token` before.
#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Token {
    fn take(&mut self) -> Option<Zeroizing<String>> {
        let filled = |token: Option<String>| token.filter(|token| !token.is_empty());
        filled(self.token.take())
            .or_else(|| filled(self.access_token.take()))
            .map(Zeroizing::new)
    }

    fn lifetime(&self) -> Duration {
        let seconds = self.expires_in.filter(|seconds| *seconds > 0);
        Duration::from_secs(seconds.unwrap_or(DEFAULT_LIFETIME).min(MAX_LIFETIME))
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.token.zeroize();
        self.access_token.zeroize();
    }
}

/// `type:name:action,action`; names may contain colons.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Scope {
    resource: String,
    actions: Vec<String>,
}

impl Scope {
    fn parse(text: &str) -> Option<Self> {
        let (resource, actions) = text.rsplit_once(':')?;
        resource.contains(':').then(|| Self {
            resource: resource.to_owned(),
            actions: actions.split(',').map(str::to_owned).collect(),
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.resource, self.actions.join(","))
    }
}

/// Adds a scope, or its actions to a scope that is there already.
fn merge(scopes: &mut Vec<Scope>, added: Scope) {
    if let Some(scope) = scopes
        .iter_mut()
        .find(|scope| scope.resource == added.resource)
    {
        for action in added.actions {
            if !scope.actions.contains(&action) {
                scope.actions.push(action);
            }
        }
    } else if scopes.len() < MAX_SCOPES {
        scopes.push(added);
    }
}

fn basic(username: &str, password: &str) -> Result<HeaderValue, Error> {
    let pair = Zeroizing::new(format!("{username}:{password}"));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    sensitive(&format!("Basic {}", *encoded))
}

fn bearer(token: &str) -> Result<HeaderValue, Error> {
    sensitive(&format!("Bearer {token}"))
}

fn sensitive(text: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Error::malformed("token", "it contains control characters"))?;
    value.set_sensitive(true);
    Ok(value)
}

const MAX_TOKEN_LEN: usize = 1024 * 1024;
const MAX_LINES: usize = 16;
const MAX_SCOPES: usize = 16;
const RENEW_BEFORE: Duration = Duration::from_secs(30);
/// Seconds; what the protocol assumes when nothing is said.
const DEFAULT_LIFETIME: u64 = 60;
const MAX_LIFETIME: u64 = 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_of_the_same_resource_become_one() {
        let mut scopes = vec![Scope::parse("repository:a/b:pull").unwrap()];
        merge(
            &mut scopes,
            Scope::parse("repository:a/b:push,pull").unwrap(),
        );
        merge(&mut scopes, Scope::parse("repository:c:pull").unwrap());
        let printed: Vec<_> = scopes.iter().map(ToString::to_string).collect();
        assert_eq!(printed, ["repository:a/b:pull,push", "repository:c:pull"]);
        assert_eq!(Scope::parse("pull"), None);
        assert_eq!(Scope::parse("a:pull"), None);
    }

    #[test]
    fn an_identity_token_travels_in_the_body_only() {
        let order = Order {
            realm: &Url::parse("https://auth.io/token?x=1").unwrap(),
            service: Some("r.io"),
            scopes: &[Scope::parse("repository:a/b:pull").unwrap()],
        };
        let call = order.post("s&cret");
        assert_eq!(call.url.as_str(), "https://auth.io/token?x=1");
        assert_eq!(
            call.body.unwrap(),
            "grant_type=refresh_token&service=r.io&client_id=sealift&scope=repository%3Aa%2Fb%3Apull&refresh_token=s%26cret"
        );
        assert_eq!(
            order.get(Some("me")).url.as_str(),
            "https://auth.io/token?x=1&service=r.io&scope=repository%3Aa%2Fb%3Apull&account=me"
        );
    }
}
