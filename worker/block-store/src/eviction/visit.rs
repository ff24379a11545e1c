//! What is one use of a version: many ranges of one file, read by many processes at once, must not look like many uses.
//!
//! Time is counted in bytes: with each visit it goes on by the length of the visited version, so an interval says how
//! much else was visited, whether files are small or large. A visit goes on while the version is read onwards. It is
//! another one when reading begins again where it had begun or before, and not at once; or after a long pause.

use crate::page::PageIndex;

/// Part of the capacity that must have been visited before a version that is read from its begin again is visited
/// again: less is one reader in several ranges, or several readers that go abreast.
const GAP_PARTS: u64 = 256;
/// Part of the capacity that must have been visited before any use is another visit.
const PAUSE_PARTS: u64 = 8;

/// The time of one tier.
#[derive(Debug)]
pub(crate) struct VisitClock {
    now: u64,
    gap: u64,
    pause: u64,
}

/// The last visit of one version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    /// When it began.
    pub(super) began: u64,
    /// When the version was used last.
    pub(super) used: u64,
    /// The first page that it saw.
    first: PageIndex,
}

impl VisitClock {
    pub(crate) const fn new(capacity: u64) -> Self {
        Self { now: 0, gap: capacity / GAP_PARTS, pause: capacity / PAUSE_PARTS }
    }

    pub(crate) const fn now(&self) -> u64 {
        self.now
    }

    /// A visit begins, of a version of `length` bytes.
    pub(crate) fn begin(&mut self, page: PageIndex, length: u64) -> Visit {
        // An empty version is visited, too.
        self.now += length.max(1);
        Visit { began: self.now, used: self.now, first: page }
    }

    /// Whether a use of `page` would be another visit than `visit`.
    pub(super) fn is_another(&self, visit: &Visit, page: PageIndex) -> bool {
        let begins_again = page <= visit.first && self.now - visit.began > self.gap;
        begins_again || self.now - visit.used > self.pause
    }

    /// The visit goes on.
    pub(super) fn go_on(&self, visit: &mut Visit, page: PageIndex) {
        visit.used = self.now;
        visit.first = visit.first.min(page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn page(position: u32) -> PageIndex {
        PageIndex::new(position)
    }

    #[test]
    fn ranges_of_one_reading_are_one_visit_and_the_next_reading_is_another() {
        let mut clock = VisitClock::new(320 * MIB);
        let mut visit = clock.begin(page(0), 4 * MIB);
        for position in [0, 0, 1, 1, 2, 3] {
            assert!(!clock.is_another(&visit, page(position)));
            clock.go_on(&mut visit, page(position));
        }
        assert!(!clock.is_another(&visit, page(0)), "at once: readers abreast");
        for _ in 0..3 {
            clock.begin(page(0), 4 * MIB);
        }
        assert!(clock.is_another(&visit, page(0)) && !clock.is_another(&visit, page(1)));
        for _ in 0..10 {
            clock.begin(page(0), 4 * MIB);
        }
        assert!(clock.is_another(&visit, page(1)), "after a long pause it does not matter where");
    }
}
