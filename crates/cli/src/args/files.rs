use clap::Args;
use sealift_oci::Platform;

use super::{HoldersIdentityArgs, OptionalKeyArgs, ProviderArgs, RegistryArgs, TrustArgs};

/// Writes a file of an image to standard output.
///
/// Reads REF from the topmost layer down and fetches no more than it needs: of a sealed layer single chunks (16 KiB), found
/// by the layer's table of contents (eStargz, zstd:chunked) or by the headers of its tar. A layer without such a table is
/// read whole, and so are one of `--cipher ocicrypt` and one in clear whose manifest has no digest of its table; each time
/// a note says so. Links are followed within the image.
///
/// Every octet that is written is authentic: the layer's key sealed it, or a digest in the manifest covers it. Somebody
/// else who can open a layer, and replace it in the registry too, could have made single chunks of it, since only
/// `sealift verify` compares the digest of the whole. The exit code is 0 only if the file was written to its end.
#[derive(Args, Debug)]
#[command(after_help = CAT_EXAMPLES, after_long_help = CAT_EXAMPLES)]
pub(crate) struct CatArgs {
    /// The image
    #[arg(value_name = "REF")]
    pub(crate) reference: String,

    /// The file, from the root of the image: etc/os-release, Files/Windows/System32/license.rtf
    #[arg(value_name = "PATH")]
    pub(crate) path: String,

    #[command(flatten)]
    pub(crate) way: ImageFilesArgs,
}

const CAT_EXAMPLES: &str = "\
Examples:
  sealift cat registry.example/app:1 /etc/os-release -k mykey.pem
  sealift cat registry.example/app:1 app/config.json -k mykey.pem --platform linux/arm64 | jq .

  How much of each layer was fetched, on standard error
    sealift cat registry.example/app:1 /etc/os-release -k mykey.pem -v > os-release

Next: `sealift ls REF PATH -k KEY` shows what there is.";

/// Lists the files of an image.
///
/// Shows what lies in a directory when all layers are unpacked on top of each other. Fetches the tables of contents of the
/// layers, or the headers of their tars, and not what the files hold; of layers that have neither everything, and says so,
/// as `sealift cat` does.
#[derive(Args, Debug)]
#[command(after_help = LS_EXAMPLES, after_long_help = LS_EXAMPLES)]
pub(crate) struct LsArgs {
    /// The image
    #[arg(value_name = "REF")]
    pub(crate) reference: String,

    /// The directory, from the root of the image [default: the root]
    #[arg(value_name = "PATH", default_value = "/", hide_default_value = true)]
    pub(crate) path: String,

    /// Show kind and permissions, owner, group, size and time (UTC) too
    #[arg(short, long)]
    pub(crate) long: bool,

    /// List the directories below, too
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,

    #[command(flatten)]
    pub(crate) way: ImageFilesArgs,
}

const LS_EXAMPLES: &str = "\
Examples:
  sealift ls registry.example/app:1 -k mykey.pem
  sealift ls -l registry.example/app:1 /etc -k mykey.pem
  sealift ls -R registry.example/app:1 -k mykey.pem --json | jq -r '.entries[].path'
  sealift ls registry.example/windows:1 Files/Windows --platform windows/amd64 -k mykey.pem

Next: `sealift cat REF PATH -k KEY` writes a file.";

/// How an image whose files are looked at is reached and opened.
#[derive(Args, Debug)]
pub(crate) struct ImageFilesArgs {
    #[command(flatten)]
    pub(crate) keys: OptionalKeyArgs,

    /// Which image of a multi-platform one [default: that for this machine]
    #[arg(
        long,
        value_name = "OS/ARCH[/VARIANT][:OSVERSION]",
        env = "SEALIFT_PLATFORM",
        hide_env_values = true
    )]
    pub(crate) platform: Option<Platform>,

    #[command(flatten)]
    pub(crate) registry: RegistryArgs,

    #[command(flatten)]
    pub(crate) trust: TrustArgs,

    #[command(flatten)]
    pub(crate) holders: HoldersIdentityArgs,

    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
}
