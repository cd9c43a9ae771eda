//! How many octets may pass in a second, up and down together.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A limit that everything holding a clone of it shares.
#[derive(Clone, Debug)]
pub struct RateLimit(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    per_second: NonZeroU64,
    /// When what was let pass so far has had its time.
    free_at: Mutex<Option<Instant>>,
}

impl RateLimit {
    /// Limits to `per_second` octets, at least [`LEAST`](Self::LEAST).
    pub fn new(per_second: u64) -> Self {
        let per_second = NonZeroU64::new(per_second.max(Self::LEAST)).unwrap_or(NonZeroU64::MIN);
        Self(Arc::new(Shared {
            per_second,
            free_at: Mutex::default(),
        }))
    }

    /// Waits for the time that earlier octets take, and takes that of these.
    pub(crate) async fn pass(&self, octets: usize) {
        let pause = {
            let free_at = &self.0.free_at;
            let mut free_at = free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let start = free_at.map_or(now, |free_at| free_at.max(now));
            *free_at = start.checked_add(time_of(octets as u64, self.0.per_second));
            start.duration_since(now)
        };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    /// Fewer octets per second would look like a connection on which nothing moves.
    pub const LEAST: u64 = 16 * 1024;
}

/// Returns how long octets take.
fn time_of(octets: u64, per_second: NonZeroU64) -> Duration {
    let nanoseconds = u128::from(octets) * 1_000_000_000 / u128::from(per_second.get());
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_take_their_share_of_a_second() {
        for (octets, per_second, milliseconds) in [
            (0, 1, 0),
            (1, 1, 1000),
            (500, 1000, 500),
            (u64::MAX, u64::MAX, 1000),
        ] {
            let per_second = NonZeroU64::new(per_second).unwrap();
            assert_eq!(
                time_of(octets, per_second),
                Duration::from_millis(milliseconds),
                "{octets} {per_second}"
            );
        }
        assert_eq!(
            time_of(u64::MAX, NonZeroU64::MIN),
            Duration::from_nanos(u64::MAX)
        );
    }
}
