//! An OCI layout directory as a destination.
//!
//! Blobs are written under hidden names, synced and renamed; `index.json` is replaced last, under a lock that lets
//! several processes add images to one layout. Whatever happens before that, no image changes.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sealift_oci::{Descriptor, Digest, Hasher, Reference};
use sealift_sys::Buffer;

use crate::client::manifest_what;
use crate::error::{Error, Mismatch};
use crate::image_ref::LayoutName;
use crate::layout::{INDEX, MARKER, MARKER_CONTENT, MAX_MARKER_LEN, blob_name, check_marker};
use crate::layout_index::{self, Attachment, LayoutIndex};
use crate::manifest::RawManifest;
use crate::sink::{Begun, BlobWriter, Draft, Sink};
use crate::spool::{PARTIAL, Spool, folder_of, remove_leftovers, sync_folder, temporary};

/// A layout that an image is being written to.
#[derive(Debug)]
pub(crate) struct LayoutSink {
    shared: Arc<Shared>,
    name: Option<LayoutName>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    /// Folders with new blobs whose names have not been synced.
    dirty: Mutex<BTreeSet<PathBuf>>,
    /// Blobs that were there already and have been read whole.
    sound: Mutex<BTreeSet<Digest>>,
    /// What is listed together with the image.
    attached: Mutex<Vec<Attachment>>,
}

impl LayoutSink {
    /// Checks that the directory is a layout, or can become one; nothing is written yet.
    pub(crate) fn open(dir: &Path, name: Option<LayoutName>) -> Result<Self, Error> {
        match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("open", dir)(error)),
            Ok(entries) => match File::open(dir.join(MARKER)) {
                Ok(marker) => {
                    let mut octets = Vec::new();
                    io::Read::read_to_end(&mut io::Read::take(marker, MAX_MARKER_LEN), &mut octets)
                        .map_err(Error::io("read", &dir.join(MARKER)))?;
                    check_marker(&octets).map_err(|reason| {
                        Error::malformed(format!("OCI layout `{}`", dir.display()), reason)
                    })?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if entries.flatten().any(|entry| !is_ours(&entry.file_name())) {
                        return Err(Error::unsupported(format!(
                            "`{}` holds files but is not an OCI layout; choose an empty or new directory",
                            dir.display()
                        )));
                    }
                }
                Err(error) => return Err(Error::io("open", &dir.join(MARKER))(error)),
            },
        }
        Ok(Self {
            shared: Arc::new(Shared {
                dir: dir.to_owned(),
                dirty: Mutex::default(),
                sound: Mutex::default(),
                attached: Mutex::default(),
            }),
            name,
        })
    }
}

impl Sink for LayoutSink {
    fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        self.shared.has_blob(digest, size)
    }

    fn blob(&self, _size: Option<u64>) -> Result<BlobWriter, Error> {
        Ok(BlobWriter::new(BlobDraft {
            spool: Spool::new(&self.shared.prepare()?)?,
            shared: Arc::clone(&self.shared),
        }))
    }

    fn begin(&self, descriptor: &Descriptor, _from: Option<&Reference>) -> Result<Begun, Error> {
        let (digest, size) = (descriptor.digest(), descriptor.size());
        if self.has_blob(digest, size)? {
            return Ok(Begun::Present);
        }
        Ok(Begun::Missing(BlobWriter::new(BlobDraft {
            spool: Spool::of_known(&self.shared.prepare()?, digest, size)?,
            shared: Arc::clone(&self.shared),
        })))
    }

    fn put_manifest(&self, manifest: &RawManifest) -> Result<(), Error> {
        let size = manifest.bytes.len() as u64;
        let mut spool = Spool::new(&self.shared.prepare()?)?;
        spool.append(&manifest.bytes)?;
        self.shared.keep(spool, &manifest.digest, size)
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
                place: self.shared.dir.to_string_lossy().into(),
                mismatch: Mismatch::Digest {
                    expected,
                    actual: root.digest.clone(),
                },
            });
        }
        if !self.has_blob(&root.digest, root.bytes.len() as u64)? {
            self.put_manifest(root)?;
        }
        self.shared.sync_blobs()?;
        self.shared.enter(root, self.name.as_ref())
    }
}

