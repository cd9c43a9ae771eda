//! A policy set as it is signed and distributed.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use cedar_policy::{Policy, PolicyId, ValidationMode, Validator};
use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::settings::is_name;
use crate::{Finding, PolicyError, PostureService, Settings};

/// A policy set: one JSON document, valid as a whole.
///
/// `{"v":1,"name":"…","cedar":"<policies>","settings":{…}}`. Signatures and hashes are over the octets as given, which are kept.
#[derive(Clone)]
pub struct PolicySet {
    octets: Vec<u8>,
    name: String,
    settings: Settings,
    pub(crate) policies: cedar_policy::PolicySet,
    pub(crate) model: Arc<Model>,
}

/// The document.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    v: u64,
    name: String,
    cedar: String,
    settings: Settings,
}

impl PolicySet {
    /// Reads a policy set and validates it strictly against the schema.
    ///
    /// # Errors
    /// [`PolicyError`] for anything that is not right, warnings of the validator included.
    pub fn from_json(octets: &[u8]) -> Result<Self, PolicyError> {
        let set = Self::parse(octets)?;
        let validator = Validator::new(set.model.schema.clone());
        let result = validator.validate(&set.policies, ValidationMode::Strict);
        let errors = result
            .validation_errors()
            .map(|e| finding(e.policy_id(), e));
        let warnings = result
            .validation_warnings()
            .map(|w| finding(w.policy_id(), w));
        let mut findings: Vec<_> = errors.chain(warnings).collect();
        if !findings.is_empty() {
            findings.sort_by(|a, b| a.policy.cmp(&b.policy).then(a.message.cmp(&b.message)));
            return Err(PolicyError::Invalid { findings });
        }
        Ok(set)
    }

    /// Writes a policy set and reads it as [`from_json`](Self::from_json) does.
    ///
    /// # Errors
    /// The same.
    pub fn new(name: &str, cedar: &str, settings: Settings) -> Result<Self, PolicyError> {
        let (name, cedar) = (name.to_owned(), cedar.to_owned());
        let document = Document {
            v: 1,
            name,
            cedar,
            settings,
        };
        Self::from_json(&serde_json::to_vec(&document).map_err(PolicyError::Json)?)
    }

    /// Returns the set that a new deployment starts with, called `default`.
    ///
    /// Nodes of the zone `prod` may open wraps of any repository whose residency they are in, with the score it demands;
    /// people may what their role says; and all guard rails stand.
    ///
    /// # Errors
    /// [`PolicyError::Setting`] when a jurisdiction or service is not valid.
    pub fn starting_point(
        jurisdictions: Vec<String>,
        posture_services: Vec<PostureService>,
    ) -> Result<Self, PolicyError> {
        let settings = Settings {
            jurisdictions,
            groups: std::collections::BTreeMap::new(),
            posture_services,
            min_score: crate::MinScore::default(),
        };
        Self::new(DEFAULT_NAME, STARTING_POINT, settings)
    }

    /// Reads a policy set without validating the policies against the schema.
    pub(crate) fn parse(octets: &[u8]) -> Result<Self, PolicyError> {
        if octets.len() > MAX_SET_LEN {
            return Err(PolicyError::TooLong { len: octets.len() });
        }
        let Document {
            v,
            name,
            cedar,
            settings,
        } = serde_json::from_slice(octets).map_err(PolicyError::Json)?;
        if v != 1 {
            return Err(PolicyError::Version { found: v });
        }
        if !is_name(&name) {
            return Err(PolicyError::Name { name: name.into() });
        }
        settings.check()?;
        let policies = named_policies(&cedar)?;
        let model = Arc::new(Model::load()?);
        Ok(Self {
            octets: octets.to_vec(),
            name,
            settings,
            policies,
            model,
        })
    }

    /// Returns the name that labels demand the set by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the document as it was given.
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets
    }

    /// Returns a copy of the document as it was given.
    pub fn to_json(&self) -> Vec<u8> {
        self.octets.clone()
    }

    /// Returns the SHA-256 of the document as it was given.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &self.octets).as_ref());
        hash
    }

    /// Returns how many policies there are.
    pub fn len(&self) -> usize {
        self.policies.num_of_policies()
    }

    /// Returns whether there is no policy, so that everything is denied.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the policies sorted by their names.
    pub(crate) fn sorted(&self) -> Vec<&Policy> {
        let mut policies: Vec<_> = self.policies.policies().collect();
        policies.sort_by(|a, b| a.id().cmp(b.id()));
        policies
    }

    /// Returns the set with further policies that nothing has validated: what a case tries out.
    pub(crate) fn with_unvalidated(&self, cedar: &str) -> Result<Self, PolicyError> {
        let mut set = self.clone();
        for policy in named_policies(cedar)?.policies() {
            let id = policy.id().to_string().into();
            set.policies
                .add(policy.clone())
                .map_err(|_| PolicyError::Twice { id })?;
        }
        Ok(set)
    }
}

