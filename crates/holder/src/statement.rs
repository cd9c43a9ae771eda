//! Signed statements: what stands inside DSSE envelopes, and their payload types.
//!
//! Key requests and release receipts are in-toto Statements v1 whose predicate maps to in-toto Link v0.3.

use serde::{Deserialize, Serialize};

use crate::deployment::DeploymentId;
use crate::octets::Octets;

/// In-toto Statement v1.
pub const STATEMENT: &str = "application/vnd.in-toto+json";
/// Predicate type of key requests and receipts.
pub const IMAGE_EVENT: &str = "https://sealift.dev/attestation/image-event/v1";
/// A [`CommandBody`](crate::command::Command).
pub const COMMAND: &str = "application/vnd.sealift.command.v1+json";
/// A key descriptor (`SPEC.md` of the threshold crate, section 6), signed by two administrators.
pub const KEY_DESCRIPTOR: &str = "application/vnd.sealift.key-descriptor.v1+json";
/// A [`HolderDescriptor`], signed by the holder itself.
pub const HOLDER_DESCRIPTOR: &str = "application/vnd.sealift.holder-descriptor.v1+json";
/// A [`Posture`].
pub const POSTURE: &str = "application/vnd.sealift.posture.v1+json";
/// An [`Enrolment`], signed by the join key.
pub const ENROLMENT: &str = "application/vnd.sealift.enrolment.v1+json";
/// A [`CeremonyMessage`], signed by a holder (or by the dealer of a BYOK import).
pub const CEREMONY: &str = "application/vnd.sealift.ceremony.v1+json";

/// `predicate.keyRequest` of a key request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRequest {
    /// The key.
    pub key_id: String,
    /// Its epoch.
    pub epoch: u32,
    /// Digests of the wraps (or of the unlabelled requests), in the order of the body; or [`wrap_commitments`](Self::wrap_commitments).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wraps: Vec<Octets>,
    /// SHA-256(salt || wrap digest), in the order of the body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wrap_commitments: Vec<Octets>,
    /// The node's ephemeral HPKE public key.
    pub ephemeral_key: Octets,
    /// 0x0010 or 0x647A.
    pub kem: u16,
    /// 32 fresh random octets.
    pub nonce: Octets,
    /// How long the node may keep what is released.
    pub lease_seconds: u32,
    /// Why, for the record and for policy; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub justification: String,
}

/// `predicate.keyRelease` of a receipt.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRelease {
    /// Leaf hash of the request.
    pub request_leaf: Octets,
    /// Name of the holder.
    pub holder: String,
    /// Generation of its share.
    pub generation: u32,
    /// One per wrap of the request, in order.
    pub releases: Vec<Release>,
    /// SHA-256 of the policy set that decided.
    pub policy_hash: Octets,
    /// Unix milliseconds.
    pub lease_until: u64,
}

/// One wrap's outcome in a receipt.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Release {
    /// Digest of the wrap.
    pub wrap_digest: Octets,
    /// SHA-256 of what is sealed to the node; absent when refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_digest: Option<Octets>,
    /// `allow` or `deny`.
    pub decision: String,
}

/// What a posture service says about a node (`holders-cli.md`).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Posture {
    /// The node's name.
    pub node: String,
    /// 0 to 100.
    pub score: u8,
    /// Network zone the service saw it in.
    pub zone: String,
    /// Whether its disk is encrypted, if known.
    pub disk_encrypted: Option<bool>,
    /// Unix milliseconds.
    pub observed_at: u64,
    /// Name of the service.
    pub source: String,
}

/// A node claims its place: signed with the one-time join key whose public half an administrator admitted.
///
/// Every holder pins the node's key by this statement, so no holder's authority can make a twin of a node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// The node's name.
    pub node: String,
    /// DER of the SubjectPublicKeyInfo of the node's own key (P-256).
    pub spki: Octets,
    /// Unix milliseconds.
    pub issued_at: u64,
}

/// Who a holder is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HolderDescriptor {
    /// 1.
    pub v: u8,
    /// The deployment it is a holder of.
    pub deployment: DeploymentId,
    /// Short name, `[a-z0-9][a-z0-9-]{0,30}`.
    pub name: String,
    /// Index of the holder in every key, 1..=255, unique in a deployment.
    pub index: u8,
    /// ISO 3166 code.
    pub jurisdiction: String,
    /// `https://host:port`.
    pub url: String,
    /// PEM of its authority.
    pub ca: String,
    /// DER of the SubjectPublicKeyInfo that signs receipts, ceremony messages and this.
    pub signing_key: Octets,
    /// HPKE public key (P-256, uncompressed, 65 octets) that shares are sealed to.
    pub hpke_key: Octets,
}

/// A message of a ceremony.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CeremonyMessage {
    /// As in the request.
    pub ceremony: String,
    /// The key.
    pub key_id: String,
    /// Its epoch.
    pub epoch: u32,
    /// The generation that is being made.
    pub generation: u32,
    /// Step that produced it.
    pub step: crate::wire::Step,
    /// Index of the sender (0 for the dealer of an import).
    pub from: u8,
    /// Index of the receiver; 0 for everybody.
    pub to: u8,
    /// SHA-256 of everything of the round before that the sender relies on (the one consistent view).
    pub view: Octets,
    /// Public octets.
    #[serde(default)]
    pub public: Octets,
    /// HPKE encapsulated key, when there is something confidential.
    #[serde(default)]
    pub enc: Octets,
    /// HPKE ciphertext.
    #[serde(default)]
    pub ct: Octets,
    /// The sender's own X-Wing public key for sealed shares, where what it keeps of the key has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kem_public_key: Option<Octets>,
}
