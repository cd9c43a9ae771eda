//! containerd's content store, where the manifest lies that a payload would have been taken from.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sealift_layer::{Claims, LayerId, PUBLIC_OPTIONS, PublicOptions};
use sealift_oci::{Descriptor, Document, MAX_DOCUMENT_LEN};

/// The blobs of one containerd, read only.
#[derive(Clone, Debug)]
pub struct ContentStore {
    root: PathBuf,
}

impl ContentStore {
    /// Takes containerd's root folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Borrows containerd's root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns how manifests in the store describe a layer, newest first.
    ///
    /// Nothing that stands there is trusted: a wrong description makes unwrapping or authentication fail. Blobs that cannot be
    /// read and blobs that are no manifests are passed over.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn descriptions(&self, layer: &LayerId) -> io::Result<Vec<Descriptor>> {
        // Cheap to look for, before a blob is parsed.
        let needle = match layer {
            LayerId::Commitment(_) => PUBLIC_OPTIONS.to_owned(),
            LayerId::Ciphertext(digest) => digest.to_string(),
        };
        let mut found = Vec::new();
        for path in self.candidates()? {
            let Some(octets) = read_json(&path, needle.as_bytes()) else {
                continue;
            };
            let Ok(Document::Manifest(manifest)) = Document::parse(&octets, None) else {
                continue;
            };
            found.extend(
                manifest
                    .layers()
                    .iter()
                    .filter(|entry| describes(entry, layer))
                    .cloned(),
            );
            if found.len() >= Self::MAX_DESCRIPTIONS {
                break;
            }
        }
        Ok(found)
    }

    /// Most descriptions of one layer that are returned.
    pub const MAX_DESCRIPTIONS: usize = 64;
    /// Most blobs that are looked at.
    pub const MAX_BLOBS: usize = 100_000;

    /// Lists the blobs that are short enough for a manifest, newest first: a pull has just written its own.
    fn candidates(&self) -> io::Result<Vec<PathBuf>> {
        let folder = self
            .root
            .join("io.containerd.content.v1.content/blobs/sha256");
        let mut blobs: Vec<(SystemTime, PathBuf)> = fs::read_dir(folder)?
            .take(Self::MAX_BLOBS)
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let metadata = entry.metadata().ok()?;
                let fits = metadata.is_file() && metadata.len() <= MAX_DOCUMENT_LEN as u64;
                fits.then(|| {
                    (
                        metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                        entry.path(),
                    )
                })
            })
            .collect();
        blobs.sort_by(|a, b| b.cmp(a));
        Ok(blobs.into_iter().map(|(_, path)| path).collect())
    }
}

/// Reads a blob that begins as JSON and holds `needle`.
fn read_json(path: &Path, needle: &[u8]) -> Option<Vec<u8>> {
    let mut file = fs::File::open(path).ok()?;
    let mut octets = vec![0];
    file.read_exact(&mut octets).ok()?;
    if !matches!(octets.as_slice(), [b'{' | b' ' | b'\n' | b'\t' | b'\r']) {
        return None;
    }
    file.take(MAX_DOCUMENT_LEN as u64)
        .read_to_end(&mut octets)
        .ok()?;
    octets
        .windows(needle.len())
        .any(|window| window == needle)
        .then_some(octets)
}

fn describes(entry: &Descriptor, layer: &LayerId) -> bool {
    match layer {
        LayerId::Ciphertext(digest) => entry.digest() == digest,
        LayerId::Commitment(wanted) => {
            let claims = Claims::new(entry.media_type(), annotations(entry));
            claims.is_ok_and(|claims| matches!(claims.public, Some(PublicOptions::Chunked { commitment }) if commitment == *wanted))
        }
    }
}

/// Lists a descriptor's annotations as [`Claims::new`] takes them.
pub(crate) fn annotations(entry: &Descriptor) -> impl Iterator<Item = (&str, &str)> {
    entry
        .annotations()
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
}
