//! `recipients`: who may open the layers of a sealed image.

use std::num::NonZeroUsize;

use clap::{Args, Subcommand, ValueEnum};

use super::common::{CredentialPair, PlatformArgs, RegistryArgs, ReportArgs, SourceArgs};
use super::keys::{HoldersBothArgs, KeyArgs, PgpArgs, RecipientArgs};
use super::providers::ProviderArgs;
use super::trust::TrustArgs;

/// Lists and changes who may open the layers of a sealed image.
///
/// The keys of layers are wrapped for each recipient in the image's manifest. Changing recipients rewrites manifests, in place
/// unless DST is given; layers stay as they are. The image gets a new digest, and the old one stays where it is until
/// somebody deletes it; only an archive is written anew, without it.
#[derive(Args, Debug)]
#[command(after_help = RECIPIENTS_EXAMPLES, after_long_help = RECIPIENTS_EXAMPLES)]
pub(crate) struct RecipientsArgs {
    #[command(subcommand)]
    pub(crate) command: RecipientsCommand,
}

const RECIPIENTS_EXAMPLES: &str = "\
Examples:
  sealift recipients list registry.example/app:1
  sealift recipients add registry.example/app:1 -k mykey.pem -r colleague.pub.pem
  sealift recipients rotate registry.example/app:1 -k old.pem -r new.pub.pem
  sealift recipients remove registry.example/app:1 -r colleague.pub.pem --rewrite-blobs

What changing recipients does not do: who could open an image once may have kept its content and its keys.
A new layer key takes `sealift decrypt` and `sealift encrypt`.";

/// `recipients …`
#[derive(Debug, Subcommand)]
pub(crate) enum RecipientsCommand {
    List(RecipientsListArgs),
    Add(RecipientsAddArgs),
    Rotate(RecipientsRotateArgs),
    Remove(RecipientsRemoveArgs),
}

/// Lists who may open which layers.
///
/// Reads manifests and the first octets of sealed layers; no key is needed. Recipients that their envelopes do not name
/// are shown by the envelope's algorithm alone.
#[derive(Args, Debug)]
#[command(after_help = LIST_EXAMPLES, after_long_help = LIST_EXAMPLES)]
pub(crate) struct RecipientsListArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

const LIST_EXAMPLES: &str = "\
Examples:
  sealift recipients list registry.example/app:1
  sealift recipients list oci:app --json | jq '.manifests[].layers[].recipients[]'";

/// Lets others open the layers, too.
///
/// Unwraps the keys of the selected layers with -k and wraps them for -r besides. No layer is read or written. The
/// keys handed on are those of whatever the manifest names: give the image by its digest, or check its signature first, where
/// others could have changed it.
#[derive(Args, Debug)]
#[command(after_help = ADD_EXAMPLES, after_long_help = ADD_EXAMPLES)]
pub(crate) struct RecipientsAddArgs {
    #[command(flatten)]
    pub(crate) recipients: RecipientArgs,

    #[command(flatten)]
    pub(crate) keys: KeyArgs,

    #[command(flatten)]
    pub(crate) change: RecipientsChangeArgs,
}

const ADD_EXAMPLES: &str = "\
Examples:
  One more recipient, in every layer of every platform
    sealift recipients add registry.example/app:1 -k mykey.pem -r colleague.pub.pem

  Under another tag; the old one stays as it is
    sealift recipients add registry.example/app:1 registry.example/app:1-edge -k mykey.pem -r edge.crt

Next: `sealift recipients list REF` shows who may open it.";

/// Wraps the keys of layers for new recipients instead of old ones.
///
/// What -k opens is replaced by wrapped keys for -r; other recipients stay. No layer is read or written: with the
/// default format the old wrapped keys stay in front of the layers themselves until `--rewrite-blobs`.
#[derive(Args, Debug)]
#[command(after_help = ROTATE_EXAMPLES, after_long_help = ROTATE_EXAMPLES)]
pub(crate) struct RecipientsRotateArgs {
    #[command(flatten)]
    pub(crate) recipients: RecipientArgs,

