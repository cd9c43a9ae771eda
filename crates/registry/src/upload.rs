//! A blob on its way to a registry (distribution-spec, "Pushing blobs").
//!
//! Small blobs go in one piece, since their digest is known before anything is sent. What is made while it is sent goes in
//! chunks, each kept until the registry has acknowledged it; what somebody has already is streamed, see
//! [`stream_upload`](crate::stream_upload). The digest travels with the request that closes the upload, and only there is it
//! decided what the octets are worth.

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, Url};
use sealift_oci::Digest;

use crate::answer::Complaint;
use crate::client::{Client, blob_what, digest_header, endpoint};
use crate::error::{Error, Failure, Mismatch};
use crate::http::{Answer, Call, Setback, place, resolve};
use crate::journal::{MAX_MIN_CHUNK, Page};
use crate::login::Repository;
use crate::stream_upload::Stream;

/// One upload. Dropping it leaves the session open at the registry; [`cancel`](Self::cancel) closes it.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) client: Client,
    pub(crate) repository: Repository,
    pub(crate) session: Option<Session>,
    /// Octets that the registry has not acknowledged.
    pending: Bytes,
    /// Octets that it has.
    pub(crate) acknowledged: u64,
    /// Whether octets go in chunks.
    pub(crate) in_chunks: bool,
    /// Whether the first octets are of an earlier process.
    pub(crate) resumed: bool,
    /// What the blob is, if that is known before its end.
    pub(crate) known: Option<(Digest, u64)>,
    /// How a blob that is too long to be held is on its way.
    pub(crate) stream: Stream,
    /// Where the session is recorded for a later one.
    pub(crate) page: Option<Page>,
    /// Most octets of one request; shrinks if the registry says so.
    piece: usize,
}

#[derive(Debug)]
pub(crate) struct Session {
    /// Where the next request of the upload goes; changes with every answer.
    pub(crate) location: Url,
    pub(crate) min_chunk: usize,
}

impl Upload {
    pub(crate) fn new(client: &Client, repository: Repository) -> Self {
        Self {
            client: client.clone(),
            repository,
            session: None,
            pending: Bytes::new(),
            acknowledged: 0,
            in_chunks: false,
            resumed: false,
            known: None,
            stream: Stream::new(client),
            page: None,
            piece: client.chunk_size(),
        }
    }

    /// Sends octets, as far as the registry accepts chunks of that size.
    pub(crate) async fn append(&mut self, chunk: Bytes) -> Result<(), Error> {
        if self.streams() {
            return self.stream(chunk).await;
        }
        self.hold(chunk);
        self.in_chunks = true;
        let min_chunk = match &self.session {
            Some(session) => session.min_chunk,
            None => self.start().await?,
        };
        self.note();
        self.send_pending(min_chunk.max(1)).await
    }

    /// Sends the last octets and closes the upload under its digest.
    pub(crate) async fn finish(
        &mut self,
        tail: Bytes,
        digest: &Digest,
        size: u64,
    ) -> Result<(), Error> {
        if self.streams() {
            self.stream(tail).await?;
        } else {
            self.hold(tail);
        }
        let written = self.acknowledged + self.pending.len() as u64;
        if written != size {
            return Err(self.mismatch(
                digest,
                Mismatch::Size {
                    expected: size,
                    actual: written,
                },
            ));
        }
        if self.is_stored() || !self.in_chunks && self.monolithic(digest).await? {
            self.unnote();
            return Ok(());
        }
        if self.session.is_none() {
            self.start().await?;
        }
        self.send_pending(1).await?;
        self.close(digest, Bytes::new()).await?;
        self.unnote();
        Ok(())
    }

    /// Closes the session without a blob; nobody minds if that fails.
    pub(crate) async fn cancel(&mut self) {
        self.unnote();
        self.break_off().await;
        self.close_session().await;
    }

    /// Closes the session, to begin another one.
    pub(crate) async fn close_session(&mut self) {
        if let Some(session) = self.session.take() {
            let call = Call::new(Method::DELETE, session.location);
            let _ = self.client.attempt(&self.repository, &call).await;
        }
    }

    fn hold(&mut self, chunk: Bytes) {
        if self.pending.is_empty() {
            self.pending = chunk;
        } else if !chunk.is_empty() {
            let mut joined = BytesMut::with_capacity(self.pending.len() + chunk.len());
            joined.extend_from_slice(&self.pending);
            joined.extend_from_slice(&chunk);
            self.pending = joined.freeze();
        }
    }

