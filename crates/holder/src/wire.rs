//! What travels between nodes, operators and holders: JSON bodies of the holder API.
//!
//! Octets are base64url without padding ([`Octets`]). Signed things travel as the exact octets of their DSSE envelope.

use serde::{Deserialize, Serialize};

use crate::octets::Octets;

/// `POST /v1/keys/{id}/partials`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PartialsRequest {
    /// Octets of the DSSE-signed key request, exactly as recorded.
    pub request: Octets,
    /// One to [`MAX_WRAPS`] wraps of one key and epoch.
    pub wraps: Vec<WireWrap>,
    /// 16-octet salts, when the request commits to salted digests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salts: Option<Vec<Octets>>,
    /// `.tlog-proof` text, when the key's audit mode is `before`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// Attestation evidence that binds the ephemeral key; `posture` is the octets of a signed posture statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// A wrap in compact form, or the ephemeral key of an unlabelled JWE.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum WireWrap {
    /// Compact form (`SPEC.md` of the threshold crate, section 8).
    Compact(Octets),
    /// Section 13.1: the compressed point, 33 octets.
    Unlabelled {
        /// `enc(R1)`.
        epk: Octets,
    },
}

/// What a node shows about itself beside its certificate.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Octets of a DSSE envelope with a [`Posture`](crate::statement::Posture).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posture: Option<Octets>,
}

/// Answer to [`PartialsRequest`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PartialsAnswer {
    /// SHA-256(00 || request octets).
    pub request_hash: Octets,
    /// One per wrap, in order.
    pub answers: Vec<WrapAnswer>,
    /// Octets of the DSSE-signed release receipt (`key-release`).
    pub receipt: Octets,
}

/// One wrap's answer: a sealed partial or the reason why there is none.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum WrapAnswer {
    /// Sealed to the request's ephemeral key.
    Sealed {
        /// SHA-256 of the compact wrap.
        wrap_digest: Octets,
        /// HPKE encapsulated key.
        enc: Octets,
        /// HPKE ciphertext of the compact partial, of a share, or of both, as the suite has it.
        ct: Octets,
    },
    /// Refused. One refusal does not fail the others.
    Refused {
        /// SHA-256 of the compact wrap.
        wrap_digest: Octets,
        /// Why.
        error: Code,
    },
}

/// Error body.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ErrorBody {
    /// What the caller can act on; detail is in the audit row only.
    pub code: Code,
    /// Equals the header `request-id`.
    pub request_id: String,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $status:literal,)*) => {
        /// Error codes of the holder API (`key-holders.md`, section 5).
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
        #[non_exhaustive]
        pub enum Code { $($(#[doc = $doc])* $name,)* /// A code of a later version.
            #[serde(other)] Unknown }
        impl Code {
            /// Returns the HTTP status.
            pub const fn status(self) -> u16 { match self { $(Self::$name => $status,)* Self::Unknown => 500 } }
            /// Returns the name as it is written.
            pub const fn as_str(self) -> &'static str { match self { $(Self::$name => stringify!($name),)* Self::Unknown => "Unknown" } }
        }
    };
}

codes! {
    /// Malformed body, wrap, label, point or scalar.
    BadRequest = 400,
    /// No or unusable client certificate.
    Unauthenticated = 401,
    /// Policy denies; also for unknown keys without the right to describe.
    Forbidden = 403,
    /// Only for callers with the right to describe.
    KeyNotFound = 404,
    /// The key is disabled.
    KeyDisabled = 409,
    /// The key waits for its deletion.
    KeyPendingDeletion = 409,
    /// The key waits for shares.
    KeyPendingImport = 409,
    /// The operation is not for this state.
    InvalidState = 409,
    /// The key is protected from deletion.
    DeletionProtected = 409,
    /// Stale command version.
    VersionConflict = 409,
    /// The wrap is registered for another repository.
    AlreadyRegistered = 409,
    /// The command is for another deployment.
    OtherDeployment = 409,
    /// Suite or key differ, or the request does not commit to this wrap.
    LabelMismatch = 422,
    /// The wrap's proof or a signature does not verify.
    ProofInvalid = 422,
    /// Same request and wrap again outside the lease, or a request out of its time.
    ReplayDetected = 409,
    /// Too many; see `Retry-After`.
    QuotaExceeded = 429,
    /// Fewer than t holders answered (client side).
    QuorumUnavailable = 503,
    /// No policy, or one that is too old.
    PolicyStale = 503,
    /// The store cannot be written.
    StoreUnavailable = 503,
    /// The audit row is not durable.
    AuditUnavailable = 503,
    /// The transparency log cannot be used.
    LogUnavailable = 503,
    /// A body over [`MAX_BODY_LEN`].
    TooLarge = 413,
    /// No such path.
    NotFound = 404,
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `GET /v1/keys/{id}`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct KeyAnswer {
    /// Octets of the signed descriptor; absent before there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<Octets>,
    /// As in `key-holders.md`, section 2.
    pub state: String,
    /// Lowest epoch that is still opened.
    pub min_unwrap_epoch: u32,
}

/// `POST /v1/keys/{id}/registrations`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrationRequest {
    /// Epoch of the key.
    pub epoch: u32,
    /// The repository, `host[:port]/path`.
    pub repo: String,
    /// One to [`MAX_WRAPS`] ephemeral keys of JWEs, compressed points of 33 octets.
    pub epks: Vec<Octets>,
}

/// Answer to [`RegistrationRequest`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RegistrationAnswer {
    /// The repository.
    pub repo: String,
    /// Digests of the wraps that are registered for it, ascending.
    pub wrap_digests: Vec<Octets>,
}

/// `POST /v1/commands`: operators send one, holders any number up to [`MAX_COMMANDS`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CommandsRequest {
    /// Octets of DSSE envelopes.
    pub commands: Vec<Octets>,
}

