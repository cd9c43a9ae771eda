//! Source and sink at a registry: the bridge between blocking callers and the async client.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use sealift_oci::{Descriptor, Digest, Reference};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::client::Client;
use crate::error::{Error, Mismatch};
use crate::holding::Holding;
use crate::login::Access;
use crate::manifest::RawManifest;
use crate::mirrors::Givers;
use crate::ranges::{Arrival, fetch_part};
use crate::sink::{Begun, BlobWriter, Draft, Sink};
use crate::source::{BlobReader, Source, part_len};
use crate::upload::Upload;

/// An image at a registry, to read or to write.
#[derive(Clone)]
pub(crate) struct Remote {
    client: Client,
    runtime: Handle,
    reference: Reference,
}

impl Remote {
    pub(crate) fn new(client: Client, runtime: Handle, reference: Reference) -> Self {
        Self {
            client,
            runtime,
            reference,
        }
    }

    fn place(&self) -> String {
        format!(
            "{}/{}",
            self.reference.registry(),
            self.reference.repository()
        )
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.reference)
    }
}

impl Source for Remote {
    fn root(&self) -> Result<RawManifest, Error> {
        self.runtime.block_on(self.client.manifest(&self.reference))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<RawManifest, Error> {
        self.runtime
            .block_on(self.client.child(&self.reference, descriptor))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<BlobReader, Error> {
        let givers = Givers::default();
        let stream = self.stream(descriptor, 0, &givers)?;
        let (client, digest) = (self.client.clone(), descriptor.digest().clone());
        let reader = BlobReader::new(stream, descriptor, self.place());
        Ok(reader.judged_by(move |error| client.blame(&givers, &digest, error)))
    }

    fn blob_from(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader, Error> {
        if offset == 0 {
            return Source::blob(self, descriptor);
        }
        // Its digest is for the reader to check, who then begins at the start.
        let stream = self.stream(descriptor, offset, &Givers::default())?;
        Ok(BlobReader::rest(stream, descriptor, offset, self.place()))
    }

    fn blob_part(
        &self,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, Error> {
        if part_len(descriptor, &range)? == 0 {
            return Ok(Some(Bytes::new()));
        }
        self.runtime
            .block_on(fetch_part(&self.client, &self.reference, descriptor, range))
    }

    fn repository(&self) -> Option<&Reference> {
        Some(&self.reference)
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        self.runtime
            .block_on(self.client.referrers(&self.reference, subject, None))
    }

    fn tagged(&self, tag: &str) -> Result<Option<RawManifest>, Error> {
        self.runtime
            .block_on(self.client.tagged(&self.reference, tag))
    }

    fn is_local(&self) -> bool {
        false
    }
}

impl Remote {
    /// Opens what follows the first `offset` octets of a blob, unverified.
    fn stream(
        &self,
        descriptor: &Descriptor,
        offset: u64,
        givers: &Givers,
    ) -> Result<Box<dyn Read + Send>, Error> {
        // No range asks for nothing.
        if offset > 0 && offset >= descriptor.size() {
            return Ok(Box::new(io::empty()));
        }
        let arrival = self.runtime.block_on(async {
            Arrival::open(&self.client, &self.reference, descriptor, offset, givers).await
        })?;
        Ok(Box::new(Incoming {
            runtime: self.runtime.clone(),
            arrival,
            chunk: Bytes::new(),
            ended: false,
        }))
    }

    fn writer(&self, upload: Upload) -> BlobWriter {
        let offset = upload.acknowledged;
        let (orders, inbox) = mpsc::channel(1);
        let (gone, ended) = std::sync::mpsc::channel();
        let failed = Failed::default();
        let is_streamed = upload.streams();
        let chunks = match is_streamed {
            true => Chunks::Streamed(STREAMED_PIECE.min(self.client.chunk_size())),
            false => Chunks::Held(self.client.hold(), self.client.chunk_size()),
        };
        self.runtime
            .spawn(serve(upload, inbox, failed.clone(), gone));
        BlobWriter::new(Outgoing {
            runtime: self.runtime.clone(),
            orders: Some(orders),
            permit: None,
            buffer: BytesMut::new(),
            offset,
            chunk_size: chunks.len(),
            chunks,
            failed,
            ended,
        })
    }
}

impl Sink for Remote {
    fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        self.runtime
            .block_on(self.client.has_blob(&self.reference, digest, size))
    }

    fn blob(&self, _size: Option<u64>) -> Result<BlobWriter, Error> {
        let repository = self
            .runtime
            .block_on(self.client.repository(&self.reference, Access::PullPush))?;
        Ok(self.writer(Upload::new(&self.client, repository)))
    }

    fn begin(&self, descriptor: &Descriptor, from: Option<&Reference>) -> Result<Begun, Error> {
        let (digest, size) = (descriptor.digest(), descriptor.size());
        let upload = self.runtime.block_on(async {
            let repository = self
                .client
                .repository(&self.reference, Access::PullPush)
                .await?;
            if self.client.holds(&repository, digest, Some(size)).await? {
                return Ok(None);
            }
            let from = from.and_then(|from| self.client.mountable(from, &repository));
            let mut upload = Upload::new(&self.client, repository);
            upload.known = Some((digest.clone(), size));
            if let Some(from) = from
                && upload.mount(&from, digest).await
            {
                return Ok(None);
            }
            upload.resume(digest, size).await;
            Ok(Some(upload))
        })?;
        Ok(match upload {
            None => Begun::Present,
            Some(upload) => Begun::Missing(self.writer(upload)),
        })
    }

    fn put_manifest(&self, manifest: &RawManifest) -> Result<(), Error> {
        self.runtime
            .block_on(self.client.put_manifest(&self.reference, None, manifest))
    }

    fn attach(&self, manifest: &RawManifest, tag: Option<&str>) -> Result<(), Error> {
        self.runtime
            .block_on(self.client.put_manifest(&self.reference, tag, manifest))
    }

    fn finish(&self, root: &RawManifest) -> Result<(), Error> {
        if let Some(expected) = self.reference.digest()
            && *expected != root.digest
        {
            return Err(Error::Mismatch {
                what: crate::client::manifest_what(&expected.to_string()).into(),
                place: self.place().into(),
                mismatch: Mismatch::Digest {
                    expected: expected.clone(),
                    actual: root.digest.clone(),
                },
            });
        }
        let tag = match (self.reference.tag(), self.reference.digest()) {
            (Some(tag), _) => Some(tag),
            (None, Some(_)) => None,
            (None, None) => Some(Reference::DEFAULT_TAG),
        };
        self.runtime
            .block_on(self.client.put_manifest(&self.reference, tag, root))
    }
}

/// The blocking end of a download. Holds what the connection gave at once; while that is used, the connection reads on by
/// itself, for as much again.
struct Incoming {
    runtime: Handle,
    arrival: Arrival,
    chunk: Bytes,
    ended: bool,
}

impl Read for Incoming {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !self.ended {
            // Let go of before waiting, so that the connection can use its memory again.
            self.chunk = Bytes::new();
            match self.runtime.block_on(self.arrival.next()) {
                Ok(Some(chunk)) => self.chunk = chunk,
                Ok(None) => self.ended = true,
                Err(error) => return Err(error.into_io()),
            }
        }
        let len = self.chunk.len().min(buf.len());
        if let Some(target) = buf.get_mut(..len) {
            self.chunk.copy_to_slice(target);
        }
        Ok(len)
    }
}

enum Order {
    Chunk(Bytes),
    /// Say when everything before has arrived.
    Settle(oneshot::Sender<Result<(), Error>>),
    /// Say from where to go on after a failure.
    Recover(oneshot::Sender<Result<Option<u64>, Error>>),
    Commit {
        tail: Bytes,
        digest: Digest,
        size: u64,
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// What was sent is worth nothing.
    Forget,
}

/// What made an upload stop.
#[derive(Clone, Default)]
struct Failed(Arc<Mutex<Option<Error>>>);

impl Failed {
    fn lock(&self) -> MutexGuard<'_, Option<Error>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self) -> Option<Error> {
        self.lock().clone()
    }

    fn set(&self, error: Option<Error>) {
        *self.lock() = error;
    }
}

/// The blocking end of an upload. Holds one chunk while another is under way.
struct Outgoing {
    runtime: Handle,
    orders: Option<mpsc::Sender<Order>>,
    /// Leave to fill the buffer: the chunk before it is being sent, none is queued.
    permit: Option<mpsc::OwnedPermit<Order>>,
    buffer: BytesMut,
    /// Octets of an earlier process.
    offset: u64,
    /// Length of the chunk that is being filled.
    chunk_size: usize,
    chunks: Chunks,
    failed: Failed,
    ended: std::sync::mpsc::Receiver<()>,
}

/// How what is written is handed on.
enum Chunks {
    /// As it comes, in pieces of this length; nobody keeps it until it has arrived.
    Streamed(usize),
    /// In requests of at most this length.
    Held(Holding, usize),
}

impl Chunks {
    fn len(&self) -> usize {
        match self {
            Self::Streamed(len) => *len,
            Self::Held(holding, full) => holding.chunk_size(*full),
        }
    }
}

impl Outgoing {
    fn stopped(&self) -> Error {
        self.failed.get().unwrap_or_else(|| Error::Network {
            request: "upload".into(),
            attempts: 1,
            failure: crate::error::Failure::Transport(Arc::new(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "transfer was stopped",
            ))),
        })
    }

    fn permit(&mut self) -> Result<(), Error> {
        if self.permit.is_none() {
            let orders = self.orders.clone().ok_or_else(|| self.stopped())?;
            let permit = self.runtime.block_on(orders.reserve_owned());
            self.permit = Some(permit.map_err(|_| self.stopped())?);
        }
        Ok(())
    }

    fn order(&mut self, order: Order) -> Result<(), Error> {
        self.permit()?;
        match self.permit.take() {
            Some(permit) => {
                permit.send(order);
                Ok(())
            }
            None => Err(self.stopped()),
        }
    }

    /// Gives an order and waits for what comes of it.
    fn ask<T>(
        &mut self,
        order: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Order,
    ) -> Result<T, Error> {
        let (reply, outcome) = oneshot::channel();
        self.order(order(reply))?;
        match self.runtime.block_on(outcome) {
            Ok(result) => result,
            Err(_) => Err(self.stopped()),
        }
    }
}

impl Draft for Outgoing {
    fn append(&mut self, mut octets: &[u8]) -> Result<(), Error> {
        while !octets.is_empty() {
            if let Some(error) = self.failed.get() {
                return Err(error);
            }
            self.permit()?;
            let room = self.chunk_size - self.buffer.len();
            let (now, later) = octets.split_at_checked(room).unwrap_or((octets, &[]));
            self.buffer.extend_from_slice(now);
            octets = later;
            // A chunk goes out when more follows; the last one closes the upload, so that small blobs go in one request.
            if self.buffer.len() == self.chunk_size && !octets.is_empty() {
                self.chunk_size = self.chunks.len();
                // Long blobs come in full chunks, so the next buffer need not grow from nothing.
                let next = BytesMut::with_capacity(self.chunk_size);
                let chunk = std::mem::replace(&mut self.buffer, next).freeze();
                self.order(Order::Chunk(chunk))?;
            }
        }
        Ok(())
    }

