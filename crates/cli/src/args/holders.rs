//! Key holders: what their verbs share, and `holder` and `operator`.

#[cfg(feature = "server")]
use std::net::SocketAddr;
#[cfg(feature = "server")]
use std::num::NonZeroU8;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Where the holders are.
#[derive(Args, Debug)]
#[command(next_help_heading = "Key holders")]
pub(crate) struct DeploymentArgs {
    /// File that lists the key holders, their keys, and how this machine identifies itself
    #[arg(
        id = "deployment",
        long = "holders",
        visible_alias = "deployment",
        value_name = "FILE",
        env = "SEALIFT_HOLDERS",
        hide_env_values = true
    )]
    pub(crate) file: Option<PathBuf>,
}

/// The same where `--holders` names those that share a key.
#[derive(Args, Debug)]
#[command(next_help_heading = "Key holders")]
pub(crate) struct DeploymentFileArgs {
    /// File that lists the key holders, their keys, and how this machine identifies itself
    #[arg(
        id = "deployment",
        long = "deployment",
        value_name = "FILE",
        env = "SEALIFT_HOLDERS",
        hide_env_values = true
    )]
    pub(crate) file: Option<PathBuf>,
}

/// As whom the holders are asked.
#[derive(Args, Debug)]
#[command(next_help_heading = "Key holders")]
pub(crate) struct IdentityArgs {
    /// Operator to speak as: its private key, with its certificate beside it as NAME.crt [default: the 'client' of the
    /// holders file; for changes the first --sign-with]
    #[arg(
        long = "as",
        value_name = "NAME.pem",
        env = "SEALIFT_OPERATOR",
        hide_env_values = true
    )]
    pub(crate) operator: Option<PathBuf>,
}

/// What every change of shared state takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Change")]
pub(crate) struct ChangeArgs {
    /// Why, for the record of every holder
    #[arg(long, value_name = "TEXT", required = true)]
    pub(crate) reason: String,

    /// Private key of an administrator who approves (repeatable: what needs two people needs two keys)
    #[arg(
        long = "sign-with",
        value_name = "KEY.pem",
        required = true,
        env = "SEALIFT_SIGN_WITH",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub(crate) sign_with: Vec<PathBuf>,
}

/// A key holder: a service that keeps one share of a key, and answers nodes that may open an image.
///
/// A master key is shared over several holders and exists nowhere as a whole. Any THRESHOLD of them together let one
/// node open one image, each after its own decision and with its own record. `holder dev` starts a whole deployment on
/// this machine; it is the same code as production.
#[derive(Args, Debug)]
#[command(after_help = HOLDER_EXAMPLES, after_long_help = HOLDER_EXAMPLES)]
pub(crate) struct HolderArgs {
    #[command(subcommand)]
    pub(crate) command: HolderCommand,
}

const HOLDER_EXAMPLES: &str = "\
Begin, on one machine:
  sealift holder dev --dir D
  SEALIFT_HOLDERS=D/holders.toml sealift encrypt oci:app registry.example/app:1 -r holders:default

In production, on each holder's machine:
  sealift holder init --dir /var/lib/sealift --name fra --index 1 --jurisdiction DE \\
    --listen 0.0.0.0:7101 --url https://fra.holders.example:7101 \\
    --administrator alice.pub.pem --administrator bob.pub.pem --passphrase-file pass > fra.json
  (each further one: the same with --joining fra.json)
  sealift holder join --dir /var/lib/sealift gru.json nrt.json
  sealift holder serve --dir /var/lib/sealift";

/// `holder …`
#[derive(Debug, Subcommand)]
pub(crate) enum HolderCommand {
    #[cfg(feature = "server")]
    Init(HolderInitArgs),
    #[cfg(feature = "server")]
    Join(HolderJoinArgs),
    #[cfg(feature = "server")]
    Serve(HolderServeArgs),
    Status(HolderStatusArgs),
    #[cfg(feature = "server")]
    Backup(HolderBackupArgs),
    #[cfg(feature = "server")]
    Restore(HolderRestoreArgs),
    #[cfg(all(feature = "server", unix))]
    Dev(HolderDevArgs),
}

/// Makes a new holder: its identity, its regional authority, an empty store.
///
/// Writes everything below DIR, secrets sealed under the passphrase, and prints the holder's signed descriptor: give it
/// to the other holders (`sealift holder join`). The first holder begins a deployment; the others name its descriptor
/// (--joining), so that what administrators sign for one deployment is good in no other. The administrators named here are whom the holder obeys; it accepts no
/// command that they have not signed.
#[cfg(feature = "server")]
#[derive(Args, Debug)]
#[command(after_help = INIT_EXAMPLES, after_long_help = INIT_EXAMPLES)]
pub(crate) struct HolderInitArgs {
    /// Folder of the holder; must not hold one yet
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,

