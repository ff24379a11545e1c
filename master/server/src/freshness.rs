//! When each directory was last compared with its under-store, and what that allows. Soft and pure.
//!
//! The age counts from the begin of the listing, so an answer is never older than it is said to be. A new master
//! knows nothing and asks again. Directories in use are due for another comparison when half of their freshness is over,
//! so that nobody has to wait for it. Not those that are dear: a listing of them takes longer than what it shows stays
//! fresh, so single names are asked for instead.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use forebay_metadata::{Coherence, Freshness};
use forebay_proto::Validity;
use forebay_runtime::BootInstant;
use forebay_types::InodeId;

use crate::limits;

#[cfg(test)]
mod tests;

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
    /// What the pages of the last complete listing took to fetch, or of one since that took longer already.
    cost: Duration,
    /// Begin of the listing that told the cost, or of one that was begun to learn it anew.
    measured_at: Option<BootInstant>,
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
    /// A listing that began at `began` has succeeded. Its pages took `cost` to fetch, waits for readers not counted.
    pub fn listed(&mut self, directory: InodeId, freshness: Freshness, began: BootInstant, cost: Duration) {
        let check = self.check(directory);
        if check.listed_at.is_some_and(|earlier| earlier >= began) {
            return;
        }
        (check.listed_at, check.failed_at) = (Some(began), None);
        (check.cost, check.measured_at) = (cost, check.measured_at.max(Some(began)));
        // Somebody wanted it. Renewals do not count, or it would be renewed for ever.
        check.used_at.get_or_insert(began);
        self.make_due(directory, freshness, |bound| began.saturating_add(due_after(directory, bound)));
    }

    /// The pages of a listing that goes on took so long to fetch by now.
    pub fn takes(&mut self, directory: InodeId, so_far: Duration) {
        let check = self.check(directory);
        check.cost = check.cost.max(so_far);
    }

    /// A single name of a directory was asked for, and there was an answer. After a fail-over that may be all that is
    /// remembered of a directory in use.
    pub fn answered(&mut self, directory: InodeId, now: BootInstant) {
        let check = self.check(directory);
        check.failed_at = None;
        check.used_at.get_or_insert(now);
    }

    /// Whether a listing of a directory costs more than the freshness, so that a single name is to be asked for alone.
    pub fn is_dear(&self, directory: InodeId, freshness: Freshness) -> bool {
        match freshness {
            Freshness::Bound(bound) => {
                self.directories.get(&directory).map_or(bound.is_zero(), |check| check.is_dear(bound))
            }
            Freshness::Immutable => false,
        }
    }

    /// Whether it is time to learn anew what a listing of a dear directory costs: its under-store may have had a bad
    /// moment. Told once for each time, and never often enough that listings take much of the time.
    pub fn take_to_measure(&mut self, directory: InodeId, freshness: Freshness, now: BootInstant) -> bool {
        let Freshness::Bound(bound) = freshness else { return false };
        let Some(check) = self.directories.get_mut(&directory) else { return false };
        if bound.is_zero() || !check.is_dear(bound) {
            return false;
        }
        let pause = limits::LISTING_COST_MEMORY.max(check.cost * limits::LISTING_COST_PART);
        let is_time = check.measured_at.is_none_or(|at| now.saturating_duration_since(at) >= pause);
        if is_time {
            check.measured_at = Some(now);
        }
        is_time
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
            if check.is_in_use(now) && !check.bound.is_some_and(|bound| check.is_dear(bound)) {
                taken.push(directory);
            }
        }
        taken
    }

    #[cfg(test)]
    pub(crate) fn is_any_due(&self, now: BootInstant) -> bool {
        self.due.first().is_some_and(|(due_at, _)| *due_at <= now)
    }

    /// What is dear is a matter of each question, as with a freshness of zero, and what never changes is never due.
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
        let due_at = check.bound.filter(|bound| !check.is_dear(*bound)).map(at);
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
        let failing = check.is_failing(now);
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

    /// Whether a listing of a directory, or a question about it, failed a moment ago.
    pub fn is_failing(&self, directory: InodeId, now: BootInstant) -> bool {
        self.directories.get(&directory).is_some_and(|check| check.is_failing(now))
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

    fn is_failing(&self, now: BootInstant) -> bool {
        let since = |failed| now.saturating_duration_since(failed);
        self.failed_at.is_some_and(|failed| since(failed) < limits::OUTAGE_RETRY_AFTER)
    }

    const fn is_dear(&self, bound: Duration) -> bool {
        bound.is_zero() || self.cost.as_nanos() > bound.as_nanos()
    }

    /// Whether somebody used it within twice the freshness. Whoever asked may have been granted the answer for one more,
    /// and of what is used under a grant, from memory, the master hears nothing.
    fn is_in_use(&self, now: BootInstant) -> bool {
        let Some((used_at, bound)) = self.used_at.zip(self.bound) else { return false };
        now.saturating_duration_since(used_at) <= bound.saturating_mul(3).max(limits::USE_MEMORY_MIN)
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
