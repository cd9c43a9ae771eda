use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, ValueEnum};

use sealift_layer::AeadLibrary;
use sealift_oci::Platform;
use sealift_registry::{RateLimit, Secret};

use crate::machine::Machine;

/// What every command takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct Global {
    /// Print the result, and errors, as JSON (schemaVersion 1)
    #[arg(
        long,
        global = true,
        env = "SEALIFT_JSON",
        hide_env_values = true,
        value_parser = FalseyValueParser::new(),
        display_order = 900
    )]
    pub(crate) json: bool,

    /// How progress is shown on standard error
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "HOW",
        default_value = "auto",
        env = "SEALIFT_PROGRESS",
        hide_env_values = true,
        display_order = 901
    )]
    pub(crate) progress: ProgressMode,

    /// Show neither progress nor notes
    #[arg(
        short,
        long,
        global = true,
        env = "SEALIFT_QUIET",
        hide_env_values = true,
        value_parser = FalseyValueParser::new(),
        conflicts_with = "verbose",
        display_order = 902
    )]
    pub(crate) quiet: bool,

    /// Also show what is decided for every layer
    #[arg(
        short,
        long,
        global = true,
        env = "SEALIFT_VERBOSE",
        hide_env_values = true,
        value_parser = FalseyValueParser::new(),
        display_order = 903
    )]
    pub(crate) verbose: bool,
}

/// `--progress`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// Bars on a terminal, else plain; with --json nothing
    Auto,
    /// One line for each finished layer
    Plain,
    /// One JSON object per line
    Json,
    /// Nothing
    None,
}

/// Where from, where to, and how: what `encrypt`, `decrypt` and `copy` share.
#[derive(Args, Debug)]
pub(crate) struct TransferArgs {
    /// The image to read
    #[arg(value_name = "SRC")]
    pub(crate) source: String,

    /// Where to write it
    #[arg(value_name = "DST")]
    pub(crate) destination: String,

    #[command(flatten)]
    pub(crate) platforms: PlatformArgs,

    /// Show what would be done, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// How many layers are processed at the same time [default: number of processors, at most 8, and at
    /// least 6 from or to a registry]
    #[arg(
        short,
        long,
        visible_alias = "parallel",
        value_name = "N",
        env = "SEALIFT_JOBS",
        hide_env_values = true
    )]
    pub(crate) jobs: Option<NonZeroUsize>,

    #[command(flatten)]
    pub(crate) registry: RegistryArgs,

    #[command(flatten)]
    pub(crate) registry_pair: CredentialPair,

    #[command(flatten)]
    pub(crate) report: ReportArgs,
}

/// What seals and opens the chunks of layers.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct AeadArgs {
    /// Library that does AES-256-GCM on layers in format `chunked`; the result is the same
    #[arg(
        long,
        value_enum,
        value_name = "LIBRARY",
        default_value = "aws-lc",
        env = "SEALIFT_AEAD",
        hide_env_values = true
    )]
    aead: AeadName,
}

impl AeadArgs {
    /// Returns the library that was asked for.
    pub(crate) fn library(self) -> AeadLibrary {
        match self.aead {
            AeadName::AwsLc => AeadLibrary::AwsLc,
            AeadName::Ring => AeadLibrary::Ring,
            AeadName::Auto => Machine::here().faster_aead(),
        }
    }
}

/// `--aead`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum AeadName {
    /// Wipes its keys when it is done
    AwsLc,
    /// Faster on processors with VAES and without AVX-512 (see `sealift doctor --bench`); does not wipe its keys
    Ring,
    /// The faster of both on this processor, and the first where neither is; always the same on the same machine
    Auto,
}

/// One image to look at.
#[derive(Args, Debug)]
pub(crate) struct SourceArgs {
    /// The image
    #[arg(value_name = "REF")]
    pub(crate) reference: String,

    #[command(flatten)]
    pub(crate) platforms: PlatformArgs,

    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// Which platforms of an index.
#[derive(Args, Debug)]
pub(crate) struct PlatformArgs {
    /// Only this platform of a multi-platform image (repeatable) [default: all]
    #[arg(
        long = "platform",
        value_name = "OS/ARCH[/VARIANT][:OSVERSION]",
        env = "SEALIFT_PLATFORM",
        hide_env_values = true
    )]
    pub(crate) platforms: Vec<Platform>,

    /// Every platform; this is the default, and accepted for scripts written for other tools
    #[arg(long, alias = "all-platforms", conflicts_with = "platforms")]
    pub(crate) all: bool,
}

