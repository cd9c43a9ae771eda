//! An OCI layout in a tar file as a destination. The file appears whole, or not at all.

use std::collections::BTreeSet;
use std::io::{self, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sealift_oci::{Descriptor, Digest, Reference};
use tempfile::NamedTempFile;

use crate::client::manifest_what;
use crate::error::{Error, Mismatch};
use crate::image_ref::LayoutName;
use crate::layout::{INDEX, Layout, MARKER, MARKER_CONTENT, blob_name};
use crate::layout_index::{Attachment, LayoutIndex};
use crate::manifest::RawManifest;
use crate::sink::{Begun, BlobWriter, Draft, Sink};
use crate::spool::{Spool, folder_of, remove_leftovers, sync_folder, temporary_for};

/// An archive that an image is being written to.
#[derive(Debug)]
pub(crate) struct ArchiveSink {
    shared: Arc<Shared>,
    name: Option<LayoutName>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    state: Mutex<State>,
    /// What is listed together with the image.
    attached: Mutex<Vec<Attachment>>,
}

#[derive(Debug)]
enum State {
    Untouched,
    Open(Archive),
    /// A member was cut off, or the archive is finished; nothing can follow.
    Closed,
}

struct Archive {
    builder: tar::Builder<NamedTempFile>,
    blobs: BTreeSet<Digest>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Archive({} blobs)", self.blobs.len())
    }
}

impl ArchiveSink {
    /// Checks that the file is free, or an archive that holds no other image; nothing is written yet.
    pub(crate) fn open(file: &Path, name: Option<LayoutName>) -> Result<Self, Error> {
        if file.exists() {
            let index = Layout::open_archive(file, None)?.index()?;
            if index.holds_others(name.as_ref()) {
                return Err(Error::unsupported(format!(
                    "`{}` holds other images, and archives are written whole; choose another file",
                    file.display()
                )));
            }
        }
        Ok(Self {
            shared: Arc::new(Shared {
                path: file.to_owned(),
                state: Mutex::new(State::Untouched),
                attached: Mutex::default(),
            }),
            name,
        })
    }
}

impl Sink for ArchiveSink {
    fn has_blob(&self, digest: &Digest, _size: u64) -> Result<bool, Error> {
        let state = self
            .shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(matches!(&*state, State::Open(archive) if archive.blobs.contains(digest)))
    }

    fn blob(&self, _size: Option<u64>) -> Result<BlobWriter, Error> {
        Ok(BlobWriter::new(BlobDraft {
            spool: Spool::new(folder_of(&self.shared.path))?,
            shared: Arc::clone(&self.shared),
        }))
    }

    fn begin(&self, descriptor: &Descriptor, _from: Option<&Reference>) -> Result<Begun, Error> {
        let (digest, size) = (descriptor.digest(), descriptor.size());
        if self.has_blob(digest, size)? {
            return Ok(Begun::Present);
        }
        Ok(Begun::Missing(BlobWriter::new(BlobDraft {
            spool: Spool::of_known(folder_of(&self.shared.path), digest, size)?,
            shared: Arc::clone(&self.shared),
        })))
    }

    fn put_manifest(&self, manifest: &RawManifest) -> Result<(), Error> {
        let mut spool = Spool::new(folder_of(&self.shared.path))?;
        spool.append(&manifest.bytes)?;
        self.shared
            .keep(spool, &manifest.digest, manifest.bytes.len() as u64)
    }

    fn attach(&self, manifest: &RawManifest, tag: Option<&str>) -> Result<(), Error> {
        self.put_manifest(manifest)?;
        let attached = self.shared.attached.lock();
        let mut attached = attached.unwrap_or_else(PoisonError::into_inner);
        attached.push(Attachment::of(manifest, tag));
        Ok(())
    }

    fn finish(&self, root: &RawManifest) -> Result<(), Error> {
        if let Some(expected) = self.name.as_ref().and_then(LayoutName::digest)
            && expected != root.digest
        {
            return Err(Error::Mismatch {
                what: manifest_what(&expected.to_string()).into(),
                place: self.shared.path.to_string_lossy().into(),
                mismatch: Mismatch::Digest {
                    expected,
                    actual: root.digest.clone(),
                },
            });
        }
        if !self.has_blob(&root.digest, root.bytes.len() as u64)? {
            self.put_manifest(root)?;
        }
        let mut index = LayoutIndex::empty();
        index.enter(root, self.name.as_ref());
        let attached = self.shared.attached.lock();
        let attached = attached.unwrap_or_else(PoisonError::into_inner);
        attached.iter().for_each(|one| index.attach(one));
        drop(attached);
        let index = index.render();
        let path = &self.shared.path;
        self.shared
            .with(|archive| append(archive, INDEX, index.len() as u64, &mut &*index))?;
        let mut state = self
            .shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let State::Open(archive) = std::mem::replace(&mut *state, State::Closed) else {
            return Err(self.shared.closed());
        };
        let file = archive
            .builder
            .into_inner()
            .map_err(Error::io("write", path))?;
        file.as_file()
            .sync_all()
            .map_err(Error::io("write", path))?;
        file.persist(path)
            .map_err(|error| Error::io("write", path)(error.error))?;
        sync_folder(folder_of(path))
    }
}

impl Shared {
    fn keep(&self, spool: Spool, digest: &Digest, size: u64) -> Result<(), Error> {
        let mut file = spool.finish(digest, size)?;
        self.with(|archive| {
            if archive.blobs.insert(digest.clone()) {
                file.seek(SeekFrom::Start(0))?;
                append(archive, &blob_name(digest), size, &mut file)?;
            }
            Ok(())
        })
    }

    /// Works on the archive, which is begun when first needed. A failure closes it for good.
    fn with(&self, work: impl FnOnce(&mut Archive) -> io::Result<()>) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut archive = match std::mem::replace(&mut *state, State::Closed) {
            State::Open(archive) => archive,
            State::Untouched => {
                remove_leftovers(folder_of(&self.path));
                let mut archive = Archive {
                    builder: tar::Builder::new(temporary_for(&self.path)?),
                    blobs: BTreeSet::new(),
                };
                append(
                    &mut archive,
                    MARKER,
                    MARKER_CONTENT.len() as u64,
                    &mut &*MARKER_CONTENT,
                )
                .map_err(Error::io("write", &self.path))?;
                archive
            }
            State::Closed => return Err(self.closed()),
        };
        work(&mut archive).map_err(Error::io("write", &self.path))?;
        *state = State::Open(archive);
        Ok(())
    }

    fn closed(&self) -> Error {
        Error::malformed(
            format!("archive `{}`", self.path.display()),
            "writing it failed before",
        )
    }
}

struct BlobDraft {
    spool: Spool,
    shared: Arc<Shared>,
}

impl Draft for BlobDraft {
    fn append(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.spool.append(octets)
    }

    fn commit(self: Box<Self>, digest: &Digest, size: u64) -> Result<(), Error> {
        self.shared.keep(self.spool, digest, size)
    }

    fn offset(&self) -> u64 {
        self.spool.offset()
    }

    fn leave_digest(&mut self) {
        self.spool.leave_digest();
    }

    fn forget(self: Box<Self>) {
        self.spool.discard();
    }
}

/// Appends a file; time and owner are fixed, so that the same image makes the same archive.
fn append(
    archive: &mut Archive,
    name: &str,
    size: u64,
    content: &mut dyn io::Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    archive.builder.append_data(&mut header, name, content)
}
