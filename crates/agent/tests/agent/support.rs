//! Wraps, a clock that stands still, and holders that answer as they are told.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sealift_agent::protocol::Refusal;
use sealift_agent::server::{KeySource, Released, Resident, Settings, Standing};
use sealift_holder::command::{Command, Order};
use sealift_holder::deployment::DeploymentId;
use sealift_keywrap::{LayerSecret, Scheme, WrappedKey};
use tokio::sync::Notify;
use zeroize::Zeroizing;

/// A layer's commitment.
pub(crate) fn subject(layer: u8) -> String {
    format!("{layer:02x}").repeat(32)
}

/// The beginning of a threshold wrap for `key_id`, epoch 1, whose label names a layer.
pub(crate) fn wrap(key_id: &str, layer: u8) -> WrappedKey {
    let mut label = vec![0xaa, 1, 1, 2, 0x64];
    label.extend(b"TDH2");
    label.extend([3, 0x60 + u8::try_from(key_id.len()).unwrap()]);
    label.extend(key_id.as_bytes());
    label.extend([4, 1, 5, 0x61, b'r', 6, 0x82, 4, 0x58, 32]);
    label.extend([layer; 32]);
    let mut element = b"SLW1\x01".to_vec();
    element.extend(u16::try_from(label.len()).unwrap().to_be_bytes());
    element.extend(label);
    WrappedKey {
        scheme: Scheme::sealift(),
        element,
    }
}

/// Milliseconds since boot, set by hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn set(&self, seconds: u64) {
        self.0.store(seconds * 1000, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Holders that release `secret N` for layer N, unless they were told otherwise, and note who asked for what.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    pub(crate) asked: Mutex<Vec<Vec<WrappedKey>>>,
    pub(crate) refusals: Mutex<VecDeque<Refusal>>,
    /// Answers wait for this, if set.
    pub(crate) gate: Option<Arc<Notify>>,
    /// Notified when a request has come.
    pub(crate) came: Notify,
    pub(crate) lease: Option<Duration>,
}

impl Holders {
    pub(crate) fn asked(&self) -> Vec<usize> {
        self.asked.lock().unwrap().iter().map(Vec::len).collect()
    }
}

impl KeySource for Holders {
    fn release<'a>(
        &'a self,
        wraps: &'a [WrappedKey],
    ) -> BoxFuture<'a, Vec<Result<Released, Refusal>>> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(wraps.to_vec());
            self.came.notify_one();
            if let Some(gate) = &self.gate {
                gate.notified().await;
            }
            wraps.iter().map(|wrapped| self.answer(wrapped)).collect()
        })
    }
}

impl Holders {
    fn answer(&self, wrapped: &WrappedKey) -> Result<Released, Refusal> {
        if let Some(refusal) = self.refusals.lock().unwrap().pop_front() {
            return Err(refusal);
        }
        let layer = wrapped.element.last().unwrap();
        let label = sealift_keywrap::ThresholdLabel::of(wrapped)
            .unwrap()
            .unwrap();
        Ok(Released {
            secret: LayerSecret::new(Zeroizing::new(format!("secret {layer}").into_bytes())),
            key_id: label.key_id,
            epoch: label.epoch,
            lease: self.lease.unwrap_or(Duration::from_secs(3600)),
        })
    }
}

pub(crate) fn denied() -> Refusal {
    Refusal::Denied {
        by: "fra".into(),
        code: "Forbidden".into(),
    }
}

/// An agent of node `tokyo-7` in front of three holders of which two open.
pub(crate) fn resident(holders: &Arc<Holders>, clock: &Clock, lease: u64) -> Arc<Resident> {
    let names = ["fra", "gru", "nrt"];
    let standing = Standing::new("tokyo-7", names, 2, clock.now());
    let clock = clock.clone();
    let settings = Settings {
        node: "tokyo-7".into(),
        lease: Duration::from_secs(lease),
        clock: Arc::new(move || clock.now()),
    };
    Arc::new(Resident::new(settings, standing, Arc::clone(holders) as _))
}

pub(crate) const DEPLOYMENT: DeploymentId = DeploymentId([7; 16]);

pub(crate) fn command(subject: &str, version: u64, order: Order) -> Command {
    Command {
        v: 1,
        deployment: DEPLOYMENT,
        subject: subject.into(),
        version,
        issued_at: 0,
        reason: "test".into(),
        order,
    }
}
