//! Ceremonies that are under way: in memory, few, and not for long.

use std::collections::BTreeMap;

use sealift_threshold::dkg::{Round1Secret, Round2Secret};

use super::{CeremonyError, Keep, Outcome, Situation};
use crate::octets::Octets;
use crate::server::store::ShareId;
use crate::wire::Step;

/// Where a distributed generation stands; its secrets are wiped when it is dropped.
#[derive(Debug, Default)]
pub(super) enum Phase {
    /// Nothing was drawn.
    #[default]
    Begun,
    /// Packages of round 1 are expected.
    Round1(Round1Secret),
    /// Packages of round 2 are expected.
    Round2 {
        secret: Round2Secret,
        view: [u8; 32],
    },
    /// Its secrets are used up.
    Spent,
}

/// One ceremony.
#[derive(Debug)]
pub(super) struct Run {
    key_id: String,
    command: [u8; 32],
    began_ms: u64,
    pub(super) phase: Phase,
    answers: BTreeMap<u8, ([u8; 32], Answer)>,
}

/// An answer, to be given again.
#[derive(Clone, Debug)]
struct Answer {
    messages: Vec<Octets>,
    candidate: Option<(ShareId, Vec<u8>)>,
}

impl Run {
    /// Returns what was answered to the same question.
    pub(super) fn answered(&self, step: Step, asked: &[u8; 32]) -> Option<Outcome> {
        let (question, answer) = self.answers.get(&(step as u8))?;
        let Answer {
            messages,
            candidate,
        } = answer.clone();
        let keep = candidate.map(|(id, blob)| Keep::Candidate { id, blob });
        (question == asked).then_some(Outcome { messages, keep })
    }

    /// Remembers an answer: if it does not arrive, or what it keeps is not written, it is asked for again.
    pub(super) fn remember(&mut self, step: Step, asked: [u8; 32], outcome: &Outcome) {
        let candidate = match &outcome.keep {
            Some(Keep::Candidate { id, blob }) => Some((id.clone(), blob.clone())),
            _ => None,
        };
        self.answers.insert(
            step as u8,
            (
                asked,
                Answer {
                    messages: outcome.messages.clone(),
                    candidate,
                },
            ),
        );
    }
}

/// All ceremonies under way, by name.
#[derive(Debug, Default)]
pub(super) struct Runs(BTreeMap<String, Run>);

impl Runs {
    /// Finds the ceremony, or begins it: then an older one for the same key ends.
    pub(super) fn enter(
        &mut self,
        ceremony: &str,
        situation: &Situation<'_>,
    ) -> Result<&mut Run, CeremonyError> {
        let (now, command, key_id) = (situation.now_ms, situation.command, situation.key_id);
        self.0
            .retain(|_, run| now.saturating_sub(run.began_ms) <= MAX_AGE_MS);
        let fits = |run: &Run| run.key_id == key_id && run.command == command;
        if self.0.get(ceremony).is_some_and(|run| !fits(run)) {
            return Err(CeremonyError::NotOrdered);
        }
        if !self.0.contains_key(ceremony) {
            self.0.retain(|_, run| run.key_id != key_id);
            if self.0.len() >= MAX_RUNS {
                return Err(CeremonyError::TooMany);
            }
        }
        Ok(self.0.entry(ceremony.to_owned()).or_insert_with(|| Run {
            key_id: key_id.to_owned(),
            command,
            began_ms: now,
            phase: Phase::Begun,
            answers: BTreeMap::new(),
        }))
    }
}

/// Most ceremonies at a time.
pub(super) const MAX_RUNS: usize = 16;
/// How long one may take.
pub(super) const MAX_AGE_MS: u64 = 15 * 60 * 1000;