    /// Descriptor of a holder that is there already: the new one belongs to the same deployment. Only the first does without
    #[arg(long, value_name = "FIRST.json")]
    pub(crate) joining: Option<PathBuf>,

    /// Short name, unique among the holders
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,

    /// Number of the holder in every key, 1 to 255, unique among the holders and never given again
    #[arg(long, value_name = "N")]
    pub(crate) index: NonZeroU8,

    /// ISO 3166 code of the jurisdiction it stands in
    #[arg(long, value_name = "CODE")]
    pub(crate) jurisdiction: String,

    /// Address to listen at
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: SocketAddr,

    /// How others reach it [default: https://HOST:PORT]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,

    /// Public key of an administrator (repeatable; two people or more), NAME.pub.pem of `sealift operator new`
    #[arg(long = "administrator", value_name = "NAME.pub.pem", required = true)]
    pub(crate) administrators: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) seal: SealArgs,
}

#[cfg(feature = "server")]
const INIT_EXAMPLES: &str = "\
Examples:
  sealift holder init --dir fra --name fra --index 1 --jurisdiction DE --listen 127.0.0.1:7101 \\
    --administrator alice.pub.pem --administrator bob.pub.pem --passphrase-file pass > fra.json

  Another one of the same deployment
    sealift holder init --joining fra.json --dir gru --name gru --index 2 …  > gru.json

  With a passphrase that systemd hands over (LoadCredentialEncrypted=holder:…)
    sealift holder init … --seal credential:holder

Next: `sealift holder join --dir DIR OTHER.json…` with the descriptors of the other holders.";

/// What the secrets of a holder are sealed under.
#[cfg(feature = "server")]
#[derive(Args, Debug)]
pub(crate) struct SealArgs {
    /// Where the passphrase comes from that seals everything secret: `passphrase` (a file) or `credential:NAME` (systemd)
    #[arg(
        long,
        value_name = "HOW",
        default_value = "passphrase",
        env = "SEALIFT_HOLDER_SEAL",
        hide_env_values = true
    )]
    pub(crate) seal: SealFrom,

    /// File with the passphrase, less one final line end, for `--seal passphrase` [default: DIR/passphrase]
    #[arg(
        long,
        value_name = "FILE",
        env = "SEALIFT_HOLDER_PASSPHRASE_FILE",
        hide_env_values = true
    )]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// `--seal`.
#[cfg(feature = "server")]
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum SealFrom {
    /// A passphrase out of a file.
    Passphrase,
    /// `$CREDENTIALS_DIRECTORY/NAME`.
    Credential(String),
}

#[cfg(feature = "server")]
impl std::str::FromStr for SealFrom {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "passphrase" => Ok(Self::Passphrase),
            Some(("credential", name))
                if !name.is_empty() && name != ".." && !name.contains(['/', '\\', '\0']) =>
            {
                Ok(Self::Credential(name.to_owned()))
            }
            _ => Err("write `passphrase` or `credential:NAME`"),
        }
    }
}

/// Makes this holder know its peers.
///
/// Reads the signed descriptors of the other holders. Compare the fingerprints it prints with those that the other
/// holders' `init` printed: this is the one moment at which they are believed.
#[cfg(feature = "server")]
#[derive(Args, Debug)]
#[command(after_help = JOIN_EXAMPLES, after_long_help = JOIN_EXAMPLES)]
pub(crate) struct HolderJoinArgs {
    /// Folder of the holder
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,

    /// Descriptors of other holders, as their `init` printed them; its own is passed over
    #[arg(value_name = "DESCRIPTOR", required = true)]
    pub(crate) descriptors: Vec<PathBuf>,
}

#[cfg(feature = "server")]
const JOIN_EXAMPLES: &str = "\
Examples:
  sealift holder join --dir fra gru.json nrt.json

Next: `sealift holder serve --dir DIR`; a running holder reads its peers when it starts.";

