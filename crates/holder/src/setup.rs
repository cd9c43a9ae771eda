//! A holder's directory: making it, making holders known to each other, reading it, backing it up.
//!
//! `holder.toml` is what the holder is; `descriptor.dsse.json` is what it tells others; `peers/NAME.dsse.json` is what
//! others told; `store.sqlite` is the rest. `holder.toml` is written last: a directory that has one is complete. Who
//! serves from it holds `lock`, so that nobody else does.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use aws_lc_rs::rand::SecureRandom;
use sealift_threshold::HolderId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::certificate::{AUTHORITY_LIFETIME, Authority, CertificateError, Validity};
use crate::deployment::DeploymentId;
use crate::descriptor::{self, Administrator, DescriptorError};
use crate::keys::{KeyError, PublicKey};
use crate::names;
use crate::server::quota::Quota;
use crate::server::rollback::RESTORED;
use crate::server::sealing::Cost;
use crate::server::secrets::{Secrets, SecretsError};
use crate::server::store::{Change, SqliteStore, Store, StoreError};
use crate::statement::HolderDescriptor;

/// What a new holder is to be.
#[derive(Clone, Copy, Debug)]
pub struct Init<'a> {
    /// The deployment that it joins; none begins one.
    pub deployment: Option<DeploymentId>,
    /// Short name, `[a-z0-9][a-z0-9-]{0,30}`.
    pub name: &'a str,
    /// Index in every key, unique in the deployment.
    pub index: HolderId,
    /// ISO 3166 code.
    pub jurisdiction: &'a str,
    /// `HOST:PORT` to listen on.
    pub listen: &'a str,
    /// `https://host:port` under which others reach it.
    pub url: &'a str,
    /// Where the passphrase comes from at start.
    pub seal: &'a SealSource,
    /// The first administrators: at least two people.
    pub administrators: &'a [Administrator],
}

/// Makes a new holder in `dir`, which must not exist or be empty; returns the envelope of its descriptor.
///
/// `passphrase` is what `init.seal` stands for. `cost` is [`Cost::STANDARD`] outside tests.
///
/// # Errors
///
/// [`SetupError`]; then `dir` is as it was.
pub fn init(
    dir: &Path,
    init: &Init<'_>,
    passphrase: &[u8],
    cost: Cost,
    now_ms: u64,
    rng: &dyn SecureRandom,
) -> Result<Vec<u8>, SetupError> {
    init.check()?;
    let was_there = prepare(dir)?;
    fill(dir, init, passphrase, cost, now_ms, rng).inspect_err(|_| clear(dir, was_there))
}

/// Removes what was made in `dir`, which had been empty: nothing half-made stays behind.
///
/// What cannot be removed is named by the next attempt.
fn clear(dir: &Path, was_there: bool) {
    for file in [STORE, STORE_WAL, STORE_SHM, DESCRIPTOR, CONFIG] {
        drop(fs::remove_file(dir.join(file)));
    }
    drop(fs::remove_dir_all(dir.join(PEERS)));
    if !was_there {
        drop(fs::remove_dir(dir));
    }
}

fn fill(
    dir: &Path,
    init: &Init<'_>,
    passphrase: &[u8],
    cost: Cost,
    now_ms: u64,
    rng: &dyn SecureRandom,
) -> Result<Vec<u8>, SetupError> {
    let (secrets, changes) = Secrets::create(init.name, init.index, passphrase, cost, rng)?;
    // SQLite gives its journals the mode of the file it finds.
    write_new(&dir.join(STORE), &[])?;
    SqliteStore::create(&dir.join(STORE))?.commit(&changes)?;
    let validity = Validity::from(now_ms / 1000, AUTHORITY_LIFETIME);
    let deployment = match init.deployment {
        Some(id) => id,
        None => {
            let mut id = [0; 16];
            rng.fill(&mut id).map_err(|_| SetupError::Randomness)?;
            DeploymentId(id)
        }
    };
    let own = HolderDescriptor {
        v: 1,
        deployment,
        name: init.name.to_owned(),
        index: init.index.get(),
        jurisdiction: init.jurisdiction.to_owned(),
        url: init.url.to_owned(),
        ca: Authority::certificate(init.name, secrets.authority(), validity)?,
        signing_key: secrets.signing().spki().into(),
        hpke_key: secrets.hpke().public().into(),
    };
    let envelope = descriptor::sign_holder_descriptor(&own, secrets.signing(), rng)?;
    write_new(&dir.join(DESCRIPTOR), &envelope)?;
    let config = ConfigFile {
        version: VERSION,
        listen: init.listen.to_owned(),
        seal: init.seal.clone(),
        quota: None,
        clock: None,
        administrator: init
            .administrators
            .iter()
            .map(|one| AdministratorEntry {
                name: one.name.clone(),
                public_key: one.key.to_pem(),
            })
            .collect(),
    };
    let text = toml::to_string(&config).map_err(|source| SetupError::Write { source })?;
    write_new(&dir.join(CONFIG), text.as_bytes())?;
    sync_dir(dir)?;
    Ok(envelope)
}

