//! What a wrapped key is for (`SPEC.md`, section 5).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ErrorId, Suite, ThresholdError, cbor};

/// Says what one wrapped key is for.
///
/// It is public, and authenticated by the proof of the wrap and by its ciphertext.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "View", into = "View")]
pub struct Label {
    /// The suite of the wrap.
    pub suite: Suite,
    /// The key, `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`.
    pub key_id: Box<str>,
    /// The epoch of the key, from 1.
    pub epoch: u32,
    /// Registry host, optional port, path, no tag: 1 to 255 octets of `a-z 0-9 . _ - : / [ ]`.
    pub repo: Box<str>,
    /// The sealed thing.
    pub subject: Subject,
    /// `os/arch[/variant[/osversion]]` or nothing: up to 64 octets of `a-z 0-9 . _ - /`.
    pub platform: Box<str>,
    /// Where the key may be used.
    pub residency: Residency,
    /// The name of a policy, by the rule for `key_id`; `default` if there is none.
    pub policy: Box<str>,
    /// Unix seconds, below 2^40.
    pub created_at: u64,
}

impl Label {
    /// Returns the deterministic CBOR that the proof covers.
    ///
    /// # Errors
    /// `label_invalid` for a value outside its range, `label_malformed` if the label would be too long.
    pub fn encode(&self) -> Result<Vec<u8>, ThresholdError> {
        self.check()?;
        let mut octets = Vec::with_capacity(160);
        cbor::write_head(&mut octets, cbor::MAP, 10);
        for key in 1..=10 {
            cbor::write_head(&mut octets, cbor::UNSIGNED, key);
            match key {
                1 => cbor::write_head(&mut octets, cbor::UNSIGNED, VERSION),
                2 => cbor::write_text(&mut octets, self.suite.as_str()),
                3 => cbor::write_text(&mut octets, &self.key_id),
                4 => cbor::write_head(&mut octets, cbor::UNSIGNED, u64::from(self.epoch)),
                5 => cbor::write_text(&mut octets, &self.repo),
                6 => {
                    cbor::write_head(&mut octets, cbor::ARRAY, 2);
                    cbor::write_head(&mut octets, cbor::UNSIGNED, self.subject.kind.number());
                    cbor::write_head(&mut octets, cbor::BYTES, 32);
                    octets.extend(self.subject.value);
                }
                7 => cbor::write_text(&mut octets, &self.platform),
                8 => {
                    let entries = self.residency.entries();
                    cbor::write_head(&mut octets, cbor::ARRAY, entries.len() as u64);
                    for entry in entries {
                        cbor::write_text(&mut octets, entry);
                    }
                }
                9 => cbor::write_text(&mut octets, &self.policy),
                _ => cbor::write_head(&mut octets, cbor::UNSIGNED, self.created_at),
            }
        }
        if octets.len() > MAX_LABEL_LEN {
            return Err(malformed());
        }
        Ok(octets)
    }

    /// Reads a label: this one shape of CBOR, nothing else, and only its shortest spelling.
    ///
    /// # Errors
    /// `label_malformed` for any other CBOR, `label_invalid` for a value outside its range, `suite_mismatch` for a
    /// suite that no wrap can have.
    pub fn parse(octets: &[u8]) -> Result<Self, ThresholdError> {
        if octets.len() > MAX_LABEL_LEN {
            return Err(malformed());
        }
        RawLabel::read(octets).ok_or_else(malformed)?.into_label()
    }

    fn check(&self) -> Result<(), ThresholdError> {
        let in_range = is_name(&self.key_id)
            && self.epoch >= 1
            && is_repo(&self.repo)
            && is_platform(&self.platform)
            && self.residency.is_valid()
            && is_name(&self.policy)
            && self.created_at < CREATED_AT_LIMIT;
        if !in_range {
            return Err(invalid());
        }
        Ok(())
    }
}

/// The sealed thing, named by 32 octets that exist before the wrap is made.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Subject {
    /// What the octets are.
    pub kind: SubjectKind,
    /// The octets.
    pub value: [u8; 32],
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), hex::encode(self.value))
    }
}

