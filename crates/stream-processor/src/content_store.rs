//! containerd's content store, where the manifest lies that a payload would have been taken from.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sealift_keywrap::WrappedKey;
use sealift_layer::{Claims, LayerId, PUBLIC_OPTIONS, PublicOptions};
use sealift_oci::{Descriptor, Document, MAX_DOCUMENT_LEN, Manifest};

/// The blobs of one containerd, read only.
#[derive(Clone, Debug)]
pub struct ContentStore {
    root: PathBuf,
    limits: Limits,
}

impl ContentStore {
    /// Takes containerd's root folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            limits: Limits {
                descriptions: Self::MAX_DESCRIPTIONS,
                blobs: Self::MAX_BLOBS,
                octets: Self::MAX_OCTETS,
            },
        }
    }

    /// Borrows containerd's root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns how manifests in the store describe a layer, newest first.
    ///
    /// Nothing that stands there is trusted: a wrong description makes unwrapping or authentication fail. Blobs that are no
    /// manifests are passed over.
    pub fn descriptions(&self, layer: &LayerId) -> Descriptions {
        let mut found = Descriptions::default();
        let Descriptions { entries, fault } = &mut found;
        self.each_manifest(&needle(layer), fault, |manifest, fault| {
            for entry in manifest
                .layers()
                .iter()
                .filter(|entry| describes(entry, layer))
            {
                if entries.len() >= self.limits.descriptions {
                    fault.get_or_insert_with(|| {
                        limit_reached(self.limits.descriptions as u64, "descriptions of one layer")
                    });
                    return ControlFlow::Break(());
                }
                entries.push(entry.clone());
            }
            ControlFlow::Continue(())
        });
        found
    }

    /// Returns the wrapped keys of all layers of the newest image that has this layer, as far as they can be read.
    pub fn siblings(&self, layer: &LayerId) -> Vec<WrappedKey> {
        let mut wraps = Vec::new();
        self.each_manifest(&needle(layer), &mut None, |manifest, _| {
            let layers = manifest.layers();
            if !layers.iter().any(|entry| describes(entry, layer)) {
                return ControlFlow::Continue(());
            }
            for entry in layers {
                if let Ok(claims) = Claims::new(entry.media_type(), annotations(entry)) {
                    wraps.extend(claims.wraps.as_slice().iter().cloned());
                }
            }
            ControlFlow::Break(())
        });
        wraps
    }

    /// Most descriptions of one layer that are returned.
    pub const MAX_DESCRIPTIONS: usize = 64;
    /// Most blobs that are looked at: the newest.
    pub const MAX_BLOBS: usize = 100_000;
    /// Most octets of blobs that are read.
    pub const MAX_OCTETS: u64 = 1024 * 1024 * 1024;

    /// Hands over the manifests that hold `needle`, newest first, until `take` breaks.
    fn each_manifest(
        &self,
        needle: &str,
        fault: &mut Option<io::Error>,
        mut take: impl FnMut(&Manifest, &mut Option<io::Error>) -> ControlFlow<()>,
    ) {
        let mut octets_left = self.limits.octets;
        for (len, path) in self.candidates(fault) {
            let Some(left) = octets_left.checked_sub(len) else {
                fault.get_or_insert_with(|| {
                    limit_reached(self.limits.octets, "octets of manifests")
                });
                return;
            };
            octets_left = left;
            let octets = match read_json(&path, needle.as_bytes()) {
                Ok(Some(octets)) => octets,
                Ok(None) => continue,
                Err(error) => {
                    fault.get_or_insert(error);
                    continue;
                }
            };
            if let Ok(Document::Manifest(manifest)) = Document::parse(&octets, None)
                && take(&manifest, fault).is_break()
            {
                return;
            }
        }
    }

    /// Lists length and path of the blobs that are short enough for a manifest, newest first: a pull has just written its
    /// own.
    fn candidates(&self, fault: &mut Option<io::Error>) -> Vec<(u64, PathBuf)> {
        let folder = self
            .root
            .join("io.containerd.content.v1.content/blobs/sha256");
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                *fault = Some(error);
                return Vec::new();
            }
        };
        // The oldest is on top.
        let mut newest = BinaryHeap::new();
        for entry in entries {
            let seen = entry.and_then(|entry| Ok((entry.metadata()?, entry.path())));
            let (metadata, path) = match seen {
                Ok(seen) => seen,
                // A blob may be collected while it is looked at.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    fault.get_or_insert(error);
                    continue;
                }
            };
            if !metadata.is_file() || metadata.len() > MAX_DOCUMENT_LEN as u64 {
                continue;
            }
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            newest.push(Reverse((modified, path, metadata.len())));
            if newest.len() > self.limits.blobs {
                newest.pop();
                fault.get_or_insert_with(|| limit_reached(self.limits.blobs as u64, "blobs"));
            }
        }
        newest
            .into_sorted_vec()
            .into_iter()
            .map(|Reverse((_, path, len))| (len, path))
            .collect()
    }
}

