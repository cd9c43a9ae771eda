//! The configuration of key providers, the JSON that ocicrypt reads from the file in `OCICRYPT_KEYPROVIDER_CONFIG`.
//!
//! A file that is malformed is refused as a whole, where ocicrypt logs and goes on without providers. What is wrong with one
//! provider matters only to who asks for it: the file belongs to other programs, too. Unknown members are passed over.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use thiserror::Error;

use crate::grpc::Target;
use crate::{ProviderError, ProviderName};

/// Key providers by name, and how each is reached.
#[derive(Debug, Default)]
pub struct Config(BTreeMap<Box<str>, Entry>);

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        if json.len() > Self::MAX_LEN {
            return Err(ConfigError::TooLong {
                limit: Self::MAX_LEN,
            });
        }
        // Structures would be read from arrays, too.
        let first = json.iter().find(|octet| !octet.is_ascii_whitespace());
        if first == Some(&b'[') {
            return Err(ConfigError::Malformed { line: 1, column: 0 });
        }
        let file: File = serde_json::from_slice(json).map_err(|error| ConfigError::Malformed {
            line: error.line(),
            column: error.column(),
        })?;
        Ok(Self(file.providers.unwrap_or_default().0))
    }

    /// Returns the names as they stand in the file; not all need to be [names](ProviderName) that we take.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }

    /// Returns how a provider is reached. A command wins over an address, as in ocicrypt.
    ///
    /// # Errors
    /// [`ProviderError`] if it is not configured, or not in a way that we support.
    pub fn transport(&self, name: &ProviderName) -> Result<Transport, ProviderError> {
        let entry = self
            .0
            .get(name.as_str())
            .ok_or(ProviderError::NotConfigured)?;
        if let Some(command) = &entry.cmd {
            if command.path.is_empty() {
                return Err(ProviderError::NoProgram);
            }
            return Ok(Transport::Command(command.clone()));
        }
        if let Some(target) = &entry.grpc {
            return Ok(Transport::Grpc(Target::new(target, entry.tls.as_ref())?));
        }
        for (transport, member) in [("ttrpc", &entry.ttrpc), ("native", &entry.native)] {
            if member.is_some() {
                return Err(ProviderError::Unsupported { transport });
            }
        }
        Err(ProviderError::NoTransport)
    }

    /// Longest configuration file.
    pub const MAX_LEN: usize = 256 * 1024;
    /// Most providers in one file.
    pub const MAX_PROVIDERS: usize = 100;
}

/// Why a configuration file is none.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// It is too long.
    #[error("key-provider configuration longer than {limit} octets")]
    TooLong {
        /// [`Config::MAX_LEN`].
        limit: usize,
    },

    /// It is not JSON of the expected shape, lists a name twice or too many of them.
    #[error("malformed key-provider configuration at line {line}, column {column}")]
    Malformed {
        /// Counted from 1; 0 if nothing is there.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
}

/// How a provider is reached.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Transport {
    /// A program is started for each call.
    Command(Command),
    /// A gRPC service is called.
    Grpc(Target),
}

/// A program and its arguments.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Command {
    /// Where it is; a name without slash is looked for in `PATH`.
    pub path: String,
    /// Its arguments.
    #[serde(default, deserialize_with = "null_is_default")]
    pub args: Vec<String>,
}

/// TLS for a gRPC service, as ocicrypt 1.3 has it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, rename_all = "kebab-case")]
pub struct TlsSettings {
    /// Authorities to trust, PEM; without it those of the platform.
    #[serde(deserialize_with = "null_is_default")]
    pub root_ca_file: PathBuf,
    /// Our certificate, PEM.
    #[serde(deserialize_with = "null_is_default")]
    pub cert_file: PathBuf,
    /// Its private key, PEM.
    #[serde(deserialize_with = "null_is_default")]
    pub key_file: PathBuf,
    /// The name in the server's certificate, where it is not that in the address.
    #[serde(deserialize_with = "null_is_default")]
    pub server_name: String,
    /// Trust anybody; refused.
    #[serde(deserialize_with = "null_is_default")]
    pub insecure_skip_verify: bool,
}

#[derive(Deserialize)]
struct File {
    #[serde(default, rename = "key-providers")]
    providers: Option<Entries>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    cmd: Option<Command>,
    #[serde(default, deserialize_with = "empty_is_none")]
    grpc: Option<String>,
    #[serde(rename = "grpc-tls")]
    tls: Option<TlsSettings>,
    ttrpc: Option<IgnoredAny>,
    native: Option<IgnoredAny>,
}

#[derive(Default)]
struct Entries(BTreeMap<Box<str>, Entry>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of key providers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Entries, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((name, entry)) = members.next_entry::<Box<str>, Entry>()? {
            if entries.len() >= Config::MAX_PROVIDERS {
                return Err(serde::de::Error::custom("too many key providers"));
            }
            if entries.insert(name, entry).is_some() {
                return Err(serde::de::Error::custom("a key provider twice"));
            }
        }
        Ok(Entries(entries))
    }
}

