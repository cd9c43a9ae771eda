//! Commands on their way between holders: pushed at once, and pulled every few seconds in case a push was lost.
//!
//! A peer is believed nothing but what administrators signed. It confirms that it has applied a command durably; that
//! is all an effect is counted by.
//!
//! # Why holders come to know the same
//!
//! Registers are joins: of two commands the newer wins, of one version the more restrictive ([`State`](super::state)), in
//! any order. So holders that take the same commands know the same, and only what one takes and another refuses can part
//! them. A command is judged by the administrators of the moment. That must be so: once `n-t+1` holders know that somebody
//! is no administrator any more, nothing new of theirs finds the `t` holders it needs. But then two holders that hear of
//! "alice is removed" and "alice's last command" in different orders judge that one differently. Hence the second rule:
//!
//! * A command that administrators of any time signed is taken, against the roles of this moment, once so many peers are
//!   seen to have applied it that it **is** in force ([`Witnesses`]); seen by pulling from each of them, not by hearsay.
//!
//! Let links work again some day, and holders be honest. If a command came into force, enough holders have it in their logs;
//! every other holder pulls from each of them, and takes it at the latest with the last. So all holders have all commands that
//! were ever in force, and agree wherever the newest command of a register is one of them. A command that was never in
//! force because its signer was removed in between stays with the fewer holders that have it; its sender was told `PENDING`,
//! and the next version that comes into force replaces it everywhere. Whoever signed is still known to all: a command that
//! made somebody an administrator is kept even where a newer one of its register came first.
//!
//! Fewer than `t` dishonest holders gain nothing by the second rule but what they can do anyhow: with the key of a removed
//! administrator and a threshold near `n`, revoke a node or close a key. Therefore a policy, a role, a deletion or a lower
//! minimum epoch is taken by it from `t` peers at least, even where fewer put it in force.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use thiserror::Error;
use tokio::sync::watch;

use super::commands::{self, Checked, Judge, Refusal};
use super::metrics::PeerLabel;
use super::release::unavailable;
use super::rollback::RESTORED;
use super::state::{Applied, Requirement, State};
use super::store::Change;
use super::{Service, stopped};
use crate::Clock;
use crate::command::Command;
use crate::octets::Octets;
use crate::statement::HolderDescriptor;
use crate::tls::{self, Credential};
use crate::wire::{
    Code, CommandResult, CommandsAnswer, CommandsPage, CommandsRequest, MAX_BODY_LEN, MAX_COMMANDS,
};

/// A way to another holder. Tests put partitions behind it.
pub trait Link: std::fmt::Debug + Send + Sync {
    /// Returns the other holder's name.
    fn name(&self) -> &str;
    /// Hands it commands.
    fn push<'a>(
        &'a self,
        request: &'a CommandsRequest,
    ) -> BoxFuture<'a, Result<CommandsAnswer, LinkError>>;
    /// Asks for its commands after a position.
    fn pull(&self, since: u64) -> BoxFuture<'_, Result<CommandsPage, LinkError>>;
}

/// Why a peer did not answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// No connection, or none that lasted.
    #[error("peer cannot be reached")]
    Unreachable(#[from] reqwest::Error),
    /// It answered something else.
    #[error("peer answered with status {status}")]
    Status {
        /// HTTP status.
        status: u16,
    },
    /// Its answer is not what it should be.
    #[error("peer's answer is malformed")]
    Malformed,
    /// The connection could not be set up.
    #[error("connection to a peer could not be set up")]
    Tls(#[from] tls::TlsConfigError),
}

/// A warm HTTP/2 connection with both certificates.
#[derive(Debug)]
pub struct HttpLink {
    name: String,
    url: String,
    client: reqwest::Client,
}

impl HttpLink {
    /// Prepares the way to `peer`; connects when it is needed.
    pub fn new(
        peer: &HolderDescriptor,
        credential: Arc<Credential>,
        clock: Clock,
    ) -> Result<Self, LinkError> {
        let tls = tls::client_config(&peer.name, &peer.ca, credential, clock)?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(10))
            .http2_keep_alive_interval(Duration::from_secs(15))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .http2_keep_alive_while_idle(true)
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(None)
            .build()?;
        Ok(Self {
            name: peer.name.clone(),
            url: peer.url.trim_end_matches('/').to_owned(),
            client,
        })
    }

    async fn answer<T: serde::de::DeserializeOwned>(
        request: reqwest::RequestBuilder,
        limit: usize,
    ) -> Result<T, LinkError> {
        let answer = request.send().await?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(LinkError::Status {
                status: answer.status().as_u16(),
            });
        }
        let mut octets = Vec::new();
        let mut stream = answer.bytes_stream();
        while let Some(part) = stream.next().await {
            let part = part?;
            if octets.len().saturating_add(part.len()) > limit {
                return Err(LinkError::Malformed);
            }
            octets.extend_from_slice(&part);
        }
        serde_json::from_slice(&octets).map_err(|_| LinkError::Malformed)
    }
}

