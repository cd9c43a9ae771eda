//! A blob on disk before it has its name: hidden, hashed while written, gone unless it is kept.
//!
//! What is written of a blob whose digest is known stays when the process ends early, under a name that says whose
//! beginning it is. The next process reads it once for the digest and goes on behind it. A lock shows which file is
//! still written to; names are never used twice, so whoever has the lock and finds the name has the file.

use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sealift_oci::{Algorithm, Digest, Hasher};
use sealift_sys::Buffer;
use tempfile::{NamedTempFile, TempPath};

use crate::client::blob_what;
use crate::error::{Error, Mismatch};
use crate::flusher::Flusher;

/// Octets in a temporary file.
#[derive(Debug)]
pub(crate) struct Spool {
    /// Comes first: it has the file open, too.
    flusher: Flusher,
    file: BufWriter<NamedTempFile>,
    folder: PathBuf,
    /// None once the digest has been left to the writer.
    hasher: Option<Hasher>,
    written: u64,
    /// Octets that an earlier process wrote.
    found: u64,
    /// Whether a later process can go on with it.
    stays: bool,
    failed: Option<Error>,
}

impl Spool {
    /// Creates an empty file in a folder that is on the same file system as the blob's final place.
    pub(crate) fn new(folder: &Path) -> Result<Self, Error> {
        Ok(Self {
            flusher: Flusher::default(),
            file: BufWriter::with_capacity(BUFFER, temporary(folder)?),
            folder: folder.to_owned(),
            hasher: Some(Hasher::new(Algorithm::Sha256)),
            written: 0,
            found: 0,
            stays: false,
            failed: None,
        })
    }

    /// Goes on with what an earlier process left of a blob, or creates an empty file that a later one can go on with.
    pub(crate) fn of_known(folder: &Path, digest: &Digest, size: u64) -> Result<Self, Error> {
        let prefix = format!("{PARTIAL}{}-{}-", digest.algorithm(), digest.hex());
        let file = named(folder, &prefix)?;
        let fresh = file
            .as_file()
            .metadata()
            .map_err(Error::io("open", folder))?;
        // Without the lock others might take it for a leftover, so it must not look like one that can be continued.
        if file.as_file().try_lock().is_err() {
            return Self::new(folder);
        }
        for (path, len) in leftovers(folder, &prefix) {
            if let Some(spool) = Self::found(folder, &path, size, &fresh) {
                return Ok(spool);
            }
            // Too long for the blob: nobody can go on with it. Whoever writes to it would have the lock.
            if len > size && File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
                let _ = std::fs::remove_file(&path);
            }
        }
        Ok(Self {
            flusher: Flusher::default(),
            file: BufWriter::with_capacity(BUFFER, file),
            folder: folder.to_owned(),
            hasher: Some(Hasher::new(Algorithm::Sha256)),
            written: 0,
            found: 0,
            stays: true,
            failed: None,
        })
    }

    /// Takes over a file whose writer is gone; nothing if it is not, or anything is wrong with the file.
    fn found(folder: &Path, path: &Path, size: u64, fresh: &Metadata) -> Option<Self> {
        let mut file = File::options().read(true).write(true).open(path).ok()?;
        file.try_lock().ok()?;
        let is_ours = std::fs::symlink_metadata(path)
            .is_ok_and(|metadata| metadata.is_file() && is_same_owner(&metadata, fresh));
        let len = file.metadata().ok()?.len();
        if !is_ours || len == 0 || len > size {
            return None;
        }
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let written = feed(&mut file, &mut hasher).ok()?;
        let mut file = NamedTempFile::from_parts(file, TempPath::try_from_path(path).ok()?);
        file.disable_cleanup(true);
        Some(Self {
            flusher: Flusher::default(),
            file: BufWriter::with_capacity(BUFFER, file),
            folder: folder.to_owned(),
            hasher: Some(hasher),
            written,
            found: written,
            stays: true,
            failed: None,
        })
    }

    /// Returns how many octets an earlier process wrote.
    pub(crate) fn offset(&self) -> u64 {
        self.found
    }

    /// Leaves nothing for a later process.
    pub(crate) fn discard(mut self) {
        self.file.get_mut().disable_cleanup(false);
    }

    /// Believes the digest it is told at the end; works only before the first octet.
    pub(crate) fn leave_digest(&mut self) {
        if self.written == 0 {
            self.hasher = None;
        }
    }

    pub(crate) fn append(&mut self, octets: &[u8]) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        // An empty file is of no use to anybody.
        if self.stays && !octets.is_empty() {
            self.file.get_mut().disable_cleanup(true);
        }
        let outcome = self
            .file
            .write_all(octets)
            .map_err(Error::io("write to", &self.folder));
        if let Err(error) = &outcome {
            self.failed = Some(error.clone());
            // What filled a disk must not keep it full.
            self.file.get_mut().disable_cleanup(false);
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(octets);
        }
        self.written += octets.len() as u64;
        let file = self.file.get_ref().as_file();
        self.flusher.written(octets.len() as u64, file);
        outcome
    }

    /// Checks the size, and the digest unless that was left to the writer, and makes the content last.
    pub(crate) fn finish(mut self, digest: &Digest, size: u64) -> Result<NamedTempFile, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let mismatch = |mismatch| Error::Mismatch {
            what: blob_what(digest).into(),
            place: self.folder.to_string_lossy().into(),
            mismatch,
        };
        if self.written != size {
            return Err(mismatch(Mismatch::Size {
                expected: size,
                actual: self.written,
            }));
        }
        let mut file = self.file.into_inner().map_err(|error| {
            let (error, mut file) = error.into_parts();
            file.get_mut().disable_cleanup(false);
            Error::io("write to", &self.folder)(error)
        })?;
        // From here on it is whole, or nothing to go on with.
        file.disable_cleanup(false);
        if let Some(hasher) = self.hasher {
            let actual = match digest.algorithm() {
                Algorithm::Sha256 => hasher.finish(),
                // By the same handle: on Windows the lock keeps every other from reading.
                algorithm => file
                    .as_file_mut()
                    .rewind()
                    .and_then(|()| hash(file.as_file_mut(), algorithm))
                    .map_err(Error::io("read", &self.folder))?,
            };
            if actual != *digest && self.found > 0 {
                return Err(Error::DamagedLeftover {
                    what: blob_what(digest).into(),
                    place: self.folder.to_string_lossy().into(),
                });
            }
            if actual != *digest {
                return Err(mismatch(Mismatch::Digest {
                    expected: digest.clone(),
                    actual,
                }));
            }
        }
        self.flusher
            .finish()
            .and_then(|()| file.as_file_mut().sync_all())
            .map_err(Error::io("write to", &self.folder))?;
        Ok(file)
    }
}

