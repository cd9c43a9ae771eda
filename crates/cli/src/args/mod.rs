//! The command line as types. Its help is public interface: a snapshot test holds it.

mod common;
mod config;
mod files;
mod group_keys;
mod holders;
mod keyprovider;
mod keys;
mod nodes;
mod providers;
mod recipients;
mod repositories;
mod trust;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use common::{
    AeadArgs, CredentialPair, Global, Login, ProgressMode, RegistryArgs, ReportArgs, SourceArgs,
    TransferArgs,
};
pub(crate) use config::*;
pub(crate) use files::{CatArgs, ImageFilesArgs, LsArgs};
pub(crate) use group_keys::*;
pub(crate) use holders::*;
pub(crate) use keyprovider::*;
pub(crate) use keys::{
    HoldersIdentityArgs, HoldersRecipientArgs, KeyArgs, OaepHashName, OptionalKeyArgs, PgpArgs,
    RecipientArgs,
};
pub(crate) use nodes::*;
pub(crate) use providers::*;
pub(crate) use recipients::*;
pub(crate) use repositories::{DeleteArgs, TagsArgs};
pub(crate) use trust::{ImageVerifierArgs, TrustArgs, TrustPolicyArgs};

/// Seals container images so that only who holds a key can read their layers.
///
/// `sealift encrypt` seals the layers of an image for one or more public keys and writes it anywhere: a registry, a
/// directory, an archive. A node that holds a private key opens the layers while it pulls (sealift-decoder), or
/// `sealift decrypt` brings the original image back, digest for digest. Registries and mirrors in between see
/// ciphertext only.
#[derive(Debug, Parser)]
#[command(
    name = "sealift",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = AFTER_HELP,
    after_long_help = AFTER_HELP
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Begin:
  sealift keygen -o mykey
  sealift encrypt oci:app docker://registry.example/app:1 -r mykey.pub.pem
  sealift inspect registry.example/app:1
  sealift decrypt registry.example/app:1 oci:opened -k mykey.pem

References:
  [docker://]HOST[:PORT]/REPO[:TAG|@DIGEST]   an image in a registry
  oci:DIR[:REF]                               a directory in OCI layout
  oci-archive:FILE[:REF]                      the same in a tar file
  docker-archive:FILE[:REF]                   what `docker save` writes (source only)

Exit codes:
  0 done, 1 other, 2 usage, 3 no key fits, 4 integrity or authentication failure, 5 network or
  registry, 6 denied by policy, 7 not found, 8 nothing to do";

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Encrypt(EncryptArgs),
    Decrypt(DecryptArgs),
    Copy(CopyArgs),
    #[command(visible_alias = "layerinfo")]
    Inspect(InspectArgs),
    Verify(VerifyArgs),
    Recipients(RecipientsArgs),
    Cat(CatArgs),
    Ls(LsArgs),
    Tags(TagsArgs),
    Delete(DeleteArgs),
    Keygen(KeygenArgs),
    Holder(HolderArgs),
    Operator(OperatorArgs),
    Key(KeyCommandArgs),
    Node(NodeArgs),
    Revoke(RevokeArgs),
    Agent(AgentArgs),
    #[cfg(feature = "server")]
    Policy(PolicyArgs),
    Posture(PostureArgs),
    Audit(AuditArgs),
    Keyprovider(KeyproviderArgs),
    ImageVerifier(ImageVerifierArgs),
    Doctor(DoctorArgs),
    Config(ConfigArgs),
    Completion(CompletionArgs),
    /// Prints the version.
    Version,
}

/// Seals the layers of an image for one or more recipients.
///
/// Reads SRC, seals every selected layer, and writes the image to DST with the same layer order, configuration and
/// annotations. Only who holds one of the recipients' private keys can read a sealed layer. The original manifest
/// travels along, sealed, so that `sealift decrypt` restores the image with its original digest. Prints the digest of
/// the sealed image.
#[derive(Args, Debug)]
#[command(after_help = ENCRYPT_EXAMPLES, after_long_help = ENCRYPT_EXAMPLES)]
pub(crate) struct EncryptArgs {
    #[command(flatten)]
    pub(crate) recipients: RecipientArgs,

