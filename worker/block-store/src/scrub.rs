//! Which versions the scrubber may verify: each once a round. Pure; time is an argument.

use std::time::Instant;

use crate::limits::SCRUB_ROUND_MIN;

/// Which versions a round is about: those that were verified last before it began.
#[derive(Debug)]
pub(crate) struct ScrubRound {
    began: Instant,
    /// The index's count of uses then.
    tick: u64,
}

impl ScrubRound {
    pub(crate) const fn new(now: Instant, tick: u64) -> Self {
        Self { began: now, tick }
    }

    /// Whether a version that was verified last at `checked` is to be verified now, `tick` being now's. If it belongs to
    /// the next round, and it is time for that, the next round begins.
    pub(crate) fn takes(&mut self, checked: u64, now: Instant, tick: u64) -> bool {
        if checked > self.tick && now.saturating_duration_since(self.began) >= SCRUB_ROUND_MIN {
            *self = Self::new(now, tick);
        }
        checked <= self.tick
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_round_takes_each_version_once_and_the_next_one_waits() {
        let begin = Instant::now();
        let mut round = ScrubRound::new(begin, 100);
        assert!(round.takes(0, begin, 100) && round.takes(100, begin, 100));
        assert!(!round.takes(101, begin, 150));
        assert!(!round.takes(101, begin + SCRUB_ROUND_MIN - Duration::from_nanos(1), 150));
        assert!(round.takes(101, begin + SCRUB_ROUND_MIN, 150));
        assert!(!round.takes(151, begin + SCRUB_ROUND_MIN, 151));
    }
}
