//! Grants: the right to go on using what the master told of a directory, for as long as its changes are followed.
//!
//! An answer is known by the moment at which it was asked for: whatever is heard of later is not in it. So it is enough
//! to remember when each thing was heard to have changed; answers themselves are kept by whoever asked. Invariant: an
//! answer that was asked for before a change was heard of is never said to be good.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use forebay_proto::{ChangedNames, News, Validity};
use forebay_types::InodeId;
use parking_lot::Mutex;

use crate::limits::{CHANGES_REMEMBERED_MAX, GRANTS_MAX};

/// What may be done with an answer that was remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is known to be no longer so.
    Void,
    /// It holds until then, unless a change is heard of before.
    Granted(Instant),
    /// Nothing is known beside what came with it.
    Unknown,
}

/// What an answer is about, and so by which grant it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// The entry that was told of; nothing where it is what names the directory has and has not.
    pub entry: Option<InodeId>,
    /// The directory that it lies in.
    pub directory: InodeId,
    /// The entry has a grant of its own.
    pub own_grant: bool,
}

/// The answers that a grant is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Scope {
    /// All about what lies in a directory.
    Directory(InodeId),
    /// Those about one entry, which are none of these.
    Entry(InodeId),
}

impl About {
    /// What names a directory has and has not.
    #[must_use]
    pub const fn names(directory: InodeId) -> Self {
        Self { entry: None, directory, own_grant: false }
    }

    /// That an entry lies in a directory as it was told.
    #[must_use]
    pub const fn entry(entry: InodeId, directory: InodeId) -> Self {
        Self { entry: Some(entry), directory, own_grant: false }
    }

    /// The same of an entry that may have a grant of its own.
    #[must_use]
    pub const fn with_own_grant(self, own_grant: bool) -> Self {
        Self { own_grant, ..self }
    }

    const fn scope(self) -> Scope {
        match self.entry {
            Some(entry) if self.own_grant => Scope::Entry(entry),
            _ => Scope::Directory(self.directory),
        }
    }
}

/// The grants of one client.
#[derive(Debug, Default)]
pub struct Grants {
    /// Held for a few steps only.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// All changes were heard of up to a moment that is so long ago that this is the end of what it vouches for.
    vouched_until: Option<Instant>,
    /// When everything was last heard to have changed.
    everything: Option<Instant>,
    /// When all of a directory was last heard to have changed.
    directories: HashMap<InodeId, Instant>,
    /// When any name of a directory was last heard to have changed.
    names: HashMap<InodeId, Instant>,
    /// When an entry was last heard to be another.
    entries: HashMap<InodeId, Instant>,
    /// When the last question for changes was asked that was answered: all that changed before was heard of.
    heard_of_all_before: Option<Instant>,
    /// Until when answers may be used.
    granted: HashMap<Scope, Grant>,
}

/// For how long the answers of one scope may be used.
#[derive(Clone, Copy, Debug)]
struct Grant {
    /// All of them.
    until: Option<Instant>,
    newest: NewGrant,
}

/// A grant that came with an answer. Answers from before it count only once all is heard of that had changed by then: an
/// old one may long be over, and what made it so not be known here yet. So may one that was asked for while this one was
/// on its way: it can have overtaken what this one knows.
#[derive(Clone, Copy, Debug)]
struct NewGrant {
    asked: Instant,
    answered: Instant,
    until: Instant,
}

impl Grant {
    /// What holds for an answer of `asked`.
    fn until(&self, asked: Instant, heard_of_all_before: Option<Instant>) -> Option<Instant> {
        let is_for_all = heard_of_all_before.is_some_and(|heard| heard >= self.newest.answered);
        let is_its_own = asked == self.newest.asked || asked >= self.newest.answered;
        let newest = (is_for_all || is_its_own).then_some(self.newest.until);
        newest.max(self.until)
    }

    /// Takes a newer one.
    fn renew(&mut self, newest: NewGrant, heard_of_all_before: Option<Instant>) {
        if heard_of_all_before.is_some_and(|heard| heard >= self.newest.answered) {
            self.until = self.until.max(Some(self.newest.until));
        }
        self.newest = newest;
    }

    fn is_over(&self, now: Instant) -> bool {
        self.newest.until <= now && self.until.is_none_or(|until| until <= now)
    }
}

