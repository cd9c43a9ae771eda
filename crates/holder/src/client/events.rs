//! Commands as a holder applies them: Server-Sent Events (WHATWG HTML, section 9.2), as far as holders send them.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use thiserror::Error;

use crate::octets::Octets;

/// One command that a holder applied. Nobody has verified it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// Its number at that holder, to resume from.
    pub id: u64,
    /// Octets of its envelope.
    pub command: Octets,
}

/// A feed that has begun.
pub struct EventStream {
    holder: Box<str>,
    chunks: BoxStream<'static, Result<Vec<u8>, reqwest::Error>>,
    parser: Parser,
    ready: VecDeque<Event>,
}

impl EventStream {
    pub(crate) fn new<B: AsRef<[u8]>>(
        holder: &str,
        chunks: impl futures_util::Stream<Item = Result<B, reqwest::Error>> + Send + 'static,
    ) -> Self {
        Self {
            holder: holder.into(),
            chunks: chunks
                .map(|chunk| chunk.map(|chunk| chunk.as_ref().to_vec()))
                .boxed(),
            parser: Parser::default(),
            ready: VecDeque::new(),
        }
    }

    /// Waits for the next command.
    ///
    /// # Errors
    /// [`EventsError`]; then the feed is over and is to be begun again after the last event's number.
    pub async fn next(&mut self) -> Result<Event, EventsError> {
        self.next_until(&mut || {}).await
    }

    /// Waits for the next command and calls `alive` for every sign of life, heartbeats included.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn next_until(
        &mut self,
        alive: &mut (dyn FnMut() + Send),
    ) -> Result<Event, EventsError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            let failed = |cause| EventsError {
                holder: self.holder.clone(),
                cause,
            };
            let chunk = tokio::time::timeout(SILENCE, self.chunks.next())
                .await
                .map_err(|_| failed(EventsCause::Silent))?
                .ok_or_else(|| failed(EventsCause::Ended))?
                .map_err(|source| {
                    failed(EventsCause::Transport {
                        source: source.without_url(),
                    })
                })?;
            alive();
            let events = self
                .parser
                .push(&chunk)
                .ok_or_else(|| failed(EventsCause::Malformed))?;
            self.ready.extend(events);
        }
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventStream({})", self.holder)
    }
}

/// Why a feed is over.
#[derive(Debug, Error)]
#[error("feed of key holder `{holder}`: {cause}")]
pub struct EventsError {
    /// Whose.
    pub holder: Box<str>,
    /// Why.
    #[source]
    pub cause: EventsCause,
}

/// What happened to a feed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EventsCause {
    /// Not even a heartbeat for [`SILENCE`].
    #[error("silent for {} s", SILENCE.as_secs())]
    Silent,
    /// The holder ended it.
    #[error("ended")]
    Ended,
    /// The connection broke.
    #[error("broken off")]
    Transport {
        /// Why.
        source: reqwest::Error,
    },
    /// Not the events of a holder.
    #[error("malformed event")]
    Malformed,
}

/// How long a feed may be silent; holders send a heartbeat every 5 s.
pub const SILENCE: Duration = Duration::from_secs(12);

/// Most octets of one line: a command's envelope in base64url.
const MAX_LINE_LEN: usize = 2 * crate::dsse::MAX_ENVELOPE_LEN;

#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    id: Option<u64>,
    is_command: bool,
    data: Option<Octets>,
}

impl Parser {
    /// Takes the next octets, however they are cut; `None` for what no holder sends.
    fn push(&mut self, octets: &[u8]) -> Option<Vec<Event>> {
        let mut events = Vec::new();
        for octet in octets {
            if *octet != b'\n' {
                if self.line.len() >= MAX_LINE_LEN {
                    return None;
                }
                self.line.push(*octet);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = str::from_utf8(line.strip_suffix(b"\r").unwrap_or(&line)).ok()?;
            if line.is_empty() {
                events.extend(self.dispatch()?);
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => self.id = Some(value.parse().ok()?),
                "event" => self.is_command = value == "command",
                "data" if self.data.is_none() => {
                    self.data = Some(Octets::from_text(value).unwrap_or_default())
                }
                "data" => return None,
                // A comment, that is a heartbeat, or a field of a later version.
                _ => {}
            }
        }
        Some(events)
    }

    /// Ends an event; events of other kinds are passed over.
    fn dispatch(&mut self) -> Option<Option<Event>> {
        let data = self.data.take();
        let is_command = std::mem::take(&mut self.is_command);
        match data {
            Some(command) if is_command => {
                let id = self.id?;
                (!command.0.is_empty()).then_some(Some(Event { id, command }))
            }
            _ => Some(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEED: &[u8] = b":\n\nid: 7\nevent: command\ndata: YWJj\n\n: heartbeat\n\nevent: other\ndata: x y\n\nid: 8\r\nevent: command\r\ndata: eA\r\n\r\n";

    fn expected() -> Vec<Event> {
        vec![
            Event {
                id: 7,
                command: Octets(b"abc".to_vec()),
            },
            Event {
                id: 8,
                command: Octets(b"x".to_vec()),
            },
        ]
    }

    #[test]
    fn events_do_not_depend_on_how_the_feed_is_cut() {
        for size in [1, 2, 3, 7, FEED.len()] {
            let mut parser = Parser::default();
            let events: Vec<Event> = FEED
                .chunks(size)
                .flat_map(|chunk| parser.push(chunk).unwrap())
                .collect();
            assert_eq!(events, expected(), "pieces of {size}");
        }
    }

    #[test]
    fn refuses_what_no_holder_sends() {
        for feed in [
            &b"id: x\n"[..],
            b"id: 1\nevent: command\ndata: YQ==\n\n",
            b"event: command\ndata: YQ\n\n",
            b"id: 1\ndata: YQ\ndata: YQ\n",
            b"\xff\n",
        ] {
            assert_eq!(
                Parser::default().push(feed),
                None,
                "{}",
                String::from_utf8_lossy(feed)
            );
        }
        assert_eq!(Parser::default().push(&vec![b'x'; MAX_LINE_LEN + 1]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_feed_ends() {
        let chunks = futures_util::stream::iter([Ok::<_, reqwest::Error>(FEED)])
            .chain(futures_util::stream::pending());
        let mut stream = EventStream::new("fra", chunks);
        assert_eq!(stream.next().await.unwrap(), expected()[0]);
        assert_eq!(stream.next().await.unwrap(), expected()[1]);
        let error = stream.next().await.unwrap_err();
        assert!(matches!(error.cause, EventsCause::Silent));
        assert_eq!(
            error.to_string(),
            "feed of key holder `fra`: silent for 12 s"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_keeps_a_feed_alive() {
        let beats = futures_util::stream::unfold(0, |n| async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let chunk: &[u8] = if n < 10 { b":\n\n" } else { FEED };
            Some((Ok::<_, reqwest::Error>(chunk), n + 1))
        });
        let mut stream = EventStream::new("fra", beats);
        let mut signs = 0;
        assert_eq!(
            stream.next_until(&mut || signs += 1).await.unwrap(),
            expected()[0]
        );
        assert_eq!(signs, 11);
    }
}
