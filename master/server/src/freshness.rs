//! When each directory was last compared with its under-store, and what that allows. Soft and pure.
//!
//! The age counts from the begin of the listing, so an answer is never older than it is said to be. A new master
//! knows nothing and asks again. Directories in use are due for another comparison when half of their freshness is over,
//! so that nobody has to wait for it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use forebay_metadata::{Coherence, Freshness};
use forebay_proto::Validity;
use forebay_runtime::BootInstant;
use forebay_types::InodeId;

use crate::limits;

/// What is remembered of directories.
#[derive(Debug, Default)]
pub struct Checks {
    directories: HashMap<InodeId, Check>,
    /// When each directory is due, as its check has it.
    due: BTreeSet<(BootInstant, InodeId)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Check {
    /// Begin of the last listing that succeeded.
    listed_at: Option<BootInstant>,
    /// End of the last one that failed, unless a later one succeeded.
    failed_at: Option<BootInstant>,
    /// Last question about it, or the begin of its first listing.
    used_at: Option<BootInstant>,
    due_at: Option<BootInstant>,
    /// The freshness that counted last; `None` for what is listed once.
    bound: Option<Duration>,
}

/// What may be done with what is known of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be answered from, and be used for this long.
    Fresh(Duration),
    /// The same, and well over half of its time is over: list it again in the background.
    Aging(Duration),
    /// It must be listed before it is answered from.
    Over,
    /// It is over, and a listing failed a moment ago: serve what is known, if anything, without trying again.
    OverAndFailing,
}

impl Checks {
    /// A listing that began at `began` has succeeded.
    pub fn listed(&mut self, directory: InodeId, freshness: Freshness, began: BootInstant) {
        let check = self.check(directory);
        if check.listed_at.is_some_and(|earlier| earlier >= began) {
            return;
        }
        (check.listed_at, check.failed_at) = (Some(began), None);
        // Somebody wanted it. Renewals do not count, or it would be renewed for ever.
        check.used_at.get_or_insert(began);
        self.make_due(directory, freshness, |bound| began.saturating_add(due_after(directory, bound)));
    }

    /// What was listed of a directory is not known any more.
    pub fn forgot(&mut self, directory: InodeId) {
        if let Some(check) = self.directories.get_mut(&directory) {
            check.listed_at = None;
        }
    }

    /// When somebody last asked about a directory or, if nobody did, it was listed; `None` if that is not remembered.
    pub fn last_used(&self, directory: InodeId) -> Option<BootInstant> {
        self.directories.get(&directory).and_then(|check| check.used_at.or(check.listed_at))
    }

    /// A listing has failed.
    pub fn failed(&mut self, directory: InodeId, freshness: Freshness, now: BootInstant) {
        self.check(directory).failed_at = Some(now);
        let again = |bound: Duration| now.saturating_add((bound / 4).max(limits::OUTAGE_RETRY_AFTER));
        self.make_due(directory, freshness, again);
    }

