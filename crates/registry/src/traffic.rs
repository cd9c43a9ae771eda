//! What transfers cost on the wire.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a client has sent and received so far; bodies only, without headers and TLS.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// Requests that were begun, those for tokens and after redirects included.
    pub requests: u64,
    /// Pauses after which something was tried again: a request, or the rest of a blob.
    pub retries: u64,
    /// Octets of bodies handed to connections, those that were sent again included.
    pub sent: u64,
    /// Octets of bodies that arrived.
    pub received: u64,
}

/// Counts for one client; cheap to share.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    requests: AtomicU64,
    retries: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Meter {
    pub(crate) fn requested(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, octets: usize) {
        self.sent.fetch_add(octets as u64, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, octets: usize) {
        self.received.fetch_add(octets as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Traffic {
        Traffic {
            requests: self.requests.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
        }
    }
}