    #[command(flatten)]
    pub(crate) layers: LayerArgs,

    /// Format of sealed layers: `chunked` authenticates chunk by chunk and can be read at any place; `ocicrypt` is what
    /// skopeo, podman, CRI-O and nerdctl read
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "chunked",
        env = "SEALIFT_CIPHER",
        hide_env_values = true
    )]
    pub(crate) cipher: CipherName,

    /// Leave the wrapped keys out of the layers themselves; nodes then depend on the manifest's annotations
    #[arg(long)]
    pub(crate) no_embedded_keys: bool,

    /// Whether the original manifest travels along, sealed, so that its digest can be restored
    #[arg(long, value_enum, value_name = "CHOICE", default_value = "keep")]
    pub(crate) original: OriginalChoice,

    /// Seal the configuration (environment, command, labels, history) and annotations, too: what stays readable is the platform
    /// and the diff IDs. Runtimes unpack the image, and run it where they are told a command; `decrypt` restores all
    #[arg(long)]
    pub(crate) seal_config: bool,

    /// With --seal-config, members of the configuration that stay readable, such as Entrypoint,Cmd,User,WorkingDir
    #[arg(
        long,
        value_name = "NAME[,NAME]",
        value_delimiter = ',',
        requires = "seal_config",
        value_parser = CONFIG_MEMBERS
    )]
    pub(crate) keep_config: Vec<String>,

    /// Keep annotations that describe the plain layers (table of contents of lazily pulled images)
    #[arg(long)]
    pub(crate) keep_annotations: bool,

    /// Attestation manifests of an index (provenance, SBOM) are in clear: leave them out, or take them along
    #[arg(long, value_enum, value_name = "CHOICE", default_value = "drop")]
    pub(crate) attestations: AttestationChoice,

    /// Signatures of SRC (cosign, notation), which are about its digest: leave them behind, take them along for the image as
    /// `decrypt` will restore it (they show its plain digest), or leave them behind and say how to sign the sealed image [default:
    /// refuse to seal a signed image]
    #[arg(long, value_enum, value_name = "CHOICE")]
    pub(crate) signatures: Option<SignatureChoice>,

    /// Write an in-toto statement that binds the sealed image's digest to the original's, for `cosign attest-blob`
    #[arg(long, value_name = "FILE")]
    pub(crate) statement_out: Option<PathBuf>,

    /// How the statement names the original: by a salted hash, whose opening is written to FILE.opening, or as it is
    #[arg(
        long,
        value_enum,
        value_name = "CHOICE",
        default_value = "committed",
        requires = "statement_out"
    )]
    pub(crate) statement_digests: StatementDigests,

    /// Do not re-hash the layers of a local source while reading
    #[arg(long)]
    pub(crate) no_verify_source: bool,

    #[command(flatten)]
    pub(crate) aead: AeadArgs,

    #[command(flatten)]
    pub(crate) transfer: TransferArgs,

    #[command(flatten)]
    pub(crate) holders: HoldersRecipientArgs,

    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
}

/// Members of a configuration's `config` (image-spec, `config.md`, and what Docker adds).
const CONFIG_MEMBERS: [&str; 14] = [
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "ArgsEscaped",
    "Healthcheck",
    "Shell",
    "OnBuild",
    "Hostname",
];

