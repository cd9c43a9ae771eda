//! A blob that is known beforehand, streamed to a registry (distribution-spec, "Pushing a blob in chunks").
//!
//! Nothing of it is held here, so requests can be long: the first has the size of a chunk, each further one is twice as long
//! as the one before. Where a request breaks off, the registry is asked how much it has, and whoever has the blob gives it
//! again from there. To registries that take no chunks it goes in one request ("POST then PUT").

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, RANGE};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

use crate::client::Client;
use crate::error::{Error, Failure};
use crate::http::{Answer, Call, Setback, Streamed};
use crate::retry::Attempts;
use crate::upload::{Closed, OCTETS, SMALL_PIECE, Upload, accepted, header, received};

/// How a streamed blob is on its way.
#[derive(Debug)]
pub(crate) struct Stream {
    request: Option<Request>,
    /// Length of the next request.
    limit: u64,
    /// What it grows to.
    grown: u64,
    /// Longest that the registry takes, or that is worth to be sent in vain.
    most: u64,
    attempts: Attempts,
    /// Most octets that the registry ever had.
    furthest: u64,
    interruption: Option<Interruption>,
    /// How often the login was renewed since a request passed.
    renewals: u32,
    is_stored: bool,
}

/// A request that is being sent.
#[derive(Debug)]
struct Request {
    call: Call,
    /// Taken away with the last of them, which is how HTTP/2 learns that it is the last.
    pieces: Option<mpsc::Sender<Bytes>>,
    answer: JoinHandle<Result<Answer, Setback>>,
    /// Octets that it still needs.
    left: u64,
    /// Octets that the registry has when it has taken all of it.
    end: u64,
    closes: bool,
}

/// Why octets must be given again.
#[derive(Debug)]
struct Interruption {
    call: Call,
    /// What counts as a failure. Nothing if the request was refused as a whole, and is made in another way at once.
    setback: Option<Setback>,
    /// Whether the request would have stored the blob.
    closes: bool,
}

impl Stream {
    pub(crate) fn new(client: &Client) -> Self {
        Self {
            request: None,
            limit: client.chunk_size() as u64,
            grown: client.chunk_size() as u64 * GROWTH,
            most: u64::MAX,
            attempts: client.attempts(),
            furthest: 0,
            interruption: None,
            renewals: 0,
            is_stored: false,
        }
    }

    /// Makes the next request longer, because one of this length passed.
    fn lengthen(&mut self) {
        self.limit = self.limit.saturating_mul(2).min(self.grown).min(self.most);
    }

    /// Makes no request longer than this from now on.
    fn stay_under(&mut self, most: usize) {
        self.most = self.most.min(most as u64);
        self.limit = self.limit.min(self.most);
    }

    /// Makes the next request shorter, because this length may have been what did not pass.
    fn shorten(&mut self) {
        let least = (SMALL_PIECE as u64).min(self.limit);
        self.limit = (self.limit / 4).max(least);
    }
}

impl Upload {
    /// Returns whether the blob is streamed: it is known, and too long to be held.
    pub(crate) fn streams(&self) -> bool {
        let is_long = |(_, size): &(_, u64)| *size > self.client.held_size() as u64;
        self.known.as_ref().is_some_and(is_long)
    }

    /// Returns whether the upload may go on after [`recover`](Self::recover).
    pub(crate) fn is_interrupted(&self) -> bool {
        self.stream.interruption.is_some()
    }

    /// Returns whether the request that carried the blob has stored it.
    pub(crate) fn is_stored(&self) -> bool {
        self.stream.is_stored
    }

    /// Hands octets to the request under way, and to those that follow it.
    pub(crate) async fn stream(&mut self, mut octets: Bytes) -> Result<(), Error> {
        while !octets.is_empty() && !self.stream.is_stored {
            let mut request = match self.stream.request.take() {
                Some(request) => request,
                None => self.begin_request().await?,
            };
            let len = request.left.min(octets.len() as u64);
            // No longer than the octets, so this fits.
            let now = octets.split_to(usize::try_from(len).unwrap_or(octets.len()));
            let pieces = request.pieces.clone();
            let answer = tokio::select! {
                biased;
                // It is answered, or has failed, before it has everything.
                answer = &mut request.answer => Some(answer),
                sent = hand_over(pieces, now) => {
                    if sent {
                        request.left -= len;
                    }
                    if sent && request.left > 0 {
                        None
                    } else {
                        request.pieces = None;
                        Some((&mut request.answer).await)
                    }
                }
            };
            match answer {
                None => self.stream.request = Some(request),
                Some(answer) => self.judge(request, answer).await?,
            }
        }
        Ok(())
    }