impl Grants {
    /// Takes up what an answer that was asked for at `asked` allows: for all answers about its directory, unless it has a
    /// grant of its own.
    pub fn grant(&self, about: About, asked: Instant, validity: Validity, now: Instant) {
        if validity.granted.is_zero() {
            return;
        }
        let (scope, until) = (about.scope(), asked + validity.granted);
        let mut state = self.state.lock();
        if state.vouched_until.is_none() {
            return;
        }
        let heard = state.heard_of_all_before;
        if state.granted.len() >= GRANTS_MAX && !state.granted.contains_key(&scope) {
            state.granted.retain(|_, grant| !grant.is_over(now));
            // To ask again costs less than to find out who would.
            if state.granted.len() >= GRANTS_MAX {
                state.granted.clear();
            }
        }
        let newest = NewGrant { asked, answered: now, until };
        match state.granted.entry(scope) {
            Entry::Vacant(vacant) => drop(vacant.insert(Grant { until: None, newest })),
            // Nothing is gained from one that says less.
            Entry::Occupied(granted) if granted.get().newest.until >= until => {}
            Entry::Occupied(mut granted) => granted.get_mut().renew(newest, heard),
        }
    }

    /// What may be done with an answer that was asked for at `asked`.
    pub fn standing(&self, about: About, asked: Instant, now: Instant) -> Standing {
        let About { entry, directory, .. } = about;
        let state = self.state.lock();
        let of_it = match entry {
            Some(entry) => state.entries.get(&entry),
            None => state.names.get(&directory),
        };
        let changed = [state.everything.as_ref(), state.directories.get(&directory), of_it];
        if changed.into_iter().flatten().any(|heard| asked <= *heard) {
            return Standing::Void;
        }
        let granted = state.granted.get(&about.scope());
        let until = granted.and_then(|grant| grant.until(asked, state.heard_of_all_before));
        match (state.vouched_until, until) {
            (Some(vouched), Some(until)) if now < vouched && now < until => Standing::Granted(until),
            _ => Standing::Unknown,
        }
    }

    /// Takes what was heard at `now`, in an answer to a question of `asked` that vouches for `vouched` from then on.
    pub fn heard(&self, news: &News, asked: Instant, vouched: Duration, now: Instant) {
        let mut state = self.state.lock();
        match news {
            News::Everything => state.void_everything(now),
            News::Changes(changes) => {
                for change in changes {
                    state.void(change.directory, &change.names, now);
                }
            }
        }
        state.vouched_until = Some(asked + vouched);
        state.heard_of_all_before = Some(asked);
    }

    /// Until when the last that was heard vouches for what is granted.
    pub fn vouched_until(&self) -> Option<Instant> {
        self.state.lock().vouched_until
    }

    /// The changes are not followed any more, so nothing is granted.
    pub fn end(&self) {
        self.state.lock().vouched_until = None;
    }

    /// The changes are followed from `now` on: what is granted counts from here.
    pub fn begin(&self, asked: Instant, vouched: Duration, now: Instant) {
        let mut state = self.state.lock();
        state.void_everything(now);
        state.vouched_until = Some(asked + vouched);
        state.heard_of_all_before = Some(asked);
    }
}

impl State {
    fn void_everything(&mut self, now: Instant) {
        self.everything = Some(now);
        self.directories.clear();
        self.names.clear();
        self.entries.clear();
        self.granted.clear();
    }

