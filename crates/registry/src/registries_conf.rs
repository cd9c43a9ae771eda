//! `registries.conf` of Podman, Skopeo, Buildah and CRI-O (`containers-registries.conf(5)`, version 2).
//!
//! Pure. What is not about where images are, such as short names, is left to those tools.

use sealift_oci::{Reference, json};
use serde::Deserialize;
use thiserror::Error;

/// The registries that the files describe.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RegistriesConf {
    registries: Vec<Registry>,
}

/// One `[[registry]]`.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Registry {
    prefix: String,
    location: Option<String>,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<MirrorEntry>,
}

/// One `[[registry.mirror]]`.
#[derive(Clone, Debug, Eq, PartialEq)]
struct MirrorEntry {
    location: String,
    insecure: bool,
    pulls: Pulls,
}

/// What a mirror is asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
enum Pulls {
    #[default]
    #[serde(rename = "all")]
    All,
    #[serde(rename = "digest-only")]
    ByDigest,
    #[serde(rename = "tag-only")]
    ByTag,
}

/// A place that the files name for an image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Location {
    /// Registry and repository; tag and digest are those that were asked for.
    pub reference: Reference,
    /// Whether its certificate may be anything, or missing.
    pub insecure: bool,
}

/// Where the files send an image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Locations {
    /// The mirrors, in the order in which they are asked.
    pub mirrors: Vec<Location>,
    /// Where it is if no mirror has it, and where it is pushed to.
    pub origin: Location,
}

impl RegistriesConf {
    /// Parses a file.
    ///
    /// # Errors
    /// [`RegistriesConfError`], for what is not version 2 of the format.
    pub fn parse(text: &str) -> Result<Self, RegistriesConfError> {
        if text.len() > Self::MAX_LEN {
            return Err(RegistriesConfError::TooLong);
        }
        let file: File = toml::from_str(text).map_err(|error| RegistriesConfError::Toml {
            reason: error.message().into(),
        })?;
        if file.registries.is_some() {
            return Err(RegistriesConfError::Version1);
        }
        let registries = file.registry.into_iter().map(Registry::new);
        Ok(Self {
            registries: registries.collect::<Result<_, _>>()?,
        })
    }

    /// Adds a drop-in file; its entries replace those with the same prefix.
    #[must_use]
    pub fn overridden_by(mut self, later: Self) -> Self {
        for registry in later.registries {
            self.registries.retain(|old| old.prefix != registry.prefix);
            self.registries.push(registry);
        }
        self
    }

    /// Returns where an image is, if the files say anything about it.
    ///
    /// # Errors
    /// [`RegistriesConfError::Blocked`], and [`RegistriesConfError::Location`] for a place that cannot be.
    pub fn locate(&self, reference: &Reference) -> Result<Option<Locations>, RegistriesConfError> {
        let name = format!("{}/{}", reference.registry(), reference.repository());
        let tag = reference.tag().or(match reference.digest() {
            None => Some(Reference::DEFAULT_TAG),
            Some(_) => None,
        });
        let digest = reference.digest();
        let whole: Vec<String> = [
            tag.map(|tag| format!("{name}:{tag}")),
            digest.map(|digest| format!("{name}@{digest}")),
        ]
        .into_iter()
        .flatten()
        .collect();
        let matching = self.registries.iter().filter_map(|registry| {
            // A prefix may go as far as the tag or the digest, and then nothing is left.
            let is_whole = whole.contains(&registry.prefix);
            let rest = is_whole.then_some("").or_else(|| registry.rest(&name))?;
            Some((registry, rest))
        });
        let Some((registry, rest)) = matching.max_by_key(|(registry, _)| registry.weight()) else {
            return Ok(None);
        };
        if registry.blocked {
            return Err(RegistriesConfError::Blocked {
                prefix: json::excerpt(&registry.prefix),
            });
        }
        let by_digest = reference.digest().is_some();
        let mirrors = registry
            .mirrors
            .iter()
            .filter(|mirror| match mirror.pulls {
                Pulls::All => true,
                Pulls::ByDigest => by_digest,
                Pulls::ByTag => !by_digest,
            })
            .map(|mirror| {
                Ok(Location {
                    reference: moved(reference, &mirror.location, rest)?,
                    insecure: mirror.insecure,
                })
            })
            .collect::<Result<_, RegistriesConfError>>()?;
        let origin = match &registry.location {
            Some(location) => moved(reference, location, rest)?,
            None => reference.clone(),
        };
        Ok(Some(Locations {
            mirrors,
            origin: Location {
                reference: origin,
                insecure: registry.insecure,
            },
        }))
    }

