use std::collections::BTreeMap;

use thiserror::Error;

use super::{TokenUri, UriError, YamlError, yaml::Node};
use crate::error::printable;

/// Most environment variables of one key file.
pub const MAX_VARIABLES: usize = 64;

/// A key in a token, and the environment its module wants: `pkcs11: {uri: …}` and `module: {env: {…}}`.
#[derive(Debug)]
pub struct KeyFile {
    /// Which key.
    pub uri: TokenUri,
    /// Environment variables of the module.
    pub environment: BTreeMap<Box<str>, Box<str>>,
}

/// Why a file does not name a key in a token.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Not YAML as it is read here.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// YAML of something else.
    #[error("no `pkcs11:` with a `uri:` in it")]
    NoUri,
    /// A member that is not understood, or not of its form.
    #[error("`{name}` is not understood")]
    Member {
        /// The member, with what it stands in.
        name: Box<str>,
    },
    /// The URI.
    #[error("the URI is not valid: {0}")]
    Uri(#[source] UriError),
    /// A variable that is none.
    #[error("`{name}` cannot be an environment variable")]
    Variable {
        /// Its name.
        name: Box<str>,
    },
    /// A variable that makes the system, and not the module, do something.
    #[error(
        "environment variable `{name}` is not given to modules: it can make them run other code"
    )]
    Dangerous {
        /// Its name.
        name: Box<str>,
    },
    /// More variables than a module has.
    #[error("more than {limit} environment variables")]
    TooMany {
        /// [`MAX_VARIABLES`].
        limit: usize,
    },
}

