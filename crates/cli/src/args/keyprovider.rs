use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{HoldersIdentityArgs, OaepHashName, PgpArgs};

/// Answers skopeo, podman, CRI-O and others that ask ocicrypt key providers.
///
/// Reads one request from standard input and writes the answer to standard output, as programs with ocicrypt 1.1 or later
/// start a key provider for each layer. A layer key is wrapped for all recipients given here, and opened with the keys
/// given here: parameters of a request select nothing, and keys in it are not used. `sealift decrypt` and sealift-decoder
/// open such images directly with the same keys, whatever the provider is called.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct KeyproviderArgs {
    #[command(flatten)]
    pub(crate) keys: KeyproviderKeys,

    #[command(subcommand)]
    pub(crate) command: Option<KeyproviderCommand>,
}

/// How `keyprovider` runs other than for one request.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyproviderCommand {
    Serve(KeyproviderServeArgs),
}

/// Answers requests over gRPC until it is ended.
///
/// On a Unix socket only its owner may ask; on a loopback address everybody on this machine may; on any other address
/// callers must show a certificate of the authority given, since layer keys travel there and back.
#[derive(Args, Debug)]
#[command(after_help = SERVE_EXAMPLES, after_long_help = SERVE_EXAMPLES)]
pub(crate) struct KeyproviderServeArgs {
    #[command(flatten)]
    pub(crate) keys: KeyproviderKeys,

    /// Where to listen
    #[arg(long, value_name = "unix:///PATH|ADDRESS:PORT")]
    pub(crate) listen: String,

    /// Certificate to show, PEM with its chain; needed on addresses that are not loopback
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "client_ca"])]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Private key of that certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Authority whose certificates callers must show, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) client_ca: Option<PathBuf>,
}

/// Whom to wrap for, and what to open with.
#[derive(Args, Debug)]
pub(crate) struct KeyproviderKeys {
    /// Who may open the layers (repeatable), written as for `sealift encrypt`; without any, nothing is wrapped
    #[arg(
        short = 'r',
        long = "recipient",
        value_name = "RECIPIENT",
        env = "SEALIFT_RECIPIENT",
        hide_env_values = true
    )]
    pub(crate) recipients: Vec<String>,

    #[command(flatten)]
    pub(crate) pgp: PgpArgs,

    /// Hash of RSA-OAEP for `pkcs11:`; RSA of 2048 bits holds a layer key of the ocicrypt format with sha1 only
    #[arg(
        long,
        value_enum,
        value_name = "HASH",
        default_value = "sha256",
        env = "OCICRYPT_OAEP_HASHALG",
        hide_env_values = true
    )]
    pub(crate) oaep_hash: OaepHashName,

    /// Private key (repeatable, up to 100), written as for `sealift decrypt`; without any, nothing is opened
    #[arg(
        short = 'k',
        long = "key",
        value_name = "KEY",
        env = "SEALIFT_KEY",
        hide_env_values = true
    )]
    pub(crate) keys: Vec<String>,

    #[command(flatten)]
    pub(crate) holders: HoldersIdentityArgs,
}

const EXAMPLES: &str = "\
Examples:
  As a program that skopeo starts. providers.json:
    {\"key-providers\": {\"vault\": {\"cmd\": {\"path\": \"sealift\",
      \"args\": [\"keyprovider\", \"-r\", \"aes256:/etc/sealift/layers.key\",
               \"-k\", \"aes256:/etc/sealift/layers.key\"]}}}}
  Then
    export OCICRYPT_KEYPROVIDER_CONFIG=$PWD/providers.json
    skopeo copy --encryption-key provider:vault oci:app docker://registry.example/app:1
    skopeo copy --decryption-key provider:vault docker://registry.example/app:1 oci:opened

  Directly, with the same key and no provider
    sealift decrypt registry.example/app:1 oci:opened -k aes256:/etc/sealift/layers.key

Next: `sealift keyprovider serve` does the same over gRPC.";

const SERVE_EXAMPLES: &str = "\
Examples:
  On a Unix socket, for programs of the same user
    sealift keyprovider serve --listen unix:///run/sealift/keys.sock -k node.pem
  providers.json of those programs:
    {\"key-providers\": {\"vault\": {\"grpc\": \"unix:///run/sealift/keys.sock\"}}}

  For other machines, with certificates on both sides
    sealift keyprovider serve --listen 0.0.0.0:50000 -r ops.pub.pem -k ops.pem \\
      --tls-cert server.crt --tls-key server.key --client-ca clients.crt
  providers.json there (ocicrypt 1.3 and later):
    {\"key-providers\": {\"vault\": {\"grpc\": \"keys.example:50000\", \"grpc-tls\": {
      \"root-ca-file\": \"ca.crt\", \"cert-file\": \"me.crt\", \"key-file\": \"me.key\"}}}}";
