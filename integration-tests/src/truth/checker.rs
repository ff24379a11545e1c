//! The judge: from when and until when each key can have been in each state, and whether an observation fits.
//!
//! A change takes effect at some moment between the one at which its request was sent and the one at which the server
//! had acknowledged it; which, nobody knows, so both states are legal in between. An observation that was asked for at
//! `t` and answered at `u` is legal if what it shows was the key's state at some moment from `t` less the bound to `u`.
//! Changes of one key follow one another; pure, without a clock.
//!
//! An observation can be judged as soon as it is answered: a change that begins later cannot have been seen, and one
//! that has not been acknowledged may have been seen or not.

use std::time::Duration;

use super::names::Key;

#[cfg(test)]
mod tests;

/// Time since the scenario began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Duration);

/// What a key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// An object.
    Version {
        /// The number that its content bears.
        number: u32,
        /// Its length in bytes.
        length: u64,
    },
}

/// What somebody saw of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// There is nothing.
    Absent,
    /// There is something.
    Present,
    /// An object of so many bytes.
    Length(u64),
    /// The object of this number.
    Version(u32),
    /// What was opened was replaced before all of it was read, and the rest cannot be had any more.
    Gone,
    /// Bytes of several versions, or of none; with what was found.
    Mixed(String),
    /// An error that nobody may see, or a name twice in a listing.
    Error(String),
}

/// A look at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Which.
    pub key: Key,
    /// What it showed.
    pub seen: Seen,
    /// When it was asked for.
    pub asked: Moment,
    /// When what is seen was settled: of a file that is read, when it was open.
    pub answered: Moment,
}

/// Why an observation is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// It shows what was replaced longer ago than the bound.
    Stale,
    /// It shows what was deleted longer ago than the bound.
    LostDeletion,
    /// It does not show what was there for longer than the bound.
    MissingKey,
    /// It shows what the key never was until then.
    NeverWas,
    /// It shows several versions at once.
    Mixed,
    /// It could not be read although nothing was changed.
    GoneWithoutChange,
    /// It is an error that nobody may see.
    Error,
}

/// A change, or that there was nothing at first.
#[derive(Clone, Copy, Debug)]
struct Change {
    state: State,
    sent: Moment,
    /// `None` as long as the server has not said so.
    acknowledged: Option<Moment>,
}

/// All changes of some keys, which were absent at first.
#[derive(Clone, Debug)]
pub struct History {
    bound: Duration,
    changes: Vec<Vec<Change>>,
}

impl History {
    /// One of so many keys, whose observers may lag behind by `bound`.
    #[must_use]
    pub fn new(keys: usize, bound: Duration) -> Self {
        let start = Moment::default();
        let nothing = Change { state: State::Absent, sent: start, acknowledged: Some(start) };
        Self { bound, changes: vec![vec![nothing]; keys] }
    }

    /// Notes that the request for a change is sent now.
    ///
    /// # Panics
    /// When the key's last change has not ended.
    pub fn send(&mut self, key: Key, state: State, sent: Moment) {
        let changes = &mut self.changes[key.0];
        let last = changes.last().and_then(|last| last.acknowledged);
        assert!(last.is_some_and(|last| last <= sent), "changes of one key follow one another");
        changes.push(Change { state, sent, acknowledged: None });
    }

    /// Notes that the server has acknowledged the key's last change.
    ///
    /// # Panics
    /// When it had before.
    pub fn acknowledge(&mut self, key: Key, acknowledged: Moment) {
        let last = self.changes[key.0].last_mut().expect("never empty");
        assert_eq!(last.acknowledged.replace(acknowledged), None, "acknowledged twice");
    }

