//! Asking the agent: blocking, and with nothing but the standard library.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sealift_keywrap::{
    Identity, LayerSecret, Scheme, ThresholdLabel, UnwrapError, WrapContext, WrappedKey, describe,
};
use thiserror::Error;

use crate::protocol::{
    Answer, Ask, MAX_ELEMENT_OCTETS, MAX_ELEMENTS, MAX_QUESTION_LEN, Prefetch, ProtocolError,
    Question, Refusal, Reply, Status, Unwrap, frame,
};

/// The agent of this node as an identity: what the key holders open, it opens.
///
/// Asked after the keys at hand, since every question may become an entry in the holders' records. Elements that holders cannot
/// open are not taken to it, nor threshold wraps whose label names another layer.
#[derive(Debug)]
pub struct AgentIdentity {
    socket: PathBuf,
    timeout: Duration,
    /// Elements of the same image that the agent has not heard of.
    noted: Mutex<Vec<WrappedKey>>,
    /// What holders denied, newest last: asking again would only put the same refusal on record again.
    denied: Mutex<VecDeque<(WrappedKey, Box<str>, Refusal)>>,
}

impl AgentIdentity {
    /// Takes the path of the agent's socket. Nobody is asked before a key is wanted.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            timeout: Self::TIMEOUT,
            noted: Mutex::default(),
            denied: Mutex::default(),
        }
    }

    /// Sets how long to wait for an answer.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Asks how the agent is.
    ///
    /// # Errors
    /// [`AskError`]
    pub fn status(&self) -> Result<(Box<str>, Status), AskError> {
        match self.ask(Ask::Status)? {
            (node, Reply::Status(status)) => Ok((node, status)),
            (_, Reply::Refused(refusal)) => Err(AskError::Refused(refusal)),
            _ => Err(self.failed(ProtocolError::Malformed)),
        }
    }

    /// Asks the agent to fetch what opens these elements; returns how many it fetches.
    ///
    /// # Errors
    /// [`AskError`]
    pub fn prefetch(&self, wraps: &[WrappedKey]) -> Result<usize, AskError> {
        let mut wraps: Vec<_> = wraps
            .iter()
            .filter(|wrapped| may_open(wrapped))
            .cloned()
            .collect();
        let mut fetching = 0;
        loop {
            let elements = draw(&mut wraps, MAX_ELEMENTS, MAX_ELEMENT_OCTETS);
            if elements.is_empty() {
                return Ok(fetching);
            }
            let elements = elements.into_iter().map(Into::into).collect();
            match self.ask(Ask::Prefetch(Prefetch { elements }))? {
                (_, Reply::Fetching(count)) => fetching += count,
                (_, Reply::Refused(refusal)) => return Err(AskError::Refused(refusal)),
                _ => return Err(self.failed(ProtocolError::Malformed)),
            }
        }
    }

    /// How long the agent may take for an answer: longer than it gives the holders.
    pub const TIMEOUT: Duration = Duration::from_secs(60);

    fn ask(&self, ask: Ask) -> Result<(Box<str>, Reply), AskError> {
        let question = frame(&Question::new(ask), MAX_QUESTION_LEN);
        let question = question.map_err(|error| self.failed(error))?;
        let answer = exchange(&self.socket, &question, self.timeout)
            .map_err(|source| AskError::Unreachable {
                socket: self.socket.clone(),
                source,
            })?
            .and_then(|json| Answer::parse(&json))
            .map_err(|error| self.failed(error))?;
        Ok((answer.node.into(), answer.reply))
    }

    fn failed(&self, source: ProtocolError) -> AskError {
        AskError::Failed {
            socket: self.socket.clone(),
            source,
        }
    }

    fn known_denial(&self, wrapped: &WrappedKey) -> Option<UnwrapError> {
        let denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, node, refusal) = denied.iter().find(|(other, ..)| other == wrapped)?;
        Some(unwrap_error(refusal.clone(), node))
    }

    fn note_denial(&self, wrapped: &WrappedKey, node: &str, refusal: &Refusal) {
        let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        if denied.len() >= MAX_ELEMENTS {
            denied.pop_front();
        }
        denied.push_back((wrapped.clone(), node.into(), refusal.clone()));
    }

    /// Takes those of the noted elements that go along with `wanted`.
    fn siblings(&self, wanted: &WrappedKey) -> Vec<WrappedKey> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.retain(|other| other != wanted);
        let octets = MAX_ELEMENT_OCTETS.saturating_sub(wanted.element.len());
        draw(&mut noted, MAX_ELEMENTS - 1, octets)
    }
}

impl Identity for AgentIdentity {
    fn opens(&self, scheme: &Scheme) -> bool {
        *scheme == Scheme::Jwe || *scheme == Scheme::sealift()
    }

    /// Names the agent: which keys the holders have is theirs to know.
    fn fingerprint(&self) -> String {
        format!("agent:{}", self.socket.display())
    }

