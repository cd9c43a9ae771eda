//! `sealift doctor`: whether this node will open sealed images, and what to change.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sealift_keywrap::KeyError;
use sealift_keywrap::customer_key::CustomerKey;
use sealift_keywrap::keys::{MAX_FILE_LEN, parse_private};
use serde_json::{Value, json};

use crate::containerd::{
    ConfigFile, KubernetesPayload, PAYLOAD_IDS, Processor, SEALED_TYPES, Version, default_keys,
};
use crate::report::SCHEMA_VERSION;
use crate::text::printable;

/// How bad something is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Severity {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Some images will not open.
    Warning,
    /// No image will open.
    Problem,
}

/// One thing that was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) what: String,
    pub(super) hint: Option<String>,
}

impl Finding {
    fn new(severity: Severity, what: impl Into<String>) -> Self {
        Self {
            severity,
            what: what.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

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
    /// Unix seconds of this machine's clock.
    pub(super) now: u64,
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
) -> Result<Facts, crate::containerd::ConfigFileError> {
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
    fn processors(&self) -> Vec<(String, Processor)> {
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

/// Says what to make of the facts, worst things last.
pub(super) fn diagnose(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |finding: Finding| findings.push(finding);
    match facts.version {
        Some(version) => say(Finding::new(
            Severity::Good,
            format!("containerd {version}"),
        )),
        None => say(Finding::new(
            Severity::Problem,
            "containerd was not found, or did not say its version",
        )
        .hint("name it with --containerd PROGRAM")),
    }
    let path = facts.config_path.display();
    match &facts.config {
        Some(config) if config.files.len() > 1 => say(Finding::new(
            Severity::Good,
            format!(
                "configuration `{path}` and {} that it imports",
                config.files.len() - 1
            ),
        )),
        Some(_) => say(Finding::new(
            Severity::Good,
            format!("configuration `{path}`"),
        )),
        None => say(Finding::new(
            Severity::Note,
            format!("no configuration `{path}`: what is built in counts"),
        )),
    }
    let processors = facts.processors();
    stanzas(facts, &processors, &mut say);
    programs(facts, &mut say);
    keys(facts, &processors, &mut say);
    payloads(facts, &processors, &mut say);
    if facts.now < EARLIEST {
        say(Finding::new(
            Severity::Warning,
            "this machine's clock is wrong: certificates and leases will look as if they were not valid yet",
        )
        .hint("set the clock, for example with chrony or systemd-timesyncd"));
    }
    say(Finding::new(
        Severity::Note,
        "a pull that succeeds proves nothing where the same layers were unpacked before: containerd reuses snapshots by their chain of diff IDs, sealed or not",
    ));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn stanzas(facts: &Facts, processors: &[(String, Processor)], say: &mut impl FnMut(Finding)) {
    for kind in SEALED_TYPES {
        let short = kind.trim_start_matches("application/vnd.oci.image.layer.v1.");
        let taker = processors
            .iter()
            .find(|(_, processor)| processor.accepts.iter().any(|one| one == kind));
        match taker {
            None => say(Finding::new(
                Severity::Warning,
                format!("no stream processor accepts `{short}`: such layers end as `invalid tar header`"),
            )
            .hint("`sealift config containerd` prints the stanzas; zstd goes into `accepts` of …decoder.v1.tar.gzip")),
            Some((id, _)) if !PAYLOAD_IDS.contains(&id.as_str()) => say(Finding::new(
                Severity::Warning,
                format!("`{short}` goes to `{}`, which containerd never tells whose layer it gets", printable(id)),
            )
            .hint(format!("give the stanza the ID {}", PAYLOAD_IDS.join(" or ")))),
            Some((id, processor)) if processor.returns.is_empty() => say(Finding::new(
                Severity::Problem,
                format!("`{}` has no `returns`", printable(id)),
            )
            .hint("`sealift config containerd` prints the stanzas")),
            Some(_) => say(Finding::new(
                Severity::Good,
                format!("`{short}` goes to a stream processor"),
            )),
        }
    }
    let model = facts
        .config
        .as_ref()
        .and_then(|config| config.key_model.as_deref());
    if model == Some("") {
        say(Finding::new(
            Severity::Warning,
            "`key_model` is empty: pulls by Kubernetes open no sealed layer whose keys stand in the manifest alone",
        )
        .hint("set image_decryption.key_model to \"node\", or leave it out"));
    }
}

fn programs(facts: &Facts, say: &mut impl FnMut(Finding)) {
    for (name, program) in &facts.programs {
        let name = printable(name);
        match program {
            Program::Sealift(path) => say(Finding::new(
                Severity::Good,
                format!("`{name}` is sealift-decoder (`{}`)", path.display()),
            )),
            Program::Missing => say(Finding::new(
                Severity::Problem,
                format!("stream processor `{name}` is not there"),
            )
            .hint("install sealift-decoder there, or under that name in containerd's PATH, which begins with /opt/containerd/bin")),
            Program::NotExecutable(path) => say(Finding::new(
                Severity::Problem,
                format!("stream processor `{}` cannot be executed", path.display()),
            )
            .hint(format!("chmod 755 {}", path.display()))),
            Program::Other(path) => say(Finding::new(
                Severity::Warning,
                format!("`{}` is not sealift-decoder: it opens ocicrypt's format at most", path.display()),
            )
            .hint("put sealift-decoder in its place; it takes the same arguments")),
        }
    }
}

fn keys(facts: &Facts, processors: &[(String, Processor)], say: &mut impl FnMut(Finding)) {
    for (folder, found) in &facts.folders {
        let path = folder.display();
        if let Some(reason) = &found.unreadable {
            say(
                Finding::new(Severity::Warning, format!("key folder `{path}`: {reason}"))
                    .hint("make it, readable for containerd alone, and put private keys there"),
            );
            continue;
        }
        for key in &found.open {
            say(Finding::new(
                Severity::Warning,
                format!(
                    "other users of this machine can read the key `{}`",
                    key.display()
                ),
            )
            .hint(format!("chmod 600 {}", key.display())));
        }
        if found.locked > 0 {
            say(Finding::new(
                Severity::Warning,
                format!(
                    "{} encrypted keys in `{path}` have no password beside them",
                    found.locked
                ),
            )
            .hint("the password of NAME is the content of NAME.password"));
        }
        let severity = if found.keys > 0 {
            Severity::Good
        } else {
            Severity::Warning
        };
        say(Finding::new(
            severity,
            format!(
                "{} private keys in `{path}`, {} other files",
                found.keys, found.others
            ),
        ));
    }
    for (socket, is_up) in &facts.agents {
        let socket = socket.display();
        match is_up {
            true => say(Finding::new(Severity::Good, format!("agent at `{socket}`"))),
            false => say(Finding::new(
                Severity::Warning,
                format!("no agent answers at `{socket}`"),
            )
            .hint("start it: sealift agent serve")),
        }
    }
    let has_keys = facts.folders.iter().any(|(_, found)| found.keys > 0);
    let has_agent = facts.agents.iter().any(|(_, is_up)| *is_up);
    let has_providers = processors
        .iter()
        .any(|(_, processor)| !values(&processor.args, &["--keyprovider-config"]).is_empty());
    if !processors.is_empty() && !has_keys && !has_agent && !has_providers {
        say(Finding::new(
            Severity::Problem,
            "neither a private key nor an agent is at hand: no sealed layer will open",
        )
        .hint("put keys into the folder, or run an agent and add --agent SOCKET to `args`"));
    }
}

fn payloads(facts: &Facts, processors: &[(String, Processor)], say: &mut impl FnMut(Finding)) {
    let Some(version) = facts.version else { return };
    let config = facts.config.clone().unwrap_or_default();
    let is_told = match version.kubernetes_payload() {
        KubernetesPayload::Always => config.key_model.as_deref() != Some(""),
        KubernetesPayload::OptIn => config.key_model.as_deref() == Some("node"),
        KubernetesPayload::WithLocalPull => config.local_pull == Some(true),
        KubernetesPayload::Never => false,
    };
    if is_told {
        say(Finding::new(
            Severity::Good,
            "pulls by Kubernetes tell the stream processor whose layer it gets",
        ));
        return;
    }
    let root = config.root.unwrap_or_else(|| "/var/lib/containerd".into());
    let looks_elsewhere = processors.iter().find_map(|(_, processor)| {
        let given = values(&processor.args, &["--containerd-root"]).pop();
        let given = given.unwrap_or_else(|| "/var/lib/containerd".into());
        (given != root).then_some(given)
    });
    match looks_elsewhere {
        Some(given) => say(Finding::new(
            Severity::Warning,
            format!(
                "pulls do not tell the stream processor whose layer it gets, and it looks for that in `{}`, not in containerd's root `{}`",
                given.display(),
                root.display()
            ),
        )
        .hint(format!("add --containerd-root {} to `args`", root.display()))),
        None => say(Finding::new(
            Severity::Note,
            "pulls do not tell the stream processor whose layer it gets; sealift-decoder finds it in the layer itself or in containerd's content store",
        )),
    }
    match version.kubernetes_payload() {
        KubernetesPayload::WithLocalPull => say(Finding::new(
            Severity::Note,
            "other decoders open images only with `use_local_image_pull = true` in [plugins.'io.containerd.cri.v1.images']",
        )),
        KubernetesPayload::OptIn => say(Finding::new(
            Severity::Note,
            "set image_decryption.key_model to \"node\" for other decoders",
        )),
        _ => {}
    }
}

/// Answer for people.
pub(super) fn as_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let word = word(finding.severity);
        text.push_str(&format!("{word:<8} {}\n", printable(&finding.what)));
        if let Some(hint) = &finding.hint {
            text.push_str(&format!("{:<8} hint: {}\n", "", printable(hint)));
        }
    }
    text
}

/// Answer for programs.
pub(super) fn as_json(findings: &[Finding]) -> Value {
    let list = findings.iter().map(|finding| {
        json!({
            "severity": word(finding.severity),
            "what": finding.what,
            "hint": finding.hint,
        })
    });
    json!({ "schemaVersion": SCHEMA_VERSION, "findings": list.collect::<Vec<_>>() })
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Good => "good",
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Problem => "problem",
    }
}

/// Returns the folders in which a stanza's arguments have keys looked for.
fn key_folders(processor: &Processor) -> Vec<PathBuf> {
    let folders = values(&processor.args, &["--decryption-keys-path", "--keys-dir"]);
    match folders.is_empty() {
        true => vec![default_keys()],
        false => folders,
    }
}

/// Returns the values of options, written `--name value` or `--name=value`.
fn values(args: &[String], names: &[&str]) -> Vec<PathBuf> {
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
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(_: &Path) -> bool {
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
/// Most files of one folder that are looked at.
const MAX_FILES: usize = 1000;
/// Most folders within each other.
const MAX_DEPTH: usize = 8;
/// 2026-01-01: no clock that is right shows less.
const EARLIEST: u64 = 1_767_225_600;

#[cfg(test)]
mod tests {
    use super::*;

    /// A node on which all is well.
    fn good() -> Facts {
        let stanza = |accepts: &[&str], returns: &str| Processor {
            accepts: accepts.iter().map(|&one| one.to_owned()).collect(),
            returns: returns.to_owned(),
            path: "/bin/sealift-decoder".to_owned(),
            args: vec!["--keys-dir=/keys".to_owned()],
        };
        let [gzip, zstd, plain] = SEALED_TYPES;
        let [gzip_id, plain_id] = PAYLOAD_IDS.map(str::to_owned);
        let processors = [
            (gzip_id, stanza(&[gzip, zstd], "x")),
            (plain_id, stanza(&[plain], "y")),
        ];
        Facts {
            version: Version::parse("1.7.0"),
            config_path: "/etc/containerd/config.toml".into(),
            config: Some(ConfigFile {
                files: vec!["/etc/containerd/config.toml".into()],
                processors: processors.into(),
                ..ConfigFile::default()
            }),
            programs: vec![(
                "/bin/sealift-decoder".to_owned(),
                Program::Sealift("/bin/sealift-decoder".into()),
            )],
            folders: vec![(
                "/keys".into(),
                Folder {
                    keys: 1,
                    ..Folder::default()
                },
            )],
            agents: Vec::new(),
            now: EARLIEST,
        }
    }

    /// Returns the worst severity, and whether a finding has both texts, in `what` and in `hint`.
    fn worst(change: impl FnOnce(&mut Facts), what: &str, hint: &str) -> Severity {
        let mut facts = good();
        change(&mut facts);
        let findings = diagnose(&facts);
        let found = findings.iter().any(|finding| {
            finding.what.contains(what)
                && finding.hint.as_deref().unwrap_or_default().contains(hint)
        });
        assert!(found, "{what}, {hint}: {findings:#?}");
        findings.last().unwrap().severity
    }

    fn config(facts: &mut Facts) -> &mut ConfigFile {
        facts.config.as_mut().unwrap()
    }

    #[test]
    fn a_good_node_is_called_good() {
        assert_eq!(worst(|_| (), "whose layer it gets", ""), Severity::Note);
        let notes = diagnose(&good())
            .into_iter()
            .filter(|finding| finding.severity == Severity::Note);
        assert_eq!(notes.count(), 1);
    }

    #[test]
    fn usual_mistakes_are_found() {
        let [gzip_id, _] = PAYLOAD_IDS;
        assert_eq!(
            worst(
                |facts| {
                    let stanza = config(facts).processors.get_mut(gzip_id).unwrap();
                    stanza.accepts.truncate(1);
                },
                "no stream processor accepts `tar+zstd+encrypted`",
                "…decoder.v1.tar.gzip"
            ),
            Severity::Warning
        );
        assert_eq!(
            worst(
                |facts| {
                    let stanza = config(facts).processors.remove(gzip_id).unwrap();
                    config(facts).processors.insert("mine".to_owned(), stanza);
                    facts.version = Version::parse("1.4.0");
                },
                "goes to `mine`",
                gzip_id
            ),
            Severity::Warning
        );
        assert_eq!(
            worst(
                |facts| {
                    config(facts)
                        .processors
                        .get_mut(gzip_id)
                        .unwrap()
                        .returns
                        .clear();
                },
                "has no `returns`",
                "sealift config containerd"
            ),
            Severity::Problem
        );
        for (program, what, hint, severity) in [
            (
                Program::Missing,
                "is not there",
                "/opt/containerd/bin",
                Severity::Problem,
            ),
            (
                Program::NotExecutable("/x".into()),
                "cannot be executed",
                "chmod 755 /x",
                Severity::Problem,
            ),
            (
                Program::Other("/x".into()),
                "is not sealift-decoder",
                "in its place",
                Severity::Warning,
            ),
        ] {
            let found = worst(|facts| facts.programs[0].1 = program, what, hint);
            assert_eq!(found, severity, "{what}");
        }
        assert_eq!(
            worst(
                |facts| facts.version = None,
                "containerd was not found",
                "--containerd"
            ),
            Severity::Problem
        );
        assert_eq!(
            worst(|facts| facts.now -= 1, "clock is wrong", "set the clock"),
            Severity::Warning
        );
        assert_eq!(
            worst(
                |facts| config(facts).key_model = Some(String::new()),
                "`key_model` is empty",
                "node"
            ),
            Severity::Warning
        );
    }

    #[test]
    fn keys_that_are_missing_locked_or_open_are_told() {
        let folder =
            |change: fn(&mut Folder)| move |facts: &mut Facts| change(&mut facts.folders[0].1);
        for (change, what, hint, severity) in [
            (
                folder(|found| found.keys = 0),
                "neither a private key nor an agent",
                "--agent",
                Severity::Problem,
            ),
            (
                folder(|found| {
                    found.keys = 0;
                    found.unreadable = Some("no such file".into());
                }),
                "no such file",
                "make it",
                Severity::Problem,
            ),
            (
                folder(|found| found.locked = 2),
                "2 encrypted keys",
                "NAME.password",
                Severity::Warning,
            ),
            (
                folder(|found| found.open.push("/keys/a".into())),
                "can read the key `/keys/a`",
                "chmod 600",
                Severity::Warning,
            ),
        ] {
            assert_eq!(worst(change, what, hint), severity, "{what}");
        }
        let with_agent = |is_up: bool| {
            move |facts: &mut Facts| {
                facts.folders.clear();
                facts.agents.push(("/run/a".into(), is_up));
            }
        };
        assert_eq!(
            worst(with_agent(true), "agent at `/run/a`", ""),
            Severity::Note
        );
        assert_eq!(
            worst(with_agent(false), "no agent answers", "agent serve"),
            Severity::Problem
        );
    }

    #[test]
    fn versions_that_tell_nothing_are_no_trouble_where_the_content_store_is_found() {
        let version =
            |text: &'static str| move |facts: &mut Facts| facts.version = Version::parse(text);
        assert_eq!(
            worst(version("2.3.0"), "use_local_image_pull", ""),
            Severity::Note
        );
        assert_eq!(
            worst(version("2.0.0"), "finds it in the layer itself", ""),
            Severity::Note
        );
        assert_eq!(
            worst(
                |facts| {
                    facts.version = Version::parse("2.1.0");
                    config(facts).root = Some("/data".into());
                },
                "not in containerd's root `/data`",
                "--containerd-root /data"
            ),
            Severity::Warning
        );
        assert_eq!(
            worst(
                |facts| {
                    facts.version = Version::parse("2.3.0");
                    config(facts).local_pull = Some(true);
                },
                "tell the stream processor whose layer it gets",
                ""
            ),
            Severity::Note
        );
    }

    #[test]
    fn without_configuration_what_is_built_in_counts() {
        let facts = Facts {
            config: None,
            ..good()
        };
        let processors = facts.processors();
        assert_eq!(processors.len(), 2);
        assert_eq!(key_folders(&processors[0].1), [default_keys()]);
        let findings = diagnose(&facts);
        assert!(
            findings
                .iter()
                .any(|finding| finding.what.contains("tar+zstd+encrypted`: such layers"))
        );
        let old = Facts {
            version: Version::parse("1.4.0"),
            ..facts
        };
        assert_eq!(old.processors(), []);
    }

    #[test]
    fn options_are_read_in_both_forms() {
        let args = [
            "--agent",
            "/a",
            "--keys-dir=/k",
            "--agent=/b",
            "--other",
            "--agent",
        ];
        let args = args.map(str::to_owned);
        assert_eq!(
            values(&args, &["--agent"]),
            [PathBuf::from("/a"), "/b".into()]
        );
        assert_eq!(values(&args, &["--keys-dir", "--x"]), [PathBuf::from("/k")]);
    }
}
