//! When each directory was last compared with its under-store, and what that allows. Soft and pure.
//!
//! The age counts from the begin of the listing, so an answer is never older than it is said to be. A new master
//! knows nothing and asks again.

use std::collections::HashMap;
use std::time::Duration;

use forebay_metadata::{Coherence, Freshness};
use forebay_runtime::BootInstant;
use forebay_types::InodeId;

use crate::limits;

/// What is remembered of directories.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    directories: HashMap<InodeId, Check>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Check {
    /// Begin of the last listing that succeeded.
    listed_at: Option<BootInstant>,
    /// End of the last one that failed, unless a later one succeeded.
    failed_at: Option<BootInstant>,
}

/// What may be done with what is known of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may be answered from, and be used for this long.
    Fresh(Duration),
    /// The same, and half of its time is over: list it again in the background.
    Aging(Duration),
    /// It must be listed before it is answered from.
    Over,
    /// It is over, and a listing failed a moment ago: serve what is known, if anything, without trying again.
    OverAndFailing,
}

impl Checks {
    /// A listing that began at `began` has succeeded.
    pub(crate) fn listed(&mut self, directory: InodeId, began: BootInstant) {
        let check = self.check(directory);
        if check.listed_at.is_none_or(|earlier| earlier < began) {
            *check = Check { listed_at: Some(began), failed_at: None };
        }
    }

    /// A listing has failed.
    pub(crate) fn failed(&mut self, directory: InodeId, now: BootInstant) {
        self.check(directory).failed_at = Some(now);
    }

    /// What is remembered of a directory, with room made where it is a new one.
    fn check(&mut self, directory: InodeId) -> &mut Check {
        if self.directories.len() >= limits::CHECKED_DIRECTORIES_MAX
            && !self.directories.contains_key(&directory)
        {
            self.drop_older_half();
        }
        self.directories.entry(directory).or_default()
    }

    /// What may be done with a directory of a mount with this freshness.
    pub(crate) fn verdict(&self, directory: InodeId, freshness: Freshness, now: BootInstant) -> Verdict {
        let check = self.directories.get(&directory).copied().unwrap_or_default();
        let failing = check
            .failed_at
            .is_some_and(|failed| now.saturating_duration_since(failed) < limits::OUTAGE_RETRY_AFTER);
        let over = if failing { Verdict::OverAndFailing } else { Verdict::Over };
        let Some(listed_at) = check.listed_at else {
            return over;
        };
        let Freshness::Bound(bound) = freshness else {
            return Verdict::Fresh(limits::IMMUTABLE_VALIDITY);
        };
        let age = now.saturating_duration_since(listed_at);
        match bound.checked_sub(age) {
            None | Some(Duration::ZERO) => over,
            Some(remaining) if age > bound / 2 && !failing => Verdict::Aging(remaining),
            Some(remaining) => Verdict::Fresh(remaining),
        }
    }

    /// The older half goes, so that the map's size is bounded at a small cost per directory.
    fn drop_older_half(&mut self) {
        let mut times: Vec<_> = self.directories.values().map(Check::last).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        self.directories.retain(|_, check| check.last() > median);
    }
}

impl Check {
    fn last(&self) -> Option<BootInstant> {
        self.listed_at.max(self.failed_at)
    }
}

/// For how long a client may use an answer that the master may use for `remaining`.
pub(crate) fn validity(remaining: Duration, freshness: Freshness, coherence: Coherence) -> Duration {
    match (freshness, coherence) {
        (Freshness::Immutable, _) => remaining,
        (_, Coherence::Strict) => Duration::ZERO,
        (_, Coherence::Relaxed) => remaining.min(limits::COHERENCE_BOUND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECTORY: InodeId = InodeId::new(7);

    fn at(seconds: u64) -> BootInstant {
        BootInstant::from_boot(Duration::from_secs(seconds))
    }

    fn bound(seconds: u64) -> Freshness {
        Freshness::Bound(Duration::from_secs(seconds))
    }

    #[test]
    fn a_listing_serves_until_its_bound_and_is_renewed_from_half_of_it() {
        let mut checks = Checks::default();
        assert_eq!(checks.verdict(DIRECTORY, bound(60), at(0)), Verdict::Over);
        checks.listed(DIRECTORY, at(0));
        assert_eq!(checks.verdict(DIRECTORY, bound(60), at(10)), Verdict::Fresh(Duration::from_secs(50)));
        assert_eq!(checks.verdict(DIRECTORY, bound(60), at(40)), Verdict::Aging(Duration::from_secs(20)));
        assert_eq!(checks.verdict(DIRECTORY, bound(60), at(60)), Verdict::Over);
        assert_eq!(checks.verdict(DIRECTORY, bound(0), at(0)), Verdict::Over);
    }

    #[test]
    fn an_immutable_mount_is_listed_once() {
        let mut checks = Checks::default();
        assert_eq!(checks.verdict(DIRECTORY, Freshness::Immutable, at(0)), Verdict::Over);
        checks.listed(DIRECTORY, at(0));
        let verdict = checks.verdict(DIRECTORY, Freshness::Immutable, at(1 << 30));
        assert_eq!(verdict, Verdict::Fresh(limits::IMMUTABLE_VALIDITY));
    }

    #[test]
    fn a_failed_listing_is_not_tried_again_at_once_and_never_makes_old_news_fresh() {
        let mut checks = Checks::default();
        checks.listed(DIRECTORY, at(0));
        checks.failed(DIRECTORY, at(100));
        assert_eq!(checks.verdict(DIRECTORY, bound(60), at(101)), Verdict::OverAndFailing);
        assert_eq!(checks.verdict(DIRECTORY, bound(60), at(103)), Verdict::Over);
    }

    #[test]
    fn an_outage_of_very_many_directories_is_remembered_within_the_maximum() {
        let mut checks = Checks::default();
        let directories = limits::CHECKED_DIRECTORIES_MAX as u64 + 10;
        (0..directories).for_each(|directory| checks.failed(InodeId::new(directory), at(directory)));
        assert!(checks.directories.len() <= limits::CHECKED_DIRECTORIES_MAX);
        let last = InodeId::new(directories - 1);
        assert_eq!(checks.verdict(last, bound(60), at(directories)), Verdict::OverAndFailing);
    }

    #[test]
    fn a_listing_that_began_earlier_does_not_make_a_later_one_younger() {
        let mut checks = Checks::default();
        checks.listed(DIRECTORY, at(10));
        checks.listed(DIRECTORY, at(5));
        assert_eq!(checks.verdict(DIRECTORY, bound(60), at(20)), Verdict::Fresh(Duration::from_secs(50)));
    }

    #[test]
    fn clients_lag_behind_by_the_coherence_bound_at_most() {
        let minute = Duration::from_secs(60);
        assert_eq!(validity(minute, bound(60), Coherence::Relaxed), limits::COHERENCE_BOUND);
        assert_eq!(validity(minute, bound(60), Coherence::Strict), Duration::ZERO);
        assert_eq!(validity(minute, Freshness::Immutable, Coherence::Relaxed), minute);
    }
}
