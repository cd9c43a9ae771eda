//! When a request is tried again, and after which pause.
//!
//! Exponential backoff, half of it jitter; `Retry-After` (RFC 9110, section 10.2.3) overrides the backoff. Pure: the
//! clock and the dice are arguments.

use std::time::{Duration, SystemTime};

/// How patient an operation is.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// How often something is tried in a row without progress, the first time included.
    pub attempts: u32,
    /// Longest pause before the second attempt, and twice the shortest; it doubles with each further one.
    pub base: Duration,
    /// Longest pause that backoff asks for.
    pub cap: Duration,
    /// Most time one operation may spend pausing, `Retry-After` included.
    pub budget: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            // Eight to sixteen seconds of pauses: a registry that is started again is waited for.
            attempts: 6,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(30),
            budget: Duration::from_secs(300),
        }
    }
}

/// The attempts of one operation.
#[derive(Clone, Debug)]
pub(crate) struct Attempts {
    policy: RetryPolicy,
    failures: u32,
    waited: Duration,
}

impl Attempts {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        Self {
            policy,
            failures: 0,
            waited: Duration::ZERO,
        }
    }

    /// Counts a failure and decides; `dice` is uniform in `0.0..1.0`.
    pub(crate) fn after_failure(&mut self, retry_after: Option<Duration>, dice: f64) -> Verdict {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.policy.attempts {
            return Verdict::GiveUp;
        }
        let doubled = self
            .policy
            .base
            .saturating_mul(2u32.saturating_pow(self.failures - 1));
        // With full jitter a few unlucky draws would use up all attempts within a second.
        let jitter = 0.5 + dice.clamp(0.0, 1.0) / 2.0;
        let backoff = doubled.min(self.policy.cap).mul_f64(jitter);
        let pause = retry_after.map_or(backoff, |asked| asked.max(backoff));
        if self.waited.saturating_add(pause) > self.policy.budget {
            return Verdict::TooLong(pause);
        }
        self.waited += pause;
        Verdict::Pause(pause)
    }

    /// Forgets failures after substantial progress; the budget of pauses stays spent.
    pub(crate) fn progressed(&mut self) {
        self.failures = 0;
    }

    /// Returns how many attempts failed in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Pause(Duration),
    TooLong(Duration),
    GiveUp,
}

/// Returns whether an answer means "later", not "no".
pub(crate) fn is_transient(status: u16) -> bool {
    // 501, 505 and 511 state what the server is, not how it is.
    matches!(status, 408 | 425 | 429)
        || (500..600).contains(&status) && !matches!(status, 501 | 505 | 511)
}

/// Reads `Retry-After`: seconds, or a date, which in the past means now.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        attempts: 4,
        base: Duration::from_secs(1),
        cap: Duration::from_secs(3),
        budget: Duration::from_secs(10),
    };

    #[test]
    fn pauses_double_up_to_the_cap_and_end_with_the_attempts() {
        let mut attempts = Attempts::new(POLICY);
        assert_eq!(
            attempts.after_failure(None, 1.0),
            Verdict::Pause(Duration::from_secs(1))
        );
        assert_eq!(
            attempts.after_failure(None, 0.0),
            Verdict::Pause(Duration::from_secs(1))
        );
        assert_eq!(
            attempts.after_failure(None, 1.0),
            Verdict::Pause(Duration::from_secs(3))
        );
        assert_eq!(attempts.after_failure(None, 1.0), Verdict::GiveUp);
        assert_eq!(attempts.failures(), 4);
    }

    #[test]
    fn progress_restores_attempts_but_not_the_budget() {
        let mut attempts = Attempts::new(POLICY);
        let asked = Some(Duration::from_secs(6));
        assert_eq!(
            attempts.after_failure(asked, 0.0),
            Verdict::Pause(Duration::from_secs(6))
        );
        attempts.progressed();
        assert_eq!(
            attempts.after_failure(asked, 0.0),
            Verdict::TooLong(Duration::from_secs(6))
        );
    }

    #[test]
    fn a_server_that_asks_for_less_than_the_backoff_gets_the_backoff() {
        let mut attempts = Attempts::new(POLICY);
        assert_eq!(
            attempts.after_failure(Some(Duration::ZERO), 1.0),
            Verdict::Pause(Duration::from_secs(1))
        );
    }

    #[test]
    fn an_absurd_pause_is_refused_without_overflow() {
        let mut attempts = Attempts::new(POLICY);
        assert_eq!(
            attempts.after_failure(Some(Duration::MAX), 1.0),
            Verdict::TooLong(Duration::MAX)
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sunday, 06-Nov-94 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(
                retry_after(value, now),
                expected.map(Duration::from_secs),
                "{value}"
            );
        }
    }

    #[test]
    fn only_later_is_transient() {
        for (status, expected) in [
            (200, false),
            (301, false),
            (400, false),
            (401, false),
            (403, false),
            (404, false),
            (408, true),
            (416, false),
            (425, true),
            (429, true),
            (500, true),
            (501, false),
            (503, true),
            (505, false),
            (511, false),
            (522, true),
            (600, false),
        ] {
            assert_eq!(is_transient(status), expected, "{status}");
        }
    }
}
