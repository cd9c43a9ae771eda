//! Files that are complete or not there, and files from outside that have a limit.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};
use zeroize::Zeroizing;

use crate::exit::{Code, Failure};

/// A complete file beside its place. It vanishes unless it is published.
pub(crate) struct NewFile {
    path: PathBuf,
    content: NamedTempFile,
}

/// Who may read a new file.
#[derive(Clone, Copy)]
pub(crate) enum Readers {
    Owner,
    Everybody,
}

impl NewFile {
    pub(crate) fn prepare(path: PathBuf, octets: &[u8], readers: Readers) -> Result<Self, Failure> {
        let write = || -> io::Result<NamedTempFile> {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            // Temporary files are made with mode 0600 and O_EXCL.
            let mut file = Builder::new()
                .prefix(".sealift-")
                .tempfile_in(folder.unwrap_or(Path::new(".")))?;
            file.write_all(octets)?;
            #[cfg(unix)]
            if let Readers::Everybody = readers {
                use std::os::unix::fs::PermissionsExt;
                file.as_file()
                    .set_permissions(fs::Permissions::from_mode(0o644))?;
            }
            #[cfg(not(unix))]
            let _ = readers;
            file.as_file().sync_all()?;
            Ok(file)
        };
        let content = write().map_err(|error| cannot_write(&path, &error))?;
        Ok(Self { path, content })
    }
}

/// Gives the files their names: all, or none. A name that is taken by now is not overwritten.
pub(crate) fn publish(files: Vec<NewFile>) -> Result<Vec<PathBuf>, Failure> {
    let mut published: Vec<PathBuf> = Vec::new();
    for file in files {
        if let Err(error) = file.content.persist_noclobber(&file.path) {
            for path in &published {
                // These are ours: no other program could have had the name.
                let _ = fs::remove_file(path);
            }
            return Err(match error.error.kind() {
                io::ErrorKind::AlreadyExists => taken(&file.path),
                _ => cannot_write(&file.path, &error.error),
            });
        }
        published.push(file.path);
    }
    Ok(published)
}

pub(crate) fn check_free(path: &Path) -> Result<(), Failure> {
    match path.symlink_metadata() {
        Ok(_) => Err(taken(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(cannot_write(path, &error)),
    }
}

fn taken(path: &Path) -> Failure {
    Failure::new(
        Code::Other,
        format!("`{}` exists, and is never overwritten", path.display()),
    )
    .hint("choose another name")
}

pub(crate) fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::Other, format!("cannot write `{}`", path.display())).because(error)
}

/// Puts a complete file in its place, over the one that is there.
pub(crate) fn replace(path: PathBuf, octets: &[u8], readers: Readers) -> Result<(), Failure> {
    let file = NewFile::prepare(path, octets, readers)?;
    match file.content.persist(&file.path) {
        Ok(_) => Ok(()),
        Err(error) => Err(cannot_write(&file.path, &error.error)),
    }
}

/// Writes one new file, complete or not at all.
pub(crate) fn write_new(path: &Path, octets: &[u8], readers: Readers) -> Result<(), Failure> {
    check_free(path)?;
    publish(vec![NewFile::prepare(path.to_owned(), octets, readers)?]).map(|_| ())
}

/// Reads a file, at most `limit` octets of it.
pub(crate) fn read_limited(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let cannot = |error: &io::Error| {
        let code = match error.kind() {
            io::ErrorKind::NotFound => Code::NotFound,
            _ => Code::Other,
        };
        Failure::new(code, format!("cannot read `{}`", path.display())).because(error)
    };
    let file = fs::File::open(path).map_err(|error| cannot(&error))?;
    // Grown by hand a vector would leave copies of secrets in freed memory.
    let known = file.metadata().map_or(0, |metadata| metadata.len());
    let capacity = usize::try_from(known).unwrap_or(limit).min(limit) + 1;
    let mut octets = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(limit as u64 + 1)
        .read_to_end(&mut octets)
        .map_err(|error| cannot(&error))?;
    if octets.len() > limit {
        let what = format!("`{}` has more than {limit} octets", path.display());
        return Err(Failure::new(Code::Other, what));
    }
    Ok(octets)
}
