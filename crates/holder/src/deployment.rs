//! `holders.toml`: who the holders and administrators of a deployment are, and which keys it has.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::certificate::{self, CertificateError};
use crate::descriptor::{self, Administrator, DescriptorError};
use crate::keys::{KeyError, PublicKey};
use crate::names;
use crate::statement::HolderDescriptor;

/// Which deployment: drawn with its first holder, the same at all others, and part of every command.
///
/// Not secret. Written as 32 small hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DeploymentId(pub [u8; 16]);

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for DeploymentId {
    type Err = DeploymentError;

    fn from_str(text: &str) -> Result<Self, DeploymentError> {
        let mut octets = [0; 16];
        let decoded = hex::decode_to_slice(text, &mut octets);
        check(decoded.is_ok() && hex::encode(octets) == text, text)?;
        Ok(Self(octets))
    }
}

impl Serialize for DeploymentId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeploymentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A deployment as a client knows it. Key descriptors in it are verified.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Which one: what the file says, or else the descriptors of its holders. Commands need it.
    pub id: Option<DeploymentId>,
    /// Key that is used when none is named.
    pub default_key: Option<String>,
    /// Who may sign descriptors.
    pub administrators: Vec<Administrator>,
    /// The holders, in the order of the file.
    pub holders: Vec<Holder>,
    /// The keys, in the order of the file.
    pub keys: Vec<Key>,
    /// What this machine shows of itself, when it does more than seal.
    pub client: Option<Client>,
}

/// A holder as a client knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// Short name.
    pub name: String,
    /// `https://host:port`.
    pub url: String,
    /// ISO 3166 code.
    pub jurisdiction: String,
    /// PEM of its authority.
    pub ca: String,
    /// What it says of itself, where the file has it.
    pub descriptor: Option<HolderDescriptor>,
}

/// A key as a client knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    /// The name under which the file has it.
    pub id: String,
    /// The descriptor's octets, two administrators' signatures verified.
    pub descriptor: Vec<u8>,
}

/// Files of this machine; none of them has been read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Client {
    /// PEM of the certificate.
    pub certificate: PathBuf,
    /// PEM of the key.
    pub key: PathBuf,
    /// Socket of the agent.
    pub agent: Option<PathBuf>,
    /// The current signed posture statement.
    pub posture: Option<PathBuf>,
}

impl Deployment {
    /// Reads the file and everything it names but the client's own files.
    ///
    /// # Errors
    /// [`DeploymentError`]; an unreadable, unsigned or ambiguous part stops the whole.
    pub fn load(path: &Path) -> Result<Self, DeploymentError> {
        let text = read_text(path)?;
        let base = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, base, &|file| read_text(file))
    }

    /// Reads the text of the file; `read` gives the text of a file, relative paths start at `base`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(
        text: &str,
        base: &Path,
        read: &dyn Fn(&Path) -> Result<String, DeploymentError>,
    ) -> Result<Self, DeploymentError> {
        let file: File = toml::from_str(text).map_err(|source| DeploymentError::Syntax {
            source: Box::new(source),
        })?;
        if file.version != VERSION {
            return Err(DeploymentError::Version {
                found: file.version,
            });
        }
        let administrators = file
            .administrator
            .into_iter()
            .map(|admin| {
                let path = base.join(admin.public_key);
                let key = PublicKey::from_pem(&read(&path)?)
                    .map_err(|source| DeploymentError::Key { path, source })?;
                check(names::is_name(&admin.name), &admin.name)?;
                Ok(Administrator {
                    name: admin.name,
                    key,
                })
            })
            .collect::<Result<Vec<_>, DeploymentError>>()?;
        let holders = file
            .holder
            .into_iter()
            .map(|holder| holder.load(base, read))
            .collect::<Result<Vec<_>, _>>()?;
        distinct(holders.iter().map(|holder| holder.name.as_str()))?;
        let mut id = file.deployment;
        for holder in holders
            .iter()
            .filter_map(|holder| holder.descriptor.as_ref())
        {
            if *id.get_or_insert(holder.deployment) != holder.deployment {
                return Err(DeploymentError::Other {
                    holder: holder.name.as_str().into(),
                });
            }
        }
        let keys = file
            .key
            .into_iter()
            .map(|key| {
                let path = base.join(key.descriptor);
                let envelope = read(&path)?;
                let descriptor =
                    descriptor::verify_key_descriptor(envelope.as_bytes(), &administrators)
                        .map_err(|source| DeploymentError::Descriptor { path, source })?;
                Ok(Key {
                    id: key.id,
                    descriptor,
                })
            })
            .collect::<Result<Vec<_>, DeploymentError>>()?;
        distinct(keys.iter().map(|key| key.id.as_str()))?;
        if let Some(id) = &file.default_key {
            // A machine may fetch its keys' descriptors from the holders; but when the file has any, the default is one.
            check(keys.is_empty() || keys.iter().any(|key| key.id == *id), id)?;
        }
        Ok(Self {
            id,
            default_key: file.default_key,
            administrators,
            holders,
            keys,
            client: file.client.map(|client| Client {
                certificate: base.join(client.certificate),
                key: base.join(client.key),
                agent: client.agent.map(|path| base.join(path)),
                posture: client.posture.map(|path| base.join(path)),
            }),
        })
    }

    /// Finds a holder by name.
    pub fn holder(&self, name: &str) -> Option<&Holder> {
        self.holders.iter().find(|holder| holder.name == name)
    }

    /// Finds a key by name, the default one for `None`.
    pub fn key(&self, id: Option<&str>) -> Option<&Key> {
        let id = id.or(self.default_key.as_deref())?;
        self.keys.iter().find(|key| key.id == id)
    }
}

