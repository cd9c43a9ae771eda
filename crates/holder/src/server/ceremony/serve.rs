//! One step as the service answers it: what orders it, what it leaves, and its audit row.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use sealift_policy::{KeyState, Role};
use serde_json::json;

use super::{Ceremonies, CeremonyError, Keep, Outcome, Situation, sha256};
use crate::command::{Command, Order};
use crate::dsse::Unverified;
use crate::keys::PublicKey;
use crate::server::audit::Entry;
use crate::server::secrets::Secrets;
use crate::server::shares::SealedShares;
use crate::server::state::{Epoch, State};
use crate::server::store::StoreError;
use crate::server::vault::ShareVault;
use crate::server::writer::Writer;
use crate::statement::HolderDescriptor;
use crate::wire::{CeremonyAnswer, CeremonyRequest};

/// Answers one step of a ceremony: `POST /v1/keys/{id}/shares`.
///
/// The caller has checked that the operator `actor` may order ceremonies. What the step leaves and its audit row are
/// durable before the answer leaves; a refusal is recorded too, and names the culprit.
///
/// # Errors
///
/// [`StoreError`]; then nothing was answered.
pub async fn serve(
    ceremonies: &Arc<Ceremonies>,
    key_id: &str,
    request: CeremonyRequest,
    actor: &str,
    holder: &Holder,
    writer: &Writer,
    now_ms: u64,
) -> Result<CeremonyAnswer, StoreError> {
    let (state, ceremonies, shares) = (
        writer.state(),
        Arc::clone(ceremonies),
        holder.shares.clone(),
    );
    let holder = holder.clone();
    let (id, question) = (key_id.to_owned(), request.clone());
    let outcome = tokio::task::spawn_blocking(move || {
        let rng = SystemRandom::new();
        order(&state, &id, &question, now_ms).and_then(|order| {
            let situation = Situation {
                now_ms,
                ..order.situation(&id)
            };
            ceremonies.step(&question, &situation, &holder.secrets, &holder.shares, &rng)
        })
    })
    .await
    .unwrap_or(Err(CeremonyError::Interrupted));
    let mut entry = Entry {
        event: "ceremony",
        actor: actor.to_owned(),
        subject: format!("key:{key_id}"),
        decision: "allow",
        detail: json!({ "ceremony": request.ceremony, "step": request.step }),
        ..Entry::default()
    };
    let (answer, keep) = match outcome {
        Ok(Outcome { messages, keep }) => (
            CeremonyAnswer {
                messages,
                refusal: None,
            },
            keep,
        ),
        Err(error) => {
            let refusal = error.refusal();
            entry.decision = "deny";
            entry.reason.clone_from(&refusal.reason);
            entry.detail = json!({ "ceremony": request.ceremony, "step": request.step, "culprits": refusal.culprits });
            (
                CeremonyAnswer {
                    messages: Vec::new(),
                    refusal: Some(refusal),
                },
                None,
            )
        }
    };
    let ceremony = request.ceremony;
    writer
        .transact(move |transaction| {
            transaction.audit(entry);
            match keep {
                Some(Keep::Candidate { id, blob }) => {
                    transaction.put_candidate(&id, &ceremony, blob)
                }
                Some(Keep::Share { id, blob, share }) => {
                    let current = transaction
                        .state()
                        .keys()
                        .get(&id.key_id)
                        .and_then(|key| key.epochs.get(&id.epoch));
                    // A newer generation may have come meanwhile: then this share is a thing of the past.
                    if current.is_some_and(|epoch| epoch.group.generation() == id.generation) {
                        // After a missed refresh the old share is still there.
                        if let Err(error) = shares.destroy(&id, transaction) {
                            tracing::error!(key = id.key_id, %error, "older shares are left");
                        }
                        transaction.put_share(&id, blob);
                        transaction
                            .state_mut()
                            .set_share(&id.key_id, id.epoch, Some(share));
                    }
                }
                None => {}
            }
        })
        .await?;
    Ok(answer)
}

/// What a holder brings into a ceremony.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Its keys.
    pub secrets: Arc<Secrets>,
    /// Its shares.
    pub shares: SealedShares,
}

/// A ceremony command that was applied here, and what is known of its key.
struct Ordered {
    pub(super) command: [u8; 32],
    pub(super) order: Order,
    pub(super) holders: BTreeMap<String, HolderDescriptor>,
    pub(super) current: Option<Epoch>,
    pub(super) administrators: Vec<PublicKey>,
}

impl Ordered {
    fn situation<'a>(&'a self, key_id: &'a str) -> Situation<'a> {
        Situation {
            now_ms: 0,
            key_id,
            command: self.command,
            order: &self.order,
            holders: &self.holders,
            current: self.current.as_ref().map(|epoch| &*epoch.group),
            share: self
                .current
                .as_ref()
                .and_then(|epoch| epoch.share.as_deref()),
            administrators: &self.administrators,
        }
    }
}

/// Finds the command that orders the ceremony among those that were verified and applied.
fn order(
    state: &State,
    key_id: &str,
    request: &CeremonyRequest,
    now_ms: u64,
) -> Result<Ordered, CeremonyError> {
    let envelope = Unverified::parse(&request.command.0).map_err(|_| CeremonyError::NotOrdered)?;
    let digest = sha256(envelope.unverified_payload());
    state.command(&digest).ok_or(CeremonyError::NotOrdered)?;
    let command: Command = serde_json::from_slice(envelope.unverified_payload())
        .map_err(|_| CeremonyError::NotOrdered)?;
    let key = state.keys().get(key_id).ok_or(CeremonyError::NoKey)?;
    if command.subject != format!("key:{key_id}") {
        return Err(CeremonyError::NotOrdered);
    }
    if matches!(
        key.state(now_ms),
        KeyState::PendingDeletion | KeyState::Deleted
    ) {
        return Err(CeremonyError::Closed);
    }
    if let Order::CreateKey(plan) | Order::ImportKey(plan) = &command.order
        && key.plan_of(plan.epoch) != Some(plan)
    {
        return Err(CeremonyError::Superseded);
    }
    let admins = state
        .operators()
        .values()
        .filter(|operator| operator.role == Role::SecurityAdmin);
    Ok(Ordered {
        command: digest,
        order: command.order,
        holders: state
            .deployment()
            .holders()
            .map(|holder| (holder.name.clone(), holder.clone()))
            .collect(),
        current: key.epochs.last_key_value().map(|(_, epoch)| epoch.clone()),
        administrators: admins.map(|operator| operator.key.clone()).collect(),
    })
}
