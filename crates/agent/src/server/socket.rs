//! The agent's front door.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use super::resident::Resident;
use crate::protocol::{
    Answer, Ask, MAX_ANSWER_LEN, MAX_QUESTION_LEN, ProtocolError, Question, Refusal, Reply,
    VERSION, announced, frame,
};

/// Who may ask the agent. The kernel says who it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Access {
    /// Users.
    pub users: Vec<u32>,
    /// Whose primary group is this one.
    pub group: Option<u32>,
}

impl Access {
    /// Admits root, the agent's own user, and a group.
    pub fn usual(own: u32, group: Option<u32>) -> Self {
        Self {
            users: vec![0, own],
            group,
        }
    }

    /// Returns whether a caller is admitted.
    pub fn admits(&self, user: u32, group: u32) -> bool {
        self.users.contains(&user) || self.group == Some(group)
    }
}

/// What callers may take up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections served at once; more wait.
    pub connections: usize,
    /// How long a caller may take for a question, to begin one, and to take an answer.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            patience: Duration::from_secs(10),
        }
    }
}

/// Makes the socket: for its owner, and for the group if there is one. One that nobody serves any more is replaced.
///
/// # Errors
/// When another agent serves it, or something else is in the way.
pub fn bind(path: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something that is no socket is in its place",
            ));
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another agent serves it",
                ));
            }
            Err(_) => fs::remove_file(path)?,
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Whoever connects before the mode is set is still asked who it is.
    let listener = UnixListener::bind(path)?;
    let mode = match group {
        Some(group) => {
            std::os::unix::fs::chown(path, None, Some(group))?;
            0o660
        }
        None => 0o600,
    };
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(listener)
}

/// Answers callers until it is dropped.
pub async fn serve(
    listener: UnixListener,
    access: Access,
    limits: Limits,
    resident: Arc<Resident>,
) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        // Never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(PAUSE).await;
                continue;
            }
        };
        match stream.peer_cred() {
            Ok(peer) if access.admits(peer.uid(), peer.gid()) => {}
            Ok(peer) => {
                tracing::warn!(user = peer.uid(), "caller turned away");
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot tell who calls");
                continue;
            }
        }
        let resident = Arc::clone(&resident);
        connections.spawn(async move {
            let _place = place;
            if let Err(error) = converse(stream, limits.patience, &resident).await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
}

/// Answers one question after another.
async fn converse(
    mut stream: UnixStream,
    patience: Duration,
    resident: &Arc<Resident>,
) -> Result<(), ProtocolError> {
    loop {
        let read = timeout(patience, read_question(&mut stream)).await;
        let Ok(read) = read else {
            return Err(ProtocolError::Io(io::ErrorKind::TimedOut.into()));
        };
        let question = match read {
            Ok(Some(json)) => Question::parse(&json),
            Ok(None) => return Ok(()),
            Err(error) => Err(error),
        };
        let (reply, last) = match question {
            Ok(question) => (reply(question.ask, resident).await, false),
            // Where the next message would begin is not known.
            Err(error) => {
                let reason = error.to_string();
                (Reply::Refused(Refusal::BadRequest { reason }), true)
            }
        };
        let answer = Answer {
            v: VERSION,
            node: resident.node().to_owned(),
            reply,
        };
        let answer = frame(&answer, MAX_ANSWER_LEN)?;
        let written = timeout(patience, stream.write_all(&answer)).await;
        written
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(ProtocolError::Io)?;
        if last {
            return Ok(());
        }
    }
}

async fn reply(ask: Ask, resident: &Arc<Resident>) -> Reply {
    match ask {
        Ask::Unwrap(unwrap) => {
            let siblings = unwrap.siblings.into_iter().map(|element| element.0);
            let subject = unwrap.subject.as_deref();
            match resident
                .unwrap(unwrap.wanted.0, subject, siblings.collect())
                .await
            {
                Ok(secret) => Reply::Secret(secret),
                Err(refusal) => Reply::Refused(refusal),
            }
        }
        Ask::Prefetch(prefetch) => {
            let elements = prefetch.elements.into_iter().map(|element| element.0);
            Reply::Fetching(resident.prefetch(elements.collect()))
        }
        Ask::Status => Reply::Status(resident.status()),
    }
}

/// Reads the octets of one question; `None` if the caller has no more.
async fn read_question(
    stream: &mut UnixStream,
) -> Result<Option<Zeroizing<Vec<u8>>>, ProtocolError> {
    let ended = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ProtocolError::Truncated,
        _ => ProtocolError::Io(error),
    };
    let mut prefix = [0; 4];
    let (first, rest) = prefix.split_at_mut(1);
    if stream.read(first).await.map_err(ProtocolError::Io)? == 0 {
        return Ok(None);
    }
    stream.read_exact(rest).await.map_err(ended)?;
    let mut json = Zeroizing::new(vec![0; announced(prefix, MAX_QUESTION_LEN)?]);
    stream.read_exact(&mut json).await.map_err(ended)?;
    Ok(Some(json))
}

/// How long to wait when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(200);