    fn prepare(&self, wraps: &[WrappedKey]) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = wraps
            .iter()
            .filter(|wrapped| may_open(wrapped))
            .cloned()
            .collect();
    }

    fn unwrap_key(
        &self,
        wrapped: &WrappedKey,
        context: &WrapContext<'_>,
    ) -> Result<LayerSecret, UnwrapError> {
        if let Some(label) = ThresholdLabel::of(wrapped) {
            label?.naming(context.subject)?;
        }
        if !may_open(wrapped) {
            return Err(UnwrapError::NotForThisKey);
        }
        if let Some(error) = self.known_denial(wrapped) {
            return Err(error);
        }
        let siblings = self.siblings(wrapped);
        let answer = self.ask(Ask::Unwrap(Unwrap {
            wanted: wrapped.clone().into(),
            subject: context.subject.map(Into::into),
            siblings: siblings.into_iter().map(Into::into).collect(),
        }));
        match answer {
            Ok((_, Reply::Secret(secret))) => Ok(LayerSecret::new(secret.0)),
            Ok((node, Reply::Refused(refusal))) => {
                if matches!(refusal, Refusal::Denied { .. }) {
                    self.note_denial(wrapped, &node, &refusal);
                }
                Err(unwrap_error(refusal, &node))
            }
            Ok(_) => Err(unavailable(&self.failed(ProtocolError::Malformed))),
            Err(error) => Err(unavailable(&error)),
        }
    }
}

/// Why the agent gave no answer that can be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody listens.
    #[error("no agent at {}", .socket.display())]
    Unreachable {
        /// Where it was looked for.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },

    /// The conversation broke off.
    #[error("agent at {} gave no answer", .socket.display())]
    Failed {
        /// The agent's socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: ProtocolError,
    },

    /// The agent refused.
    #[error("agent refused")]
    Refused(#[source] Refusal),
}

/// Returns whether key holders may be able to open an element: threshold wraps, and JWEs for a key on P-256.
fn may_open(wrapped: &WrappedKey) -> bool {
    let by_agreement = || {
        let mut algorithms = describe(wrapped)
            .into_iter()
            .filter_map(|info| info.algorithm);
        algorithms.any(|algorithm| &*algorithm == "ECDH-ES+A256KW")
    };
    ThresholdLabel::of(wrapped).is_some() || (wrapped.scheme == Scheme::Jwe && by_agreement())
}

/// Returns those of the wrapped keys that key holders may be able to open, as many as fit into one question.
pub fn one_question(wraps: &[WrappedKey]) -> Vec<WrappedKey> {
    let mut wraps: Vec<_> = wraps
        .iter()
        .filter(|wrapped| may_open(wrapped))
        .cloned()
        .collect();
    draw(&mut wraps, MAX_ELEMENTS, MAX_ELEMENT_OCTETS)
}

/// Takes elements from the front as long as they are not more than `count` and `octets`.
fn draw(from: &mut Vec<WrappedKey>, count: usize, mut octets: usize) -> Vec<WrappedKey> {
    let fitting = from.iter().take(count).take_while(|wrapped| {
        let left = octets.checked_sub(wrapped.element.len());
        octets = left.unwrap_or(0);
        left.is_some()
    });
    let fitting = fitting.count();
    from.drain(..fitting).collect()
}

fn unwrap_error(refusal: Refusal, node: &str) -> UnwrapError {
    match refusal {
        // The holders' records name the node: whoever has to ask about it needs to know which one this is.
        Refusal::Denied { by, code } => UnwrapError::Denied {
            by: printable(&by),
            code: printable(&format!("{code} (node {node})")),
        },
        Refusal::Unavailable { reason } | Refusal::BadRequest { reason } => {
            UnwrapError::Unavailable {
                reason: printable(&reason),
            }
        }
        Refusal::NotForTheseKeys {} => UnwrapError::NotForThisKey,
        Refusal::Malformed { .. } => UnwrapError::Malformed {
            reason: "the agent refused its form",
        },
        Refusal::Altered {} => UnwrapError::Authentication,
    }
}

fn unavailable(error: &AskError) -> UnwrapError {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        reason.push_str(": ");
        reason.push_str(&error.to_string());
        cause = error.source();
    }
    UnwrapError::Unavailable {
        reason: reason.into(),
    }
}

/// Cuts what an agent says to a length and a character set that is safe to print.
fn printable(text: &str) -> Box<str> {
    let text = text.chars().take(MAX_TEXT_LEN);
    text.map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Most characters of an agent's text that an error repeats.
const MAX_TEXT_LEN: usize = 256;

/// What an exchange gives once the agent was reached.
type Exchanged = Result<zeroize::Zeroizing<Vec<u8>>, ProtocolError>;

/// Sends a question and reads the answer.
///
/// # Errors
/// When nobody listens.
#[cfg(unix)]
fn exchange(socket: &Path, question: &[u8], timeout: Duration) -> io::Result<Exchanged> {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use crate::protocol::MAX_ANSWER_LEN;

    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    if let Err(error) = stream.write_all(question) {
        return Ok(Err(ProtocolError::Io(error)));
    }
    Ok(crate::protocol::read_frame(&mut stream, MAX_ANSWER_LEN))
}

/// Says that there are no agents here.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
fn exchange(_: &Path, _: &[u8], _: Duration) -> io::Result<Exchanged> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "agents are not supported on this system",
    ))
}
