//! Uploads that a process left unfinished: enough for the next one to ask the registry how far they got.
//!
//! One small file per repository and blob, in a folder of the caller's, locked while its upload is under way. It holds no
//! credential: a session at another host than the registry's, whose URL may be signed, is not recorded. Nothing depends
//! on a journal, so whatever goes wrong with it means going without.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use sealift_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::http::same_origin;
use crate::login::Repository;

/// A folder of records.
#[derive(Clone, Debug)]
pub(crate) struct Journal(PathBuf);

/// The record of one upload, locked against other processes.
#[derive(Debug)]
pub(crate) struct Page {
    file: File,
    path: PathBuf,
    subject: Subject,
    home: Url,
}

/// A session that an earlier process had.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) location: Url,
    pub(crate) min_chunk: usize,
}

/// Which blob goes where.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Subject {
    registry: Box<str>,
    repository: Box<str>,
    digest: Box<str>,
    size: u64,
}

#[derive(Deserialize, Serialize)]
struct Entry<S> {
    version: u32,
    subject: S,
    location: Box<str>,
    min_chunk: usize,
}

impl Journal {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Opens the record of a blob; nothing if another process is at it, or it cannot be had.
    pub(crate) fn page(&self, repository: &Repository, digest: &Digest, size: u64) -> Option<Page> {
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true);
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        {
            std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        folder.create(&self.0).ok()?;
        tidy(&self.0);
        let name = Digest::sha256(format!("{repository}@{digest}").as_bytes());
        let path = self.0.join(format!("{}.{EXTENSION}", name.hex()));
        let file = options.open(&path).ok()?;
        file.try_lock().ok()?;
        Some(Page {
            file,
            path,
            subject: Subject {
                registry: repository.registry.clone(),
                repository: repository.name.clone(),
                digest: digest.to_string().into(),
                size,
            },
            home: repository.base.clone(),
        })
    }
}

impl Page {
    /// Returns the session that was recorded last, if it is for the same blob at the same place.
    pub(crate) fn recorded(&mut self) -> Option<Recorded> {
        self.file.seek(SeekFrom::Start(0)).ok()?;
        let mut octets = Vec::new();
        (&self.file).take(MAX_LEN).read_to_end(&mut octets).ok()?;
        // One that was cut off when its process was killed is no JSON.
        let entry: Entry<Subject> = serde_json::from_slice(&octets).ok()?;
        let location = Url::parse(&entry.location).ok()?;
        let is_it = entry.version == VERSION
            && entry.subject == self.subject
            && same_origin(&location, &self.home)
            && entry.min_chunk <= MAX_MIN_CHUNK;
        is_it.then_some(Recorded {
            location,
            min_chunk: entry.min_chunk,
        })
    }

