//! `config.toml` with what it imports, as far as stream processors and Kubernetes' pulls are concerned.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

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
    /// `use_local_image_pull`.
    pub(crate) local_pull: Option<bool>,
    /// Folder of image verifiers.
    pub(crate) verifiers: Option<PathBuf>,
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
        config.add(file)?;
        Ok(config)
    }

    fn add(&mut self, file: &Path) -> Result<(), ConfigFileError> {
        if self.files.iter().any(|known| known == file) {
            return Ok(());
        }
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
        for pattern in strings(table.get("imports")) {
            for import in matching(file, &pattern) {
                self.add(&import)?;
            }
        }
        Ok(())
    }

    fn merge(&mut self, table: &Table) {
        if let Some(root) = table.get("root").and_then(Value::as_str) {
            self.root = Some(root.into());
        }
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
        let folder = plugins
            .and_then(|plugins| plugins.get(VERIFIERS_PLUGIN))
            .and_then(|plugin| plugin.get("bin_dir"));
        if let Some(folder) = folder.and_then(Value::as_str) {
            self.verifiers = Some(folder.into());
        }
        for id in CRI_PLUGINS {
            let Some(plugin) = plugins.and_then(|plugins| plugins.get(id)) else {
                continue;
            };
            let model = plugin
                .get("image_decryption")
                .and_then(|one| one.get("key_model"));
            if let Some(model) = model.and_then(Value::as_str) {
                self.key_model = Some(model.to_owned());
            }
            if let Some(local) = plugin.get("use_local_image_pull").and_then(Value::as_bool) {
                self.local_pull = Some(local);
            }
        }
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

/// Tables of Kubernetes' pulls, up to version 1.7 and since 2.0.
const CRI_PLUGINS: [&str; 2] = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"];
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
            (config.local_pull, config.key_model.as_deref()),
            (Some(true), Some(""))
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
