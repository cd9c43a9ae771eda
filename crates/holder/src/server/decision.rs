//! Who asks, and what is verified of them.
//!
//! Facts come from the certificate, the command store, signed posture statements, the socket and the proven label;
//! never from what the caller writes about itself.

use std::net::IpAddr;

use sealift_policy::{
    Circumstances, Decision, NodeFacts, OperatorFacts, OperatorRelease, Role, Score, Settings,
};
use sealift_policy::{KeyFacts, Residency, WrapFacts};
use sealift_threshold::Label;

use super::commands::Asked;
use super::state::{PolicyInForce, State};
use crate::certificate::Validity;
use crate::dsse;
use crate::keys::PublicKey;
use crate::names::{Name, NodeName};
use crate::octets::Octets;
use crate::statement::{POSTURE, Posture};
use crate::tls::Peer;

/// Somebody whose certificate agrees with everything the holder knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Caller {
    /// An admitted node with the key it enrolled with; perhaps revoked.
    Node {
        /// Its name and place, in the certificate as in the admission.
        name: NodeName,
        /// Its key.
        key: PublicKey,
        /// When its certificate holds.
        validity: Validity,
    },
    /// A registered operator.
    Operator {
        /// Short name.
        name: String,
        /// The key.
        key: PublicKey,
        /// The one role.
        role: Role,
        /// When the certificate holds.
        validity: Validity,
    },
    /// Another holder.
    Holder {
        /// Short name.
        name: String,
        /// Its key.
        key: PublicKey,
    },
}

impl Caller {
    /// Recognises the other side of a connection, by the state of this moment.
    ///
    /// The reason of a refusal is for the record; the caller learns that it is not recognised.
    pub fn recognise(state: &State, peer: &Peer, now_ms: u64) -> Result<Self, &'static str> {
        let Peer {
            name,
            key,
            validity,
        } = peer.clone();
        if !validity.contains(now_ms / 1000) {
            return Err("the certificate has expired or is not yet valid");
        }
        match name {
            Name::Holder(name) => {
                let known = state
                    .deployment()
                    .peers
                    .iter()
                    .any(|peer| peer.name == name);
                if known {
                    Ok(Self::Holder { name, key })
                } else {
                    Err("no such holder")
                }
            }
            Name::Operator(name) => match state.operators().get(&name) {
                Some(operator) if operator.key == key => Ok(Self::Operator {
                    name,
                    key,
                    role: operator.role,
                    validity,
                }),
                _ => Err("no such operator"),
            },
            Name::Node(name) => {
                let admission = state
                    .nodes()
                    .get(&name.name)
                    .and_then(|node| node.admission.as_ref());
                let Some(admission) = admission else {
                    return Err("the node is not admitted");
                };
                let same_place = admission.region == name.region
                    && admission.zone == name.zone
                    && admission.jurisdiction == name.jurisdiction;
                if !same_place {
                    return Err("the certificate and the admission differ");
                }
                if state.pin(&name.name) != Some(&key) {
                    return Err("the key is not the one the node enrolled with");
                }
                Ok(Self::Node {
                    name,
                    key,
                    validity,
                })
            }
        }
    }

    /// Returns `node:NAME`, `operator:NAME` or `holder:NAME`.
    pub fn actor(&self) -> String {
        match self {
            Self::Node { name, .. } => format!("node:{}", name.name),
            Self::Operator { name, .. } => format!("operator:{name}"),
            Self::Holder { name, .. } => format!("holder:{name}"),
        }
    }

    /// Returns the key in the certificate.
    pub const fn key(&self) -> &PublicKey {
        match self {
            Self::Node { key, .. } | Self::Operator { key, .. } | Self::Holder { key, .. } => key,
        }
    }
}

/// What surrounds a question.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// This holder's clock.
    pub now_ms: u64,
    /// The other end of the socket.
    pub src: IpAddr,
    /// How many distinct people approved.
    pub approvals: usize,
}