impl Shared {
    /// Makes the directory a layout without images, if it is not one; returns where blobs are spooled.
    fn prepare(&self) -> Result<PathBuf, Error> {
        let blobs = self.dir.join("blobs");
        fs::create_dir_all(&blobs).map_err(Error::io("create", &blobs))?;
        let marker = self.dir.join(MARKER);
        if marker.exists() {
            remove_leftovers(&self.dir);
            remove_leftovers(&blobs);
        } else {
            let mut file = temporary(&self.dir)?;
            file.write_all(MARKER_CONTENT)
                .map_err(Error::io("write", &marker))?;
            file.as_file()
                .sync_all()
                .map_err(Error::io("write", &marker))?;
            match file.persist_noclobber(&marker) {
                Ok(_) => {}
                // Another writer was faster; what it wrote is the same.
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("write", &marker)(error.error)),
            }
        }
        Ok(blobs)
    }

    fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        let path = self.dir.join(blob_name(digest));
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() && metadata.len() == size => {
                self.is_sound(&path, digest)
            }
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("open", &path)(error)),
        }
    }

    /// Returns whether a blob that is there has its digest: another writer may have crashed over it. Read once per run.
    fn is_sound(&self, path: &Path, digest: &Digest) -> Result<bool, Error> {
        if self
            .sound
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(digest)
        {
            return Ok(true);
        }
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        let mut hasher = Hasher::new(digest.algorithm());
        let mut piece = Buffer::zeroed(256 * 1024);
        loop {
            match io::Read::read(&mut file, &mut piece).map_err(Error::io("read", path))? {
                0 => break,
                read => hasher.update(piece.get(..read).unwrap_or_default()),
            }
        }
        let sound = hasher.finish() == *digest;
        if sound {
            self.sound
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(digest.clone());
        }
        Ok(sound)
    }

    fn keep(&self, spool: Spool, digest: &Digest, size: u64) -> Result<(), Error> {
        let file = spool.finish(digest, size)?;
        let path = self.dir.join(blob_name(digest));
        let folder = folder_of(&path);
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        // What is there may be damaged; what we have was just verified.
        file.persist(&path)
            .map_err(|error| Error::io("write", &path)(error.error))?;
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        dirty.insert(folder.to_owned());
        Ok(())
    }

    fn sync_blobs(&self) -> Result<(), Error> {
        let dirty = std::mem::take(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner));
        for folder in &dirty {
            sync_folder(folder)?;
        }
        sync_folder(&self.dir.join("blobs"))
    }

    fn enter(&self, root: &RawManifest, name: Option<&LayoutName>) -> Result<(), Error> {
        let path = self.dir.join(INDEX);
        // Released when the file is closed.
        let lock = self.dir.join(LOCK);
        let locked = File::options()
            .read(true)
            // Network file systems lock only what is open for writing.
            .write(true)
            .create(cfg!(windows))
            .open(&lock)
            .map_err(Error::io("open", &lock))?;
        locked.lock().map_err(Error::io("lock", &lock))?;
        let mut index = match File::open(&path) {
            Ok(file) => {
                let mut octets = Vec::new();
                io::Read::read_to_end(
                    &mut io::Read::take(file, layout_index::MAX_LEN as u64 + 1),
                    &mut octets,
                )
                .map_err(Error::io("read", &path))?;
                LayoutIndex::parse(&octets)
                    .map_err(|reason| Error::malformed(format!("`{}`", path.display()), reason))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => LayoutIndex::empty(),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        index.enter(root, name);
        let attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        attached.iter().for_each(|one| index.attach(one));
        drop(attached);
        let mut file = temporary(&self.dir)?;
        file.write_all(&index.render())
            .map_err(Error::io("write", &path))?;
        file.as_file()
            .sync_all()
            .map_err(Error::io("write", &path))?;
        file.persist(&path)
            .map_err(|error| Error::io("write", &path)(error.error))?;
        sync_folder(&self.dir)?;
        // The directory may be new. Its parent need not be readable for us, and then nothing can be done.
        let _ = sync_folder(folder_of(&self.dir));
        Ok(())
    }
}

/// Returns whether a file may stand in a directory that another writer is just making a layout, or left half made.
fn is_ours(name: &OsStr) -> bool {
    name == "blobs" || name == LOCK || name.to_string_lossy().starts_with(PARTIAL)
}

/// The file that carries the lock. On Unix the marker, which never changes, will do; on Windows a lock keeps others from
/// reading the file, so there is one for the purpose.
const LOCK: &str = if cfg!(windows) {
    ".sealift-lock"
} else {
    MARKER
};

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
