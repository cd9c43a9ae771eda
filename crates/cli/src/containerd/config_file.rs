//! `config.toml` with what it imports, as far as stream processors and Kubernetes' pulls are concerned.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use thiserror::Error;
use toml::{Table, Value};

/// A configuration of containerd. What is not there, is the built-in default.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ConfigFile {
    /// Every file that was read, in order.
    pub(crate) files: Vec<PathBuf>,
    /// Its content store lies in there.
    pub(crate) root: Option<PathBuf>,
    /// Stream processors by ID; of several with one ID the last counts.
    pub(crate) processors: BTreeMap<String, Processor>,
    /// `image_decryption.key_model`; empty switches decryption off.
    pub(crate) key_model: Option<String>,
    /// Whether a setting makes pulls by Kubernetes go past the transfer service, of those that are there.
    pub(crate) local_pull: BTreeMap<&'static str, bool>,
    /// Folder of image verifiers.
    pub(crate) verifiers: Option<PathBuf>,
    /// How many of them are asked; all if negative.
    pub(crate) max_verifiers: Option<i64>,
    /// How long each of them may take.
    pub(crate) verifier_timeout: Option<Duration>,
    /// Whether the plug-in that asks them is switched off.
    pub(crate) has_no_verifiers: bool,
}

/// A stanza of `stream_processors`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Processor {
    pub(crate) accepts: Vec<String>,
    pub(crate) returns: String,
    pub(crate) path: String,
    pub(crate) args: Vec<String>,
}

/// Why a configuration could not be read.
#[derive(Debug, Error)]
pub(crate) enum ConfigFileError {
    #[error("cannot read `{}`", .0.display())]
    Io(PathBuf, #[source] std::io::Error),
    #[error("`{}` is longer than {MAX_LEN} octets", .0.display())]
    TooLong(PathBuf),
    #[error("`{}` is not TOML", .0.display())]
    Toml(PathBuf, #[source] Box<toml::de::Error>),
    #[error("more than {MAX_FILES} files are imported")]
    TooManyFiles,
}

impl ConfigFile {
    /// Reads a file and what it imports.
    pub(crate) fn read(file: &Path) -> Result<Self, ConfigFileError> {
        let mut config = Self::default();
        // What is imported comes after what was imported before it was read, as in containerd: of two that say
        // different things the last counts.
        let mut waiting = VecDeque::from([file.to_owned()]);
        while let Some(file) = waiting.pop_front() {
            if !config.files.contains(&file) {
                waiting.extend(config.add(&file)?);
            }
        }
        Ok(config)
    }

    /// Reads one file, and returns what it imports.
    fn add(&mut self, file: &Path) -> Result<Vec<PathBuf>, ConfigFileError> {
        if self.files.len() >= MAX_FILES {
            return Err(ConfigFileError::TooManyFiles);
        }
        let io = |error| ConfigFileError::Io(file.to_owned(), error);
        let mut text = String::new();
        fs::File::open(file)
            .map_err(io)?
            .take(MAX_LEN as u64 + 1)
            .read_to_string(&mut text)
            .map_err(io)?;
        if text.len() > MAX_LEN {
            return Err(ConfigFileError::TooLong(file.to_owned()));
        }
        let table: Table = text
            .parse()
            .map_err(|error| ConfigFileError::Toml(file.to_owned(), Box::new(error)))?;
        self.files.push(file.to_owned());
        self.merge(&table);
        let imports = strings(table.get("imports"));
        let imports = imports.iter().flat_map(|pattern| matching(file, pattern));
        Ok(imports.collect())
    }

    fn merge(&mut self, table: &Table) {
        if let Some(root) = table.get("root").and_then(Value::as_str) {
            self.root = Some(root.into());
        }
        self.has_no_verifiers |= strings(table.get("disabled_plugins"))
            .iter()
            .any(|plugin| plugin == VERIFIERS_PLUGIN);
        let processors = table.get("stream_processors").and_then(Value::as_table);
        for (id, stanza) in processors.into_iter().flatten() {
            let text = |name| stanza.get(name).and_then(Value::as_str).unwrap_or_default();
            let processor = Processor {
                accepts: strings(stanza.get("accepts")),
                returns: text("returns").to_owned(),
                path: text("path").to_owned(),
                args: strings(stanza.get("args")),
            };
            self.processors.insert(id.clone(), processor);
        }
        let plugins = table.get("plugins").and_then(Value::as_table);
        if let Some(plugin) = plugins.and_then(|plugins| plugins.get(VERIFIERS_PLUGIN)) {
            if let Some(folder) = plugin.get("bin_dir").and_then(Value::as_str) {
                self.verifiers = Some(folder.into());
            }
            let most = plugin.get("max_verifiers").and_then(Value::as_integer);
            self.max_verifiers = most.or(self.max_verifiers);
            let timeout = plugin.get("per_verifier_timeout").and_then(Value::as_str);
            self.verifier_timeout = timeout.and_then(duration).or(self.verifier_timeout);
        }
        // Each file is brought to the newest version by itself, and what the newest does not know is not looked at.
        let version = table.get("version").and_then(Value::as_integer);
        let cri = match version {
            Some(3..) => &CRI_PLUGINS[..1],
            Some(2) => &CRI_PLUGINS[..2],
            _ => &CRI_PLUGINS[..],
        };
        for id in cri {
            let Some(plugin) = plugins.and_then(|plugins| plugins.get(*id)) else {
                continue;
            };
            let model = plugin
                .get("image_decryption")
                .and_then(|one| one.get("key_model"));
            if let Some(model) = model.and_then(Value::as_str) {
                self.key_model = Some(model.to_owned());
            }
            // Up to 1.7 some of them stood in a table of their own.
            for table in [Some(plugin), plugin.get("containerd")]
                .into_iter()
                .flatten()
            {
                for (name, goes_local) in LOCAL_PULL {
                    if let Some(value) = table.get(name) {
                        self.local_pull.insert(name, goes_local(value));
                    }
                }
            }
            for name in LOCAL_REGISTRY {
                let entries = plugin.get("registry").and_then(|one| one.get(name));
                if entries
                    .and_then(Value::as_table)
                    .is_some_and(|one| !one.is_empty())
                {
                    self.local_pull.insert(name, true);
                }
            }
        }
    }

    /// Names the setting that makes pulls by Kubernetes go past the transfer service, which containerd does without a word
    /// but in its log (containerd 2.1, `CheckLocalImagePullConfigs`).
    pub(crate) fn local_pull(&self) -> Option<&'static str> {
        let mut names = self.local_pull.iter().filter(|(_, is_local)| **is_local);
        names.next().map(|(name, _)| *name)
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Lists the files that a pattern names: relative to the importing file, with `*` in the last part only.
fn matching(importer: &Path, pattern: &str) -> Vec<PathBuf> {
    let path = match importer.parent() {
        Some(folder) => folder.join(pattern),
        None => pattern.into(),
    };
    let Some((before, after)) = path
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.split_once('*'))
    else {
        return vec![path];
    };
    let (before, after) = (before.to_owned(), after.to_owned());
    let Some(entries) = path.parent().and_then(|folder| fs::read_dir(folder).ok()) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| {
                name.len() >= before.len() + after.len()
                    && name.starts_with(&before)
                    && name.ends_with(&after)
            })
        })
        .take(MAX_FILES + 1)
        .collect();
    found.sort();
    found
}

