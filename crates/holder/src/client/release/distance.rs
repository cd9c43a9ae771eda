//! How long holders take to answer.

use std::time::Duration;

/// How long a holder takes: moving average and mean deviation, as RFC 6298 has them.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundTrip {
    pub(super) mean: Duration,
    pub(super) deviation: Duration,
    pub(super) is_down: bool,
}

impl RoundTrip {
    pub(super) fn first(took: Duration) -> Self {
        Self {
            mean: took,
            deviation: took / 2,
            is_down: false,
        }
    }

    pub(super) fn note(&mut self, took: Duration) {
        self.deviation = (self.deviation * 3 + self.mean.abs_diff(took)) / 4;
        self.mean = (self.mean * 7 + took) / 8;
    }

    /// About the 95th percentile; never so short that jitter alone costs a release.
    pub(super) fn p95(&self) -> Duration {
        (self.mean + self.deviation * 2).max(MIN_PATIENCE)
    }
}

pub(super) const MIN_PATIENCE: Duration = Duration::from_millis(20);
