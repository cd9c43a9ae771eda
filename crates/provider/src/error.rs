use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Why a key provider cannot be asked, or what became of asking it. The messages do not name the provider.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// The configuration does not have it.
    #[error("not configured")]
    NotConfigured,

    /// Its name is none.
    #[error(
        "names of key providers are up to 64 letters, digits, `.`, `_` and `-`, and begin with a letter or a digit"
    )]
    BadName,

    /// Its name is taken.
    #[error("this name is reserved and cannot be that of a key provider")]
    ReservedName,

    /// Its parameters are too long.
    #[error("parameters longer than {limit} octets")]
    LongParameters {
        /// The limit.
        limit: usize,
    },

    /// It is reached in a way that we do not know.
    #[error("`{transport}` is not supported, only `cmd` and `grpc` are")]
    Unsupported {
        /// The member of the configuration.
        transport: &'static str,
    },

    /// The configuration does not say how it is reached.
    #[error("its configuration has neither `cmd` nor `grpc`")]
    NoTransport,

    /// Its command has no name.
    #[error("its configuration names no program in `cmd.path`")]
    NoProgram,

    /// Its address is none.
    #[error("`{target}` is no address: `HOST:PORT`, `dns:///HOST:PORT` and `unix:///PATH` are")]
    BadTarget {
        /// What was given, cut.
        target: Box<str>,
    },

    /// Its address is that of another machine, and there is no TLS.
    #[error(
        "`{target}` is not on this machine, and without `grpc-tls` layer keys would travel in clear"
    )]
    PlainText {
        /// The address.
        target: Box<str>,
    },

    /// The configuration says that anybody may answer.
    #[error(
        "`insecure-skip-verify` is not supported: layer keys would go to whoever answers; name its authority in `root-ca-file`"
    )]
    SkipVerify,

    /// Its TLS settings cannot be used.
    #[error("cannot use its TLS configuration: {reason}")]
    Tls {
        /// What is wrong.
        reason: Box<str>,
    },

    /// A file of its TLS settings cannot be read.
    #[error("cannot read `{}`", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },

    /// Calls cannot be made at all.
    #[error("cannot start")]
    Runtime(#[source] io::Error),

    /// The program could not be started.
    #[error("cannot start `{program}`")]
    CannotStart {
        /// Its path, as configured.
        program: Box<str>,
        /// Why.
        #[source]
        source: io::Error,
    },

    /// The program ended with an error.
    #[error("{status}{said}")]
    Failed {
        /// Its exit status.
        status: Box<str>,
        /// What it wrote on standard error.
        said: Said,
    },

    /// No answer came in time.
    #[error("no answer within {} s{said}", .after.as_secs_f32())]
    TimedOut {
        /// The limit.
        after: Duration,
        /// What it wrote on standard error.
        said: Said,
    },

    /// No answer came in time so often that it is not asked again.
    #[error("no answer {times} times in a row, not asked again")]
    Silent {
        /// How often.
        times: usize,
    },

    /// The pipe to or from the program broke.
    #[error("cannot talk to it{said}")]
    Pipe {
        /// What it wrote on standard error.
        said: Said,
        /// Why.
        #[source]
        source: io::Error,
    },

    /// The connection could not be made, or broke.
    #[error("cannot reach `{target}`: {reason}")]
    Connection {
        /// The address.
        target: Box<str>,
        /// Why.
        reason: Box<str>,
    },

    /// It answered with an error.
    #[error("{code}{said}")]
    Refused {
        /// The gRPC status.
        code: GrpcCode,
        /// The text that came with it.
        said: Said,
    },

    /// Its answer is longer than any that makes sense.
    #[error("answer longer than {limit} octets{said}")]
    TooLong {
        /// The limit.
        limit: usize,
        /// What it wrote on standard error.
        said: Said,
    },

    /// Its answer is none.
    #[error("malformed answer: {reason}{said}")]
    Malformed {
        /// What is wrong with it.
        reason: Box<str>,
        /// What it wrote on standard error.
        said: Said,
    },
}

