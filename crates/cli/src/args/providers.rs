use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};

/// How key providers are asked.
#[derive(Args, Debug)]
#[command(next_help_heading = "Key providers")]
pub(crate) struct ProviderArgs {
    /// File that says how the key providers of provider:NAME are reached, as ocicrypt reads it
    #[arg(
        long = "keyprovider-config",
        value_name = "FILE",
        env = "OCICRYPT_KEYPROVIDER_CONFIG",
        hide_env_values = true,
        value_parser = OsStringValueParser::new().map(PathBuf::from)
    )]
    pub(crate) config: Option<PathBuf>,

    /// How many seconds a key provider may take for one key
    #[arg(
        long = "provider-timeout",
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u16).range(1..=3600),
        env = "SEALIFT_PROVIDER_TIMEOUT",
        hide_env_values = true
    )]
    timeout: u16,
}

impl ProviderArgs {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.into())
    }
}