/// Why a deployment could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeploymentError {
    /// A file could not be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is longer than any of its kind.
    #[error("`{}` is longer than {MAX_FILE_LEN} octets", path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
    },
    /// Not the TOML that is expected.
    #[error("malformed description of the deployment")]
    Syntax {
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// Written for another version of this program.
    #[error("description of the deployment has version {found}, not {VERSION}")]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// A name, URL or code that is none, that is missing, or that stands there twice.
    #[error("`{value}` is not allowed here, unknown, or there twice")]
    Value {
        /// As it stands in the file.
        value: Box<str>,
    },
    /// A holder says that it is one of another deployment.
    #[error("key holder `{holder}` belongs to another deployment")]
    Other {
        /// Its name.
        holder: Box<str>,
    },
    /// An administrator's key is unreadable.
    #[error("cannot use the key `{}`", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// A holder's authority is unreadable.
    #[error("cannot use the authority `{}`", path.display())]
    Authority {
        /// Which.
        path: PathBuf,
        /// Why.
        source: CertificateError,
    },
    /// A descriptor is not signed as it must be.
    #[error("cannot use the descriptor `{}`", path.display())]
    Descriptor {
        /// Which.
        path: PathBuf,
        /// Why.
        source: DescriptorError,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    deployment: Option<DeploymentId>,
    default_key: Option<String>,
    #[serde(default)]
    administrator: Vec<AdministratorEntry>,
    #[serde(default)]
    holder: Vec<HolderEntry>,
    #[serde(default)]
    key: Vec<KeyEntry>,
    client: Option<ClientEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdministratorEntry {
    name: String,
    public_key: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HolderEntry {
    name: String,
    url: String,
    jurisdiction: String,
    ca: PathBuf,
    descriptor: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: String,
    descriptor: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientEntry {
    certificate: PathBuf,
    key: PathBuf,
    agent: Option<PathBuf>,
    posture: Option<PathBuf>,
}

impl HolderEntry {
    fn load(
        self,
        base: &Path,
        read: &dyn Fn(&Path) -> Result<String, DeploymentError>,
    ) -> Result<Holder, DeploymentError> {
        check(names::is_name(&self.name), &self.name)?;
        check(descriptor::is_url(&self.url), &self.url)?;
        check(
            names::is_jurisdiction(&self.jurisdiction),
            &self.jurisdiction,
        )?;
        let path = base.join(self.ca);
        let ca = read(&path)?;
        certificate::chain_from_pem(&ca)
            .map_err(|source| DeploymentError::Authority { path, source })?;
        let descriptor = match self.descriptor {
            None => None,
            Some(path) => {
                let path = base.join(path);
                let envelope = read(&path)?;
                let descriptor = descriptor::read_holder_descriptor(envelope.as_bytes())
                    .map_err(|source| DeploymentError::Descriptor { path, source })?;
                check(descriptor.name == self.name, &descriptor.name)?;
                Some(descriptor)
            }
        };
        Ok(Holder {
            name: self.name,
            url: self.url,
            jurisdiction: self.jurisdiction,
            ca,
            descriptor,
        })
    }
}

fn check(fits: bool, value: &str) -> Result<(), DeploymentError> {
    if fits {
        Ok(())
    } else {
        Err(DeploymentError::Value {
            value: value.into(),
        })
    }
}

fn distinct<'a>(values: impl Iterator<Item = &'a str>) -> Result<(), DeploymentError> {
    let mut seen = BTreeSet::new();
    values
        .into_iter()
        .try_for_each(|value| check(seen.insert(value), value))
}

fn read_text(path: &Path) -> Result<String, DeploymentError> {
    let failed = |source| DeploymentError::File {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let mut file = fs::File::open(path).map_err(failed)?.take(MAX_FILE_LEN + 1);
    let len = file.read_to_string(&mut text).map_err(failed)?;
    if len as u64 > MAX_FILE_LEN {
        return Err(DeploymentError::TooLong {
            path: path.to_owned(),
        });
    }
    Ok(text)
}

const VERSION: u32 = 1;
/// Most octets of the file, and of each file it names.
const MAX_FILE_LEN: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aws_lc_rs::rand::SystemRandom;

    use super::*;
    use crate::descriptor::{sign_holder_descriptor, tests::holder_descriptor};
    use crate::dsse;
    use crate::keys::SigningKey;
    use crate::statement::KEY_DESCRIPTOR;

    const FILE: &str = r#"
version = 1
default_key = "default"

[[administrator]]
name = "alice"
public_key = "alice.pub.pem"

[[administrator]]
name = "bob"
public_key = "bob.pub.pem"

[[holder]]
name = "fra"
url = "https://127.0.0.1:7101"
jurisdiction = "DE"
ca = "fra-ca.pem"
descriptor = "fra.dsse.json"

[[key]]
id = "default"
descriptor = "key-default.dsse.json"

[client]
certificate = "node.pem"
key = "node.key"
agent = "agent.sock"
"#;

    fn files(signers: &[usize]) -> BTreeMap<PathBuf, String> {
        let admins: Vec<_> = (0..2).map(|_| SigningKey::generate().unwrap()).collect();
        let holder = SigningKey::generate().unwrap();
        let descriptor = holder_descriptor("fra", 1, &holder);
        let rng = SystemRandom::new();
        let signers: Vec<&SigningKey> = signers.iter().map(|i| &admins[*i]).collect();
        let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
        let holder = sign_holder_descriptor(&descriptor, &holder, &rng).unwrap();
        let key = dsse::sign(KEY_DESCRIPTOR, b"{}", &signers, &rng).unwrap();
        [
            ("alice.pub.pem", admins[0].public().to_pem()),
            ("bob.pub.pem", admins[1].public().to_pem()),
            ("fra-ca.pem", descriptor.ca.clone()),
            ("fra.dsse.json", text(holder)),
            ("key-default.dsse.json", text(key)),
        ]
        .map(|(name, text)| (Path::new("/site").join(name), text))
        .into()
    }

    fn parse(text: &str, files: &BTreeMap<PathBuf, String>) -> Result<Deployment, DeploymentError> {
        Deployment::parse(text, Path::new("/site"), &|path| {
            let missing = || DeploymentError::File {
                path: path.to_owned(),
                source: std::io::ErrorKind::NotFound.into(),
            };
            files.get(path).cloned().ok_or_else(missing)
        })
    }

    #[test]
    fn a_deployment_is_read_with_all_it_names() {
        let deployment = parse(FILE, &files(&[0, 1])).unwrap();
        assert_eq!(deployment.administrators.len(), 2);
        assert_eq!(deployment.id, Some(DeploymentId([7; 16])));
        assert_eq!(
            deployment
                .holder("fra")
                .unwrap()
                .descriptor
                .as_ref()
                .unwrap()
                .index,
            1
        );
        assert_eq!(deployment.holder("gru"), None);
        assert_eq!(deployment.key(None).unwrap().descriptor, b"{}");
        assert_eq!(deployment.key(Some("other")), None);
        assert_eq!(
            deployment.client.unwrap().agent,
            Some(PathBuf::from("/site/agent.sock"))
        );
    }

    #[test]
    fn a_descriptor_without_two_signatures_stops_the_whole() {
        let error = parse(FILE, &files(&[1])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot use the descriptor `/site/key-default.dsse.json`"
        );
        assert!(matches!(
            error,
            DeploymentError::Descriptor {
                source: DescriptorError::Approvals { found: 1 },
                ..
            }
        ));
    }

    #[test]
    fn refuses_what_is_unknown_wrong_or_there_twice() {
        let files = files(&[0, 1]);
        for (from, to, expected) in [
            (
                "version = 1",
                "version = 2",
                "description of the deployment has version 2, not 1",
            ),
            (
                "agent =",
                "agnet =",
                "malformed description of the deployment",
            ),
            (
                "https://127",
                "http://127",
                "`http://127.0.0.1:7101` is not allowed here, unknown, or there twice",
            ),
            (
                "\"DE\"",
                "\"de\"",
                "`de` is not allowed here, unknown, or there twice",
            ),
            (
                "name = \"fra\"",
                "name = \"gru\"",
                "`fra` is not allowed here, unknown, or there twice",
            ),
            (
                "default_key = \"default\"",
                "default_key = \"x\"",
                "`x` is not allowed here, unknown, or there twice",
            ),
            (
                "alice.pub.pem",
                "fra-ca.pem",
                "cannot use the key `/site/fra-ca.pem`",
            ),
            (
                "ca = \"fra-ca.pem\"",
                "ca = \"bob.pub.pem\"",
                "cannot use the authority `/site/bob.pub.pem`",
            ),
            ("fra-ca.pem", "none.pem", "cannot read `/site/none.pem`"),
        ] {
            let text = FILE.replace(from, to);
            assert_ne!(text, FILE, "{from}");
            assert_eq!(parse(&text, &files).unwrap_err().to_string(), expected);
        }
        let twice = FILE.replace(
            "[client]",
            "[[key]]\nid = \"default\"\ndescriptor = \"key-default.dsse.json\"\n[client]",
        );
        assert!(
            matches!(parse(&twice, &files), Err(DeploymentError::Value { value }) if &*value == "default")
        );
    }

    #[test]
    fn a_holder_of_another_deployment_stops_the_whole() {
        let files = files(&[0, 1]);
        let file = |id: &str| format!("deployment = \"{id}\"\n{FILE}");
        let own = parse(&file(&"07".repeat(16)), &files).unwrap();
        assert_eq!(own.id, Some(DeploymentId([7; 16])));
        let error = parse(&file(&"08".repeat(16)), &files).unwrap_err();
        assert_eq!(
            error.to_string(),
            "key holder `fra` belongs to another deployment"
        );
        for id in ["", "07", &"0A".repeat(16), &"07".repeat(17)] {
            let error = parse(&file(id), &files).unwrap_err();
            assert!(matches!(error, DeploymentError::Syntax { .. }), "{id}");
        }
    }

    #[test]
    fn files_are_found_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files(&[0, 1]) {
            fs::write(directory.path().join(path.file_name().unwrap()), text).unwrap();
        }
        let path = directory.path().join("holders.toml");
        fs::write(&path, FILE).unwrap();
        assert_eq!(Deployment::load(&path).unwrap().holders.len(), 1);
        fs::write(
            &path,
            vec![b'#'; usize::try_from(MAX_FILE_LEN).unwrap() + 1],
        )
        .unwrap();
        assert!(matches!(
            Deployment::load(&path),
            Err(DeploymentError::TooLong { .. })
        ));
    }
}
