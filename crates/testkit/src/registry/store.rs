use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::digest;

/// What a registry holds.
#[derive(Debug, Default)]
pub(super) struct Store {
    blobs: HashMap<String, Arc<Vec<u8>>>,
    /// Which repository shows which blob.
    links: BTreeSet<(String, String)>,
    manifests: HashMap<(String, String), Manifest>,
    tags: BTreeMap<(String, String), String>,
    uploads: HashMap<String, Upload>,
    files: HashMap<String, Arc<Vec<u8>>>,
    upload_count: u64,
}

/// A manifest or an index.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) digest: String,
    pub(super) media_type: String,
    pub(super) bytes: Arc<Vec<u8>>,
}

/// An upload session.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) repo: String,
    pub(super) bytes: Vec<u8>,
    /// Counts the replies, so that a `Location` can become stale.
    pub(super) state: u64,
}

impl Store {
    /// Shows `bytes` in `repo` under `digest`, right or not.
    pub(super) fn add_blob(&mut self, repo: &str, digest: &str, bytes: Vec<u8>) {
        self.blobs.insert(digest.to_owned(), Arc::new(bytes));
        self.links.insert((repo.to_owned(), digest.to_owned()));
    }

    pub(super) fn blob(&self, repo: &str, digest: &str) -> Option<Arc<Vec<u8>>> {
        let key = (repo.to_owned(), digest.to_owned());
        let linked = self.links.contains(&key);
        linked.then(|| self.blobs.get(digest).cloned()).flatten()
    }

    /// Shows a blob of `from` in `repo` too; `false` when `from` has none.
    pub(super) fn mount(&mut self, repo: &str, from: &str, digest: &str) -> bool {
        let found = self.blob(from, digest).is_some();
        if found {
            self.links.insert((repo.to_owned(), digest.to_owned()));
        }
        found
    }

    pub(super) fn remove_blob(&mut self, repo: &str, digest: &str) -> bool {
        self.links.remove(&(repo.to_owned(), digest.to_owned()))
    }

    pub(super) fn blob_digests(&self, repo: &str) -> Vec<String> {
        self.links
            .iter()
            .filter(|(r, _)| r == repo)
            .map(|(_, d)| d.clone())
            .collect()
    }

    /// Holds a manifest under its digest, and under a tag when `reference` is one.
    pub(super) fn add_manifest(&mut self, repo: &str, reference: &str, manifest: Manifest) {
        let digest = manifest.digest.clone();
        let key = (repo.to_owned(), digest.clone());
        self.manifests.insert(key, manifest);
        if !reference.contains(':') {
            let key = (repo.to_owned(), reference.to_owned());
            self.tags.insert(key, digest);
        }
    }

    pub(super) fn manifest(&self, repo: &str, reference: &str) -> Option<&Manifest> {
        let key = (repo.to_owned(), reference.to_owned());
        let digest = self.tags.get(&key).map_or(reference, String::as_str);
        self.manifests.get(&(repo.to_owned(), digest.to_owned()))
    }

    /// Removes a tag, or a manifest and the tags that show it.
    pub(super) fn remove_manifest(&mut self, repo: &str, reference: &str) -> bool {
        let key = (repo.to_owned(), reference.to_owned());
        if self.tags.remove(&key).is_some() {
            return true;
        }
        self.tags.retain(|(r, _), d| r != repo || d != reference);
        self.manifests.remove(&key).is_some()
    }

    pub(super) fn tags(&self, repo: &str) -> Vec<String> {
        self.tags
            .keys()
            .filter(|(r, _)| r == repo)
            .map(|(_, tag)| tag.clone())
            .collect()
    }

    /// Returns descriptors of the manifests whose `subject` is `digest`, in the order of their digests.
    pub(super) fn referrers(&self, repo: &str, digest: &str) -> Vec<Value> {
        let mut found = BTreeMap::new();
        for ((r, own), manifest) in &self.manifests {
            let Ok(document) = serde_json::from_slice::<Value>(&manifest.bytes) else {
                continue;
            };
            if r == repo && document["subject"]["digest"] == digest {
                found.insert(own.clone(), referrer(manifest, &document));
            }
        }
        found.into_values().collect()
    }

    pub(super) fn start_upload(&mut self, repo: &str) -> String {
        self.upload_count += 1;
        let id = format!("upload-{}", self.upload_count);
        let upload = Upload {
            repo: repo.to_owned(),
            bytes: Vec::new(),
            state: 0,
        };
        self.uploads.insert(id.clone(), upload);
        id
    }

    pub(super) fn upload(&mut self, repo: &str, id: &str) -> Option<&mut Upload> {
        self.uploads.get_mut(id).filter(|u| u.repo == repo)
    }

    pub(super) fn end_upload(&mut self, id: &str) -> Option<Upload> {
        self.uploads.remove(id)
    }

    pub(super) fn open_uploads(&self) -> usize {
        self.uploads.len()
    }

    pub(super) fn add_file(&mut self, path: &str, bytes: Vec<u8>) {
        self.files.insert(path.to_owned(), Arc::new(bytes));
    }

    pub(super) fn file(&self, path: &str) -> Option<Arc<Vec<u8>>> {
        self.files.get(path).cloned()
    }

    /// Returns the first blob or manifest that `manifest` names and `repo` does not show.
    pub(super) fn missing_reference(&self, repo: &str, manifest: &Value) -> Option<String> {
        let list = |name: &str| manifest[name].as_array().cloned().unwrap_or_default();
        let config = [manifest["config"].clone()];
        let blobs = config.into_iter().chain(list("layers"));
        let absent_blob = blobs
            // A layer that others serve need not be here (image-spec, "Non-distributable layers").
            .filter(|descriptor| descriptor["urls"].as_array().is_none_or(Vec::is_empty))
            .filter_map(|descriptor| descriptor["digest"].as_str().map(str::to_owned))
            .find(|digest| self.blob(repo, digest).is_none());
        absent_blob.or_else(|| {
            list("manifests")
                .iter()
                .filter_map(|descriptor| descriptor["digest"].as_str().map(str::to_owned))
                .find(|digest| self.manifest(repo, digest).is_none())
        })
    }
}

impl Manifest {
    /// Makes a manifest named by its SHA-256.
    pub(super) fn new(media_type: &str, bytes: Vec<u8>) -> Self {
        Self {
            digest: digest::sha256(&bytes),
            media_type: media_type.to_owned(),
            bytes: Arc::new(bytes),
        }
    }
}

fn referrer(manifest: &Manifest, document: &Value) -> Value {
    let mut descriptor = json!({
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": manifest.bytes.len(),
    });
    let artifact_type = match &document["artifactType"] {
        Value::Null => &document["config"]["mediaType"],
        given => given,
    };
    for (name, value) in [
        ("artifactType", artifact_type),
        ("annotations", &document["annotations"]),
    ] {
        if !value.is_null() {
            descriptor[name] = value.clone();
        }
    }
    descriptor
}
