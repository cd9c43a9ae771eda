//! Which demand holds for which repository.

use std::collections::BTreeSet;

use serde::Deserialize;
use thiserror::Error;

use crate::demand::{CertificateIdentity, Pattern, PatternError, TransparencyLog};

/// A file of rules, in TOML. The rule with the most specific pattern decides; what no rule is for is refused.
///
/// ```toml
/// version = 1
///
/// [[rule]]
/// images = ["registry.example/team/*"]
/// keys = ["team.pub.pem"]
///
/// [[rule]]
/// images = ["ghcr.io/example/app"]
/// identities = [{ identity-regexp = "https://github.com/example/app/.*", issuer = "https://token.actions.githubusercontent.com" }]
///
/// [[rule]]
/// images = ["local"]
/// unsigned = true
/// ```
#[derive(Clone, Debug)]
pub struct TrustPolicy {
    rules: Vec<Rule>,
}

/// What holds for some repositories.
#[derive(Clone, Debug)]
pub struct Rule {
    images: Vec<Scope>,
    /// Files of public keys, relative to the policy.
    pub keys: Vec<String>,
    /// Identities whose certificates count.
    pub identities: Vec<CertificateIdentity>,
    /// File of trusted roots, relative to the policy; without it those of sigstore's public service.
    pub trusted_root: Option<String>,
    /// Whether signatures of keys must be in a transparency log.
    pub log: TransparencyLog,
    /// How many different signers must have signed.
    pub signers: usize,
    unsigned: bool,
}

/// What a policy says about an image.
#[derive(Clone, Copy, Debug)]
pub enum Decision<'a> {
    /// It need not be signed.
    Unsigned,
    /// It must be signed as this rule says.
    Signed(&'a Rule),
    /// No rule is for it: it is refused.
    Refused,
}

/// A pattern of repositories; the greater one is more specific.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Scope {
    /// Everything in registries.
    Anywhere,
    /// What is below a host or a path.
    Below(String),
    /// One repository.
    One(String),
    /// Layouts and archives.
    Local,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u64,
    #[serde(default, rename = "rule")]
    rules: Vec<FileRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileRule {
    images: Vec<String>,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    identities: Vec<FileIdentity>,
    trusted_root: Option<String>,
    #[serde(default)]
    transparency_log: bool,
    signers: Option<usize>,
    #[serde(default)]
    unsigned: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileIdentity {
    identity: Option<String>,
    identity_regexp: Option<String>,
    issuer: Option<String>,
    issuer_regexp: Option<String>,
}

impl TrustPolicy {
    /// Longest file, in octets.
    pub const MAX_LEN: usize = 1 << 20;

    /// Reads a policy.
    ///
    /// # Errors
    /// [`TrustPolicyError`]: whatever is not understood makes the whole policy worthless.
    pub fn from_toml(text: &str) -> Result<Self, TrustPolicyError> {
        if text.len() > Self::MAX_LEN {
            return Err(TrustPolicyError::TooLong {
                limit: Self::MAX_LEN,
            });
        }
        let file: File = toml::from_str(text).map_err(|error| TrustPolicyError::Form {
            reason: error.message().into(),
            line: line_of(text, error.span()),
        })?;
        if file.version != VERSION {
            return Err(TrustPolicyError::Version {
                version: file.version,
            });
        }
        let mut seen = BTreeSet::new();
        let rules = file
            .rules
            .into_iter()
            .map(|rule| Rule::from_file(rule, &mut seen))
            .collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// Lists the rules that ask for signatures, in the order of the file.
    pub fn demanding(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| !rule.unsigned)
    }

    /// Says what holds for a repository, `host/path` without tag or digest, or for something that lies in no registry.
    pub fn decide(&self, repository: Option<&str>) -> Decision<'_> {
        let repository = repository.map(canonical);
        let repository = repository.as_deref();
        let deciding = self
            .rules
            .iter()
            .flat_map(|rule| rule.images.iter().map(move |scope| (scope, rule)))
            .filter(|(scope, _)| scope.holds(repository))
            .max_by_key(|(scope, _)| scope.weight());
        match deciding {
            None => Decision::Refused,
            Some((_, rule)) if rule.unsigned => Decision::Unsigned,
            Some((_, rule)) => Decision::Signed(rule),
        }
    }
}

