use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::digest::{Digest, DigestError};
use crate::json::excerpt;

/// The name of an image in a registry: `[host[:port]/]repository[:tag][@digest]`.
///
/// Follows the grammar of the distribution project's `reference` package, which all container tools share. A first
/// component without dot, colon or upper case that is not `localhost` belongs to the repository, and the registry is
/// then `docker.io`, where repositories of one component stand below `library/`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Reference {
    registry: Box<str>,
    repository: Box<str>,
    tag: Option<Box<str>>,
    digest: Option<Digest>,
}

impl Reference {
    /// Returns `host[:port]`; IPv6 addresses are in brackets.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the repository, without the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag that was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest that was given; it wins over the tag when pulling.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns what to ask the registry for: the digest, else the tag, else `latest`.
    pub fn manifest_name(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.to_string(),
            (None, None) => Self::DEFAULT_TAG.to_owned(),
        }
    }

    /// Returns the host without its port.
    pub fn host(&self) -> &str {
        split_port(&self.registry).0
    }

    /// Returns the same repository by digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// What is meant when neither tag nor digest is given.
    pub const DEFAULT_TAG: &'static str = "latest";
    /// What is meant when no registry is given.
    pub const DEFAULT_REGISTRY: &'static str = "docker.io";
    /// Most octets of registry and repository together.
    pub const MAX_NAME_LEN: usize = 255;
    /// Most octets of a tag (distribution-spec, "Pulling manifests").
    pub const MAX_TAG_LEN: usize = 128;
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon after the last slash begins a tag; earlier ones belong to a port or an IPv6 address.
        let last = name.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match name.get(last..).and_then(|rest| rest.split_once(':')) {
            Some((component, tag)) if !component.starts_with('[') => (
                name.get(..last + component.len()).unwrap_or_default(),
                Some(tag),
            ),
            _ => (name, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag { text: excerpt(tag) });
        }
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if is_registry_like(first) => (first, rest.to_owned()),
            _ if name.contains('/') => (Self::DEFAULT_REGISTRY, name.to_owned()),
            _ => (Self::DEFAULT_REGISTRY, format!("library/{name}")),
        };
        let registry = match registry {
            "index.docker.io" | "registry-1.docker.io" => Self::DEFAULT_REGISTRY,
            other => other,
        };
        if !is_registry(registry) {
            return Err(ReferenceError::Registry {
                text: excerpt(registry),
            });
        }
        let repository = match repository.split_once('/') {
            None if registry == Self::DEFAULT_REGISTRY => format!("library/{repository}"),
            _ => repository,
        };
        if registry.len() + 1 + repository.len() > Self::MAX_NAME_LEN {
            return Err(ReferenceError::TooLong {
                limit: Self::MAX_NAME_LEN,
            });
        }
        if !repository.split('/').all(is_component) {
            return Err(ReferenceError::Repository {
                text: excerpt(&repository),
            });
        }
        Ok(Self {
            registry: registry.into(),
            repository: repository.into(),
            tag: tag.map(Into::into),
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Why a text is not an image reference.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ReferenceError {
    /// Not a host with optional port.
    #[error("`{text}` is not a registry host such as registry.example:5000")]
    Registry {
        /// The beginning of what was given.
        text: Box<str>,
    },
    /// Not lower-case path components.
    #[error("`{text}` is not a repository name (lower case letters, digits and single separators)")]
    Repository {
        /// The beginning of what was given.
        text: Box<str>,
    },
    /// Not a tag.
    #[error("`{text}` is not a tag")]
    Tag {
        /// The beginning of what was given.
        text: Box<str>,
    },
    /// Registry and repository together are too long.
    #[error("image name is longer than {limit} octets")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// The part after `@` is not a digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

fn is_registry_like(first: &str) -> bool {
    first == "localhost"
        || first.contains(['.', ':'])
        || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn split_port(registry: &str) -> (&str, Option<&str>) {
    match registry.rsplit_once(':') {
        Some((host, port)) if !host.starts_with('[') || host.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    }
}

fn is_registry(registry: &str) -> bool {
    let (host, port) = split_port(registry);
    let port_ok = port.is_none_or(|port| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    let host_ok = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }),
    };
    port_ok && host_ok
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let edge = |b: Option<u8>| b.is_some_and(alphanumeric);
    edge(component.bytes().next())
        && edge(component.bytes().last())
        && component
            .bytes()
            .all(|b| alphanumeric(b) || b"._-".contains(&b))
        && component
            .split(|c: char| c.is_ascii_alphanumeric())
            .all(|separator| {
                matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
            })
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= Reference::MAX_TAG_LEN
        && tag
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && tag
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn completes_short_names_as_every_tool_does() {
        let table = [
            ("debian", "docker.io/library/debian"),
            ("debian:12", "docker.io/library/debian:12"),
            ("user/app", "docker.io/user/app"),
            ("docker.io/debian", "docker.io/library/debian"),
            ("index.docker.io/debian", "docker.io/library/debian"),
            ("localhost/app", "localhost/app"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c"),
            ("[::1]:5000/app:v1", "[::1]:5000/app:v1"),
            ("[2001:db8::1]/app", "[2001:db8::1]/app"),
            (
                "ghcr.io/o/r__x/y--z.w:A_b.C-1",
                "ghcr.io/o/r__x/y--z.w:A_b.C-1",
            ),
            ("Registry/app", "Registry/app"),
        ];
        for (given, full) in table {
            let parsed: Reference = given.parse().unwrap();
            assert_eq!(parsed.to_string(), full);
            assert_eq!(full.parse::<Reference>().unwrap(), parsed);
        }
        let both: Reference = format!("r.io/a:t@{D}").parse().unwrap();
        assert_eq!((both.tag(), both.manifest_name().as_str()), (Some("t"), D));
        assert_eq!(
            "r.io/a".parse::<Reference>().unwrap().manifest_name(),
            "latest"
        );
        assert_eq!(
            "[::1]:5000/app".parse::<Reference>().unwrap().host(),
            "[::1]"
        );
    }

    #[test]
    fn refuses_what_could_be_read_two_ways() {
        let repository = |text: &str| ReferenceError::Repository { text: text.into() };
        let registry = |text: &str| ReferenceError::Registry { text: text.into() };
        let table = [
            ("", repository("library/")),
            ("App", repository("library/App")),
            ("r.io/App", repository("App")),
            ("r.io/a//b", repository("a//b")),
            ("r.io/../etc", repository("../etc")),
            ("r.io/a___b", repository("a___b")),
            ("r.io/a..b", repository("a..b")),
            ("r.io/-a", repository("-a")),
            ("r.io/a:", ReferenceError::Tag { text: "".into() }),
            ("r.io/a:-x", ReferenceError::Tag { text: "-x".into() }),
            ("r.io/a:b:c", ReferenceError::Tag { text: "b:c".into() }),
            ("r.io:/a", registry("r.io:")),
            ("r.io:0/a", registry("r.io:0")),
            ("r.io:99999/a", registry("r.io:99999")),
            ("[::1/a", registry("[::1")),
            (
                "user:pw@r.io/a",
                ReferenceError::Digest(DigestError::Malformed {
                    text: "r.io/a".into(),
                }),
            ),
            (
                "r.io/a@sha256:12",
                ReferenceError::Digest(DigestError::Malformed {
                    text: "sha256:12".into(),
                }),
            ),
        ];
        for (given, expected) in table {
            assert_eq!(given.parse::<Reference>(), Err(expected), "{given}");
        }
        let long = format!("r.io/{}", "a".repeat(251));
        assert_eq!(
            long.parse::<Reference>(),
            Err(ReferenceError::TooLong { limit: 255 })
        );
        let tag = format!("r.io/a:{}", "t".repeat(129));
        assert_eq!(
            tag.parse::<Reference>(),
            Err(ReferenceError::Tag {
                text: "t".repeat(80).into()
            })
        );
    }
}
