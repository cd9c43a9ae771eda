use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// The node's current posture statement, which another program puts into a file.
///
/// Read again when the file has changed. That it is signed by the right service, and fresh, is for the holders to judge.
#[derive(Debug)]
pub struct PostureFile {
    path: PathBuf,
    seen: Mutex<Option<Seen>>,
}

#[derive(Clone, Debug)]
struct Seen {
    modified: SystemTime,
    len: u64,
    octets: Vec<u8>,
}

impl PostureFile {
    /// Takes the path; nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            seen: Mutex::default(),
        }
    }

    /// Returns the statement as it is now.
    ///
    /// # Errors
    /// When it cannot be read, or is longer than [`MAX_LEN`](Self::MAX_LEN).
    pub fn octets(&self) -> io::Result<Vec<u8>> {
        let file = File::open(&self.path)?;
        let metadata = file.metadata()?;
        let (modified, len) = (metadata.modified()?, metadata.len());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = &*seen
            && (seen.modified, seen.len) == (modified, len)
        {
            return Ok(seen.octets.clone());
        }
        let mut octets = Vec::new();
        file.take(Self::MAX_LEN + 1).read_to_end(&mut octets)?;
        if octets.len() as u64 > Self::MAX_LEN {
            return Err(io::Error::other("posture statement is too long"));
        }
        *seen = Some(Seen {
            modified,
            len,
            octets: octets.clone(),
        });
        Ok(octets)
    }

    /// Most octets of a statement.
    pub const MAX_LEN: u64 = 64 * 1024;
}