/// What a content store says about one layer.
#[derive(Debug, Default)]
pub struct Descriptions {
    /// The descriptors, newest manifest first.
    pub entries: Vec<Descriptor>,
    /// The first reason why there may be more: something could not be read, or a limit was reached.
    pub fault: Option<io::Error>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    descriptions: usize,
    blobs: usize,
    octets: u64,
}

/// Returns what stands in every manifest with this layer, cheap to look for before a blob is parsed.
fn needle(layer: &LayerId) -> String {
    match layer {
        LayerId::Commitment(_) => PUBLIC_OPTIONS.to_owned(),
        LayerId::Ciphertext(digest) => digest.to_string(),
    }
}

fn limit_reached(limit: u64, what: &str) -> io::Error {
    io::Error::other(format!("more than {limit} {what}"))
}

/// Reads a blob that begins as JSON and holds `needle`.
fn read_json(path: &Path, needle: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut file = match fs::File::open(path) {
        // Collected since it was listed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut octets = Vec::new();
    file.by_ref().take(1).read_to_end(&mut octets)?;
    if !matches!(octets.as_slice(), [b'{' | b' ' | b'\n' | b'\t' | b'\r']) {
        return Ok(None);
    }
    file.take(MAX_DOCUMENT_LEN as u64)
        .read_to_end(&mut octets)?;
    let holds = octets.windows(needle.len()).any(|window| window == needle);
    Ok(holds.then_some(octets))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sealift_oci::Digest;

    use super::*;

    /// A store with three manifests of one layer, which say by an annotation how old they are, in hours.
    fn store(limits: Limits) -> (tempfile::TempDir, ContentStore, LayerId) {
        let digest = Digest::sha256(b"layer");
        let root = tempfile::tempdir().unwrap();
        let store = ContentStore {
            root: root.path().into(),
            limits,
        };
        let folder = root
            .path()
            .join("io.containerd.content.v1.content/blobs/sha256");
        fs::create_dir_all(&folder).unwrap();
        for (name, age) in [("a", 2), ("b", 3), ("c", 1)] {
            let json = format!(
                r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+encrypted","digest":"{digest}","size":1,"annotations":{{"age":"{age}"}}}}]}}"#
            );
            fs::write(folder.join(name), json).unwrap();
            let modified = SystemTime::UNIX_EPOCH + Duration::from_secs((1000 - age) * 3600);
            let file = fs::File::options().write(true).open(folder.join(name));
            file.unwrap().set_modified(modified).unwrap();
        }
        (root, store, LayerId::Ciphertext(digest))
    }

    const AMPLE: Limits = Limits {
        descriptions: 10,
        blobs: 10,
        octets: 100_000,
    };

    fn found(limits: Limits) -> (Vec<String>, Option<String>) {
        let (_root, store, layer) = store(limits);
        let found = store.descriptions(&layer);
        let ages = found.entries.iter().map(|entry| {
            let (_, age) = annotations(entry).next().unwrap();
            age.to_owned()
        });
        (ages.collect(), found.fault.map(|fault| fault.to_string()))
    }

    #[test]
    fn the_newest_come_first_and_limits_keep_them_and_are_told() {
        let ages = |ages: &[&str]| ages.iter().copied().map(String::from).collect::<Vec<_>>();
        assert_eq!(found(AMPLE), (ages(&["1", "2", "3"]), None));
        let table = [
            (
                Limits {
                    descriptions: 2,
                    ..AMPLE
                },
                &["1", "2"][..],
                "more than 2 descriptions of one layer",
            ),
            (Limits { blobs: 1, ..AMPLE }, &["1"], "more than 1 blobs"),
            (
                Limits {
                    octets: 1000,
                    ..AMPLE
                },
                &["1", "2"],
                "more than 1000 octets of manifests",
            ),
        ];
        for (limits, kept, fault) in table {
            assert_eq!(found(limits), (ages(kept), Some(fault.into())));
        }
    }

    #[test]
    fn a_missing_store_is_told() {
        let (root, store, layer) = store(AMPLE);
        let folder = root.path().join("io.containerd.content.v1.content");
        fs::remove_dir_all(&folder).unwrap();
        let found = store.descriptions(&layer);
        assert_eq!(found.entries, []);
        assert_eq!(found.fault.unwrap().kind(), io::ErrorKind::NotFound);
    }
}
