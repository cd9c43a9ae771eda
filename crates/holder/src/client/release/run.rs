//! Whom to ask, and when: one question, put to as many holders as it takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use sealift_threshold::{GroupKey, HolderId, Part};
use tokio::time::Instant;

use super::element::Element;
use super::item::Item;
use super::outcome::{Accusation, ReleaseError};
use super::question::Question;
use super::{Releaser, blocking};
use crate::client::http::HttpError;
use crate::octets::Octets;
use crate::wire::PartialsAnswer;

/// A holder that was asked.
pub(super) struct Asked {
    pub(super) started: Instant,
    pub(super) late_at: Instant,
    pub(super) has_answered: bool,
}

pub(super) type Pending =
    FuturesUnordered<BoxFuture<'static, (HolderId, Result<PartialsAnswer, HttpError>)>>;

/// One question, put to as many holders as it takes.
pub(super) struct Run<'a> {
    pub(super) releaser: &'a Releaser,
    pub(super) group: GroupKey,
    pub(super) elements: Arc<[Element]>,
    pub(super) question: Arc<Question>,
    /// Those of them that passed their checks are in the question, in this order; settled ones stay.
    pub(super) items: Vec<Item>,
    pub(super) asked: BTreeMap<HolderId, Asked>,
    pub(super) pending: Pending,
    pub(super) receipts: BTreeMap<HolderId, Octets>,
    pub(super) failures: BTreeMap<String, String>,
    pub(super) accusations: Vec<Accusation>,
    /// The holder that may have a newer descriptor than ours.
    pub(super) stale: Option<String>,
    /// Whether it surely has: then what the others answer is of no use either.
    pub(super) is_outdated: bool,
}

impl<'a> Run<'a> {
    pub(super) async fn prepare(
        releaser: &'a Releaser,
        group: &GroupKey,
        elements: &Arc<[Element]>,
        wanted: &[usize],
    ) -> Result<Self, ReleaseError> {
        let job = {
            let (group, elements, wanted) = (group.clone(), Arc::clone(elements), wanted.to_vec());
            let (key, options) = (Arc::clone(&releaser.key), releaser.options.clone());
            let (now_ms, posture) = ((releaser.clock)(), releaser.posture.load_full());
            move || {
                let mut items = Vec::new();
                let mut asked = Vec::new();
                for at in wanted {
                    let Some(element) = elements.get(at) else {
                        continue;
                    };
                    let checked = element.check(&group);
                    let mut item = Item::new(at);
                    match checked {
                        Ok(digest) => asked.push((element, digest)),
                        Err(error) => item.outcome = Some(Err(error.into())),
                    }
                    items.push(item);
                }
                // Those in the question come first, so that positions in answers are positions here.
                items.sort_by_key(|item| item.outcome.is_some());
                let question = if asked.is_empty() {
                    Question::empty(&options)
                } else {
                    Question::sign(&group, &asked, &options, &key, now_ms, posture.as_deref())
                };
                question.map(|question| (Arc::new(question), items))
            }
        };
        let (question, items) = blocking(job).await?;
        Ok(Self {
            releaser,
            group: group.clone(),
            elements: Arc::clone(elements),
            question,
            items,
            asked: BTreeMap::new(),
            pending: FuturesUnordered::new(),
            receipts: BTreeMap::new(),
            failures: BTreeMap::new(),
            accusations: Vec::new(),
            stale: None,
            is_outdated: false,
        })
    }

    pub(super) async fn ask(&mut self, deadline: Instant) {
        loop {
            self.settle_hopeless();
            if self.is_outdated || self.items.iter().all(|item| item.outcome.is_some()) {
                break;
            }
            for holder in self.next_holders() {
                self.ask_holder(holder);
            }
            let late = self
                .asked
                .values()
                .filter(|asked| !asked.has_answered)
                .map(|asked| asked.late_at);
            let wake = late
                .filter(|at| *at > Instant::now())
                .min()
                .unwrap_or(deadline)
                .min(deadline);
            tokio::select! {
                Some((holder, answer)) = self.pending.next() => self.take(holder, answer).await,
                () = tokio::time::sleep_until(wake) => {
                    if Instant::now() >= deadline {
                        self.give_up();
                        break;
                    }
                }
            }
        }
        // Whoever was late and not waited for: its round trip is at least this long.
        for (holder, asked) in &self.asked {
            if !asked.has_answered && asked.late_at <= Instant::now() {
                self.releaser.note(&self.name(*holder), asked.started, true);
            }
        }
    }

