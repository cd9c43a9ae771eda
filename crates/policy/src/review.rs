//! What a person wants to know about a policy set before signing it.

use std::collections::BTreeMap;

use cedar_policy::{Effect, Policy};
use serde::Serialize;

use crate::case::{Cases, Facts, decide};
use crate::{CaseError, Decision, Engine, Finding, PolicyError, PolicySet};

/// What validation says about a policy set.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Report {
    /// The name of the set; none when it cannot be read.
    pub name: Option<String>,
    /// The hex SHA-256 of the document; none when it is refused.
    pub hash: Option<String>,
    /// How many policies there are.
    pub policies: usize,
    /// What is wrong; empty for a set that a holder takes.
    pub findings: Vec<Finding>,
}

/// Reads a policy set as a holder would and says what is wrong with it.
pub fn validate(octets: &[u8]) -> Report {
    let error = match PolicySet::from_json(octets) {
        Ok(set) => {
            let (name, hash) = (Some(set.name().to_owned()), Some(hex::encode(set.hash())));
            return Report {
                name,
                hash,
                policies: set.len(),
                findings: Vec::new(),
            };
        }
        Err(error) => error,
    };
    let read = PolicySet::parse(octets).ok();
    let findings = match error {
        PolicyError::Invalid { findings } => findings,
        other => vec![Finding {
            policy: None,
            message: with_sources(&other),
        }],
    };
    let policies = read.as_ref().map_or(0, PolicySet::len);
    Report {
        name: read.map(|set| set.name().to_owned()),
        hash: None,
        policies,
        findings,
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// A decision with its grounds.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// The policies that determined it.
    pub policies: Vec<PolicyText>,
}

/// A policy as it is written.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct PolicyText {
    /// Its name.
    pub id: String,
    /// Whether it is a permit; otherwise it is a forbid.
    pub permits: bool,
    /// Its text.
    pub text: String,
}

/// Decides one question and shows why.
///
/// # Errors
/// [`CaseError::Missing`] when the action needs facts that are not there.
pub fn explain(set: &PolicySet, facts: &Facts) -> Result<Explanation, CaseError> {
    let decision = Engine::new(set.clone()).decide(facts)?;
    let determining = |policy: &&Policy| decision.policies.iter().any(|id| *id == name(policy));
    let policies = set
        .sorted()
        .into_iter()
        .filter(determining)
        .map(|policy| PolicyText {
            id: name(policy),
            permits: policy.effect() == Effect::Permit,
            text: policy.to_string(),
        });
    let policies = policies.collect();
    Ok(Explanation { decision, policies })
}

/// How two policy sets differ.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Diff {
    /// Policies that only the new set has.
    pub added: Vec<String>,
    /// Policies that only the old set has.
    pub removed: Vec<String>,
    /// Policies that both have, with different texts.
    pub changed: Vec<PolicyChange>,
    /// Whether the settings differ.
    pub settings_changed: bool,
    /// What becomes of each case.
    pub cases: Vec<CaseChange>,
}

/// A policy that was rewritten.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct PolicyChange {
    /// Its name.
    pub id: String,
    /// The text in the old set.
    pub old: String,
    /// The text in the new set.
    pub new: String,
}

/// What two policy sets say to one case.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct CaseChange {
    /// What the case shows.
    pub name: String,
    /// What becomes of access.
    pub access: Access,
    /// What the old set says.
    pub old: Decision,
    /// What the new set says.
    pub new: Decision,
}

/// What becomes of access from one policy set to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Allowed by both or denied by both.
    Same,
    /// Denied before, allowed now.
    Widened,
    /// Allowed before, denied now.
    Narrowed,
}

/// Compares two policy sets, in their texts and on cases.
///
/// That no case widens is no proof that nothing does.
///
/// # Errors
/// [`CaseError`] when a case lacks facts.
pub fn diff(old: &PolicySet, new: &PolicySet, cases: &Cases) -> Result<Diff, CaseError> {
    let (before, after) = (texts(old), texts(new));
    let missing_in = |set: &BTreeMap<String, String>, id: &&String| !set.contains_key(*id);
    let changed = before.iter().filter_map(|(id, old)| {
        let new = after.get(id).filter(|new| *new != old)?;
        Some(PolicyChange {
            id: id.clone(),
            old: old.clone(),
            new: new.clone(),
        })
    });
    let (old_engine, new_engine) = (Engine::new(old.clone()), Engine::new(new.clone()));
    let cases = cases.as_slice().iter().map(|case| {
        let old = decide(&old_engine, case)?;
        let new = decide(&new_engine, case)?;
        let access = match (old.allowed, new.allowed) {
            (false, true) => Access::Widened,
            (true, false) => Access::Narrowed,
            _ => Access::Same,
        };
        Ok(CaseChange {
            name: case.name.clone(),
            access,
            old,
            new,
        })
    });
    Ok(Diff {
        added: after
            .keys()
            .filter(|id| missing_in(&before, id))
            .cloned()
            .collect(),
        removed: before
            .keys()
            .filter(|id| missing_in(&after, id))
            .cloned()
            .collect(),
        changed: changed.collect(),
        settings_changed: old.settings() != new.settings(),
        cases: cases.collect::<Result<_, _>>()?,
    })
}

fn texts(set: &PolicySet) -> BTreeMap<String, String> {
    set.policies
        .policies()
        .map(|policy| (name(policy), policy.to_string()))
        .collect()
}

fn name(policy: &Policy) -> String {
    policy.id().to_string()
}