impl Rule {
    fn from_file(file: FileRule, seen: &mut BTreeSet<Scope>) -> Result<Self, TrustPolicyError> {
        let mut images = Vec::new();
        for text in &file.images {
            let scope = Scope::parse(text)?;
            if !seen.insert(scope.clone()) {
                return Err(TrustPolicyError::Twice {
                    pattern: text.as_str().into(),
                });
            }
            images.push(scope);
        }
        let about = || file.images.join(", ").into_boxed_str();
        if images.is_empty() {
            return Err(TrustPolicyError::NoImages);
        }
        let signers = file.signers.unwrap_or(1);
        let known = file.keys.len() + file.identities.len();
        if file.unsigned {
            if known > 0 || file.signers.is_some() || file.transparency_log {
                return Err(TrustPolicyError::Contradiction { rule: about() });
            }
        } else if signers == 0 || signers > known {
            return Err(TrustPolicyError::Signers {
                rule: about(),
                wanted: signers,
                known,
            });
        }
        let identities = file
            .identities
            .iter()
            .map(|identity| {
                let pattern =
                    |exact: &Option<String>, expression: &Option<String>| match (exact, expression)
                    {
                        (Some(exact), None) => Ok(Pattern::exact(exact)),
                        (None, Some(expression)) => {
                            Pattern::matching(expression).map_err(|source| {
                                TrustPolicyError::Pattern {
                                    rule: about(),
                                    source,
                                }
                            })
                        }
                        _ => Err(TrustPolicyError::Identity { rule: about() }),
                    };
                Ok(CertificateIdentity {
                    identity: pattern(&identity.identity, &identity.identity_regexp)?,
                    issuer: pattern(&identity.issuer, &identity.issuer_regexp)?,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            images,
            identities,
            trusted_root: file.trusted_root,
            log: match file.transparency_log {
                true => TransparencyLog::Required,
                false => TransparencyLog::Optional,
            },
            signers,
            unsigned: file.unsigned,
            keys: file.keys,
        })
    }
}

/// Writes the host as every spelling of it is compared: in small letters, without the port that is meant anyway, and Docker Hub
/// by the one of its names that references have.
fn canonical(repository: &str) -> String {
    let (host, path) = match repository.split_once('/') {
        Some((host, path)) => (host, Some(path)),
        None => (repository, None),
    };
    let host = host.to_ascii_lowercase();
    let host = match host.strip_suffix(":443").unwrap_or(&host) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    };
    match path {
        Some(path) => format!("{host}/{path}"),
        None => host.to_owned(),
    }
}

impl Scope {
    fn parse(text: &str) -> Result<Self, TrustPolicyError> {
        let wrong = || TrustPolicyError::Scope {
            pattern: text.into(),
        };
        match text {
            "*" => return Ok(Self::Anywhere),
            "local" => return Ok(Self::Local),
            _ => {}
        }
        let (path, below) = match text.strip_suffix("/*") {
            Some(path) => (path, true),
            None => (text, false),
        };
        // A host has a dot or a port, so that `team/app` is not mistaken for one.
        let host = path.split('/').next().unwrap_or_default();
        let is_host = host.contains(['.', ':']) || host == "localhost";
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-:/[]".contains(c);
        let whole = below || path.contains('/');
        let sound = !path.split('/').any(str::is_empty) && path.chars().all(allowed);
        let is_tagged = path
            .rsplit_once('/')
            .is_some_and(|(_, name)| name.contains(':'));
        if !is_host || !whole || !sound || is_tagged {
            return Err(wrong());
        }
        let path = canonical(path);
        Ok(match below {
            true => Self::Below(path),
            false => Self::One(path),
        })
    }

    fn holds(&self, repository: Option<&str>) -> bool {
        match (self, repository) {
            (Self::Local, None) | (Self::Anywhere, Some(_)) => true,
            (Self::One(path), Some(repository)) => path == repository,
            (Self::Below(path), Some(repository)) => repository
                .strip_prefix(path.as_str())
                .is_some_and(|rest| rest.starts_with('/')),
            _ => false,
        }
    }