impl Init<'_> {
    fn check(&self) -> Result<(), SetupError> {
        let value = |what, value: &str| {
            Err(SetupError::Value {
                what,
                value: value.into(),
            })
        };
        if !names::is_name(self.name) {
            return value("name", self.name);
        }
        if !names::is_jurisdiction(self.jurisdiction) {
            return value("jurisdiction", self.jurisdiction);
        }
        if !descriptor::is_url(self.url) {
            return value("url", self.url);
        }
        let listens = self
            .listen
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !listens {
            return value("listen address", self.listen);
        }
        let people: BTreeSet<_> = self
            .administrators
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        let keys: BTreeSet<_> = self.administrators.iter().map(|one| &one.key).collect();
        // With fewer nobody could ever sign a descriptor.
        if people.len() < descriptor::APPROVALS || keys.len() != self.administrators.len() {
            return Err(SetupError::Administrators);
        }
        self.administrators
            .iter()
            .find(|one| !names::is_name(&one.name))
            .map_or(Ok(()), |one| value("name", &one.name))
    }
}

/// Makes the holder in `dir` know the holders whose descriptor envelopes these are; its own is passed over.
///
/// Signatures show that a descriptor is whole, not that it is genuine: bring it over a channel that you trust.
///
/// # Errors
///
/// [`SetupError::Peer`] when name or index are taken by somebody with other keys; then nothing changes.
pub fn join(dir: &Path, descriptors: &[&[u8]]) -> Result<(), SetupError> {
    let config = load(dir)?;
    let mut known = config.peers;
    let mut new = Vec::new();
    for envelope in descriptors {
        let peer = descriptor::read_holder_descriptor(envelope)?;
        if peer == config.me || known.contains(&peer) {
            continue;
        }
        of_one_deployment(&config.me, &peer)?;
        let taken = known
            .iter()
            .chain([&config.me])
            .any(|other| other.name == peer.name || other.index == peer.index);
        if taken {
            return Err(SetupError::Peer {
                name: peer.name.into(),
            });
        }
        new.push((peer.name.clone(), *envelope));
        known.push(peer);
    }
    let peers = dir.join(PEERS);
    if !peers.is_dir() {
        make_dir(&peers)?;
    }
    for (name, envelope) in new {
        write_new(&peers.join(format!("{name}{SUFFIX}")), envelope)?;
    }
    sync_dir(&peers)
}

/// Commands are for one deployment: a holder of another could never agree with this one.
fn of_one_deployment(me: &HolderDescriptor, peer: &HolderDescriptor) -> Result<(), SetupError> {
    if peer.deployment == me.deployment {
        Ok(())
    } else {
        Err(SetupError::OtherDeployment {
            name: peer.name.as_str().into(),
        })
    }
}

/// A holder as its directory describes it.
#[derive(Clone, Debug)]
pub struct HolderConfig {
    /// What it tells others.
    pub me: HolderDescriptor,
    /// What others told, by name.
    pub peers: Vec<HolderDescriptor>,
    /// `HOST:PORT` to listen on.
    pub listen: String,
    /// Where the passphrase comes from.
    pub seal: SealSource,
    /// The first administrators.
    pub administrators: Vec<Administrator>,
    /// What a node may ask of a key: `[quota]`, which people write by hand.
    pub quota: Quota,
    /// Servers that say whether the clock is right: `ntp` of `[clock]`, which people write by hand.
    pub ntp: Vec<String>,
}