    /// Begins the next request, in a session that is opened if there is none.
    async fn begin_request(&mut self) -> Result<Request, Error> {
        let min_chunk = match &self.session {
            Some(session) => session.min_chunk,
            None => self.start().await?,
        };
        let closes = self.acknowledged == 0 && self.client.refuses_chunks(&self.repository);
        let (Some(session), Some((digest, size))) = (&self.session, &self.known) else {
            // There is a session now, and only what is known is streamed.
            return Err(Error::unsupported("upload of an unknown blob"));
        };
        let mut url = session.location.clone();
        let rest = size.saturating_sub(self.acknowledged);
        let (len, call) = if closes {
            // The registry's own query must keep its spelling; this appends.
            url.query_pairs_mut()
                .append_pair("digest", &digest.to_string());
            (rest, Call::new(Method::PUT, url))
        } else {
            let len = self.stream.limit.max(min_chunk as u64).min(rest);
            let end = self.acknowledged.saturating_add(len);
            let range = format!("{}-{}", self.acknowledged, end.saturating_sub(1));
            let call = Call::new(Method::PATCH, url).header(CONTENT_RANGE, header(&range));
            (len, call)
        };
        if len == 0 {
            return Err(Error::malformed(
                "blob to upload",
                "it is longer than announced",
            ));
        }
        if closes {
            // It is used up with this request, whatever comes of it.
            self.session = None;
            self.unnote();
        } else {
            self.in_chunks = true;
            self.note();
        }
        let call = call.header(CONTENT_TYPE, OCTETS);
        let (pieces, receiver) = mpsc::channel(1);
        let (client, repository, sent) =
            (self.client.clone(), self.repository.clone(), call.clone());
        let answer = tokio::spawn(async move {
            let pieces = receiver;
            client
                .stream(&repository, &sent, Streamed { len, pieces })
                .await
        });
        Ok(Request {
            call,
            pieces: Some(pieces),
            answer,
            left: len,
            end: self.acknowledged + len,
            closes,
        })
    }

