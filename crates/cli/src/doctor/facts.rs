//! What is seen of a node: containerd's version and configuration, programs, folders, agents.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sealift_keywrap::KeyError;
use sealift_keywrap::customer_key::CustomerKey;
use sealift_keywrap::keys::{MAX_FILE_LEN, parse_private};

use crate::containerd::{
    ConfigFile, ConfigFileError, PAYLOAD_IDS, Processor, SEALED_TYPES, Version, default_keys,
    default_verifiers,
};
use crate::image_verifier;
use crate::trust::Policy;

/// What was seen of a node; what is made of it is decided without looking again.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// What `containerd --version` said.
    pub(super) version: Option<Version>,
    /// The file that was asked for, and whether it is there.
    pub(super) config_path: PathBuf,
    pub(super) config: Option<ConfigFile>,
    /// Programs that stanzas name, by the name in the stanza.
    pub(super) programs: Vec<(String, Program)>,
    /// Folders that arguments name.
    pub(super) folders: Vec<(PathBuf, Folder)>,
    /// Agents that arguments name, and whether they answer.
    pub(super) agents: Vec<(PathBuf, bool)>,
    /// containerd's folder of image verifiers, and ours in it.
    pub(super) verifiers: PathBuf,
    pub(super) verifier: Option<PathBuf>,
    /// So many others come before ours that it is not asked.
    pub(super) is_beyond_limit: bool,
    /// The policy by which ours decides.
    pub(super) policy: PolicyState,
    /// Where it is, if this program was told, which says nothing of what containerd tells ours.
    pub(super) named_policy: Option<PathBuf>,
    /// Unix seconds of this machine's clock.
    pub(super) now: u64,
}

/// The trust policy of a node.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum PolicyState {
    /// There is none.
    #[default]
    Absent,
    /// It cannot be used at all, and why.
    Broken(String),
    /// What one of its rules names cannot be used, and why: images of that rule are refused.
    Lacking(String),
    /// It can be used.
    Usable,
}

/// A stanza's program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Program {
    /// Not found.
    Missing,
    /// Found, and no program.
    NotExecutable(PathBuf),
    /// sealift-decoder, under any name.
    Sealift(PathBuf),
    /// Something else.
    Other(PathBuf),
}

/// A folder of keys.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Folder {
    /// Why it could not be read.
    pub(super) unreadable: Option<String>,
    pub(super) keys: usize,
    /// Encrypted keys without a password beside them.
    pub(super) locked: usize,
    /// Files that hold no private key.
    pub(super) others: usize,
    /// Keys that others on this machine can read.
    pub(super) open: Vec<PathBuf>,
}

/// Looks at the node.
pub(super) fn gather(
    containerd: &str,
    config_path: &Path,
    policy: Option<&Path>,
) -> Result<Facts, ConfigFileError> {
    let version = output_of(Command::new(containerd).arg("--version"));
    let config = match config_path.exists() {
        true => Some(ConfigFile::read(config_path)?),
        false => None,
    };
    let mut facts = Facts {
        version: version.as_deref().and_then(Version::parse),
        config_path: config_path.to_owned(),
        config,
        now: std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |age| age.as_secs()),
        ..Facts::default()
    };
    let mut folders = BTreeSet::new();
    let mut agents = BTreeSet::new();
    for (_, processor) in facts.processors() {
        if !facts
            .programs
            .iter()
            .any(|(name, _)| *name == processor.path)
        {
            facts
                .programs
                .push((processor.path.clone(), program(&processor.path)));
        }
        folders.extend(key_folders(&processor));
        agents.extend(values(&processor.args, &["--agent"]));
    }
    facts.verifiers = facts
        .config
        .as_ref()
        .and_then(|config| config.verifiers.clone())
        .unwrap_or_else(default_verifiers);
    if let Some((place, path)) = our_verifier(&facts.verifiers) {
        let most = facts
            .config
            .as_ref()
            .and_then(|config| config.max_verifiers);
        let most = most.unwrap_or(DEFAULT_MAX_VERIFIERS);
        facts.is_beyond_limit = usize::try_from(most).is_ok_and(|most| place >= most);
        facts.verifier = Some(path);
    }
    facts.named_policy = policy.map(Path::to_owned);
    facts.policy = match Policy::find(policy) {
        Ok(None) => PolicyState::Absent,
        Ok(Some(policy)) => match policy.read_all() {
            Ok(()) => PolicyState::Usable,
            Err(failure) => PolicyState::Lacking(failure.in_one_line()),
        },
        Err(failure) => PolicyState::Broken(failure.in_one_line()),
    };
    facts.folders = folders
        .into_iter()
        .map(|folder| (folder.clone(), look_into(&folder)))
        .collect();
    facts.agents = agents
        .into_iter()
        .map(|socket| (socket.clone(), answers(&socket)))
        .collect();
    Ok(facts)
}

impl Facts {
    /// Lists the stanzas that take sealed layers, those that are built in among them.
    pub(super) fn processors(&self) -> Vec<(String, Processor)> {
        let mut all = match self.version {
            Some(version) if version.has_built_in_stanzas() => built_in(),
            _ => Vec::new(),
        };
        for (id, processor) in self.config.iter().flat_map(|config| &config.processors) {
            all.retain(|(known, _)| known != id);
            all.push((id.clone(), processor.clone()));
        }
        all.retain(|(_, processor)| {
            let takes = |kind: &String| SEALED_TYPES.contains(&kind.as_str());
            processor.accepts.iter().any(takes)
        });
        all
    }
}