impl ProviderError {
    /// Returns whether the provider was not reached, so that asking later or elsewhere may help.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Runtime(_)
            | Self::CannotStart { .. }
            | Self::TimedOut { .. }
            | Self::Silent { .. }
            | Self::Connection { .. } => true,
            Self::Refused { code, .. } => code.is_unavailable(),
            _ => false,
        }
    }

    /// Returns the message with those of all causes, on one line.
    pub(crate) fn whole(&self) -> Box<str> {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line.into()
    }
}

/// What a provider says about itself: cut, on one line, and free of control characters.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Said(Box<str>);

impl Said {
    /// Takes the end of a text, where programs put what matters.
    pub fn new(octets: &[u8]) -> Self {
        let text = String::from_utf8_lossy(octets);
        let text: String = text
            .chars()
            .map(|c| if is_harmless(c) { c } else { ' ' })
            .collect();
        let words: Vec<&str> = text.split_whitespace().collect();
        let line = words.join(" ");
        let count = line.chars().count();
        match count.checked_sub(Self::MAX_CHARS) {
            Some(over @ 1..) => Self(
                std::iter::once('…')
                    .chain(line.chars().skip(over))
                    .collect(),
            ),
            _ => Self(line.into()),
        }
    }

    /// Returns the text alone.
    pub(crate) fn text(self) -> Box<str> {
        self.0
    }

    /// Most characters that are kept.
    pub const MAX_CHARS: usize = 512;
}

/// Returns whether a character does nothing to a terminal, nor to the order of the text around it.
fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, "; it says: {}", self.0)
    }
}

/// A status of gRPC (grpc.github.io, "Status codes and their use in gRPC").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GrpcCode(pub u32);

impl GrpcCode {
    /// The call succeeded.
    pub const OK: Self = Self(0);
    /// The request makes no sense.
    pub const INVALID_ARGUMENT: Self = Self(3);
    /// It took too long.
    pub const DEADLINE_EXCEEDED: Self = Self(4);
    /// No key fits.
    pub const PERMISSION_DENIED: Self = Self(7);
    /// It was not set up for this.
    pub const FAILED_PRECONDITION: Self = Self(9);
    /// Too much was asked for.
    pub const RESOURCE_EXHAUSTED: Self = Self(8);
    /// No such method.
    pub const UNIMPLEMENTED: Self = Self(12);
    /// Something is wrong with the server.
    pub const INTERNAL: Self = Self(13);
    /// The server, or somebody it asks, is not there.
    pub const UNAVAILABLE: Self = Self(14);

    fn is_unavailable(self) -> bool {
        matches!(
            self,
            Self::DEADLINE_EXCEEDED | Self::RESOURCE_EXHAUSTED | Self::UNAVAILABLE
        )
    }
}

impl std::fmt::Display for GrpcCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const NAMES: [&str; 17] = [
            "OK",
            "CANCELLED",
            "UNKNOWN",
            "INVALID_ARGUMENT",
            "DEADLINE_EXCEEDED",
            "NOT_FOUND",
            "ALREADY_EXISTS",
            "PERMISSION_DENIED",
            "RESOURCE_EXHAUSTED",
            "FAILED_PRECONDITION",
            "ABORTED",
            "OUT_OF_RANGE",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
            "UNAUTHENTICATED",
        ];
        let name = usize::try_from(self.0)
            .ok()
            .and_then(|code| NAMES.get(code));
        match name {
            Some(name) => write!(f, "gRPC status {name}"),
            None => write!(f, "gRPC status {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_says_is_one_harmless_line() {
        let text = b"Traceback:\n\tsomething\r\n\x1b[31mred\x1b[0m \xff \xe2\x80\xae end\n\n";
        let said = Said::new(text).to_string();
        assert_eq!(
            said,
            "; it says: Traceback: something [31mred [0m \u{fffd} end"
        );
        assert_eq!(Said::new(b" \n\0").to_string(), "");
    }

    #[test]
    fn of_a_long_text_the_end_is_kept() {
        let mut text = "x".repeat(10_000);
        text.push_str("the cause");
        let said = Said::new(text.as_bytes());
        assert_eq!(said.0.chars().count(), Said::MAX_CHARS + 1);
        assert!(said.0.starts_with("…x") && said.0.ends_with("xthe cause"));
    }
}
