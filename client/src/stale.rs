//! Versions that turned out to be what their under-store has no more: the master is told, so that the next open gets the
//! new one and nobody has to wait for the end of a freshness.
//!
//! Of many reads that find the same, one tells; so does one that finds it still, a while later.

mod telling;

use std::collections::BTreeMap;
use std::time::Instant;

use forebay_types::FileId;
use parking_lot::Mutex;

use crate::limits::{STALE_TOLD_MAX, STALE_TOLD_PAUSE};

/// Versions of which the master was told lately, and when.
#[derive(Debug, Default)]
pub(crate) struct StaleVersions(Mutex<BTreeMap<FileId, Instant>>);

impl StaleVersions {
    /// Whether the master is to be told of a version now.
    fn is_news(&self, file: FileId, now: Instant) -> bool {
        let is_recent = |told: &Instant| now.saturating_duration_since(*told) < STALE_TOLD_PAUSE;
        let mut told = self.0.lock();
        if told.get(&file).is_some_and(is_recent) {
            return false;
        }
        if told.len() >= STALE_TOLD_MAX {
            told.retain(|_, told| is_recent(told));
        }
        // To tell twice costs less than to find out who was told first.
        if told.len() >= STALE_TOLD_MAX {
            told.clear();
        }
        told.insert(file, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use forebay_types::Incarnation;

    use super::*;

    #[test]
    fn a_version_is_news_once_in_a_while_and_the_memory_of_that_is_bounded() {
        let (stale, begun) = (StaleVersions::default(), Instant::now());
        let file = |counter| FileId { incarnation: Incarnation::new(1), counter };
        let later = begun + STALE_TOLD_PAUSE;
        assert_eq!([1, 1, 2].map(|counter| stale.is_news(file(counter), begun)), [true, false, true]);
        assert!(stale.is_news(file(1), later) && !stale.is_news(file(1), later));
        (10..10 + STALE_TOLD_MAX as u64).for_each(|counter| assert!(stale.is_news(file(counter), later)));
        assert!(stale.0.lock().len() <= STALE_TOLD_MAX);
        // An old file is told of once, too.
        assert!(stale.is_news(file(3), later) && !stale.is_news(file(3), later));
    }
}