impl fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySet")
            .field("name", &self.name)
            .field("hash", &hex::encode(self.hash()))
            .finish_non_exhaustive()
    }
}

/// Reads policies and gives them the names in their `@id`.
fn named_policies(cedar: &str) -> Result<cedar_policy::PolicySet, PolicyError> {
    check_extent(cedar)?;
    let parsed: cedar_policy::PolicySet = cedar
        .parse()
        .map_err(|e| PolicyError::Syntax(Box::new(e)))?;
    if let Some(template) = parsed.templates().next() {
        return Err(PolicyError::Template {
            id: template.id().to_string().into(),
        });
    }
    let found = parsed.num_of_policies();
    if found > MAX_POLICIES {
        return Err(PolicyError::TooMany { found });
    }
    let mut named = cedar_policy::PolicySet::new();
    for position in 1..=found {
        // Cedar counts from 0.
        let policy = parsed.policy(&PolicyId::new(format!("policy{}", position - 1)));
        let policy = policy.ok_or(PolicyError::Unnamed { position })?;
        let id = policy.annotation("id").filter(|id| is_name(id));
        let id = id.ok_or(PolicyError::Unnamed { position })?;
        let policy = policy.new_id(PolicyId::new(id));
        named
            .add(policy)
            .map_err(|_| PolicyError::Twice { id: id.into() })?;
    }
    Ok(named)
}

/// Refuses policies that Cedar cannot descend into: brackets within brackets, and chains that need none, such as
/// `if … else if …` or `principal.a.a.a…`.
///
/// On long chains Cedar overflows its stack; on shorter ones its validator runs out of what it allows itself, which it reports
/// as no error at all (4.14.1), so that the policy would pass unvalidated.
fn check_extent(cedar: &str) -> Result<(), PolicyError> {
    let (mut open, mut operators, mut previous) = (0_usize, 0_usize, 0);
    let mut octets = cedar.bytes().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b'(' | b'{' => open += 1,
            b'[' => {
                open += 1;
                operators += 1;
            }
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            b';' => operators = 0,
            b'.' | b'+' | b'-' | b'*' | b'!' | b'<' | b'>' | b'=' | b'&' | b'|' => operators += 1,
            // The word `if`, or part of another: it is a limit, not a parser.
            b'f' if previous == b'i' => operators += 1,
            // Whatever stands in a text or a comment is neither bracket nor operator nor end.
            b'"' => {
                while let Some(within) = octets.next().filter(|o| *o != b'"') {
                    if within == b'\\' {
                        octets.next();
                    }
                }
            }
            b'/' if octets.peek() == Some(&b'/') => {
                while octets.next_if(|o| !matches!(o, b'\n' | b'\r')).is_some() {}
            }
            _ => {}
        }
        if open > MAX_NESTING {
            return Err(PolicyError::TooDeep);
        }
        if operators > MAX_OPERATORS {
            return Err(PolicyError::TooManyOperators);
        }
        previous = octet;
    }
    Ok(())
}

fn finding(policy: &PolicyId, problem: &impl fmt::Display) -> Finding {
    let (policy, message) = (policy.to_string(), problem.to_string());
    // Cedar says it as well.
    let message = message
        .strip_prefix(&format!("for policy `{policy}`, "))
        .unwrap_or(&message);
    Finding {
        message: message.to_owned(),
        policy: Some(policy),
    }
}

/// Most octets of a policy set.
pub const MAX_SET_LEN: usize = 512 * 1024;

/// Most policies of a set.
pub const MAX_POLICIES: usize = 1000;

/// Most operators of one policy. Cedar validates twice as many on a stack of 2 MiB.
pub(crate) const MAX_OPERATORS: usize = 250;

/// Most brackets of a policy that are open at once.
pub(crate) const MAX_NESTING: usize = 64;

/// The policy set that labels demand which demand none.
pub(crate) const DEFAULT_NAME: &str = "default";

/// The policies of [`PolicySet::starting_point`].
const STARTING_POINT: &str = include_str!("starting_point.cedar");
