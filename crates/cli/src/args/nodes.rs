//! `node`, `revoke`, `agent`, `policy`, `posture`, `audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
#[cfg(unix)]
use sealift_oci::Platform;

#[cfg(unix)]
use super::common::RegistryArgs;
use super::holders::{ChangeArgs, DeploymentArgs, IdentityArgs};

/// Nodes: the machines that may open images.
#[derive(Args, Debug)]
#[command(after_help = NODE_EXAMPLES, after_long_help = NODE_EXAMPLES)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    pub(crate) command: NodeCommand,
}

const NODE_EXAMPLES: &str = "\
Examples:
  sealift node token --name tokyo-7 --region ap-northeast-1 --zone prod --jurisdiction JP --home nrt \\
    --reason 'new rack' --sign-with alice.pem -o token
  sealift agent enrol --token token --holders holders.toml --dir /var/lib/sealift     (on the node)
  sealift node revoke tokyo-7 --reason 'stolen' --sign-with alice.pem";

/// `node …`
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    Token(NodeTokenArgs),
    List(NodeListArgs),
    Show(NodeShowArgs),
    Revoke(NodeRevokeArgs),
    Unrevoke(NodeUnrevokeArgs),
}

/// Admits a node, and prints the token with which it joins once.
///
/// Tells every holder who the node is, signed by an administrator; nothing in it comes from the node itself. The token
/// holds a private key that serves for one enrolment: hand it over on a protected way.
#[derive(Args, Debug)]
#[command(after_help = TOKEN_EXAMPLES, after_long_help = TOKEN_EXAMPLES)]
pub(crate) struct NodeTokenArgs {
    /// Name of the node
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,

    /// Cloud or site region
    #[arg(long, value_name = "REGION")]
    pub(crate) region: String,

    /// Network zone
    #[arg(long, value_name = "ZONE")]
    pub(crate) zone: String,

    /// ISO 3166 code of the jurisdiction it stands in
    #[arg(long, value_name = "CODE")]
    pub(crate) jurisdiction: String,

    /// Holder whose authority signs its certificates [default: the first of the same jurisdiction, else the first]
    #[arg(long, value_name = "HOLDER")]
    pub(crate) home: Option<String>,

    /// How long the token serves: a number with s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    pub(crate) ttl: std::time::Duration,

    /// Write the token to this new file, readable for you alone, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) change: ChangeArgs,

    #[command(flatten)]
    pub(crate) deployment: DeploymentArgs,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
}

const TOKEN_EXAMPLES: &str = "\
Examples:
  sealift node token --name tokyo-7 --region ap-northeast-1 --zone prod --jurisdiction JP --ttl 15m \\
    --reason 'new rack' --sign-with alice.pem -o token

Next, on the node: `sealift agent enrol --token token --holders holders.toml --dir DIR`.";

/// Reads a number with a unit, as people write a time.
fn duration(text: &str) -> Result<std::time::Duration, &'static str> {
    const WRONG: &str = "write a number with s, m, h or d, such as 15m";
    let unit = text.chars().last().ok_or(WRONG)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(WRONG),
    };
    let number: u64 = text.trim_end_matches(unit).parse().map_err(|_| WRONG)?;
    match number.checked_mul(seconds) {
        Some(seconds @ 1..=MAX_TTL) => Ok(std::time::Duration::from_secs(seconds)),
        _ => Err("at least one second and at most 30 days"),
    }
}

/// Longest life of a join token, in seconds.
const MAX_TTL: u64 = 30 * 86_400;

/// Lists the nodes that holders know.
#[derive(Args, Debug)]
#[command(after_help = NODE_LIST_EXAMPLES, after_long_help = NODE_LIST_EXAMPLES)]
pub(crate) struct NodeListArgs {
    #[command(flatten)]
    pub(crate) deployment: DeploymentArgs,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
}

const NODE_LIST_EXAMPLES: &str = "\
Examples:
  sealift node list --as alice.pem
  sealift node list --as alice.pem --json | jq -r '.nodes[] | select(.state == \"revoked\") | .name'";

/// Shows what the holders know about one node.
#[derive(Args, Debug)]
#[command(after_help = NODE_SHOW_EXAMPLES, after_long_help = NODE_SHOW_EXAMPLES)]
pub(crate) struct NodeShowArgs {
    /// Name of the node
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) deployment: DeploymentArgs,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
}

const NODE_SHOW_EXAMPLES: &str = "\
Examples:
  sealift node show tokyo-7 --as alice.pem";

