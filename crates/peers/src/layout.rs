//! Reading OCI layouts without any code of the project: what is checked must not check itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::command::run;
use crate::lab::digest_of;

/// A folder that is an OCI image layout.
#[derive(Clone, Debug)]
pub struct Layout(PathBuf);

impl Layout {
    /// Names a layout; nothing is read.
    pub fn at(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `oci:FOLDER:NAME`, as every program here understands it.
    pub fn reference(&self, name: &str) -> String {
        format!("oci:{}:{name}", self.0.display())
    }

    /// The file of a blob.
    pub fn blob(&self, digest: &str) -> PathBuf {
        self.0.join("blobs").join(digest.replacen(':', "/", 1))
    }

    /// The manifest that the index calls `name`.
    #[track_caller]
    pub fn image(&self, name: &str) -> Image {
        let index: Value = read(&self.0.join("index.json"));
        let entry = index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == name)
            .unwrap_or_else(|| panic!("no `{name}` in {index}"));
        let digest = entry["digest"].as_str().unwrap().to_owned();
        assert_eq!(digest_of(&self.blob(&digest)), digest);
        Image {
            manifest: read(&self.blob(&digest)),
            digest,
        }
    }

    /// Checks every blob of the image against its digest and every unpacked layer against the diff IDs of its config.
    #[track_caller]
    pub fn assert_intact(&self, name: &str) {
        let image = self.image(name);
        let config: Value = read(&self.blob(&image.config()));
        assert_eq!(digest_of(&self.blob(&image.config())), image.config());
        let mut diff_ids = Vec::new();
        for (layer, media_type) in image.layers().iter().zip(image.media_types()) {
            let blob = self.blob(layer);
            assert_eq!(&digest_of(&blob), layer);
            let unpack = match media_type.rsplit_once('+') {
                Some((_, "gzip")) => "gzip -dc",
                Some((_, "zstd")) => "zstd -qdc",
                _ if media_type.ends_with(".tar.gzip") => "gzip -dc",
                _ => "cat",
            };
            let line = format!("set -o pipefail; {unpack} <\"$0\" | sha256sum");
            let sum = run(Command::new("bash").arg("-c").arg(line).arg(&blob)).succeeded();
            diff_ids.push(format!("sha256:{}", sum.stdout.split(' ').next().unwrap()));
        }
        let expected: Vec<String> =
            serde_json::from_value(config["rootfs"]["diff_ids"].clone()).unwrap();
        assert_eq!(diff_ids, expected);
    }

    /// Replaces the layer with this number by what `change` makes of its octets, and mends manifest and index, as somebody who
    /// controls the registry would.
    #[track_caller]
    pub fn replace_layer(&self, name: &str, number: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let image = self.image(name);
        let mut octets = fs::read(self.blob(&image.layers()[number])).unwrap();
        change(&mut octets);
        let (digest, size) = self.put(&octets);
        let mut manifest = image.manifest;
        manifest["layers"][number]["digest"] = digest.into();
        manifest["layers"][number]["size"] = size.into();
        self.replace_manifest(name, &manifest);
    }

    /// Replaces an annotation of every layer by what `change` makes of it.
    #[track_caller]
    pub fn replace_annotations(&self, name: &str, key: &str, change: impl Fn(&str) -> String) {
        let mut manifest = self.image(name).manifest;
        for layer in manifest["layers"].as_array_mut().unwrap() {
            let before = layer["annotations"][key].as_str().unwrap();
            layer["annotations"][key] = change(before).into();
        }
        self.replace_manifest(name, &manifest);
    }

    fn replace_manifest(&self, name: &str, manifest: &Value) {
        let (digest, size) = self.put(&serde_json::to_vec(manifest).unwrap());
        let mut index: Value = read(&self.0.join("index.json"));
        for entry in index["manifests"].as_array_mut().unwrap() {
            if entry["annotations"]["org.opencontainers.image.ref.name"] == name {
                entry["digest"] = digest.clone().into();
                entry["size"] = size.into();
            }
        }
        fs::write(self.0.join("index.json"), index.to_string()).unwrap();
    }

    /// Adds an index called `name` over images of this layout, each for one architecture.
    #[track_caller]
    pub fn add_index(&self, name: &str, images: &[(&str, &str)]) {
        let manifests: Vec<Value> = images
            .iter()
            .map(|(image, architecture)| {
                let digest = self.image(image).digest;
                json!({
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": digest,
                    "size": fs::metadata(self.blob(&digest)).unwrap().len(),
                    "platform": {"os": "linux", "architecture": architecture},
                })
            })
            .collect();
        let media_type = "application/vnd.oci.image.index.v1+json";
        let added = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
        // Spaces and the last line feed are the author's; whoever writes the index anew loses them.
        let (digest, size) = self.put(format!("{added:#}\n").as_bytes());
        let mut index: Value = read(&self.0.join("index.json"));
        index["manifests"].as_array_mut().unwrap().push(json!({
            "mediaType": media_type,
            "digest": digest,
            "size": size,
            "annotations": {"org.opencontainers.image.ref.name": name},
        }));
        fs::write(self.0.join("index.json"), index.to_string()).unwrap();
    }

    fn put(&self, octets: &[u8]) -> (String, usize) {
        let temporary = self.0.join("blobs/sha256/new");
        fs::write(&temporary, octets).unwrap();
        let digest = digest_of(&temporary);
        fs::rename(temporary, self.blob(&digest)).unwrap();
        (digest, octets.len())
    }
}

/// A manifest.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its digest.
    pub digest: String,
    /// Its content.
    pub manifest: Value,
}

impl Image {
    /// The digest of the config.
    pub fn config(&self) -> String {
        self.manifest["config"]["digest"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// The digests of the layers, base first.
    pub fn layers(&self) -> Vec<String> {
        self.of_layers("digest")
    }

    /// An annotation of each layer, base first.
    pub fn annotations(&self, key: &str) -> Vec<String> {
        let layers = self.manifest["layers"].as_array().unwrap();
        let values = layers.iter().map(|layer| &layer["annotations"][key]);
        values
            .map(|value| value.as_str().unwrap().to_owned())
            .collect()
    }

    /// The media types of the layers, base first.
    pub fn media_types(&self) -> Vec<String> {
        self.of_layers("mediaType")
    }

    /// For each layer whether its media type says that it is sealed.
    pub fn sealed(&self) -> Vec<bool> {
        self.media_types()
            .iter()
            .map(|media_type| media_type.ends_with("+encrypted"))
            .collect()
    }

    fn of_layers(&self, member: &str) -> Vec<String> {
        self.manifest["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| layer[member].as_str().unwrap().to_owned())
            .collect()
    }
}

fn read(file: &Path) -> Value {
    let octets = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_slice(&octets).unwrap()
}
