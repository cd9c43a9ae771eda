//! One call of a program: the request on its standard input, the answer on its standard output.
//!
//! It gets the environment of the caller less the variables that the caller hides, and a process group of its own, so that
//! whatever it started ends with it when time is up. All three pipes are served at the same time: a program that does not read,
//! or says more than anybody wants to hear, is stopped by a limit and not by a full pipe. What it wrote on standard error is
//! part of every error.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::config::Command;
use crate::error::Said;
use crate::message::MAX_ANSWER_LEN;
use crate::{Answer, ProviderError};

/// Starts the program, talks to it and waits for its end.
pub(crate) async fn call(
    command: &Command,
    hidden: &[OsString],
    request: &[u8],
    limit: Duration,
) -> Result<Answer, ProviderError> {
    let mut program = tokio::process::Command::new(&command.path);
    program
        .args(&command.args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for variable in hidden {
        program.env_remove(variable);
    }
    #[cfg(unix)]
    program.process_group(0);
    let mut child = program
        .spawn()
        .map_err(|source| ProviderError::CannotStart {
            program: Said::new(command.path.as_bytes()).text(),
            source,
        })?;
    let mut tail = Tail::default();
    let outcome = timeout(limit, talk(&mut child, request, &mut tail)).await;
    let status = match outcome {
        Ok(Ok((status, answer))) if status.success() => {
            return Ok(Answer {
                octets: answer,
                said: tail.said(),
            });
        }
        Ok(Ok((status, _))) => Ok(status),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Ended::TimedOut),
    };
    let said = tail.said();
    Err(match status {
        Ok(status) => ProviderError::Failed {
            status: status.to_string().into(),
            said,
        },
        Err(ended) => {
            end(&mut child).await;
            match ended {
                Ended::TimedOut => ProviderError::TimedOut { after: limit, said },
                Ended::TooLong => ProviderError::TooLong {
                    limit: MAX_ANSWER_LEN,
                    said,
                },
                Ended::Pipe(source) => ProviderError::Pipe { said, source },
            }
        }
    })
}

/// Why a program was stopped before it ended by itself.
enum Ended {
    TimedOut,
    TooLong,
    Pipe(io::Error),
}

async fn talk(
    child: &mut Child,
    request: &[u8],
    tail: &mut Tail,
) -> Result<(ExitStatus, Zeroizing<Vec<u8>>), Ended> {
    let missing = || Ended::Pipe(io::ErrorKind::BrokenPipe.into());
    let mut stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    let write = async move {
        let written = stdin.write_all(request).await;
        // Closes the pipe, which tells the program that there is no more. A program may end without having read all.
        drop(stdin);
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Ended::Pipe(error)),
            _ => Ok(()),
        }
    };
    let (_, answer, ()) = tokio::try_join!(write, read_answer(stdout), tail.fill(stderr))?;
    let status = child.wait().await.map_err(Ended::Pipe)?;
    Ok((status, answer))
}

async fn read_answer(source: impl AsyncRead + Unpin) -> Result<Zeroizing<Vec<u8>>, Ended> {
    // Grown by hand a vector would leave copies of the key in freed memory.
    let mut answer = Zeroizing::new(Vec::with_capacity(MAX_ANSWER_LEN + 1));
    let mut source = source.take(MAX_ANSWER_LEN as u64 + 1);
    source.read_to_end(&mut answer).await.map_err(Ended::Pipe)?;
    if answer.len() > MAX_ANSWER_LEN {
        return Err(Ended::TooLong);
    }
    Ok(answer)
}

/// Ends a program and what it started, and takes note of its end, so that no zombie stays.
async fn end(child: &mut Child) {
    #[cfg(unix)]
    if let Some(group) = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(rustix::process::Pid::from_raw)
    {
        // INVARIANT: nobody has waited for the child yet, so the group's number is still its own.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = timeout(GRACE, child.kill()).await;
}

/// The last octets of a stream.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    async fn fill(&mut self, mut source: impl AsyncRead + Unpin) -> Result<(), Ended> {
        let mut piece = vec![0; TAIL_LEN];
        loop {
            let length = source.read(&mut piece).await.map_err(Ended::Pipe)?;
            if length == 0 {
                return Ok(());
            }
            self.0.extend(piece.iter().take(length));
            let over = self.0.len().saturating_sub(TAIL_LEN);
            self.0.drain(..over);
        }
    }

    fn said(&self) -> Said {
        Said::new(&self.0)
    }
}

/// Most octets of standard error that are kept.
const TAIL_LEN: usize = 4096;

/// How long a killed program may take to be gone.
const GRACE: Duration = Duration::from_secs(2);
