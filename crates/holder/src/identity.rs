//! Holders as one more identity of a key ring.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sealift_keywrap::{
    Identity, LayerSecret, Scheme, ThresholdLabel, UnwrapError, WrapContext, WrappedKey,
};
use sealift_threshold::{ErrorId, GroupKey, ThresholdError};
use tokio::runtime::Handle;

use crate::client::release::{Accusation, Element, ReleaseError, Releaser};

/// The holders of one key, asked directly.
///
/// [`unwrap_key`](Identity::unwrap_key) blocks until they have answered; call it from a thread that is not the runtime's.
pub struct HolderIdentity {
    releaser: Arc<Releaser>,
    group: GroupKey,
    runtime: Handle,
    noted: Mutex<Vec<WrappedKey>>,
    /// Held by the one that asks.
    asking: Mutex<()>,
    fetched: Mutex<HashMap<WrappedKey, Result<LayerSecret, ReleaseError>>>,
    accusations: Accusations,
}

/// What holders are proven to have lied about; remains readable when the identity is in a key ring.
#[derive(Clone, Debug, Default)]
pub struct Accusations(Arc<Mutex<Vec<Accusation>>>);

impl Accusations {
    /// Takes those that there are so far.
    pub fn take(&self) -> Vec<Accusation> {
        std::mem::take(&mut lock(&self.0))
    }
}

impl HolderIdentity {
    /// Takes the key `group` of those that `releaser` asks for; `runtime` carries the connections.
    pub fn new(releaser: Arc<Releaser>, group: GroupKey, runtime: Handle) -> Self {
        Self {
            releaser,
            group,
            runtime,
            noted: Mutex::default(),
            asking: Mutex::default(),
            fetched: Mutex::default(),
            accusations: Accusations::default(),
        }
    }

    /// Returns where lies of holders are collected.
    pub fn accusations(&self) -> Accusations {
        self.accusations.clone()
    }

    /// Asks for `wanted` and, in the same requests, for what was noted.
    fn fetch(&self, wanted: &WrappedKey) -> Result<(), UnwrapError> {
        let mut sources = vec![wanted.clone()];
        let mut elements =
            Element::read(wanted, &self.group).map_err(|error| unwrap_error(&error.into()))?;
        let mut owners = vec![0; elements.len()];
        for other in std::mem::take(&mut *lock(&self.noted)) {
            // A noted element that is not for this key is another identity's.
            if other != *wanted
                && let Ok(more) = Element::read(&other, &self.group)
            {
                owners.extend(more.iter().map(|_| sources.len()));
                sources.push(other);
                elements.extend(more);
            }
        }
        let released = self
            .runtime
            .block_on(self.releaser.open(&self.group, elements));
        lock(&self.accusations.0).extend(released.accusations);
        let mut fetched = lock(&self.fetched);
        for (owner, secret) in owners.into_iter().zip(released.secrets) {
            let Some(source) = sources.get(owner) else {
                continue;
            };
            // Of several recipients the one that opens counts.
            if secret.is_ok() || !fetched.contains_key(source) {
                fetched.insert(source.clone(), secret);
            }
        }
        Ok(())
    }
}

impl Identity for HolderIdentity {
    fn opens(&self, scheme: &Scheme) -> bool {
        *scheme
            == if self.group.unbound() {
                Scheme::Jwe
            } else {
                Scheme::sealift()
            }
    }

    fn fingerprint(&self) -> String {
        self.group.fingerprint()
    }

    fn key_id(&self) -> Option<&str> {
        Some(self.group.key_id())
    }

    fn prepare(&self, wraps: &[WrappedKey]) {
        *lock(&self.noted) = wraps.to_vec();
    }

    fn unwrap_key(
        &self,
        wrapped: &WrappedKey,
        context: &WrapContext<'_>,
    ) -> Result<LayerSecret, UnwrapError> {
        if !self.opens(&wrapped.scheme) {
            return Err(UnwrapError::NotForThisKey);
        }
        // The layer must be the one that the label names before a holder is asked, and before a secret is given out.
        if wrapped.scheme == Scheme::sealift() {
            let label = ThresholdLabel::of(wrapped).ok_or(UnwrapError::NotForThisKey)??;
            if *label.key_id != *self.group.key_id() || label.epoch != self.group.epoch() {
                return Err(UnwrapError::NotForThisKey);
            }
            label.naming(context.subject)?;
        }
        {
            // What one layer's thread asks for on behalf of all must not be asked for again by those that come meanwhile:
            // each partial is a release in somebody's record.
            let _asking = lock(&self.asking);
            if !lock(&self.fetched).contains_key(wrapped) {
                self.fetch(wrapped)?;
            }
        }
        match lock(&self.fetched).remove(wrapped) {
            Some(Ok(secret)) => Ok(secret),
            Some(Err(error)) => Err(unwrap_error(&error)),
            None => Err(UnwrapError::NotForThisKey),
        }
    }
}

impl std::fmt::Debug for HolderIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HolderIdentity({:?})", self.group)
    }
}

/// Says to a key ring what became of an element.
pub fn unwrap_error(error: &ReleaseError) -> UnwrapError {
    match error {
        ReleaseError::Denied {
            by,
            code,
            request_id,
        } => UnwrapError::Denied {
            by: by.clone(),
            code: match request_id {
                Some(id) => format!("{code} (request {id})").into(),
                None => code.as_str().into(),
            },
        },
        ReleaseError::Element { source } => of_element(source),
        other => UnwrapError::Unavailable {
            reason: other.to_string().into(),
        },
    }
}

fn of_element(error: &ThresholdError) -> UnwrapError {
    match error.id {
        // A JWE says nothing about which key it is for, so one that does not open may be another key's.
        ErrorId::KeyMismatch
        | ErrorId::JweOpenFailed
        | ErrorId::JweAlgUnsupported
        | ErrorId::ModeMismatch => UnwrapError::NotForThisKey,
        ErrorId::WrapProofInvalid | ErrorId::CombineMismatch | ErrorId::AeadFailed => {
            UnwrapError::Authentication
        }
        // Here it is holders that answered with other shares than were sealed to them.
        ErrorId::PartialsInsufficient
        | ErrorId::PartialProofInvalid
        | ErrorId::ShareCommitmentMismatch
        | ErrorId::Randomness => UnwrapError::Unavailable {
            reason: error.to_string().into(),
        },
        id => UnwrapError::Malformed {
            reason: id.as_str(),
        },
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
