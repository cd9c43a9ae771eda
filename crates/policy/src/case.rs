//! Questions with the answers their author expects, as a file.
//!
//! ```json
//! {"v":1, "defaults":{"node":{…},"wrap":{…},"key":{…},"circumstances":{…}},
//!  "cases":[{"name":"…","request":{"action":"Unwrap","node":{"revoked":true}},"expect":"deny","policies":["g1-revoked"]}]}
//! ```
//!
//! A request is merged into the defaults as RFC 7396 does it: `null` takes a member away.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::facts::{Circumstances, KeyFacts, NodeFacts, OperatorFacts, WrapFacts};
use crate::{Action, Decision, Engine, PolicyError, PolicySet};

/// A whole question: any action with the facts it needs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// What is asked for.
    #[serde(with = "action_name")]
    pub action: Action,
    /// Who asks, for `Unwrap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeFacts>,
    /// Who asks, for everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorFacts>,
    /// The wrap it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrap: Option<WrapFacts>,
    /// The key it is about, or that of the wrap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyFacts>,
    /// What surrounds the question.
    pub circumstances: Circumstances,
}

impl Engine {
    /// Decides any question.
    ///
    /// # Errors
    /// [`CaseError::Missing`] when the action needs facts that are not there.
    pub fn decide(&self, facts: &Facts) -> Result<Decision, CaseError> {
        let circumstances = &facts.circumstances;
        let node = || {
            facts
                .node
                .as_ref()
                .ok_or(CaseError::Missing { what: "node" })
        };
        let operator = || {
            facts
                .operator
                .as_ref()
                .ok_or(CaseError::Missing { what: "operator" })
        };
        let wrap = || {
            facts
                .wrap
                .as_ref()
                .ok_or(CaseError::Missing { what: "wrap" })
        };
        let key = || facts.key.as_ref().ok_or(CaseError::Missing { what: "key" });
        Ok(match facts.action {
            Action::Unwrap => self.decide_unwrap(node()?, wrap()?, key()?, circumstances),
            Action::Release(release) => {
                self.decide_operator_release(operator()?, release, wrap()?, key()?, circumstances)
            }
            Action::RegisterWrap => {
                self.decide_register_wrap(operator()?, wrap()?, key()?, circumstances)
            }
            Action::Key(action) => {
                self.decide_key_action(operator()?, action, key()?, circumstances)
            }
            Action::Holder(action) => self.decide_holder_action(operator()?, action, circumstances),
        })
    }
}

/// One question with its expected answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The question.
    pub facts: Facts,
    /// The answer.
    pub expect: Verdict,
    /// The policies that must determine it, if the author cares, in any order.
    pub policies: Option<Vec<String>>,
    /// Further policies to try out with this case. Nothing validates them, so that a case can show what an error does.
    pub extra: Option<String>,
}

/// The outcome that a case expects.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is allowed.
    Allow,
    /// It is denied.
    Deny,
}

/// The cases of one file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cases(Vec<Case>);

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    v: u64,
    #[serde(default)]
    defaults: Value,
    cases: Vec<FileCase>,
}

/// One case of the file, its request not yet merged into the defaults.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCase {
    name: String,
    request: Value,
    expect: Verdict,
    #[serde(default)]
    policies: Option<Vec<String>>,
    #[serde(default)]
    extra: Option<String>,
}

impl Cases {
    /// Reads a file of cases.
    ///
    /// # Errors
    /// [`CaseError`] naming the case that is not a question.
    pub fn from_json(octets: &[u8]) -> Result<Self, CaseError> {
        if octets.len() > MAX_CASES_LEN {
            return Err(CaseError::TooLong { len: octets.len() });
        }
        let file: File = serde_json::from_slice(octets).map_err(CaseError::Json)?;
        if file.v != 1 {
            return Err(CaseError::Version { found: file.v });
        }
        let cases = file.cases.into_iter().map(|case| {
            let FileCase {
                name,
                request,
                expect,
                policies,
                extra,
            } = case;
            let mut whole = file.defaults.clone();
            merge(&mut whole, request);
            match serde_json::from_value(whole) {
                Ok(facts) => Ok(Case {
                    name,
                    facts,
                    expect,
                    policies,
                    extra,
                }),
                Err(source) => Err(CaseError::Case {
                    name: name.into(),
                    source,
                }),
            }
        });
        Ok(Self(cases.collect::<Result<_, _>>()?))
    }

