//! Parts of a blob: a long blob in several at the same time, where one connection does not fill the line, and single ones
//! for whoever needs no more.
//!
//! Each part is delivered only if the registry says that it is exactly the part asked for. Of a whole blob they come in
//! their order, its digest is for the reader to verify, and memory is bounded by the number of parts.

use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use reqwest::Method;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderValue, RANGE};
use sealift_oci::{Descriptor, Digest, Reference};
use tokio::task::JoinHandle;

use crate::client::{Client, blob_what, endpoint};
use crate::download::{Download, is_range};
use crate::error::{Error, Failure, Mismatch};
use crate::http::{Call, Setback};
use crate::login::{Access, Repository};
use crate::mirrors::Givers;

/// A blob on its way, in one stream or in several parts.
pub(crate) enum Arrival {
    Stream(Box<Download>),
    Parts(BoxStream<'static, Result<Bytes, Error>>),
}

impl Arrival {
    /// Asks for what follows the first `offset` octets of a blob.
    pub(crate) async fn open(
        client: &Client,
        reference: &Reference,
        descriptor: &Descriptor,
        offset: u64,
        givers: &Givers,
    ) -> Result<Self, Error> {
        let parallel = client.parallel_ranges().get();
        let size = descriptor.size();
        let routes = client.routes_of_blob(reference, descriptor.digest())?;
        // With mirrors there is one stream, which goes on at the next place where one fails.
        if let [route] = routes.as_slice()
            && parallel > 1
            && size.saturating_sub(offset) > PART
        {
            let parts = Parts {
                client: client.clone(),
                repository: client.at(route, Access::Pull).await?,
                digest: descriptor.digest().clone(),
                size,
            };
            let first = offset..offset + PART;
            // The first part alone shows whether the registry has ranges.
            if let Some(octets) = parts.fetch(first.clone()).await? {
                return Ok(Self::Parts(parts.rest(octets, first.end, parallel)));
            }
        }
        let download = Download::open(client, reference, descriptor, offset, givers).await?;
        Ok(Self::Stream(Box::new(download)))
    }

    /// Returns the next octets; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Stream(download) => download.next().await,
            Self::Parts(parts) => parts.next().await.transpose(),
        }
    }
}

/// A part on its way. Given up when nobody waits for it any more.
struct Fetch(JoinHandle<Result<Bytes, Error>>);

impl Fetch {
    async fn arrived(mut self) -> Result<Bytes, Error> {
        // The threads are being stopped.
        (&mut self.0).await.unwrap_or_else(|_| {
            Err(Error::Network {
                request: "download".into(),
                attempts: 1,
                failure: Failure::Transport(std::sync::Arc::new(std::io::Error::new(
                    std::io::ErrorKind::BrokenPipe,
                    "transfer was stopped",
                ))),
            })
        })
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Fetches one part of a blob from the first place that gives parts; nothing if none does.
pub(crate) async fn fetch_part(
    client: &Client,
    reference: &Reference,
    descriptor: &Descriptor,
    range: Range<u64>,
) -> Result<Option<Bytes>, Error> {
    let routes = client.routes_of_blob(reference, descriptor.digest())?;
    let mut left = routes.len();
    for route in &routes {
        left -= 1;
        let outcome = match client.at(route, Access::Pull).await {
            Ok(repository) => {
                let parts = Parts {
                    client: client.clone(),
                    repository,
                    digest: descriptor.digest().clone(),
                    size: descriptor.size(),
                };
                parts.fetch(range.clone()).await
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(Some(octets)) => {
                client.note_success(route, &blob_what(descriptor.digest()));
                return Ok(Some(octets));
            }
            // Another place may have ranges.
            Ok(None) => {}
            Err(error) if left > 0 => client.note_failure(route, &error),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

#[derive(Clone)]
struct Parts {
    client: Client,
    repository: Repository,
    digest: Digest,
    size: u64,
}

impl Parts {
    fn rest(
        self,
        first: Bytes,
        from: u64,
        parallel: usize,
    ) -> BoxStream<'static, Result<Bytes, Error>> {
        let size = self.size;
        let starts = std::iter::successors(Some(from), |start| start.checked_add(PART))
            .take_while(move |start| *start < size);
        let fetches = starts.map(move |start| {
            let parts = self.clone();
            let range = start..start.saturating_add(PART).min(size);
            // A task of its own gets on also while the reader is busy with the parts before.
            let fetch = Fetch(tokio::spawn(async move {
                let octets = parts.fetch(range).await?;
                octets.ok_or_else(|| {
                    Error::malformed(
                        blob_what(&parts.digest),
                        "the registry serves some parts of it, and others not",
                    )
                })
            }));
            fetch.arrived()
        });
        stream::once(async { Ok(first) })
            .chain(stream::iter(fetches).buffered(parallel))
            .boxed()
    }

    /// Fetches one part; nothing if the registry does not heed ranges.
    async fn fetch(&self, range: Range<u64>) -> Result<Option<Bytes>, Error> {
        let url = endpoint(&self.repository, &["blobs", &self.digest.to_string()])?;
        let header = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let header = HeaderValue::from_str(&header)
            .map_err(|_| Error::malformed("range", "it is no header"))?;
        let call = Call::new(Method::GET, url)
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
            .header(RANGE, header);
        let len = range.end - range.start;
        let mut attempts = self.client.attempts_at(&self.repository);
        loop {
            let setback = match self.client.attempt(&self.repository, &call).await {
                Err(setback) => setback,
                Ok(answer) if answer.status() == 200 => return Ok(None),
                Ok(answer) if answer.status() == 416 => {
                    return Err(Error::Mismatch {
                        what: blob_what(&self.digest).into(),
                        place: self.repository.to_string().into(),
                        mismatch: Mismatch::Truncated {
                            expected: self.size,
                            actual: range.start,
                        },
                    });
                }
                Ok(mut answer) if answer.status() != 206 => {
                    let what = blob_what(&self.digest);
                    return Err(self
                        .client
                        .refusal(&self.repository, &call, &mut answer, &what)
                        .await);
                }
                Ok(mut answer) => {
                    let said = answer.header(CONTENT_RANGE.as_str()).unwrap_or_default();
                    if !is_range(said, &range, self.size) {
                        return Err(Error::malformed(
                            format!("`Content-Range` of {}", call.name()),
                            format!(
                                "it is not {} to {} of {}",
                                range.start, range.end, self.size
                            ),
                        ));
                    }
                    match answer.body(MAX_PART_LEN).await {
                        Ok(Some(octets)) if octets.len() as u64 == len => return Ok(Some(octets)),
                        Ok(_) => Setback::transient(Failure::Transport(std::sync::Arc::new(
                            std::io::Error::new(
                                std::io::ErrorKind::UnexpectedEof,
                                "the part has another length than the registry says",
                            ),
                        ))),
                        Err(failure) => Setback::transient(failure),
                    }
                }
            };
            self.client.pause(&mut attempts, setback, &call).await?;
        }
    }
}

/// Octets of a part, which are in memory until those before it were read.
const PART_LEN: usize = 2 * 1024 * 1024;
const PART: u64 = PART_LEN as u64;
/// Most octets of a part that is asked for alone.
pub(crate) const MAX_PART_LEN: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_nobody_waits_for_is_given_up() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (under_way, mut ended) = tokio::sync::mpsc::channel::<()>(1);
            let fetch = Fetch(tokio::spawn(async move {
                let _under_way = under_way;
                std::future::pending().await
            }));
            drop(fetch.arrived());
            assert!(ended.recv().await.is_none());
        });
    }
}