    /// Opens a session; returns the least size of its chunks.
    pub(crate) async fn start(&mut self) -> Result<usize, Error> {
        let call = Call::new(Method::POST, self.uploads()?).body(Bytes::new());
        let mut answer = self.client.call(&self.repository, &call).await?;
        if answer.status() != 202 {
            let what = format!("repository `{}`", self.repository.name);
            return Err(self
                .client
                .refusal(&self.repository, &call, &mut answer, &what)
                .await);
        }
        self.adopt(&call, &answer)
    }

    /// Returns where sessions are opened.
    pub(crate) fn uploads(&self) -> Result<Url, Error> {
        let mut url = endpoint(&self.repository, &["blobs", "uploads"])?;
        url.set_path(&format!("{}/", url.path()));
        Ok(url)
    }

    /// Goes on with the session that an answer offers; returns the least size of its chunks.
    pub(crate) fn adopt(&mut self, call: &Call, answer: &Answer) -> Result<usize, Error> {
        let min_chunk = match answer.header("oci-chunk-min-length") {
            None => 0,
            Some(text) => match text.trim().parse::<usize>() {
                Ok(len) if len <= MAX_MIN_CHUNK => len,
                _ => {
                    return Err(Error::malformed(
                        format!("`OCI-Chunk-Min-Length` of {}", call.name()),
                        format!("it is not a number up to {MAX_MIN_CHUNK}"),
                    ));
                }
            },
        };
        let location = self.location(answer)?.ok_or_else(|| {
            Error::malformed(format!("answer to {}", call.name()), "it has no `Location`")
        })?;
        self.session = Some(Session {
            location,
            min_chunk,
        });
        Ok(min_chunk)
    }

    /// Sends everything in one request. `false`: the registry wants it in chunks.
    async fn monolithic(&mut self, digest: &Digest) -> Result<bool, Error> {
        match self.close(digest, self.pending.clone()).await? {
            Closed::Done => return Ok(true),
            Closed::TooLarge => self.piece = self.piece.min(SMALL_PIECE),
            Closed::NotWhole => {}
        }
        self.close_session().await;
        Ok(false)
    }

    /// Sends chunks while there are at least `least` octets, which is not 0.
    async fn send_pending(&mut self, least: usize) -> Result<(), Error> {
        let mut attempts = self.client.attempts();
        while self.pending.len() >= least {
            let before = self.acknowledged;
            if let Err((setback, call)) = self.send_piece().await {
                self.client.pause(&mut attempts, setback, &call).await?;
                self.resynchronise().await?;
            }
            if self.acknowledged > before {
                attempts.progressed();
            }
            self.note();
        }
        Ok(())
    }

    /// Sends one chunk. On success `pending` and `acknowledged` say what the registry has.
    async fn send_piece(&mut self) -> Result<(), (Setback, Call)> {
        let Some(session) = &self.session else {
            // Lost with nothing acknowledged, so everything is still held.
            let call = Call::new(Method::POST, self.repository.base.clone());
            self.start().await.map_err(|error| (error.into(), call))?;
            return Ok(());
        };
        let len = self.pending.len().min(self.piece.max(session.min_chunk));
        let piece = self.pending.slice(..len);
        let end = self.acknowledged + len as u64;
        let range = format!("{}-{}", self.acknowledged, end - 1);
        let call = Call::new(Method::PATCH, session.location.clone())
            .header(CONTENT_TYPE, OCTETS)
            .header(CONTENT_RANGE, header(&range))
            .body(piece);
        let named = |error: Error| (Setback::Final(error), call.clone());
        let mut answer = match self.client.attempt(&self.repository, &call).await {
            Ok(answer) => answer,
            Err(setback) => return Err((setback, call)),
        };
        match answer.status() {
            200..=204 => {
                self.relocate(&answer).map_err(named)?;
                let accepted = accepted(&answer, &call, end).map_err(named)?;
                let before = self.acknowledged;
                self.acknowledge(accepted, end, &call).map_err(named)?;
                if self.acknowledged > before {
                    return Ok(());
                }
                // Said to be accepted, and nothing arrived: counts as a failure, or this would go on for ever.
                let failure = Failure::Status {
                    status: answer.status(),
                    detail: "but took nothing of the chunk".into(),
                };
                Err((Setback::transient(failure), call))
            }
            413 if self.piece > SMALL_PIECE => {
                self.piece = SMALL_PIECE;
                Ok(())
            }
            // The registry lost count or the session; ask it where we are.
            404 | 416 => {
                let failure = crate::answer::failure(&mut answer).await;
                Err((Setback::transient(failure), call))
            }
            _ => {
                let what = format!("upload to `{}`", self.repository.name);
                let error = self
                    .client
                    .refusal(&self.repository, &call, &mut answer, &what)
                    .await;
                Err((error.into(), call))
            }
        }
    }