/// What the octets of a [`Subject`] are.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SubjectKind {
    /// SHA-256 of an encrypted layer (ocicrypt).
    Layer,
    /// SHA-256 of what a key provider was given.
    Opts,
    /// SHA-256 of another sealed object.
    Blob,
    /// The commitment of a chunked layer (our own format).
    Commitment,
}

impl SubjectKind {
    /// Returns the name used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Opts => "opts",
            Self::Blob => "blob",
            Self::Commitment => "commitment",
        }
    }

    const fn number(self) -> u64 {
        match self {
            Self::Layer => 1,
            Self::Opts => 2,
            Self::Blob => 3,
            Self::Commitment => 4,
        }
    }

    const ALL: [Self; 4] = [Self::Layer, Self::Opts, Self::Blob, Self::Commitment];
}

/// Where a key may be used.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Residency {
    /// No residency rule, written `*`.
    Any,
    /// 1 to 64 codes `[A-Z]{2}(-[A-Z0-9]{1,8})?`, strictly ascending.
    Codes(Vec<Box<str>>),
}

impl Residency {
    /// Returns the entries as they stand in the label.
    pub fn entries(&self) -> Vec<&str> {
        match self {
            Self::Any => vec!["*"],
            Self::Codes(codes) => codes.iter().map(|code| &**code).collect(),
        }
    }

    fn from_entries(entries: Vec<Box<str>>) -> Self {
        match entries.as_slice() {
            [only] if &**only == "*" => Self::Any,
            _ => Self::Codes(entries),
        }
    }

    fn is_valid(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Codes(codes) => {
                (1..=MAX_RESIDENCY).contains(&codes.len())
                    && codes.iter().all(|code| is_residency_code(code))
                    && codes.is_sorted_by(|one, next| one < next)
            }
        }
    }
}

/// A label of the right shape whose values nobody has looked at.
struct RawLabel<'a> {
    version: u64,
    suite: &'a str,
    key_id: &'a str,
    epoch: u64,
    repo: &'a str,
    subject_kind: u64,
    subject: &'a [u8],
    platform: &'a str,
    residency: Vec<&'a str>,
    policy: &'a str,
    created_at: u64,
}

impl<'a> RawLabel<'a> {
    fn read(octets: &'a [u8]) -> Option<Self> {
        let mut reader = cbor::Reader(octets);
        reader.exactly(cbor::MAP, 10)?;
        let label = Self {
            version: reader.member(1)?.unsigned()?,
            suite: reader.member(2)?.text()?,
            key_id: reader.member(3)?.text()?,
            epoch: reader.member(4)?.unsigned()?,
            repo: reader.member(5)?.text()?,
            subject_kind: {
                reader.member(6)?.exactly(cbor::ARRAY, 2)?;
                reader.unsigned()?
            },
            subject: reader.bytes()?,
            platform: reader.member(7)?.text()?,
            residency: {
                let count = reader.member(8)?.head(cbor::ARRAY)?;
                let count = usize::try_from(count).ok()?;
                if count > MAX_RESIDENCY {
                    return None;
                }
                (0..count)
                    .map(|_| reader.text())
                    .collect::<Option<Vec<_>>>()?
            },
            policy: reader.member(9)?.text()?,
            created_at: reader.member(10)?.unsigned()?,
        };
        reader.0.is_empty().then_some(label)
    }