/// Lets a node have nothing more.
///
/// Exits with 0 once no set of holders can be found that does not know. What the node has opened already it keeps;
/// its agent forgets its keys as soon as it hears.
#[derive(Args, Debug)]
#[command(after_help = REVOKE_EXAMPLES, after_long_help = REVOKE_EXAMPLES)]
pub(crate) struct NodeRevokeArgs {
    /// Name of the node
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) change: ChangeArgs,

    #[command(flatten)]
    pub(crate) deployment: DeploymentArgs,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
}

const REVOKE_EXAMPLES: &str = "\
Examples:
  sealift node revoke tokyo-7 --reason 'stolen' --sign-with alice.pem
  sealift revoke node tokyo-7 --reason 'stolen' --sign-with alice.pem";

/// Takes a revocation back; needs two administrators.
#[derive(Args, Debug)]
#[command(after_help = UNREVOKE_EXAMPLES, after_long_help = UNREVOKE_EXAMPLES)]
pub(crate) struct NodeUnrevokeArgs {
    /// Name of the node
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) change: ChangeArgs,

    #[command(flatten)]
    pub(crate) deployment: DeploymentArgs,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
}

const UNREVOKE_EXAMPLES: &str = "\
Examples:
  sealift node unrevoke tokyo-7 --reason 'found again' --sign-with alice.pem --sign-with bob.pem";

/// Takes something's rights away: `revoke node NAME` is `node revoke NAME`.
#[derive(Args, Debug)]
pub(crate) struct RevokeArgs {
    #[command(subcommand)]
    pub(crate) command: RevokeCommand,
}

/// `revoke …`
#[derive(Debug, Subcommand)]
pub(crate) enum RevokeCommand {
    Node(NodeRevokeArgs),
}

/// The node's resident: it holds the connections to the holders, and the keys of what runs.
///
/// `sealift-decoder` reaches holders through it alone.
#[derive(Args, Debug)]
#[command(after_help = AGENT_EXAMPLES, after_long_help = AGENT_EXAMPLES)]
pub(crate) struct AgentArgs {
    #[command(subcommand)]
    pub(crate) command: AgentCommand,
}

const AGENT_EXAMPLES: &str = "\
Examples:
  sealift agent enrol --token token --holders holders.toml --dir /var/lib/sealift
  sealift agent serve --dir /var/lib/sealift
  sealift agent prefetch registry.example/app:1
  sealift agent status";

/// `agent …`
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    Enrol(AgentEnrolArgs),
    #[cfg(unix)]
    Serve(AgentServeArgs),
    #[cfg(unix)]
    Status(AgentStatusArgs),
    #[cfg(unix)]
    Prefetch(AgentPrefetchArgs),
}

/// Makes the node's key and fetches its first certificate.
///
/// The private key is made here and never leaves. Every holder is told the public key, so that no single one can make
/// a twin of the node. Writes node.key, node.pem and a holders.toml that points to them below DIR.
#[derive(Args, Debug)]
#[command(after_help = ENROL_EXAMPLES, after_long_help = ENROL_EXAMPLES)]
pub(crate) struct AgentEnrolArgs {
    /// The join token, or a file that holds it (`sealift node token`)
    #[arg(
        long,
        value_name = "TOKEN|FILE",
        env = "SEALIFT_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: String,

    /// Folder of the node's credentials; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,

    #[command(flatten)]
    pub(crate) deployment: DeploymentArgs,
}

const ENROL_EXAMPLES: &str = "\
Examples:
  sealift agent enrol --token token --holders holders.toml --dir /var/lib/sealift

Next: `sealift agent serve --dir /var/lib/sealift`.";

/// Runs the agent until it is told to end.
///
/// Keeps connections warm and the certificate young, follows revocations, and serves `sealift-decoder` on its socket.
/// Keys are forgotten when the node is revoked or the holders fall silent.
#[cfg(unix)]
#[derive(Args, Debug)]
#[command(after_help = AGENT_SERVE_EXAMPLES, after_long_help = AGENT_SERVE_EXAMPLES)]
pub(crate) struct AgentServeArgs {
    /// Folder of the node's credentials (`sealift agent enrol`)
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,

