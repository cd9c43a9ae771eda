//! Why a policy set is refused.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

/// Why a policy set is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// More octets than anybody writes by hand.
    #[error("the policy set has {len} octets, more than {}", crate::MAX_SET_LEN)]
    TooLong {
        /// How many there are.
        len: usize,
    },

    /// Not the document that a policy set is.
    #[error("the policy set is not the JSON it should be")]
    Json(#[source] serde_json::Error),

    /// A version that this build does not know.
    #[error("the policy set has version {found}, not 1")]
    Version {
        /// What it says.
        found: u64,
    },

    /// The name is no name.
    #[error("`{name}` cannot name a policy set")]
    Name {
        /// What it says.
        name: Box<str>,
    },

    /// A setting has a value that means nothing.
    #[error("setting: `{setting}` {what}")]
    Setting {
        /// The setting, or the entry in it.
        setting: Box<str>,
        /// What is wrong with it.
        what: &'static str,
    },

    /// The policies are nested deeper than anybody writes by hand.
    #[error(
        "the policies are nested deeper than {} brackets",
        crate::policy_set::MAX_NESTING
    )]
    TooDeep,

    /// A policy chains more operators than anybody writes by hand.
    #[error(
        "a policy has more than {} operators",
        crate::policy_set::MAX_OPERATORS
    )]
    TooManyOperators,

    /// The policies are not Cedar.
    #[error("the policies are not valid Cedar")]
    Syntax(#[source] Box<cedar_policy::ParseErrors>),

    /// There are more policies than can be decided by in time.
    #[error("there are {found} policies, more than {}", crate::MAX_POLICIES)]
    TooMany {
        /// How many there are.
        found: usize,
    },

    /// Templates have no place in a signed set, as nobody could say what they are linked to.
    #[error("template `{id}`: only whole policies are allowed")]
    Template {
        /// The template.
        id: Box<str>,
    },

    /// A policy has no usable `@id`, so that nobody could be told that it decided.
    #[error("policy number {position} has no `@id` that is a name")]
    Unnamed {
        /// Its place in the text, from 1.
        position: usize,
    },

    /// Two policies have the same `@id`.
    #[error("two policies are called `{id}`")]
    Twice {
        /// The name.
        id: Box<str>,
    },

    /// Strict validation found something; warnings count.
    #[error("{}", Lines(findings))]
    Invalid {
        /// What it found, at least one thing.
        findings: Vec<Finding>,
    },

    /// The schema of this crate is broken; no input causes this.
    #[error("the schema of the policies is broken")]
    Schema(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What strict validation has against a policy.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// The `@id` of the policy, if it is one policy.
    pub policy: Option<String>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(policy) = &self.policy {
            write!(f, "policy `{policy}`: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Findings, one after the other.
struct Lines<'a>(&'a [Finding]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, finding) in self.0.iter().enumerate() {
            let gap = if at == 0 { "" } else { "; " };
            write!(f, "{gap}{finding}")?;
        }
        Ok(())
    }
}