/// Reads what Go calls a duration, such as `1m30s`.
fn duration(text: &str) -> Option<Duration> {
    text.parse::<SignedDuration>().ok()?.try_into().ok()
}

/// Tables of Kubernetes' pulls in a file of version 3, and what files of version 2 and 1 may have besides.
const CRI_PLUGINS: [&str; 3] = [
    "io.containerd.cri.v1.images",
    "io.containerd.grpc.v1.cri",
    "cri",
];
/// Whether a value makes pulls local.
type IsLocal = fn(&Value) -> bool;

/// Settings that make pulls local, and with which values.
const LOCAL_PULL: [(&str, IsLocal); 5] = [
    ("use_local_image_pull", is_true),
    ("discard_unpacked_layers", is_true),
    ("image_pull_with_sync_fs", is_true),
    ("disable_snapshot_annotations", |value| {
        value.as_bool() == Some(cfg!(windows))
    }),
    ("max_concurrent_downloads", |value| {
        value.as_integer().is_some_and(|number| number != 3)
    }),
];
/// Tables of `registry` that make pulls local where anything is in them.
const LOCAL_REGISTRY: [&str; 3] = ["mirrors", "configs", "auths"];

fn is_true(value: &Value) -> bool {
    value.as_bool() == Some(true)
}