impl Surroundings {
    fn circumstances(&self, state: &State) -> Circumstances {
        Circumstances {
            now_ms: signed(self.now_ms),
            src: self.src,
            holder_jurisdiction: state.deployment().me.jurisdiction.clone(),
            // Requests out of their time and replays outside the lease never get as far as a policy.
            lease_fresh: true,
            approvals: u32::try_from(self.approvals).unwrap_or(u32::MAX),
        }
    }
}

/// Decides whether the caller may have an answer to one wrap.
pub fn decide_release(
    state: &State,
    policy: &PolicyInForce,
    caller: &Caller,
    posture: Option<&Posture>,
    wrap: &WrapFacts,
    key: &KeyFacts,
    around: &Surroundings,
) -> Decision {
    let circumstances = around.circumstances(state);
    // What says nothing of its repository has the one it was registered for.
    let registered = state
        .registration(&key.id, &wrap.id)
        .filter(|_| !wrap.label_bound)
        .map(|repo| WrapFacts {
            repo: repo.to_owned(),
            ..wrap.clone()
        });
    let wrap = registered.as_ref().unwrap_or(wrap);
    match caller {
        Caller::Node { name, validity, .. } => {
            let node = NodeFacts {
                node: name.name.clone(),
                zone: name.zone.clone(),
                region: name.region.clone(),
                jurisdiction: name.jurisdiction.clone(),
                score: posture.map(|posture| Score {
                    value: i64::from(posture.score),
                    asserted_by: posture.source.clone(),
                    observed_at_ms: signed(posture.observed_at),
                }),
                not_before_ms: not_before_ms(validity, around.now_ms),
                not_after_ms: not_after_ms(validity),
                revoked: state.is_revoked(&name.name),
                tee: None,
            };
            policy
                .engine
                .decide_unwrap(&node, wrap, key, &circumstances)
        }
        Caller::Operator { .. } => {
            let Some(operator) = operator_facts(state, caller, around.now_ms) else {
                return denied();
            };
            let release = OperatorRelease::OperatorUnwrap;
            policy
                .engine
                .decide_operator_release(&operator, release, wrap, key, &circumstances)
        }
        Caller::Holder { .. } => denied(),
    }
}

/// Decides whether somebody may tie an unlabelled wrap of an epoch of a key to a repository.
pub(super) fn decide_registration(
    state: &State,
    policy: &PolicyInForce,
    caller: &Caller,
    (key_id, epoch): (&str, u32),
    wrap: &[u8; 32],
    repo: &str,
    around: &Surroundings,
) -> Decision {
    let Some(operator) = operator_facts(state, caller, around.now_ms) else {
        return denied();
    };
    let wrap = WrapFacts {
        repo: repo.to_owned(),
        ..unlabelled_facts(wrap, epoch)
    };
    let nothing = super::state::Key::default();
    let key = state.keys().get(key_id).unwrap_or(&nothing);
    policy.engine.decide_register_wrap(
        &operator,
        &wrap,
        &key.facts_of(key_id, epoch, around.now_ms),
        &around.circumstances(state),
    )
}

/// Decides whether an operator may order, or read, something.
///
/// Before there is any policy, SecurityAdmins may do what the approvals of a command allow: somebody must push the
/// first policy.
pub(super) fn decide_order(
    state: &State,
    caller: &Caller,
    asked: Asked,
    subject: &str,
    around: &Surroundings,
) -> Decision {
    let (Caller::Operator { role, .. }, Some(operator)) =
        (caller, operator_facts(state, caller, around.now_ms))
    else {
        return denied();
    };
    let Some(policy) = state.policy() else {
        let errors = Vec::new();
        return Decision {
            allowed: *role == Role::SecurityAdmin,
            policies: Vec::new(),
            errors,
        };
    };
    let circumstances = around.circumstances(state);
    match asked {
        Asked::Holder(action) => {
            policy
                .engine
                .decide_holder_action(&operator, action, &circumstances)
        }
        Asked::Key(action) => {
            let id = subject.strip_prefix("key:").unwrap_or(subject);
            let nothing = super::state::Key::default();
            let key = state
                .keys()
                .get(id)
                .unwrap_or(&nothing)
                .facts(id, around.now_ms);
            policy
                .engine
                .decide_key_action(&operator, action, &key, &circumstances)
        }
    }
}

