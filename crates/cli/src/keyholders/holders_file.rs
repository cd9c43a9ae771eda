//! Writing holders files: a whole one, and one key more in one that is there.

use std::fs;
use std::path::{Path, PathBuf};

use sealift_holder::deployment::DeploymentId;
use serde::Serialize;

use crate::exit::{Code, Failure};
use crate::files::{Readers, cannot_write, read_limited, replace};

/// A holders file, with paths as they stand in it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct HoldersFile {
    pub(crate) version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deployment: Option<DeploymentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default_key: Option<String>,
    pub(crate) administrator: Vec<AdministratorEntry>,
    pub(crate) holder: Vec<HolderEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) key: Vec<KeyEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<ClientEntry>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct AdministratorEntry {
    pub(crate) name: String,
    pub(crate) public_key: PathBuf,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct HolderEntry {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) jurisdiction: String,
    pub(crate) ca: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) descriptor: Option<PathBuf>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct KeyEntry {
    pub(crate) id: String,
    pub(crate) descriptor: PathBuf,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ClientEntry {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) posture: Option<PathBuf>,
}

impl HoldersFile {
    /// Writes it, over one that is there.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = toml::to_string(self).map_err(|error| Failure::of(Code::Other, &error))?;
        replace(path.to_owned(), text.as_bytes(), Readers::Everybody)
    }
}

/// Puts the signed descriptor of a key where a holders file finds it, and names it there if it is new.
///
/// Returns the descriptor's file.
pub(crate) fn keep_descriptor(file: &Path, id: &str, envelope: &[u8]) -> Result<PathBuf, Failure> {
    let octets = read_limited(file, MAX_LEN)?;
    let text = String::from_utf8_lossy(&octets);
    let known = entries(&text)?.into_iter().find(|(known, _)| known == id);
    let known = known.map(|(_, descriptor)| descriptor);
    let name = known
        .clone()
        .unwrap_or_else(|| format!("key-{id}.dsse.json").into());
    let path = file.parent().unwrap_or(Path::new("")).join(&name);
    replace(path.clone(), envelope, Readers::Everybody)?;
    if known.is_none() {
        // Appended, so that what people wrote into the file stays as it is.
        let entry = HoldersKeys {
            key: vec![KeyEntry {
                id: id.to_owned(),
                descriptor: name,
            }],
        };
        let entry = toml::to_string(&entry).map_err(|error| Failure::of(Code::Other, &error))?;
        let whole = format!("{}\n\n{entry}", text.trim_end());
        replace(file.to_owned(), whole.as_bytes(), Readers::Everybody)?;
    }
    Ok(path)
}

/// Returns the keys of a holders file, each with the file of its descriptor as it stands there.
pub(crate) fn descriptor_files(file: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    entries(&String::from_utf8_lossy(&read_limited(file, MAX_LEN)?))
}

fn entries(text: &str) -> Result<Vec<(String, PathBuf)>, Failure> {
    let table: toml::Table =
        toml::from_str(text).map_err(|error| Failure::of(Code::Usage, &error))?;
    let entries = table.get("key").and_then(toml::Value::as_array);
    let entry = |entry: &toml::Value| {
        let member = |name| Some(entry.get(name)?.as_str()?.to_owned());
        Some((member("id")?, member("descriptor")?.into()))
    };
    Ok(entries.into_iter().flatten().filter_map(entry).collect())
}

/// Makes a folder that only its owner can enter.
pub(crate) fn private_folder(path: &Path) -> Result<(), Failure> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.recursive(true);
    builder
        .create(path)
        .map_err(|error| cannot_write(path, &error))
}

#[derive(Serialize)]
struct HoldersKeys {
    key: Vec<KeyEntry>,
}

/// Longest holders file.
const MAX_LEN: usize = 1024 * 1024;
