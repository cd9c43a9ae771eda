//! Manifests that arrive in containerd's content store: the keys of an image are fetched while its layers still are.
//!
//! containerd writes a blob under `ingest/` and renames it to its digest when it is whole; a manifest is there before the
//! first layer is asked for. Nothing that lies there is trusted: a wrapped key opens for whom the holders say, or not at all.

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use sealift_agent::server::Resident;
use sealift_keywrap::WrappedKey;
use sealift_oci::{Document, MAX_DOCUMENT_LEN};
use tokio::runtime::Handle;

/// Fetches the keys of every image whose manifest arrives below containerd's `root`, until the process ends.
///
/// # Errors
/// When the content store cannot be watched: it is not there yet, or we may not read it.
pub(super) fn follow(root: &Path, resident: Arc<Resident>, runtime: Handle) -> io::Result<()> {
    let blobs = root.join("io.containerd.content.v1.content/blobs/sha256");
    let watch = inotify::init(CreateFlags::CLOEXEC)?;
    inotify::add_watch(&watch, &blobs, WatchFlags::MOVED_TO | WatchFlags::ONLYDIR)?;
    thread::Builder::new()
        .name("arrivals".to_owned())
        .spawn(move || {
            let _inside = runtime.enter();
            let error = each(&watch, &blobs, |wraps| {
                let count = resident.prefetch(wraps);
                tracing::debug!(count, "a manifest arrived: keys are fetched");
            });
            tracing::error!(%error, "arrivals are not followed any more: keys come when they are asked for");
        })?;
    Ok(())
}

/// Calls `arrived` for each manifest with wrapped keys; returns why there are no more.
fn each(watch: &OwnedFd, blobs: &Path, mut arrived: impl FnMut(Vec<WrappedKey>)) -> io::Error {
    let mut buffer = [const { MaybeUninit::uninit() }; 4096];
    let mut reader = Reader::new(watch, &mut buffer);
    loop {
        match reader.next() {
            Ok(event) if event.events().contains(ReadFlags::IGNORED) => {
                return io::Error::new(io::ErrorKind::NotFound, "the content store is gone");
            }
            Ok(event) => {
                let name = event.file_name().and_then(|name| name.to_str().ok());
                let wraps = name.map(|name| wrapped_keys(&blobs.join(name)));
                if let Some(wraps) = wraps.filter(|wraps| !wraps.is_empty()) {
                    arrived(wraps);
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return error.into(),
        }
    }
}

/// Returns the wrapped keys in a blob, as many as an agent takes at once; none if it is no manifest.
fn wrapped_keys(blob: &PathBuf) -> Vec<WrappedKey> {
    let Some(Document::Manifest(manifest)) = document(blob) else {
        return Vec::new();
    };
    sealift_agent::one_question(&sealift_image::wrapped_keys_of(&manifest))
}

/// Reads a blob that is short enough and begins as JSON; layers are told by that without being read.
fn document(blob: &PathBuf) -> Option<Document> {
    let mut file = File::open(blob).ok()?;
    let len = usize::try_from(file.metadata().ok()?.len()).ok()?;
    let mut first = [0];
    file.read_exact(&mut first).ok()?;
    if len > MAX_DOCUMENT_LEN || first != *b"{" {
        return None;
    }
    let mut octets = first.to_vec();
    file.take(MAX_DOCUMENT_LEN as u64)
        .read_to_end(&mut octets)
        .ok()?;
    Document::parse(&octets, None).ok()
}