/// Reads the directory of a holder; opens no secret.
///
/// # Errors
///
/// [`SetupError`], naming the file.
pub fn load(dir: &Path) -> Result<HolderConfig, SetupError> {
    let path = dir.join(CONFIG);
    let text = read(&path)?;
    let text =
        std::str::from_utf8(&text).map_err(|_| SetupError::Version { path: path.clone() })?;
    let file: ConfigFile = toml::from_str(text).map_err(|source| SetupError::Config {
        path: path.clone(),
        source,
    })?;
    if file.version != VERSION {
        return Err(SetupError::Version { path });
    }
    let administrators = file
        .administrator
        .into_iter()
        .map(|one| {
            Ok(Administrator {
                key: PublicKey::from_pem(&one.public_key)?,
                name: one.name,
            })
        })
        .collect::<Result<_, KeyError>>()?;
    let me = descriptor::read_holder_descriptor(&read(&dir.join(DESCRIPTOR))?)?;
    let mut peers = Vec::new();
    for path in peer_files(dir)? {
        let peer = descriptor::read_holder_descriptor(&read(&path)?)?;
        of_one_deployment(&me, &peer)?;
        peers.push(peer);
    }
    Ok(HolderConfig {
        me,
        peers,
        listen: file.listen,
        seal: file.seal,
        administrators,
        quota: file.quota.unwrap_or_default(),
        ntp: file.clock.unwrap_or_default().ntp,
    })
}

/// A holder that is ready to serve.
#[derive(Debug)]
pub struct Opened {
    /// What it is.
    pub config: HolderConfig,
    /// Its store.
    pub store: SqliteStore,
    /// Its keys.
    pub secrets: Secrets,
    /// That nobody else serves from the directory.
    pub lock: Lock,
}

/// A directory that is this process's alone as long as this value lives.
#[derive(Debug)]
pub struct Lock {
    /// The system unlocks it when it is closed, however the process ends.
    _file: File,
}

impl Lock {
    fn take(dir: &Path) -> Result<Self, SetupError> {
        let path = dir.join(LOCK);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let failed = |source| SetupError::File {
            path: path.clone(),
            source,
        };
        let file = options.open(&path).map_err(failed)?;
        let mut patience = PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                // A process that was killed may take a moment to be gone.
                Err(TryLockError::WouldBlock) if !patience.is_zero() => {
                    std::thread::sleep(PAUSE);
                    patience = patience.saturating_sub(PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(SetupError::InUse {
                        dir: dir.to_owned(),
                    });
                }
            }
        }
    }
}

/// Opens a holder with its passphrase or credential.
///
/// # Errors
///
/// [`SetupError::InUse`] when a holder serves from `dir`; [`SetupError::Secrets`] with [`WrongPassphrase`](crate::server::sealing::SealingError::WrongPassphrase), or with the
/// name of a damaged secret; [`SetupError::OtherHolder`] when descriptor and store belong to different holders.
pub fn open(dir: &Path, passphrase: &[u8]) -> Result<Opened, SetupError> {
    let config = load(dir)?;
    let lock = Lock::take(dir)?;
    let index = HolderId::new(config.me.index).ok_or(SetupError::OtherHolder)?;
    let store = SqliteStore::open(&dir.join(STORE))?;
    let secrets = Secrets::open(&config.me.name, index, passphrase, &store)?;
    if secrets.signing().spki() != config.me.signing_key.0
        || secrets.hpke().public() != config.me.hpke_key.0
    {
        return Err(SetupError::OtherHolder);
    }
    Ok(Opened {
        config,
        store,
        secrets,
        lock,
    })
}

/// Copies everything the holder in `dir` needs into one new file, while it may be running. Secrets stay sealed.
///
/// # Errors
///
/// [`SetupError::Exists`] when `file` is there; then it is not touched.
pub fn backup(dir: &Path, file: &Path) -> Result<(), SetupError> {
    let mut meta = vec![
        Change::Meta {
            name: CONFIG.to_owned(),
            value: read(&dir.join(CONFIG))?,
        },
        Change::Meta {
            name: DESCRIPTOR.to_owned(),
            value: read(&dir.join(DESCRIPTOR))?,
        },
    ];
    let mut names = Vec::new();
    for path in peer_files(dir)? {
        let peer = read(&path)?;
        let name = descriptor::read_holder_descriptor(&peer)?.name;
        meta.push(Change::Meta {
            name: format!("{PEERS}/{name}{SUFFIX}"),
            value: peer,
        });
        names.push(name);
    }
    let names = serde_json::to_vec(&names).map_err(|_| SetupError::NotABackup)?;
    meta.push(Change::Meta {
        name: PEERS.to_owned(),
        value: names,
    });
    meta.push(Change::Meta {
        name: RESTORED.to_owned(),
        value: vec![1],
    });
    let store = SqliteStore::open(&dir.join(STORE))?;
    write_new(file, &[])?;
    store.backup(file)?;
    SqliteStore::open(file)?.commit(&meta)?;
    Ok(())
}