    /// Socket to serve [default: the `agent` of the holders file, else DIR/agent.sock]
    #[arg(
        long,
        value_name = "SOCKET",
        env = "SEALIFT_AGENT",
        hide_env_values = true
    )]
    pub(crate) socket: Option<PathBuf>,

    /// How long an opened layer key is kept: a number with s, m or h
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub(crate) lease: std::time::Duration,

    /// containerd's root folder: keys of images are fetched as soon as their manifest arrives there
    ///
    /// They come while the layers are downloaded, so that nothing waits for the holders. Every fetched key is a release
    /// on the holders' records, whether the image is run or not.
    #[cfg(target_os = "linux")]
    #[arg(long, value_name = "DIR")]
    pub(crate) prefetch_from: Option<PathBuf>,

    /// User id that may use the socket besides root and our own (repeatable)
    #[arg(long = "allow-uid", value_name = "UID")]
    pub(crate) allow_uids: Vec<u32>,

    /// End when standard input ends
    #[arg(long, hide = true)]
    pub(crate) ends_with_stdin: bool,
}

#[cfg(unix)]
const AGENT_SERVE_EXAMPLES: &str = "\
Examples:
  sealift agent serve --dir /var/lib/sealift --socket /run/sealift/agent.sock
  sealift agent serve --dir /var/lib/sealift --prefetch-from /var/lib/containerd

Next: give `--agent /run/sealift/agent.sock` to sealift-decoder in containerd's stream processor stanza.";

/// Asks the agent how it is.
#[cfg(unix)]
#[derive(Args, Debug)]
#[command(after_help = AGENT_STATUS_EXAMPLES, after_long_help = AGENT_STATUS_EXAMPLES)]
pub(crate) struct AgentStatusArgs {
    /// The agent's socket
    #[arg(
        long,
        value_name = "SOCKET",
        env = "SEALIFT_AGENT",
        hide_env_values = true
    )]
    pub(crate) socket: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) deployment: DeploymentArgs,
}

#[cfg(unix)]
const AGENT_STATUS_EXAMPLES: &str = "\
Examples:
  sealift agent status --socket /run/sealift/agent.sock";

/// Has the agent fetch the keys of an image before it is pulled.
///
/// Reads the image's manifest, and asks the holders for the keys of all its layers in one request; they are kept as long as
/// a lease. Every key is a release on the holders' records, whether the image is run or not.
#[cfg(unix)]
#[derive(Args, Debug)]
#[command(after_help = AGENT_PREFETCH_EXAMPLES, after_long_help = AGENT_PREFETCH_EXAMPLES)]
pub(crate) struct AgentPrefetchArgs {
    /// The image
    #[arg(value_name = "REF")]
    pub(crate) reference: String,

    /// Platform of a multi-platform image (repeatable) [default: that of this machine]
    #[arg(long = "platform", value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platforms: Vec<Platform>,

    #[command(flatten)]
    pub(crate) registry: RegistryArgs,

    /// The agent's socket
    #[arg(
        long,
        value_name = "SOCKET",
        env = "SEALIFT_AGENT",
        hide_env_values = true
    )]
    pub(crate) socket: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) deployment: DeploymentArgs,
}

#[cfg(unix)]
const AGENT_PREFETCH_EXAMPLES: &str = "\
Examples:
  sealift agent prefetch registry.example/app:1 --socket /run/sealift/agent.sock";

/// Who may open what, when: Cedar policies that the holders decide by.
///
/// A policy file is JSON: {"v":1,"name":…,"cedar":"policies","settings":{…}}. Nothing is allowed that no policy permits,
/// a `forbid` wins, and an evaluation that fails is a denial.
#[cfg(feature = "server")]
#[derive(Args, Debug)]
#[command(after_help = POLICY_EXAMPLES, after_long_help = POLICY_EXAMPLES)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    pub(crate) command: PolicyCommand,
}

#[cfg(feature = "server")]
const POLICY_EXAMPLES: &str = "\
Examples:
  sealift policy new > policy.json
  sealift policy validate policy.json
  sealift policy test policy.json cases.json
  sealift policy diff policy.json changed.json --cases cases.json
  sealift policy push changed.json --reason 'night shift' --sign-with alice.pem --sign-with bob.pem";

/// `policy …`
#[cfg(feature = "server")]
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    New(PolicyNewArgs),
    Validate(PolicyValidateArgs),
    Push(PolicyPushArgs),
    Test(PolicyTestArgs),
    Explain(PolicyExplainArgs),
    Diff(PolicyDiffArgs),
}

/// Prints the starting-point policy set.
#[cfg(feature = "server")]
#[derive(Args, Debug)]
#[command(after_help = POLICY_NEW_EXAMPLES, after_long_help = POLICY_NEW_EXAMPLES)]
pub(crate) struct PolicyNewArgs {
    /// Name of the set
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) name: String,

    /// Jurisdictions of the deployment
    #[arg(long, value_name = "CODE[,CODE]", value_delimiter = ',')]
    pub(crate) jurisdictions: Vec<String>,

    /// Public key of a service that signs posture statements, named by its file
    #[arg(long = "posture-key", value_name = "NAME.pub.pem")]
    pub(crate) posture_keys: Vec<PathBuf>,
}