    /// Says how specific it is, among those that hold for the same image.
    fn weight(&self) -> (u8, usize) {
        match self {
            Self::Anywhere => (0, 0),
            Self::Below(path) => (1, path.len()),
            Self::One(_) | Self::Local => (2, 0),
        }
    }
}

fn line_of(text: &str, span: Option<std::ops::Range<usize>>) -> usize {
    let start = span.map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or_default();
    1 + before.matches('\n').count()
}

/// Why a file is not a policy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrustPolicyError {
    /// Not TOML, or with members that do not exist.
    #[error("line {line}: {reason}")]
    Form {
        /// What is wrong.
        reason: Box<str>,
        /// Where.
        line: usize,
    },

    /// Longer than any policy.
    #[error("it is longer than {limit} octets")]
    TooLong {
        /// The limit.
        limit: usize,
    },

    /// Made for another version of this program.
    #[error("it is of version {version}, and only version {VERSION} is known")]
    Version {
        /// The version.
        version: u64,
    },

    /// A rule for nothing.
    #[error("a rule has no `images`")]
    NoImages,

    /// A pattern that could mean nothing, or two things.
    #[error("`{pattern}` is not a pattern: write HOST/PATH, HOST/PATH/*, HOST/*, `*` or `local`")]
    Scope {
        /// The pattern.
        pattern: Box<str>,
    },

    /// The same pattern twice.
    #[error("`{pattern}` is in two places; one of them would be ignored")]
    Twice {
        /// The pattern.
        pattern: Box<str>,
    },

    /// Signers, and none needed.
    #[error("the rule for {rule} says that images need no signature, and whose they need")]
    Contradiction {
        /// The rule.
        rule: Box<str>,
    },

    /// More signers than the rule has.
    #[error("the rule for {rule} asks for {wanted} signers and names {known}")]
    Signers {
        /// The rule.
        rule: Box<str>,
        /// How many are asked for.
        wanted: usize,
        /// How many are named.
        known: usize,
    },

    /// An identity that would fit everybody, or two things at once.
    #[error(
        "an identity of the rule for {rule} needs one of `identity` and `identity-regexp`, and one of `issuer` and `issuer-regexp`"
    )]
    Identity {
        /// The rule.
        rule: Box<str>,
    },

    /// A regular expression that is none.
    #[error("the rule for {rule}")]
    Pattern {
        /// The rule.
        rule: Box<str>,
        /// What is wrong.
        #[source]
        source: PatternError,
    },
}