/// Runs a holder until it is told to end.
///
/// Ctrl-C or SIGTERM lets requests in progress finish. Prints one line once it listens; its log goes to standard error.
/// DIR/holder.toml may have two more sections: `[quota]` with `burst` and `per_minute`, what a node may ask of a key, and
/// `[clock]` with `ntp = ["HOST[:PORT]", …]`: nothing is released while the clock is off by more than a second, or no server
/// has answered for ten minutes.
#[cfg(feature = "server")]
#[derive(Args, Debug)]
#[command(after_help = SERVE_EXAMPLES, after_long_help = SERVE_EXAMPLES)]
pub(crate) struct HolderServeArgs {
    /// Folder of the holder
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,

    #[command(flatten)]
    pub(crate) seal: SealArgs,

    /// Loopback address of /healthz and /metrics
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) local: Option<SocketAddr>,

    /// End when standard input ends
    #[arg(long, hide = true)]
    pub(crate) ends_with_stdin: bool,
}

#[cfg(feature = "server")]
const SERVE_EXAMPLES: &str = "\
Examples:
  sealift holder serve --dir fra --passphrase-file pass
  sealift holder serve --dir D/fra          one of `sealift holder dev --dir D` that had ended

Next: `sealift holder status` asks all of them.";

/// Asks every holder how it is.
///
/// Shows for each whether it answers, and the state of every key as it sees it. Exits with 5 if one does not answer.
#[derive(Args, Debug)]
#[command(after_help = STATUS_EXAMPLES, after_long_help = STATUS_EXAMPLES)]
pub(crate) struct HolderStatusArgs {
    #[command(flatten)]
    pub(crate) deployment: DeploymentArgs,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
}

const STATUS_EXAMPLES: &str = "\
Examples:
  sealift holder status --holders D/holders.toml
  sealift holder status --json | jq '.holders[] | select(.reachable | not) | .name'";

/// Writes a backup of a holder: its store, sealed as it is.
///
/// Works while the holder runs. The file opens only with the holder's passphrase, and holds one share of each key.
#[cfg(feature = "server")]
#[derive(Args, Debug)]
#[command(after_help = BACKUP_EXAMPLES, after_long_help = BACKUP_EXAMPLES)]
pub(crate) struct HolderBackupArgs {
    /// Folder of the holder
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,

    /// The file to write; must not exist
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[cfg(feature = "server")]
const BACKUP_EXAMPLES: &str = "\
Examples:
  sealift holder backup --dir fra fra.backup

Next: keep it in the same jurisdiction; never keep the backups of two holders in one place.";

/// Makes a holder again from its backup.
///
/// What happened after the backup comes back from the other holders: commands by gossip; a share of a later generation
/// by `sealift key repair`.
#[cfg(feature = "server")]
#[derive(Args, Debug)]
#[command(after_help = RESTORE_EXAMPLES, after_long_help = RESTORE_EXAMPLES)]
pub(crate) struct HolderRestoreArgs {
    /// Folder of the holder; must not hold one
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,

    /// The backup
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[cfg(feature = "server")]
const RESTORE_EXAMPLES: &str = "\
Examples:
  sealift holder restore --dir fra fra.backup
  sealift holder serve --dir fra --passphrase-file pass";

/// Runs a whole deployment on this machine, for trials and tests.
///
/// Starts the holders as processes of their own on loopback, makes two administrators (alice, bob), a crypto user and an
/// auditor, generates the key by the holders' own ceremony, pushes the starting-point policy, admits and enrols a node,
/// and starts that node's agent on DIR/agent.sock. Writes DIR/holders.toml (the node's view) and DIR/admin.toml (the
/// administrators'), prints `ready`, and runs until Ctrl-C; everything ends with it. With a DIR that was served before
/// it serves it again. Only the ceremony is automated: all the keys lie in one folder, so protect nothing with it.
#[cfg(all(feature = "server", unix))]
#[derive(Args, Debug)]
#[command(after_help = DEV_EXAMPLES, after_long_help = DEV_EXAMPLES)]
pub(crate) struct HolderDevArgs {
    /// Folder of the deployment; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,

    /// How many holders: fra, gru, nrt, then syd and iad
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub(crate) holders: u8,

    /// How many of them must agree to open
    #[arg(long, value_name = "T", default_value = "2", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub(crate) threshold: u8,

    /// Name of the key
    #[arg(long, value_name = "ID", default_value = "default")]
    pub(crate) key: String,

    /// Also make a key of this name that opens images sealed by stock tools for its public key
    #[arg(long, value_name = "ID")]
    pub(crate) unbound: Option<String>,

    /// Holders that share the key, when not all of them do: the others wait for a reshare
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub(crate) sharing: Option<u8>,