/// Creates a hidden file that disappears unless it is persisted; readable for everybody the umask lets.
pub(crate) fn temporary(folder: &Path) -> Result<NamedTempFile, Error> {
    named(folder, PARTIAL)
}

fn named(folder: &Path, prefix: &str) -> Result<NamedTempFile, Error> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
        .tempfile_in(folder)
        .map_err(Error::io("create a file in", folder))
}

/// Creates a hidden file that will become `target`; what killed processes left of the same is removed.
pub(crate) fn temporary_for(target: &Path) -> Result<NamedTempFile, Error> {
    let folder = folder_of(target);
    let name = target.file_name().unwrap_or_default();
    let name = Digest::sha256(name.as_encoded_bytes());
    let prefix = format!("{PARTIAL}for-{}-", name.hex());
    for (path, _) in leftovers(folder, &prefix) {
        if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = std::fs::remove_file(path);
        }
    }
    let file = named(folder, &prefix)?;
    // Where there are no locks nobody gets one, and what is left is removed when it is old.
    let _ = file.as_file().try_lock();
    Ok(file)
}

/// Makes renames in a folder last.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    // Windows has no such call; NTFS journals renames.
    if cfg!(unix) {
        let opened = File::open(folder).map_err(Error::io("open", folder))?;
        opened.sync_all().map_err(Error::io("write to", folder))?;
    }
    Ok(())
}

/// Returns the folder that holds a file.
pub(crate) fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// How the names of temporary files begin.
pub(crate) const PARTIAL: &str = ".sealift-partial-";
const BUFFER: usize = 128 * 1024;

/// Whoever owns a file can change it after we have read it, so only our own are continued.
#[cfg(unix)]
fn is_same_owner(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    a.uid() == b.uid()
}

#[cfg(not(unix))]
fn is_same_owner(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// Hashes everything a reader has.
pub(crate) fn hash(reader: &mut impl io::Read, algorithm: Algorithm) -> io::Result<Digest> {
    let mut hasher = Hasher::new(algorithm);
    feed(reader, &mut hasher)?;
    Ok(hasher.finish())
}

/// Hashes everything a reader has; returns how much it was.
fn feed(reader: &mut impl io::Read, hasher: &mut Hasher) -> io::Result<u64> {
    let mut buf = Buffer::zeroed(BUFFER);
    let mut total = 0;
    loop {
        match reader.read(&mut buf)? {
            0 => return Ok(total),
            len => {
                hasher.update(buf.get(..len).unwrap_or_default());
                total += len as u64;
            }
        }
    }
}

/// Returns the files whose names begin so, the longest first.
fn leftovers(folder: &Path, prefix: &str) -> Vec<(PathBuf, u64)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.len())))
        .collect();
    found.sort_by_key(|(_, len)| std::cmp::Reverse(*len));
    found
}

/// Removes temporary files that a writer left behind when it was killed; nobody else's, and nobody minds a failure.
pub(crate) fn remove_leftovers(folder: &Path) {
    for (path, _) in leftovers(folder, PARTIAL) {
        let age = std::fs::metadata(&path)
            .ok()
            .and_then(|metadata| metadata.modified().ok()?.elapsed().ok());
        // One that is still written to is young.
        if age.is_some_and(|age| age > LEFTOVER_AGE) {
            let _ = std::fs::remove_file(path);
        }
    }
}

const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 3600);
