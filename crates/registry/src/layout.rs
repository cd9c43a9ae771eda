//! An OCI layout as a source: a directory, or the same in a tar file (image-spec, `image-layout.md`).

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use indexmap::IndexMap;
use sealift_oci::{Descriptor, Digest, MAX_DOCUMENT_LEN};
use sealift_sys::will_read_in_order;

use crate::client::{blob_what, manifest_what};
use crate::error::{Error, Mismatch};
use crate::image_ref::LayoutName;
use crate::layout_index::{self, Choice, LayoutIndex};
use crate::manifest::RawManifest;
use crate::referrers::{Referrer, entries, fallback_tag};
use crate::source::{BlobReader, Source, part_len, read_part};
use crate::tar_index::TarIndex;

/// An image in a layout.
#[derive(Debug)]
pub(crate) struct Layout {
    store: Store,
    name: Option<LayoutName>,
}

#[derive(Debug)]
enum Store {
    Directory(PathBuf),
    Archive(TarIndex),
}

impl Layout {
    pub(crate) fn open(dir: &Path, name: Option<LayoutName>) -> Result<Self, Error> {
        if !dir.is_dir() {
            return Err(Error::NotFound {
                what: "OCI layout".into(),
                place: dir.to_string_lossy().into(),
            });
        }
        Self::of(Store::Directory(dir.to_owned()), name)
    }

    pub(crate) fn open_archive(file: &Path, name: Option<LayoutName>) -> Result<Self, Error> {
        Self::of(Store::Archive(TarIndex::open(file)?), name)
    }

    fn of(store: Store, name: Option<LayoutName>) -> Result<Self, Error> {
        let marker = store.read(MARKER, MAX_MARKER_LEN)?;
        let marker =
            marker.ok_or_else(|| Error::malformed(store.what(), "it has no `oci-layout`"))?;
        check_marker(&marker).map_err(|reason| Error::malformed(store.what(), reason))?;
        Ok(Self { store, name })
    }

    pub(crate) fn index(&self) -> Result<LayoutIndex, Error> {
        let octets = self.store.read(INDEX, layout_index::MAX_LEN as u64)?;
        let octets =
            octets.ok_or_else(|| Error::malformed(self.store.what(), "it has no `index.json`"))?;
        LayoutIndex::parse(&octets).map_err(|reason| self.bad_index(reason))
    }

