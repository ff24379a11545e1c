//! Notices that nothing of what is cached is read any more, long before each version has waited for as long as they
//! may: when a data set is given up, all of it is at once.
//!
//! Silence begins anew each time some versions were visited, a small part of all. While a data set is read that takes a
//! small part of a pass; where it takes a good part of one, the data set is given up.

/// The part of all versions whose visits break the silence.
const BREAKING_PARTS: usize = 64;

/// The silence since some versions were visited.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    since: u64,
    visits: usize,
}

impl Quiet {
    /// One of `stored` versions was visited again.
    pub(super) fn visited(&mut self, now: u64, stored: usize) {
        self.visits += 1;
        if self.visits >= stored.div_ceil(BREAKING_PARTS) {
            *self = Self { since: now, visits: 0 };
        }
    }

    /// Since when hardly anything was visited.
    pub(super) const fn since(&self) -> u64 {
        self.since
    }
}