    /// Returns the cases in the order of the file.
    pub fn as_slice(&self) -> &[Case] {
        &self.0
    }
}

/// What became of one case.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct CaseResult {
    /// What the case shows.
    pub name: String,
    /// The answer its author expects.
    pub expect: Verdict,
    /// The decision.
    pub decision: Decision,
    /// Whether answer and policies are as expected.
    pub passed: bool,
}

/// Puts the questions of a file to a policy set.
///
/// # Errors
/// [`CaseError`] when the file is not one, or a case lacks facts. A decision that nobody expects is no error.
pub fn run_cases(set: &PolicySet, cases: &[u8]) -> Result<Vec<CaseResult>, CaseError> {
    let cases = Cases::from_json(cases)?;
    let engine = Engine::new(set.clone());
    cases
        .as_slice()
        .iter()
        .map(|case| run(&engine, case))
        .collect()
}

/// Puts one question.
pub(crate) fn run(engine: &Engine, case: &Case) -> Result<CaseResult, CaseError> {
    let decision = decide(engine, case)?;
    let expected = case.policies.clone().map(|mut ids| {
        ids.sort();
        ids
    });
    let passed = decision.allowed == (case.expect == Verdict::Allow)
        && expected.is_none_or(|ids| ids == decision.policies);
    Ok(CaseResult {
        name: case.name.clone(),
        expect: case.expect,
        decision,
        passed,
    })
}

/// Decides one case, with the policies it brings.
pub(crate) fn decide(engine: &Engine, case: &Case) -> Result<Decision, CaseError> {
    let Some(extra) = &case.extra else {
        return engine.decide(&case.facts);
    };
    let set = engine.policy_set().with_unvalidated(extra);
    let set = set.map_err(|source| CaseError::Extra {
        name: case.name.as_str().into(),
        source,
    })?;
    Engine::new(set).decide(&case.facts)
}

/// Why cases cannot be put to a policy set.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CaseError {
    /// More octets than anybody writes by hand.
    #[error("the cases have {len} octets, more than {MAX_CASES_LEN}")]
    TooLong {
        /// How many there are.
        len: usize,
    },

    /// Not a file of cases.
    #[error("the cases are not the JSON they should be")]
    Json(#[source] serde_json::Error),

    /// A version that this build does not know.
    #[error("the cases have version {found}, not 1")]
    Version {
        /// What it says.
        found: u64,
    },

    /// A case is not a question.
    #[error("case `{name}` is not a question")]
    Case {
        /// The name of the case.
        name: Box<str>,
        /// What is wrong with it.
        source: serde_json::Error,
    },

    /// The policies that a case brings cannot be read.
    #[error("case `{name}` brings policies that are none")]
    Extra {
        /// The name of the case.
        name: Box<str>,
        /// What is wrong with them.
        source: PolicyError,
    },

    /// The action needs facts that are not there.
    #[error("the action needs facts about a {what}")]
    Missing {
        /// What they are about.
        what: &'static str,
    },
}

/// Merges as RFC 7396 does it. Depth is bounded, as the reader of JSON bounds it.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(&name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// Actions as the schema names them.
mod action_name {
    use serde::de::{Deserialize, Deserializer, Error as _};
    use serde::ser::Serializer;

    use crate::Action;

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands over a reference"
    )]
    pub(super) fn serialize<S: Serializer>(action: &Action, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(action.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Action, D::Error> {
        let name = String::deserialize(from)?;
        Action::from_name(&name)
            .ok_or_else(|| D::Error::custom(format_args!("there is no action `{name}`")))
    }
}

/// Most octets of a file of cases.
const MAX_CASES_LEN: usize = 4 * 1024 * 1024;
