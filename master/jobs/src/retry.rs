//! When to try again: which failures may pass, how long to pause, and when to give up.

use std::time::Duration;

use forebay_types::ErrorKind;

use crate::limits::{ATTEMPTS_MAX, ATTEMPTS_WITHIN, BACKOFF, PATIENCE};

/// The failed attempts at one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retry {
    failed: u32,
    /// Failures that may be the thing's own.
    counted: u32,
    first_failed_at: Option<Duration>,
}

impl Retry {
    /// When to try again after a failure of `kind` at `now`; `None`: give up.
    pub(crate) fn again(&mut self, now: Duration, kind: ErrorKind) -> Option<Duration> {
        let began = *self.first_failed_at.get_or_insert(now);
        let pause = BACKOFF.0.saturating_mul(1 << self.failed.min(16)).min(BACKOFF.1);
        self.failed = self.failed.saturating_add(1);
        let is_worth_it = match kind {
            // Somebody is away, and comes back or is replaced.
            ErrorKind::Unavailable | ErrorKind::NotLeader | ErrorKind::StaleEpoch => {
                now.saturating_sub(began) < PATIENCE
            }
            ErrorKind::UnderStore
            | ErrorKind::TimedOut
            | ErrorKind::Busy
            | ErrorKind::NoSpace
            | ErrorKind::LimitExceeded
            | ErrorKind::Corrupt
            | ErrorKind::Unauthenticated
            | ErrorKind::Io => {
                self.counted += 1;
                self.counted < ATTEMPTS_MAX && now.saturating_sub(began) < ATTEMPTS_WITHIN
            }
            _ => false,
        };
        is_worth_it.then(|| now + pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(kind: ErrorKind) -> (u32, Duration) {
        let (mut retry, mut now, mut failed) = (Retry::default(), Duration::ZERO, 1);
        while let Some(next) = retry.again(now, kind) {
            assert!(next > now);
            (now, failed) = (next, failed + 1);
        }
        (failed, now)
    }

    #[test]
    fn an_under_store_that_fails_is_asked_a_few_times_and_somebody_away_is_waited_for() {
        assert_eq!(attempts(ErrorKind::UnderStore).0, ATTEMPTS_MAX);
        assert!(attempts(ErrorKind::UnderStore).1 < Duration::from_secs(5));
        let (_, waited) = attempts(ErrorKind::Unavailable);
        assert!(waited >= PATIENCE && waited <= PATIENCE + BACKOFF.1);
    }

    #[test]
    fn a_slow_failure_is_not_waited_for_again_and_again() {
        let mut retry = Retry::default();
        let slow = ATTEMPTS_WITHIN * 3;
        assert!(retry.again(slow, ErrorKind::UnderStore).is_some());
        assert_eq!(retry.again(2 * slow, ErrorKind::UnderStore), None);
    }

    #[test]
    fn what_cannot_pass_is_given_up_at_once() {
        for kind in [ErrorKind::PermissionDenied, ErrorKind::InvalidArgument, ErrorKind::Internal] {
            assert_eq!(attempts(kind).0, 1, "{kind}");
        }
    }
}
