//! The holders as a source of keys, over connections that stay open.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::{BoxFuture, join_all};
use sealift_holder::Octets;
use sealift_holder::client::http::{Clients, HttpError};
use sealift_holder::client::release::{Element, ReleaseError, Releaser, Transport};
use sealift_holder::identity::unwrap_error;
use sealift_holder::wire::{KeyAnswer, PartialsAnswer, PartialsRequest};
use sealift_keywrap::{Scheme, ThresholdLabel, UnwrapError, WrappedKey};
use sealift_threshold::GroupKey;
use tokio::time::timeout;

use super::posture::PostureFile;
use super::resident::{KeySource, Released};
use crate::protocol::Refusal;

/// Connections to all holders, replaced together when the node has a new certificate.
#[derive(Debug)]
pub struct Connections(ArcSwap<Clients>);

impl Connections {
    /// Takes the first connections.
    pub fn new(clients: Clients) -> Self {
        Self(ArcSwap::from_pointee(clients))
    }

    /// Takes others; requests under way end on those that they began on.
    pub fn replace(&self, clients: Clients) {
        self.0.store(Arc::new(clients));
    }

    /// Returns the present ones.
    pub fn clients(&self) -> Arc<Clients> {
        self.0.load_full()
    }
}

impl Transport for Connections {
    fn partials(
        &self,
        holder: &str,
        key_id: &str,
        request: Arc<PartialsRequest>,
    ) -> BoxFuture<'static, Result<PartialsAnswer, HttpError>> {
        self.0.load().partials(holder, key_id, request)
    }

    fn key(&self, holder: &str, key_id: &str) -> BoxFuture<'static, Result<KeyAnswer, HttpError>> {
        self.0.load().key(holder, key_id)
    }
}

/// Asks the holders of every key for what it opens.
#[derive(Debug)]
pub struct Holders {
    releaser: Arc<Releaser>,
    posture: Option<PostureFile>,
    lease: Duration,
}

impl Holders {
    /// Takes who asks, the file that says how the node is, and the lease that the requests state.
    pub fn new(releaser: Arc<Releaser>, posture: Option<PostureFile>, lease: Duration) -> Self {
        Self {
            releaser,
            posture,
            lease,
        }
    }

    /// When to give up: before those who ask the agent do ([`AgentIdentity::TIMEOUT`](crate::AgentIdentity::TIMEOUT)), and after
    /// what the holders are given for one key.
    pub const TIMEOUT: Duration = Duration::from_secs(45);

    /// Attaches the posture statement as it is now. Without one, policy decides.
    fn attach_posture(&self) {
        let Some(file) = &self.posture else {
            return;
        };
        match file.octets() {
            Ok(octets) => self.releaser.set_posture(Some(Octets(octets))),
            Err(error) => {
                tracing::warn!(%error, "cannot read the posture statement");
                self.releaser.set_posture(None);
            }
        }
    }

