use std::fmt;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use thiserror::Error;

use crate::key::PublicKey;
use crate::roots::TrustedRoots;

/// Whose signatures prove an image. Nobody's until somebody is named.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    /// Keys whose signatures count.
    pub keys: Vec<PublicKey>,
    /// Identities of certificates whose signatures count.
    pub identities: Vec<CertificateIdentity>,
    /// Certificate authorities and logs by which those are checked; without them no certificate counts.
    pub roots: Option<Arc<TrustedRoots>>,
    /// Whether signatures of keys count only if a transparency log has them. Those of certificates always need one: without
    /// it nobody knows whether a certificate that was valid for minutes was valid then.
    pub log: TransparencyLog,
    /// How many different signers must have signed; 0 counts as 1.
    pub signers: usize,
}

/// What is asked of a key's signature besides that it fits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TransparencyLog {
    /// Nothing.
    #[default]
    Optional,
    /// That a trusted log proves to have it.
    Required,
}

/// The identity in a certificate, and who vouched for it.
#[derive(Clone, Debug)]
pub struct CertificateIdentity {
    /// The subject alternative name: a mail address, or the URI of a workflow.
    pub identity: Pattern,
    /// The OpenID Connect issuer (extension 1.3.6.1.4.1.57264.1.8).
    pub issuer: Pattern,
}

/// A text, or all texts that match a regular expression from their first to their last character.
#[derive(Clone, Debug)]
pub struct Pattern(Inner);

#[derive(Clone, Debug)]
enum Inner {
    Exact(Box<str>),
    Matching { expression: Regex, shown: Box<str> },
}

impl Pattern {
    /// Takes a text as it is.
    pub fn exact(text: &str) -> Self {
        Self(Inner::Exact(text.into()))
    }

    /// Takes a regular expression (syntax of the crate `regex`). It must match the whole text: unlike cosign's, one that was
    /// meant for `https://host/org/` does not match `https://evil.example/?https://host/org/`.
    ///
    /// # Errors
    /// [`PatternError`]
    pub fn matching(expression: &str) -> Result<Self, PatternError> {
        let compile = |text: &str| {
            let built = RegexBuilder::new(text).size_limit(MAX_COMPILED).build();
            built.map_err(|error| PatternError {
                reason: error.to_string().into(),
            })
        };
        // On its own first, so that no parenthesis in it opens what is put around it.
        compile(expression)?;
        Ok(Self(Inner::Matching {
            expression: compile(&format!(r"\A(?:{expression})\z"))?,
            shown: expression.into(),
        }))
    }

    /// Returns whether a text is meant.
    pub fn matches(&self, text: &str) -> bool {
        match &self.0 {
            Inner::Exact(exact) => &**exact == text,
            Inner::Matching { expression, .. } => expression.is_match(text),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Exact(exact) => f.write_str(exact),
            Inner::Matching { shown, .. } => write!(f, "/{shown}/"),
        }
    }
}

/// A regular expression that is none, or that would fill the memory.
#[derive(Debug, Error)]
#[error("not a regular expression: {reason}")]
pub struct PatternError {
    reason: Box<str>,
}

/// Whose signature was found to be good.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Signer {
    /// A key, by its fingerprint.
    Key(Box<str>),
    /// Somebody for whom a certificate authority vouched.
    Identity {
        /// Subject alternative name of the certificate.
        identity: Box<str>,
        /// Who vouched for it at the authority.
        issuer: Box<str>,
    },
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(fingerprint) => write!(f, "key {fingerprint}"),
            Self::Identity { identity, issuer } => write!(f, "{identity} ({issuer})"),
        }
    }
}

/// Most octets of a compiled regular expression.
const MAX_COMPILED: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_the_whole_text_or_not_at_all() {
        let pattern = Pattern::matching("https://github.com/example/.*").unwrap();
        assert!(pattern.matches("https://github.com/example/app"));
        for other in [
            "https://evil.example/?https://github.com/example/app",
            " https://github.com/example/app",
            "https://github.com/example/app\nhttps://evil.example",
            "https://github.com/exampl",
            "",
        ] {
            assert!(!pattern.matches(other), "{other:?}");
        }
        let either = Pattern::matching("a|b").unwrap();
        assert!(either.matches("a") && either.matches("b"));
        assert!(!either.matches("ab") && !either.matches("bx") && !either.matches("xa"));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for broken in ["(", "a)|(?:b", "[", "(?:a){1000}{1000}{1000}"] {
            assert!(Pattern::matching(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn an_exact_text_is_no_expression() {
        let pattern = Pattern::exact("a.c");
        assert!(pattern.matches("a.c"));
        assert!(!pattern.matches("abc"));
    }
}
