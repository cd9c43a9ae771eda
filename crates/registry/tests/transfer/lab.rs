//! What the tests of this crate share.
use std::io::{Read, Write};
use std::time::Duration;

use sealift_oci::{Descriptor, Digest, Document, Reference};
use sealift_registry::{
    BlobReader, Error, Failure, Options, RawManifest, RetryPolicy, Sink, Source, Transport,
};

/// Options that do not keep a test waiting.
pub(crate) fn options() -> Options {
    Options {
        retry: RetryPolicy {
            attempts: 4,
            base: Duration::from_millis(1),
            cap: Duration::from_millis(4),
            budget: Duration::from_secs(5),
        },
        idle_timeout: Duration::from_secs(20),
        chunk_size: 64 * 1024,
        ..Options::default()
    }
}

pub(crate) fn transport() -> Transport {
    Transport::new(options()).unwrap()
}

pub(crate) fn descriptor(content: &[u8]) -> Descriptor {
    let media_type = "application/vnd.oci.image.layer.v1.tar".parse().unwrap();
    Descriptor::new(media_type, Digest::sha256(content), content.len() as u64)
}

/// Opens a source by its text.
pub(crate) fn source(transport: &Transport, reference: &str) -> Box<dyn Source> {
    transport.source(&reference.parse().unwrap()).unwrap()
}

/// Opens a sink by its text.
pub(crate) fn sink(transport: &Transport, reference: &str) -> Box<dyn Sink> {
    transport.sink(&reference.parse().unwrap()).unwrap()
}

/// Copies everything an image consists of; returns its digest.
pub(crate) fn copy(source: &dyn Source, sink: &dyn Sink) -> Result<Digest, Error> {
    let root = source.root()?;
    copy_below(source, sink, &root)?;
    sink.finish(&root)?;
    Ok(root.digest)
}

fn copy_below(source: &dyn Source, sink: &dyn Sink, manifest: &RawManifest) -> Result<(), Error> {
    match Document::parse(&manifest.bytes, Some(&manifest.media_type)).unwrap() {
        Document::Index(index) => {
            for child in index.manifests() {
                let child = source.manifest(child)?;
                copy_below(source, sink, &child)?;
                sink.put_manifest(&child)?;
            }
        }
        Document::Manifest(image) => {
            for blob in image.layers().iter().chain([image.config()]) {
                sink.copy_blob(blob, source)?;
            }
        }
    }
    Ok(())
}

/// Reads a blob to its end; the error is the one that the reader wraps.
pub(crate) fn read(source: &dyn Source, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
    let mut octets = Vec::new();
    match source.blob(descriptor)?.read_to_end(&mut octets) {
        Ok(_) => Ok(octets),
        Err(error) => Err(Error::of_io(&error).unwrap().clone()),
    }
}

/// Writes a blob in pieces and commits it under its digest.
pub(crate) fn write(sink: &dyn Sink, octets: &[u8]) -> Result<Digest, Error> {
    let digest = Digest::sha256(octets);
    let mut writer = sink.blob(None)?;
    for piece in octets.chunks(10_000) {
        writer
            .write_all(piece)
            .map_err(|error| Error::of_io(&error).unwrap().clone())?;
    }
    writer.commit(&digest, octets.len() as u64)?;
    Ok(digest)
}

/// Renders an error with its causes, as a user sees it, with the port of the registry taken out.
pub(crate) fn told(error: &Error, host: &str) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.replace(host, "HOST")
}

/// Returns whether an error is that of a connection, not of what was said on it.
pub(crate) fn is_broken_connection(error: &Error) -> bool {
    matches!(
        error,
        Error::Network {
            failure: Failure::Transport(_),
            ..
        }
    )
}

/// A source whose blobs nobody may read.
#[derive(Debug)]
pub(crate) struct Unread(pub(crate) Box<dyn Source>);

impl Source for Unread {
    fn root(&self) -> Result<RawManifest, Error> {
        self.0.root()
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest, Error> {
        self.0.manifest(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<BlobReader, Error> {
        Err(Error::Unsupported {
            what: format!("{} was read", descriptor.digest()).into(),
        })
    }

    fn repository(&self) -> Option<&Reference> {
        self.0.repository()
    }

    fn is_local(&self) -> bool {
        self.0.is_local()
    }
}