    /// Most octets of a file.
    pub const MAX_LEN: usize = 1024 * 1024;
}

impl Registry {
    fn new(table: RegistryTable) -> Result<Self, RegistriesConfError> {
        let location = table.location.filter(|location| !location.is_empty());
        let prefix = table.prefix.filter(|prefix| !prefix.is_empty());
        let prefix = prefix
            .or_else(|| location.clone())
            .ok_or(RegistriesConfError::Nameless)?;
        let by_digest = table.mirror_by_digest_only;
        let mirrors = table.mirror.into_iter().map(|mirror| MirrorEntry {
            location: mirror.location,
            insecure: mirror.insecure,
            pulls: match (by_digest, mirror.pulls) {
                (true, Pulls::All) => Pulls::ByDigest,
                (_, pulls) => pulls,
            },
        });
        Ok(Self {
            prefix,
            location,
            insecure: table.insecure,
            blocked: table.blocked,
            mirrors: mirrors.collect(),
        })
    }

    /// Returns what follows the prefix in `host/repository`, if that is how the name begins.
    fn rest<'a>(&self, name: &'a str) -> Option<&'a str> {
        if let Some(domain) = self.prefix.strip_prefix("*.") {
            let (host, _) = name.split_once('/')?;
            let sub = host.strip_suffix(domain)?.strip_suffix('.')?;
            return (!sub.is_empty()).then(|| name.get(host.len()..))?;
        }
        let rest = name.strip_prefix(self.prefix.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }

    /// Exact prefixes win over wildcards, longer ones over shorter.
    fn weight(&self) -> (bool, usize) {
        (!self.prefix.starts_with("*."), self.prefix.len())
    }
}

/// Why a file, or what it says, was refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RegistriesConfError {
    /// Longer than any such file.
    #[error("it is too long")]
    TooLong,
    /// Not TOML, or a member of the wrong type.
    #[error("it is not what registries.conf looks like: {reason}")]
    Toml {
        /// What the parser says, without the line, which may hold a secret.
        reason: Box<str>,
    },
    /// The format before 2018.
    #[error("it is of version 1, which is not supported; write [[registry]] tables")]
    Version1,
    /// A table that says of nothing what it is about.
    #[error("a [[registry]] has neither `prefix` nor `location`")]
    Nameless,
    /// Somebody who decides does not want images from there.
    #[error("`{prefix}` is blocked in registries.conf")]
    Blocked {
        /// The prefix of the entry.
        prefix: Box<str>,
    },
    /// A location that with the rest of the name is no repository.
    #[error("`{text}` cannot be the location of an image")]
    Location {
        /// The location.
        text: Box<str>,
    },
}

#[derive(Deserialize)]
struct File {
    /// The `[registries.search]` and so on of version 1.
    registries: Option<toml::Value>,
    #[serde(default)]
    registry: Vec<RegistryTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RegistryTable {
    prefix: Option<String>,
    location: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<MirrorTable>,
}

#[derive(Deserialize)]
struct MirrorTable {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default, rename = "pull-from-mirror")]
    pulls: Pulls,
}

