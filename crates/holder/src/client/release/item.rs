//! One element of a question, and what holders said about it so far.

use std::collections::BTreeSet;
use std::sync::Arc;

use sealift_keywrap::LayerSecret;
use sealift_threshold::{Answer, CombineError, Culprit, HolderId, Part, ThresholdError};

use super::outcome::ReleaseError;

/// One element of a question.
pub(super) struct Item {
    /// Position among the caller's elements.
    pub(super) at: usize,
    /// Usable answers.
    pub(super) answers: Vec<Arc<Answer>>,
    pub(super) denials: Vec<(HolderId, ReleaseError)>,
    /// How many partials beyond the thresholds are wanted since the first ones gave nothing.
    pub(super) beyond: usize,
    /// What the last attempt to combine said.
    pub(super) failure: Option<ThresholdError>,
    pub(super) outcome: Option<Result<LayerSecret, ReleaseError>>,
}

impl Item {
    pub(super) fn new(at: usize) -> Self {
        Self {
            at,
            answers: Vec::new(),
            denials: Vec::new(),
            beyond: 0,
            failure: None,
            outcome: None,
        }
    }

    pub(super) const fn is_unopened(&self) -> bool {
        !matches!(self.outcome, Some(Ok(_)))
    }

    pub(super) fn usable(&self, part: &Part) -> usize {
        usable(&self.answers, part)
    }

    /// Returns how many more partials of a part are wanted.
    pub(super) fn lacks(&self, part: &Part) -> usize {
        (usize::from(part.t) + self.beyond).saturating_sub(self.usable(part))
    }
}

/// Returns whether more partials would not help.
pub(super) fn is_final(error: &ThresholdError) -> bool {
    matches!(error.culprit, Culprit::Encryptor | Culprit::Presenter)
}

pub(super) fn named_by(error: &CombineError) -> BTreeSet<HolderId> {
    let mut named: BTreeSet<HolderId> = error.culprits.iter().copied().collect();
    if let Culprit::Holder(Some(holder)) = error.error.culprit {
        named.insert(holder);
    }
    named
}

pub(super) fn usable(answers: &[Arc<Answer>], part: &Part) -> usize {
    answers
        .iter()
        .filter(|answer| part.holders.contains(&answer.holder()))
        .count()
}