    fn into_label(self) -> Result<Label, ThresholdError> {
        if self.version != VERSION || !is_suite(self.suite) {
            return Err(invalid());
        }
        let kind = SubjectKind::ALL
            .into_iter()
            .find(|kind| kind.number() == self.subject_kind)
            .ok_or_else(invalid)?;
        let residency: Vec<Box<str>> = self.residency.into_iter().map(Box::from).collect();
        let suite = Suite::from_name(self.suite);
        let label = Label {
            suite: suite.unwrap_or(Suite::Tdh2),
            key_id: self.key_id.into(),
            epoch: self.epoch.try_into().map_err(|_| invalid())?,
            repo: self.repo.into(),
            subject: Subject {
                kind,
                value: self.subject.try_into().map_err(|_| invalid())?,
            },
            platform: self.platform.into(),
            residency: Residency::from_entries(residency),
            policy: self.policy.into(),
            created_at: self.created_at,
        };
        label.check()?;
        // After every other rule, as in section 9: such a label is well-formed, and fits no wrap.
        match suite {
            Some(_) => Ok(label),
            None => Err(ThresholdError::presenter(ErrorId::SuiteMismatch)),
        }
    }
}

/// The JSON view of a label.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct View {
    v: u64,
    suite: Box<str>,
    key_id: Box<str>,
    epoch: u64,
    repo: Box<str>,
    subject: SubjectView,
    platform: Box<str>,
    residency: Vec<Box<str>>,
    policy: Box<str>,
    created_at: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SubjectView {
    kind: Box<str>,
    value: Box<str>,
}

impl TryFrom<View> for Label {
    type Error = ThresholdError;

    fn try_from(view: View) -> Result<Self, ThresholdError> {
        let kind = SubjectKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == &*view.subject.kind);
        let subject = hex::decode(&*view.subject.value).map_err(|_| invalid())?;
        RawLabel {
            version: view.v,
            suite: &view.suite,
            key_id: &view.key_id,
            epoch: view.epoch,
            repo: &view.repo,
            subject_kind: kind.ok_or_else(invalid)?.number(),
            subject: &subject,
            platform: &view.platform,
            residency: view.residency.iter().map(|entry| &**entry).collect(),
            policy: &view.policy,
            created_at: view.created_at,
        }
        .into_label()
    }
}

impl From<Label> for View {
    fn from(label: Label) -> Self {
        Self {
            v: VERSION,
            suite: label.suite.as_str().into(),
            key_id: label.key_id,
            epoch: label.epoch.into(),
            repo: label.repo,
            subject: SubjectView {
                kind: label.subject.kind.as_str().into(),
                value: hex::encode(label.subject.value).into(),
            },
            platform: label.platform,
            residency: label
                .residency
                .entries()
                .into_iter()
                .map(Box::from)
                .collect(),
            policy: label.policy,
            created_at: label.created_at,
        }
    }
}

/// Returns whether `text` may name a key or a policy.
pub(crate) fn is_name(text: &str) -> bool {
    let mut octets = text.bytes();
    octets
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && text.len() <= 128
        && octets.all(|octet| octet.is_ascii_alphanumeric() || b"._-".contains(&octet))
}

fn is_suite(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|octet| (0x21..=0x7e).contains(&octet))
}

fn is_repo(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|octet| is_low_or(octet, b"._-:/[]"))
}

fn is_platform(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|octet| is_low_or(octet, b"._-/"))
}

fn is_low_or(octet: u8, others: &[u8]) -> bool {
    octet.is_ascii_lowercase() || octet.is_ascii_digit() || others.contains(&octet)
}

fn is_residency_code(text: &str) -> bool {
    let (country, region) = match text.split_once('-') {
        Some((country, region)) => (country, Some(region)),
        None => (text, None),
    };
    country.len() == 2
        && country.bytes().all(|octet| octet.is_ascii_uppercase())
        && region.is_none_or(|region| {
            (1..=8).contains(&region.len())
                && region
                    .bytes()
                    .all(|octet| octet.is_ascii_uppercase() || octet.is_ascii_digit())
        })
}

fn malformed() -> ThresholdError {
    ThresholdError::presenter(ErrorId::LabelMalformed)
}

fn invalid() -> ThresholdError {
    ThresholdError::presenter(ErrorId::LabelInvalid)
}

const VERSION: u64 = 1;
/// Most octets of a label.
pub(crate) const MAX_LABEL_LEN: usize = 1024;
const MAX_RESIDENCY: usize = 64;
const CREATED_AT_LIMIT: u64 = 1 << 40;
