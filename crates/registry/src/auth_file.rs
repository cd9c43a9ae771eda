//! The files that `docker login` and `podman login` write (containers-auth.json(5), Docker's `config.json`).
//!
//! Pure: octets in, answers out. Which files are read, and in which order, is decided in [`credentials`](crate::credentials).

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use sealift_oci::json::{self, Limits};
use serde::Deserialize;
use thiserror::Error;
use zeroize::Zeroize;

use crate::credentials::{Credential, HelperName};
use crate::secret::Secret;

/// The part of an auth file that says who logs in where.
#[derive(Debug, Default)]
pub struct AuthFile {
    auths: HashMap<String, Entry>,
    helpers: HashMap<String, HelperName>,
    store: Option<HelperName>,
}

impl AuthFile {
    /// Reads `config.json` or `auth.json`.
    ///
    /// # Errors
    /// [`AuthFileError`]; a file with a broken entry is refused whole, so that a login never silently becomes anonymous.
    pub fn parse(octets: &[u8]) -> Result<Self, AuthFileError> {
        json::object(octets, LIMITS).map_err(|_| AuthFileError::NotJson)?;
        let raw: Raw = serde_json::from_slice(octets).map_err(|_| AuthFileError::NotJson)?;
        Self::from_entries(raw.auths, raw.cred_helpers, raw.creds_store)
    }

    /// Reads `.dockercfg`, which is the map of entries alone.
    ///
    /// # Errors
    /// [`AuthFileError`]
    pub fn parse_legacy(octets: &[u8]) -> Result<Self, AuthFileError> {
        json::object(octets, LIMITS).map_err(|_| AuthFileError::NotJson)?;
        let auths = serde_json::from_slice(octets).map_err(|_| AuthFileError::NotJson)?;
        Self::from_entries(auths, HashMap::new(), None)
    }

    /// Returns where to look for the credentials of a repository, best place first.
    pub fn places(&self, registry: &str, repository: &str) -> Vec<Place<'_>> {
        let mut places = Vec::new();
        let names = prefixes(registry, repository);
        for name in &names {
            if let Some(helper) = self.helpers.get(name) {
                places.push(Place::Helper {
                    helper,
                    server: server_name(name),
                });
                break;
            }
        }
        if let Some(helper) = &self.store {
            places.push(Place::Helper {
                helper,
                server: server_name(names.last().map_or(registry, String::as_str)),
            });
        }
        for name in &names {
            if let Some(Some(credential)) = self.auths.get(name) {
                places.push(Place::Inline(credential));
                break;
            }
        }
        places
    }

    fn from_entries(
        auths: HashMap<String, RawEntry>,
        helpers: HashMap<String, String>,
        store: Option<String>,
    ) -> Result<Self, AuthFileError> {
        let mut file = Self::default();
        for (key, entry) in auths {
            let credential = entry.credential().ok_or_else(|| AuthFileError::Entry {
                key: json::excerpt(&key),
            })?;
            // An exact key beats one that only becomes equal by normalisation.
            let name = normalise(&key);
            if name == key || !file.auths.contains_key(&name) {
                file.auths.insert(name, credential);
            }
        }
        for (key, helper) in helpers {
            if !helper.is_empty() {
                file.helpers
                    .insert(normalise(&key), HelperName::new(&helper)?);
            }
        }
        if let Some(store) = store.filter(|store| !store.is_empty()) {
            file.store = Some(HelperName::new(&store)?);
        }
        Ok(file)
    }

    /// Most octets of a file.
    pub const MAX_LEN: usize = 1024 * 1024;
}

/// One place that may know the credentials.
#[derive(Debug)]
pub enum Place<'a> {
    /// Written into the file.
    Inline(&'a Credential),
    /// Known to another program.
    Helper {
        /// Its name, without the prefix `docker-credential-`.
        helper: &'a HelperName,
        /// What to ask it for.
        server: String,
    },
}

/// Why an auth file was refused. Never quotes the file: it holds passwords.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum AuthFileError {
    /// Not JSON of the right shape.
    #[error("not an auth file")]
    NotJson,
    /// One entry cannot be decoded.
    #[error("the entry `{key}` cannot be decoded")]
    Entry {
        /// Its key.
        key: Box<str>,
    },
    /// The name of a credential helper contains more than a name.
    #[error("`{name}` is not the name of a credential helper")]
    HelperName {
        /// The name.
        name: Box<str>,
    },
}

const LIMITS: Limits = Limits {
    len: AuthFile::MAX_LEN,
    depth: 32,
};

