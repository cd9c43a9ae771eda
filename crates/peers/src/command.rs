//! Running a program and saying everything about it when it does not do what it should.

use std::ffi::OsStr;
use std::fmt;
use std::process::{Command, Stdio};

/// What a program did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// The command line, for messages.
    pub command: String,
    /// Exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Outcome {
    /// Passes if the program exited with 0.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        self.exited(0)
    }

    /// Passes if the program exited with this status.
    #[track_caller]
    pub fn exited(self, code: i32) -> Self {
        assert!(
            self.code == Some(code),
            "expected exit status {code}\n{self}"
        );
        self
    }

    /// Passes if standard error contains every one of these texts.
    #[track_caller]
    pub fn complained(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                self.stderr.contains(text),
                "expected {text:?} on standard error\n{self}"
            );
        }
        self
    }

    /// Standard output without the white space around it.
    pub fn answer(&self) -> &str {
        self.stdout.trim()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}", self.command)?;
        writeln!(f, "exit status: {:?}", self.code)?;
        writeln!(f, "stdout: {}", self.stdout.trim_end())?;
        write!(f, "stderr: {}", self.stderr.trim_end())
    }
}

/// Runs a command to its end, with nothing on standard input unless the caller set something.
#[track_caller]
pub fn run(command: &mut Command) -> Outcome {
    let line = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ");
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot start `{line}`: {error}"));
    Outcome {
        command: line,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a program with these arguments, which must succeed, and returns what it printed.
#[track_caller]
pub fn call<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: &[A]) -> String {
    let outcome = run(Command::new(program).args(arguments).stdin(Stdio::null()));
    outcome.succeeded().answer().to_owned()
}
