//! How a run ends: an exit code, and where it failed an error, its causes and a hint.

use std::error::Error;
use std::io;

use sealift_image::{ImageError, Kind};
use sealift_keywrap::{Outcome, UnwrapError};
use sealift_layer::{KeyReport, OpenError};

use crate::text::{printable, redacted};

/// What the process tells its caller; the numbers never change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Code {
    /// None of the others.
    Other = 1,
    /// The command line asks for something that does not exist.
    Usage = 2,
    /// No key opens a layer.
    NoKeyFits = 3,
    /// Something is not what it claims to be.
    Integrity = 4,
    /// The network or the registry failed.
    Network = 5,
    /// Somebody who decides has said no, or not yet.
    Denied = 6,
    /// The image or a file is not there.
    NotFound = 7,
    /// Something was asked, and there is nothing to do.
    NothingToDo = 8,
}

/// Why a command failed, ready to be shown.
///
/// Texts are free of credentials, URL queries and terminal control sequences, wherever they came from.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) causes: Vec<String>,
    pub(crate) hint: Option<String>,
    pub(crate) code: Code,
}

impl Failure {
    pub(crate) fn new(code: Code, what: impl Into<String>) -> Self {
        Self {
            what: clean(&what.into()),
            causes: Vec::new(),
            hint: None,
            code,
        }
    }

    /// Takes the message of an error, and as causes those of its sources.
    pub(crate) fn of(code: Code, error: &(dyn Error + 'static)) -> Self {
        let mut failure = Self::new(code, error.to_string());
        failure.causes = sources(error.source());
        failure
    }

    /// Takes an error as the first cause.
    pub(crate) fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        self.causes = sources(Some(error));
        self
    }

    /// Adds what the user can do: a command or a setting.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(clean(&hint.into()));
        self
    }

    /// Returns what happened and why, without the hint.
    pub(crate) fn in_one_line(&self) -> String {
        let because = self.causes.iter().map(|cause| format!(": {cause}"));
        format!("{}{}", self.what, because.collect::<String>())
    }

    /// Adds a hint unless there is one.
    pub(crate) fn or_hint(self, hint: Option<&str>) -> Self {
        match hint {
            Some(hint) if self.hint.is_none() => self.hint(hint),
            _ => self,
        }
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        let code = match &error {
            ImageError::Registry(sealift_registry::Error::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Code::NotFound
            }
            _ => code_of(error.kind()),
        };
        let failure = Self::of(code, &error);
        let hint = match &error {
            ImageError::NotSealable { .. } => Some(
                "choose the layers to seal with --layer; --include-nondistributable adds layers that registries must not store",
            ),
            ImageError::TooLong { .. } => Some(
                "seal for fewer recipients, fewer platforms (--platform) or with --original none",
            ),
            ImageError::LastRecipient { .. } => {
                Some("add another recipient first; to get rid of a sealed image, delete it")
            }
            ImageError::Embedded { .. } => Some(
                "--rewrite-blobs takes it out there, too, which uploads the layer again; --annotations-only leaves it in",
            ),
            ImageError::SharedElement { .. } => Some(
                "the others go with it: `recipients remove --id ELEMENT`, after `recipients add` for those who stay",
            ),
            ImageError::Moved { .. } => Some("run the same command again"),
            ImageError::Unproven { .. } => {
                Some("do not use this image before one of those who are asked for has signed it")
            }
            ImageError::Signed { .. } => Some(
                "--signatures drop leaves them behind, detach takes them along for the image as `decrypt` restores it, resign leaves them behind and says how to sign the sealed image",
            ),
            ImageError::ConfigNotSealable { .. } => {
                Some("seal an image whose layers are all in clear, or choose with --platform")
            }
            ImageError::ConfigNeedsLayer { .. } => Some("open all layers, or the others first"),
            ImageError::SeveralImages { .. } => Some("choose one with --platform"),
            ImageError::NoSuchFile { .. } => Some("`sealift ls -R` lists all files"),
            ImageError::NotAFile {
                kind: "directory", ..
            } => Some("`sealift ls` lists it"),
            ImageError::Registry(error) => hint_of(error),
            ImageError::Open {
                source: OpenError::NoKey { report, .. },
                ..
            } if code == Code::NoKeyFits && lacks_certificate(report) => Some(
                "give the certificate of the private key, too: -k key.pem -k cert.pem; `sealift inspect` shows its issuer and serial number",
            ),
            _ => hint_of_kind(error.kind()),
        };
        failure.or_hint(hint)
    }
}

