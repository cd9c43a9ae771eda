//! What the answers of holders come to: partials, denials, failures, lies.

use std::sync::Arc;

use sealift_threshold::{Answer, HolderId, Part};

use super::item::{Item, is_final, named_by, usable};
use super::outcome::{Accusation, ReleaseError};
use super::run::Run;
use super::{UNKNOWN_PATIENCE, blocking};
use crate::client::http::HttpError;
use crate::wire::{Code, PartialsAnswer};

impl Run<'_> {
    pub(super) async fn take(
        &mut self,
        holder: HolderId,
        answer: Result<PartialsAnswer, HttpError>,
    ) {
        let name = self.name(holder);
        if let Some(asked) = self.asked.get_mut(&holder) {
            asked.has_answered = true;
            let is_well = match &answer {
                Ok(_) => true,
                Err(error) => error.code().is_some(),
            };
            self.releaser.note(&name, asked.started, is_well);
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.take_failure(holder, &name, &error),
        };
        let receipt = answer.receipt.clone();
        let job = {
            let (question, group) = (Arc::clone(&self.question), self.group.clone());
            let receipt_key = self.releaser.receipt_keys.get(&name).cloned();
            move || question.unseal(&group, holder, &answer, receipt_key.as_ref())
        };
        let answers = match blocking(job).await {
            Ok(answers) => answers,
            Err(reason) => {
                self.failures.insert(name, reason.to_owned());
                return;
            }
        };
        self.receipts.insert(holder, receipt);
        let generation = self.group.generation();
        let mut is_ahead = false;
        for (position, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(answer) if answer.generation() == generation => {
                    if let Some(item) = self.items.get_mut(position) {
                        item.answers.push(Arc::new(answer));
                    }
                }
                // One that lags behind will catch up; one that is ahead knows a descriptor that we do not, or lies.
                Ok(answer) => {
                    self.failures.insert(
                        name.clone(),
                        format!("has generation {}", answer.generation()),
                    );
                    is_ahead |= answer.generation() > generation;
                }
                Err(code) => self.deny(position, holder, &name, code, None),
            }
        }
        if is_ahead && !self.is_outdated {
            // Only a descriptor that two administrators signed ends this: one liar must not.
            let fetch = self.releaser.fetch_from(&name, self.group.key_id());
            let _ = tokio::time::timeout(UNKNOWN_PATIENCE, fetch).await;
            self.is_outdated = self.releaser.newer_than(&self.group).is_some();
            self.stale.get_or_insert(name);
        }
        self.combine().await;
    }

    pub(super) fn take_failure(&mut self, holder: HolderId, name: &str, error: &HttpError) {
        match error.code() {
            Some(code) => {
                for position in 0..self.items.len() {
                    self.deny(position, holder, name, code, error.request_id.clone());
                }
            }
            None => {
                self.failures
                    .insert(name.to_owned(), error.cause.to_string());
            }
        }
    }

    pub(super) fn deny(
        &mut self,
        position: usize,
        holder: HolderId,
        name: &str,
        code: Code,
        request_id: Option<Box<str>>,
    ) {
        if !is_denial(code) {
            self.failures.insert(name.to_owned(), code.to_string());
            return;
        }
        if matches!(code, Code::KeyNotFound | Code::InvalidState) {
            self.stale.get_or_insert_with(|| name.to_owned());
        }
        if let Some(item) = self
            .items
            .get_mut(position)
            .filter(|item| item.outcome.is_none())
        {
            item.denials.push((
                holder,
                ReleaseError::Denied {
                    by: name.into(),
                    code,
                    request_id,
                },
            ));
        }
    }

    /// Tries every element that has enough answers.
    pub(super) async fn combine(&mut self) {
        let ready = |item: &Item| {
            item.outcome.is_none() && self.group.parts().iter().all(|part| item.lacks(part) == 0)
        };
        let jobs: Vec<_> = self
            .items
            .iter()
            .enumerate()
            .filter(|(_, item)| ready(item))
            .map(|(position, item)| (position, item.at, item.answers.clone()))
            .collect();
        if jobs.is_empty() {
            return;
        }
        let (group, elements) = (self.group.clone(), Arc::clone(&self.elements));
        let hash = self.question.request_hash;
        let results = blocking(move || {
            jobs.into_iter()
                .filter_map(|(position, at, mut answers)| {
                    let element = elements.get(at)?;
                    let mut liars = Vec::new();
                    let result = loop {
                        let given: Vec<&Answer> = answers.iter().map(AsRef::as_ref).collect();
                        let result = element.combine(&group, hash, &given);
                        let named = match &result {
                            Ok(combined) => combined.culprits.iter().copied().collect(),
                            Err(error) => named_by(error),
                        };
                        let is_named = |one: &Arc<Answer>| named.contains(&one.holder());
                        liars.extend(answers.iter().filter(|one| is_named(one)).cloned());
                        match result {
                            Ok(combined) => break Ok(combined.secret),
                            Err(error) => {
                                let before = answers.len();
                                answers.retain(|one| !is_named(one));
                                let enough = group
                                    .parts()
                                    .iter()
                                    .all(|part| usable(&answers, part) >= part.t.into());
                                if answers.len() == before || !enough {
                                    break Err(error.error);
                                }
                            }
                        }
                    };
                    Some((position, answers, liars, result))
                })
                .collect::<Vec<_>>()
        })
        .await;
        for (position, answers, liars, result) in results {
            for liar in liars {
                self.accuse(position, &liar);
            }
            let Some(item) = self.items.get_mut(position) else {
                continue;
            };
            item.answers = answers;
            match result {
                Ok(secret) => item.outcome = Some(Ok(secret)),
                Err(error) if is_final(&error) => item.outcome = Some(Err(error.into())),
                Err(error) => {
                    // Enough answers and no result: some unproven one is false, and one more will tell.
                    let parts = self.group.parts();
                    if parts
                        .iter()
                        .all(|part| usable(&item.answers, part) >= part.t.into())
                    {
                        let spare =
                            |part: &Part| usable(&item.answers, part).saturating_sub(part.t.into());
                        item.beyond = parts.iter().map(spare).min().unwrap_or(0) + 1;
                    }
                    item.failure = Some(error);
                }
            }
        }
    }

    pub(super) fn accuse(&mut self, position: usize, liar: &Answer) {
        let holder = self.name(liar.holder());
        self.failures
            .insert(holder.clone(), "gave a false answer".to_owned());
        let wrap_digest = self
            .question
            .digests
            .get(position)
            .copied()
            .unwrap_or_default();
        let receipt = self
            .receipts
            .get(&liar.holder())
            .cloned()
            .unwrap_or_default();
        self.accusations.push(Accusation {
            holder,
            wrap_digest,
            request_hash: self.question.request_hash,
            partial: liar.write().to_vec(),
            receipt,
        });
    }
}

/// Returns whether a code is a decision about the request and not trouble of the holder's.
pub(super) const fn is_denial(code: Code) -> bool {
    !matches!(
        code,
        Code::PolicyStale
            | Code::StoreUnavailable
            | Code::AuditUnavailable
            | Code::LogUnavailable
            | Code::QuorumUnavailable
            | Code::Unknown
    )
}