    fn commit(mut self: Box<Self>, digest: &Digest, size: u64) -> Result<(), Error> {
        let tail = std::mem::take(&mut self.buffer).freeze();
        let digest = digest.clone();
        self.ask(|reply| Order::Commit {
            tail,
            digest,
            size,
            reply,
        })
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    fn settle(&mut self) -> Result<(), Error> {
        if matches!(self.chunks, Chunks::Held(..)) {
            return Ok(());
        }
        let rest = std::mem::take(&mut self.buffer).freeze();
        self.order(Order::Chunk(rest))?;
        self.ask(Order::Settle)
    }

    fn recover(&mut self) -> Result<Option<u64>, Error> {
        self.buffer.clear();
        if self.failed.get().is_none() || self.permit().is_err() {
            // It goes on, or has ended.
            return Ok(None);
        }
        self.ask(Order::Recover)
    }

    fn forget(mut self: Box<Self>) {
        // If that fails the upload has failed before, and is ended already.
        let _ = self.order(Order::Forget);
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // Closing the channel tells the task to end the session; wait, or the process may end before that is sent.
        self.permit = None;
        self.orders = None;
        let _ = self.ended.recv_timeout(CANCEL_TIMEOUT);
    }
}

/// Carries out the orders of one [`Outgoing`].
async fn serve(
    mut upload: Upload,
    mut inbox: mpsc::Receiver<Order>,
    failed: Failed,
    gone: std::sync::mpsc::Sender<()>,
) {
    while let Some(order) = inbox.recv().await {
        match order {
            // What follows a failure was written before it was known.
            Order::Chunk(_) if failed.get().is_some() => {}
            Order::Chunk(chunk) => {
                if let Err(error) = upload.append(chunk).await {
                    failed.set(Some(error));
                    if !upload.is_interrupted() {
                        break;
                    }
                }
            }
            Order::Settle(reply) => {
                let _ = reply.send(failed.get().map_or(Ok(()), Err));
            }
            Order::Recover(reply) => {
                let outcome = upload.recover().await;
                failed.set(outcome.as_ref().err().cloned());
                let has_ended = outcome.is_err();
                let _ = reply.send(outcome);
                if has_ended {
                    break;
                }
            }
            Order::Forget => {
                upload.unnote();
                break;
            }
            Order::Commit {
                tail,
                digest,
                size,
                reply,
            } => {
                let outcome = match failed.get() {
                    Some(error) => Err(error),
                    None => upload.finish(tail, &digest, size).await,
                };
                if let Err(error) = &outcome {
                    leave(&mut upload, Some(error)).await;
                }
                let _ = reply.send(outcome);
                return;
            }
        }
    }
    drop(inbox);
    leave(&mut upload, failed.get().as_ref()).await;
    drop(gone);
}

async fn leave(upload: &mut Upload, error: Option<&Error>) {
    let _ = tokio::time::timeout(CANCEL_TIMEOUT, upload.leave(error)).await;
}

/// Octets of a streamed blob that go from thread to thread at once.
const STREAMED_PIECE: usize = 256 * 1024;
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);