    /// Opens a blob of the promised length behind its first `offset` octets.
    fn open_blob(
        &self,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<Box<dyn Read + Send>, Error> {
        let digest = descriptor.digest();
        let (reader, actual) = self
            .store
            .open(&blob_name(digest), offset)?
            .ok_or_else(|| Error::NotFound {
                what: blob_what(digest).into(),
                place: self.store.place().into(),
            })?;
        if actual != descriptor.size() {
            return Err(Error::Mismatch {
                what: blob_what(digest).into(),
                place: self.store.place().into(),
                mismatch: Mismatch::Size {
                    expected: descriptor.size(),
                    actual,
                },
            });
        }
        Ok(reader)
    }

    fn bad_index(&self, reason: String) -> Error {
        Error::malformed(format!("`index.json` of {}", self.store.what()), reason)
    }
}

impl Source for Layout {
    fn root(&self) -> Result<RawManifest, Error> {
        let descriptor =
            self.index()?
                .choose(self.name.as_ref())
                .map_err(|choice| match choice {
                    Choice::NotFound(what) => Error::NotFound {
                        what: what.into(),
                        place: self.store.place().into(),
                    },
                    Choice::Malformed(reason) => self.bad_index(reason),
                })?;
        self.manifest(&descriptor)
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        if self.name.is_some() {
            return Ok(Vec::new());
        }
        let digest = self.root()?.digest;
        Ok(self.index()?.names_of(&digest))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest, Error> {
        let what = manifest_what(&descriptor.digest().to_string());
        if descriptor.size() > MAX_DOCUMENT_LEN as u64 {
            return Err(Error::malformed(
                what,
                format!("it is longer than {MAX_DOCUMENT_LEN} octets"),
            ));
        }
        let mut octets = Vec::new();
        self.blob(descriptor)?
            .read_to_end(&mut octets)
            .map_err(|error| Error::from_io(error, "read", self.store.path()))?;
        let digest = descriptor.digest().clone();
        RawManifest::typed(
            Bytes::from(octets),
            digest,
            Some(descriptor.media_type()),
            &what,
        )
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<BlobReader, Error> {
        self.blob_from(descriptor, 0)
    }

    fn blob_from(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader, Error> {
        let reader = self.open_blob(descriptor, offset)?;
        Ok(BlobReader::at(
            reader,
            descriptor,
            offset,
            self.store.place(),
        ))
    }

    fn blob_part(
        &self,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, Error> {
        let len = part_len(descriptor, &range)?;
        let reader = self.open_blob(descriptor, range.start)?;
        read_part(reader, len, self.store.path()).map(Some)
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        let index = self.index()?;
        let list = fallback_tag(subject);
        let mut found: IndexMap<Digest, Descriptor> = IndexMap::new();
        // Some tools keep lists in layouts under the same names as in registries.
        if let Some(raw) = self.tagged(&list)? {
            let listed = entries(&raw.bytes, &format!("list of referrers `{list}`"))?;
            found.extend(listed.into_iter().map(|e| (e.digest().clone(), e)));
        }
        for descriptor in index.manifests() {
            let descriptor = descriptor.map_err(|reason| self.bad_index(reason))?;
            let kind = descriptor.media_type();
            if !kind.is_manifest() && !kind.is_index() {
                continue;
            }
            let raw = match self.manifest(&descriptor) {
                Ok(raw) => raw,
                // Layouts need not hold everything that they list (image-layout.md, "Blobs").
                Err(Error::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            if let Some(referrer) = Referrer::of(&raw)
                && referrer.subject.digest() == subject
            {
                found.insert(referrer.entry.digest().clone(), referrer.entry);
            }
        }
        Ok(found.into_values().collect())
    }

    fn tagged(&self, tag: &str) -> Result<Option<RawManifest>, Error> {
        let index = self.index()?;
        let named = index.named(tag).map_err(|reason| self.bad_index(reason))?;
        named.map(|named| self.manifest(&named)).transpose()
    }

    fn is_local(&self) -> bool {
        true
    }
}

type Opened = (Box<dyn Read + Send>, u64);

impl Store {
    /// Opens a file behind its first `offset` octets; returns it with its whole length.
    fn open(&self, name: &str, offset: u64) -> Result<Option<Opened>, Error> {
        match self {
            Self::Archive(index) => Ok(index
                .member(name)?
                .map(|(section, len)| -> Opened { (Box::new(section.behind(offset)), len) })),
            Self::Directory(dir) => {
                let path = dir.join(name);
                // Asked before opening, because opening a named pipe would wait for its writer.
                match std::fs::metadata(&path) {
                    Ok(metadata) if metadata.is_file() => {}
                    Ok(_) => {
                        return Err(Error::malformed(
                            format!("`{}`", path.display()),
                            "it is not a regular file",
                        ));
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(Error::io("open", &path)(error)),
                }
                let mut file = File::open(&path).map_err(Error::io("open", &path))?;
                let len = file.metadata().map_err(Error::io("open", &path))?.len();
                file.seek(SeekFrom::Start(offset))
                    .map_err(Error::io("read", &path))?;
                will_read_in_order(&file);
                Ok(Some((Box::new(file), len)))
            }
        }
    }

    fn read(&self, name: &str, limit: u64) -> Result<Option<Bytes>, Error> {
        let Some((reader, _)) = self.open(name, 0)? else {
            return Ok(None);
        };
        let mut octets = Vec::new();
        reader
            .take(limit + 1)
            .read_to_end(&mut octets)
            .map_err(Error::io("read", &self.path().join(name)))?;
        if octets.len() as u64 > limit {
            let what = format!("`{name}` of {}", self.what());
            return Err(Error::malformed(
                what,
                format!("it is longer than {limit} octets"),
            ));
        }
        Ok(Some(octets.into()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Directory(dir) => dir,
            Self::Archive(index) => index.path(),
        }
    }

    fn place(&self) -> String {
        self.path().to_string_lossy().into_owned()
    }

    fn what(&self) -> String {
        format!("OCI layout `{}`", self.place())
    }
}

/// Checks the file that marks a layout.
pub(crate) fn check_marker(octets: &[u8]) -> Result<(), String> {
    #[derive(serde::Deserialize)]
    struct Marker {
        #[serde(rename = "imageLayoutVersion")]
        version: String,
    }
    let marker: Marker =
        serde_json::from_slice(octets).map_err(|_| "its `oci-layout` is broken".to_owned())?;
    if marker.version == "1.0.0" {
        Ok(())
    } else {
        let version = sealift_oci::json::excerpt(&marker.version);
        Err(format!(
            "its version is `{version}`, and only `1.0.0` is known"
        ))
    }
}

/// Returns the path of a blob within a layout.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

pub(crate) const MARKER: &str = "oci-layout";
pub(crate) const MARKER_CONTENT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
pub(crate) const INDEX: &str = "index.json";
pub(crate) const MAX_MARKER_LEN: u64 = 4096;