    /// Returns whom to ask now: for every part the nearest of those not asked, as many as some element lacks.
    pub(super) fn next_holders(&self) -> Vec<HolderId> {
        let mut next = Vec::new();
        for part in self.group.parts() {
            let on_time = self
                .unanswered(part)
                .filter(|asked| asked.late_at > Instant::now())
                .count();
            let missing = self
                .open_items()
                .map(|item| item.lacks(part).saturating_sub(on_time))
                .max()
                .unwrap_or(0);
            // In the order of the descriptor where nothing is known.
            let unasked = part
                .holders
                .iter()
                .filter(|holder| !self.asked.contains_key(holder));
            let unasked: Vec<(String, HolderId)> = unasked
                .map(|holder| (self.name(*holder), *holder))
                .collect();
            let nearest = self
                .releaser
                .nearest(unasked.iter().map(|(name, _)| name.as_str()));
            let of_name = |name: &String| {
                unasked
                    .iter()
                    .find(|(other, _)| other == name)
                    .map(|(_, holder)| *holder)
            };
            next.extend(nearest.iter().take(missing).filter_map(of_name));
        }
        next
    }

    /// Settles elements that enough holders refuse, or for which nobody is left to ask.
    pub(super) fn settle_hopeless(&mut self) {
        let mut verdicts = Vec::new();
        for (position, item) in self
            .items
            .iter()
            .enumerate()
            .filter(|(_, item)| item.outcome.is_none())
        {
            for part in self.group.parts() {
                let t = usize::from(part.t);
                let denials: Vec<_> = item
                    .denials
                    .iter()
                    .filter(|(by, _)| part.holders.contains(by))
                    .collect();
                let is_denied = part.holders.len().saturating_sub(denials.len()) < t;
                let exhausted = item.lacks(part) > 0
                    && part
                        .holders
                        .iter()
                        .all(|holder| self.asked.contains_key(holder))
                    && self.unanswered(part).next().is_none();
                let verdict = match (denials.first(), &item.failure) {
                    (Some((_, denial)), _) if is_denied => denial.clone(),
                    // Where liars left too few, who lied says more than that nothing could be combined.
                    (_, Some(failure)) if exhausted && item.usable(part) >= t => {
                        failure.clone().into()
                    }
                    _ if exhausted => self.unavailable(item, part),
                    _ => continue,
                };
                verdicts.push((position, verdict));
                break;
            }
        }
        for (position, verdict) in verdicts {
            if let Some(item) = self.items.get_mut(position) {
                item.outcome = Some(Err(verdict));
            }
        }
    }

    pub(super) fn give_up(&mut self) {
        for asked in self.asked.iter().filter(|(_, asked)| !asked.has_answered) {
            let name = self
                .group
                .holder(*asked.0)
                .map(|entry| entry.id.to_string())
                .unwrap_or_default();
            self.failures.insert(name, "no answer in time".to_owned());
        }
        let part = self.group.parts().first().cloned();
        for position in 0..self.items.len() {
            let verdict = match (self.items.get(position), &part) {
                (Some(item), Some(part)) if item.outcome.is_none() => self.unavailable(item, part),
                _ => continue,
            };
            if let Some(item) = self.items.get_mut(position) {
                item.outcome = Some(Err(verdict));
            }
        }
    }

    pub(super) fn unavailable(&self, item: &Item, part: &Part) -> ReleaseError {
        let denied = item.denials.iter().map(|(by, denial)| match denial {
            ReleaseError::Denied { code, .. } => format!("{}: {code}", self.name(*by)),
            other => format!("{}: {other}", self.name(*by)),
        });
        let failed = self
            .failures
            .iter()
            .map(|(holder, reason)| format!("{holder}: {reason}"));
        ReleaseError::QuorumUnavailable {
            reached: item.usable(part),
            needed: part.t.into(),
            reason: denied.chain(failed).collect::<Vec<_>>().join("; ").into(),
        }
    }

    pub(super) fn ask_holder(&mut self, holder: HolderId) {
        let name = self.name(holder);
        let started = Instant::now();
        let late_at = started + self.releaser.patience(&name);
        self.asked.insert(
            holder,
            Asked {
                started,
                late_at,
                has_answered: false,
            },
        );
        let answer = self.releaser.transport.partials(
            &name,
            self.group.key_id(),
            Arc::clone(&self.question.body),
        );
        self.pending
            .push(Box::pin(async move { (holder, answer.await) }));
    }

    pub(super) fn open_items(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.outcome.is_none())
    }

    pub(super) fn unanswered(&self, part: &Part) -> impl Iterator<Item = &Asked> {
        let of_part = |(holder, asked)| part.holders.contains(holder).then_some(asked);
        self.asked
            .iter()
            .filter_map(of_part)
            .filter(|asked: &&Asked| !asked.has_answered)
    }

    pub(super) fn name(&self, holder: HolderId) -> String {
        self.group
            .holder(holder)
            .map(|entry| entry.id.to_string())
            .unwrap_or_default()
    }
}
