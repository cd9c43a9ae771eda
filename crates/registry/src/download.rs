//! A blob on its way from a registry: the stream goes on where a connection broke, at another host if need be.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderValue, RANGE};
use sealift_oci::{Descriptor, Digest, Reference};

use crate::client::{Client, blob_what, endpoint};
use crate::error::{Error, Failure, Mismatch};
use crate::http::{Answer, Call, Setback};
use crate::login::{Access, Repository};
use crate::mirrors::Givers;
use crate::retry::Attempts;
use crate::routes::Route;

/// Exactly as many octets as the descriptor promises, or an error. The digest is for the reader to verify: whatever a
/// second connection delivers, it must continue what the first one began.
#[derive(Debug)]
pub(crate) struct Download {
    client: Client,
    /// Where to go on when this place fails for good.
    others: VecDeque<Route>,
    route: Route,
    givers: Givers,
    /// Whether octets of this place were delivered.
    has_given: bool,
    repository: Repository,
    call: Call,
    digest: Digest,
    size: u64,
    offset: u64,
    /// Octets that a server without ranges sends again and that were delivered already.
    skip: u64,
    answer: Option<Answer>,
    attempts: Attempts,
    since_failure: u64,
}

impl Download {
    /// Asks for a blob, or for what follows its first `offset` octets, and waits until the answer begins.
    ///
    /// Who gave octets of it is told to `givers`.
    pub(crate) async fn open(
        client: &Client,
        reference: &Reference,
        descriptor: &Descriptor,
        offset: u64,
        givers: &Givers,
    ) -> Result<Self, Error> {
        let routes = client.routes_of_blob(reference, descriptor.digest())?;
        let mut others = VecDeque::from(routes);
        loop {
            let Some(route) = others.pop_front() else {
                return Err(Error::unsupported(format!("no host has `{reference}`")));
            };
            match Self::begin(client, &route, descriptor, offset).await {
                Ok(mut download) => {
                    download.others = others;
                    download.givers = givers.clone();
                    return Ok(download);
                }
                Err(error) if others.is_empty() => return Err(error),
                Err(error) => client.note_failure(&route, &error),
            }
        }
    }