    async fn ask(&self, wraps: &[WrappedKey]) -> Vec<Result<Released, Refusal>> {
        self.attach_posture();
        let mut outcomes: Vec<Option<Result<Released, Refusal>>> =
            wraps.iter().map(|_| None).collect();
        let mut labelled: BTreeMap<(Box<str>, u32), Vec<usize>> = BTreeMap::new();
        let mut unlabelled = Vec::new();
        for (at, wrapped) in wraps.iter().enumerate() {
            match ThresholdLabel::of(wrapped) {
                Some(Ok(label)) => {
                    let key = (label.key_id, label.epoch);
                    labelled.entry(key).or_default().push(at);
                }
                Some(Err(error)) => settle(&mut outcomes, at, Err(refusal(&error))),
                None if wrapped.scheme == Scheme::Jwe => unlabelled.push(at),
                None => settle(&mut outcomes, at, Err(Refusal::NotForTheseKeys {})),
            }
        }
        let runs = labelled
            .into_iter()
            .map(|((key_id, epoch), places)| async move {
                let opened = match self.group(&key_id, epoch).await {
                    Ok(group) => self.open(&group, wraps, &places).await,
                    Err(refusal) => places.iter().map(|_| Err(refusal.clone())).collect(),
                };
                (places, opened)
            });
        for (places, opened) in join_all(runs).await {
            for (at, outcome) in places.into_iter().zip(opened) {
                settle(&mut outcomes, at, outcome);
            }
        }
        // A JWE does not say whose it is: one key after another, which is one key in most deployments.
        let groups = self.releaser.groups();
        for group in groups.iter().filter(|group| group.unbound()) {
            if unlabelled.is_empty() {
                break;
            }
            let opened = self.open(group, wraps, &unlabelled).await;
            let mut left = Vec::new();
            for (at, outcome) in unlabelled.into_iter().zip(opened) {
                if matches!(outcome, Err(Refusal::NotForTheseKeys {})) {
                    left.push(at);
                } else {
                    settle(&mut outcomes, at, outcome);
                }
            }
            unlabelled = left;
        }
        let unsettled = || Err(Refusal::NotForTheseKeys {});
        outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(unsettled))
            .collect()
    }

    /// Finds a key, or asks the holders for its descriptor.
    async fn group(&self, key_id: &str, epoch: u32) -> Result<GroupKey, Refusal> {
        if let Some(group) = self.releaser.group(key_id, epoch) {
            return Ok(group);
        }
        let fetched = self
            .releaser
            .fetch(key_id)
            .await
            .map_err(|error| of_release(&error))?;
        Some(fetched)
            .filter(|group| group.epoch() == epoch)
            .ok_or(Refusal::NotForTheseKeys {})
    }

    /// Opens the elements at `places` with one key; returns one outcome for each.
    async fn open(
        &self,
        group: &GroupKey,
        wraps: &[WrappedKey],
        places: &[usize],
    ) -> Vec<Result<Released, Refusal>> {
        let mut outcomes: Vec<Option<Result<Released, Refusal>>> =
            places.iter().map(|_| None).collect();
        let mut elements = Vec::new();
        let mut owners = Vec::new();
        for (owner, wrapped) in places.iter().map(|at| wraps.get(*at)).enumerate() {
            match wrapped.map(|wrapped| Element::read(wrapped, group)) {
                Some(Ok(read)) => {
                    owners.extend(read.iter().map(|_| owner));
                    elements.extend(read);
                }
                Some(Err(error)) => settle(&mut outcomes, owner, Err(of_release(&error.into()))),
                None => {}
            }
        }
        let opened = self.releaser.open(group, elements).await;
        for accusation in &opened.accusations {
            let holder = &accusation.holder;
            tracing::error!(%holder, "key holder is proven to have given a false answer");
        }
        for (owner, secret) in owners.into_iter().zip(opened.secrets) {
            let outcome = match secret {
                Ok(secret) => Ok(Released {
                    secret,
                    key_id: group.key_id().into(),
                    epoch: group.epoch(),
                    lease: self.lease,
                }),
                Err(error) => Err(of_release(&error)),
            };
            // Of several recipients of a JWE the one that opens counts.
            if outcome.is_ok() || outcomes.get(owner).is_some_and(Option::is_none) {
                settle(&mut outcomes, owner, outcome);
            }
        }
        let unsettled = || Err(Refusal::NotForTheseKeys {});
        outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(unsettled))
            .collect()
    }
}

impl KeySource for Holders {
    fn release<'a>(
        &'a self,
        wraps: &'a [WrappedKey],
    ) -> BoxFuture<'a, Vec<Result<Released, Refusal>>> {
        Box::pin(async move {
            match timeout(Self::TIMEOUT, self.ask(wraps)).await {
                Ok(outcomes) => outcomes,
                Err(_) => wraps.iter().map(|_| Err(late())).collect(),
            }
        })
    }
}

fn settle<T>(outcomes: &mut [Option<T>], at: usize, outcome: T) {
    if let Some(place) = outcomes.get_mut(at) {
        *place = Some(outcome);
    }
}

fn late() -> Refusal {
    Refusal::Unavailable {
        reason: "key holders did not answer in time".into(),
    }
}

fn of_release(error: &ReleaseError) -> Refusal {
    refusal(&unwrap_error(error))
}

/// Says over the socket what the key ring's error says.
fn refusal(error: &UnwrapError) -> Refusal {
    match error {
        UnwrapError::Denied { by, code } => Refusal::Denied {
            by: by.to_string(),
            code: code.to_string(),
        },
        UnwrapError::NotForThisKey | UnwrapError::UnsupportedAlgorithm { .. } => {
            Refusal::NotForTheseKeys {}
        }
        UnwrapError::Authentication => Refusal::Altered {},
        UnwrapError::Malformed { reason } => Refusal::Malformed {
            reason: (*reason).to_owned(),
        },
        UnwrapError::Unavailable { reason } => Refusal::Unavailable {
            reason: reason.to_string(),
        },
        other => Refusal::Unavailable {
            reason: other.to_string(),
        },
    }
}
