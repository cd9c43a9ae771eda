//! `hosts.toml` of containerd: where the images of one registry are (containerd, `docs/hosts.md`).
//!
//! Pure. Request headers that it may add are refused rather than forgotten: they commonly carry logins.

use std::collections::BTreeMap;

use reqwest::Url;
use sealift_oci::json;
use serde::Deserialize;
use thiserror::Error;
use toml::Spanned;

/// The hosts of one registry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostsToml {
    /// Those that are asked first, in the order of the file.
    pub hosts: Vec<HostEntry>,
    /// The registry itself, where the file names it.
    pub server: Option<HostEntry>,
}

/// One host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostEntry {
    /// `scheme://host[:port]/[path/]v2/`, or another root of its API.
    pub root: Url,
    /// Whether it knows what is behind a digest.
    pub pulls: bool,
    /// Whether it knows what is behind a tag.
    pub resolves: bool,
    /// Files with authorities to trust in addition; relative to the file.
    pub authorities: Vec<String>,
    /// Certificate to identify with, and its key, which may be in the same file.
    pub client: Option<(String, String)>,
    /// Whether its certificate may be anything.
    pub skip_verify: bool,
}

impl HostsToml {
    /// Parses a file.
    ///
    /// # Errors
    /// [`HostsTomlError`]
    pub fn parse(text: &str) -> Result<Self, HostsTomlError> {
        if text.len() > Self::MAX_LEN {
            return Err(HostsTomlError::TooLong);
        }
        let file: File = toml::from_str(text).map_err(|error| HostsTomlError::Toml {
            reason: error.message().into(),
        })?;
        let server = match file.server.as_deref() {
            None | Some("") => None,
            Some(server) => Some(HostEntry::new(server, file.own)?),
        };
        // TOML tables have no order; the file has, and it is the one in which hosts are asked.
        let mut hosts: Vec<_> = file.host.into_iter().collect();
        hosts.sort_by_key(|(_, table)| table.span().start);
        let hosts = hosts
            .into_iter()
            .map(|(name, table)| HostEntry::new(&name, table.into_inner()))
            .collect::<Result<_, _>>()?;
        Ok(Self { hosts, server })
    }

    /// Most octets of a file.
    pub const MAX_LEN: usize = 1024 * 1024;
}

impl HostEntry {
    fn new(name: &str, table: HostTable) -> Result<Self, HostsTomlError> {
        let refuse = || HostsTomlError::Host {
            text: json::excerpt(name),
        };
        if table.header.is_some() {
            return Err(HostsTomlError::Header {
                host: json::excerpt(name),
            });
        }
        let text = match name.contains("://") {
            true => name.to_owned(),
            false => format!("https://{name}"),
        };
        let mut root = Url::parse(&text).map_err(|_| refuse())?;
        let is_plain = root.username().is_empty()
            && root.password().is_none()
            && root.query().is_none()
            && root.fragment().is_none();
        if !matches!(root.scheme(), "http" | "https") || root.host_str().is_none() || !is_plain {
            return Err(refuse());
        }
        let path = root.path().trim_end_matches('/');
        let path = match table.override_path || path.ends_with("/v2") {
            true => format!("{path}/"),
            false => format!("{path}/v2/"),
        };
        root.set_path(&path);
        let has = |wanted: &str| match &table.capabilities {
            Some(capabilities) if !capabilities.is_empty() => {
                capabilities.iter().any(|one| one == wanted)
            }
            _ => true,
        };
        let (pulls, resolves) = (has("pull"), has("resolve"));
        Ok(Self {
            root,
            pulls,
            resolves,
            authorities: table.ca.map(OneOrMany::into_vec).unwrap_or_default(),
            client: match table.client {
                None => None,
                Some(Client::File(file)) => Some((file.clone(), file)),
                Some(Client::Pairs(pairs)) => pairs.into_iter().next().map(Pair::into_files),
            },
            skip_verify: table.skip_verify,
        })
    }
}