impl Link for HttpLink {
    fn name(&self) -> &str {
        &self.name
    }

    fn push<'a>(
        &'a self,
        request: &'a CommandsRequest,
    ) -> BoxFuture<'a, Result<CommandsAnswer, LinkError>> {
        Box::pin(async move {
            let body = serde_json::to_vec(request).map_err(|_| LinkError::Malformed)?;
            let request = self.client.post(format!("{}/v1/commands", self.url));
            Self::answer(
                request
                    .header("content-type", "application/json")
                    .body(body),
                MAX_BODY_LEN,
            )
            .await
        })
    }

    fn pull(&self, since: u64) -> BoxFuture<'_, Result<CommandsPage, LinkError>> {
        let request = self
            .client
            .get(format!("{}/v1/commands?since={since}", self.url));
        Box::pin(Self::answer(request, MAX_PAGE_LEN))
    }
}

/// What became of commands that somebody brought.
#[derive(Debug)]
pub struct Taken {
    /// One per command.
    pub results: Vec<CommandResult>,
    /// Whether somebody's role changed, so that signatures may be judged anew.
    pub roles_changed: bool,
}

/// Applies commands that `actor` brought, in order; each must prove itself.
pub async fn take(
    service: &Arc<Service>,
    actor: &str,
    envelopes: &[Octets],
) -> Result<Taken, Code> {
    take_from(service, actor, None, envelopes).await
}

/// The same; `applied_by` is the peer out of whose log they come.
async fn take_from(
    service: &Arc<Service>,
    actor: &str,
    applied_by: Option<&str>,
    envelopes: &[Octets],
) -> Result<Taken, Code> {
    let mut taken = Taken {
        results: Vec::with_capacity(envelopes.len()),
        roles_changed: false,
    };
    let mut waiting = envelopes;
    while !waiting.is_empty() {
        let state = service.writer.state();
        let mut batch: Vec<Result<Checked, Refusal>> = Vec::new();
        for envelope in waiting {
            let checked = service.check_command(&state, envelope).await?;
            let changes_roles = matches!(&checked, Ok(checked) if is_role(checked));
            batch.push(checked);
            // What follows may be signed by whom this one makes an administrator.
            if changes_roles {
                break;
            }
        }
        let (_, rest) = waiting.split_at(batch.len().min(waiting.len()));
        waiting = rest;
        let vault = Arc::clone(&service.vault);
        let by = actor.to_owned();
        let (peer, witnesses) = (
            applied_by.map(str::to_owned),
            Arc::clone(&service.witnesses),
        );
        let outcomes = service
            .transact(move |transaction| {
                let mut apply = |checked: Result<Checked, Refusal>| {
                    let checked = checked?;
                    let is_in_force = peer.as_deref().is_some_and(|peer| {
                        let mut witnesses =
                            witnesses.lock().unwrap_or_else(PoisonError::into_inner);
                        witnesses.prove(transaction.state(), &checked, peer)
                    });
                    let apply = if is_in_force {
                        commands::adopt
                    } else {
                        commands::apply
                    };
                    let applied = apply(transaction, &checked, &*vault, &by)?;
                    Ok::<_, Refusal>((checked, applied, transaction.now_ms()))
                };
                batch.into_iter().map(&mut apply).collect::<Vec<_>>()
            })
            .await
            .map_err(|error| unavailable(&error))?;
        for outcome in outcomes {
            taken.results.push(match outcome {
                Ok((checked, applied, now_ms)) => {
                    let is_new = matches!(applied, Applied::Applied { .. });
                    // One that a newer one had replaced tells of another administrator all the same.
                    taken.roles_changed |= is_role(&checked) && applied != Applied::Known;
                    if is_new {
                        let lag = now_ms.saturating_sub(checked.command.issued_at);
                        service
                            .metrics
                            .command_lag_seconds
                            .observe(Duration::from_millis(lag).as_secs_f64());
                        tracing::info!(
                            actor,
                            subject = checked.command.subject,
                            version = checked.command.version,
                            "command applied"
                        );
                    }
                    let in_force = matches!(applied, Applied::Known | Applied::Applied { .. });
                    CommandResult {
                        digest: hex::encode(checked.digest),
                        version: checked.command.version,
                        error: (!in_force).then_some(Code::VersionConflict),
                    }
                }
                Err(Refusal { code, reason }) => {
                    tracing::warn!(actor, %code, reason, "command refused");
                    CommandResult {
                        digest: String::new(),
                        version: 0,
                        error: Some(code),
                    }
                }
            });
        }
    }
    Ok(taken)
}

