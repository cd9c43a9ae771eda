//! Signed, versioned, idempotent commands: all state that holders share (`key-holders.md`, section 3).

use sealift_threshold::Suite;
use serde::{Deserialize, Serialize};

use crate::deployment::DeploymentId;
use crate::octets::Octets;

/// The payload of a command envelope.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// 1.
    pub v: u8,
    /// The deployment it is for: administrators may serve several.
    pub deployment: DeploymentId,
    /// `node:NAME`, `key:ID`, `policy`, `operator:NAME`.
    pub subject: String,
    /// Grows by one within a register (family of the kind, subject).
    pub version: u64,
    /// Unix milliseconds.
    pub issued_at: u64,
    /// Why; for the record. Never empty, at most 1024 octets.
    pub reason: String,
    /// What.
    #[serde(flatten)]
    pub order: Order,
}

/// What a command orders.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "kind", content = "body", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Order {
    /// The node gets nothing more.
    RevokeNode {},
    /// Takes a revocation back; two administrators.
    UnrevokeNode {},
    /// A node may enrol at its home holder and be known to all.
    AdmitNode(Admission),
    /// Creates a key by distributed generation; the ceremony follows.
    CreateKey(KeyPlan),
    /// A dealt key is announced.
    ImportKey(KeyPlan),
    /// New shares for the same holders; the generation that results.
    RefreshKey {
        /// Next generation.
        generation: u32,
    },
    /// New shares for other holders; two administrators.
    ReshareKey {
        /// Next generation.
        generation: u32,
        /// New threshold.
        threshold: u8,
        /// Names of the new holders.
        holders: Vec<String>,
        /// Names of the old holders that deal: exactly the old threshold.
        dealers: Vec<String>,
    },
    /// A holder's lost share is made again.
    RepairKey {
        /// Name of the holder that lost it.
        lost: String,
        /// Names of the survivors that help: exactly the threshold.
        helpers: Vec<String>,
    },
    /// The descriptor in force: signed by two administrators, with the acceptance of every holder in it.
    Descriptor {
        /// Octets of the descriptor's envelope.
        descriptor: Octets,
        /// Octets of envelopes with [`Step::Accept`](crate::wire::Step::Accept) messages, one per holder in it.
        acceptances: Vec<Octets>,
    },
    /// The key opens again.
    EnableKey {},
    /// The key opens nothing.
    DisableKey {},
    /// Epochs below open nothing.
    SetMinEpoch {
        /// Lowest epoch that is opened.
        epoch: u32,
    },
    /// The key is deleted after some days; two administrators.
    ScheduleDeletion {
        /// 7 to 30.
        days: u8,
    },
    /// The key is kept after all, disabled.
    CancelDeletion {},
    /// A whole policy set; two administrators.
    Policy {
        /// Octets of the set, as `sealift-policy` reads them.
        set: Octets,
    },
    /// Gives an operator a role, or takes it away.
    Role {
        /// DER of the operator's SubjectPublicKeyInfo.
        spki: Octets,
        /// `SecurityAdmin`, `CryptoUser`, `Auditor`; none takes the role away.
        role: Option<String>,
    },
}

/// Who a node is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Admission {
    /// Name of the holder whose authority signs its certificates.
    pub home: String,
    /// Cloud or site region.
    pub region: String,
    /// Network zone.
    pub zone: String,
    /// ISO 3166 code.
    pub jurisdiction: String,
    /// DER of the SubjectPublicKeyInfo of the one-time join key.
    pub join_key: Octets,
    /// Unix milliseconds until which the node may enrol.
    pub join_until: u64,
}

/// How a key is shared.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPlan {
    /// Epoch that results, from 1.
    pub epoch: u32,
    /// How many holders open.
    pub threshold: u8,
    /// Names of the holders.
    pub holders: Vec<String>,
    /// Whether the key serves unlabelled JWEs only.
    #[serde(default)]
    pub unbound: bool,
    /// The suite; the others than the default one follow drafts, and are made when asked for only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub suite: Suite,
    /// Jurisdictions whose nodes may open; empty: all.
    #[serde(default)]
    pub residency: Vec<String>,
    /// Whether deletion is refused.
    #[serde(default)]
    pub deletion_protection: bool,
}

fn is_default(suite: &Suite) -> bool {
    *suite == Suite::default()
}

/// Commands of one family and subject replace each other.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Family {
    /// Revocation of a node.
    NodeAccess,
    /// Admission of a node.
    NodeAdmission,
    /// Orders of ceremonies.
    KeyCeremony,
    /// The descriptor in force.
    KeyDescriptor,
    /// Enabled, disabled, being deleted.
    KeyState,
    /// Minimum epoch.
    KeyMinEpoch,
    /// The policy set.
    Policy,
    /// An operator's role.
    Role,
}

impl Order {
    /// Returns the register family.
    pub const fn family(&self) -> Family {
        match self {
            Self::RevokeNode {} | Self::UnrevokeNode {} => Family::NodeAccess,
            Self::AdmitNode(_) => Family::NodeAdmission,
            Self::CreateKey(_)
            | Self::ImportKey(_)
            | Self::RefreshKey { .. }
            | Self::ReshareKey { .. }
            | Self::RepairKey { .. } => Family::KeyCeremony,
            Self::Descriptor { .. } => Family::KeyDescriptor,
            Self::EnableKey {}
            | Self::DisableKey {}
            | Self::ScheduleDeletion { .. }
            | Self::CancelDeletion {} => Family::KeyState,
            Self::SetMinEpoch { .. } => Family::KeyMinEpoch,
            Self::Policy { .. } => Family::Policy,
            Self::Role { .. } => Family::Role,
        }
    }

    /// Returns whether it takes rights away: then it is in force once `n-t+1` holders have it, else once `t` have it.
    pub const fn is_restrictive(&self) -> bool {
        matches!(
            self,
            Self::RevokeNode {}
                | Self::DisableKey {}
                | Self::ScheduleDeletion { .. }
                | Self::SetMinEpoch { .. }
                | Self::Policy { .. }
                | Self::Role { .. }
        )
    }

    /// Returns how many administrators, distinct people, must have signed.
    pub const fn approvals(&self) -> usize {
        match self {
            Self::UnrevokeNode {}
            // Dealers hand out the whole key's worth before anybody signs a descriptor.
            | Self::ReshareKey { .. }
            | Self::Descriptor { .. }
            | Self::ScheduleDeletion { .. }
            | Self::Policy { .. }
            | Self::Role { .. } => 2,
            _ => 1,
        }
    }
}
