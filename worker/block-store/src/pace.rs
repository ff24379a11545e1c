//! How fast what nobody waits for may go on: so many bytes a second, after whoever reads. Pure; time is an argument.

use std::time::{Duration, Instant};

use crate::limits::{BACKGROUND_PATIENCE, BACKGROUND_YIELD};

/// How fast it may go.
#[derive(Debug)]
pub struct BackgroundPace {
    /// Bytes a second; not 0.
    rate: u64,
    /// When the bytes of the steps so far are paid for.
    paid_at: Instant,
    /// What others had read when it was looked last.
    seen: u64,
    /// Since when it gives way to others.
    yielding_since: Option<Instant>,
}

impl BackgroundPace {
    /// A pace of `rate` bytes a second, at least one.
    #[must_use]
    pub fn new(rate: u64, now: Instant) -> Self {
        Self { rate: rate.max(1), paid_at: now, seen: 0, yielding_since: None }
    }

    /// How long to wait before asking again; zero: go on now. `read` is a number that grows whenever somebody else
    /// reads.
    pub fn pause(&mut self, now: Instant, read: u64) -> Duration {
        let unpaid = self.paid_at.saturating_duration_since(now);
        if !unpaid.is_zero() {
            return unpaid;
        }
        if std::mem::replace(&mut self.seen, read) != read {
            let since = *self.yielding_since.get_or_insert(now);
            if now.saturating_duration_since(since) < BACKGROUND_PATIENCE {
                return BACKGROUND_YIELD;
            }
        }
        self.yielding_since = None;
        Duration::ZERO
    }

    /// A step that began at `begun` took `bytes`. What was not used before is not made up for.
    pub fn spent(&mut self, begun: Instant, bytes: u64) {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.paid_at = self.paid_at.max(begun) + cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: u64 = 1 << 20;

    /// Bytes that are gone through within `span`, each step taking `step_time`, while others read as `read` says.
    fn gone_through(rate: u64, span: Duration, step_time: Duration, read: impl Fn(Duration) -> u64) -> u64 {
        let begin = Instant::now();
        let mut pace = BackgroundPace::new(rate, begin);
        let (mut now, mut bytes) = (begin, 0);
        while now < begin + span {
            let pause = pace.pause(now, read(now - begin));
            if pause.is_zero() {
                pace.spent(now, STEP);
                bytes += STEP;
                now += step_time;
            } else {
                now += pause;
            }
        }
        bytes
    }

    #[test]
    fn no_more_than_the_rate_is_read_and_no_less_where_the_disk_is_fast() {
        let span = Duration::from_secs(60);
        for rate in [100_000, STEP, 16 * STEP, 100 * STEP] {
            for step_time in [Duration::ZERO, Duration::from_millis(5)] {
                let bytes = gone_through(rate, span, step_time, |_| 0);
                assert!(bytes <= rate * 60 + STEP, "{rate}: {bytes}");
                assert!(bytes + STEP >= rate * 60, "{rate}: {bytes}");
            }
        }
    }

    #[test]
    fn what_a_slow_disk_or_an_idle_time_left_over_is_not_made_up_for() {
        let begin = Instant::now();
        let mut pace = BackgroundPace::new(STEP, begin);
        let later = begin + Duration::from_secs(1000);
        assert_eq!(pace.pause(later, 0), Duration::ZERO);
        pace.spent(later, STEP);
        assert_eq!(pace.pause(later, 0), Duration::from_secs(1));
    }

    #[test]
    fn it_gives_way_while_others_read_but_for_a_step_now_and_then() {
        let span = Duration::from_secs(60);
        let always = gone_through(16 * STEP, span, Duration::ZERO, |at| at.as_nanos().try_into().unwrap());
        assert!(always <= STEP * (60 / BACKGROUND_PATIENCE.as_secs() + 1), "{always}");
        assert!(always >= STEP * 30, "it never stands still: {always}");
        let once = gone_through(16 * STEP, span, Duration::ZERO, |at| u64::from(at.as_secs() >= 30));
        assert!(once >= 16 * STEP * 59, "{once}");
    }
}
