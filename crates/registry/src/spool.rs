//! A blob on disk before it has its name: hidden, hashed while written, gone unless it is kept.

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use sealift_oci::{Algorithm, Digest, Hasher};
use tempfile::NamedTempFile;

use crate::client::blob_what;
use crate::error::{Error, Mismatch};

/// Octets in a temporary file.
#[derive(Debug)]
pub(crate) struct Spool {
    file: BufWriter<NamedTempFile>,
    folder: PathBuf,
    hasher: Hasher,
    written: u64,
    failed: Option<Error>,
}

impl Spool {
    /// Creates an empty file in a folder that is on the same file system as the blob's final place.
    pub(crate) fn new(folder: &Path) -> Result<Self, Error> {
        Ok(Self {
            file: BufWriter::with_capacity(BUFFER, temporary(folder)?),
            folder: folder.to_owned(),
            hasher: Hasher::new(Algorithm::Sha256),
            written: 0,
            failed: None,
        })
    }

    pub(crate) fn append(&mut self, octets: &[u8]) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let outcome = self
            .file
            .write_all(octets)
            .map_err(Error::io("write to", &self.folder));
        if let Err(error) = &outcome {
            self.failed = Some(error.clone());
        }
        self.hasher.update(octets);
        self.written += octets.len() as u64;
        outcome
    }

    /// Checks size and digest, and makes the content last.
    pub(crate) fn finish(self, digest: &Digest, size: u64) -> Result<NamedTempFile, Error> {
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
        let mut file = self
            .file
            .into_inner()
            .map_err(|error| Error::io("write to", &self.folder)(error.into_error()))?;
        let actual = match digest.algorithm() {
            Algorithm::Sha256 => self.hasher.finish(),
            algorithm => rehash(file.path(), algorithm)?,
        };
        if actual != *digest {
            return Err(mismatch(Mismatch::Digest {
                expected: digest.clone(),
                actual,
            }));
        }
        file.as_file_mut()
            .sync_all()
            .map_err(Error::io("write to", &self.folder))?;
        Ok(file)
    }
}

/// Creates a hidden file that disappears unless it is persisted; readable for everybody the umask lets.
pub(crate) fn temporary(folder: &Path) -> Result<NamedTempFile, Error> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PARTIAL);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
        .tempfile_in(folder)
        .map_err(Error::io("create a file in", folder))
}

/// Makes renames in a folder last.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    // Windows has no such call; NTFS journals renames.
    if cfg!(unix) {
        let opened = std::fs::File::open(folder).map_err(Error::io("open", folder))?;
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

fn rehash(path: &Path, algorithm: Algorithm) -> Result<Digest, Error> {
    let mut file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    hash(&mut file, algorithm).map_err(Error::io("read", path))
}

/// Hashes everything a reader has.
pub(crate) fn hash(
    reader: &mut impl std::io::Read,
    algorithm: Algorithm,
) -> std::io::Result<Digest> {
    let mut hasher = Hasher::new(algorithm);
    let mut buf = vec![0; BUFFER];
    loop {
        match reader.read(&mut buf)? {
            0 => return Ok(hasher.finish()),
            len => hasher.update(buf.get(..len).unwrap_or_default()),
        }
    }
}