/// How registries are reached.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Registry")]
pub(crate) struct RegistryArgs {
    /// File with registry credentials [default: those of podman and docker]
    #[arg(
        long,
        value_name = "FILE",
        env = "SEALIFT_AUTHFILE",
        hide_env_values = true
    )]
    pub(crate) authfile: Option<PathBuf>,

    /// Credentials; on the command line they are visible to everybody on the machine, in the environment they are not
    #[arg(
        long,
        value_name = "USER:PASSWORD",
        env = "SEALIFT_CREDS",
        hide_env_values = true
    )]
    pub(crate) creds: Option<Login>,

    /// Certificate authority to trust in addition, PEM
    #[arg(
        long,
        visible_alias = "ca-file",
        value_name = "FILE",
        env = "SEALIFT_TLS_CA",
        hide_env_values = true
    )]
    pub(crate) tls_ca: Option<PathBuf>,

    /// Certificate to identify with, PEM
    #[arg(
        long,
        visible_alias = "cert-file",
        value_name = "FILE",
        requires = "client_key",
        env = "SEALIFT_CLIENT_CERT",
        hide_env_values = true
    )]
    pub(crate) client_cert: Option<PathBuf>,

    /// Private key of that certificate, PEM
    #[arg(
        long,
        visible_alias = "key-file",
        value_name = "FILE",
        requires = "client_cert",
        env = "SEALIFT_CLIENT_KEY",
        hide_env_values = true
    )]
    pub(crate) client_key: Option<PathBuf>,

    /// Speak HTTP without TLS; loopback addresses need no flag
    #[arg(
        long,
        env = "SEALIFT_PLAIN_HTTP",
        hide_env_values = true,
        value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue
    )]
    pub(crate) plain_http: bool,

    /// File with mirrors and blocked registries [default: those of podman, with their drop-ins]
    #[arg(
        long,
        value_name = "FILE",
        env = "SEALIFT_REGISTRIES_CONF",
        hide_env_values = true
    )]
    pub(crate) registries_conf: Option<PathBuf>,

    // Not a doc comment: rustdoc takes the brackets for a link.
    #[arg(
        help = "Folder with certificates for each host, HOST[:PORT]/*.crt [default: those of podman and docker]",
        long,
        value_name = "DIR",
        env = "SEALIFT_CERTS_DIR",
        hide_env_values = true
    )]
    pub(crate) certs_dir: Option<PathBuf>,

    /// Folder with mirrors for each host, HOST/hosts.toml [default: /etc/containerd/certs.d]
    #[arg(
        long,
        value_name = "DIR",
        env = "SEALIFT_HOSTS_DIR",
        hide_env_values = true
    )]
    pub(crate) hosts_dir: Option<PathBuf>,

    /// How often a failed request is tried again
    #[arg(
        long,
        visible_alias = "retry-times",
        value_name = "N",
        env = "SEALIFT_RETRY",
        hide_env_values = true
    )]
    pub(crate) retry: Option<u32>,

    /// Most octets per second to and from registries together, such as 500K or 2M (at least 16K)
    #[arg(
        long,
        value_name = "RATE",
        value_parser = rate,
        env = "SEALIFT_LIMIT_RATE",
        hide_env_values = true
    )]
    pub(crate) limit_rate: Option<RateLimit>,

    /// How many parts of one layer are fetched at the same time, at most 16 [default: 1]
    #[arg(
        long,
        value_name = "N",
        env = "SEALIFT_PARALLEL_RANGES",
        hide_env_values = true
    )]
    pub(crate) parallel_ranges: Option<NonZeroUsize>,
}

/// Reads octets per second: a number, and perhaps K, M or G for powers of 1024.
fn rate(text: &str) -> Result<RateLimit, String> {
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (text.get(..at), 1 << 10),
        Some((at, 'm' | 'M')) => (text.get(..at), 1 << 20),
        Some((at, 'g' | 'G')) => (text.get(..at), 1 << 30),
        _ => (Some(text), 1),
    };
    let number = number.filter(|number| number.bytes().all(|b| b.is_ascii_digit()));
    number
        .and_then(|number| number.parse::<u64>().ok()?.checked_mul(unit))
        .filter(|octets| *octets >= RateLimit::LEAST)
        .map(RateLimit::new)
        .ok_or_else(|| "write a number of octets per second, such as 500K or 2M".to_owned())
}

/// `USER:PASSWORD`. Never refused while parsing: the complaint would repeat it.
#[derive(Clone, Debug)]
pub(crate) struct Login(Arc<Secret>);

impl Login {
    /// Returns user and password, if there is a colon between them.
    pub(crate) fn parts(&self) -> Option<(&str, Secret)> {
        let (user, password) = self.0.expose().split_once(':')?;
        Some((user, Secret::new(password.to_owned())))
    }
}

impl FromStr for Login {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Arc::new(Secret::new(text.to_owned()))))
    }
}

/// Credentials where source and destination need different ones.
#[derive(Args, Debug)]
#[command(next_help_heading = "Registry")]
pub(crate) struct CredentialPair {
    /// Credentials for SRC only
    #[arg(
        long,
        value_name = "USER:PASSWORD",
        env = "SEALIFT_SRC_CREDS",
        hide_env_values = true
    )]
    pub(crate) src_creds: Option<Login>,

    /// Credentials for DST only
    #[arg(
        long,
        value_name = "USER:PASSWORD",
        env = "SEALIFT_DEST_CREDS",
        hide_env_values = true
    )]
    pub(crate) dest_creds: Option<Login>,
}

/// Where the result goes besides standard output.
#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct ReportArgs {
    /// Also write the digest to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) digestfile: Option<PathBuf>,

    /// Also write the result as JSON to this file, with the keys that docker buildx writes
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,

    /// Also append `digest`, `reference` and `source-digest` to the file that $GITHUB_OUTPUT names
    #[arg(long)]
    pub(crate) github_output: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_with_a_unit() {
        for text in ["16384", "16K", "16k", "500K", "2M", "1G", "17179869183G"] {
            assert!(rate(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "K",
            "16383",
            "15K",
            "-1M",
            "+1M",
            "1.5M",
            "1T",
            "1MB",
            "17179869184G",
            "1\u{e9}",
        ] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