    /// Judges what came of a request.
    async fn judge(
        &mut self,
        request: Request,
        answer: Result<Result<Answer, Setback>, JoinError>,
    ) -> Result<(), Error> {
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(setback)) => {
                let failure = match &setback {
                    Setback::Final(error) => return Err(error.clone()),
                    Setback::Transient { failure, .. } => failure.clone(),
                };
                return match &failure {
                    Failure::Status {
                        status: 401,
                        detail,
                    } => {
                        if self.stream.renewals >= MAX_RENEWALS {
                            let refused =
                                self.client.refused(&self.repository, &request.call, detail);
                            return Err(refused.await);
                        }
                        // Logins die here before they were said to, and all of a request is sent in vain then.
                        self.stream.renewals += 1;
                        self.stream.stay_under(self.client.chunk_size());
                        Err(self.interrupt(request, failure, None))
                    }
                    _ => Err(self.interrupt(request, failure, Some(setback))),
                };
            }
            // The threads are being stopped.
            Err(_) => return Err(self.lost(&request.call)),
        };
        if request.closes {
            self.judge_whole(request, answer).await
        } else {
            self.judge_chunk(request, answer).await
        }
    }

    async fn judge_chunk(&mut self, request: Request, mut answer: Answer) -> Result<(), Error> {
        let failure = match answer.status() {
            200..=204 => {
                self.relocate(&answer)?;
                let accepted = accepted(&answer, &request.call, request.end)?;
                if accepted == request.end && request.left == 0 {
                    self.acknowledged = request.end;
                    self.stream.renewals = 0;
                    self.stream.lengthen();
                    self.note();
                    return Ok(());
                }
                Failure::Status {
                    status: answer.status(),
                    detail: "but did not take all of the chunk".into(),
                }
            }
            413 if self.stream.limit > SMALL_PIECE as u64 => {
                self.stream.stay_under(SMALL_PIECE);
                let failure = crate::answer::failure(&mut answer).await;
                return Err(self.interrupt(request, failure, None));
            }
            405 | 501 if self.acknowledged == 0 => {
                self.client.remember_refusal(&self.repository);
                let failure = crate::answer::failure(&mut answer).await;
                return Err(self.interrupt(request, failure, None));
            }
            // The registry lost count or the session; it will be asked where it is.
            404 | 416 => crate::answer::failure(&mut answer).await,
            _ => {
                let what = format!("upload to `{}`", self.repository.name);
                return Err(self
                    .client
                    .refusal(&self.repository, &request.call, &mut answer, &what)
                    .await);
            }
        };
        Err(self.interrupt_by(request, failure))
    }

    async fn judge_whole(&mut self, request: Request, answer: Answer) -> Result<(), Error> {
        let Some((digest, size)) = self.known.clone() else {
            return Ok(());
        };
        let closed = self.closed(answer, &request.call, &digest, true, 0);
        if let Some(Closed::Done) = closed.await? {
            self.stream.is_stored = true;
            self.acknowledged = size;
            return Ok(());
        }
        let lost = Failure::UploadLost { acknowledged: 0 };
        Err(self.interrupt_by(request, lost))
    }

    /// Stops until [`recover`](Self::recover); returns what is to be told if nobody calls that.
    fn interrupt(&mut self, request: Request, failure: Failure, setback: Option<Setback>) -> Error {
        let error = Error::Network {
            request: request.call.name(),
            attempts: self.stream.attempts.failures() + 1,
            failure,
        };
        self.stream.interruption = Some(Interruption {
            call: request.call,
            setback,
            closes: request.closes,
        });
        error
    }

    /// The same for a failure that counts.
    fn interrupt_by(&mut self, request: Request, failure: Failure) -> Error {
        let setback = Setback::transient(failure.clone());
        self.interrupt(request, failure, Some(setback))
    }

    /// Returns from where the blob must be given again after an interruption; nothing if there was none.
    ///
    /// Pauses first, after what counts as a failure. An error ends the upload: it was interrupted too often without getting on.
    pub(crate) async fn recover(&mut self) -> Result<Option<u64>, Error> {
        let Some(interruption) = self.stream.interruption.take() else {
            return Ok(None);
        };
        let Some(setback) = interruption.setback else {
            // What is given again begins behind what arrived, so nobody here checks the digest of the whole.
            self.resumed = self.acknowledged > 0;
            return Ok(Some(self.acknowledged));
        };
        let attempts = &mut self.stream.attempts;
        self.client
            .pause(attempts, setback, &interruption.call)
            .await?;
        self.stream.shorten();
        if interruption.closes {
            self.find_stored().await?;
        } else {
            self.ask().await?;
        }
        if self.acknowledged > self.stream.furthest {
            self.stream.furthest = self.acknowledged;
            self.stream.attempts.progressed();
        }
        Ok(Some(self.acknowledged))
    }

    /// Looks whether the request has arrived though its answer did not.
    async fn find_stored(&mut self) -> Result<(), Error> {
        self.acknowledged = 0;
        if let Some((digest, size)) = &self.known
            && self.client.holds(&self.repository, digest, None).await?
        {
            self.acknowledged = *size;
            self.stream.is_stored = true;
        }
        Ok(())
    }

    /// Asks how much arrived; begins anew if nothing did, or nobody knows.
    async fn ask(&mut self) -> Result<(), Error> {
        let Some(session) = &self.session else {
            self.acknowledged = 0;
            return Ok(());
        };
        let size = self.known.as_ref().map_or(0, |(_, size)| *size);
        let call = Call::new(Method::GET, session.location.clone());
        let mut answer = self.client.call(&self.repository, &call).await?;
        let held = match answer.status() {
            200..=204 => {
                self.relocate(&answer)?;
                let range = answer.header(RANGE.as_str()).unwrap_or("0-0");
                received(range, size).filter(|held| (1..=size).contains(held))
            }
            400 | 404 | 405 | 416 => None,
            _ => {
                let what = format!("upload to `{}`", self.repository.name);
                return Err(self
                    .client
                    .refusal(&self.repository, &call, &mut answer, &what)
                    .await);
            }
        };
        match held {
            Some(held) => {
                self.acknowledged = held;
                // By whom these octets are vouched for is the digest alone, at the end.
                self.resumed = true;
            }
            None => {
                self.close_session().await;
                if self.acknowledged > 0 {
                    // What it had taken is gone, so pieces were of no use.
                    self.stream.limit = self.stream.most.min(size);
                }
                self.acknowledged = 0;
                self.resumed = false;
            }
        }
        Ok(())
    }

    /// Ends the request under way in its middle.
    pub(crate) async fn break_off(&mut self) {
        if let Some(request) = self.stream.request.take() {
            drop(request.pieces);
            let _ = request.answer.await;
        }
    }
}

/// Returns whether the request takes these octets.
async fn hand_over(pieces: Option<mpsc::Sender<Bytes>>, octets: Bytes) -> bool {
    match pieces {
        Some(pieces) => pieces.send(octets).await.is_ok(),
        None => false,
    }
}

/// How often a login is renewed for one request. More than once, because whoever gives the octets again may need longer for
/// the first of them than a short-lived login lives.
const MAX_RENEWALS: u32 = 3;
/// How many times longer than the first request the longest is.
const GROWTH: u64 = 16;
