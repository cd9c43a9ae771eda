//! A registry on loopback that follows the [distribution specification] until a test scripts a fault.
//!
//! It runs on threads of its own, so that blocking and async tests use it alike, and ends when it is dropped.
//!
//! ```
//! use sealift_testkit::registry::{Effect, Fault, Operation, Options, Registry};
//!
//! let registry = Registry::start(Options::default());
//! let digest = registry.put_blob("demo/app", b"some layer");
//! registry.set_fault(Fault::on(Operation::GetBlob, Effect::CutBody(4)));
//! // … the client under test reads `digest` from `registry.host()`; then:
//! # use std::io::{Read, Write};
//! # let mut client = std::net::TcpStream::connect(registry.addr()).unwrap();
//! # write!(client, "GET /v2/demo/app/blobs/{digest} HTTP/1.1\r\n\r\n").unwrap();
//! # client.read_to_end(&mut Vec::new()).unwrap();
//! assert_eq!(registry.pending_faults(), 0);
//! assert_eq!(registry.count(Operation::GetBlob), 1);
//! ```
//!
//! [distribution specification]: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md

mod auth;
mod fault;
mod http;
mod line;
mod log;
mod options;
mod route;
mod serve;
mod store;
pub mod tls;
mod upload;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use fault::{Effect, Fault, Operation};
pub use log::Entry;
pub use options::{Auth, Bearer, Chunks, Options, Support, Tls, UploadState, UploadUrl};

use auth::Tokens;
use fault::Script;
use http::{Connection, Stream};
use line::{Line, Wire};
use serve::Shared;
use store::{Manifest, Store};

use crate::digest;

/// Where registries come from.
#[derive(Clone, Copy, Debug)]
pub struct Registry;

impl Registry {
    /// Starts a registry on a free port of `127.0.0.1`.
    pub fn start(options: Options) -> RunningRegistry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let scheme = if options.tls == Tls::Off {
            "http"
        } else {
            "https"
        };
        let shared = Arc::new(Shared {
            url: format!("{scheme}://{addr}"),
            options,
            store: Mutex::new(Store::default()),
            script: Mutex::new(Script::default()),
            log: Mutex::new(Vec::new()),
            tokens: Mutex::new(Tokens::default()),
            is_closing: AtomicBool::new(false),
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, &shared))
        };
        RunningRegistry {
            addr,
            shared,
            acceptor: Some(acceptor),
        }
    }
}

/// A registry that serves until it is dropped.
#[derive(Debug)]
pub struct RunningRegistry {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<Soundness>>,
}

impl RunningRegistry {
    /// Returns the address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns `127.0.0.1:PORT`, as it stands in a reference.
    pub fn host(&self) -> String {
        self.addr.to_string()
    }

    /// Returns `http://127.0.0.1:PORT`, or `https://…` with TLS.
    pub fn url(&self) -> String {
        self.shared.url.clone()
    }

    /// Adds a fault behind those that wait already.
    pub fn set_fault(&self, fault: Fault) {
        self.shared.script.lock().unwrap().add(fault);
    }

    /// Drops all faults.
    pub fn clear_faults(&self) {
        self.shared.script.lock().unwrap().clear();
    }

    /// Returns how many faults still wait for a request; a test that scripted some expects 0 at its end.
    pub fn pending_faults(&self) -> usize {
        self.shared.script.lock().unwrap().pending()
    }

    /// Returns the requests so far, in the order of their answers.
    pub fn log(&self) -> Vec<Entry> {
        self.shared.log.lock().unwrap().clone()
    }

    /// Forgets the requests so far.
    pub fn clear_log(&self) {
        self.shared.log.lock().unwrap().clear();
    }

    /// Returns how many requests of a kind there were.
    pub fn count(&self, operation: Operation) -> usize {
        let log = self.shared.log.lock().unwrap();
        log.iter().filter(|e| e.operation == operation).count()
    }

