//! How people name recipients and identities on a command line.

use std::path::PathBuf;

use thiserror::Error;

use crate::KeyFile;

/// `RECIPIENT`: who may unwrap. Nothing has been read yet, and not every kind is implemented.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RecipientSpec {
    /// `jwe:FILE` or `FILE`: public keys or certificates.
    Jwe(PathBuf),
    /// `pkcs7:CERT`.
    Pkcs7(PathBuf),
    /// `pgp:ADDRESS`, `pgp:FINGERPRINT` or `pgp:KEYFILE`.
    Pgp(Box<str>),
    /// `pkcs11:YAML` or `pkcs11:URI`.
    Pkcs11(Box<str>),
    /// `provider:NAME[:PARAMS]`: an ocicrypt key provider.
    Provider {
        /// Its name in the provider configuration.
        name: Box<str>,
        /// What is passed to it.
        params: Option<Box<str>>,
    },
    /// `holders:KEYID`: the group key of the configured holders.
    Holders(Box<str>),
    /// `aes256:FILE` or `aes256:env:VAR`.
    CustomerKey(KeySource),
    /// `kms:URI`.
    Kms(Box<str>),
}

/// `KEY`: what may unwrap. Nothing has been read yet, and not every kind is implemented.
#[derive(Debug)]
#[non_exhaustive]
pub enum IdentitySpec {
    /// `FILE` or `jwe:FILE`, with the source of its password.
    File(KeyFile),
    /// `pkcs7:CERT`: the certificate that belongs to a private key given beside it.
    Pkcs7(PathBuf),
    /// `pgp:KEYFILE`: OpenPGP secret keys, with the source of their passphrase.
    Pgp(KeyFile),
    /// `pkcs11:YAML` or `pkcs11:URI`.
    Pkcs11(Box<str>),
    /// `provider:NAME[:PARAMS]`: an ocicrypt key provider.
    Provider {
        /// Its name in the provider configuration.
        name: Box<str>,
        /// What is passed to it.
        params: Option<Box<str>>,
    },
    /// `holders:KEYID`: the configured holders.
    Holders(Box<str>),
    /// `aes256:FILE` or `aes256:env:VAR`.
    CustomerKey(KeySource),
    /// `kms:URI`.
    Kms(Box<str>),
}

/// Where a customer key is read from: never the command line itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeySource {
    /// A file.
    File(PathBuf),
    /// An environment variable, in base64.
    Variable(Box<str>),
}

/// Why an argument names nothing.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SpecError {
    /// No file name.
    #[error("no file name given")]
    MissingFile,

    /// A prefix without what should follow it.
    #[error("nothing given after `{name}`")]
    MissingValue {
        /// The prefix.
        name: Box<str>,
    },

    /// `fd=` without a number.
    #[error("`fd=` needs the number of an open file descriptor")]
    NotADescriptor,

    /// A prefix we do not know; a file of that name is reached as `./NAME`.
    #[error("unknown kind of key `{name}`; write `./` before a file name with a colon")]
    UnknownKind {
        /// The prefix.
        name: Box<str>,
    },
}

impl RecipientSpec {
    /// Parses the syntax that ocicrypt users know, and more.
    ///
    /// # Errors
    /// [`SpecError`]; a kind that is misspelt is never taken for a file.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        Ok(match Prefixed::split(text)? {
            Prefixed::Plain("") => return Err(SpecError::MissingFile),
            Prefixed::Plain(path) => Self::Jwe(path.into()),
            Prefixed::Known(Kind::Jwe, path) => Self::Jwe(path.into()),
            Prefixed::Known(Kind::Pkcs7, path) => Self::Pkcs7(path.into()),
            Prefixed::Known(Kind::Pgp, value) => Self::Pgp(value.into()),
            Prefixed::Known(Kind::Pkcs11, value) => Self::Pkcs11(value.into()),
            Prefixed::Known(Kind::Provider, value) => {
                let (name, params) = provider(value)?;
                Self::Provider { name, params }
            }
            Prefixed::Known(Kind::Holders, value) => Self::Holders(value.into()),
            Prefixed::Known(Kind::Aes256, value) => Self::CustomerKey(KeySource::parse(value)?),
            Prefixed::Known(Kind::Kms, value) => Self::Kms(value.into()),
        })
    }
}