const ENCRYPT_EXAMPLES: &str = "\
Examples:
  Seal an image for one key, from a directory into a registry
    sealift encrypt oci:app docker://registry.example/app:1 -r mykey.pub.pem

  Seal for two keys; either opens it
    sealift encrypt app:1 registry.example/app:sealed -r ops.pub.pem -r edge.crt

  Seal for an OpenPGP key, by its fingerprint in gpg's keyring or from a file
    sealift encrypt app:1 registry.example/app:1 -r pgp:FINGERPRINT -r pgp:colleague.asc --cipher ocicrypt

  Seal only the topmost layer, readable for skopeo and podman
    sealift encrypt app:1 registry.example/app:1 -r mykey.pub.pem --layer -1 --cipher ocicrypt

  Seal the configuration as well, but for what a pod without a command runs by
    sealift encrypt app:1 registry.example/app:1 -r mykey.pub.pem --seal-config --keep-config Entrypoint,Cmd

  Seal for key holders: no single machine can open it
    sealift encrypt app:1 registry.example/app:1 -r holders:default --holders holders.toml

Next: `sealift inspect DST` shows who may open it.";

/// Opens the sealed layers of an image and writes the original.
///
/// Reads SRC, opens every selected layer with the keys given, checks each against the digest that was sealed with it,
/// and writes the image to DST. An image sealed by sealift comes back with its original digest, byte for byte; one
/// sealed by other tools with the same layers and configuration. Prints the digest of the opened image.
#[derive(Args, Debug)]
#[command(after_help = DECRYPT_EXAMPLES, after_long_help = DECRYPT_EXAMPLES)]
pub(crate) struct DecryptArgs {
    #[command(flatten)]
    pub(crate) keys: KeyArgs,

    #[command(flatten)]
    pub(crate) layers: LayerArgs,

    #[command(flatten)]
    pub(crate) aead: AeadArgs,

    #[command(flatten)]
    pub(crate) transfer: TransferArgs,

    #[command(flatten)]
    pub(crate) trust: TrustArgs,

    #[command(flatten)]
    pub(crate) holders: HoldersIdentityArgs,

    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
}

const DECRYPT_EXAMPLES: &str = "\
Examples:
  Bring the original image back into a directory
    sealift decrypt registry.example/app:1 oci:opened:1 -k mykey.pem

  With a key file that has a passphrase, read from another file
    sealift decrypt registry.example/app:1 oci:opened:1 -k mykey.pem:file=passphrase.txt

  With a customer-supplied AES-256 key out of the environment
    sealift decrypt oci:sealed oci:opened -k aes256:env:LAYER_KEY

  With the help of key holders, as the operator or node that holders.toml names
    sealift decrypt registry.example/app:1 oci:opened -k holders:default --holders holders.toml

Next: `sealift inspect DST` shows the layers in clear; `sealift verify DST` re-hashes them.";

/// Moves an image, sealed or not, unchanged.
///
/// Copies manifests, configuration and layers of every platform octet for octet, so the digest stays the same; sealed
/// layers stay sealed and no key is needed. Prints the digest.
#[derive(Args, Debug)]
#[command(after_help = COPY_EXAMPLES, after_long_help = COPY_EXAMPLES)]
pub(crate) struct CopyArgs {
    /// What refers to the image (SBOMs, provenance, signatures by `subject`), and what refers to that: leave it behind, or
    /// take it along, in clear
    #[arg(long, value_enum, value_name = "CHOICE", default_value = "drop")]
    pub(crate) referrers: AttachedChoice,

    /// What cosign keeps under tags (`sha256-….sig`, `.att`, `.sbom`): leave it behind, or take it along
    #[arg(long, value_enum, value_name = "CHOICE", default_value = "drop")]
    pub(crate) signatures: AttachedChoice,

    #[command(flatten)]
    pub(crate) transfer: TransferArgs,

    #[command(flatten)]
    pub(crate) trust: TrustArgs,
}

const COPY_EXAMPLES: &str = "\
Examples:
  From a registry into an archive that can be carried across
    sealift copy registry.example/app:1 oci-archive:app.tar

  Out of the archive into another registry
    sealift copy oci-archive:app.tar docker://inside.example/app:1

  With everything that belongs to it
    sealift copy registry.example/app:1 inside.example/app:1 --referrers keep --signatures keep

Next: `sealift verify DST` re-hashes what arrived.";