/// Takes `null` for a member that is not there, as Go does.
fn null_is_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn empty_is_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> ProviderName {
        ProviderName::parse(name).unwrap()
    }

    fn transport(entry: &str) -> Result<Transport, ProviderError> {
        let json = format!(r#"{{"key-providers":{{"demo":{entry}}}}}"#);
        Config::parse(json.as_bytes())
            .unwrap()
            .transport(&name("demo"))
    }

    #[test]
    fn a_command_wins_over_an_address() {
        for entry in [
            r#"{"cmd":{"path":"/bin/x","args":["a","b c"]},"grpc":"127.0.0.1:1"}"#,
            r#"{"cmd":{"path":"/bin/x","args":["a","b c"],"more":1},"grpc":null,"unknown":{"x":[]}}"#,
        ] {
            let Ok(Transport::Command(command)) = transport(entry) else {
                panic!("{entry}");
            };
            assert_eq!(command.path, "/bin/x");
            assert_eq!(command.args, ["a", "b c"]);
        }
        for entry in [
            r#"{"cmd":{"path":"x"}}"#,
            r#"{"cmd":{"path":"x","args":null},"grpc":"","ttrpc":"unix:///s"}"#,
        ] {
            let Ok(Transport::Command(command)) = transport(entry) else {
                panic!("{entry}");
            };
            assert_eq!((&*command.path, command.args.len()), ("x", 0));
        }
        let entry = r#"{"cmd":null,"grpc":"127.0.0.1:50000"}"#;
        assert!(matches!(transport(entry), Ok(Transport::Grpc(_))));
    }

    #[test]
    fn what_we_do_not_support_is_told_to_who_asks_for_it() {
        for (entry, expected) in [
            (r#"{}"#, "its configuration has neither `cmd` nor `grpc`"),
            // What ocicrypt's documentation shows, and what does not work there either.
            (
                r#"{"path":"/bin/x","args":[]}"#,
                "its configuration has neither `cmd` nor `grpc`",
            ),
            (
                r#"{"cmd":{"path":""}}"#,
                "its configuration names no program in `cmd.path`",
            ),
            (
                r#"{"ttrpc":"unix:///run/cdh.sock"}"#,
                "`ttrpc` is not supported, only `cmd` and `grpc` are",
            ),
            (
                r#"{"native":"attestation-agent"}"#,
                "`native` is not supported, only `cmd` and `grpc` are",
            ),
            (
                r#"{"grpc":"kms.example:50000"}"#,
                "`kms.example:50000` is not on this machine, and without `grpc-tls` layer keys would travel in clear",
            ),
            (
                r#"{"grpc":"127.0.0.1:50000","grpc-tls":{"insecure-skip-verify":true}}"#,
                "`insecure-skip-verify` is not supported: layer keys would go to whoever answers; name its authority in `root-ca-file`",
            ),
        ] {
            let error = transport(entry).map(|_| ()).unwrap_err();
            assert_eq!(error.to_string(), expected, "{entry}");
            assert!(!error.is_unavailable());
        }
    }

    #[test]
    fn a_file_without_providers_has_none() {
        for json in [
            "{}",
            r#"{"key-providers":null}"#,
            r#"{"key-providers":{},"x":1}"#,
        ] {
            let config = Config::parse(json.as_bytes()).unwrap();
            assert_eq!(config.names().count(), 0);
            let error = config.transport(&name("demo")).map(|_| ()).unwrap_err();
            assert_eq!(error.to_string(), "not configured");
        }
    }

    #[test]
    fn malformed_files_are_refused_with_the_place() {
        let error = |json: &str| Config::parse(json.as_bytes()).map(|_| ()).unwrap_err();
        let place = |line, column| ConfigError::Malformed { line, column };
        assert_eq!(error(""), place(1, 0));
        assert_eq!(error("[]"), place(1, 0));
        assert_eq!(
            error("{\"key-providers\":\n{\"a\":{\"cmd\":\"/bin/x\"}}}"),
            place(2, 20)
        );
        let count = (0..=Config::MAX_PROVIDERS).map(|n| format!(r#""p{n}":{{}}"#));
        let many: Vec<String> = count.collect();
        let many = format!(r#"{{"key-providers":{{{}}}}}"#, many.join(","));
        for json in [
            r#"{"key-providers":[]}"#,
            r#"{"key-providers":{"a":null}}"#,
            r#"{"key-providers":{"a":{"cmd":{"args":[]}}}}"#,
            r#"{"key-providers":{"a":{"cmd":{"path":"x","args":"y"}}}}"#,
            r#"{"key-providers":{"a":{"cmd":{"path":"x","args":[1]}}}}"#,
            r#"{"key-providers":{"a":{"grpc":1}}}"#,
            r#"{"key-providers":{"a":{"grpc":"h:1","grpc-tls":true}}}"#,
            r#"{"key-providers":{"a":{"grpc":"h:1","grpc-tls":{"insecure-skip-verify":"no"}}}}"#,
            r#"{"key-providers":{"a":{},"a":{}}}"#,
            r#"{"key-providers":{}} x"#,
            &many,
        ] {
            let error = error(json);
            assert!(matches!(error, ConfigError::Malformed { .. }), "{json}");
        }
        let long = vec![b' '; Config::MAX_LEN + 1];
        let limit = Config::MAX_LEN;
        assert_eq!(
            Config::parse(&long).map(|_| ()),
            Err(ConfigError::TooLong { limit })
        );
    }
}