/// Table of the plug-in that starts every program of a folder before a pull.
pub(crate) const VERIFIERS_PLUGIN: &str = "io.containerd.image-verifier.v1.bindir";
/// Most octets of one file.
const MAX_LEN: usize = 1024 * 1024;
/// Most files.
const MAX_FILES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imported_files_add_and_override() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let main = write(
            "config.toml",
            r#"
            version = 3
            root = "/data/containerd"
            imports = ["conf.d/*.toml", "one.toml", "absent.d/*.toml", "config.toml"]
            [stream_processors.a]
              accepts = ["x", "y"]
              returns = "z"
              path = "first"
            [plugins.'io.containerd.cri.v1.images']
              use_local_image_pull = true
            "#,
        );
        write(
            "conf.d/1.toml",
            "[stream_processors.a]\npath = 'second'\naccepts = ['x']\nargs = ['--keys-dir', 'k']",
        );
        write("conf.d/2.txt", "not read");
        write(
            "one.toml",
            "[plugins.'io.containerd.grpc.v1.cri'.image_decryption]\nkey_model = ''",
        );
        let config = ConfigFile::read(&main).unwrap();
        assert_eq!(config.files.len(), 3);
        assert_eq!(config.root, Some("/data/containerd".into()));
        assert_eq!(
            (config.local_pull(), config.key_model.as_deref()),
            (Some("use_local_image_pull"), Some(""))
        );
        let expected = Processor {
            accepts: vec!["x".into()],
            returns: String::new(),
            path: "second".into(),
            args: vec!["--keys-dir".into(), "k".into()],
        };
        assert_eq!(
            config.processors,
            BTreeMap::from([("a".to_owned(), expected)])
        );
    }

    #[test]
    fn every_setting_that_makes_pulls_local_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        let local = |text: &str| {
            let text = format!("[plugins.'io.containerd.cri.v1.images']\n{text}\n");
            fs::write(&file, text).unwrap();
            ConfigFile::read(&file).unwrap().local_pull()
        };
        let (ours, other) = (cfg!(windows), !cfg!(windows));
        for (text, expected) in [
            ("use_local_image_pull = true", Some("use_local_image_pull")),
            ("use_local_image_pull = false", None),
            (
                "discard_unpacked_layers = true",
                Some("discard_unpacked_layers"),
            ),
            (
                "image_pull_with_sync_fs = true",
                Some("image_pull_with_sync_fs"),
            ),
            (
                "max_concurrent_downloads = 5",
                Some("max_concurrent_downloads"),
            ),
            ("max_concurrent_downloads = 3", None),
            (
                "registry.mirrors.'a.example'.endpoint = ['b']",
                Some("mirrors"),
            ),
            (
                "registry.configs.'a.example'.tls.ca_file = 'b'",
                Some("configs"),
            ),
            ("registry.auths.'a.example'.username = 'b'", Some("auths")),
            ("registry.config_path = '/etc/containerd/certs.d'", None),
            ("registry.mirrors = {}", None),
            ("snapshotter = 'overlayfs'", None),
        ] {
            assert_eq!(local(text), expected, "{text}");
        }
        let annotations = |value: bool| format!("disable_snapshot_annotations = {value}");
        assert_eq!(
            local(&annotations(ours)),
            Some("disable_snapshot_annotations")
        );
        assert_eq!(local(&annotations(other)), None);
        fs::write(
            &file,
            "[plugins.'io.containerd.grpc.v1.cri'.containerd]\ndiscard_unpacked_layers = true",
        )
        .unwrap();
        let old = ConfigFile::read(&file).unwrap();
        assert_eq!(old.local_pull(), Some("discard_unpacked_layers"));
    }

    #[test]
    fn a_file_of_a_version_is_heeded_where_that_version_says_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        let [new, old, oldest] = CRI_PLUGINS;
        for (version, table, expected) in [
            ("", oldest, true),
            ("version = 1", oldest, true),
            ("version = 1", old, true),
            ("version = 2", oldest, false),
            ("version = 2", old, true),
            ("version = 2", new, true),
            ("version = 3", old, false),
            ("version = 3", new, true),
            ("version = 4", old, false),
            ("version = 4", new, true),
        ] {
            let text = format!("{version}\n[plugins.'{table}']\nuse_local_image_pull = true");
            fs::write(&file, text).unwrap();
            let found = ConfigFile::read(&file).unwrap().local_pull();
            assert_eq!(found.is_some(), expected, "{version}, {table}");
        }
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, expected) in [
            ("10s", Some(10_000)),
            ("1m30s", Some(90_000)),
            ("1h", Some(3_600_000)),
            ("1.5s", Some(1500)),
            ("250ms", Some(250)),
            ("2s500ms", Some(2500)),
            ("", None),
            ("10", None),
            ("s", None),
            ("-1s", None),
            ("1d", None),
            ("1.2.3s", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(
                duration(text),
                expected.map(Duration::from_millis),
                "{text}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        let text =
            format!("version = 3\n[plugins.'{VERIFIERS_PLUGIN}']\nper_verifier_timeout = '5s'");
        fs::write(&file, text).unwrap();
        let read = ConfigFile::read(&file).unwrap();
        assert_eq!(read.verifier_timeout, Some(Duration::from_secs(5)));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        assert!(matches!(
            ConfigFile::read(&file),
            Err(ConfigFileError::Io(..))
        ));
        fs::write(&file, "version = ").unwrap();
        assert!(matches!(
            ConfigFile::read(&file),
            Err(ConfigFileError::Toml(..))
        ));
        fs::write(&file, "#".repeat(MAX_LEN + 1)).unwrap();
        assert!(matches!(
            ConfigFile::read(&file),
            Err(ConfigFileError::TooLong(_))
        ));
        fs::write(&file, "imports = ['absent.toml']").unwrap();
        assert!(matches!(
            ConfigFile::read(&file),
            Err(ConfigFileError::Io(..))
        ));
        fs::write(&file, "stream_processors = 7\nimports = 'x'\nplugins = []").unwrap();
        assert_eq!(ConfigFile::read(&file).unwrap().processors, BTreeMap::new());
    }
}
