//! What the policies of a set need to know beside the facts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::facts::ANYWHERE;
use crate::{PolicyError, Residency};

/// The settings of a policy set.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What the `*` of a label stands for.
    pub jurisdictions: Vec<String>,
    /// Codes that stand for several others.
    #[serde(default, deserialize_with = "unique_names")]
    pub groups: BTreeMap<String, Vec<String>>,
    /// Whose statements about nodes are believed.
    #[serde(default)]
    pub posture_services: Vec<PostureService>,
    /// Which score a node needs.
    #[serde(default)]
    pub min_score: MinScore,
}

/// A service that signs statements about nodes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PostureService {
    /// Its name, as in `asserted_by`.
    pub name: String,
    /// The DER of its `SubjectPublicKeyInfo`; base64url without padding in JSON.
    #[serde(serialize_with = "to_base64url", deserialize_with = "from_base64url")]
    pub public_key: Vec<u8>,
}

/// The score a node needs.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MinScore {
    /// For repositories that no entry matches.
    pub default: i64,
    /// For repositories and all below them; the longest match wins.
    #[serde(default, deserialize_with = "unique_names")]
    pub repositories: BTreeMap<String, i64>,
}

impl MinScore {
    /// Returns the score that a repository demands.
    pub fn of(&self, repo: &str) -> i64 {
        // The whole path comes first, so the longest match is the first.
        prefixes(repo)
            .find_map(|prefix| self.repositories.get(prefix))
            .copied()
            .unwrap_or(self.default)
    }
}

impl Settings {
    /// Returns the posture service of that name.
    pub fn posture_service(&self, name: &str) -> Option<&PostureService> {
        self.posture_services
            .iter()
            .find(|service| service.name == name)
    }

    /// Returns the jurisdictions that the residency of a label stands for.
    ///
    /// A code that no group has stands for itself.
    pub fn expand<'a>(&'a self, residency: &'a Residency) -> BTreeSet<&'a str> {
        match residency {
            Residency::Any => self.everywhere(),
            Residency::Codes(codes) => self.resolve(codes.iter().map(String::as_str)),
        }
    }

    /// Returns the jurisdictions that the residency of a key stands for: none named, or `*` among them, are all.
    pub fn expand_key<'a>(&'a self, codes: &'a [String]) -> BTreeSet<&'a str> {
        if codes.is_empty() || codes.iter().any(|code| code == ANYWHERE) {
            return self.everywhere();
        }
        self.resolve(codes.iter().map(String::as_str))
    }

    fn everywhere(&self) -> BTreeSet<&str> {
        self.resolve(self.jurisdictions.iter().map(String::as_str))
    }

    fn resolve<'a>(&'a self, codes: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let mut resolved = BTreeSet::new();
        for code in codes {
            match self.groups.get(code) {
                Some(members) => resolved.extend(members.iter().map(String::as_str)),
                None => _ = resolved.insert(code),
            }
        }
        resolved
    }

    /// Checks every value.
    pub(crate) fn check(&self) -> Result<(), PolicyError> {
        let wrong = |setting: &str, what: &'static str| {
            Err(PolicyError::Setting {
                setting: setting.into(),
                what,
            })
        };
        if self.jurisdictions.is_empty() || self.jurisdictions.len() > MAX_ENTRIES {
            return wrong("jurisdictions", "needs 1 to 1000 codes");
        }
        if self.groups.len() > MAX_ENTRIES {
            return wrong("groups", "has more than 1000 entries");
        }
        let members = self.groups.values().flatten();
        for code in self
            .jurisdictions
            .iter()
            .chain(self.groups.keys())
            .chain(members.clone())
        {
            if !is_code(code) {
                return wrong(code, "is not a code such as `DE` or `US-CA`");
            }
        }
        for (group, members) in &self.groups {
            if members.is_empty() || members.len() > MAX_ENTRIES {
                return wrong(group, "needs 1 to 1000 members");
            }
            if members
                .iter()
                .any(|member| self.groups.contains_key(member))
            {
                return wrong(group, "has a group as member");
            }
        }
        if self.posture_services.len() > MAX_ENTRIES {
            return wrong("posture_services", "has more than 1000 entries");
        }
        let mut names = BTreeSet::new();
        for service in &self.posture_services {
            if !is_name(&service.name) {
                return wrong(&service.name, "is not a name");
            }
            if !names.insert(&service.name) {
                return wrong(&service.name, "names two posture services");
            }
            if service.public_key.first() != Some(&DER_SEQUENCE) {
                return wrong(&service.name, "has no public key in DER");
            }
        }
        if self.min_score.repositories.len() > MAX_ENTRIES {
            return wrong("min_score", "has more than 1000 repositories");
        }
        if !SCORES.contains(&self.min_score.default) {
            return wrong("min_score", "is not a score from 0 to 100");
        }
        for (repo, score) in &self.min_score.repositories {
            if !is_repository(repo) {
                return wrong(repo, "is not a repository");
            }
            if !SCORES.contains(score) {
                return wrong(repo, "does not demand a score from 0 to 100");
            }
        }
        Ok(())
    }
}

/// Returns a repository and all that stand above it, from the longest.
pub(crate) fn prefixes(repo: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(repo), |path| {
        path.rsplit_once('/').map(|(above, _)| above)
    })
}

/// Returns whether `text` can name a policy set, a policy or a service: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// Returns whether `text` is a jurisdiction as labels write it: `[A-Z]{2}(-[A-Z0-9]{1,8})?`.
fn is_code(text: &str) -> bool {
    let (country, part) = text.split_once('-').unwrap_or((text, "X"));
    country.len() == 2
        && country.bytes().all(|b| b.is_ascii_uppercase())
        && (1..=8).contains(&part.len())
        && part
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// Returns whether `text` can be a repository of a label, or one above.
fn is_repository(text: &str) -> bool {
    text.len() <= 255
        && text.split('/').all(|segment| !segment.is_empty())
        && text
            .chars()
            .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-' | ':' | '/' | '[' | ']'))
}

fn to_base64url<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&URL_SAFE_NO_PAD.encode(octets))
}

fn from_base64url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    URL_SAFE_NO_PAD.decode(text).map_err(D::Error::custom)
}

/// Reads an object and refuses one that has a name twice: two readers could differ on which of them counts.
fn unique_names<'de, D: Deserializer<'de>, V: Deserialize<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, V>, D::Error> {
    struct Unique<V>(std::marker::PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for Unique<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((name, value)) = access.next_entry::<String, V>()? {
                if map.contains_key(&name) {
                    return Err(A::Error::custom(format_args!(
                        "`{name}` stands there twice"
                    )));
                }
                map.insert(name, value);
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(Unique(std::marker::PhantomData))
}

/// Most entries of one list.
const MAX_ENTRIES: usize = 1000;

/// What a posture service may say.
const SCORES: std::ops::RangeInclusive<i64> = 0..=100;

/// The first octet of every `SubjectPublicKeyInfo`.
const DER_SEQUENCE: u8 = 0x30;