/// Shows what an image consists of, and who may open its layers.
///
/// Lists manifests, platforms and layers: digest, size, sealed or in clear, the cipher, and the recipients as far as
/// their envelopes name them. Reads manifests only; no key is needed.
#[derive(Args, Debug)]
#[command(after_help = INSPECT_EXAMPLES, after_long_help = INSPECT_EXAMPLES)]
pub(crate) struct InspectArgs {
    /// Print the octets of the manifest or index exactly as they are stored
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,

    /// Also list what refers to the image, and cosign's signatures
    #[arg(long, conflicts_with = "raw")]
    pub(crate) referrers: bool,

    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

const INSPECT_EXAMPLES: &str = "\
Examples:
  sealift inspect registry.example/app:1
  sealift inspect oci:app --platform linux/arm64
  sealift inspect registry.example/app:1 --json | jq '.manifests[].layers[].sealed'

Next: `sealift verify REF -k KEY` proves that a key opens every layer.";

/// Re-hashes every blob of an image, and with keys authenticates every sealed layer.
///
/// Reads the whole image, compares each blob with its digest and size and checks the structure. With keys it also opens
/// every sealed layer, without writing it anywhere, compares what it holds with the configuration's diff IDs, opens the
/// original manifests and configurations, and names the digest that `decrypt` gives the image.
#[derive(Args, Debug)]
#[command(after_help = VERIFY_EXAMPLES, after_long_help = VERIFY_EXAMPLES)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) keys: OptionalKeyArgs,

    /// How many layers are read at the same time [default: number of processors, at most 8, and at least
    /// 6 from a registry]
    #[arg(
        short,
        long,
        visible_alias = "parallel",
        value_name = "N",
        env = "SEALIFT_JOBS",
        hide_env_values = true
    )]
    pub(crate) jobs: Option<std::num::NonZeroUsize>,

    #[command(flatten)]
    pub(crate) aead: AeadArgs,

    #[command(flatten)]
    pub(crate) source: SourceArgs,

    #[command(flatten)]
    pub(crate) trust: TrustArgs,

    #[command(flatten)]
    pub(crate) holders: HoldersIdentityArgs,

    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
}

const VERIFY_EXAMPLES: &str = "\
Examples:
  sealift verify registry.example/app:1
  sealift verify registry.example/app:1 -k mykey.pem

Next: `sealift decrypt REF DST -k KEY` writes the opened image.";

/// Makes a key to seal images for.
///
/// Writes NAME.pem, the private key (PKCS#8, readable for you alone), and NAME.pub.pem, the public key that
/// `sealift encrypt -r` takes; with `--type aes256` one file NAME.key that serves for both. Never overwrites a file.
/// Prints the fingerprint, which `sealift inspect` shows where it can.
#[derive(Args, Debug)]
#[command(after_help = KEYGEN_EXAMPLES, after_long_help = KEYGEN_EXAMPLES)]
pub(crate) struct KeygenArgs {
    /// Kind of key
    #[arg(
        short = 't',
        long = "type",
        value_enum,
        value_name = "TYPE",
        default_value = "p256"
    )]
    pub(crate) kind: KeyKind,

    /// Path of the files, without their endings
    #[arg(short, long, value_name = "NAME")]
    pub(crate) output: PathBuf,

    /// Encrypt the private key under the content of this file, less one final line end
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

const KEYGEN_EXAMPLES: &str = "\
Examples:
  sealift keygen -o mykey
  sealift keygen --type rsa3072 -o node7 --passphrase-file passphrase.txt
  sealift keygen --type aes256 -o customer

Next: `sealift encrypt SRC DST -r mykey.pub.pem`; keep mykey.pem where images are opened.";