    /// Whether an observation is possible, and how old its answer was at least when it was asked for.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(&self, observation: &Observation) -> Result<Duration, Wrong> {
        let Observation { key, seen, asked, answered } = observation;
        match seen {
            Seen::Mixed(_) => return Err(Wrong::Mixed),
            Seen::Error(_) => return Err(Wrong::Error),
            Seen::Gone if self.changed(*key, *asked, *answered) => return Ok(Duration::ZERO),
            Seen::Gone => return Err(Wrong::GoneWithoutChange),
            Seen::Absent | Seen::Present | Seen::Length(_) | Seen::Version(_) => {}
        }
        let fitting = self.possible(*key, *asked, *answered).find(|(state, _)| fits(seen, *state));
        fitting.map(|(_, age)| age).ok_or_else(|| self.reason(observation))
    }

    /// Whether it is possible that a directory with just these keys below it was there.
    ///
    /// # Errors
    /// That it was empty for longer than the bound, or never was.
    pub fn check_directory<'a>(
        &self,
        below: impl Iterator<Item = &'a Key>,
        asked: Moment,
        answered: Moment,
    ) -> Result<Duration, Wrong> {
        let looks =
            below.map(|key| self.check(&Observation { key: *key, seen: Seen::Present, asked, answered }));
        // The least of what speaks for it.
        looks.min_by_key(|look| look.unwrap_or(Duration::MAX)).unwrap_or(Err(Wrong::NeverWas))
    }

    /// The changes of a key from shortly before until shortly after a time, to be shown to people.
    #[must_use]
    pub fn around(&self, key: Key, from: Moment, to: Moment) -> Vec<String> {
        let from = self.oldest(from).saturating_sub(self.bound);
        let near =
            |change: &&Change| change.acknowledged.is_none_or(|end| end.0 >= from) && change.sent <= to;
        let text = |change: &Change| {
            let end = change.acknowledged.map_or("never".to_owned(), |end| format!("{:?}", end.0));
            format!("{:?} sent {:?}, acknowledged {end}", change.state, change.sent.0)
        };
        self.changes[key.0].iter().filter(near).map(text).collect()
    }

    /// The moment from which on a state counts for who asked at `asked`.
    fn oldest(&self, asked: Moment) -> Duration {
        asked.0.saturating_sub(self.bound)
    }

    /// The states that a key can have had within the bound, the latest first, each with how long it had surely been over
    /// when it was asked for.
    fn possible(&self, key: Key, asked: Moment, answered: Moment) -> impl Iterator<Item = (State, Duration)> {
        let (changes, oldest) = (&self.changes[key.0], self.oldest(asked));
        let ends = move |at: usize| changes.get(at + 1).and_then(|next| next.acknowledged);
        (0..changes.len())
            .rev()
            .filter(move |at| changes[*at].sent <= answered)
            .take_while(move |at| {
                changes.get(at + 1).is_none() || ends(*at).is_none_or(|end| end.0 >= oldest)
            })
            .map(move |at| {
                let age = ends(at).map_or(Duration::ZERO, |end| asked.0.saturating_sub(end.0));
                (changes[at].state, age)
            })
    }

    /// Whether a key was changed, or that was under way, from the bound before `asked` until `answered`.
    fn changed(&self, key: Key, asked: Moment, answered: Moment) -> bool {
        let oldest = self.oldest(asked);
        let mut changes = self.changes[key.0].iter().skip(1).rev();
        changes.any(|change| change.sent <= answered && change.acknowledged.is_none_or(|end| end.0 >= oldest))
    }

    /// Why what fits no possible state does not.
    fn reason(&self, observation: &Observation) -> Wrong {
        let Observation { key, seen, asked, answered } = observation;
        if *seen == Seen::Absent {
            return Wrong::MissingKey;
        }
        let before = self.changes[key.0].iter().filter(|change| change.sent <= *answered);
        if !before.map(|change| change.state).any(|state| fits(seen, state)) {
            Wrong::NeverWas
        } else if self.possible(*key, *asked, *answered).all(|(state, _)| state == State::Absent) {
            Wrong::LostDeletion
        } else {
            Wrong::Stale
        }
    }
}

fn fits(seen: &Seen, state: State) -> bool {
    match (seen, state) {
        (Seen::Absent, State::Absent) | (Seen::Present, State::Version { .. }) => true,
        (Seen::Length(seen), State::Version { length, .. }) => *seen == length,
        (Seen::Version(seen), State::Version { number, .. }) => *seen == number,
        _ => false,
    }
}