    async fn begin(
        client: &Client,
        route: &Route,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<Self, Error> {
        let digest = descriptor.digest().clone();
        let repository = client.at(route, Access::Pull).await?;
        let mut download = Self {
            client: client.clone(),
            others: VecDeque::new(),
            route: route.clone(),
            givers: Givers::default(),
            has_given: false,
            call: request(&repository, &digest)?,
            attempts: client.attempts_at(&repository),
            repository,
            digest,
            size: descriptor.size(),
            offset,
            skip: 0,
            answer: None,
            since_failure: 0,
        };
        download.connect().await?;
        client.note_success(route, &blob_what(&download.digest));
        Ok(download)
    }

    /// Returns the next octets; nothing at the promised end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.next_here().await {
                Err(error) => self.move_on(error).await?,
                outcome => return outcome,
            }
        }
    }

    /// Goes to the next place, to continue there what came so far; without one, the error stands.
    async fn move_on(&mut self, mut error: Error) -> Result<(), Error> {
        self.answer = None;
        while let Some(route) = self.others.pop_front() {
            self.client.note_failure(&self.route, &error);
            self.route = route;
            self.has_given = false;
            match self.client.at(&self.route, Access::Pull).await {
                Ok(repository) => {
                    self.call = request(&repository, &self.digest)?;
                    self.attempts = self.client.attempts_at(&repository);
                    self.repository = repository;
                    self.since_failure = 0;
                    return Ok(());
                }
                Err(other) => error = other,
            }
        }
        Err(error)
    }

    async fn next_here(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(answer) = &mut self.answer else {
                self.connect().await?;
                continue;
            };
            let chunk = match answer.chunk().await {
                Ok(Some(chunk)) => chunk,
                // A connection that breaks behind the last octet has broken nothing.
                Ok(None) | Err(_) if self.offset == self.size && self.skip == 0 => return Ok(None),
                // A body without announced length ends the same way whether it is complete or cut.
                Ok(None) => {
                    let failure = Failure::Transport(std::sync::Arc::new(cut()));
                    self.broken(failure).await?;
                    continue;
                }
                Err(failure) => {
                    self.broken(failure).await?;
                    continue;
                }
            };
            let chunk = self.without_repetition(chunk);
            if chunk.is_empty() {
                continue;
            }
            let len = chunk.len() as u64;
            if len > self.size - self.offset {
                self.answer = None;
                return Err(self.mismatch(Mismatch::TooLong {
                    expected: self.size,
                }));
            }
            if !self.has_given {
                self.has_given = true;
                self.givers.add(&self.route);
            }
            self.offset += len;
            self.since_failure = self.since_failure.saturating_add(len);
            return Ok(Some(chunk));
        }
    }

    fn without_repetition(&mut self, mut chunk: Bytes) -> Bytes {
        let repeated = usize::try_from(self.skip)
            .unwrap_or(usize::MAX)
            .min(chunk.len());
        self.skip -= repeated as u64;
        chunk.split_off(repeated)
    }

    async fn broken(&mut self, failure: Failure) -> Result<(), Error> {
        self.answer = None;
        if self.since_failure >= PROGRESS {
            self.attempts.progressed();
        }
        self.since_failure = 0;
        self.client
            .pause(&mut self.attempts, Setback::transient(failure), &self.call)
            .await
    }

    async fn connect(&mut self) -> Result<(), Error> {
        let mut call = self.call.clone();
        if self.offset > 0 {
            let range = format!("bytes={}-", self.offset);
            let range = HeaderValue::from_str(&range)
                .map_err(|_| Error::malformed("range", "it is no header"))?;
            call = call.header(RANGE, range);
        }
        loop {
            match self.client.attempt(&self.repository, &call).await {
                Ok(answer) => return self.accept(answer).await,
                Err(setback) => {
                    self.client
                        .pause(&mut self.attempts, setback, &self.call)
                        .await?
                }
            }
        }
    }

    async fn accept(&mut self, mut answer: Answer) -> Result<(), Error> {
        match answer.status() {
            206 if self.offset > 0 => {
                let range = answer.header(CONTENT_RANGE.as_str()).unwrap_or_default();
                if !is_range(range, &(self.offset..self.size), self.size) {
                    return Err(Error::malformed(
                        format!("`Content-Range` of {}", self.call.name()),
                        format!("it does not continue at {} of {}", self.offset, self.size),
                    ));
                }
                self.skip = 0;
            }
            200 => {
                if let Some(actual) = answer.content_length()
                    && actual != self.size
                {
                    return Err(self.mismatch(Mismatch::Size {
                        expected: self.size,
                        actual,
                    }));
                }
                self.skip = self.offset;
            }
            416 => {
                return Err(self.mismatch(Mismatch::Truncated {
                    expected: self.size,
                    actual: self.offset,
                }));
            }
            _ => {
                let what = blob_what(&self.digest);
                return Err(self
                    .client
                    .refusal(&self.repository, &self.call, &mut answer, &what)
                    .await);
            }
        }
        self.answer = Some(answer);
        Ok(())
    }

    fn mismatch(&self, mismatch: Mismatch) -> Error {
        Error::Mismatch {
            what: blob_what(&self.digest).into(),
            place: self.repository.to_string().into(),
            mismatch,
        }
    }
}

fn request(repository: &Repository, digest: &Digest) -> Result<Call, Error> {
    let url = endpoint(repository, &["blobs", &digest.to_string()])?;
    Ok(Call::new(Method::GET, url).header(ACCEPT_ENCODING, HeaderValue::from_static("identity")))
}

/// Octets between two failures that make the second one count as the first.
const PROGRESS: u64 = 1024 * 1024;

/// Returns whether `bytes start-end/total` is exactly a part of a blob of `size` octets.
pub(crate) fn is_range(content_range: &str, part: &Range<u64>, size: u64) -> bool {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    let Some((range, total)) = content_range
        .trim()
        .strip_prefix("bytes ")
        .and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    let Some((start, end)) = range.split_once('-') else {
        return false;
    };
    number(start) == Some(part.start)
        && number(end).and_then(|end| end.checked_add(1)) == Some(part.end)
        && (total == "*" || number(total) == Some(size))
}

fn cut() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the body ended early")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_rest_continues_a_blob() {
        for (range, expected) in [
            ("bytes 5-9/10", true),
            ("bytes 5-9/*", true),
            ("bytes 4-9/10", false),
            ("bytes 6-9/10", false),
            ("bytes 5-8/10", false),
            ("bytes 5-10/11", false),
            ("bytes 5-9/11", false),
            ("bytes +5-9/10", false),
            ("bytes 5-18446744073709551615/*", false),
            ("bytes */10", false),
            ("5-9/10", false),
            ("", false),
        ] {
            assert_eq!(is_range(range, &(5..10), 10), expected, "{range}");
        }
        assert!(is_range("bytes 5-7/10", &(5..8), 10));
        assert!(!is_range("bytes 5-8/10", &(5..8), 10));
    }
}