/// Which peers have applied commands that the administrators of this moment do not approve.
#[derive(Debug, Default)]
pub struct Witnesses(HashMap<[u8; 32], BTreeSet<String>>);

impl Witnesses {
    /// Notes that `peer` has applied a command; returns whether it is proven to be in force, against the present roles.
    pub(super) fn prove(&mut self, state: &State, checked: &Checked, peer: &str) -> bool {
        if commands::approve(state, checked, Judge::Present).is_ok()
            || commands::approve(state, checked, Judge::Ever).is_err()
            || (self.0.len() >= MAX_WITNESSED && !self.0.contains_key(&checked.digest))
        {
            return false;
        }
        let applied = self.0.entry(checked.digest).or_default();
        applied.insert(peer.to_owned());
        let Command { subject, order, .. } = &checked.command;
        let proven = state.is_in_force(subject, order, applied);
        if proven {
            self.0.remove(&checked.digest);
        }
        proven
    }
}

fn is_role(checked: &Checked) -> bool {
    matches!(checked.content, commands::Content::Operator(_))
}

/// Pushes an applied command to all peers, until it is in force or the time is over; returns who confirmed.
///
/// What a peer knows to be needed counts too: this holder may not have heard of a key yet. Peers that have not answered by
/// then are not given up: the push goes on without anybody waiting.
pub async fn spread(
    service: &Arc<Service>,
    envelope: Octets,
    requirement: &mut Requirement,
) -> BTreeSet<String> {
    let mut confirmed = BTreeSet::from([service.name.clone()]);
    let request = Arc::new(CommandsRequest {
        commands: vec![envelope],
    });
    let mut pushes: FuturesUnordered<_> = service
        .links
        .iter()
        .map(|link| {
            let (service, link, request) =
                (Arc::clone(service), Arc::clone(link), Arc::clone(&request));
            tokio::spawn(async move {
                let answer = link.push(&request).await;
                service.note_peer(link.name(), answer.is_ok());
                match answer {
                    Ok(answer) => {
                        let applied = answer.results.len() == 1
                            && answer.results.iter().all(|r| r.error.is_none());
                        applied.then(|| (link.name().to_owned(), answer.needs))
                    }
                    Err(error) => {
                        tracing::warn!(
                            peer = link.name(),
                            error = &error as &dyn std::error::Error,
                            "push failed"
                        );
                        None
                    }
                }
            })
        })
        .collect();
    let deadline = tokio::time::sleep(service.limits.effect_wait);
    tokio::pin!(deadline);
    while !requirement.is_met(&confirmed) {
        tokio::select! {
            answer = pushes.next() => match answer {
                None => break,
                Some(answer) => {
                    if let Some((name, needs)) = answer.ok().flatten() {
                        confirmed.insert(name);
                        requirement.join(needs);
                    }
                }
            },
            () = &mut deadline => break,
        }
    }
    confirmed
}

/// Pulls from every peer until the holder stops.
pub async fn pull_forever(service: Arc<Service>, mut stop: watch::Receiver<bool>) {
    let cursors = Mutex::new(HashMap::new());
    let mut every = tokio::time::interval(service.limits.pull_every);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = stopped(&mut stop) => return,
        }
        let nothing_new = pull_once(&service, &cursors).await;
        if nothing_new && service.is_behind() {
            service.catch_up().await;
        }
    }
}