impl KeyFile {
    /// Returns whether a file is meant as one of these, so that what is wrong with it should be said.
    pub fn looks_like(file: &[u8]) -> bool {
        let mut lines = file.split(|octet| *octet == b'\n');
        lines.any(|line| line.starts_with(b"pkcs11:"))
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// [`KeyFileError`]
    pub fn parse(file: &[u8]) -> Result<Self, KeyFileError> {
        let root = Node::parse(file)?;
        let root = root.as_map().ok_or(KeyFileError::NoUri)?;
        let mut uri = None;
        let mut environment = BTreeMap::new();
        for (name, node) in root {
            match name.as_str() {
                "pkcs11" => {
                    for (name, node) in node.as_map().ok_or(KeyFileError::NoUri)? {
                        match name.as_str() {
                            "uri" => uri = node.as_text(),
                            other => return Err(member(&["pkcs11", other])),
                        }
                    }
                }
                "module" if node.is_nothing() => {}
                "module" => {
                    let members = node.as_map().ok_or_else(|| member(&["module"]))?;
                    for (name, node) in members {
                        match name.as_str() {
                            "env" if node.is_nothing() => {}
                            "env" => environment = variables(node)?,
                            other => return Err(member(&["module", other])),
                        }
                    }
                }
                other => return Err(member(&[other])),
            }
        }
        let uri = uri.ok_or(KeyFileError::NoUri)?;
        Ok(Self {
            uri: TokenUri::parse(uri).map_err(KeyFileError::Uri)?,
            environment,
        })
    }
}

impl From<TokenUri> for KeyFile {
    fn from(uri: TokenUri) -> Self {
        Self {
            uri,
            environment: BTreeMap::new(),
        }
    }
}

fn member(path: &[&str]) -> KeyFileError {
    KeyFileError::Member {
        name: printable(&path.join(".")),
    }
}

fn variables(node: &Node) -> Result<BTreeMap<Box<str>, Box<str>>, KeyFileError> {
    let members = node.as_map().ok_or_else(|| member(&["module", "env"]))?;
    if members.len() > MAX_VARIABLES {
        return Err(KeyFileError::TooMany {
            limit: MAX_VARIABLES,
        });
    }
    let mut variables = BTreeMap::new();
    for (name, node) in members {
        let value = node
            .as_text()
            .ok_or_else(|| member(&["module", "env", name]))?;
        let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if name.is_empty() || !is_name || value.contains('\0') {
            return Err(KeyFileError::Variable {
                name: printable(name),
            });
        }
        let upper = name.to_ascii_uppercase();
        if DANGEROUS.contains(&upper.as_str())
            || DANGEROUS_PREFIXES
                .iter()
                .any(|prefix| upper.starts_with(prefix))
        {
            return Err(KeyFileError::Dangerous {
                name: printable(name),
            });
        }
        variables.insert(name.as_str().into(), value.into());
    }
    Ok(variables)
}

/// What the dynamic loader, the C library, OpenSSL, OpenSC and p11-kit take code, programs or their place from. The list of
/// modules would be worth nothing if a key file could name one here.
const DANGEROUS_PREFIXES: [&str; 11] = [
    "LD_",
    "DYLD_",
    "GLIBC_",
    "MALLOC_",
    "OPENSSL_",
    "NSS_",
    "PKCS11SPY",
    "P11_KIT_",
    "OPENSC_",
    "PCSCLITE_",
    "XDG_",
];
const DANGEROUS: [&str; 8] = [
    "HOME",
    "PATH",
    "GCONV_PATH",
    "LOCPATH",
    "NLSPATH",
    "BASH_ENV",
    "ENV",
    "IFS",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> KeyFileError {
        KeyFile::parse(text.as_bytes()).expect_err(text)
    }

    #[test]
    fn reads_what_ocicrypt_users_have() {
        let file = b"pkcs11:\n  uri: \"pkcs11:token=ocicrypt;object=layerkey?module-path=/m.so&pin-value=1234\"\n\
            module:\n  env:\n    SOFTHSM2_CONF: /dir/softhsm2.conf\n    NUMBER: 12\n";
        assert!(KeyFile::looks_like(file));
        let file = KeyFile::parse(file).unwrap();
        assert_eq!(file.uri.token(), Some("ocicrypt"));
        assert_eq!(file.uri.module_path(), Some("/m.so"));
        let variables: Vec<_> = file.environment.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(
            variables,
            [("NUMBER", "12"), ("SOFTHSM2_CONF", "/dir/softhsm2.conf")]
        );
        // Upstream's own example, folded over lines and with an empty module.
        let file = b"pkcs11:\n  uri: pkcs11:slot-id=1;id=%01?module-name=m\nmodule:\n";
        assert!(KeyFile::parse(file).unwrap().environment.is_empty());
        KeyFile::parse(b"{pkcs11: {uri: 'pkcs11:token=x'}, module: {env: null}}").unwrap();
    }

    #[test]
    fn refuses_what_is_not_understood() {
        let member = |name: &str| KeyFileError::Member { name: name.into() };
        let dangerous = |name: &str| KeyFileError::Dangerous { name: name.into() };
        let variable = |name: &str| KeyFileError::Variable { name: name.into() };
        let with =
            |env: &str| format!("pkcs11: {{uri: 'pkcs11:token=x'}}\nmodule: {{env: {env}}}\n");
        for (text, expected) in [
            ("a".to_owned(), KeyFileError::NoUri),
            ("[]".into(), KeyFileError::NoUri),
            ("pkcs11:".into(), KeyFileError::NoUri),
            ("pkcs11: {}".into(), KeyFileError::NoUri),
            ("pkcs11: {uri: [x]}".into(), KeyFileError::NoUri),
            ("pkcs11: {uri: x, pin: 1}".into(), member("pkcs11.pin")),
            ("module: {env: {}}".into(), KeyFileError::NoUri),
            ("pkcs12: {}".into(), member("pkcs12")),
            (
                "pkcs11: {uri: x}".into(),
                KeyFileError::Uri(UriError::Scheme),
            ),
            (
                "pkcs11: {uri: ''}".into(),
                KeyFileError::Uri(UriError::Scheme),
            ),
            (
                "pkcs11: {uri: 'pkcs11:token=x'}\nmodule: []".into(),
                member("module"),
            ),
            (
                "pkcs11: {uri: 'pkcs11:token=x'}\nmodule: {path: /x}".into(),
                member("module.path"),
            ),
            (with("[]"), member("module.env")),
            (with("{A: [b]}"), member("module.env.A")),
            (with("{'': b}"), variable("")),
            (with("{A=B: b}"), variable("A=B")),
            (with("{A: \"b\\0\"}"), variable("A")),
            (with("{LD_PRELOAD: /x.so}"), dangerous("LD_PRELOAD")),
            (with("{ld_library_path: /x}"), dangerous("ld_library_path")),
            (with("{OPENSSL_CONF: /x}"), dangerous("OPENSSL_CONF")),
            (with("{PKCS11SPY: /x.so}"), dangerous("PKCS11SPY")),
            (
                with("{P11_KIT_SERVER_ADDRESS: '|/x'}"),
                dangerous("P11_KIT_SERVER_ADDRESS"),
            ),
            (with("{home: /x}"), dangerous("home")),
            (with("{GCONV_PATH: /x}"), dangerous("GCONV_PATH")),
            (
                with("{DYLD_INSERT_LIBRARIES: /x}"),
                dangerous("DYLD_INSERT_LIBRARIES"),
            ),
        ] {
            assert_eq!(error(&text), expected, "{text}");
        }
        let many: Vec<_> = (0..=MAX_VARIABLES).map(|i| format!("A{i}: b")).collect();
        let limit = MAX_VARIABLES;
        assert_eq!(
            error(&with(&format!("{{{}}}", many.join(", ")))),
            KeyFileError::TooMany { limit }
        );
        assert!(!KeyFile::looks_like(b"-----BEGIN PRIVATE KEY-----\n"));
    }

    #[test]
    fn no_message_tells_the_pin() {
        let text = "pkcs11: {uri: 'pkcs11:token=x?pin-value=hunter2&pin-source=/p'}";
        assert!(!error(text).to_string().contains("hunter2"));
        let file = KeyFile::parse(b"pkcs11: {uri: 'pkcs11:token=x?pin-value=hunter2'}").unwrap();
        assert!(!format!("{file:?}").contains("hunter2"));
    }
}