impl IdentitySpec {
    /// Parses the syntax that ocicrypt users know, and more.
    ///
    /// # Errors
    /// [`SpecError`]; a kind that is misspelt is never taken for a file, and no error repeats a password.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        Ok(match Prefixed::split(text)? {
            Prefixed::Plain(file) | Prefixed::Known(Kind::Jwe, file) => {
                Self::File(KeyFile::parse(file)?)
            }
            Prefixed::Known(Kind::Pkcs7, path) => Self::Pkcs7(path.into()),
            Prefixed::Known(Kind::Pgp, file) => Self::Pgp(KeyFile::parse(file)?),
            Prefixed::Known(Kind::Pkcs11, value) => Self::Pkcs11(value.into()),
            Prefixed::Known(Kind::Provider, value) => {
                let (name, params) = provider(value)?;
                Self::Provider { name, params }
            }
            Prefixed::Known(Kind::Holders, value) => Self::Holders(value.into()),
            Prefixed::Known(Kind::Aes256, value) => Self::CustomerKey(KeySource::parse(value)?),
            Prefixed::Known(Kind::Kms, value) => Self::Kms(value.into()),
        })
    }
}

impl KeySource {
    fn parse(value: &str) -> Result<Self, SpecError> {
        match value.strip_prefix("env:") {
            Some("") => Err(SpecError::MissingValue {
                name: "aes256:env:".into(),
            }),
            Some(name) => Ok(Self::Variable(name.into())),
            None => Ok(Self::File(value.into())),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Jwe,
    Pkcs7,
    Pgp,
    Pkcs11,
    Provider,
    Holders,
    Aes256,
    Kms,
}

impl Kind {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "jwe" => Self::Jwe,
            "pkcs7" => Self::Pkcs7,
            "pgp" => Self::Pgp,
            "pkcs11" => Self::Pkcs11,
            "provider" => Self::Provider,
            "holders" => Self::Holders,
            "aes256" => Self::Aes256,
            "kms" => Self::Kms,
            _ => return None,
        })
    }
}

