//! `config`: what other programs must be told.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Prints what runtimes must be told to open sealed images.
#[derive(Args, Debug)]
#[command(after_help = CONFIG_EXAMPLES, after_long_help = CONFIG_EXAMPLES)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

const CONFIG_EXAMPLES: &str = "\
Examples:
  sealift config containerd >/etc/containerd/conf.d/sealift.toml
  sealift config crio >/etc/crio/crio.conf.d/50-sealift.conf
  sealift config keyprovider -k /etc/sealift/node.pem >/etc/sealift/providers.json

Next: `sealift doctor` checks what is there.";

/// `config …`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    Containerd(ConfigContainerdArgs),
    Crio(ConfigCrioArgs),
    Keyprovider(ConfigKeyproviderArgs),
}

/// Prints containerd's stanzas for sealift-decoder.
///
/// They fit the version that is installed, and go into a file that config.toml imports, or into config.toml itself without the
/// line `version`. Keys are private keys in a folder; with --agent, key holders are asked through this node's agent.
#[derive(Args, Debug)]
#[command(after_help = CONTAINERD_EXAMPLES, after_long_help = CONTAINERD_EXAMPLES)]
pub(crate) struct ConfigContainerdArgs {
    /// Version of containerd [default: that of the one that is installed]
    #[arg(long, value_name = "VERSION")]
    pub(crate) containerd_version: Option<String>,

    /// The program that says containerd's version
    #[arg(long, value_name = "PROGRAM", default_value = "containerd")]
    pub(crate) containerd: String,

    /// Where sealift-decoder is
    #[arg(
        long,
        value_name = "PROGRAM",
        default_value = "/usr/local/bin/sealift-decoder"
    )]
    pub(crate) decoder: PathBuf,

    /// Folder with private keys [default: /etc/containerd/ocicrypt/keys]
    #[arg(long, value_name = "DIR")]
    pub(crate) keys_dir: Option<PathBuf>,

    /// Socket of this node's agent
    #[arg(long, value_name = "SOCKET")]
    pub(crate) agent: Option<PathBuf>,

    /// containerd's root folder, where it is not /var/lib/containerd
    #[arg(long, value_name = "DIR")]
    pub(crate) containerd_root: Option<PathBuf>,

    /// Folder of image verifiers, where the trust policy decides what is pulled (containerd 2.1 and later; see `sealift help
    /// image-verifier`)
    #[arg(long, value_name = "DIR")]
    pub(crate) image_verifiers: Option<PathBuf>,
}

const CONTAINERD_EXAMPLES: &str = "\
Examples:
  sealift config containerd
  sealift config containerd --containerd-version 2.3 --agent /run/sealift/agent.sock
  sealift config containerd --image-verifiers /opt/containerd/image-verifier/bin";

/// Prints CRI-O's settings for encrypted images.
///
/// CRI-O opens images by itself: those in ocicrypt's format (`encrypt --cipher ocicrypt`), with key files, and with key providers
/// where its own configuration names one.
#[derive(Args, Debug)]
#[command(after_help = CRIO_EXAMPLES, after_long_help = CRIO_EXAMPLES)]
pub(crate) struct ConfigCrioArgs {
    /// Folder with private keys and nothing else: CRI-O follows no symbolic links there
    #[arg(long, value_name = "DIR", default_value = "/etc/crio/keys/")]
    pub(crate) keys_dir: PathBuf,
}

const CRIO_EXAMPLES: &str = "\
Examples:
  sealift config crio
  sealift config crio --keys-dir /etc/keys";

/// Prints the file that lets programs with ocicrypt ask `sealift keyprovider`.
///
/// skopeo, buildah, podman, CRI-O and imgcrypt read it where OCICRYPT_KEYPROVIDER_CONFIG says. They start the program for
/// every layer key, or ask one that serves (--grpc), and know its keys by the name given here: provider:NAME.
#[derive(Args, Debug)]
#[command(after_help = KEYPROVIDER_EXAMPLES, after_long_help = KEYPROVIDER_EXAMPLES)]
pub(crate) struct ConfigKeyproviderArgs {
    /// Name of the provider, as in provider:NAME
    #[arg(long, value_name = "NAME", default_value = "sealift", value_parser = provider_name)]
    pub(crate) name: String,

    /// Where sealift is
    #[arg(
        long,
        value_name = "PROGRAM",
        default_value = "/usr/local/bin/sealift",
        conflicts_with = "grpc"
    )]
    pub(crate) program: PathBuf,

    /// Who may open layers (repeatable), written as for `sealift encrypt`
    #[arg(
        short = 'r',
        long = "recipient",
        value_name = "RECIPIENT",
        conflicts_with = "grpc"
    )]
    pub(crate) recipients: Vec<String>,

    /// Private key (repeatable), written as for `sealift decrypt`
    #[arg(
        short = 'k',
        long = "key",
        value_name = "KEY",
        required_unless_present_any = ["recipients", "grpc"],
        conflicts_with = "grpc"
    )]
    pub(crate) keys: Vec<String>,

    /// Where `sealift keyprovider serve` listens
    #[arg(long, value_name = "unix:///PATH|ADDRESS:PORT")]
    pub(crate) grpc: Option<String>,

    /// Authority of that server's certificate, PEM
    #[arg(long, value_name = "FILE", requires = "grpc", conflicts_with_all = ["keys", "recipients"])]
    pub(crate) root_ca: Option<PathBuf>,

    /// Certificate to show to that server, PEM
    #[arg(long, value_name = "FILE", requires_all = ["root_ca", "cert_key"])]
    pub(crate) cert: Option<PathBuf>,

    /// Private key of that certificate, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) cert_key: Option<PathBuf>,
}

const KEYPROVIDER_EXAMPLES: &str = "\
Examples:
  sealift config keyprovider -r /etc/sealift/ops.pub.pem -k /etc/sealift/node.pem >providers.json
  export OCICRYPT_KEYPROVIDER_CONFIG=$PWD/providers.json
  skopeo copy --encryption-key provider:sealift oci:app docker://registry.example/app:1

  For a provider that serves
    sealift config keyprovider --grpc unix:///run/sealift/keys.sock

Next: `sealift keyprovider --help` says what it does with the keys.";

fn provider_name(text: &str) -> Result<String, String> {
    // Parameters follow it after a colon.
    if text.is_empty() || text.contains(':') {
        return Err("write a name without `:`".to_owned());
    }
    Ok(text.to_owned())
}