    /// Up to `most` directories in use that are to be listed now. Each is told once, until it was listed or that failed.
    pub fn take_due(&mut self, now: BootInstant, most: usize) -> Vec<InodeId> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some((due_at, directory)) = self.due.first().copied()
            && due_at <= now
        {
            self.due.pop_first();
            let Some(check) = self.directories.get_mut(&directory) else { continue };
            check.due_at = None;
            if check.is_in_use(now) {
                taken.push(directory);
            }
        }
        taken
    }

    #[cfg(test)]
    pub(crate) fn is_any_due(&self, now: BootInstant) -> bool {
        self.due.first().is_some_and(|(due_at, _)| *due_at <= now)
    }

    /// A freshness of zero is a matter of each question, and what never changes is never due.
    fn make_due(
        &mut self,
        directory: InodeId,
        freshness: Freshness,
        at: impl FnOnce(Duration) -> BootInstant,
    ) {
        let Some(check) = self.directories.get_mut(&directory) else { return };
        check.bound = match freshness {
            Freshness::Bound(bound) => Some(bound),
            Freshness::Immutable => None,
        };
        let due_at = check.bound.filter(|bound| !bound.is_zero()).map(at);
        let before = std::mem::replace(&mut check.due_at, due_at);
        if let Some(before) = before {
            self.due.remove(&(before, directory));
        }
        if let Some(due_at) = due_at {
            self.due.insert((due_at, directory));
        }
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

    /// What may be done with a directory of a mount with this freshness, about which somebody asks.
    pub fn verdict(&mut self, directory: InodeId, freshness: Freshness, now: BootInstant) -> Verdict {
        let check = match self.directories.get_mut(&directory) {
            Some(check) => {
                check.used_at = Some(now);
                *check
            }
            None => Check::default(),
        };
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
            Some(remaining) if age > due_at_last(bound) && !failing => Verdict::Aging(remaining),
            Some(remaining) => Verdict::Fresh(remaining),
        }
    }

    /// How long ago the last listing of a directory began that succeeded, where one is remembered.
    pub(crate) fn age(&self, directory: InodeId, now: BootInstant) -> Option<Duration> {
        let listed_at = self.directories.get(&directory)?.listed_at?;
        Some(now.saturating_duration_since(listed_at))
    }

    /// Whether what is known of a directory is good for a reader who began at `begun`. Whoever asks so asked before.
    pub fn is_good_for(&self, directory: InodeId, freshness: Freshness, begun: BootInstant) -> bool {
        self.was_listed(directory, |listed_at| is_good_for(freshness, listed_at, begun))
    }

    /// Whether the last listing of a directory that succeeded `is_young_enough`, by its begin.
    pub fn was_listed(&self, directory: InodeId, is_young_enough: impl FnOnce(BootInstant) -> bool) -> bool {
        let check = self.directories.get(&directory);
        check.and_then(|check| check.listed_at).is_some_and(is_young_enough)
    }

    /// The older half goes, so that the map's size is bounded at a small cost per directory.
    fn drop_older_half(&mut self) {
        let mut times: Vec<_> = self.directories.values().map(Check::last).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        self.directories.retain(|_, check| check.last() > median);
        self.due.retain(|(_, directory)| self.directories.contains_key(directory));
    }
}

impl Check {
    fn last(&self) -> Option<BootInstant> {
        self.listed_at.max(self.failed_at)
    }

    /// Whether somebody asked within twice the freshness: whoever was granted an answer may use it for one and then
    /// come back.
    fn is_in_use(&self, now: BootInstant) -> bool {
        let Some((used_at, bound)) = self.used_at.zip(self.bound) else { return false };
        now.saturating_duration_since(used_at) <= bound.saturating_mul(2).max(limits::USE_MEMORY_MIN)
    }
}

/// Whether a listing that began at `began` is young enough for a question at `asked`.
pub(crate) fn is_within(freshness: Freshness, began: BootInstant, asked: BootInstant) -> bool {
    match freshness {
        Freshness::Bound(bound) => asked.saturating_duration_since(began) < bound,
        Freshness::Immutable => true,
    }
}

/// Whether it is for all parts that a reader asks for who asked for the first at `begun`: it was young enough then, or
/// began later. So nobody has a large directory listed again for each part.
pub(crate) fn is_good_for(freshness: Freshness, began: BootInstant, begun: BootInstant) -> bool {
    began >= begun || is_within(freshness, began, begun)
}

/// When a directory in use is listed again: from half of its freshness on, and not all directories at once that were
/// listed at once.
fn due_after(directory: InodeId, bound: Duration) -> Duration {
    let part = u32::try_from(directory.get().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56).unwrap_or(0);
    bound / 2 + bound / 8 * part / 256
}

/// When each is due, whichever it is.
fn due_at_last(bound: Duration) -> Duration {
    bound / 2 + bound / 8
}