/// Reads a posture statement: signed by a service that the policy names, about this node.
///
/// Its age is a matter of policy; a statement that is not believed is no statement.
pub fn posture(
    settings: &Settings,
    envelope: &Octets,
    node: &str,
) -> Result<Posture, &'static str> {
    let services: Vec<(&str, PublicKey)> = settings
        .posture_services
        .iter()
        .filter_map(|service| {
            Some((
                service.name.as_str(),
                PublicKey::from_spki(&service.public_key).ok()?,
            ))
        })
        .collect();
    let verified = dsse::verify(&envelope.0, POSTURE, services.iter().map(|(_, key)| key))
        .map_err(|_| "the posture statement is not signed by a known service")?;
    let posture: Posture = serde_json::from_slice(&verified.payload)
        .map_err(|_| "the posture statement is malformed")?;
    let from_source = services
        .iter()
        .any(|(name, key)| *name == posture.source && verified.signers.contains(key));
    if !from_source {
        return Err("the posture statement is signed by another service than it names");
    }
    if posture.node != node {
        return Err("the posture statement is about another node");
    }
    Ok(posture)
}

/// Returns what a proven label says.
pub fn wrap_facts(digest: &[u8; 32], label: &Label) -> WrapFacts {
    WrapFacts {
        id: hex::encode(digest),
        repo: label.repo.to_string(),
        subject: label.subject.to_string(),
        epoch: label.epoch,
        residency: match &label.residency {
            sealift_threshold::Residency::Any => Residency::Any,
            sealift_threshold::Residency::Codes(codes) => {
                Residency::Codes(codes.iter().map(|code| code.to_string()).collect())
            }
        },
        policy: label.policy.to_string(),
        label_bound: true,
    }
}

/// Returns what is known of a wrap without a label: its digest and the key's epoch.
pub fn unlabelled_facts(digest: &[u8; 32], epoch: u32) -> WrapFacts {
    let id = hex::encode(digest);
    WrapFacts {
        subject: format!("blob:{id}"),
        id,
        repo: String::new(),
        epoch,
        residency: Residency::Any,
        policy: "default".to_owned(),
        label_bound: false,
    }
}

fn operator_facts(state: &State, caller: &Caller, now_ms: u64) -> Option<OperatorFacts> {
    let Caller::Operator {
        name,
        role,
        validity,
        ..
    } = caller
    else {
        return None;
    };
    Some(OperatorFacts {
        operator: name.clone(),
        roles: vec![*role],
        // Nobody vouches for where a person is; the holder that is asked stands for it.
        jurisdiction: state.deployment().me.jurisdiction.clone(),
        not_before_ms: not_before_ms(validity, now_ms),
        not_after_ms: not_after_ms(validity),
        revoked: false,
    })
}

fn denied() -> Decision {
    Decision {
        allowed: false,
        policies: Vec::new(),
        errors: vec!["not for this caller".to_owned()],
    }
}

/// The beginning of a certificate, tolerance included.
fn not_before_ms(validity: &Validity, now_ms: u64) -> i64 {
    let begins = validity.not_before.saturating_mul(1000);
    signed(if validity.contains(now_ms / 1000) {
        begins.min(now_ms)
    } else {
        begins
    })
}

/// The first moment after the last second.
fn not_after_ms(validity: &Validity) -> i64 {
    signed(validity.not_after.saturating_add(1).saturating_mul(1000))
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
