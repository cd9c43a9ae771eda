use clap::Args;

/// Who may open the layers.
#[derive(Args, Debug)]
pub(crate) struct RecipientArgs {
    /// Who may open the layers (repeatable): FILE or jwe:FILE with a public key or certificate (PEM, DER, JWK,
    /// JWKS), aes256:FILE or aes256:env:VAR with a secret AES-256 key
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
}

/// With what the layers are opened.
#[derive(Args, Debug)]
pub(crate) struct KeyArgs {
    /// Private key (repeatable, up to 100): FILE (PEM, DER, JWK, JWKS), aes256:FILE or aes256:env:VAR; a passphrase
    /// follows as :file=FILE, :fd=N, :env=VAR or, visible to everybody on the machine, :pass=PASSPHRASE
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