impl From<sealift_registry::Error> for Failure {
    fn from(error: sealift_registry::Error) -> Self {
        ImageError::from(error).into()
    }
}

fn code_of(kind: Kind) -> Code {
    match kind {
        Kind::Other => Code::Other,
        Kind::Usage => Code::Usage,
        Kind::NoKeyFits => Code::NoKeyFits,
        Kind::Integrity => Code::Integrity,
        Kind::Network => Code::Network,
        Kind::Denied => Code::Denied,
        Kind::NotFound => Code::NotFound,
        Kind::NothingToDo => Code::NothingToDo,
    }
}

fn hint_of(error: &sealift_registry::Error) -> Option<&'static str> {
    use sealift_registry::Error;
    match error {
        Error::Unauthorized { .. } => Some(
            "log in with `podman login` or `docker login`, or set SEALIFT_CREDS to user:password",
        ),
        Error::Denied { .. } => {
            Some("ask the owner of the repository for access, or use other credentials")
        }
        Error::Network { .. } => {
            Some("check the address and the network, then run the same command again")
        }
        Error::NotFound { .. } => Some("check the reference; `sealift --help` shows the forms"),
        Error::Mismatch { .. } => {
            Some("do not use this image; fetch it again from where it was built")
        }
        _ => None,
    }
}

/// Returns whether a private key might have opened the layer if its certificate had been given.
fn lacks_certificate(report: &KeyReport) -> bool {
    let outcomes = report.seen.iter().map(|seen| &seen.report.outcome);
    outcomes
        .into_iter()
        .any(|outcome| *outcome == Outcome::Failed(UnwrapError::NoCertificate))
}

fn hint_of_kind(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::NoKeyFits => {
            Some("`sealift inspect` shows the recipients; give a matching private key with -k")
        }
        Kind::Usage => Some("`sealift inspect` shows the layers"),
        Kind::NotFound => Some("`sealift inspect` shows the platforms"),
        Kind::Integrity => Some("do not use this image; fetch it again from where it was built"),
        Kind::Denied => {
            Some("ask the operators of the key holders; the reason is in their audit record")
        }
        Kind::Other | Kind::Network | Kind::NothingToDo => None,
    }
}

/// The messages of a chain of errors, each once.
fn sources(mut error: Option<&(dyn Error + 'static)>) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    while let Some(cause) = error {
        let text = clean(&cause.to_string());
        if causes.len() < MAX_CAUSES && causes.last() != Some(&text) {
            causes.push(text);
        }
        error = cause.source();
    }
    causes
}

fn clean(text: &str) -> String {
    printable(&redacted(text))
}

/// Most causes that are shown; a chain is never that long unless it runs in circles.
const MAX_CAUSES: usize = 16;

#[cfg(test)]
mod tests {
    use sealift_keywrap::{ElementReport, Scheme};
    use sealift_layer::SeenElement;
    use sealift_oci::Digest;

    use super::*;

    fn failure(error: UnwrapError) -> Failure {
        let report = ElementReport {
            scheme: Scheme::sealift(),
            recipients: Vec::new(),
            outcome: Outcome::Failed(error),
        };
        let seen = vec![SeenElement { told: None, report }];
        let error = ImageError::Open {
            digest: Digest::sha256(b"layer"),
            source: OpenError::NoKey {
                layer: "layer".into(),
                report: KeyReport {
                    seen,
                    faults: Vec::new(),
                },
            },
        };
        error.into()
    }

    #[test]
    fn what_key_holders_say_decides_the_exit_code() {
        let denied = failure(UnwrapError::Denied {
            by: "fra".into(),
            code: "Forbidden".into(),
        });
        assert_eq!(denied.code as i32, 6);
        let causes = denied.causes.join("; ");
        let expected = "denied by key holder `fra`: Forbidden";
        assert!(causes.contains(expected), "{causes}");
        let hint = denied.hint.unwrap();
        assert!(
            hint.starts_with("ask the operators of the key holders"),
            "{hint}"
        );

        let reason = "no agent".into();
        assert_eq!(failure(UnwrapError::Unavailable { reason }).code as i32, 5);
        assert_eq!(failure(UnwrapError::NotForThisKey).code as i32, 3);
    }
}
