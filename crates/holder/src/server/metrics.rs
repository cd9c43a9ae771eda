//! What can be seen from outside: Prometheus text, without names of nodes, keys or repositories.

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// All metrics of a holder.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Wraps by what became of them: `Released`, or the code of the refusal.
    pub decisions: Family<Reason, Counter>,
    /// Seconds from the whole request to the answer.
    pub release_seconds: Histogram,
    /// Seconds from a command's issue to its application here.
    pub command_lag_seconds: Histogram,
    /// Seconds that jobs waited until their batch was durable.
    pub audit_lag_seconds: Histogram,
    /// Whether each peer answered last time: 1 or 0.
    pub peer_up: Family<PeerLabel, Gauge>,
    /// Holders that answered last time, this one included.
    pub holders_up: Gauge,
    /// Open connections.
    pub connections: Gauge,
    /// Connections and requests that were turned away for want of room.
    pub shed: Counter,
}

/// Why.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct Reason {
    /// `Released` or a code of the holder API.
    pub reason: &'static str,
}

/// Which peer.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct PeerLabel {
    /// Its short name.
    pub holder: String,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("sealift_holder"),
            decisions: Family::default(),
            release_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            command_lag_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 20)),
            audit_lag_seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 14)),
            peer_up: Family::default(),
            holders_up: Gauge::default(),
            connections: Gauge::default(),
            shed: Counter::default(),
        };
        metrics.registered()
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register(
            "release_decisions",
            "Wraps by what became of them",
            self.decisions.clone(),
        );
        registry.register(
            "release_seconds",
            "Time to answer a release",
            self.release_seconds.clone(),
        );
        registry.register(
            "command_lag_seconds",
            "Age of commands when applied",
            self.command_lag_seconds.clone(),
        );
        registry.register(
            "audit_lag_seconds",
            "Time until audit rows are durable",
            self.audit_lag_seconds.clone(),
        );
        registry.register(
            "peer_up",
            "Whether a peer answered last time",
            self.peer_up.clone(),
        );
        registry.register(
            "holders_up",
            "Holders that answered last time, with this one",
            self.holders_up.clone(),
        );
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register(
            "shed",
            "Connections and requests turned away",
            self.shed.clone(),
        );
        self
    }

    /// Returns the text form.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
