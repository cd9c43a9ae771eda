use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::Format;
use crate::digest;

/// A tar in the making; the same calls give the same octets.
#[derive(Debug)]
pub struct Tar(Vec<Entry>);

/// What it is, its path, where it leads, what it holds.
pub(super) type Entry = (EntryType, String, String, Vec<u8>);

impl Tar {
    /// Begins an empty tar.
    #[expect(clippy::new_without_default, reason = "a beginning, not a default")]
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a regular file, mode 755.
    #[must_use]
    pub fn file(self, path: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, path, "", content)
    }

    /// Adds a folder.
    #[must_use]
    pub fn folder(self, path: &str) -> Self {
        self.entry(EntryType::Directory, path, "", b"")
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, target, b"")
    }

    /// Adds another name for a file.
    #[must_use]
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, target, b"")
    }

    /// Hides a path of the layers below (image-spec, `layer.md`, "Whiteouts").
    #[must_use]
    pub fn whiteout(self, path: &str) -> Self {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let path = format!("{folder}/.wh.{name}");
        self.entry(EntryType::Regular, path.trim_start_matches('/'), "", b"")
    }

    /// Hides what the layers below have in a folder (image-spec, `layer.md`, "Opaque Whiteout").
    #[must_use]
    pub fn opaque(self, folder: &str) -> Self {
        self.entry(
            EntryType::Regular,
            &format!("{folder}/.wh..wh..opq"),
            "",
            b"",
        )
    }

    /// Returns the tar.
    pub fn build(self) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for entry in &self.0 {
            append(&mut builder, entry);
        }
        builder.into_inner().unwrap()
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.0
    }

    fn entry(mut self, kind: EntryType, path: &str, target: &str, content: &[u8]) -> Self {
        self.0
            .push((kind, path.into(), target.into(), content.into()));
        self
    }
}

fn append(builder: &mut Builder<Vec<u8>>, (kind, path, target, content): &Entry) {
    let mut header = Header::new_gnu();
    header.set_entry_type(*kind);
    header.set_mode(if *kind == EntryType::Symlink {
        0o777
    } else {
        0o755
    });
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(content.len() as u64);
    if target.is_empty() {
        builder.append_data(&mut header, path, &**content).unwrap();
    } else {
        builder.append_link(&mut header, path, target).unwrap();
    }
}

/// Returns what a tar has for an entry: headers, content, and what fills the last block.
pub(super) fn entry_octets(entry: &Entry) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let mut builder = Builder::new(Vec::new());
    append(&mut builder, entry);
    let mut header = builder.into_inner().unwrap();
    // The end of an archive is 1024 zeros.
    header.truncate(header.len() - 1024);
    let content = entry.3.clone();
    let padding = vec![0; content.len().next_multiple_of(512) - content.len()];
    header.truncate(header.len() - content.len() - padding.len());
    (header, content, padding)
}

/// How a layer's tar is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Packing {
    /// As it is.
    Plain,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Packing {
    /// Packs octets; the same octets give the same result.
    pub fn pack(self, octets: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => octets.to_vec(),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(octets).unwrap();
                encoder.finish().unwrap()
            }
            Self::Zstd => zstd::encode_all(octets, 1).unwrap(),
        }
    }
}

/// A layer: a blob and what a manifest says about it.
#[derive(Clone, Debug)]
pub struct Layer {
    pub(super) blob: Vec<u8>,
    pub(super) diff_id: String,
    tar: Vec<u8>,
    packing: Packing,
    media_type: Option<String>,
    urls: Vec<String>,
    annotations: Vec<(String, String)>,
}

impl Layer {
    /// Makes a layer of a tar.
    pub fn new(tar: Tar, packing: Packing) -> Self {
        Self::of(tar.build(), packing)
    }

    /// Makes a layer of octets that need not be a tar.
    pub fn of(octets: Vec<u8>, packing: Packing) -> Self {
        Self {
            blob: packing.pack(&octets),
            diff_id: digest::sha256(&octets),
            tar: octets,
            packing,
            media_type: None,
            urls: Vec::new(),
            annotations: Vec::new(),
        }
    }

    /// Makes a layer of octets that were packed elsewhere.
    pub fn packed(blob: Vec<u8>, unpacked: Vec<u8>, packing: Packing) -> Self {
        Self {
            blob,
            packing,
            ..Self::of(unpacked, Packing::Plain)
        }
    }

    /// Makes a layer of a blob that is taken as it is, of any type.
    pub fn blob(media_type: &str, blob: &[u8]) -> Self {
        Self::of(blob.to_vec(), Packing::Plain).media_type(media_type)
    }

    /// Gives the layer a type that its packing would not give it.
    #[must_use]
    pub fn media_type(mut self, media_type: &str) -> Self {
        self.media_type = Some(media_type.into());
        self
    }

    /// Makes the layer nondistributable, to be had from `url`; called again, also from there.
    #[must_use]
    pub fn foreign(mut self, url: &str) -> Self {
        self.urls.push(url.into());
        self
    }

    /// Adds an annotation to the layer's descriptor.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.into(), value.into()));
        self
    }

    /// Returns the blob.
    pub fn octets(&self) -> &[u8] {
        &self.blob
    }

    /// Returns the blob's digest.
    pub fn digest(&self) -> String {
        digest::sha256(&self.blob)
    }

    /// Returns the digest of the unpacked layer.
    pub fn diff_id(&self) -> &str {
        &self.diff_id
    }

    /// Returns the unpacked layer.
    pub fn unpacked(&self) -> &[u8] {
        &self.tar
    }

    /// Returns whether registries must not be asked to store it.
    pub(super) fn is_foreign(&self) -> bool {
        !self.urls.is_empty()
    }

    pub(super) fn descriptor(&self, format: Format) -> Value {
        let media_type = self.media_type.clone();
        let mut descriptor = json!({
            "mediaType": media_type.unwrap_or_else(|| self.usual_type(format)),
            "digest": self.digest(),
            "size": self.blob.len(),
        });
        if !self.urls.is_empty() {
            descriptor["urls"] = json!(self.urls);
        }
        for (key, value) in &self.annotations {
            descriptor["annotations"][key] = json!(value);
        }
        descriptor
    }

    fn usual_type(&self, format: Format) -> String {
        let (stem, separator) = match (format, self.is_foreign()) {
            (Format::Oci, false) => ("application/vnd.oci.image.layer.v1.tar", '+'),
            (Format::Oci, true) => (
                "application/vnd.oci.image.layer.nondistributable.v1.tar",
                '+',
            ),
            (Format::Docker, false) => ("application/vnd.docker.image.rootfs.diff.tar", '.'),
            (Format::Docker, true) => ("application/vnd.docker.image.rootfs.foreign.diff.tar", '.'),
        };
        match self.packing {
            Packing::Plain => stem.to_owned(),
            Packing::Gzip => format!("{stem}{separator}gzip"),
            Packing::Zstd => format!("{stem}{separator}zstd"),
        }
    }
}
