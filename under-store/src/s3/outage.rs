//! Remembers for a moment that a server let a whole budget pass without an answer: calls that follow wait less.
//!
//! Of the many that ask for what cannot be had, and of one that asks again and again, only the first waits long. A call
//! with a short budget proves nothing about a slow server, so it does not prolong that.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{OUTAGE_BUDGET, OUTAGE_MEMORY};

/// Since when a server does not answer, if so. The lock is held to copy the time only.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<Option<Instant>>);

impl Outage {
    /// The budget of a call that would have `whole`.
    pub(super) fn budget(&self, whole: Duration) -> Duration {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match since {
            Some(since) if since.elapsed() < OUTAGE_MEMORY => whole.min(OUTAGE_BUDGET),
            _ => whole,
        }
    }

    /// A call has used up its budget without an answer.
    pub(super) fn used_up(&self, budget: Duration) {
        if budget > OUTAGE_BUDGET {
            self.set(Some(Instant::now()));
        }
    }

    /// The server has answered, whatever it said.
    pub(super) fn answered(&self) {
        self.set(None);
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn after_a_whole_budget_without_an_answer_calls_wait_less_for_a_while() {
        let outage = Outage::default();
        assert_eq!(outage.budget(WHOLE), WHOLE);
        outage.used_up(WHOLE);
        assert_eq!(outage.budget(WHOLE), OUTAGE_BUDGET);
        assert_eq!(outage.budget(OUTAGE_BUDGET / 2), OUTAGE_BUDGET / 2);
        tokio::time::advance(OUTAGE_MEMORY / 2).await;
        outage.used_up(OUTAGE_BUDGET);
        tokio::time::advance(OUTAGE_MEMORY / 2).await;
        assert_eq!(outage.budget(WHOLE), WHOLE, "a short budget does not prolong it");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_ends_it() {
        let outage = Outage::default();
        outage.used_up(WHOLE);
        outage.answered();
        assert_eq!(outage.budget(WHOLE), WHOLE);
    }
}
