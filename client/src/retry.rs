//! When to try again: which kinds of failure may pass, how long to pause, and when to stop.
//!
//! Pauses double up to a maximum, with a random half, so that clients that failed together do not come back together.

use std::time::Duration;

use forebay_types::ErrorKind;
use tokio::time::Instant;

use crate::limits::{FUTILE_PASSES_MAX, MASTER_PAUSE_MAX, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};
use crate::session::random_number;

/// What one kind of request does about failures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// How many attempts follow each other without a pause: one for each place that can be asked.
    pub(crate) eager_attempts: u32,
    /// Whom the request goes to.
    pub(crate) asked: Asked,
}

/// Whom a request goes to, which decides what is worth another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The masters, which have done their own retries towards under-stores.
    Masters,
    /// All workers in turn.
    Workers,
}

/// The attempts of one request.
#[derive(Debug)]
pub(crate) struct Attempts {
    policy: Policy,
    deadline: Instant,
    failed: u32,
}

/// The pause before the next attempt after `failed` ones, the last of which met `kind`; `None` to give up. The pause
/// is a maximum of which a random part of at least half is taken.
pub(crate) fn retry(policy: Policy, kind: ErrorKind, failed: u32) -> Option<Duration> {
    let worth_it = match policy.asked {
        Asked::Masters => matches!(kind, ErrorKind::NotLeader | ErrorKind::Unavailable),
        Asked::Workers => match kind {
            // These may be the bytes' fault rather than a worker's.
            ErrorKind::Corrupt | ErrorKind::UnderStore | ErrorKind::Io | ErrorKind::Internal => {
                failed < FUTILE_PASSES_MAX
            }
            ErrorKind::LimitExceeded | ErrorKind::NoSpace => true,
            kind => kind.is_retryable(),
        },
    };
    if !worth_it {
        return None;
    }
    let Some(paused) = failed.checked_sub(policy.eager_attempts.max(1)) else { return Some(Duration::ZERO) };
    let longest = match policy.asked {
        Asked::Masters => MASTER_PAUSE_MAX,
        Asked::Workers => RETRY_PAUSE_MAX,
    };
    Some(RETRY_PAUSE_MIN.saturating_mul(1 << paused.min(16)).min(longest))
}

/// Whether a first failure of this kind is worth another attempt.
pub(crate) fn may_pass(policy: Policy, kind: ErrorKind) -> bool {
    retry(policy, kind, 1).is_some()
}

impl Attempts {
    /// The attempts of a request that must be over at `deadline`.
    pub(crate) const fn new(policy: Policy, deadline: Instant) -> Self {
        Self { policy, deadline, failed: 0 }
    }

    /// Progress was made: the next failure is a first one.
    pub(crate) const fn begin_anew(&mut self) {
        self.failed = 0;
    }

    /// Says that an attempt failed, pauses, and tells whether another one is worth it. Cancel safe.
    pub(crate) async fn again(&mut self, kind: ErrorKind) -> bool {
        self.failed = self.failed.saturating_add(1);
        let Some(pause) = retry(self.policy, kind, self.failed) else { return false };
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left < RETRY_PAUSE_MIN {
            return false;
        }
        if !pause.is_zero() {
            // Half of what is left at most, so that the end of the time is used too.
            tokio::time::sleep(jittered(pause, random_number()).min(left / 2)).await;
        }
        true
    }
}

/// At least half of the pause, and a random part of the rest.
fn jittered(pause: Duration, random: u64) -> Duration {
    let half = pause / 2;
    let part = u32::try_from(random % 1024).unwrap_or_default();
    half + half * part / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTERS: Policy = Policy { eager_attempts: 3, asked: Asked::Masters };

    #[test]
    fn each_master_is_asked_once_before_the_first_pause_and_pauses_double_up_to_a_maximum() {
        let pauses: Vec<_> = (1..12)
            .map(|failed| retry(MASTERS, ErrorKind::Unavailable, failed).expect("worth it").as_millis())
            .collect();
        assert_eq!(pauses, [0, 0, 20, 40, 80, 160, 250, 250, 250, 250, 250]);
        let workers = Policy { asked: Asked::Workers, ..MASTERS };
        let longest = retry(workers, ErrorKind::Unavailable, 12).expect("worth it");
        assert_eq!(longest, RETRY_PAUSE_MAX);
    }

    #[test]
    fn a_final_answer_of_a_master_is_not_asked_for_again() {
        for kind in ErrorKind::ALL {
            let expected = matches!(kind, ErrorKind::NotLeader | ErrorKind::Unavailable);
            assert_eq!(retry(MASTERS, kind, 1).is_some(), expected, "{kind}");
        }
    }

    #[test]
    fn damaged_bytes_are_asked_for_a_few_times_only() {
        let policy = Policy { eager_attempts: 1, asked: Asked::Workers };
        assert!(retry(policy, ErrorKind::Corrupt, FUTILE_PASSES_MAX - 1).is_some());
        assert_eq!(retry(policy, ErrorKind::Corrupt, FUTILE_PASSES_MAX), None);
        assert!(retry(policy, ErrorKind::Unavailable, 1000).is_some());
        assert_eq!(retry(policy, ErrorKind::Stale, 1), None);
    }

    #[test]
    fn a_pause_keeps_at_least_its_half() {
        let pause = Duration::from_millis(100);
        for random in [0, 1, 512, 1023, u64::MAX] {
            assert!((pause / 2..=pause).contains(&jittered(pause, random)), "{random}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_end_with_the_deadline() {
        let begun = Instant::now();
        let mut attempts = Attempts::new(MASTERS, begun + Duration::from_secs(10));
        while attempts.again(ErrorKind::Unavailable).await {}
        let waited = begun.elapsed();
        assert!(waited > Duration::from_millis(9900) && waited <= Duration::from_secs(10), "{waited:?}");
    }
}
