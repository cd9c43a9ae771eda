//! The two streams: standard output carries the result and nothing else, standard error everything for people.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use serde_json::json;

use crate::args::{Global, ProgressMode};
use crate::exit::{Code, Failure};
use crate::text::printable;

/// How results and messages are written.
#[derive(Debug)]
pub(crate) struct Console {
    pub(crate) form: Form,
    pub(crate) progress: Shown,
    verbosity: Verbosity,
    /// Owns the lower lines of the terminal while bars are shown; messages go above them.
    bars: MultiProgress,
}

/// Whether people or programs read the result.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    Text,
    Json,
}

/// How progress is shown, once `auto` has been decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shown {
    Bars,
    Plain,
    Json,
    Nothing,
}

/// How much is said besides.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Verbosity {
    Quiet,
    Normal,
    Verbose,
}

impl Console {
    pub(crate) fn new(global: &Global) -> Self {
        let verbosity = match (global.quiet, global.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        let progress = match global.progress {
            _ if global.quiet => Shown::Nothing,
            ProgressMode::Auto if io::stderr().is_terminal() => Shown::Bars,
            // Whoever reads JSON from standard error expects no prose there.
            ProgressMode::Auto if global.json => Shown::Nothing,
            ProgressMode::Auto | ProgressMode::Plain => Shown::Plain,
            ProgressMode::Json => Shown::Json,
            ProgressMode::None => Shown::Nothing,
        };
        Self {
            form: if global.json { Form::Json } else { Form::Text },
            progress,
            verbosity,
            bars: MultiProgress::new(),
        }
    }

    /// Writes the result.
    ///
    /// A reader that has gone away (`sealift … | head`) is no failure: it has what it wanted.
    pub(crate) fn result(&self, octets: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(octets).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(Code::Other, "cannot write to standard output").because(&error))
            }
            _ => Ok(()),
        }
    }

    /// Writes the result as one line of JSON.
    pub(crate) fn result_json(&self, value: &serde_json::Value) -> Result<(), Failure> {
        self.result(format!("{value}\n").as_bytes())
    }

    /// Says something worth knowing.
    pub(crate) fn note(&self, text: &str) {
        if self.verbosity > Verbosity::Quiet {
            self.message("note", text);
        }
    }

    /// Says something for who wants to know everything.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbosity > Verbosity::Normal {
            self.message("detail", text);
        }
    }

    /// Says something that should be changed; not even `--quiet` silences it.
    pub(crate) fn warn(&self, text: &str) {
        self.message("warning", text);
    }

    /// Shows why the command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.form == Form::Json {
            let value = json!({
                "error": failure.what,
                "causes": failure.causes,
                "hint": failure.hint,
                "exit": failure.code as u8,
            });
            self.line(&value.to_string());
            return;
        }
        self.line(&format!("{} {}", self.emphasis("error:"), failure.what));
        for cause in &failure.causes {
            self.line(&format!("cause: {cause}"));
        }
        if let Some(hint) = &failure.hint {
            self.line(&format!("hint: {hint}"));
        }
    }

    /// Writes one line to standard error, above any bars.
    pub(crate) fn line(&self, line: &str) {
        self.bars.suspend(|| {
            // There is nobody left to tell when standard error is gone.
            let _ = writeln!(io::stderr().lock(), "{line}");
        });
    }

    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    fn message(&self, kind: &str, text: &str) {
        let text = printable(text);
        match (self.form, self.progress) {
            (Form::Json, _) | (_, Shown::Json) => self.line(&json!({ kind: text }).to_string()),
            _ => self.line(&format!("{kind}: {text}")),
        }
    }

    /// Red and bold on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
    fn emphasis(&self, word: &str) -> String {
        let colourless = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if io::stderr().is_terminal() && !colourless {
            format!("\u{1b}[1;31m{word}\u{1b}[0m")
        } else {
            word.to_owned()
        }
    }
}
