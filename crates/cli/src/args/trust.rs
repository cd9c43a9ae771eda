//! Who must have made an image.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::RegistryArgs;
use crate::image_verifier::TIMEOUT;

/// Whose signatures an image must have before anything of it is used.
#[derive(Args, Debug)]
#[command(next_help_heading = "Who made it")]
pub(crate) struct TrustArgs {
    /// Public key (PEM) that must have signed the image, as cosign signs: checked before any key is used (repeatable: one of
    /// them)
    #[arg(
        long = "verify-key",
        value_name = "FILE",
        env = "SEALIFT_VERIFY_KEY",
        hide_env_values = true
    )]
    pub(crate) verify_keys: Vec<PathBuf>,

    /// Identity in the certificate of who must have signed: a mail address, or the URI of a workflow
    #[arg(
        long,
        value_name = "NAME",
        requires = "certificate_oidc_issuer",
        env = "SEALIFT_CERTIFICATE_IDENTITY",
        hide_env_values = true
    )]
    pub(crate) certificate_identity: Option<String>,

    /// The same as a regular expression, which must match all of it
    #[arg(
        long,
        value_name = "REGEXP",
        conflicts_with = "certificate_identity",
        requires = "certificate_oidc_issuer"
    )]
    pub(crate) certificate_identity_regexp: Option<String>,

    /// Who vouched for that identity, such as `https://token.actions.githubusercontent.com`
    #[arg(
        long,
        value_name = "URL",
        env = "SEALIFT_CERTIFICATE_OIDC_ISSUER",
        hide_env_values = true
    )]
    pub(crate) certificate_oidc_issuer: Option<String>,

    /// Certificate authorities and logs by which certificates are checked (trusted_root.json) [default: those of sigstore's
    /// public service, as this program was built with]
    #[arg(
        long,
        value_name = "FILE",
        env = "SEALIFT_TRUSTED_ROOT",
        hide_env_values = true
    )]
    pub(crate) trusted_root: Option<PathBuf>,

    /// Count the signature of a key only if a transparency log proves to have it
    #[arg(long)]
    pub(crate) require_transparency_log: bool,

    #[command(flatten)]
    pub(crate) policy: TrustPolicyArgs,
}

/// The policy of this machine.
#[derive(Args, Clone, Debug)]
pub(crate) struct TrustPolicyArgs {
    /// Policy that says for each repository whose signatures it takes, besides what options say [default:
    /// /etc/sealift/trust.toml, where it is]
    #[arg(
        long,
        value_name = "FILE",
        env = "SEALIFT_TRUST_POLICY",
        hide_env_values = true
    )]
    pub(crate) trust_policy: Option<PathBuf>,
}

/// Tells containerd whether an image may be pulled (image verifier plug-in).
///
/// containerd 2 starts every program in the folder `bin_dir` of its plug-in io.containerd.image-verifier.v1.bindir before it
/// pulls: put a link named sealift-image-verifier there that leads to this program. The image is taken if the trust policy
/// says so; without a policy none is. Exits 0 and prints who signed it, or says why not.
#[derive(Args, Clone, Debug)]
#[command(after_help = IMAGE_VERIFIER_EXAMPLES, after_long_help = IMAGE_VERIFIER_EXAMPLES)]
pub(crate) struct ImageVerifierArgs {
    /// Reference of the image
    #[arg(long, value_name = "REF")]
    pub(crate) name: String,

    /// Digest that the reference was resolved to
    #[arg(long, value_name = "DIGEST")]
    pub(crate) digest: sealift_oci::Digest,

    /// What standard input has; a descriptor (application/vnd.oci.descriptor.v1+json) must be that of the image
    #[arg(long, value_name = "TYPE")]
    pub(crate) stdin_media_type: Option<String>,

    /// Why containerd asks: `pull`, or `run` where it verifies before it runs, too; the answer is the same
    #[arg(long, value_name = "OPERATION")]
    pub(crate) operation: Option<String>,

    #[command(flatten)]
    pub(crate) policy: TrustPolicyArgs,

    /// How many seconds the answer may take; containerd waits ten (`per_verifier_timeout`), and then tells nobody why
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = TIMEOUT.as_secs() as u16,
        value_parser = clap::value_parser!(u16).range(1..=3600),
        env = "SEALIFT_IMAGE_VERIFIER_TIMEOUT",
        hide_env_values = true
    )]
    timeout: u16,

    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

impl ImageVerifierArgs {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.into())
    }
}

const IMAGE_VERIFIER_EXAMPLES: &str = "\
Examples:
  ln -s /usr/local/bin/sealift /opt/containerd/image-verifier/bin/sealift-image-verifier

  By hand, to see what containerd would be told
    sealift image-verifier --name registry.example/app:1 --digest sha256:… </dev/null";