/// Why a file was refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum HostsTomlError {
    /// Longer than any such file.
    #[error("it is too long")]
    TooLong,
    /// Not TOML, or a member of the wrong type.
    #[error("it is not what hosts.toml looks like: {reason}")]
    Toml {
        /// What the parser says, without the line, which may hold a secret.
        reason: Box<str>,
    },
    /// Not the address of a host.
    #[error("`{text}` is not the URL of a host")]
    Host {
        /// What stands there.
        text: Box<str>,
    },
    /// Something that would have to be sent and is not.
    #[error("host `{host}` wants headers of its own, which is not supported")]
    Header {
        /// The host.
        host: Box<str>,
    },
}

#[derive(Deserialize)]
struct File {
    server: Option<String>,
    #[serde(flatten)]
    own: HostTable,
    #[serde(default)]
    host: BTreeMap<String, Spanned<HostTable>>,
}

#[derive(Deserialize)]
struct HostTable {
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMany>,
    client: Option<Client>,
    #[serde(default)]
    skip_verify: bool,
    #[serde(default)]
    override_path: bool,
    header: Option<toml::Table>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Client {
    File(String),
    Pairs(Vec<Pair>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Pair {
    File(String),
    Files((String, String)),
}

impl Pair {
    fn into_files(self) -> (String, String) {
        match self {
            Self::File(file) => (file.clone(), file),
            Self::Files((certificate, key)) if key.is_empty() => (certificate.clone(), certificate),
            Self::Files(files) => files,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_asked_in_the_order_of_the_file() {
        let parsed = HostsToml::parse(
            r#"
server = "https://registry.example/base"
ca = "own.pem"

[host."https://z.example"]
  capabilities = ["pull"]
  ca = ["a.pem", "b.pem"]
  client = [["c.pem", "c.key"], ["d.pem", ""]]

[host."http://a.example:5000/v2/mirror"]
  override_path = true
  skip_verify = true

[host."m.example/v2"]
  client = "both.pem"
"#,
        )
        .unwrap();
        let roots: Vec<_> = parsed.hosts.iter().map(|h| h.root.as_str()).collect();
        assert_eq!(
            roots,
            [
                "https://z.example/v2/",
                "http://a.example:5000/v2/mirror/",
                "https://m.example/v2/"
            ]
        );
        let server = parsed.server.unwrap();
        assert_eq!(server.root.as_str(), "https://registry.example/base/v2/");
        assert_eq!(server.authorities, ["own.pem"]);
        let [z, a, m] = &parsed.hosts[..] else {
            panic!("{:?}", parsed.hosts)
        };
        assert_eq!((z.pulls, z.resolves, z.skip_verify), (true, false, false));
        assert_eq!(z.authorities, ["a.pem", "b.pem"]);
        assert_eq!(z.client, Some(("c.pem".into(), "c.key".into())));
        assert_eq!((a.pulls, a.resolves, a.skip_verify), (true, true, true));
        assert_eq!(m.client, Some(("both.pem".into(), "both.pem".into())));
    }

    #[test]
    fn what_names_no_host_is_refused() {
        for (text, expected) in [
            ("server = \"ftp://x\"", "`ftp://x` is not the URL of a host"),
            (
                "[host.\"https://u:p@x\"]",
                "`https://u:p@x` is not the URL of a host",
            ),
            ("[host.\"https://\"]", "`https://` is not the URL of a host"),
            (
                "server = 1",
                "it is not what hosts.toml looks like: invalid type: integer `1`, expected a string",
            ),
            (
                "[host.\"x.example\".header]\nauthorization = \"secret\"",
                "host `x.example` wants headers of its own, which is not supported",
            ),
        ] {
            let refusal = HostsToml::parse(text).unwrap_err().to_string();
            assert_eq!(refusal, expected, "{text}");
        }
        let empty = HostsToml {
            hosts: Vec::new(),
            server: None,
        };
        assert_eq!(HostsToml::parse(""), Ok(empty));
    }
}