/// Answer to [`CommandsRequest`]; 200 when in force, 202 while pending.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CommandsAnswer {
    /// What the commands are now.
    pub status: CommandStatus,
    /// How many holders have applied them durably (for holders among themselves: 1).
    pub applied: usize,
    /// How many are needed.
    pub needed: usize,
    /// Names of the holders that confirmed.
    pub holders: Vec<String>,
    /// One per command, in order.
    pub results: Vec<CommandResult>,
    /// Among holders: for one command, what the answering holder knows to be needed; so that one which lags does not take
    /// for enough what is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Vec<Need>>,
}

/// So many of these holders.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Need {
    /// How many.
    pub count: usize,
    /// Of whom.
    pub holders: std::collections::BTreeSet<String>,
}

/// Whether a command is in force.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum CommandStatus {
    /// In force: no quorum can be found that does not know.
    #[serde(rename = "EFFECTIVE")]
    Effective,
    /// Applied here, not yet at enough holders.
    #[serde(rename = "PENDING")]
    Pending,
    /// Refused.
    #[serde(rename = "REFUSED")]
    Refused,
}

/// What became of one command at the holder that answers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CommandResult {
    /// Hex SHA-256 of the command's payload.
    pub digest: String,
    /// Its version.
    pub version: u64,
    /// Absent when it was applied or known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Code>,
}

/// `GET /v1/commands?since=N`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CommandsPage {
    /// To be given as `since` next time.
    pub next: u64,
    /// Octets of DSSE envelopes, in the order in which this holder applied them.
    pub commands: Vec<Octets>,
}

/// `POST /v1/enrol`: a node's first certificate at its home holder; at every other holder the node's key is pinned.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolRequest {
    /// Octets of a DSSE envelope with an [`Enrolment`](crate::statement::Enrolment), signed by the join key.
    pub enrolment: Octets,
    /// DER of a PKCS#10 request whose key is the enrolment's.
    pub csr: Octets,
}

/// `POST /v1/certificates`: renewal over the current mTLS identity; the key stays the same.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateRequest {
    /// DER of a PKCS#10 request.
    pub csr: Octets,
}

/// Answer to [`EnrolRequest`] and [`CertificateRequest`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CertificateAnswer {
    /// PEM, leaf first; empty at holders that are not the node's home.
    pub certificate: String,
    /// PEM of the authorities of all holders.
    pub bundle: String,
    /// Unix seconds.
    pub not_after: u64,
}

/// `POST /v1/keys` and `POST /v1/keys/{id}/shares`: one step of a ceremony.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CeremonyRequest {
    /// Names one run of a ceremony: 16 random octets in hex, chosen by the coordinator.
    pub ceremony: String,
    /// Which step.
    pub step: Step,
    /// Octets of the DSSE envelope of the command that ordered the ceremony (`create-key`, `refresh-key`, `reshare-key`, `repair-key`, `import-key`).
    pub command: Octets,
    /// Octets of DSSE envelopes with [`CeremonyMessage`](crate::statement::CeremonyMessage)s of other holders.
    #[serde(default)]
    pub messages: Vec<Octets>,
    /// The candidate descriptor (unsigned JSON), for [`Step::Accept`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<Octets>,
}

/// Steps; each ceremony goes through those of its kind in order.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// DKG: public package of round 1.
    DkgRound1,
    /// DKG: takes all round-1 packages, gives sealed packages of round 2.
    DkgRound2,
    /// DKG: takes the sealed packages, stores the candidate share.
    DkgFinish,
    /// Refresh or reshare: an old holder deals.
    Deal,
    /// Refresh or reshare: a receiver checks, sums, stores the candidate share.
    Collect,
    /// Repair: a survivor splits.
    RepairSplit,
    /// Repair: a survivor sums.
    RepairSum,
    /// Repair: the loser sums and checks.
    RepairFinish,
    /// BYOK: the dealer's sealed share.
    Import,
    /// Suite without a shared scalar: makes the holder's key for sealed shares, stores it as the candidate.
    KemKey,
    /// Checks the candidate share against the candidate descriptor and signs an acceptance.
    Accept,
}

/// Answer to [`CeremonyRequest`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CeremonyAnswer {
    /// Octets of DSSE envelopes signed by the answering holder; none when it refused.
    pub messages: Vec<Octets>,
    /// Why the holder did not take the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

/// Why a holder did not take a step of a ceremony: told to the coordinator, who has to find out whom to repair.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Refusal {
    /// What the caller can act on.
    pub code: Code,
    /// The reason in words.
    pub reason: String,
    /// Names of those who caused it.
    #[serde(default)]
    pub culprits: Vec<String>,
}

/// `GET /v1/audit?since=N&limit=N`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AuditPage {
    /// To be given as `since` next time.
    pub next: u64,
    /// Rows in order.
    pub rows: Vec<crate::audit_row::AuditRow>,
    /// Chain hash after the last row of the store.
    pub head: Octets,
}

/// Most wraps of one request.
pub const MAX_WRAPS: usize = 128;
/// Most commands of one request.
pub const MAX_COMMANDS: usize = 256;
/// Most octets of a body.
pub const MAX_BODY_LEN: usize = 1024 * 1024;