#[cfg(feature = "server")]
const POLICY_NEW_EXAMPLES: &str = "\
Examples:
  sealift policy new --jurisdictions DE,BR,JP --posture-key posture.pub.pem > policy.json

Next: change it, then `sealift policy validate policy.json`.";

/// Checks a policy set against the schema, strictly; prints its hash.
#[cfg(feature = "server")]
#[derive(Args, Debug)]
#[command(after_help = POLICY_VALIDATE_EXAMPLES, after_long_help = POLICY_VALIDATE_EXAMPLES)]
pub(crate) struct PolicyValidateArgs {
    /// The policy set
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[cfg(feature = "server")]
const POLICY_VALIDATE_EXAMPLES: &str = "\
Examples:
  sealift policy validate policy.json

Next: `sealift policy test policy.json cases.json`.";

/// Puts a policy set in force; needs two administrators.
#[cfg(feature = "server")]
#[derive(Args, Debug)]
#[command(after_help = POLICY_PUSH_EXAMPLES, after_long_help = POLICY_PUSH_EXAMPLES)]
pub(crate) struct PolicyPushArgs {
    /// The policy set
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) change: ChangeArgs,

    #[command(flatten)]
    pub(crate) deployment: DeploymentArgs,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
}

#[cfg(feature = "server")]
const POLICY_PUSH_EXAMPLES: &str = "\
Examples:
  sealift policy push policy.json --reason 'night shift' --sign-with alice.pem --sign-with bob.pem";

/// Decides cases and compares with what they expect; exits with 6 if one is decided otherwise.
#[cfg(feature = "server")]
#[derive(Args, Debug)]
#[command(after_help = POLICY_TEST_EXAMPLES, after_long_help = POLICY_TEST_EXAMPLES)]
pub(crate) struct PolicyTestArgs {
    /// The policy set
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// The cases
    #[arg(value_name = "CASES")]
    pub(crate) cases: PathBuf,
}

#[cfg(feature = "server")]
const POLICY_TEST_EXAMPLES: &str = "\
Examples:
  sealift policy test policy.json cases.json

Cases are JSON: {\"v\":1,\"defaults\":{…},\"cases\":[{\"name\":…,\"request\":{…},\"expect\":\"allow\"}]}.";

/// Says for one case how it is decided, and by which policies.
#[cfg(feature = "server")]
#[derive(Args, Debug)]
#[command(after_help = POLICY_EXPLAIN_EXAMPLES, after_long_help = POLICY_EXPLAIN_EXAMPLES)]
pub(crate) struct PolicyExplainArgs {
    /// The policy set
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// File with the case, or with several
    #[arg(value_name = "CASES")]
    pub(crate) cases: PathBuf,

    /// Only the case of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) case: Option<String>,
}

#[cfg(feature = "server")]
const POLICY_EXPLAIN_EXAMPLES: &str = "\
Examples:
  sealift policy explain policy.json cases.json --case 'a revoked node opens nothing'";

/// Compares two policy sets: which policies differ, and which cases are decided otherwise.
#[cfg(feature = "server")]
#[derive(Args, Debug)]
#[command(after_help = POLICY_DIFF_EXAMPLES, after_long_help = POLICY_DIFF_EXAMPLES)]
pub(crate) struct PolicyDiffArgs {
    /// The set in force
    #[arg(value_name = "OLD")]
    pub(crate) old: PathBuf,

    /// The set that shall replace it
    #[arg(value_name = "NEW")]
    pub(crate) new: PathBuf,

    /// Cases to decide by both
    #[arg(long, value_name = "CASES")]
    pub(crate) cases: Option<PathBuf>,
}

#[cfg(feature = "server")]
const POLICY_DIFF_EXAMPLES: &str = "\
Examples:
  sealift policy diff policy.json changed.json --cases cases.json";

/// Statements about the state of nodes.
#[derive(Args, Debug)]
pub(crate) struct PostureArgs {
    #[command(subcommand)]
    pub(crate) command: PostureCommand,
}

/// `posture …`
#[derive(Debug, Subcommand)]
pub(crate) enum PostureCommand {
    Sign(PostureSignArgs),
}

/// Signs a statement about a node, for tests and small sites.
///
/// Holders believe it for five minutes, and only if the policy in force names the key. A real posture service observes
/// the node itself, and signs the same form. Prints the signed statement.
#[derive(Args, Debug)]
#[command(after_help = POSTURE_EXAMPLES, after_long_help = POSTURE_EXAMPLES)]
pub(crate) struct PostureSignArgs {
    /// Name of the node
    #[arg(long, value_name = "NAME")]
    pub(crate) node: String,

    /// How well the node is: 0 to 100
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) score: u8,

    /// Private key of the posture service
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,

    /// Network zone the node was seen in
    #[arg(long, value_name = "ZONE", default_value = "")]
    pub(crate) zone: String,

    /// Whether its disk is encrypted [default: unknown]
    #[arg(long, value_name = "true|false")]
    pub(crate) disk_encrypted: Option<bool>,

    /// Name of the service
    #[arg(long, value_name = "NAME", default_value = "sealift")]
    pub(crate) source: String,

    /// Write to this file, atomically, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

const POSTURE_EXAMPLES: &str = "\
Examples:
  sealift posture sign --node tokyo-7 --score 90 --key posture.pem -o posture.dsse.json

Next: name the file as `posture` in the [client] section of the node's holders.toml.";

/// The record that every holder keeps: who asked for what, how it was decided, and why.
#[derive(Args, Debug)]
#[command(after_help = AUDIT_EXAMPLES, after_long_help = AUDIT_EXAMPLES)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

const AUDIT_EXAMPLES: &str = "\
Examples:
  sealift audit show --as auditor.pem --event refusal
  sealift audit export --as auditor.pem --holder fra > fra.jsonl
  sealift audit verify --as auditor.pem";

/// `audit …`
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    Show(AuditShowArgs),
    Export(AuditExportArgs),
    Verify(AuditVerifyArgs),
}

