use std::fmt;

use crate::archive_sink::ArchiveSink;
use crate::client::{Client, Options};
use crate::docker_archive::DockerArchive;
use crate::error::Error;
use crate::image_ref::ImageRef;
use crate::layout::Layout;
use crate::layout_sink::LayoutSink;
use crate::remote::Remote;
use crate::sink::Sink;
use crate::source::Source;

/// Opens sources and sinks of every kind, and owns the threads that talk to registries.
///
/// Must outlive what it opened: dropping it stops transfers, which then fail.
pub struct Transport {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Transport {
    /// Prepares everything; nothing is contacted.
    ///
    /// # Errors
    /// [`Error::Malformed`] for options that cannot be used, [`Error::Io`] if no threads can be had.
    pub fn new(options: Options) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("registry")
            .enable_all()
            .build()
            .map_err(Error::io("start", "threads".as_ref()))?;
        let client = Client::new(options)?;
        Ok(Self { client, runtime })
    }

    /// Opens an image for reading.
    ///
    /// # Errors
    /// Any [`Error`]; a registry is not contacted before its first use.
    pub fn source(&self, image: &ImageRef) -> Result<Box<dyn Source>, Error> {
        Ok(match image {
            ImageRef::Registry(reference) => Box::new(self.remote(reference)),
            ImageRef::Layout { dir, name } => Box::new(Layout::open(dir, name.clone())?),
            ImageRef::OciArchive { file, name } => {
                Box::new(Layout::open_archive(file, name.clone())?)
            }
            ImageRef::DockerArchive { file, name } => {
                Box::new(DockerArchive::open(file, name.as_deref())?)
            }
        })
    }

    /// Opens a place to write an image to. Nothing that exists there changes before [`Sink::finish`].
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::Unsupported`] for a place that can only be read.
    pub fn sink(&self, image: &ImageRef) -> Result<Box<dyn Sink>, Error> {
        Ok(match image {
            ImageRef::Registry(reference) => Box::new(self.remote(reference)),
            ImageRef::Layout { dir, name } => Box::new(LayoutSink::open(dir, name.clone())?),
            ImageRef::OciArchive { file, name } => Box::new(ArchiveSink::open(file, name.clone())?),
            ImageRef::DockerArchive { .. } => {
                return Err(Error::unsupported(
                    "docker-archive: can only be read, it has no place for annotations; write oci-archive: or oci: instead",
                ));
            }
        })
    }

    /// Returns the client, for what is not an image transfer.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns a handle to the threads, to run the client's operations on.
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        self.runtime.handle()
    }

    fn remote(&self, reference: &sealift_oci::Reference) -> Remote {
        Remote::new(
            self.client.clone(),
            self.runtime.handle().clone(),
            reference.clone(),
        )
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

const WORKERS: usize = 2;
