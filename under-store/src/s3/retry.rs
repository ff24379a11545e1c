//! One call's attempts: how long to wait for the next, and when the call's budget of time is spent.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::UnderStoreError;
use crate::limits::{BACKOFF_FIRST, BACKOFF_MAX};
use crate::statistics::UnderStoreStatistics;

/// The attempts of one call.
#[derive(Debug)]
pub(super) struct Attempts<'a> {
    budget: Duration,
    deadline: Instant,
    count: u32,
    statistics: &'a UnderStoreStatistics,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another attempt may succeed; the error to give when there is no time for one.
    Passing {
        /// The wait that the server asked for.
        retry_after: Option<Duration>,
        /// What it was.
        error: UnderStoreError,
    },
    /// No attempt will.
    Lasting(UnderStoreError),
}

impl<'a> Attempts<'a> {
    pub(super) fn new(budget: Duration, statistics: &'a UnderStoreStatistics) -> Self {
        Self { budget, deadline: Instant::now() + budget, count: 1, statistics }
    }

    /// The end of the call's budget.
    pub(super) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The whole budget.
    pub(super) const fn budget(&self) -> Duration {
        self.budget
    }

    /// Which attempt this is, from 1.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// Waits until the next attempt is due.
    ///
    /// # Errors
    /// The failure's own error, when it is lasting or the budget has no room for another attempt.
    pub(super) async fn after(&mut self, failure: Failure) -> Result<(), UnderStoreError> {
        let (retry_after, error) = match failure {
            Failure::Lasting(error) => return Err(error),
            Failure::Passing { retry_after, error } => (retry_after, error),
        };
        let wait = backoff(self.count).max(retry_after.unwrap_or_default());
        let due = Instant::now() + wait;
        if due >= self.deadline {
            return Err(error);
        }
        tokio::time::sleep_until(due).await;
        self.count += 1;
        self.statistics.count_retry();
        Ok(())
    }
}

/// Half of an exponential wait and a random part of the other half, so that clients that failed together come back
/// apart.
fn backoff(attempt: u32) -> Duration {
    let doubled = BACKOFF_FIRST.saturating_mul(1 << (attempt - 1).min(16)).min(BACKOFF_MAX);
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    doubled / 2 + doubled.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_below_their_maximum() {
        for attempt in 1..100 {
            let wait = backoff(attempt);
            assert!(wait <= BACKOFF_MAX && wait >= BACKOFF_FIRST / 2, "{attempt}: {wait:?}");
        }
        assert!(backoff(20) >= BACKOFF_MAX / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_end_with_the_last_error_when_the_budget_is_spent() {
        let statistics = UnderStoreStatistics::default();
        let mut attempts = Attempts::new(Duration::from_secs(30), &statistics);
        let begin = Instant::now();
        let passing = || {
            let error = UnderStoreError::Stopping { object: "s3://b/k".to_owned() };
            Failure::Passing { retry_after: None, error }
        };
        while attempts.after(passing()).await.is_ok() {}
        let taken = begin.elapsed();
        assert!(taken <= Duration::from_secs(30) && taken > Duration::from_secs(20), "{taken:?}");
        assert_eq!(statistics.counts().retries, u64::from(attempts.count()) - 1);
    }
}
