//! Nodes: their key is pinned once, at every holder; their home issues certificates for that key and no other.
//!
//! An administrator admits a node with the public half of a one-time join key. The node signs its own key with the join
//! key and shows that to every holder, so no holder's authority can make a twin of it.

use std::sync::Arc;

use thiserror::Error;

use super::audit::Entry;
use super::authority::{AuthorityError, RegionalAuthority};
use super::state::State;
use super::store::StoreError;
use super::writer::{Transaction, Writer};
use crate::certificate;
use crate::command::Admission;
use crate::dsse::Unverified;
use crate::keys::PublicKey;
use crate::names::NodeName;
use crate::statement::{ENROLMENT, Enrolment};
use crate::wire::{CertificateAnswer, CertificateRequest, Code, EnrolRequest};

/// `POST /v1/enrol`: pins the node's key, and issues its first certificate if it is at home here.
///
/// The same key again gives another certificate: answers get lost. Another key never does, whoever signed it.
///
/// # Errors
///
/// [`EnrolError`]; the refusal is in the audit record, unless nobody knows who asked.
pub async fn enrol(
    request: &EnrolRequest,
    authority: &RegionalAuthority,
    writer: &Writer,
) -> Result<CertificateAnswer, EnrolError> {
    let envelope = Unverified::parse(&request.enrolment.0).map_err(|_| EnrolError::Malformed)?;
    let claimed: Enrolment =
        serde_json::from_slice(envelope.unverified_payload()).map_err(|_| EnrolError::Malformed)?;
    let csr = certificate::read_request(&request.csr.0).map_err(|_| EnrolError::Malformed)?;
    // Whoever connects may come here: only what the join key of an admitted node signed costs the writer and the disk
    // anything.
    authenticate(envelope.clone(), &writer.state())?;
    // Decided on the writer thread: of two keys that arrive together one is first.
    let decided = writer
        .transact(move |transaction| {
            let decision = admit(envelope, &csr, transaction.state(), transaction.now_ms());
            record(transaction, "enrolment", &claimed.node, &decision);
            let admitted = decision?;
            if transaction.state().pin(&admitted.node.name).is_none() {
                transaction.put_pin(&admitted.node.name, admitted.key.spki());
            }
            Ok::<_, EnrolError>((admitted, transaction.now_ms()))
        })
        .await?;
    let (admitted, now_ms) = decided?;
    issue(&admitted, authority, &writer.state(), now_ms)
}

/// `POST /v1/certificates`: another certificate for a node that shows a valid one, for the same key.
///
/// # Errors
///
/// [`EnrolError`]; the refusal is in the audit record.
pub async fn renew(
    request: &CertificateRequest,
    node: &NodeName,
    key: &PublicKey,
    authority: &RegionalAuthority,
    writer: &Writer,
) -> Result<CertificateAnswer, EnrolError> {
    let csr = certificate::read_request(&request.csr.0).map_err(|_| EnrolError::Malformed)?;
    let (node, shown) = (node.clone(), key.clone());
    let decided = writer
        .transact(move |transaction| {
            let decision = readmit(&node, &shown, &csr, transaction.state());
            record(transaction, "certificate", &node.name, &decision);
            Ok::<_, EnrolError>((decision?, transaction.now_ms()))
        })
        .await?;
    let (admitted, now_ms) = decided?;
    issue(&admitted, authority, &writer.state(), now_ms)
}

/// A node whose key may be pinned and certified.
#[derive(Debug)]
struct Admitted {
    node: NodeName,
    key: PublicKey,
    home: String,
}

fn admit(
    envelope: Unverified,
    csr: &PublicKey,
    state: &State,
    now_ms: u64,
) -> Result<Admitted, EnrolError> {
    let Authentic { enrolment, join } = authenticate(envelope, state)?;
    let admission = admission(state, &enrolment.node)?;
    if now_ms > admission.join_until || enrolment.issued_at > admission.join_until {
        return Err(EnrolError::Late);
    }
    let key = PublicKey::from_spki(&enrolment.spki.0).map_err(|_| EnrolError::Malformed)?;
    if *csr != key {
        return Err(EnrolError::OtherKey);
    }
    if key == join {
        // The join token has been in other hands than the node's.
        return Err(EnrolError::JoinKey);
    }
    if state
        .pin(&enrolment.node)
        .is_some_and(|pinned| *pinned != key)
    {
        return Err(EnrolError::Pinned);
    }
    Ok(Admitted {
        node: name(&enrolment.node, &admission)?,
        key,
        home: admission.home.clone(),
    })
}

/// An enrolment that the join key of the node's admission signed.
struct Authentic {
    enrolment: Enrolment,
    join: PublicKey,
}