    /// Takes the registry's word for how much it has, if that can be true.
    fn acknowledge(&mut self, accepted: u64, end: u64, call: &Call) -> Result<(), Error> {
        let advance = accepted.checked_sub(self.acknowledged);
        match advance.and_then(|advance| usize::try_from(advance).ok()) {
            Some(advance) if accepted <= end && advance <= self.pending.len() => {
                let _ = self.pending.split_to(advance);
                self.acknowledged = accepted;
                Ok(())
            }
            _ => Err(self.lost(call)),
        }
    }

    pub(crate) fn lost(&self, call: &Call) -> Error {
        Error::Network {
            request: call.name(),
            attempts: 1,
            failure: Failure::UploadLost {
                acknowledged: self.acknowledged,
            },
        }
    }

    /// Asks how much arrived, after a chunk failed on its way.
    async fn resynchronise(&mut self) -> Result<(), Error> {
        let Some(session) = &self.session else {
            return Ok(());
        };
        let call = Call::new(Method::GET, session.location.clone());
        let mut answer = self.client.call(&self.repository, &call).await?;
        let end = self.acknowledged + self.pending.len() as u64;
        match answer.status() {
            200..=204 => {
                self.relocate(&answer)?;
                let range = answer.header(RANGE.as_str()).unwrap_or("0-0");
                let what = || format!("`Range` in the answer to {}", call.name());
                let accepted = received(range, end)
                    .ok_or_else(|| Error::malformed(what(), "it is no range"))?;
                self.acknowledge(accepted, end, &call)
            }
            400 | 404 | 405 | 416 if self.acknowledged == 0 => {
                self.close_session().await;
                Ok(())
            }
            400 | 404 | 405 | 416 => Err(self.lost(&call)),
            _ => {
                let what = format!("upload to `{}`", self.repository.name);
                Err(self
                    .client
                    .refusal(&self.repository, &call, &mut answer, &what)
                    .await)
            }
        }
    }

    /// Sends the request that closes the upload, with all octets (`body`) or with none.
    async fn close(&mut self, digest: &Digest, body: Bytes) -> Result<Closed, Error> {
        let mut attempts = self.client.attempts();
        loop {
            let Some(session) = &self.session else {
                self.start().await?;
                continue;
            };
            let mut url = session.location.clone();
            // The registry's own query must keep its spelling; this appends.
            url.query_pairs_mut()
                .append_pair("digest", &digest.to_string());
            let call = Call::new(Method::PUT, url)
                .header(CONTENT_TYPE, OCTETS)
                .body(body.clone());
            let setback = match self.client.attempt(&self.repository, &call).await {
                Ok(answer) => match self
                    .closed(answer, &call, digest, body.is_empty(), attempts.failures())
                    .await?
                {
                    Some(closed) => return Ok(closed),
                    None => Setback::transient(Failure::UploadLost {
                        acknowledged: self.acknowledged,
                    }),
                },
                Err(setback) => setback,
            };
            let may_be_for_the_body = setback.may_be_for_the_body();
            self.client.pause(&mut attempts, setback, &call).await?;
            // The request may have arrived though its answer did not.
            if self.client.holds(&self.repository, digest, None).await? {
                self.session = None;
                return Ok(Closed::Done);
            }
            // Some cannot take octets with the closing request, and hang up or fail (container-registry 0.3). What breaks
            // off in a chunk is also continued, not begun anew.
            if may_be_for_the_body && !body.is_empty() {
                return Ok(Closed::NotWhole);
            }
            if !body.is_empty() || self.acknowledged == 0 {
                self.close_session().await;
            }
        }
    }