/// For how long a client may use an answer that the master may use for `remaining`. Who hears of changes may use it as
/// long as the master itself.
pub fn validity(remaining: Duration, freshness: Freshness, coherence: Coherence) -> Validity {
    match (freshness, coherence) {
        (Freshness::Immutable, _) => Validity { alone: remaining, granted: remaining },
        (_, Coherence::Strict) => Validity::default(),
        (_, Coherence::Relaxed) => {
            Validity { alone: remaining.min(limits::COHERENCE_BOUND), granted: remaining }
        }
    }
}

/// The same about a directory that lies in no mount: it changes with the mounts only.
pub(crate) const SYNTHETIC: Validity =
    Validity { alone: limits::SYNTHETIC_VALIDITY, granted: limits::SYNTHETIC_GRANT };

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
    fn a_listing_serves_until_its_bound_and_is_renewed_when_well_over_half_of_it_is_over() {
        let mut checks = Checks::default();
        assert_eq!(checks.verdict(DIRECTORY, bound(60), at(0)), Verdict::Over);
        checks.listed(DIRECTORY, bound(60), at(0));
        assert_eq!(checks.verdict(DIRECTORY, bound(60), at(10)), Verdict::Fresh(Duration::from_secs(50)));
        assert_eq!(checks.verdict(DIRECTORY, bound(60), at(40)), Verdict::Aging(Duration::from_secs(20)));
        assert_eq!(checks.verdict(DIRECTORY, bound(60), at(60)), Verdict::Over);
        assert_eq!(checks.verdict(DIRECTORY, bound(0), at(0)), Verdict::Over);
    }

    #[test]
    fn a_reader_goes_on_with_what_was_fresh_when_it_began_or_is_younger() {
        let mut checks = Checks::default();
        assert!(!checks.is_good_for(DIRECTORY, bound(60), at(100)), "never listed");
        checks.listed(DIRECTORY, bound(60), at(100));
        for (begun, is_good) in [(50, true), (100, true), (159, true), (160, false)] {
            assert_eq!(checks.is_good_for(DIRECTORY, bound(60), at(begun)), is_good, "{begun}");
        }
        assert!(
            checks.is_good_for(DIRECTORY, bound(0), at(100))
                && !checks.is_good_for(DIRECTORY, bound(0), at(101))
        );
        assert!(checks.is_good_for(DIRECTORY, Freshness::Immutable, at(1 << 30)));
        checks.failed(DIRECTORY, bound(60), at(120));
        assert!(checks.is_good_for(DIRECTORY, bound(60), at(110)), "an outage since changes nothing");
    }

    #[test]
    fn an_immutable_mount_is_listed_once() {
        let mut checks = Checks::default();
        assert_eq!(checks.verdict(DIRECTORY, Freshness::Immutable, at(0)), Verdict::Over);
        checks.listed(DIRECTORY, Freshness::Immutable, at(0));
        let verdict = checks.verdict(DIRECTORY, Freshness::Immutable, at(1 << 30));
        assert_eq!(verdict, Verdict::Fresh(limits::IMMUTABLE_VALIDITY));
    }

    #[test]
    fn a_failed_listing_is_not_tried_again_at_once_and_never_makes_old_news_fresh() {
        let mut checks = Checks::default();
        checks.listed(DIRECTORY, bound(60), at(0));
        checks.failed(DIRECTORY, bound(60), at(100));
        assert_eq!(checks.verdict(DIRECTORY, bound(60), at(101)), Verdict::OverAndFailing);
        assert_eq!(checks.verdict(DIRECTORY, bound(60), at(103)), Verdict::Over);
    }

    #[test]
    fn an_outage_of_very_many_directories_is_remembered_within_the_maximum() {
        let mut checks = Checks::default();
        let directories = limits::CHECKED_DIRECTORIES_MAX as u64 + 10;
        (0..directories)
            .for_each(|directory| checks.failed(InodeId::new(directory), bound(60), at(directory)));
        assert!(checks.directories.len() <= limits::CHECKED_DIRECTORIES_MAX);
        assert_eq!(checks.due.len(), checks.directories.len());
        let last = InodeId::new(directories - 1);
        assert_eq!(checks.verdict(last, bound(60), at(directories)), Verdict::OverAndFailing);
    }

    #[test]
    fn a_listing_that_began_earlier_does_not_make_a_later_one_younger() {
        let mut checks = Checks::default();
        checks.listed(DIRECTORY, bound(60), at(10));
        checks.listed(DIRECTORY, bound(60), at(5));
        assert_eq!(checks.verdict(DIRECTORY, bound(60), at(20)), Verdict::Fresh(Duration::from_secs(50)));
    }

    #[test]
    fn a_directory_in_use_is_due_from_half_of_its_freshness_on_and_one_that_nobody_asks_about_no_more() {
        let mut checks = Checks::default();
        // From half of it to five eighths.
        let (early, late) = (29, 38);
        checks.listed(DIRECTORY, bound(60), at(0));
        assert_eq!(checks.take_due(at(early), 9), []);
        checks.verdict(DIRECTORY, bound(60), at(10));
        assert_eq!(checks.take_due(at(late), 9), [DIRECTORY]);
        assert_eq!(checks.take_due(at(late + 1), 9), [], "it is being listed");
        checks.listed(DIRECTORY, bound(60), at(late));
        assert_eq!(checks.take_due(at(late + early), 9), []);
        assert_eq!(checks.take_due(at(late + late), 9), [DIRECTORY]);
        checks.failed(DIRECTORY, bound(60), at(80));
        assert_eq!((checks.take_due(at(94), 9), checks.take_due(at(95), 9)), (vec![], vec![DIRECTORY]));
        checks.listed(DIRECTORY, bound(60), at(110));
        assert_eq!(checks.take_due(at(150), 9), [], "the last question was over two minutes ago");
        checks.verdict(DIRECTORY, bound(60), at(151));
        checks.listed(DIRECTORY, bound(60), at(152));
        assert_eq!(checks.take_due(at(152 + late), 9), [DIRECTORY]);
    }

    #[test]
    fn a_directory_that_was_listed_and_about_which_nobody_asks_is_not_renewed_for_ever() {
        let (mut checks, mut now, mut renewals) = (Checks::default(), 0, 0);
        checks.listed(DIRECTORY, bound(60), at(0));
        while now < 10_000 {
            now += 1;
            for due in checks.take_due(at(now), 9) {
                checks.listed(due, bound(60), at(now));
                renewals += 1;
            }
        }
        assert!((1..=4).contains(&renewals), "{renewals}");
    }

    #[test]
    fn directories_that_were_listed_at_once_are_not_due_at_once() {
        let times: std::collections::BTreeSet<_> =
            (1..100).map(|id| due_after(InodeId::new(id), Duration::from_secs(60))).collect();
        assert!(times.len() > 50, "{times:?}");
        assert!(times.iter().all(|due| (30..38).contains(&due.as_secs())), "{times:?}");
    }

    #[test]
    fn what_never_changes_and_what_is_asked_for_each_time_is_never_due() {
        for freshness in [Freshness::Immutable, bound(0)] {
            let mut checks = Checks::default();
            checks.listed(DIRECTORY, freshness, at(0));
            assert_eq!(checks.take_due(at(1 << 30), 9), []);
            checks.listed(DIRECTORY, bound(60), at(1 << 30));
            checks.listed(DIRECTORY, freshness, at((1 << 30) + 1));
            assert!(checks.due.is_empty(), "the mount has another freshness now");
        }
    }

    #[test]
    fn clients_lag_behind_by_the_coherence_bound_at_most_unless_they_hear_of_changes() {
        let minute = Duration::from_secs(60);
        let relaxed = Validity { alone: limits::COHERENCE_BOUND, granted: minute };
        assert_eq!(validity(minute, bound(60), Coherence::Relaxed), relaxed);
        assert_eq!(validity(minute, bound(60), Coherence::Strict), Validity::default());
        let immutable = Validity { alone: minute, granted: minute };
        assert_eq!(validity(minute, Freshness::Immutable, Coherence::Relaxed), immutable);
    }
}
