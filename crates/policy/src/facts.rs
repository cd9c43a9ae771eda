//! What a holder has verified before it asks for a decision.
//!
//! Every fact has one source (README, "Where facts come from"); none of them is ever taken from a request body.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::KeyState;

/// A node, as its verified certificate, the command store and posture services describe it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NodeFacts {
    /// The name in the certificate.
    pub node: String,
    /// The zone in the certificate.
    pub zone: String,
    /// The region in the certificate.
    pub region: String,
    /// The code of the jurisdiction in the certificate.
    pub jurisdiction: String,
    /// The newest statement of a posture service. Without one the score is 0 and as old as the Unix epoch.
    #[serde(default)]
    pub score: Option<Score>,
    /// First moment of the certificate, in Unix milliseconds.
    pub not_before_ms: i64,
    /// End of the certificate, in Unix milliseconds.
    pub not_after_ms: i64,
    /// Whether a command revokes the node.
    #[serde(default)]
    pub revoked: bool,
    /// The kind of trusted execution environment that verified evidence shows.
    #[serde(default)]
    pub tee: Option<String>,
}

/// What a posture service signed about a node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// 0 to 100.
    pub value: i64,
    /// The name of the posture service.
    pub asserted_by: String,
    /// When it looked, in Unix milliseconds. A moment in the future makes the statement count as none.
    pub observed_at_ms: i64,
}

/// A person, as the verified certificate and the command store describe them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorFacts {
    /// The name in the certificate.
    pub operator: String,
    /// The roles assigned. Whoever assigns one checks that nobody holds two.
    pub roles: Vec<Role>,
    /// The code of the jurisdiction in the certificate.
    pub jurisdiction: String,
    /// First moment of the certificate, in Unix milliseconds.
    pub not_before_ms: i64,
    /// End of the certificate, in Unix milliseconds.
    pub not_after_ms: i64,
    /// Whether a command revokes the person.
    #[serde(default)]
    pub revoked: bool,
}

/// What a person is there for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Role {
    /// Administers keys, policy, nodes and roles, and uses none of the keys.
    SecurityAdmin,
    /// Uses keys and administers nothing.
    CryptoUser,
    /// Reads.
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::SecurityAdmin, Self::CryptoUser, Self::Auditor];

    /// Returns the name in the schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SecurityAdmin => "SecurityAdmin",
            Self::CryptoUser => "CryptoUser",
            Self::Auditor => "Auditor",
        }
    }
}

/// A key, as the store of the holder describes it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFacts {
    /// The name of the key.
    pub id: String,
    /// Its state.
    pub state: KeyState,
    /// The newest epoch.
    pub epoch: u32,
    /// The oldest epoch that may still be opened.
    pub min_unwrap_epoch: u32,
    /// The codes of the jurisdictions the key may be used in. None, or `*` among them, stands for all that the policy set names.
    #[serde(default)]
    pub residency: Vec<String>,
    /// Whether the key serves wraps without a label.
    #[serde(default)]
    pub allow_unbound: bool,
}

/// One wrap, as its verified label describes it, or its registration when it has none.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WrapFacts {
    /// The digest of the wrap in hex.
    pub id: String,
    /// The repository, `host[:port]/path`.
    pub repo: String,
    /// The sealed thing, `kind:hex`.
    pub subject: String,
    /// The epoch of the key it was wrapped for.
    pub epoch: u32,
    /// Where the sealed thing may be opened.
    pub residency: Residency,
    /// The name of the policy set that the label demands, or `default`.
    pub policy: String,
    /// Whether the proof of the wrap verified, so that the label is what was wrapped.
    pub label_bound: bool,
}

/// Where a wrap may be opened.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub enum Residency {
    /// Wherever the policy set has jurisdictions: the `*` of a label.
    Any,
    /// In these jurisdictions only.
    Codes(Vec<String>),
}

impl From<Vec<String>> for Residency {
    fn from(codes: Vec<String>) -> Self {
        if codes.iter().any(|code| code == ANYWHERE) {
            return Self::Any;
        }
        Self::Codes(codes)
    }
}

impl From<Residency> for Vec<String> {
    fn from(residency: Residency) -> Self {
        match residency {
            Residency::Any => vec![ANYWHERE.to_owned()],
            Residency::Codes(codes) => codes,
        }
    }
}

/// What surrounds one question.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Circumstances {
    /// The clock of the holder, in Unix milliseconds.
    pub now_ms: i64,
    /// The peer of the socket.
    pub src: IpAddr,
    /// The code of the jurisdiction the holder is configured for.
    pub holder_jurisdiction: String,
    /// Whether the request is within its lease and not a replay.
    pub lease_fresh: bool,
    /// How many distinct people approved.
    pub approvals: u32,
}

/// What stands for all jurisdictions of a policy set.
pub(crate) const ANYWHERE: &str = "*";
