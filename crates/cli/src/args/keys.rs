use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Who may open the layers.
#[derive(Args, Debug)]
pub(crate) struct RecipientArgs {
    /// Who may open the layers (repeatable): FILE or jwe:FILE with a public key or certificate (PEM, DER, JWK,
    /// JWKS) or an X-Wing public key, pkcs7:FILE with an RSA certificate, pgp:ADDRESS, pgp:NAME, pgp:FINGERPRINT or pgp:FILE
    /// with an OpenPGP key, pkcs11:URI or pkcs11:YAML with a key in a PKCS #11 token, pkcs11:FILE with its RSA public key,
    /// aes256:FILE or aes256:env:VAR with a secret AES-256 key, holders:KEYID with a key of the key holders,
    /// provider:NAME or provider:NAME:PARAMS with a key provider, which sees the layers' keys
    #[arg(
        short = 'r',
        long = "recipient",
        visible_alias = "encryption-key",
        value_name = "RECIPIENT",
        required = true,
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
}

/// Hash of RSA-OAEP.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum OaepHashName {
    /// What tokens offer that know no other
    Sha1,
    /// What ocicrypt writes since 1.1.4
    Sha256,
}

/// Where OpenPGP keys are looked up.
#[derive(Args, Debug)]
pub(crate) struct PgpArgs {
    /// File of OpenPGP public keys in which pgp:ADDRESS, pgp:NAME and pgp:FINGERPRINT are looked up [default: what
    /// `gpg --export` gives]
    #[arg(
        long = "pgp-keyring",
        value_name = "FILE",
        env = "SEALIFT_PGP_KEYRING",
        hide_env_values = true
    )]
    pub(crate) keyring: Option<PathBuf>,
}

/// With what the layers are opened.
#[derive(Args, Debug)]
pub(crate) struct KeyArgs {
    /// Private key (repeatable, up to 100): FILE (PEM, DER, JWK, JWKS, OpenPGP or X-Wing private keys), aes256:FILE,
    /// aes256:env:VAR, pkcs11:URI, pkcs11:YAML, holders:KEYID, provider:NAME or provider:NAME:PARAMS; a passphrase follows as :file=FILE, :fd=N,
    /// :env=VAR or, visible to everybody on the machine, :pass=PASSPHRASE. What was sealed for pkcs7:CERT takes the certificate
    /// as well as its key: -k key.pem -k cert.pem. A URI is pkcs11:token=LABEL;object=LABEL?module-path=FILE&pin-source=FILE
    #[arg(
        short = 'k',
        long = "key",
        visible_alias = "decryption-key",
        value_name = "KEY",
        required = true,
        env = "SEALIFT_KEY",
        hide_env_values = true
    )]
    pub(crate) keys: Vec<String>,
}

/// Keys of a command that works without, too.
#[derive(Args, Debug)]
pub(crate) struct OptionalKeyArgs {
    /// Private key (repeatable, up to 100), written as for `sealift decrypt`
    #[arg(
        short = 'k',
        long = "key",
        visible_alias = "decryption-key",
        value_name = "KEY",
        env = "SEALIFT_KEY",
        hide_env_values = true
    )]
    pub(crate) keys: Vec<String>,
}

/// What layers that key holders open are bound to.
#[derive(Args, Debug)]
#[command(next_help_heading = "Key holders")]
pub(crate) struct HoldersRecipientArgs {
    /// File that lists the key holders and their keys
    #[arg(
        long = "holders",
        value_name = "FILE",
        env = "SEALIFT_HOLDERS",
        hide_env_values = true
    )]
    pub(crate) file: Option<PathBuf>,

    /// Repository that the layers are bound to, HOST/PATH [default: that of a destination in a registry]
    #[arg(long, value_name = "REPO")]
    pub(crate) label_repo: Option<String>,

    /// Jurisdictions whose nodes may open the layers, ISO 3166 codes, or `*` for all
    #[arg(
        long,
        value_name = "CODE[,CODE]",
        value_delimiter = ',',
        default_value = "*"
    )]
    pub(crate) residency: Vec<String>,

    /// Policy set by which the holders must decide
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) policy: String,
}

/// Where key holders are that may open layers.
#[derive(Args, Debug)]
#[command(next_help_heading = "Key holders")]
pub(crate) struct HoldersIdentityArgs {
    /// File that lists the key holders, their keys, and how this machine identifies itself
    #[arg(
        long = "holders",
        value_name = "FILE",
        env = "SEALIFT_HOLDERS",
        hide_env_values = true
    )]
    pub(crate) file: Option<PathBuf>,

    /// Operator to speak as instead: its private key, with its certificate beside it as NAME.crt
    #[arg(
        long = "as",
        value_name = "NAME.pem",
        env = "SEALIFT_OPERATOR",
        hide_env_values = true
    )]
    pub(crate) operator: Option<PathBuf>,

    /// Why the layers are opened, for the record of every holder
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) justification: String,
}

/// Key holders where layers are opened and wrapped in one go.
#[derive(Args, Debug)]
#[command(next_help_heading = "Key holders")]
pub(crate) struct HoldersBothArgs {
    /// File that lists the key holders, their keys, and how this machine identifies itself
    #[arg(
        long = "holders",
        value_name = "FILE",
        env = "SEALIFT_HOLDERS",
        hide_env_values = true
    )]
    file: Option<PathBuf>,

    /// Operator to speak as instead: its private key, with its certificate beside it as NAME.crt
    #[arg(
        long = "as",
        value_name = "NAME.pem",
        env = "SEALIFT_OPERATOR",
        hide_env_values = true
    )]
    operator: Option<PathBuf>,

    /// Why the layers are opened, for the record of every holder
    #[arg(long, value_name = "TEXT", default_value = "")]
    justification: String,

    /// Repository that layers for new `holders:` recipients are bound to, HOST/PATH [default: that of a destination in a registry]
    #[arg(long, value_name = "REPO")]
    label_repo: Option<String>,

    /// Jurisdictions whose nodes may open the layers then, ISO 3166 codes, or `*` for all
    #[arg(
        long,
        value_name = "CODE[,CODE]",
        value_delimiter = ',',
        default_value = "*"
    )]
    residency: Vec<String>,

    /// Policy set by which the holders must decide then
    #[arg(long, value_name = "NAME", default_value = "default")]
    policy: String,
}

impl HoldersBothArgs {
    /// Returns what is said about new recipients.
    pub(crate) fn recipient(&self) -> HoldersRecipientArgs {
        HoldersRecipientArgs {
            file: self.file.clone(),
            label_repo: self.label_repo.clone(),
            residency: self.residency.clone(),
            policy: self.policy.clone(),
        }
    }

    /// Returns what is said about who opens.
    pub(crate) fn identity(&self) -> HoldersIdentityArgs {
        HoldersIdentityArgs {
            file: self.file.clone(),
            operator: self.operator.clone(),
            justification: self.justification.clone(),
        }
    }
}