/// The version of the format that is read.
const VERSION: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rules: &str) -> Result<TrustPolicy, TrustPolicyError> {
        TrustPolicy::from_toml(&format!("version = 1\n{rules}"))
    }

    /// Which rule decides, by its first key.
    fn decided<'a>(policy: &'a TrustPolicy, repository: &str) -> &'a str {
        match policy.decide(Some(repository)) {
            Decision::Unsigned => "unsigned",
            Decision::Refused => "refused",
            Decision::Signed(rule) => rule.keys.first().unwrap(),
        }
    }

    #[test]
    fn a_host_is_the_same_however_it_is_written() {
        let policy = policy(
            "[[rule]]\nimages = ['*']\nunsigned = true\n[[rule]]\nimages = ['registry.example/*', 'docker.io/*']\nkeys = ['a']\n",
        )
        .unwrap();
        for repository in [
            "registry.example/a",
            "REGISTRY.example/a",
            "registry.example:443/a",
            "docker.io/library/a",
            "index.docker.io/library/a",
            "Registry-1.docker.io:443/library/a",
        ] {
            let decision = policy.decide(Some(repository));
            assert!(matches!(decision, Decision::Signed(_)), "{repository}");
        }
    }

    #[test]
    fn the_most_specific_pattern_decides() {
        let policy = policy(
            r#"
            [[rule]]
            images = ["*"]
            keys = ["any"]
            [[rule]]
            images = ["registry.example/*", "localhost:5000/*"]
            keys = ["host"]
            [[rule]]
            images = ["registry.example/team/*"]
            keys = ["team"]
            [[rule]]
            images = ["registry.example/team/app"]
            unsigned = true
            "#,
        )
        .unwrap();
        for (repository, rule) in [
            ("other.example/app", "any"),
            ("registry.example.evil/app", "any"),
            ("registry.example/app", "host"),
            ("registry.example/teammate/app", "host"),
            ("localhost:5000/app", "host"),
            ("registry.example/team/other", "team"),
            ("registry.example/team/app/more", "team"),
            ("registry.example/team/app", "unsigned"),
        ] {
            assert_eq!(decided(&policy, repository), rule, "{repository}");
        }
        assert!(matches!(policy.decide(None), Decision::Refused));
    }

    #[test]
    fn what_no_rule_is_for_is_refused() {
        let nothing = policy("").unwrap();
        assert!(matches!(nothing.decide(None), Decision::Refused));
        assert_eq!(decided(&nothing, "registry.example/app"), "refused");
        let local = policy("[[rule]]\nimages = [\"local\"]\nunsigned = true").unwrap();
        assert!(matches!(local.decide(None), Decision::Unsigned));
        assert_eq!(decided(&local, "registry.example/app"), "refused");
    }

    #[test]
    fn what_is_not_understood_makes_a_policy_worthless() {
        for (rules, complaint) in [
            ("[[rule]]\nimages = []\nkeys = [\"k\"]", "no `images`"),
            ("[[rule]]\nkeys = [\"k\"]", "missing field `images`"),
            ("[[rule]]\nimages = [\"*\"]", "names 0"),
            ("[[rule]]\nimages = [\"*\"]\nkeys = []", "names 0"),
            (
                "[[rule]]\nimages = [\"*\"]\nkeys = [\"k\"]\nsigners = 2",
                "names 1",
            ),
            (
                "[[rule]]\nimages = [\"*\"]\nkeys = [\"k\"]\nsigners = 0",
                "asks for 0",
            ),
            (
                "[[rule]]\nimages = [\"*\"]\nkeys = [\"k\"]\nunsigned = true",
                "need no signature",
            ),
            (
                "[[rule]]\nimages = [\"*\"]\nunsigned = true\ntransparency-log = true",
                "need no signature",
            ),
            (
                "[[rule]]\nimages = [\"*\"]\nkey = [\"k\"]",
                "unknown field `key`",
            ),
            ("[[rules]]\nimages = [\"*\"]", "unknown field `rules`"),
            ("default = \"accept\"", "unknown field `default`"),
            (
                "[[rule]]\nimages = [\"*\", \"*\"]\nkeys = [\"k\"]",
                "two places",
            ),
            (
                "[[rule]]\nimages = [\"a.example/b\"]\nunsigned = true\n[[rule]]\nimages = [\"a.example/b\"]\nkeys = [\"k\"]",
                "two places",
            ),
            (
                "[[rule]]\nimages = [\"*\"]\nidentities = [{ identity = \"a\" }]",
                "needs one of",
            ),
            (
                "[[rule]]\nimages = [\"*\"]\nidentities = [{ issuer = \"a\" }]",
                "needs one of",
            ),
            (
                "[[rule]]\nimages = [\"*\"]\nidentities = [{ identity = \"a\", identity-regexp = \"a\", issuer = \"b\" }]",
                "needs one of",
            ),
            (
                "[[rule]]\nimages = [\"*\"]\nidentities = [{ identity-regexp = \"(\", issuer = \"b\" }]",
                "the rule for *",
            ),
        ] {
            let error = policy(rules).unwrap_err().to_string();
            assert!(error.contains(complaint), "{rules}: {error}");
        }
        for (text, complaint) in [
            ("", "missing field `version`"),
            ("version = 2", "of version 2"),
            ("version = \"1\"", "invalid type"),
            ("version = 1\nversion = 1", "duplicate key"),
        ] {
            let error = TrustPolicy::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(complaint), "{text}: {error}");
        }
    }

    #[test]
    fn patterns_that_could_mean_two_things_are_refused() {
        for pattern in [
            "",
            "/",
            "**",
            "*/app",
            "team/app",
            "app",
            "registry.example",
            "registry.example/",
            "registry.example//app",
            "registry.example/app*",
            "registry.example/*/app",
            "registry.example/app:1",
            "registry.example/app@sha256:00",
            "docker://registry.example/app",
            "oci:layout",
        ] {
            let rules = format!("[[rule]]\nimages = [{pattern:?}]\nkeys = [\"k\"]");
            let error = policy(&rules).unwrap_err();
            assert!(
                matches!(error, TrustPolicyError::Scope { .. }),
                "{pattern}: {error}"
            );
        }
    }
}