/// Returns whether every peer answered that it knows nothing more than this holder has taken.
async fn pull_once(service: &Arc<Service>, cursors: &Mutex<HashMap<String, u64>>) -> bool {
    let pulls = service.links.iter().map(|link| async {
        let result = pull_from(service, &**link, cursors).await;
        service.note_peer(link.name(), result.is_ok());
        match result {
            Ok(reached) => reached == Reached::Nothing,
            Err(error) => {
                tracing::debug!(
                    peer = link.name(),
                    error = &error as &dyn std::error::Error,
                    "pull failed"
                );
                false
            }
        }
    });
    let nothing_new = futures_util::future::join_all(pulls).await;
    nothing_new.into_iter().all(|nothing| nothing)
}

/// Takes everything that these peers have, from their beginning.
///
/// For a holder that is to share a key which others shared before: what was in force then is known to at least one of any
/// t of them, so after this it is known here.
///
/// # Errors
/// The name of the first peer that could not be asked to the end.
pub async fn catch_up(service: &Arc<Service>, peers: &[String]) -> Result<(), String> {
    for peer in peers.iter().filter(|peer| **peer != service.name) {
        let link = service.links.iter().find(|link| link.name() == peer);
        let link = link.ok_or_else(|| peer.clone())?;
        // Cursors of its own: those of the regular pulls may stand behind what was refused then.
        let cursors = Mutex::new(HashMap::new());
        match pull_from(service, &**link, &cursors).await {
            Ok(Reached::Nothing | Reached::End) => {}
            Ok(Reached::Part) | Err(_) => return Err(peer.clone()),
        }
    }
    Ok(())
}

/// Takes what a peer knows.
async fn pull_from(
    service: &Arc<Service>,
    link: &dyn Link,
    cursors: &Mutex<HashMap<String, u64>>,
) -> Result<Reached, LinkError> {
    for round in 0..MAX_PAGES {
        let locked = || cursors.lock().unwrap_or_else(PoisonError::into_inner);
        let since = locked().get(link.name()).copied().unwrap_or(0);
        let page = link.pull(since).await?;
        if page.commands.len() > MAX_COMMANDS {
            return Err(LinkError::Malformed);
        }
        if page.commands.is_empty() {
            // A peer whose store was rolled back, or set up anew, counts from the beginning.
            if page.next < since {
                locked().remove(link.name());
                return Ok(Reached::Part);
            }
            return Ok(if round == 0 {
                Reached::Nothing
            } else {
                Reached::End
            });
        }
        let state = service.writer.state();
        let unknown: Vec<Octets> = page
            .commands
            .into_iter()
            .filter(|envelope| !state.has_envelope(&envelope.0))
            .collect();
        let actor = format!("holder:{}", link.name());
        let Ok(taken) = take_from(service, &actor, Some(link.name()), &unknown).await else {
            return Ok(Reached::Part);
        };
        if taken.roles_changed {
            // What was refused for want of an administrator may be good now.
            locked().clear();
        } else {
            locked().insert(link.name().to_owned(), page.next);
        }
    }
    Ok(Reached::Part)
}

/// How much of what a peer has was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reached {
    /// There was nothing that had not been taken before.
    Nothing,
    /// All of it.
    End,
    /// There is more.
    Part,
}

impl Service {
    /// Notes that all peers were heard since the store was restored.
    async fn catch_up(&self) {
        let cleared = self
            .transact(|transaction| {
                transaction.record(Change::Meta {
                    name: RESTORED.to_owned(),
                    value: Vec::new(),
                });
            })
            .await;
        match cleared {
            Ok(()) => {
                self.behind.store(false, Ordering::SeqCst);
                tracing::info!("all peers were heard: what was restored is in use again");
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "it cannot be noted that all peers were heard"
            ),
        }
    }

    pub(super) fn note_peer(&self, name: &str, answered: bool) {
        let label = PeerLabel {
            holder: name.to_owned(),
        };
        self.metrics
            .peer_up
            .get_or_create(&label)
            .set(i64::from(answered));
        let up = {
            let mut up = self.peers_up.lock().unwrap_or_else(PoisonError::into_inner);
            if answered {
                up.insert(name.to_owned());
            } else {
                up.remove(name);
            }
            up.len()
        };
        self.metrics
            .holders_up
            .set(i64::try_from(up).unwrap_or(i64::MAX).saturating_add(1));
    }
}

/// A page of commands has at most [`MAX_COMMANDS`] and stops early at this many octets, but always has one.
pub(super) const MAX_PAGE_LEN: usize = 4 * MAX_BODY_LEN;
const MAX_PAGES: usize = 64;
/// Most commands of former administrators that are remembered with the peers that have them.
const MAX_WITNESSED: usize = 4096;

#[cfg(test)]
mod tests;