/// Returns the image below another location.
fn moved(
    reference: &Reference,
    location: &str,
    rest: &str,
) -> Result<Reference, RegistriesConfError> {
    let refuse = || RegistriesConfError::Location {
        text: json::excerpt(location),
    };
    let location = location.trim_end_matches('/');
    let mut text = format!("{location}{rest}");
    if let Some(tag) = reference.tag() {
        text = format!("{text}:{tag}");
    }
    if let Some(digest) = reference.digest() {
        text = format!("{text}@{digest}");
    }
    let moved: Reference = text.parse().map_err(|_| refuse())?;
    // What looks like no host would silently become a repository of Docker Hub.
    let host = location.split('/').next().unwrap_or_default();
    match host == moved.registry() {
        true => Ok(moved),
        false => Err(refuse()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
unqualified-search-registries = ["docker.io"]

[[registry]]
prefix = "docker.io"
location = "docker.io"
mirror-by-digest-only = true
[[registry.mirror]]
location = "mirror.example/hub"
insecure = true

[[registry]]
prefix = "r.example/team"
location = "other.example:5000/moved"
[[registry.mirror]]
location = "tags.example"
pull-from-mirror = "tag-only"
[[registry.mirror]]
location = "all.example/x"

[[registry]]
prefix = "*.bad.example"
blocked = true

[[registry]]
location = "good.bad.example"

[[registry]]
prefix = "good.bad.example/app:old"
blocked = true
"#;

    fn located(name: &str) -> Result<Option<Vec<String>>, RegistriesConfError> {
        let conf = RegistriesConf::parse(FILE).unwrap();
        let located = conf.locate(&name.parse().unwrap())?;
        Ok(located.map(|found| {
            let all = found.mirrors.into_iter().chain([found.origin]);
            all.map(|one| {
                let mark = if one.insecure { "!" } else { "" };
                format!("{}{mark}", one.reference)
            })
            .collect()
        }))
    }

    #[test]
    fn the_longest_prefix_says_where_an_image_is() {
        let digest = sealift_oci::Digest::sha256(b"");
        for (name, expected) in [
            ("debian:12", vec!["docker.io/library/debian:12".to_owned()]),
            (
                &format!("debian@{digest}"),
                vec![
                    format!("mirror.example/hub/library/debian@{digest}!"),
                    format!("docker.io/library/debian@{digest}"),
                ],
            ),
            (
                "r.example/team/app:1",
                vec![
                    "tags.example/app:1".into(),
                    "all.example/x/app:1".into(),
                    "other.example:5000/moved/app:1".into(),
                ],
            ),
            (
                "good.bad.example/app:1",
                vec!["good.bad.example/app:1".into()],
            ),
        ] {
            assert_eq!(located(name), Ok(Some(expected)), "{name}");
        }
        for name in [
            "r.example/teams/app:1",
            "r.example/app:1",
            "bad.example/a:1",
        ] {
            assert_eq!(located(name), Ok(None), "{name}");
        }
        for (name, prefix) in [
            ("very.bad.example/app:1", "*.bad.example"),
            ("good.bad.example/app:old", "good.bad.example/app:old"),
        ] {
            let prefix = prefix.into();
            assert_eq!(
                located(name),
                Err(RegistriesConfError::Blocked { prefix }),
                "{name}"
            );
        }
    }

    #[test]
    fn a_drop_in_replaces_entries_of_the_same_prefix_only() {
        let first = RegistriesConf::parse(FILE).unwrap();
        let count = first.registries.len();
        let later = "[[registry]]\nlocation = \"docker.io\"\nblocked = true\n";
        let both = first.overridden_by(RegistriesConf::parse(later).unwrap());
        assert_eq!(both.registries.len(), count);
        let refusal = both.locate(&"debian".parse().unwrap()).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "`docker.io` is blocked in registries.conf"
        );
    }

    #[test]
    fn what_is_not_version_2_is_refused() {
        let parse = |text: &str| RegistriesConf::parse(text).unwrap_err().to_string();
        for (text, expected) in [
            (
                "[registries.search]\nregistries = []",
                "it is of version 1, which is not supported; write [[registry]] tables",
            ),
            (
                "[[registry]]\nblocked = true",
                "a [[registry]] has neither `prefix` nor `location`",
            ),
            (
                "[[registry]]\nlocation = 1",
                "it is not what registries.conf looks like: invalid type: integer `1`, expected a string",
            ),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
        let lone =
            RegistriesConf::parse("[[registry]]\nprefix=\"r.io\"\nlocation=\"mirror\"").unwrap();
        assert_eq!(
            lone.locate(&"r.io/a".parse().unwrap()),
            Err(RegistriesConfError::Location {
                text: "mirror".into()
            })
        );
    }
}
