//! The feed of applied commands: Server-Sent Events, resumable by position.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use tokio::sync::watch;

use super::state::State;
use super::{Service, stopped};
use crate::octets::Octets;

/// Streams the commands after position `since`, and goes on until the holder stops or `ends` says so.
///
/// `ends` is asked after every change that has been sent: a revoked node still hears of its revocation.
pub(super) fn feed(
    service: &Arc<Service>,
    since: u64,
    ends: impl Fn(&State) -> bool + Send + 'static,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + Send + 'static> {
    let follow = Follow {
        service: Arc::clone(service),
        changes: service.writer.changes(),
        stop: service.stop.clone(),
        position: since,
        ends,
    };
    let events = stream::unfold(follow, |mut follow| async move {
        let event = follow.next().await?;
        Some((Ok(event), follow))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

/// Returns whether an answer is a feed, which goes on for as long as somebody listens.
pub(super) fn is_feed(answer: &Response) -> bool {
    let kind = answer.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

struct Follow<F> {
    service: Arc<Service>,
    changes: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    position: u64,
    ends: F,
}

impl<F: Fn(&State) -> bool> Follow<F> {
    async fn next(&mut self) -> Option<Event> {
        loop {
            self.changes.mark_unchanged();
            let state = self.service.writer.state();
            // A position from another life of this store: everything, again.
            if self.position > state.commands().len() as u64 {
                self.position = 0;
            }
            let at = usize::try_from(self.position).unwrap_or(usize::MAX);
            if let Some(command) = state.commands().get(at) {
                self.position = command.seq;
                let data = Octets::from(command.envelope.as_slice()).to_text();
                return Some(
                    Event::default()
                        .id(command.seq.to_string())
                        .event("command")
                        .data(data),
                );
            }
            if (self.ends)(&state) || *self.stop.borrow() {
                return None;
            }
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = stopped(&mut self.stop) => return None,
            }
        }
    }
}

const HEARTBEAT: Duration = Duration::from_secs(5);