    /// Records where the upload goes on.
    pub(crate) fn record(&mut self, location: &Url, min_chunk: usize) {
        let entry = Entry {
            version: VERSION,
            subject: &self.subject,
            location: location.as_str().into(),
            min_chunk,
        };
        let octets = match serde_json::to_vec(&entry) {
            Ok(octets) if same_origin(location, &self.home) => octets,
            _ => Vec::new(),
        };
        let mut write = || {
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&octets)?;
            self.file.set_len(octets.len() as u64)
        };
        let _ = write();
    }

    /// Ends the record: the upload is done, or cannot be continued.
    pub(crate) fn remove(self) {
        // While the lock is held, so that nobody reads it in between.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes records that are too old or too many; which of them are in use does not matter, they are written again.
fn tidy(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut records: Vec<(Duration, PathBuf)> = entries
        .filter(|entry| entry.path().extension().is_some_and(|is| is == EXTENSION))
        .filter_map(|entry| {
            let modified = entry.metadata().ok()?.modified().ok()?;
            Some((modified.elapsed().unwrap_or_default(), entry.path()))
        })
        .collect();
    records.sort();
    for (at, (age, path)) in records.iter().enumerate() {
        if at >= MAX_RECORDS || *age > MAX_AGE {
            let _ = fs::remove_file(path);
        }
    }
}

const VERSION: u32 = 1;
const EXTENSION: &str = "upload";
/// Longest record that is read; a location alone may take 16 KiB.
const MAX_LEN: u64 = 64 * 1024;
const MAX_RECORDS: usize = 256;
/// After which docker-registry removes an unfinished upload, too.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most octets that a registry may force us to keep.
pub(crate) const MAX_MIN_CHUNK: usize = 256 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Http, HttpOptions, Proxies};
    use crate::login::Access;
    use crate::routes::Role;
    use crate::tls::{Tls, Verification};

    fn repository(name: &str) -> Repository {
        let base = Url::parse("http://127.0.0.1:5000/").unwrap();
        let http = Http::new(HttpOptions {
            tls: Tls::default(),
            verification: Verification::Full,
            proxies: Proxies::default(),
            connect_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            rate_limit: None,
            meter: Default::default(),
        });
        Repository {
            root: base.join("v2/").unwrap(),
            base,
            http: http.unwrap().into(),
            role: Role::Origin,
            namespace: None,
            registry: "127.0.0.1:5000".into(),
            name: name.into(),
            access: Access::PullPush,
            mounts_from: None,
        }
    }

    fn location(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    const HERE: &str = "http://127.0.0.1:5000/v2/app/blobs/uploads/1?_state=2";

    #[test]
    fn a_session_is_found_again_for_the_same_blob_and_place_only() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().join("a/b"));
        let (one, other) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
        let mut page = journal.page(&repository("app"), &one, 7).unwrap();
        assert!(page.recorded().is_none());
        page.record(&location(&format!("{HERE}&long=1234567890")), 0);
        page.record(&location(HERE), 5);
        // Another process has no part in it.
        assert!(journal.page(&repository("app"), &one, 7).is_none());
        drop(page);
        let found = |name, digest, size| {
            let recorded = journal.page(&repository(name), digest, size)?.recorded()?;
            Some((recorded.location.to_string(), recorded.min_chunk))
        };
        assert_eq!(found("app", &one, 7), Some((HERE.to_owned(), 5)));
        assert_eq!(found("app", &one, 8), None);
        assert_eq!(found("app", &other, 7), None);
        assert_eq!(found("app2", &one, 7), None);
        journal.page(&repository("app"), &one, 7).unwrap().remove();
        assert_eq!(found("app", &one, 7), None);
    }

    #[test]
    fn a_session_elsewhere_is_not_recorded_and_the_one_before_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().to_owned());
        let digest = Digest::sha256(b"1");
        let mut page = journal.page(&repository("app"), &digest, 7).unwrap();
        page.record(&location(HERE), 0);
        page.record(&location("http://storage.example/1?signature=secret"), 0);
        assert!(page.recorded().is_none());
        assert_eq!(fs::read(&page.path).unwrap(), b"");
    }

    #[test]
    fn a_broken_record_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().to_owned());
        let digest = Digest::sha256(b"1");
        let mut page = journal.page(&repository("app"), &digest, 7).unwrap();
        page.record(&location(HERE), 0);
        let whole = fs::read(&page.path).unwrap();
        for len in 0..whole.len() {
            fs::write(&page.path, &whole[..len]).unwrap();
            assert!(page.recorded().is_none(), "{len}");
        }
        fs::write(&page.path, whole).unwrap();
        assert!(page.recorded().is_some());
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().join("uploads"));
        let page = journal.page(&repository("app"), &Digest::sha256(b"1"), 7);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&page.unwrap().path), 0o600);
        assert_eq!(mode(&folder.path().join("uploads")), 0o700);
    }

    #[test]
    fn old_records_and_too_many_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().to_owned());
        let put = |name: String, days: u64| {
            let file = File::create(folder.path().join(name)).unwrap();
            let age = Duration::from_secs(days * 24 * 3600 + 60);
            file.set_modified(std::time::SystemTime::now() - age)
                .unwrap();
        };
        put("old.upload".into(), 7);
        put("old.txt".into(), 7);
        for number in 0..300 {
            put(format!("{number}.upload"), 1);
        }
        let page = journal.page(&repository("app"), &Digest::sha256(b"1"), 7);
        assert!(page.is_some());
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, MAX_RECORDS + 1 + 1);
        assert!(folder.path().join("old.txt").exists());
        assert!(!folder.path().join("old.upload").exists());
    }
}
