//! A long blob in one request, for registries that take no chunks (distribution-spec, "POST then PUT").
//!
//! Its digest and size must be known before, and it cannot be sent again from here: when the request fails the upload is
//! lost, and whoever has the blob begins anew.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use sealift_oci::Digest;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::http::{Answer, Call, Setback, Streamed};
use crate::upload::{Closed, OCTETS, Upload};

/// A request that is being sent.
#[derive(Debug)]
pub(crate) struct Sending {
    call: Call,
    pieces: mpsc::Sender<Bytes>,
    answer: JoinHandle<Result<Answer, Setback>>,
}

impl Upload {
    /// Begins the request that carries the blob.
    pub(crate) async fn begin_stream(&mut self, digest: &Digest, len: u64) -> Result<(), Error> {
        if self.session.is_none() {
            self.start().await?;
        }
        // It is used up with this request, whatever comes of it.
        let Some(session) = self.session.take() else {
            return Ok(());
        };
        self.unnote();
        let mut url = session.location;
        url.query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        let call = Call::new(Method::PUT, url).header(CONTENT_TYPE, OCTETS);
        let (pieces, receiver) = mpsc::channel(1);
        let (client, repository) = (self.client.clone(), self.repository.clone());
        let sent = call.clone();
        let answer = tokio::spawn(async move {
            let body = Streamed {
                len,
                pieces: receiver,
            };
            client.stream(&repository, &sent, body).await
        });
        self.sending = Some(Sending {
            call,
            pieces,
            answer,
        });
        Ok(())
    }

    /// Hands octets to the request.
    pub(crate) async fn stream_on(&mut self, octets: Bytes) -> Result<(), Error> {
        let Some(sending) = &self.sending else {
            return Ok(());
        };
        if octets.is_empty() {
            return Ok(());
        }
        let len = octets.len() as u64;
        if sending.pieces.send(octets).await.is_err() {
            // It was answered, or failed, before it had everything.
            let lost = self.lost(&sending.call);
            if let Some((digest, _)) = self.known.clone() {
                self.end_stream(&digest).await?;
            }
            return Err(lost);
        }
        self.acknowledged += len;
        Ok(())
    }

    /// Waits for what the registry says to the blob.
    pub(crate) async fn end_stream(&mut self, digest: &Digest) -> Result<(), Error> {
        let Some(sending) = self.sending.take() else {
            return Ok(());
        };
        drop(sending.pieces);
        match sending.answer.await {
            Ok(Ok(answer)) => {
                let closed = self.closed(answer, &sending.call, digest, true, 0);
                if let Some(Closed::Done) = closed.await? {
                    return Ok(());
                }
            }
            // Whoever begins anew does so at once, so the pause is made here.
            Ok(Err(setback)) => {
                let mut attempts = self.client.attempts();
                self.client
                    .pause(&mut attempts, setback, &sending.call)
                    .await?;
            }
            // The threads are being stopped.
            Err(_) => return Err(self.lost(&sending.call)),
        }
        // The request may have arrived though its answer did not.
        if self.client.holds(&self.repository, digest, None).await? {
            return Ok(());
        }
        Err(self.lost(&sending.call))
    }
}