/// Which records, as whom.
#[derive(Args, Debug)]
pub(crate) struct AuditSourceArgs {
    /// Only this holder's record (repeatable) [default: all]
    #[arg(long = "holder", value_name = "NAME")]
    pub(crate) holder: Vec<String>,

    #[command(flatten)]
    pub(crate) deployment: DeploymentArgs,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
}

/// Shows rows of the record, the latest last.
#[derive(Args, Debug)]
#[command(after_help = AUDIT_SHOW_EXAMPLES, after_long_help = AUDIT_SHOW_EXAMPLES)]
pub(crate) struct AuditShowArgs {
    /// Only rows of this event: release, refusal, command, ceremony, …
    #[arg(long, value_name = "EVENT")]
    pub(crate) event: Option<String>,

    /// Only rows whose actor or subject is this: node:tokyo-7, operator:alice, key:default
    #[arg(long, value_name = "WHO|WHAT")]
    pub(crate) about: Option<String>,

    /// At most so many rows of each holder
    #[arg(long, value_name = "N", default_value = "20")]
    pub(crate) last: usize,

    #[command(flatten)]
    pub(crate) source: AuditSourceArgs,
}

const AUDIT_SHOW_EXAMPLES: &str = "\
Examples:
  sealift audit show --as auditor.pem --event refusal --about node:tokyo-7
  sealift audit show --as auditor.pem --holder fra --last 100";

/// Writes whole records, one row as JSON a line, each with the name of its holder.
#[derive(Args, Debug)]
#[command(after_help = AUDIT_EXPORT_EXAMPLES, after_long_help = AUDIT_EXPORT_EXAMPLES)]
pub(crate) struct AuditExportArgs {
    #[command(flatten)]
    pub(crate) source: AuditSourceArgs,
}

const AUDIT_EXPORT_EXAMPLES: &str = "\
Examples:
  sealift audit export --as auditor.pem --holder fra > fra.jsonl";

/// Fetches whole records and checks that nothing is missing or changed: positions and the chain of hashes.
///
/// Exits with 4 if a record is broken. Keep the heads it prints: a later record that does not contain them was rewritten.
#[derive(Args, Debug)]
#[command(after_help = AUDIT_VERIFY_EXAMPLES, after_long_help = AUDIT_VERIFY_EXAMPLES)]
pub(crate) struct AuditVerifyArgs {
    /// Head that the record must contain, as an earlier run printed it: HOLDER:SEQ:HASH (repeatable)
    #[arg(long = "contains", value_name = "HOLDER:SEQ:HASH")]
    pub(crate) contains: Vec<String>,

    #[command(flatten)]
    pub(crate) source: AuditSourceArgs,
}

const AUDIT_VERIFY_EXAMPLES: &str = "\
Examples:
  sealift audit verify --as auditor.pem | tee heads
  sealift audit verify --as auditor.pem $(sed 's/^/--contains /' heads)";
