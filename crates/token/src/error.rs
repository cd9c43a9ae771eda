use thiserror::Error;

/// Why a key in a token could not be used. Nothing here tells a PIN.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum TokenError {
    /// Nobody said which modules may be loaded.
    #[error("nothing says which PKCS #11 modules may be loaded")]
    NoPolicy,
    /// The list of modules could not be read.
    #[error("cannot use `{path}`, which lists the PKCS #11 modules that may be loaded: {reason}")]
    Policy {
        /// The file.
        path: Box<str>,
        /// What is wrong with it.
        reason: Box<str>,
    },
    /// The URI names no module.
    #[error("the URI names no PKCS #11 module")]
    NoModule,
    /// The module is not there.
    #[error("PKCS #11 module `{name}` was not found in {searched}")]
    ModuleNotFound {
        /// The name or path asked for.
        name: Box<str>,
        /// Where it was looked for.
        searched: Box<str>,
    },
    /// The module is there, and not on the list.
    #[error("PKCS #11 module `{path}` is not among those that may be loaded")]
    ModuleNotAllowed {
        /// Its path, with symbolic links resolved.
        path: Box<str>,
    },
    /// Everybody on the machine can change the module or the list.
    #[error("`{path}` can be changed by other users of this machine")]
    Writable {
        /// The file.
        path: Box<str>,
    },
    /// The module is no module, or does not start.
    #[error("PKCS #11 module cannot be loaded: {reason}")]
    ModuleLoad {
        /// What the loader or the module said.
        reason: Box<str>,
    },
    /// No token fits the URI.
    #[error("no token fits `{wanted}`; there: {there}")]
    NoSuchToken {
        /// The URI.
        wanted: Box<str>,
        /// The labels of those that are there.
        there: Box<str>,
    },
    /// More than one token fits: a PIN is given to one only.
    #[error("several tokens fit `{wanted}`: {there}")]
    SeveralTokens {
        /// The URI.
        wanted: Box<str>,
        /// Their labels and serial numbers.
        there: Box<str>,
    },
    /// No key fits the URI.
    #[error("no {class} key fits `{wanted}`; there: {there}")]
    NoSuchKey {
        /// Private or public.
        class: &'static str,
        /// The URI.
        wanted: Box<str>,
        /// The labels and identifiers of those that are there.
        there: Box<str>,
    },
    /// More than one key fits.
    #[error("several {class} keys fit `{wanted}`: {there}")]
    SeveralKeys {
        /// Private or public.
        class: &'static str,
        /// The URI.
        wanted: Box<str>,
        /// Their labels and identifiers.
        there: Box<str>,
    },
    /// The token wants a PIN and none was given.
    #[error("the token wants a PIN, and none was given")]
    PinMissing,
    /// The token refused the PIN; it is not tried again.
    #[error("wrong PIN; it was tried once and is not tried again")]
    PinWrong,
    /// The token takes no PIN any more.
    #[error("the token's PIN is locked")]
    PinLocked,
    /// Another wrong PIN would, or might, lock the token.
    #[error(
        "the token remembers a wrong PIN, and another one could lock it; the PIN was not tried"
    )]
    PinAtRisk,
    /// The token has no user PIN yet.
    #[error("the token has no user PIN yet")]
    PinNotSet,
    /// The key is of a kind that cannot be used.
    #[error("the key cannot be used: {reason}")]
    Key {
        /// Why.
        reason: Box<str>,
    },
    /// The token does not perform an operation.
    #[error("the token does not offer {name}")]
    Mechanism {
        /// The operation.
        name: Box<str>,
    },
    /// The token or its module failed.
    #[error("the token failed: {reason}")]
    Device {
        /// What it said.
        reason: Box<str>,
    },
    /// The process for the module could not be started.
    #[error("cannot start the process that PKCS #11 modules run in: {reason}")]
    Start {
        /// What the system said.
        reason: Box<str>,
    },
    /// The module took its process down.
    #[error("the PKCS #11 module crashed ({how})")]
    Crashed {
        /// How the process ended.
        how: Box<str>,
    },
    /// The module did not answer.
    #[error("the PKCS #11 module did not answer within {seconds} s and was stopped")]
    Timeout {
        /// How long it was waited for.
        seconds: u64,
    },
    /// What came over the pipe is no answer.
    #[error("the process of the PKCS #11 module gave no sensible answer")]
    Protocol,
}