    fn void(&mut self, directory: InodeId, names: &ChangedNames, now: Instant) {
        match names {
            ChangedNames::All => drop(self.directories.insert(directory, now)),
            ChangedNames::These(names) => {
                self.names.insert(directory, now);
                self.entries.extend(names.iter().filter_map(|changed| changed.before).map(|id| (id, now)));
            }
        }
        if self.directories.len() + self.names.len() + self.entries.len() > CHANGES_REMEMBERED_MAX {
            self.void_everything(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use forebay_proto::{ChangedName, DirectoryChange};
    use forebay_types::EntryName;

    use super::*;

    const DIRECTORY: InodeId = InodeId::new(2);
    const FILE: InodeId = InodeId::new(7);
    const OTHER: InodeId = InodeId::new(8);
    const VOUCHED: Duration = Duration::from_secs(4);
    const MINUTE: Validity = Validity { alone: Duration::from_secs(5), granted: Duration::from_secs(60) };

    /// Time in milliseconds since a begin.
    struct Clock(Instant);

    impl Clock {
        fn at(&self, millis: u64) -> Instant {
            self.0 + Duration::from_millis(millis)
        }
    }

    fn following() -> (Grants, Clock) {
        let (grants, clock) = (Grants::default(), Clock(Instant::now()));
        grants.begin(clock.at(0), VOUCHED, clock.at(1));
        (grants, clock)
    }

    fn file_changed() -> News {
        let name = EntryName::new(*b"f").expect("legal");
        let names = ChangedNames::These(vec![ChangedName { name, before: Some(FILE) }]);
        News::Changes(vec![DirectoryChange { directory: DIRECTORY, names }])
    }

    fn nothing() -> News {
        News::Changes(Vec::new())
    }

    #[test]
    fn an_answer_holds_as_long_as_it_was_granted_and_the_changes_are_followed() {
        let (grants, clock) = following();
        grants.grant(About::names(DIRECTORY), clock.at(10), MINUTE, clock.at(11));
        let standing =
            |millis| grants.standing(About::entry(FILE, DIRECTORY), clock.at(10), clock.at(millis));
        assert_eq!(standing(3_999), Standing::Granted(clock.at(60_010)));
        assert_eq!(standing(4_000), Standing::Unknown, "nobody vouches any more");
        grants.heard(&nothing(), clock.at(58_000), VOUCHED, clock.at(59_000));
        assert_eq!(standing(60_009), Standing::Granted(clock.at(60_010)));
        assert_eq!(standing(60_010), Standing::Unknown);
    }

    #[test]
    fn a_later_answer_about_the_directory_prolongs_the_earlier_ones_once_all_is_heard_that_changed_before() {
        let (grants, clock) = following();
        grants.grant(About::names(DIRECTORY), clock.at(10), MINUTE, clock.at(11));
        grants.heard(&nothing(), clock.at(58_000), VOUCHED, clock.at(58_001));
        grants.grant(About::names(DIRECTORY), clock.at(59_000), MINUTE, clock.at(59_001));
        let standing =
            |asked, now| grants.standing(About::entry(FILE, DIRECTORY), clock.at(asked), clock.at(now));
        let (first, second) = (clock.at(60_010), clock.at(119_000));
        assert_eq!(standing(59_000, 59_002), Standing::Granted(second));
        assert_eq!(standing(10, 59_002), Standing::Granted(first), "as before");
        assert_eq!(standing(10, 60_010), Standing::Unknown, "what made it old may not be heard of yet");
        grants.heard(&nothing(), clock.at(59_001), VOUCHED, clock.at(60_011));
        assert_eq!(standing(10, 60_012), Standing::Granted(second));
        // One that says less takes nothing away, and what was confirmed stays with the next one.
        grants.grant(About::names(DIRECTORY), clock.at(60_013), MINUTE, clock.at(60_014));
        assert_eq!(standing(10, 60_015), Standing::Granted(second));
        let short = Validity { granted: Duration::from_secs(1), ..MINUTE };
        grants.grant(About::names(DIRECTORY), clock.at(60_016), short, clock.at(60_017));
        assert_eq!(standing(10, 60_018), Standing::Granted(second));
    }

    #[test]
    fn an_answer_that_overtook_the_one_with_the_grant_counts_once_all_is_heard_that_had_changed() {
        let (grants, clock) = following();
        let second = Validity { alone: Duration::from_secs(1), granted: Duration::from_secs(1) };
        grants.grant(About::names(DIRECTORY), clock.at(500), second, clock.at(501));
        grants.grant(About::names(DIRECTORY), clock.at(10), MINUTE, clock.at(900));
        let standing =
            |asked, now| grants.standing(About::entry(FILE, DIRECTORY), clock.at(asked), clock.at(now));
        let granted = Standing::Granted(clock.at(60_010));
        assert_eq!(standing(500, 901), Standing::Unknown, "it may be older than what came with the grant");
        assert_eq!((standing(10, 901), standing(900, 901)), (granted, granted));
        grants.heard(&nothing(), clock.at(899), VOUCHED, clock.at(902));
        assert_eq!(standing(500, 903), Standing::Unknown);
        grants.heard(&nothing(), clock.at(900), VOUCHED, clock.at(904));
        assert_eq!(standing(500, 905), granted);
    }

    #[test]
    fn what_is_heard_to_have_changed_voids_the_answers_from_before_and_no_others() {
        let (grants, clock) = following();
        grants.grant(About::names(DIRECTORY), clock.at(10), MINUTE, clock.at(11));
        grants.heard(&file_changed(), clock.at(20), VOUCHED, clock.at(30));
        let standing =
            |entry, asked| grants.standing(About::entry(entry, DIRECTORY), clock.at(asked), clock.at(40));
        assert_eq!(standing(FILE, 10), Standing::Void);
        assert_eq!(standing(FILE, 30), Standing::Void, "it may have been answered before");
        let granted = Standing::Granted(clock.at(60_010));
        assert_eq!((standing(FILE, 31), standing(OTHER, 10)), (granted, granted));
        let all = DirectoryChange { directory: DIRECTORY, names: ChangedNames::All };
        grants.heard(&News::Changes(vec![all]), clock.at(31), VOUCHED, clock.at(35));
        assert_eq!((standing(FILE, 31), standing(OTHER, 10)), (Standing::Void, Standing::Void));
        assert_eq!(standing(OTHER, 36), granted);
        grants.heard(&News::Everything, clock.at(37), VOUCHED, clock.at(38));
        assert_eq!((standing(OTHER, 36), standing(OTHER, 39)), (Standing::Void, Standing::Unknown));
    }

    #[test]
    fn that_a_name_is_missing_is_void_after_any_change_of_a_name_in_its_directory() {
        let (grants, clock) = following();
        grants.grant(About::names(DIRECTORY), clock.at(10), MINUTE, clock.at(11));
        let missing = |asked| grants.standing(About::names(DIRECTORY), clock.at(asked), clock.at(40));
        assert_eq!(missing(10), Standing::Granted(clock.at(60_010)));
        grants.heard(&file_changed(), clock.at(20), VOUCHED, clock.at(30));
        assert_eq!((missing(10), missing(31)), (Standing::Void, Standing::Granted(clock.at(60_010))));
    }

    #[test]
    fn without_a_feed_nothing_is_granted_and_what_was_answered_before_it_does_not_count() {
        let (grants, clock) = (Grants::default(), Clock(Instant::now()));
        grants.grant(About::names(DIRECTORY), clock.at(0), MINUTE, clock.at(1));
        assert_eq!(
            grants.standing(About::entry(FILE, DIRECTORY), clock.at(0), clock.at(2)),
            Standing::Unknown
        );
        grants.begin(clock.at(3), VOUCHED, clock.at(4));
        grants.grant(About::names(DIRECTORY), clock.at(5), MINUTE, clock.at(6));
        assert_eq!(grants.standing(About::entry(FILE, DIRECTORY), clock.at(0), clock.at(7)), Standing::Void);
        assert!(matches!(
            grants.standing(About::entry(FILE, DIRECTORY), clock.at(5), clock.at(7)),
            Standing::Granted(_)
        ));
    }

    #[test]
    fn an_entry_with_a_grant_of_its_own_stands_by_that_and_falls_with_its_directory() {
        let (grants, clock) = following();
        let mounted = About::entry(FILE, DIRECTORY).with_own_grant(true);
        let standing = |about, asked, now| grants.standing(about, clock.at(asked), clock.at(now));
        grants.grant(About::names(DIRECTORY), clock.at(10), MINUTE, clock.at(11));
        assert_eq!(standing(mounted, 10, 12), Standing::Unknown, "that of its directory says nothing of it");
        let second = Validity { granted: Duration::from_secs(1), ..MINUTE };
        grants.grant(mounted, clock.at(20), second, clock.at(21));
        assert_eq!(standing(mounted, 20, 22), Standing::Granted(clock.at(1_020)));
        assert_eq!(standing(mounted, 20, 1_020), Standing::Unknown);
        let beside = standing(About::entry(OTHER, DIRECTORY), 10, 1_020);
        assert_eq!(beside, Standing::Granted(clock.at(60_010)), "nor does its own of what lies beside it");
        grants.heard(&file_changed(), clock.at(1_030), VOUCHED, clock.at(1_040));
        assert_eq!(standing(mounted, 20, 1_050), Standing::Void);
        grants.grant(mounted, clock.at(1_050), MINUTE, clock.at(1_051));
        let all = DirectoryChange { directory: DIRECTORY, names: ChangedNames::All };
        grants.heard(&News::Changes(vec![all]), clock.at(1_060), VOUCHED, clock.at(1_070));
        assert_eq!(standing(mounted, 1_050, 1_080), Standing::Void);
    }

    #[test]
    fn a_strict_answer_grants_nothing() {
        let (grants, clock) = following();
        grants.grant(About::names(DIRECTORY), clock.at(10), Validity::default(), clock.at(11));
        assert_eq!(
            grants.standing(About::entry(FILE, DIRECTORY), clock.at(10), clock.at(11)),
            Standing::Unknown
        );
    }

    #[test]
    fn however_much_changes_the_memory_is_bounded_and_nothing_old_is_taken_for_good() {
        let (grants, clock) = following();
        for id in 0..=CHANGES_REMEMBERED_MAX as u64 {
            let all = DirectoryChange { directory: InodeId::new(id), names: ChangedNames::All };
            grants.heard(&News::Changes(vec![all]), clock.at(10), VOUCHED, clock.at(20));
        }
        assert!(grants.state.lock().directories.len() <= CHANGES_REMEMBERED_MAX);
        assert_eq!(
            grants.standing(About::entry(FILE, DIRECTORY), clock.at(20), clock.at(21)),
            Standing::Void
        );
        for id in 0..=GRANTS_MAX as u64 {
            grants.grant(About::names(InodeId::new(id)), clock.at(30), MINUTE, clock.at(31));
        }
        assert!(grants.state.lock().granted.len() <= GRANTS_MAX);
    }
}
