//! Going on with an upload that an earlier process left, from where the registry is.

use reqwest::Method;
use reqwest::header::RANGE;
use sealift_oci::Digest;

use crate::error::Error;
use crate::http::Call;
use crate::journal::Recorded;
use crate::upload::{Session, Upload, received};

impl Upload {
    /// Looks for a recorded session of this blob, and records this upload from now on.
    ///
    /// The registry's word counts for how much it has; whether that is the beginning of the blob it decides itself at the
    /// end, by the digest. If it is not, the upload is lost and begins anew.
    pub(crate) async fn resume(&mut self, digest: &Digest, size: u64) {
        // What goes in one request has nothing to be continued.
        if !self.streams() {
            return;
        }
        let journal = self.client.journal();
        let page = journal.and_then(|journal| journal.page(&self.repository, digest, size));
        let Some(mut page) = page else { return };
        if let Some(recorded) = page.recorded() {
            self.enter(recorded, size).await;
        }
        self.page = Some(page);
        self.note();
    }

    /// Enters a recorded session, if the registry still has something of it.
    async fn enter(&mut self, recorded: Recorded, size: u64) {
        let call = Call::new(Method::GET, recorded.location.clone());
        let Ok(answer) = self.client.call(&self.repository, &call).await else {
            return;
        };
        if !matches!(answer.status(), 200..=204) {
            return;
        }
        let range = answer.header(RANGE.as_str()).unwrap_or("0-0");
        let held = received(range, size).filter(|held| (1..=size).contains(held));
        let earlier = Session {
            location: recorded.location,
            min_chunk: recorded.min_chunk,
        };
        let unused = match held {
            Some(_) => self.session.replace(earlier),
            None => Some(earlier),
        };
        if let Some(unused) = unused {
            let call = Call::new(Method::DELETE, unused.location);
            let _ = self.client.attempt(&self.repository, &call).await;
        }
        if let Some(held) = held
            && self.relocate(&answer).is_ok()
        {
            self.acknowledged = held;
            self.in_chunks = true;
            self.resumed = true;
        }
    }

    /// Records where the upload stands.
    pub(crate) fn note(&mut self) {
        if let (Some(page), Some(session), true) = (&mut self.page, &self.session, self.in_chunks) {
            page.record(&session.location, session.min_chunk);
        }
    }

    /// Ends the record.
    pub(crate) fn unnote(&mut self) {
        if let Some(page) = self.page.take() {
            page.remove();
        }
    }

    /// Ends this process's part: the session stays for another one, if it could go on with it.
    pub(crate) async fn leave(&mut self, error: Option<&Error>) {
        let is_of_use = error.is_none_or(|error| error.may_retry() && !error.is_lost_upload());
        if is_of_use && self.acknowledged > 0 && self.page.take().is_some() {
            self.break_off().await;
            return;
        }
        self.cancel().await;
    }
}