fn authenticate(envelope: Unverified, state: &State) -> Result<Authentic, EnrolError> {
    let claimed: Enrolment =
        serde_json::from_slice(envelope.unverified_payload()).map_err(|_| EnrolError::Malformed)?;
    let admission = state
        .nodes()
        .get(&claimed.node)
        .and_then(|node| node.admission.as_ref());
    let admission = admission.ok_or(EnrolError::NotAdmitted)?;
    let join = PublicKey::from_spki(&admission.join_key.0).map_err(|_| EnrolError::JoinKey)?;
    let verified = envelope
        .verify(ENROLMENT, [&join])
        .map_err(|_| EnrolError::JoinKey)?;
    let enrolment = serde_json::from_slice(&verified.payload).map_err(|_| EnrolError::Malformed)?;
    Ok(Authentic { enrolment, join })
}

fn readmit(
    node: &NodeName,
    shown: &PublicKey,
    csr: &PublicKey,
    state: &State,
) -> Result<Admitted, EnrolError> {
    let admission = admission(state, &node.name)?;
    if name(&node.name, &admission)? != *node {
        return Err(EnrolError::Moved);
    }
    if csr != shown {
        return Err(EnrolError::OtherKey);
    }
    if state.pin(&node.name) != Some(shown) {
        return Err(EnrolError::Pinned);
    }
    if admission.home != state.deployment().me.name {
        return Err(EnrolError::NotHome);
    }
    Ok(Admitted {
        node: node.clone(),
        key: shown.clone(),
        home: admission.home.clone(),
    })
}

fn admission(state: &State, node: &str) -> Result<Arc<Admission>, EnrolError> {
    if state.is_revoked(node) {
        return Err(EnrolError::Revoked);
    }
    let known = state
        .nodes()
        .get(node)
        .and_then(|node| node.admission.clone());
    known.ok_or(EnrolError::NotAdmitted)
}

fn name(node: &str, admission: &Admission) -> Result<NodeName, EnrolError> {
    NodeName::new(
        node,
        &admission.region,
        &admission.zone,
        &admission.jurisdiction,
    )
    .map_err(|_| EnrolError::NotAdmitted)
}

fn issue(
    admitted: &Admitted,
    authority: &RegionalAuthority,
    state: &State,
    now_ms: u64,
) -> Result<CertificateAnswer, EnrolError> {
    let deployment = state.deployment();
    let bundle = deployment
        .holders()
        .map(|holder| holder.ca.as_str())
        .collect();
    let (certificate, not_after) = if admitted.home == deployment.me.name {
        authority.node(&admitted.node, &admitted.key, now_ms)?
    } else {
        (String::new(), 0)
    };
    Ok(CertificateAnswer {
        certificate,
        bundle,
        not_after,
    })
}

fn record(
    transaction: &mut Transaction<'_>,
    event: &'static str,
    node: &str,
    decision: &Result<Admitted, EnrolError>,
) {
    let (decision, reason, key) = match decision {
        Ok(admitted) => ("allow", String::new(), Some(admitted.key.fingerprint())),
        Err(error) => ("deny", error.to_string(), None),
    };
    let subject = format!("node:{node}");
    transaction.audit(Entry {
        event,
        actor: subject.clone(),
        subject,
        decision,
        reason,
        detail: key.map_or(
            serde_json::Value::Null,
            |key| serde_json::json!({ "key": key }),
        ),
        ..Entry::default()
    });
}

/// Why a node got no certificate. Callers see [`code`](Self::code) only.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// Not an enrolment or not a certificate request.
    #[error("malformed enrolment or certificate request")]
    Malformed,
    /// No administrator admitted the node.
    #[error("the node is not admitted")]
    NotAdmitted,
    /// The node is revoked.
    #[error("the node is revoked")]
    Revoked,
    /// Not signed by the join key of the admission, or the join key itself is the node's.
    #[error("the enrolment is not signed by the node's join key")]
    JoinKey,
    /// The time to join is over.
    #[error("the time to join is over")]
    Late,
    /// The certificate request is for another key.
    #[error("the certificate request is for another key")]
    OtherKey,
    /// The node has another key already.
    #[error("the node's name is tied to another key")]
    Pinned,
    /// The certificate names another place than the admission in force.
    #[error("the node's certificate names another place than its admission")]
    Moved,
    /// Another holder is the node's home.
    #[error("another holder is the node's home")]
    NotHome,
    /// The certificate could not be issued.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EnrolError {
    /// Returns the code that callers see: it does not tell an unknown node from a false key.
    pub const fn code(&self) -> Code {
        match self {
            Self::Malformed => Code::BadRequest,
            Self::Authority(_) | Self::Store(_) => Code::StoreUnavailable,
            _ => Code::Forbidden,
        }
    }
}