/// What containerd does without configuration since 1.5.
fn built_in() -> Vec<(String, Processor)> {
    let [gzip_id, plain_id] = PAYLOAD_IDS;
    let [gzip, _, plain] = SEALED_TYPES;
    let stanza = |accepts: &str| Processor {
        accepts: vec![accepts.to_owned()],
        returns: accepts.trim_end_matches("+encrypted").to_owned(),
        path: "ctd-decoder".to_owned(),
        args: vec![
            "--decryption-keys-path".to_owned(),
            default_keys().display().to_string(),
        ],
    };
    vec![
        (gzip_id.to_owned(), stanza(gzip)),
        (plain_id.to_owned(), stanza(plain)),
    ]
}

/// Returns the folders in which a stanza's arguments have keys looked for.
pub(super) fn key_folders(processor: &Processor) -> Vec<PathBuf> {
    let folders = values(&processor.args, &["--decryption-keys-path", "--keys-dir"]);
    match folders.is_empty() {
        true => vec![default_keys()],
        false => folders,
    }
}

/// Returns the values of options, written `--name value` or `--name=value`.
pub(super) fn values(args: &[String], names: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.split_once('=') {
            Some((name, value)) if names.contains(&name) => found.push(value.into()),
            None if names.contains(&arg.as_str()) => found.extend(rest.next().map(PathBuf::from)),
            _ => {}
        }
    }
    found
}

/// Finds the program that takes its name for a command, and how many others containerd asks before it.
fn our_verifier(folder: &Path) -> Option<(usize, PathBuf)> {
    let entries = fs::read_dir(folder).ok()?.take(MAX_FILES).flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let is_ours = |path: &PathBuf| {
        path.file_stem()
            .is_some_and(|stem| stem == image_verifier::NAME)
    };
    let place = paths.iter().position(is_ours)?;
    Some((place, paths.swap_remove(place)))
}

/// Finds a stanza's program as containerd does.
fn program(name: &str) -> Program {
    let candidates: Vec<PathBuf> = match Path::new(name).components().count() {
        1 if !name.is_empty() => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let folders = [PathBuf::from("/opt/containerd/bin")];
            let folders = folders.into_iter().chain(std::env::split_paths(&path));
            folders
                .flat_map(|folder| [folder.join(name), folder.join(format!("{name}.exe"))])
                .collect()
        }
        _ => vec![name.into()],
    };
    let Some(path) = candidates.into_iter().find(|path| path.is_file()) else {
        return Program::Missing;
    };
    if !is_executable(&path) {
        return Program::NotExecutable(path);
    }
    match output_of(Command::new(&path).arg("--version")) {
        Some(text) if text.starts_with("sealift-decoder ") => Program::Sealift(path),
        _ => Program::Other(path),
    }
}

#[cfg(unix)]
pub(super) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
pub(super) fn is_executable(_: &Path) -> bool {
    true
}

/// Counts what is in a folder of keys, and below it.
fn look_into(folder: &Path) -> Folder {
    let mut found = Folder::default();
    if let Err(error) = walk(folder, MAX_DEPTH, &mut found) {
        found.unreadable = Some(error.to_string());
    }
    found
}

fn walk(folder: &Path, depth: usize, found: &mut Folder) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)?.take(MAX_FILES) {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        // The machinery of Kubernetes' volumes, and passwords.
        if name.starts_with(b"..") || path.extension().is_some_and(|ending| ending == "password") {
            continue;
        }
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                if depth > 0 {
                    let _ = walk(&path, depth - 1, found);
                }
            }
            Ok(metadata) if metadata.len() <= MAX_FILE_LEN as u64 => {
                judge(&path, found);
            }
            _ => found.others += 1,
        }
    }
    Ok(())
}

fn judge(path: &Path, found: &mut Folder) {
    let Ok(octets) = fs::read(path).map(zeroize::Zeroizing::new) else {
        found.others += 1;
        return;
    };
    let is_key = match parse_private(&octets, None) {
        Ok(_) => true,
        Err(KeyError::PasswordMissing) => {
            let mut beside = path.as_os_str().to_owned();
            beside.push(".password");
            let is_locked = !Path::new(&beside).is_file();
            found.locked += usize::from(is_locked);
            !is_locked
        }
        Err(_) => CustomerKey::from_file(&octets).is_ok() || is_other_key(&octets),
    };
    if !is_key {
        found.others += 1;
        return;
    }
    found.keys += 1;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
        if mode & 0o007 != 0 {
            found.open.push(path.to_owned());
        }
    }
}

fn is_other_key(octets: &[u8]) -> bool {
    sealift_keywrap::xwing::parse_private(octets).is_some_and(|keys| keys.is_ok())
        || sealift_keywrap::openpgp::is_key_file(octets)
        || sealift_keywrap::pkcs11::KeyFile::looks_like(octets)
}

#[cfg(unix)]
fn answers(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}

#[cfg(not(unix))]
fn answers(_: &Path) -> bool {
    false
}

/// Runs a program for its first words; nothing if it cannot be run, fails, or takes longer than [`PATIENCE`].
fn output_of(command: &mut Command) -> Option<String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let began = Instant::now();
    while child.try_wait().ok()?.is_none() {
        if began.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How long a program may take to say its version.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many image verifiers containerd asks, where its configuration does not say.
const DEFAULT_MAX_VERIFIERS: i64 = 10;
/// Most files of one folder that are looked at.
const MAX_FILES: usize = 1000;
/// Most folders within each other.
const MAX_DEPTH: usize = 8;
