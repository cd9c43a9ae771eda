//! How many wraps a node may have opened under one key: token buckets.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// What one node may ask of one key.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Wraps at once.
    pub burst: u32,
    /// Wraps per minute.
    pub per_minute: u32,
}

impl Quota {
    /// Enrolments from one address: each is a row of the record, whoever asks. A rack that starts at once gets in.
    pub const STRANGERS: Self = Self {
        burst: 128,
        per_minute: 120,
    };
}

impl Default for Quota {
    /// A node that starts many images at once, not one that opens everything there is.
    fn default() -> Self {
        Self {
            burst: 1024,
            per_minute: 6000,
        }
    }
}

/// The buckets of all callers and keys.
#[derive(Debug, Default)]
pub struct Buckets {
    quota: Quota,
    buckets: Mutex<HashMap<(String, String), Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of a wrap.
    level: u64,
    at_ms: u64,
    refused_ms: Option<u64>,
}

/// The bucket does not hold as much.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OverQuota {
    /// Seconds after which to come again.
    pub retry_after: u64,
    /// Whether it is the first refusal in a second: one such row per second is record enough of a flood.
    pub is_first: bool,
}

impl Buckets {
    /// Starts with full buckets.
    pub fn new(quota: Quota) -> Self {
        Self {
            quota,
            buckets: Mutex::default(),
        }
    }

    /// Takes `wraps` from the caller's bucket for the key.
    pub fn take(
        &self,
        caller: &str,
        key_id: &str,
        wraps: usize,
        now_ms: u64,
    ) -> Result<(), OverQuota> {
        let full = u64::from(self.quota.burst).saturating_mul(UNIT);
        let wanted = (wraps as u64).saturating_mul(UNIT);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS {
            // Buckets that have been left alone until they are full again say nothing.
            buckets.retain(|_, bucket| self.level(*bucket, now_ms) < full);
            if buckets.len() >= MAX_BUCKETS {
                return Err(OverQuota {
                    retry_after: 60,
                    is_first: false,
                });
            }
        }
        let key = (caller.to_owned(), key_id.to_owned());
        let bucket = buckets.entry(key).or_insert(Bucket {
            level: full,
            at_ms: now_ms,
            refused_ms: None,
        });
        let level = self.level(*bucket, now_ms);
        let left = level.checked_sub(wanted);
        // A clock that went back must not be paid for twice when it comes forward again.
        bucket.at_ms = bucket.at_ms.max(now_ms);
        bucket.level = left.unwrap_or(level);
        if left.is_some() {
            return Ok(());
        }
        let missing = wanted.saturating_sub(level).saturating_mul(60);
        let rate = u64::from(self.quota.per_minute).saturating_mul(UNIT).max(1);
        let is_first = bucket
            .refused_ms
            .is_none_or(|at| now_ms.abs_diff(at) >= 1000);
        if is_first {
            bucket.refused_ms = Some(now_ms);
        }
        Err(OverQuota {
            retry_after: missing.div_ceil(rate).max(1),
            is_first,
        })
    }

    fn level(&self, bucket: Bucket, now_ms: u64) -> u64 {
        let full = u64::from(self.quota.burst).saturating_mul(UNIT);
        let since = now_ms.saturating_sub(bucket.at_ms);
        let gained = since
            .saturating_mul(u64::from(self.quota.per_minute))
            .saturating_mul(UNIT)
            / 60_000;
        bucket.level.saturating_add(gained).min(full)
    }
}

const UNIT: u64 = 1000;
const MAX_BUCKETS: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets() -> Buckets {
        Buckets::new(Quota {
            burst: 10,
            per_minute: 60,
        })
    }

    fn take(
        buckets: &Buckets,
        caller: &str,
        key_id: &str,
        wraps: usize,
        now_ms: u64,
    ) -> Result<(), u64> {
        buckets
            .take(caller, key_id, wraps, now_ms)
            .map_err(|over| over.retry_after)
    }

    #[test]
    fn a_burst_is_followed_by_the_rate() {
        let buckets = buckets();
        assert_eq!(take(&buckets, "n", "k", 10, 5_000), Ok(()));
        assert_eq!(take(&buckets, "n", "k", 1, 5_000), Err(1));
        assert_eq!(take(&buckets, "n", "k", 5, 5_000), Err(5));
        assert_eq!(take(&buckets, "n", "k", 1, 6_000), Ok(()));
        assert_eq!(take(&buckets, "n", "k", 1, 6_000), Err(1));
    }

    #[test]
    fn nodes_and_keys_do_not_share() {
        let buckets = buckets();
        assert_eq!(take(&buckets, "n", "k", 10, 0), Ok(()));
        assert_eq!(take(&buckets, "m", "k", 10, 0), Ok(()));
        assert_eq!(take(&buckets, "n", "l", 10, 0), Ok(()));
        assert_eq!(take(&buckets, "n", "k", 1, 0), Err(1));
    }

    #[test]
    fn a_clock_that_jumps_back_and_forth_gives_nothing() {
        let buckets = buckets();
        assert_eq!(take(&buckets, "n", "k", 10, 100_000), Ok(()));
        for _ in 0..3 {
            assert_eq!(take(&buckets, "n", "k", 1, 0), Err(1));
            assert_eq!(take(&buckets, "n", "k", 1, 100_000), Err(1));
        }
    }

    #[test]
    fn more_than_a_burst_is_never_granted() {
        assert_eq!(take(&buckets(), "n", "k", 11, 0), Err(1));
    }

    #[test]
    fn one_refusal_a_second_is_told_apart() {
        let buckets = buckets();
        assert_eq!(take(&buckets, "n", "k", 10, 0), Ok(()));
        let told: Vec<bool> = [0, 1, 500, 999, 1000, 1001]
            .map(|now| buckets.take("n", "k", 10, now).unwrap_err().is_first)
            .to_vec();
        assert_eq!(told, [true, false, false, false, true, false]);
    }
}