impl TokenError {
    /// Returns the setting or command that helps, where there is one.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoPolicy => NO_POLICY,
            Self::NoModule => {
                "append ?module-path=/PATH/TO/MODULE.so or ?module-name=NAME to the URI"
            }
            Self::ModuleNotAllowed { .. } => {
                "add its path to `allowed-module-paths` in ocicrypt.conf, if you trust it to run with your rights"
            }
            Self::ModuleNotFound { .. } => "module-path= in the URI names the file itself",
            Self::Writable { .. } => "chmod o-w FILE",
            Self::NoSuchToken { .. } => {
                "`pkcs11-tool --module MODULE --list-token-slots` shows tokens; the module may need variables in `module: env:` of a key file"
            }
            Self::SeveralTokens { .. } => "add serial= or slot-id= to the URI",
            Self::NoSuchKey { .. } | Self::SeveralKeys { .. } => {
                "object= and id= in the URI choose a key"
            }
            Self::PinMissing => "append ?pin-source=/PATH/TO/PINFILE to the URI",
            Self::PinWrong => {
                "correct the PIN before trying again: tokens lock after a few wrong ones"
            }
            Self::PinLocked => "the token's security officer can set a new PIN",
            Self::PinAtRisk => {
                "log in once with the right PIN, for example `pkcs11-tool --login --list-objects`"
            }
            Self::Mechanism { .. } => "seal with --oaep-hash sha1, or use a token that offers it",
            _ => return None,
        })
    }

    /// Returns a tag and two texts for the pipe; `None` for what never comes from a worker.
    pub(crate) fn to_wire(&self) -> Option<(u8, &str, &str)> {
        Some(match self {
            Self::ModuleLoad { reason } => (1, reason, ""),
            Self::NoSuchToken { wanted, there } => (2, wanted, there),
            Self::SeveralTokens { wanted, there } => (3, wanted, there),
            Self::NoSuchKey {
                class: PRIVATE,
                wanted,
                there,
            } => (4, wanted, there),
            Self::NoSuchKey { wanted, there, .. } => (5, wanted, there),
            Self::SeveralKeys {
                class: PRIVATE,
                wanted,
                there,
            } => (6, wanted, there),
            Self::SeveralKeys { wanted, there, .. } => (7, wanted, there),
            Self::PinMissing => (8, "", ""),
            Self::PinWrong => (9, "", ""),
            Self::PinLocked => (10, "", ""),
            Self::PinAtRisk => (11, "", ""),
            Self::PinNotSet => (12, "", ""),
            Self::Key { reason } => (13, reason, ""),
            Self::Mechanism { name } => (14, name, ""),
            Self::Device { reason } => (15, reason, ""),
            _ => return None,
        })
    }

    pub(crate) fn from_wire(tag: u8, one: &str, other: &str) -> Self {
        let (one, other): (Box<str>, Box<str>) = (printable(one), printable(other));
        match tag {
            1 => Self::ModuleLoad { reason: one },
            2 => Self::NoSuchToken {
                wanted: one,
                there: other,
            },
            3 => Self::SeveralTokens {
                wanted: one,
                there: other,
            },
            4 => Self::NoSuchKey {
                class: PRIVATE,
                wanted: one,
                there: other,
            },
            5 => Self::NoSuchKey {
                class: PUBLIC,
                wanted: one,
                there: other,
            },
            6 => Self::SeveralKeys {
                class: PRIVATE,
                wanted: one,
                there: other,
            },
            7 => Self::SeveralKeys {
                class: PUBLIC,
                wanted: one,
                there: other,
            },
            8 => Self::PinMissing,
            9 => Self::PinWrong,
            10 => Self::PinLocked,
            11 => Self::PinAtRisk,
            12 => Self::PinNotSet,
            13 => Self::Key { reason: one },
            14 => Self::Mechanism { name: one },
            15 => Self::Device { reason: one },
            _ => Self::Protocol,
        }
    }
}

/// Returns a text that a module or a file gave, fit for a terminal.
pub(crate) fn printable(text: &str) -> Box<str> {
    text.chars()
        .take(MAX_TEXT)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

pub(crate) const PRIVATE: &str = "private";
pub(crate) const PUBLIC: &str = "public";

/// Most characters of a text that is not ours.
const MAX_TEXT: usize = 1024;

const NO_POLICY: &str = "write /etc/ocicrypt.conf: `pkcs11: {module-directories: [/usr/lib/softhsm/], allowed-module-paths: \
    [/usr/lib/softhsm/libsofthsm2.so]}`, or set OCICRYPT_CONFIG to such a file, or to `internal` for all modules of the distribution";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_a_worker_survive_the_pipe() {
        for tag in 1..=15 {
            let error = TokenError::from_wire(tag, "one", "other");
            let (back, one, other) = error.to_wire().unwrap();
            assert_eq!(back, tag);
            assert_eq!(TokenError::from_wire(back, one, other), error);
        }
        for tag in [0, 16, 255] {
            assert_eq!(TokenError::from_wire(tag, "", ""), TokenError::Protocol);
        }
    }

    #[test]
    fn what_a_module_says_cannot_move_the_cursor() {
        let error = TokenError::from_wire(15, "a\u{1b}[2Jb\n", "");
        assert_eq!(error.to_string(), "the token failed: a\u{fffd}[2Jb\u{fffd}");
    }
}
