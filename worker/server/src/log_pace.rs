//! How often a trouble that goes on is said: the first time, and then at most once in an interval.

use std::time::Duration;

use tokio::time::Instant;

/// When one kind of trouble was said last.
#[derive(Debug)]
pub(crate) struct LogPace {
    interval: Duration,
    said: Option<Instant>,
    unsaid: u64,
}

impl LogPace {
    /// Nothing was said yet.
    pub(crate) const fn new(interval: Duration) -> Self {
        Self { interval, said: None, unsaid: 0 }
    }

    /// The trouble came up again. If it is to be said now: how often it was not, since it was the last time.
    pub(crate) fn next(&mut self, now: Instant) -> Option<u64> {
        if self.said.is_some_and(|said| now.saturating_duration_since(said) < self.interval) {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_is_said_and_then_one_time_an_interval() {
        let begin = Instant::now();
        let mut pace = LogPace::new(Duration::from_secs(60));
        let said: Vec<_> =
            (0..150).filter_map(|second| pace.next(begin + Duration::from_secs(second))).collect();
        assert_eq!(said, [0, 59, 59]);
    }
}