    #[command(flatten)]
    pub(crate) keys: KeyArgs,

    #[command(flatten)]
    pub(crate) change: RecipientsChangeArgs,
}

const ROTATE_EXAMPLES: &str = "\
Examples:
  sealift recipients rotate registry.example/app:1 -k old.pem -r new.pub.pem
  sealift recipients rotate registry.example/app:1 -k old.pem -r new.pub.pem --rewrite-blobs";

/// Takes recipients away.
///
/// Recipients are named by their public keys (-r), by the start of a fingerprint, a key ID or an element (--id), as
/// `recipients list` shows them, or by private keys that open their wrapped keys (-k). The last recipient of a layer cannot be
/// taken away. Somebody who could open the image may have kept what was in it, and the manifest as it was.
#[derive(Args, Debug)]
#[command(after_help = REMOVE_EXAMPLES, after_long_help = REMOVE_EXAMPLES)]
pub(crate) struct RecipientsRemoveArgs {
    /// Who shall not open the layers any more (repeatable), written as for `sealift encrypt`
    #[arg(
        short = 'r',
        long = "recipient",
        value_name = "RECIPIENT",
        required_unless_present_any = ["ids", "keys"]
    )]
    pub(crate) recipients: Vec<String>,

    #[command(flatten)]
    pub(crate) pgp: PgpArgs,

    /// The same by fingerprint (at least 8 digits), key ID or element (repeatable)
    #[arg(long = "id", value_name = "ID", value_parser = id)]
    pub(crate) ids: Vec<String>,

    /// Private key (repeatable) whose wrapped keys go, written as for `sealift decrypt`
    #[arg(short = 'k', long = "key", value_name = "KEY")]
    pub(crate) keys: Vec<String>,

    /// Leave wrapped keys that stand in front of the layers themselves: who had one keeps it
    #[arg(long, conflicts_with = "rewrite_blobs")]
    pub(crate) annotations_only: bool,

    #[command(flatten)]
    pub(crate) change: RecipientsChangeArgs,
}

const REMOVE_EXAMPLES: &str = "\
Examples:
  sealift recipients remove registry.example/app:1 -r colleague.pub.pem --rewrite-blobs
  sealift recipients remove registry.example/app:1 --id 16ff7242d05d7329 --annotations-only

Next: `sealift delete REF@DIGEST` takes the old manifest away where the registry allows it.";

/// What `add`, `rotate` and `remove` share.
#[derive(Args, Debug)]
pub(crate) struct RecipientsChangeArgs {
    /// The sealed image
    #[arg(value_name = "REF")]
    pub(crate) source: String,

    /// Where to write it [default: REF, in its place]
    #[arg(value_name = "DST")]
    pub(crate) destination: Option<String>,

    /// Only these layers: 0 is the base, 1 the next, -1 the topmost [default: all that are sealed]
    #[arg(
        long = "layer",
        value_name = "N[,N]",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub(crate) layers: Vec<i64>,

    #[command(flatten)]
    pub(crate) platforms: PlatformArgs,

    /// Also change the wrapped keys in front of the layers themselves: layers are copied, not sealed anew, and get new digests
    #[arg(long)]
    pub(crate) rewrite_blobs: bool,

    /// Whether SBOMs and other referrers of a manifest refer to the changed one, too; signatures never do
    #[arg(long, value_enum, value_name = "CHOICE", default_value = "keep")]
    pub(crate) referrers: ReferrersChoice,

    /// Show what would be done, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// How many layers are copied at the same time [default: as for `sealift copy`]
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

    #[command(flatten)]
    pub(crate) trust: TrustArgs,

    #[command(flatten)]
    pub(crate) holders: HoldersBothArgs,

    #[command(flatten)]
    pub(crate) providers: ProviderArgs,
}

/// `--referrers` of `recipients`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ReferrersChoice {
    /// They stay with the old manifest
    Drop,
    /// They are written again, for the changed manifest
    Keep,
}

fn id(text: &str) -> Result<String, String> {
    if text.len() < 8 {
        return Err("write at least 8 characters".to_owned());
    }
    Ok(text.to_owned())
}