/// Makes a holder again from a backup, in `dir`, which must not exist or be empty.
///
/// What happened after the backup is learnt from the peers, from all of them before anything is released; a share of a
/// generation made since is missing, which is noticed ([`crate::server::rollback`]) and repaired.
///
/// # Errors
///
/// [`SetupError::NotABackup`] and [`SetupError::Store`] when `file` is not a sound backup; then `dir` is as it was.
pub fn restore(dir: &Path, file: &Path) -> Result<(), SetupError> {
    let backup = SqliteStore::open(file)?;
    let get = |name: &str| -> Result<Vec<u8>, SetupError> {
        backup.meta(name)?.ok_or(SetupError::NotABackup)
    };
    let names: Vec<String> =
        serde_json::from_slice(&get(PEERS)?).map_err(|_| SetupError::NotABackup)?;
    let (config, own) = (get(CONFIG)?, get(DESCRIPTOR)?);
    let mut peers = Vec::new();
    for name in names {
        let envelope = get(&format!("{PEERS}/{name}{SUFFIX}"))?;
        // The name becomes a path.
        if descriptor::read_holder_descriptor(&envelope)?.name != name {
            return Err(SetupError::NotABackup);
        }
        peers.push((name, envelope));
    }
    let was_there = prepare(dir)?;
    let write = || {
        write_new(&dir.join(STORE), &[])?;
        backup.backup(&dir.join(STORE))?;
        if !peers.is_empty() {
            make_dir(&dir.join(PEERS))?;
        }
        for (name, envelope) in &peers {
            write_new(&dir.join(PEERS).join(format!("{name}{SUFFIX}")), envelope)?;
        }
        write_new(&dir.join(DESCRIPTOR), &own)?;
        write_new(&dir.join(CONFIG), &config)?;
        // What was restored must be a holder, or else nothing is.
        load(dir)?;
        sync_dir(dir)
    };
    write().inspect_err(|_| clear(dir, was_there))
}

/// Where a holder's passphrase comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SealSource {
    /// Somebody types it.
    Passphrase,
    /// The service manager provides it under this name.
    Credential(String),
}

impl fmt::Display for SealSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passphrase => f.write_str(PASSPHRASE),
            Self::Credential(name) => write!(f, "{CREDENTIAL}{name}"),
        }
    }
}

impl FromStr for SealSource {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Self, SetupError> {
        match text.strip_prefix(CREDENTIAL) {
            // The name becomes a file name.
            Some(name) if names::is_place(name) => Ok(Self::Credential(name.to_owned())),
            None if text == PASSPHRASE => Ok(Self::Passphrase),
            _ => Err(SetupError::Value {
                what: "seal",
                value: text.into(),
            }),
        }
    }
}

