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

Next: `sealift doctor` checks what is there.";

/// `config …`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    Containerd(ConfigContainerdArgs),
    Crio(ConfigCrioArgs),
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
}

const CONTAINERD_EXAMPLES: &str = "\
Examples:
  sealift config containerd
  sealift config containerd --containerd-version 2.3 --agent /run/sealift/agent.sock";

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