    /// Waits until there were `count` requests of a kind: a stalled one counts when it comes, others when they are answered.
    ///
    /// # Panics
    /// After 30 seconds.
    pub fn wait_for(&self, operation: Operation, count: usize) {
        let begin = Instant::now();
        while self.count(operation) < count {
            let waited = begin.elapsed();
            assert!(waited < PATIENCE, "no {operation:?} came: {:?}", self.log());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Shows a blob in a repository and returns its SHA-256 digest.
    pub fn put_blob(&self, repo: &str, bytes: &[u8]) -> String {
        let digest = digest::sha256(bytes);
        self.put_blob_as(repo, &digest, bytes);
        digest
    }

    /// Shows a blob under a digest that it need not have.
    pub fn put_blob_as(&self, repo: &str, digest: &str, bytes: &[u8]) {
        let mut store = self.shared.store.lock().unwrap();
        store.add_blob(repo, digest, bytes.to_vec());
    }

    /// Returns a blob of a repository.
    pub fn blob(&self, repo: &str, digest: &str) -> Option<Vec<u8>> {
        let blob = self.shared.store.lock().unwrap().blob(repo, digest);
        blob.map(|bytes| bytes.to_vec())
    }

    /// Returns the digests of a repository's blobs, sorted.
    pub fn blobs(&self, repo: &str) -> Vec<String> {
        self.shared.store.lock().unwrap().blob_digests(repo)
    }

    /// Takes a blob out of a repository; `false` when it was not there.
    pub fn remove_blob(&self, repo: &str, digest: &str) -> bool {
        self.shared.store.lock().unwrap().remove_blob(repo, digest)
    }

    /// Holds a manifest under its digest, and under `reference` if that is a tag; nothing is checked. Returns its SHA-256 digest.
    pub fn put_manifest(
        &self,
        repo: &str,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> String {
        let manifest = Manifest::new(media_type, bytes.to_vec());
        let digest = manifest.digest.clone();
        let mut store = self.shared.store.lock().unwrap();
        store.add_manifest(repo, reference, manifest);
        digest
    }

    /// Holds a manifest under a digest that it need not have.
    pub fn put_manifest_as(&self, repo: &str, digest: &str, media_type: &str, bytes: &[u8]) {
        let mut manifest = Manifest::new(media_type, bytes.to_vec());
        digest.clone_into(&mut manifest.digest);
        let mut store = self.shared.store.lock().unwrap();
        store.add_manifest(repo, digest, manifest);
    }

    /// Returns media type and octets of a manifest, by tag or digest.
    pub fn manifest(&self, repo: &str, reference: &str) -> Option<(String, Vec<u8>)> {
        let store = self.shared.store.lock().unwrap();
        let manifest = store.manifest(repo, reference)?;
        Some((manifest.media_type.clone(), manifest.bytes.to_vec()))
    }

    /// Returns the tags of a repository, sorted.
    pub fn tags(&self, repo: &str) -> Vec<String> {
        self.shared.store.lock().unwrap().tags(repo)
    }

    /// Returns how many upload sessions were started and neither ended nor cancelled.
    pub fn open_uploads(&self) -> usize {
        self.shared.store.lock().unwrap().open_uploads()
    }

    /// Serves bytes at any path outside `/v2/` to everybody: storage behind a redirect, a foreign layer.
    pub fn put_file(&self, path: &str, bytes: &[u8]) -> String {
        let mut store = self.shared.store.lock().unwrap();
        store.add_file(path, bytes.to_vec());
        format!("{}{path}", self.shared.url)
    }
}

impl Drop for RunningRegistry {
    fn drop(&mut self) {
        self.shared.is_closing.store(true, SeqCst);
        // The acceptor looks at the flag when it accepts, so something must come.
        drop(TcpStream::connect(self.addr));
        let outcome = self.acceptor.take().map(JoinHandle::join);
        let is_sound = matches!(outcome, Some(Ok(Soundness::Sound)));
        // A second panic would end the process and hide the first.
        assert!(
            is_sound || thread::panicking(),
            "the registry itself failed"
        );
    }
}

/// Whether the registry met nothing that its author had not thought of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Soundness {
    Sound,
    Broken,
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) -> Soundness {
    let tls = tls::server_config(shared.options.tls);
    let mut soundness = Soundness::Sound;
    let mut join = |thread: JoinHandle<()>| {
        if thread.join().is_err() {
            soundness = Soundness::Broken;
        }
    };
    let mut connections: Vec<(Weak<Line>, JoinHandle<()>)> = Vec::new();
    for stream in listener.incoming() {
        if shared.is_closing.load(SeqCst) {
            break;
        }
        for (_, thread) in connections.extract_if(.., |(_, thread)| thread.is_finished()) {
            join(thread);
        }
        let Ok(stream) = stream else { continue };
        drop(stream.set_nodelay(true));
        let line = Arc::new(Line::new(stream));
        let ours = Arc::downgrade(&line);
        let tls = tls.clone();
        let shared = Arc::clone(shared);
        let thread = thread::spawn(move || {
            let wire = Wire(Arc::clone(&line));
            let stream: Box<dyn Stream> = match tls {
                Some(config) => match rustls::ServerConnection::new(config) {
                    Ok(session) => Box::new(rustls::StreamOwned::new(session, wire)),
                    Err(_) => return,
                },
                None => Box::new(wire),
            };
            shared.serve(Connection::new(stream, line));
        });
        connections.push((ours, thread));
    }
    for (line, thread) in connections {
        if let Some(line) = line.upgrade() {
            line.shut_down();
        }
        join(thread);
    }
    soundness
}

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
