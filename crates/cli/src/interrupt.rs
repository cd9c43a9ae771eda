//! Ctrl-C: the work ends at its next read, clears up after itself, and says what was kept.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use sealift_image::{ImageError, SourceCheck};
use sealift_oci::{Descriptor, Digest, Reference};
use sealift_registry::{BlobReader, Error, RawManifest, Source};

use crate::console::Console;
use crate::exit::{Code, Failure};
use crate::progress::Reporter;
use crate::text::human;

/// Whether the user wants the work to end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Begins to listen for Ctrl-C, and on Unix for SIGTERM.
    ///
    /// The second time, or when the work has not ended [`GRACE`] later, the process ends at once; temporary files may
    /// stay then, but never an image under its name.
    pub(crate) fn install(console: Arc<Console>) -> Result<Self, Failure> {
        let interrupt = Self(Arc::default());
        let flag = Arc::clone(&interrupt.0);
        let cannot = |error: io::Error| {
            Failure::new(Code::Other, "cannot listen for Ctrl-C").because(&error)
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(cannot)?;
        // Begun here, so that nothing is missed before the thread runs, nor between the first signal and the second.
        let guard = runtime.enter();
        let signals = Signals::begin().map_err(cannot)?;
        drop(guard);
        thread::Builder::new()
            .name("interrupt".to_owned())
            .spawn(move || runtime.block_on(listen(signals, &flag, &console)))
            .map_err(cannot)?;
        Ok(interrupt)
    }

    /// Returns a source whose reads fail once the user wants the work to end.
    pub(crate) fn watch(&self, source: Box<dyn Source>, check: SourceCheck) -> Watched {
        Watched {
            inner: source,
            check,
            interrupt: self.clone(),
        }
    }

    /// Passes on a result; a failure after an interrupt is explained by it, and by what was finished before.
    pub(crate) fn explain<T>(
        &self,
        result: Result<T, ImageError>,
        progress: &Reporter<'_>,
    ) -> Result<T, Failure> {
        result.map_err(|error| {
            if !self.is_wanted() {
                return error.into();
            }
            let (count, octets) = progress.finished();
            let kept = match count {
                0 => "nothing was published".to_owned(),
                _ => format!("nothing was published; {count} finished blobs ({}) have no name at the destination", human(octets)),
            };
            let mut failure = Failure::new(Code::Other, "interrupted");
            failure.causes.push(kept);
            failure.hint("run the same command again; what is there already is not sent twice, except what is sealed anew")
        })
    }

    /// Passes on the result of something that publishes nothing.
    pub(crate) fn explain_reading<T>(&self, result: Result<T, ImageError>) -> Result<T, Failure> {
        result.map_err(|error| match self.is_wanted() {
            true => Failure::new(Code::Other, "interrupted"),
            false => error.into(),
        })
    }

    fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<(), Error> {
        if self.is_wanted() {
            Err(interrupted())
        } else {
            Ok(())
        }
    }
}

/// A source that can be interrupted.
pub(crate) struct Watched {
    inner: Box<dyn Source>,
    check: SourceCheck,
    interrupt: Interrupt,
}

impl Source for Watched {
    fn root(&self) -> Result<RawManifest, Error> {
        self.interrupt.check()?;
        self.inner.root()
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        self.inner.names()
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest, Error> {
        self.interrupt.check()?;
        self.inner.manifest(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<BlobReader, Error> {
        self.blob_from(descriptor, 0)
    }

    fn blob_from(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader, Error> {
        self.interrupt.check()?;
        let interrupt = self.interrupt.clone();
        let reader = self
            .inner
            .blob_from(descriptor, offset)?
            .through(|inner| Box::new(WatchedReader { inner, interrupt }));
        Ok(match self.check {
            SourceCheck::Verify => reader,
            SourceCheck::Trust => reader.trusting(),
        })
    }

    fn blob_part(
        &self,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, Error> {
        self.interrupt.check()?;
        self.inner.blob_part(descriptor, range)
    }

    fn repository(&self) -> Option<&Reference> {
        self.inner.repository()
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        self.interrupt.check()?;
        self.inner.referrers(subject)
    }

    fn tagged(&self, tag: &str) -> Result<Option<RawManifest>, Error> {
        self.interrupt.check()?;
        self.inner.tagged(tag)
    }

    fn is_local(&self) -> bool {
        self.inner.is_local()
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

struct WatchedReader {
    inner: Box<dyn Read + Send>,
    interrupt: Interrupt,
}

impl Read for WatchedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupt.check().map_err(Error::into_io)?;
        self.inner.read(buffer)
    }
}

async fn listen(mut signals: Signals, flag: &AtomicBool, console: &Console) {
    signals.next().await;
    flag.store(true, Ordering::Relaxed);
    console.note("ending; press Ctrl-C again to end at once");
    let _ = tokio::time::timeout(GRACE, signals.next()).await;
    console.failure(&Failure::new(
        Code::Other,
        "interrupted before everything was cleared up",
    ));
    std::process::exit(Code::Other as i32);
}

/// The ways in which a process is asked to end.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn begin() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The ways in which a process is asked to end.
#[cfg(not(unix))]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(not(unix))]
impl Signals {
    fn begin() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) {
        self.0.recv().await;
    }
}

fn interrupted() -> Error {
    Error::Unsupported {
        what: "interrupted".into(),
    }
}

/// How long the work may take to clear up.
const GRACE: Duration = Duration::from_secs(5);