/// `None`: the entry is `{}`, which says "logged in, ask the helper".
type Entry = Option<Credential>;

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    auths: HashMap<String, RawEntry>,
    #[serde(default, rename = "credHelpers")]
    cred_helpers: HashMap<String, String>,
    #[serde(default, rename = "credsStore")]
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct RawEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl RawEntry {
    /// `None` if the entry is broken, `Some(None)` if it is empty.
    fn credential(mut self) -> Option<Entry> {
        let filled = |text: &mut Option<String>| text.take().filter(|text| !text.is_empty());
        if let Some(token) = filled(&mut self.registrytoken) {
            return Some(Some(Credential::RegistryToken(Secret::new(token))));
        }
        if let Some(token) = filled(&mut self.identitytoken) {
            return Some(Some(Credential::IdentityToken(Secret::new(token))));
        }
        if let Some(auth) = filled(&mut self.auth) {
            let auth = Secret::new(auth);
            return decode_basic(auth.expose()).map(Some);
        }
        match (filled(&mut self.username), filled(&mut self.password)) {
            (Some(username), Some(password)) => {
                Some(Some(Credential::new(username, Secret::new(password))))
            }
            (None, None) => Some(None),
            _ => None,
        }
    }
}

impl Drop for RawEntry {
    fn drop(&mut self) {
        self.auth.zeroize();
        self.password.zeroize();
        self.identitytoken.zeroize();
        self.registrytoken.zeroize();
    }
}

/// Decodes base64 of `user:password`; some writers pad with NUL, some leave the padding out.
fn decode_basic(auth: &str) -> Option<Credential> {
    let mut octets = BASE64.decode(auth.trim()).ok()?;
    let credential = std::str::from_utf8(&octets).ok().and_then(|text| {
        let (username, password) = text.trim_end_matches('\0').split_once(':')?;
        (!username.is_empty())
            .then(|| Credential::new(username.to_owned(), Secret::new(password.to_owned())))
    });
    octets.zeroize();
    credential
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns the keys that may hold the credentials, the most specific first and the host last.
fn prefixes(registry: &str, repository: &str) -> Vec<String> {
    let registry = normalise(registry);
    let mut names = vec![format!("{registry}/{repository}")];
    let mut rest = repository;
    while let Some((shorter, _)) = rest.rsplit_once('/') {
        names.push(format!("{registry}/{shorter}"));
        rest = shorter;
    }
    names.push(registry);
    names
}

/// Reduces a key to `host[:port][/namespace…]`, and the names of Docker Hub to one.
fn normalise(key: &str) -> String {
    let without_scheme = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"));
    // Keys with a scheme are Docker's old form, whose path is the API's, not a namespace.
    let name = match without_scheme {
        Some(rest) => rest.split('/').next().unwrap_or(rest),
        None => key.trim_end_matches('/'),
    };
    let (host, path) = match name.split_once('/') {
        Some((host, "v1" | "v2")) => (host, None),
        Some((host, path)) => (host, Some(path)),
        None => (name, None),
    };
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    };
    match path {
        Some(path) => format!("{host}/{path}"),
        None => host.to_owned(),
    }
}