enum Prefixed<'a> {
    Known(Kind, &'a str),
    Plain(&'a str),
}

impl<'a> Prefixed<'a> {
    fn split(text: &'a str) -> Result<Self, SpecError> {
        let Some((prefix, value)) = text.split_once(':') else {
            return Ok(Self::Plain(text));
        };
        if let Some(kind) = Kind::from_name(prefix) {
            if value.is_empty() {
                return Err(SpecError::MissingValue {
                    name: prefix.into(),
                });
            }
            return Ok(Self::Known(kind, value));
        }
        // One letter is a drive; what has a dot or a slash is a file name; and a password may follow any name.
        let is_word = prefix.len() > 1 && prefix.bytes().all(|b| b.is_ascii_alphanumeric());
        let has_password = ["pass=", "file=", "fd=", "env="]
            .iter()
            .any(|marker| value.starts_with(marker));
        if is_word && !has_password {
            return Err(SpecError::UnknownKind {
                name: prefix.into(),
            });
        }
        Ok(Self::Plain(text))
    }
}

type ProviderParts = (Box<str>, Option<Box<str>>);

fn provider(value: &str) -> Result<ProviderParts, SpecError> {
    let (name, params) = match value.split_once(':') {
        Some((name, params)) => (name, Some(params.into())),
        None => (value, None),
    };
    if name.is_empty() {
        return Err(SpecError::MissingValue {
            name: "provider".into(),
        });
    }
    Ok((name.into(), params))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipient(text: &str) -> Result<RecipientSpec, SpecError> {
        RecipientSpec::parse(text)
    }

    #[test]
    fn recipients_are_recognised_by_their_prefix() {
        let provider = |name: &str, params: Option<&str>| RecipientSpec::Provider {
            name: name.into(),
            params: params.map(Into::into),
        };
        for (text, expected) in [
            ("k.pub.pem", RecipientSpec::Jwe("k.pub.pem".into())),
            ("jwe:k.pub.pem", RecipientSpec::Jwe("k.pub.pem".into())),
            (r"C:\k.pem", RecipientSpec::Jwe(r"C:\k.pem".into())),
            ("C:/k.pem", RecipientSpec::Jwe("C:/k.pem".into())),
            (r"jwe:C:\k.pem", RecipientSpec::Jwe(r"C:\k.pem".into())),
            ("./odd:name", RecipientSpec::Jwe("./odd:name".into())),
            ("a.b:c", RecipientSpec::Jwe("a.b:c".into())),
            ("pkcs7:c.pem", RecipientSpec::Pkcs7("c.pem".into())),
            ("pgp:a@b.test", RecipientSpec::Pgp("a@b.test".into())),
            (
                "pkcs11:pkcs11:token=t;object=o",
                RecipientSpec::Pkcs11("pkcs11:token=t;object=o".into()),
            ),
            ("provider:p", provider("p", None)),
            ("provider:p:a:b", provider("p", Some("a:b"))),
            ("provider:p:", provider("p", Some(""))),
            ("holders:default", RecipientSpec::Holders("default".into())),
            (
                "aes256:k.bin",
                RecipientSpec::CustomerKey(KeySource::File("k.bin".into())),
            ),
            (
                "aes256:env:KEY",
                RecipientSpec::CustomerKey(KeySource::Variable("KEY".into())),
            ),
            (
                "kms:awskms:///alias/x",
                RecipientSpec::Kms("awskms:///alias/x".into()),
            ),
        ] {
            assert_eq!(recipient(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_misspelt_kind_is_not_a_file() {
        for name in ["gpg", "JWE", "jwk", "awskms"] {
            let expected = SpecError::UnknownKind { name: name.into() };
            assert_eq!(recipient(&format!("{name}:x")), Err(expected.clone()));
            let identity = IdentitySpec::parse(&format!("{name}:x")).map(|_| ());
            assert_eq!(identity, Err(expected));
        }
    }

    #[test]
    fn a_kind_needs_a_value() {
        assert_eq!(recipient(""), Err(SpecError::MissingFile));
        for name in [
            "jwe", "pkcs7", "pgp", "pkcs11", "provider", "holders", "aes256", "kms",
        ] {
            let expected = SpecError::MissingValue { name: name.into() };
            assert_eq!(recipient(&format!("{name}:")), Err(expected));
        }
        assert_eq!(
            recipient("aes256:env:"),
            Err(SpecError::MissingValue {
                name: "aes256:env:".into()
            })
        );
        assert_eq!(
            recipient("provider::x"),
            Err(SpecError::MissingValue {
                name: "provider".into()
            })
        );
    }

    #[test]
    fn identities_carry_the_source_of_their_password() {
        for text in ["mykey:pass=pw", "jwe:mykey:pass=pw"] {
            let Ok(IdentitySpec::File(file)) = IdentitySpec::parse(text) else {
                panic!("{text} is not a file");
            };
            assert_eq!(file.path, PathBuf::from("mykey"));
            assert!(file.password.is_some());
        }
        let Ok(IdentitySpec::Pgp(file)) = IdentitySpec::parse("pgp:k.gpg:env=PW") else {
            panic!("not a file of OpenPGP keys");
        };
        assert_eq!(file.path, PathBuf::from("k.gpg"));
        assert!(file.password.is_some());
        let Ok(IdentitySpec::CustomerKey(source)) = IdentitySpec::parse("aes256:env:K") else {
            panic!("not a customer key");
        };
        assert_eq!(source, KeySource::Variable("K".into()));
    }
}
