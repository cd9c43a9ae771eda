use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::{Format, Image};
use crate::registry::RunningRegistry;

/// What a Docker archive looks like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ArchiveKind {
    /// As Docker before 25 writes it: `<hex>.json`, a folder per layer, a repeated layer being a symbolic link, `repositories`.
    Classic,
    /// As Docker since 25 writes it: an OCI layout with a `manifest.json` beside.
    Layout,
}

impl Image {
    /// Writes the image into an OCI layout under a name; a layout that is there already gets one more.
    pub fn write_layout(&self, folder: &Path, name: &str) {
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        for (digest, bytes) in self.all() {
            fs::write(blobs.join(hex_of(&digest)), bytes).unwrap();
        }
        fs::write(folder.join("oci-layout"), LAYOUT).unwrap();
        let path = folder.join("index.json");
        let mut index = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap(),
            Err(_) => empty_index(),
        };
        let descriptors = index["manifests"].as_array_mut().unwrap();
        descriptors.push(self.named_descriptor(name));
        fs::write(path, serde_json::to_vec(&index).unwrap()).unwrap();
    }

    /// Returns the image as a tar of an OCI layout.
    pub fn oci_archive(&self, name: &str) -> Vec<u8> {
        let mut archive = Archive::new();
        self.append_layout(&mut archive, name);
        archive.finish()
    }

    /// Returns the image, which must be a manifest and not an index, as `docker save` does.
    pub fn docker_archive(&self, kind: ArchiveKind, tag: &str) -> Vec<u8> {
        let manifest = self.json();
        let config_digest = manifest["config"]["digest"].as_str().unwrap();
        let config: Value = serde_json::from_slice(&self.blobs[config_digest]).unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        let mut archive = Archive::new();
        let mut paths: Vec<String> = Vec::new();
        match kind {
            ArchiveKind::Layout => {
                self.append_layout(&mut archive, tag);
                for layer in layers {
                    let digest = layer["digest"].as_str().unwrap();
                    paths.push(format!("blobs/sha256/{}", hex_of(digest)));
                }
            }
            ArchiveKind::Classic => {
                archive.file(
                    &format!("{}.json", hex_of(config_digest)),
                    &self.blobs[config_digest],
                );
                let mut seen: Vec<String> = Vec::new();
                for (number, layer) in layers.iter().enumerate() {
                    let diff_id = config["rootfs"]["diff_ids"][number].as_str().unwrap();
                    let path = format!("{number:064x}/layer.tar");
                    match seen.iter().position(|earlier| earlier == diff_id) {
                        Some(earlier) => {
                            archive.link(&path, &format!("../{earlier:064x}/layer.tar"))
                        }
                        None => archive.file(
                            &path,
                            &unpacked(&self.blobs[layer["digest"].as_str().unwrap()]),
                        ),
                    }
                    seen.push(diff_id.to_owned());
                    paths.push(path);
                }
                let (repository, tag) = tag.rsplit_once(':').unwrap();
                let top = format!("{:064x}", layers.len().saturating_sub(1));
                let repositories = json!({ repository: { tag: top } });
                archive.file("repositories", repositories.to_string().as_bytes());
            }
        }
        let config_path = match kind {
            ArchiveKind::Layout => format!("blobs/sha256/{}", hex_of(config_digest)),
            ArchiveKind::Classic => format!("{}.json", hex_of(config_digest)),
        };
        let list = json!([{"Config": config_path, "RepoTags": [tag], "Layers": paths}]);
        archive.file("manifest.json", list.to_string().as_bytes());
        archive.finish()
    }

    /// Puts the image into a registry without asking it, whatever is wrong with the image; foreign layers stay out.
    pub fn push(&self, registry: &RunningRegistry, repo: &str, tag: &str) {
        for (digest, bytes) in &self.blobs {
            if !self.foreign.contains(digest) {
                registry.put_blob_as(repo, digest, bytes);
            }
        }
        for document in &self.documents {
            let digest = document.digest();
            registry.put_manifest(repo, &digest, &document.media_type, &document.bytes);
        }
        let root = self.root();
        registry.put_manifest(repo, tag, &root.media_type, &root.bytes);
    }

    /// Everything that has a digest.
    fn all(&self) -> impl Iterator<Item = (String, &[u8])> {
        let documents = self
            .documents
            .iter()
            .map(|d| (d.digest(), d.bytes.as_slice()));
        let blobs = self
            .blobs
            .iter()
            .filter(|(digest, _)| !self.foreign.contains(digest));
        blobs
            .map(|(d, b)| (d.clone(), b.as_slice()))
            .chain(documents)
    }

    fn append_layout(&self, archive: &mut Archive, name: &str) {
        archive.file("oci-layout", LAYOUT);
        let mut index = empty_index();
        index["manifests"] = json!([self.named_descriptor(name)]);
        archive.file("index.json", index.to_string().as_bytes());
        for (digest, bytes) in self.all() {
            archive.file(&format!("blobs/sha256/{}", hex_of(&digest)), bytes);
        }
    }

    fn named_descriptor(&self, name: &str) -> Value {
        let mut descriptor = self.descriptor();
        descriptor["annotations"]["org.opencontainers.image.ref.name"] = json!(name);
        descriptor
    }
}

/// A tar of files.
struct Archive(Builder<Vec<u8>>);

impl Archive {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn file(&mut self, path: &str, bytes: &[u8]) {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        self.0.append_data(&mut header, path, bytes).unwrap();
    }

    fn link(&mut self, path: &str, target: &str) {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_mode(0o777);
        header.set_mtime(0);
        header.set_size(0);
        self.0.append_link(&mut header, path, target).unwrap();
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn unpacked(blob: &[u8]) -> Vec<u8> {
    match blob {
        [0x1f, 0x8b, ..] => {
            let mut octets = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(blob);
            std::io::Read::read_to_end(&mut decoder, &mut octets).unwrap();
            octets
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => zstd::decode_all(blob).unwrap(),
        plain => plain.to_vec(),
    }
}

fn empty_index() -> Value {
    json!({"schemaVersion": 2, "mediaType": Format::Oci.index(), "manifests": []})
}

fn hex_of(digest: &str) -> &str {
    digest.split_once(':').unwrap().1
}

const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
