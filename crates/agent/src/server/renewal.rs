use std::time::Duration;

/// When a certificate is renewed: after two thirds of its life, less up to a tenth of it, so that nodes that began together do
/// not come back together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Renewal {
    /// Unix milliseconds from which it is valid.
    pub not_before: u64,
    /// Unix milliseconds until which it is valid.
    pub not_after: u64,
}

impl Renewal {
    /// Returns when to renew, in Unix milliseconds. `jitter` is uniform over all values.
    pub fn at(self, jitter: u32) -> u64 {
        let life = u128::from(self.not_after.saturating_sub(self.not_before));
        let early = life * u128::from(jitter) / (u128::from(u32::MAX) * 10);
        let after = (life * 2 / 3).saturating_sub(early);
        self.not_before
            .saturating_add(u64::try_from(after).unwrap_or(u64::MAX))
    }

    /// Returns how long to wait from `now`; `None` once the certificate has ended, when only a new enrolment helps.
    pub fn wait(self, now: u64, jitter: u32) -> Option<Duration> {
        (now < self.not_after).then(|| Duration::from_millis(self.at(jitter).saturating_sub(now)))
    }
}

/// Waiting times between attempts that failed: each twice as long as the one before, eight times, then the longest for ever.
#[derive(Debug, Default)]
pub struct Retries(u32);

impl Retries {
    /// Returns how long to wait before the next attempt.
    pub fn next_wait(&mut self) -> Duration {
        let wait = Self::FIRST * 2_u32.pow(self.0);
        self.0 = (self.0 + 1).min(Self::DOUBLINGS);
        wait
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.0 = 0;
    }

    const FIRST: Duration = Duration::from_secs(1);
    const DOUBLINGS: u32 = 8;
}
