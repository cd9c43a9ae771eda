//! The outcome of one question.

use std::fmt;

use serde::Serialize;

/// Whether something is allowed, and because of what.
///
/// For the audit row. A caller outside learns whether it is allowed and nothing else.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[must_use]
pub struct Decision {
    /// Whether Cedar allows and nothing errored.
    pub allowed: bool,
    /// The identifiers of the policies that determined it, sorted. None when no policy permits.
    pub policies: Vec<String>,
    /// What could not be evaluated; any entry denies.
    pub errors: Vec<String>,
}

impl Decision {
    /// Denies because the question could not be put.
    pub(crate) fn error(error: String) -> Self {
        Self {
            allowed: false,
            policies: Vec::new(),
            errors: vec![error],
        }
    }

    /// Returns the decision and its grounds in one line.
    pub fn reason(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        f.write_str(if self.allowed { "allowed" } else { "denied" })?;
        if !self.errors.is_empty() {
            let errors: Vec<_> = self.errors.iter().map(|e| line(e)).collect();
            return write!(f, ": {}", errors.join("; "));
        }
        if self.policies.is_empty() {
            return f.write_str(": no policy permits it");
        }
        write!(f, " by {}", line(&self.policies.join(", ")))
    }
}
