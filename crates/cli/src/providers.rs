//! `-r provider:NAME` and `-k provider:NAME`: keys that ocicrypt key providers wrap and unwrap.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use sealift_keywrap::{
    Identity, IdentitySpec, KeySource, PasswordSource, Recipient, RecipientSpec,
};
use sealift_provider::{CallOptions, Config, ProviderError, Providers};

use crate::args::ProviderArgs;
use crate::exit::{Code, Failure};
use crate::files::read_limited;

/// The providers of one run; their configuration is read when the first is asked for.
pub(crate) struct Configured<'a> {
    /// Nothing where there are to be none.
    args: Option<&'a ProviderArgs>,
    hidden: Vec<OsString>,
    providers: Option<Providers>,
}

impl<'a> Configured<'a> {
    /// Takes how providers are asked, and all recipients or keys, of which some may name variables with secrets in them.
    pub(crate) fn new(args: Option<&'a ProviderArgs>, specs: &[String]) -> Self {
        Self {
            args,
            hidden: secret_variables(specs),
            providers: None,
        }
    }

    /// Makes a recipient of a provider, with a text that tells it from others without repeating its parameters.
    pub(crate) fn recipient(
        &mut self,
        name: &str,
        parameters: Option<&str>,
    ) -> Result<(Box<dyn Recipient>, String), Failure> {
        let providers = self.load()?;
        let known = |error: ProviderError| unusable(name, &error);
        let recipient = providers.recipient(name, parameters).map_err(known)?;
        let label = recipient.label();
        Ok((Box::new(recipient), label))
    }

    /// Makes an identity of a provider.
    pub(crate) fn identity(
        &mut self,
        name: &str,
        parameters: Option<&str>,
    ) -> Result<Box<dyn Identity>, Failure> {
        let providers = self.load()?;
        let identity = providers.identity(name, parameters);
        Ok(Box::new(identity.map_err(|error| unusable(name, &error))?))
    }

    fn load(&mut self) -> Result<&Providers, Failure> {
        if self.providers.is_none() {
            let args = self.args.ok_or_else(|| {
                Failure::new(
                    Code::Usage,
                    "a key provider does not ask other key providers",
                )
                .hint("configure that provider itself in the program that asks")
            })?;
            // An empty variable counts as none, as in ocicrypt.
            let path = args.config.as_deref();
            let path = path.filter(|path| !path.as_os_str().is_empty());
            let path = path.ok_or_else(|| {
                Failure::new(Code::Usage, "no key providers are configured").hint(CONFIGURE)
            })?;
            let options = CallOptions {
                timeout: args.timeout(),
                hidden: std::mem::take(&mut self.hidden),
            };
            self.providers = Some(Providers::new(read(path)?, options));
        }
        self.providers
            .as_ref()
            .ok_or_else(|| Failure::new(Code::Other, "no key providers"))
    }
}

fn read(path: &Path) -> Result<Config, Failure> {
    let octets = read_limited(path, Config::MAX_LEN)?;
    Config::parse(&octets).map_err(|error| {
        let what = format!("cannot use key-provider configuration `{}`", path.display());
        Failure::new(Code::Usage, what)
            .because(&error)
            .hint(EXAMPLE)
    })
}

fn unusable(name: &str, error: &ProviderError) -> Failure {
    let hint = match error {
        ProviderError::NotConfigured => Some(CONFIGURE),
        ProviderError::PlainText { .. } => {
            Some("add grpc-tls to its configuration, or use a Unix socket")
        }
        ProviderError::NoTransport => Some(EXAMPLE),
        _ => None,
    };
    Failure::new(Code::Usage, format!("cannot use key provider `{name}`"))
        .because(error)
        .or_hint(hint)
}

/// Names the environment variables that programs of providers do not inherit: ours, and those that hold keys and passwords.
pub(crate) fn secret_variables(specs: &[String]) -> Vec<OsString> {
    let mut hidden: BTreeSet<OsString> = std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| name.as_encoded_bytes().starts_with(PREFIX))
        .collect();
    for spec in specs {
        let recipient = match RecipientSpec::parse(spec) {
            Ok(RecipientSpec::CustomerKey(KeySource::Variable(name))) => Some(name),
            _ => None,
        };
        let identity = match IdentitySpec::parse(spec) {
            Ok(IdentitySpec::CustomerKey(KeySource::Variable(name))) => Some(name),
            Ok(IdentitySpec::File(file)) => match file.password {
                Some(PasswordSource::Variable(name)) => Some(name),
                _ => None,
            },
            _ => None,
        };
        let names = recipient.into_iter().chain(identity);
        hidden.extend(names.map(|name| OsString::from(&*name)));
    }
    hidden.into_iter().collect()
}

const PREFIX: &[u8] = b"SEALIFT_";

const CONFIGURE: &str =
    "list it in the file that --keyprovider-config or OCICRYPT_KEYPROVIDER_CONFIG names";

const EXAMPLE: &str =
    r#"it looks like {"key-providers":{"NAME":{"cmd":{"path":"/usr/bin/x","args":[]}}}}"#;