    /// Judges the answer to the closing request. Nothing: the session is gone, though it may have done its work.
    pub(crate) async fn closed(
        &mut self,
        mut answer: Answer,
        call: &Call,
        digest: &Digest,
        chunked: bool,
        failures: u32,
    ) -> Result<Option<Closed>, Error> {
        match answer.status() {
            200..=204 => {
                self.session = None;
                match digest_header(&answer) {
                    Some(actual)
                        if actual.algorithm() == digest.algorithm() && actual != *digest =>
                    {
                        Err(self.mismatch(
                            digest,
                            Mismatch::Digest {
                                expected: digest.clone(),
                                actual,
                            },
                        ))
                    }
                    _ => Ok(Some(Closed::Done)),
                }
            }
            413 if !chunked && self.pending.len() > SMALL_PIECE => Ok(Some(Closed::TooLarge)),
            405 | 501 if !chunked => Ok(Some(Closed::NotWhole)),
            404 | 416 if failures > 0 => Ok(None),
            // What the earlier process sent, or the registry kept of it, is not the beginning of this blob.
            400 | 404 | 416 if self.resumed => Err(self.lost(call)),
            400 | 404 | 416 => {
                let complaint = Complaint::read(&mut answer).await;
                if complaint.has("DIGEST_INVALID") || complaint.has("SIZE_INVALID") {
                    return Err(self.mismatch(
                        digest,
                        Mismatch::Refused {
                            expected: digest.clone(),
                        },
                    ));
                }
                Err(Error::Network {
                    request: call.name(),
                    attempts: failures + 1,
                    failure: Failure::Status {
                        status: answer.status(),
                        detail: complaint.text.into(),
                    },
                })
            }
            _ => {
                let what = blob_what(digest);
                Err(self
                    .client
                    .refusal(&self.repository, call, &mut answer, &what)
                    .await)
            }
        }
    }

    pub(crate) fn relocate(&mut self, answer: &Answer) -> Result<(), Error> {
        let location = self.location(answer)?;
        if let (Some(session), Some(location)) = (&mut self.session, location) {
            session.location = location;
        }
        Ok(())
    }

    fn location(&self, answer: &Answer) -> Result<Option<Url>, Error> {
        let Some(text) = answer.header(LOCATION.as_str()) else {
            return Ok(None);
        };
        let url = resolve(answer.url(), text)?;
        if answer.url().scheme() == "https" && url.scheme() != "https" {
            return Err(Error::malformed(
                format!("`Location` from {}", place(answer.url())),
                "it leaves https; the registry's proxy is probably misconfigured",
            ));
        }
        Ok(Some(url))
    }

    fn mismatch(&self, digest: &Digest, mismatch: Mismatch) -> Error {
        Error::Mismatch {
            what: blob_what(digest).into(),
            place: self.repository.to_string().into(),
            mismatch,
        }
    }
}

pub(crate) enum Closed {
    Done,
    /// The registry takes smaller requests only.
    TooLarge,
    /// The registry does not take the blob with this request.
    NotWhole,
}

pub(crate) const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// What registries that limit requests let pass (GHCR: 4 MiB).
pub(crate) const SMALL_PIECE: usize = 4 * 1024 * 1024;

pub(crate) fn header(text: &str) -> HeaderValue {
    // INVARIANT: called with digits and a hyphen only.
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("0-0"))
}

/// Returns how many octets the registry says it has, after a chunk that ends at `end`.
pub(crate) fn accepted(answer: &Answer, call: &Call, end: u64) -> Result<u64, Error> {
    // Without a Range there is only the status to go by. With one, it counts: some registries append blindly.
    let Some(range) = answer.header(RANGE.as_str()) else {
        return Ok(end);
    };
    match received(range, end) {
        // It names the number of octets, not the last one, as container-registry 0.3 does.
        Some(accepted) if Some(accepted) == end.checked_add(1) => Ok(end),
        Some(accepted) => Ok(accepted),
        None => Err(Error::malformed(
            format!("`Range` in the answer to {}", call.name()),
            "it is no range",
        )),
    }
}

/// Reads how many octets `Range: 0-N` says were received, when at most `end` were sent.
///
/// `0-0` is what an empty upload looks like, and one of a single octet too.
pub(crate) fn received(range: &str, end: u64) -> Option<u64> {
    let range = range.trim();
    let last = range
        .strip_prefix("bytes=")
        .unwrap_or(range)
        .strip_prefix("0-")?;
    let digits = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
    match digits.then(|| last.parse::<u64>().ok()).flatten()? {
        0 => Some(u64::from(end == 1)),
        last => last.checked_add(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_says_how_much_arrived() {
        for (range, end, expected) in [
            ("0-9", 10, Some(10)),
            ("bytes=0-9", 10, Some(10)),
            ("0-0", 10, Some(0)),
            ("0-0", 1, Some(1)),
            ("1-9", 10, None),
            ("0-", 10, None),
            ("0--1", 10, None),
            ("0-18446744073709551615", 10, None),
            ("", 10, None),
        ] {
            assert_eq!(received(range, end), expected, "{range}");
        }
    }
}