    /// End when standard input ends
    #[arg(long, hide = true)]
    pub(crate) ends_with_stdin: bool,
}

#[cfg(all(feature = "server", unix))]
const DEV_EXAMPLES: &str = "\
Examples:
  sealift holder dev --dir D &
  export SEALIFT_HOLDERS=D/holders.toml SEALIFT_AGENT=D/agent.sock
  sealift encrypt oci:app registry.example/app:1 -r holders:default
  sealift decrypt registry.example/app:1 oci:opened -k holders:default

As an administrator
  sealift node revoke dev-1 --deployment D/admin.toml --reason 'stolen' --sign-with D/alice.pem

A holder that has ended, as by `kill -9 $(cat D/fra.pid)`, comes back with
  sealift holder serve --dir D/fra";

/// People who work with the holders: administrators, crypto users, auditors.
///
/// An operator is a key pair. The holders know administrators from their beginning (`sealift holder init`), all others
/// by a command that two administrators signed. Nobody holds two roles.
#[derive(Args, Debug)]
#[command(after_help = OPERATOR_EXAMPLES, after_long_help = OPERATOR_EXAMPLES)]
pub(crate) struct OperatorArgs {
    #[command(subcommand)]
    pub(crate) command: OperatorCommand,
}

const OPERATOR_EXAMPLES: &str = "\
Examples:
  sealift operator new alice -o keys
  sealift operator grant carol --role crypto-user --key carol.pub.pem \\
    --reason 'release team' --sign-with alice.pem --sign-with bob.pem";

/// `operator …`
#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    New(OperatorNewArgs),
    Grant(OperatorGrantArgs),
    Withdraw(OperatorWithdrawArgs),
}

/// Makes the key and the certificate of an operator.
///
/// Writes NAME.pem, the private key (readable for you alone), NAME.pub.pem, which holders and colleagues need, and
/// NAME.crt, a certificate the key signed itself: holders believe the key they know, not who signed. Never overwrites.
#[derive(Args, Debug)]
#[command(after_help = OPERATOR_NEW_EXAMPLES, after_long_help = OPERATOR_NEW_EXAMPLES)]
pub(crate) struct OperatorNewArgs {
    /// Name of the person or service
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    /// Folder of the files
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) output: PathBuf,
}

const OPERATOR_NEW_EXAMPLES: &str = "\
Examples:
  sealift operator new alice -o keys

Next: `sealift holder init … --administrator keys/alice.pub.pem`, or `sealift operator grant alice …`.";

/// Gives an operator a role; needs two administrators.
#[derive(Args, Debug)]
#[command(after_help = GRANT_EXAMPLES, after_long_help = GRANT_EXAMPLES)]
pub(crate) struct OperatorGrantArgs {
    /// Name of the operator, as in its certificate
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    /// What the operator may do
    #[arg(long, value_enum, value_name = "ROLE")]
    pub(crate) role: RoleName,

    /// Public key of the operator
    #[arg(long, value_name = "NAME.pub.pem")]
    pub(crate) key: PathBuf,

    #[command(flatten)]
    pub(crate) change: ChangeArgs,

    #[command(flatten)]
    pub(crate) deployment: DeploymentArgs,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
}

const GRANT_EXAMPLES: &str = "\
Examples:
  sealift operator grant carol --role crypto-user --key carol.pub.pem \\
    --reason 'release team' --sign-with alice.pem --sign-with bob.pem";

/// Takes an operator's role away; needs two administrators.
#[derive(Args, Debug)]
#[command(after_help = WITHDRAW_EXAMPLES, after_long_help = WITHDRAW_EXAMPLES)]
pub(crate) struct OperatorWithdrawArgs {
    /// Name of the operator
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    /// Public key of the operator
    #[arg(long, value_name = "NAME.pub.pem")]
    pub(crate) key: PathBuf,

    #[command(flatten)]
    pub(crate) change: ChangeArgs,

    #[command(flatten)]
    pub(crate) deployment: DeploymentArgs,

    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
}

const WITHDRAW_EXAMPLES: &str = "\
Examples:
  sealift operator withdraw carol --key carol.pub.pem \\
    --reason 'left the company' --sign-with alice.pem --sign-with bob.pem";

/// `--role`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum RoleName {
    /// Keys, policy, nodes, roles; never opens anything
    SecurityAdmin,
    /// Opens images; never administers
    CryptoUser,
    /// Reads the record; nothing else
    Auditor,
}

impl RoleName {
    /// The name that holders use.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::SecurityAdmin => "SecurityAdmin",
            Self::CryptoUser => "CryptoUser",
            Self::Auditor => "Auditor",
        }
    }
}