/// Checks whether this node opens sealed images, or measures what this machine can do.
///
/// Reads containerd's configuration and says what to change: stream processors, programs, keys, agents, image verifier, and what
/// the installed version tells a stream processor. Changes nothing. Exits 1 if no sealed image would open.
///
/// With --bench, takes two seconds and one processor. Shows how fast each stage of a job is on its own, with the code that does it in
/// earnest, what that allows for whole jobs, and which stage they are up to. How many layers `sealift` works on at the same
/// time follows from the number of processors alone, and is shown too, as is whether another library would be faster at
/// AES-256-GCM.
#[derive(Args, Debug)]
#[command(after_help = DOCTOR_EXAMPLES, after_long_help = DOCTOR_EXAMPLES)]
pub(crate) struct DoctorArgs {
    /// containerd's configuration [default: /etc/containerd/config.toml]
    #[arg(long, value_name = "FILE", conflicts_with = "bench")]
    pub(crate) containerd_config: Option<PathBuf>,

    /// The program that says containerd's version
    #[arg(
        long,
        value_name = "PROGRAM",
        default_value = "containerd",
        conflicts_with = "bench"
    )]
    pub(crate) containerd: String,

    #[command(flatten)]
    pub(crate) policy: TrustPolicyArgs,

    /// Measure speed instead
    #[arg(long)]
    pub(crate) bench: bool,

    #[command(flatten)]
    pub(crate) aead: AeadArgs,

    /// Where files are written and read: a folder on the disk in question [default: that for temporary
    /// files]
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir(), hide_default_value = true)]
    pub(crate) folder: PathBuf,
}

const DOCTOR_EXAMPLES: &str = "\
Examples:
  sealift doctor
  sealift doctor --bench
  sealift doctor --bench --folder /var/lib/containerd --json";

/// Writes the completion script of a shell to standard output.
///
/// Load it in your shell's start-up file, or save it where the shell looks for completions.
#[derive(Args, Debug)]
#[command(after_help = COMPLETION_EXAMPLES, after_long_help = COMPLETION_EXAMPLES)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

const COMPLETION_EXAMPLES: &str = "\
Examples:
  source <(sealift completion bash)
  sealift completion zsh > \"${fpath[1]}/_sealift\"
  sealift completion fish > ~/.config/fish/completions/sealift.fish
  sealift completion powershell | Out-String | Invoke-Expression

Next: `sealift --help` lists the commands.";

/// Which layers.
#[derive(Args, Debug)]
pub(crate) struct LayerArgs {
    /// Only these layers: 0 is the base, 1 the next, -1 the topmost [default: all]
    #[arg(
        long = "layer",
        visible_alias = "encrypt-layer",
        value_name = "N[,N]",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub(crate) layers: Vec<i64>,

    /// Also process layers that registries must not store (Windows base layers)
    #[arg(long)]
    pub(crate) include_nondistributable: bool,
}

/// `--cipher`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum CipherName {
    /// C2SP chunked encryption, AES-256-GCM
    Chunked,
    /// AES-256-CTR with HMAC-SHA-256, compatible with ocicrypt
    Ocicrypt,
}

/// `--original`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum OriginalChoice {
    /// `decrypt` restores the original digest
    Keep,
    /// `decrypt` rebuilds the manifest
    None,
}

/// `--attestations`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum AttestationChoice {
    /// Leave them out
    Drop,
    /// Take them along, in clear
    Keep,
}

/// `--signatures` of `encrypt`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum SignatureChoice {
    /// Leave them behind
    Drop,
    /// Take them along, for the opened image
    Detach,
    /// Leave them behind, and say how to sign the sealed image
    Resign,
}

/// `--statement-digests`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum StatementDigests {
    /// SHA-256 of a salt and the digest
    Committed,
    /// The digest itself
    Clear,
}

/// `--referrers` and `--signatures` of `copy`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum AttachedChoice {
    /// Leave it behind
    Drop,
    /// Take it along
    Keep,
}

/// `--type`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum KeyKind {
    /// ECDH on P-256
    P256,
    /// ECDH on P-384
    P384,
    /// ECDH on P-521
    P521,
    /// RSA, 3072 bits
    Rsa3072,
    /// RSA, 4096 bits
    Rsa4096,
    /// X25519 with ML-KEM-768, against quantum computers to come; a draft, not yet a standard
    Xwing,
    /// A secret AES-256 key, for sealing and opening
    Aes256,
}
