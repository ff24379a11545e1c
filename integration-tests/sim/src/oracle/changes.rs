//! What names there are that clients make and remove: each name has one writer, whose changes follow each other.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use forebay_types::ErrorKind;

use super::Oracle;
use crate::world::World;

/// What clients have wished for, by name.
#[derive(Debug, Default)]
pub(super) struct Changes {
    names: RefCell<BTreeMap<String, Vec<Change>>>,
}

/// One change of a name.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// When it was answered; whoever never heard of it does not know whether it was made.
    ended: Option<Duration>,
    /// Whether the name is there after it.
    is_there: bool,
}

/// Changes that were begun together, and how many there were of each name before.
pub(crate) type Begun = Vec<(String, usize)>;

impl Oracle {
    /// A client wishes that names are there, or are not.
    pub(crate) fn begin_change(&self, names: &[(String, bool)]) -> Begun {
        let mut all = self.changes.names.borrow_mut();
        let begin = |(name, is_there): &(String, bool)| {
            let changes = all.entry(name.clone()).or_default();
            changes.push(Change { ended: None, is_there: *is_there });
            (name.clone(), changes.len() - 1)
        };
        names.iter().map(begin).collect()
    }

    /// It was answered so, and only one answer is right for what is made once.
    pub(crate) fn end_change(
        &self,
        world: &World,
        who: &str,
        begun: Begun,
        (outcome, expected): (Result<(), ErrorKind>, Result<(), ErrorKind>),
    ) {
        self.count(|counts| counts.changes += 1);
        let words: Vec<String> = begun.iter().map(|(name, _)| name.clone()).collect();
        let mut all = self.changes.names.borrow_mut();
        for (name, place) in begun {
            if let Some(changes) = all.get_mut(&name) {
                changes[place].ended = Some(world.now());
            }
        }
        drop(all);
        if outcome != expected {
            let what =
                format!("{who} changed {words:?} and was answered {outcome:?} instead of {expected:?}");
            let words = [words, vec![who.to_owned(), "leads".to_owned()]].concat();
            self.report(world, "changes-are-made-once", what, &words);
        }
    }

    /// Somebody who asked at `asked` was just told whether a name is there.
    pub(crate) fn check_change(
        &self,
        world: &World,
        who: &str,
        (name, is_there): (&str, bool),
        asked: Duration,
    ) {
        self.count(|counts| counts.looks += 1);
        let all = self.changes.names.borrow();
        let changes = all.get(name).map_or(&[][..], Vec::as_slice);
        let settled = changes.iter().rposition(|change| change.ended.is_some_and(|ended| ended < asked));
        let before = settled.is_some_and(|place| changes[place].is_there);
        let later = &changes[settled.map_or(0, |place| place + 1)..];
        if before == is_there || later.iter().any(|change| change.is_there == is_there) {
            return;
        }
        let what = format!("{who} asked at {asked:?} and was told {is_there} of {name:?}: {changes:?}");
        let words = [name.to_owned(), who.to_owned(), "leads".to_owned()];
        self.report(world, "changes-are-seen", what, &words);
    }

    /// A master begins to lead.
    pub(crate) fn leads(&self, world: &World, master: u8, term: u64) {
        self.count(|counts| counts.take_overs += 1);
        let before = self.leaders.borrow_mut().insert(term, master);
        if let Some(before) = before {
            let what = format!("master {master} leads in term {term}, in which {before} did");
            self.report(world, "a-term-has-one-leader", what, &["leads".to_owned()]);
        }
    }
}