impl Serialize for SealSource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SealSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Why a holder's directory could not be made, read or copied.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// A value is not allowed.
    #[error("`{value}` is no {what} for a holder")]
    Value {
        /// Which value.
        what: &'static str,
        /// As given.
        value: Box<str>,
    },
    /// Fewer than two people, or one key twice.
    #[error(
        "a holder needs at least {} administrators with keys of their own",
        descriptor::APPROVALS
    )]
    Administrators,
    /// Something is there already.
    #[error("`{}` is there already", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// A holder serves from the directory.
    #[error("`{}` is in use: a holder serves from it", dir.display())]
    InUse {
        /// Which.
        dir: PathBuf,
    },
    /// Another holder has that name or index.
    #[error("holder `{name}` has a name or index that belongs to somebody else here")]
    Peer {
        /// Its name.
        name: Box<str>,
    },
    /// A holder of another deployment.
    #[error("holder `{name}` belongs to another deployment")]
    OtherDeployment {
        /// Its name.
        name: Box<str>,
    },
    /// No id could be drawn.
    #[error("the system gives no random octets")]
    Randomness,
    /// Descriptor and store belong to different holders.
    #[error("descriptor and store belong to different holders")]
    OtherHolder,
    /// The file is not what [`backup`] makes.
    #[error("not a backup of a holder")]
    NotABackup,
    /// The file is of another version.
    #[error("`{}` is of another version", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot use `{}`", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The configuration is malformed.
    #[error("`{}` is malformed", path.display())]
    Config {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: toml::de::Error,
    },
    /// The configuration could not be written.
    #[error("the configuration cannot be written")]
    Write {
        /// Why.
        #[source]
        source: toml::ser::Error,
    },
    /// A holder's descriptor is not believed.
    #[error("a holder's descriptor is refused")]
    Descriptor(#[from] DescriptorError),
    /// An administrator's key is unreadable.
    #[error("an administrator's key is unreadable")]
    Key(#[from] KeyError),
    /// The authority's certificate could not be made.
    #[error("the authority's certificate cannot be made")]
    Certificate(#[from] CertificateError),
    /// The holder's secrets could not be made or opened.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    version: u32,
    listen: String,
    seal: SealSource,
    #[serde(default)]
    administrator: Vec<AdministratorEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota: Option<Quota>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clock: Option<ClockEntry>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ClockEntry {
    ntp: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct AdministratorEntry {
    name: String,
    public_key: String,
}

/// Makes `dir` an empty directory that only its owner enters; returns whether it was there.
fn prepare(dir: &Path) -> Result<bool, SetupError> {
    let failed = |source| SetupError::File {
        path: dir.to_owned(),
        source,
    };
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_dir(dir).map(|()| false),
        Err(error) => Err(failed(error)),
        Ok(mut entries) => match entries.next() {
            Some(entry) => Err(SetupError::Exists {
                path: entry.map_err(failed)?.path(),
            }),
            None => restrict(dir).map(|()| true).map_err(failed),
        },
    }
}

#[cfg(unix)]
fn restrict(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
}

/// Elsewhere the directory has the access control list of the one it is in.
#[cfg(not(unix))]
const fn restrict(_: &Path) -> io::Result<()> {
    Ok(())
}

fn make_dir(dir: &Path) -> Result<(), SetupError> {
    fs::create_dir(dir)
        .and_then(|()| restrict(dir))
        .map_err(|source| SetupError::File {
            path: dir.to_owned(),
            source,
        })
}

fn write_new(path: &Path, octets: &[u8]) -> Result<(), SetupError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let write = |options: &OpenOptions| {
        let mut file = options.open(path)?;
        file.write_all(octets)?;
        file.sync_all()
    };
    write(&options).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => SetupError::Exists {
            path: path.to_owned(),
        },
        _ => SetupError::File {
            path: path.to_owned(),
            source,
        },
    })
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> Result<(), SetupError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|source| SetupError::File {
            path: dir.to_owned(),
            source,
        })
}

/// Elsewhere directories cannot be flushed.
#[cfg(not(unix))]
const fn sync_dir(_: &Path) -> Result<(), SetupError> {
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, SetupError> {
    let read = || {
        let mut octets = Vec::new();
        File::open(path)?
            .take(MAX_FILE_LEN)
            .read_to_end(&mut octets)?;
        Ok(octets)
    };
    read().map_err(|source| SetupError::File {
        path: path.to_owned(),
        source,
    })
}

fn peer_files(dir: &Path) -> Result<Vec<PathBuf>, SetupError> {
    let dir = dir.join(PEERS);
    let failed = |source| SetupError::File {
        path: dir.clone(),
        source,
    };
    let entries = match fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.to_string_lossy().ends_with(SUFFIX) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

const VERSION: u32 = 1;
const CONFIG: &str = "holder.toml";
const DESCRIPTOR: &str = "descriptor.dsse.json";
const PEERS: &str = "peers";
const SUFFIX: &str = ".dsse.json";
const STORE: &str = "store.sqlite";
const STORE_WAL: &str = "store.sqlite-wal";
const STORE_SHM: &str = "store.sqlite-shm";
/// How long to wait for a directory that is in use.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);
const LOCK: &str = "lock";
const PASSPHRASE: &str = "passphrase";
const CREDENTIAL: &str = "credential:";
/// Most octets of a file but the store.
const MAX_FILE_LEN: u64 = 1024 * 1024;
