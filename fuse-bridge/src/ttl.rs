//! For how long the kernel may remember an answer.
//!
//! The master says for how long an answer holds; the user may lengthen or shorten that for a mount point. What holds
//! for no time at all, as under a strict mount, is never remembered, whatever the user says.

use std::time::{Duration, Instant};

use crate::limits::TTL_MAX;

/// How old an answer is and until when it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    /// When the master was asked: its answer cannot be older.
    pub(crate) asked: Instant,
    /// The first moment at which it must be asked again.
    pub(crate) until: Instant,
}

/// The rule of one mount point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TtlRule {
    /// What the user asked for in place of the master's word.
    freshness: Option<Duration>,
}

impl TtlRule {
    pub(crate) const fn new(freshness: Option<Duration>) -> Self {
        Self { freshness }
    }

    /// Whether what the master grants counts, since the user said nothing else.
    pub(crate) const fn is_the_masters(self) -> bool {
        self.freshness.is_none()
    }

    /// The validity of an answer to a question of `asked` that holds for `valid`.
    pub(crate) fn validity(self, asked: Instant, valid: Duration) -> Validity {
        let valid = match self.freshness {
            Some(freshness) if !valid.is_zero() => freshness,
            _ => valid,
        };
        Validity { asked, until: asked + valid.min(TTL_MAX) }
    }
}

impl Validity {
    /// One that allows the kernel to remember nothing.
    pub(crate) const fn already_over(asked: Instant) -> Self {
        Self { asked, until: asked }
    }

    /// That of two answers taken together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { asked: self.asked.min(other.asked), until: self.until.min(other.until) }
    }

    /// What is left at `now`, for the kernel.
    pub(crate) fn left(self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_master_decides_unless_the_user_does() {
        let now = Instant::now();
        let left = |freshness, valid| TtlRule::new(freshness).validity(now, valid).left(now);
        assert_eq!(left(None, MINUTE), MINUTE);
        assert_eq!(left(Some(2 * MINUTE), MINUTE), 2 * MINUTE);
        assert_eq!(left(Some(Duration::ZERO), MINUTE), Duration::ZERO);
    }

    #[test]
    fn a_strict_answer_is_never_remembered() {
        let now = Instant::now();
        let rule = TtlRule::new(Some(2 * MINUTE));
        assert_eq!(rule.validity(now, Duration::ZERO).left(now), Duration::ZERO);
    }

    #[test]
    fn the_age_of_an_answer_is_taken_off_and_an_endless_one_fits_the_kernel() {
        let now = Instant::now();
        let validity = TtlRule::default().validity(now, MINUTE);
        assert_eq!(validity.left(now + MINUTE / 4), MINUTE * 3 / 4);
        assert_eq!(validity.left(now + MINUTE * 2), Duration::ZERO);
        let endless = TtlRule::default().validity(now, Duration::from_nanos(u64::MAX));
        assert_eq!(endless.left(now), TTL_MAX);
    }
}
