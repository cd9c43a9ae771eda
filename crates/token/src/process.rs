//! The parent's side: starting the worker, asking it, and not waiting for ever.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::TokenError;
use crate::error::printable;
use crate::protocol::{Request, Response};
use crate::wire::Message;

/// How the worker is started: a program that calls [`work`](crate::work) when it is given these arguments.
#[derive(Clone, Debug)]
pub struct WorkerCommand {
    /// The program.
    pub program: PathBuf,
    /// What makes it a worker.
    pub arguments: Vec<String>,
    /// How long one answer may take.
    pub timeout: Duration,
    /// Environment variables that it does not get: those that hold keys and passwords of others.
    pub hidden: Vec<OsString>,
}

impl WorkerCommand {
    /// How long an answer may take unless something else is said: a slow token, or a PIN typed on its own pad.
    pub const TIMEOUT: Duration = Duration::from_secs(30);
}

/// A running worker with its module. Its first failure is its last.
pub(crate) struct Worker {
    timeout: Duration,
    state: Mutex<Result<Running, TokenError>>,
}

struct Running {
    child: Child,
    questions: Option<ChildStdin>,
    answers: Receiver<Message>,
}

impl Worker {
    /// Starts a process with the module's environment, and has it load the module.
    pub(crate) fn start(
        command: &WorkerCommand,
        environment: &BTreeMap<Box<str>, Box<str>>,
        module: &Path,
    ) -> Result<Self, TokenError> {
        let module = module.to_str().ok_or_else(|| TokenError::ModuleLoad {
            reason: "its path is not UTF-8".into(),
        })?;
        let failed = |error: std::io::Error| TokenError::Start {
            reason: printable(&error.to_string()),
        };
        let variables = environment.iter().map(|(name, value)| (&**name, &**value));
        let mut process = Command::new(&command.program);
        for name in &command.hidden {
            process.env_remove(name);
        }
        let mut child = process
            .args(&command.arguments)
            .envs(variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let questions = child.stdin.take();
        let (sender, answers) = mpsc::sync_channel(1);
        if let Some(mut output) = child.stdout.take() {
            thread::spawn(move || {
                while let Ok(Some(message)) = Message::read(&mut output) {
                    if sender.send(message).is_err() {
                        return;
                    }
                }
            });
        }
        let worker = Self {
            timeout: command.timeout,
            state: Mutex::new(Ok(Running {
                child,
                questions,
                answers,
            })),
        };
        let module = module.to_owned();
        match worker.ask(&Request::Load { module })? {
            Response::Done => Ok(worker),
            _ => Err(TokenError::Protocol),
        }
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&self, request: &Request) -> Result<Response, TokenError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let running = state.as_mut().map_err(|error| error.clone())?;
        match running.ask(request, self.timeout) {
            Ok(Response::Failed(error)) => Err(error),
            Ok(response) => Ok(response),
            Err(error) => {
                *state = Err(error.clone());
                Err(error)
            }
        }
    }
}

impl Running {
    fn ask(&mut self, request: &Request, timeout: Duration) -> Result<Response, TokenError> {
        let questions = self.questions.as_mut().ok_or(TokenError::Protocol)?;
        if request.to_message().write(questions).is_err() {
            return Err(self.crashed());
        }
        match self.answers.recv_timeout(timeout) {
            Ok(message) => Response::from_message(&message).ok_or(TokenError::Protocol),
            Err(RecvTimeoutError::Disconnected) => Err(self.crashed()),
            Err(RecvTimeoutError::Timeout) => {
                let _ = self.child.kill();
                Err(TokenError::Timeout {
                    seconds: timeout.as_secs(),
                })
            }
        }
    }

    /// Says how the process ended; one that goes on, and closed its pipe, is ended.
    fn crashed(&mut self) -> TokenError {
        for _ in 0..PATIENCE {
            if let Ok(Some(status)) = self.child.try_wait() {
                return TokenError::Crashed {
                    how: status.to_string().into(),
                };
            }
            thread::sleep(PAUSE);
        }
        let _ = self.child.kill();
        TokenError::Protocol
    }
}

impl Drop for Running {
    /// Lets the module end its sessions, and ends the process if it does not end by itself.
    fn drop(&mut self) {
        if let Some(mut questions) = self.questions.take() {
            let _ = questions.flush();
        }
        for _ in 0..PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(PAUSE);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Worker(..)")
    }
}

/// How often, and after which pause, it is looked whether a process has ended: three seconds in all.
const PATIENCE: u32 = 300;
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    fn started(script: &str) -> TokenError {
        let command = WorkerCommand {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            timeout: Duration::from_secs(2),
            hidden: Vec::new(),
        };
        let worker = Worker::start(&command, &BTreeMap::new(), Path::new("/m.so"));
        worker.map(|_| ()).unwrap_err()
    }

    #[test]
    fn a_worker_that_hangs_is_stopped() {
        let error = started("exec sleep 600");
        assert_eq!(error, TokenError::Timeout { seconds: 2 });
    }

    #[test]
    fn a_worker_that_crashes_is_said_to_have() {
        let TokenError::Crashed { how } = started("kill -SEGV $$") else {
            panic!("did not crash");
        };
        assert!(how.contains("11"), "{how}");
        let TokenError::Crashed { how } = started("exit 3") else {
            panic!("did not crash");
        };
        assert!(how.contains('3'), "{how}");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        // A message of an unknown tag, an answer to something else, and no message at all.
        let error = started(r"printf '\0\0\0\1\11'; exec sleep 600");
        assert_eq!(error, TokenError::Protocol);
        let error = started(r"printf '\0\0\0\1\4'; exec sleep 600");
        assert_eq!(error, TokenError::Protocol);
        let error = started("echo Hello, world");
        assert!(matches!(error, TokenError::Crashed { .. }), "{error:?}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let command = WorkerCommand {
            program: "/no/such/program".into(),
            arguments: Vec::new(),
            timeout: Duration::from_secs(1),
            hidden: Vec::new(),
        };
        let error = Worker::start(&command, &BTreeMap::new(), Path::new("/m.so")).err();
        assert!(matches!(error, Some(TokenError::Start { .. })), "{error:?}");
    }
}