/// Returns the name under which credential helpers know a registry.
fn server_name(name: &str) -> String {
    match name {
        "docker.io" => "https://index.docker.io/v1/".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, registry: &str, repository: &str) -> Vec<String> {
        let file = AuthFile::parse(file.as_bytes()).unwrap();
        let show = |place: Place<'_>| match place {
            Place::Helper { helper, server } => format!("{} {server}", helper.as_str()),
            Place::Inline(Credential::Basic { username, password }) => {
                format!("{username}:{}", password.expose())
            }
            Place::Inline(Credential::IdentityToken(token)) => format!("id {}", token.expose()),
            Place::Inline(Credential::RegistryToken(token)) => format!("reg {}", token.expose()),
        };
        file.places(registry, repository)
            .into_iter()
            .map(show)
            .collect()
    }

    fn basic(text: &str) -> String {
        base64::engine::general_purpose::STANDARD.encode(text)
    }

    #[test]
    fn the_longest_prefix_wins_and_the_host_comes_last() {
        let file = format!(
            r#"{{"auths":{{"r.io":{{"auth":"{}"}},"r.io/team":{{"auth":"{}"}},"r.io/team/app":{{"auth":"{}"}},"r.io:5000":{{"auth":"{}"}}}}}}"#,
            basic("host:1"),
            basic("team:2"),
            basic("app:3"),
            basic("port:4")
        );
        assert_eq!(found(&file, "r.io", "team/app"), ["app:3"]);
        assert_eq!(found(&file, "r.io", "team/apple"), ["team:2"]);
        assert_eq!(found(&file, "r.io", "team/app/sub"), ["app:3"]);
        assert_eq!(found(&file, "r.io", "other"), ["host:1"]);
        assert_eq!(found(&file, "r.io:5000", "team/app"), ["port:4"]);
        assert_eq!(found(&file, "s.io", "team/app"), [""; 0]);
    }

    #[test]
    fn docker_hub_has_many_names() {
        for key in [
            "docker.io",
            "index.docker.io",
            "https://index.docker.io/v1/",
            "https://index.docker.io/v1",
            "registry-1.docker.io",
            "index.docker.io/v1/",
        ] {
            let file = format!(
                r#"{{"auths":{{"{key}":{{"auth":"{}"}}}}}}"#,
                basic("hub:pw")
            );
            assert_eq!(
                found(&file, "docker.io", "library/debian"),
                ["hub:pw"],
                "{key}"
            );
        }
    }

    #[test]
    fn a_url_with_a_path_is_a_host_not_a_namespace() {
        let file = format!(
            r#"{{"auths":{{"https://r.io/v2/":{{"auth":"{}"}}}}}}"#,
            basic("a:b")
        );
        assert_eq!(found(&file, "r.io", "x"), ["a:b"]);
    }

    #[test]
    fn helpers_come_before_the_store_and_both_before_the_file() {
        let file = format!(
            r#"{{"credsStore":"desktop","credHelpers":{{"r.io/team":"ecr-login","r.io":"gcloud"}},"auths":{{"r.io":{{"auth":"{}"}},"docker.io":{{}}}}}}"#,
            basic("a:b")
        );
        assert_eq!(
            found(&file, "r.io", "team/app"),
            ["ecr-login r.io/team", "desktop r.io", "a:b"]
        );
        assert_eq!(
            found(&file, "r.io", "x"),
            ["gcloud r.io", "desktop r.io", "a:b"]
        );
        assert_eq!(
            found(&file, "docker.io", "library/x"),
            ["desktop https://index.docker.io/v1/"]
        );
    }

    #[test]
    fn tokens_and_the_token_user_are_no_passwords() {
        let file = format!(
            r#"{{"auths":{{"a.io":{{"auth":"{0}","identitytoken":"T"}},"b.io":{{"auth":"{1}"}},"c.io":{{"registrytoken":"R"}},"d.io":{{"username":"u","password":"p"}}}}}}"#,
            basic("u:"),
            basic("<token>:I")
        );
        assert_eq!(found(&file, "a.io", "x"), ["id T"]);
        assert_eq!(found(&file, "b.io", "x"), ["id I"]);
        assert_eq!(found(&file, "c.io", "x"), ["reg R"]);
        assert_eq!(found(&file, "d.io", "x"), ["u:p"]);
    }

    #[test]
    fn passwords_may_hold_colons_and_padding() {
        let file = format!(
            r#"{{"auths":{{"a.io":{{"auth":"{}"}}}}}}"#,
            basic("u:p:q\0\0").trim_end_matches('=')
        );
        assert_eq!(found(&file, "a.io", "x"), ["u:p:q"]);
    }

    #[test]
    fn refuses_a_file_rather_than_log_in_as_nobody() {
        let entry = |key: &str| AuthFileError::Entry { key: key.into() };
        for (text, expected) in [
            ("", AuthFileError::NotJson),
            ("[]", AuthFileError::NotJson),
            (r#"{"auths":[]}"#, AuthFileError::NotJson),
            (r#"{"auths":{"a":{},"a":{}}}"#, AuthFileError::NotJson),
            (r#"{"auths":{"a.io":{"auth":"!"}}}"#, entry("a.io")),
            (r#"{"auths":{"a.io":{"auth":"YQ=="}}}"#, entry("a.io")),
            (r#"{"auths":{"a.io":{"auth":"OmI="}}}"#, entry("a.io")),
            (r#"{"auths":{"a.io":{"username":"u"}}}"#, entry("a.io")),
            (
                r#"{"credsStore":"../evil"}"#,
                AuthFileError::HelperName {
                    name: "../evil".into(),
                },
            ),
            (
                r#"{"credHelpers":{"a.io":"a b"}}"#,
                AuthFileError::HelperName { name: "a b".into() },
            ),
        ] {
            assert_eq!(
                AuthFile::parse(text.as_bytes()).unwrap_err(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn reads_the_legacy_file() {
        let text = format!(
            r#"{{"https://r.io/v1/":{{"auth":"{}","email":"x"}}}}"#,
            basic("a:b")
        );
        let file = AuthFile::parse_legacy(text.as_bytes()).unwrap();
        assert_eq!(file.places("r.io", "x").len(), 1);
    }
}
