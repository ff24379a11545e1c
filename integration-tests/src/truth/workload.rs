//! What is done to the bucket, decided by a seed alone: no moment and no answer has a say.

use super::checker::State;
use super::names::{Key, Names};
use crate::dice::Dice;

/// Directories of the scenario, and how many keys lie in each. One of few keys comes and goes.
const DIRECTORIES: [(&str, usize); 5] = [("", 6), ("a/", 8), ("a/b/", 8), ("come/and/go/", 2), ("many/", 16)];
/// Keys whose objects take more than one request each to fetch.
const LARGE: [&str; 2] = ["large/0", "large/1"];
const LARGE_LENGTHS: std::ops::Range<usize> = 5 << 20..7 << 20;
/// Lengths of the others, one of these ranges at random: in one page, in several, in several records of a cache.
const LENGTHS: [std::ops::Range<usize>; 4] = [32..64, 64..4096, 4096..64 << 10, 64 << 10..300 << 10];
/// Of a hundred objects so many are empty.
const EMPTY_PERCENT: usize = 4;
/// Of a hundred operations that meet a key with an object so many replace it, and so many delete it; the others rename.
const REPLACE_PERCENT: usize = 55;
const DELETE_PERCENT: usize = 25;
/// Of a hundred replacements so many keep the length, and so many are followed by another one at once.
const SAME_LENGTH_PERCENT: usize = 50;
const TWICE_PERCENT: usize = 30;

/// One change of the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// An object is written: a new one where there was none.
    Put {
        /// Where.
        key: Key,
        /// The number of its content.
        number: u32,
        /// Its length.
        length: usize,
    },
    /// An object is deleted.
    Delete(Key),
    /// The server copies an object to another key, and then the first one is deleted.
    Rename {
        /// From where.
        from: Key,
        /// To where, also instead of what is there.
        to: Key,
    },
}

/// The operations of a seed, one after the other, without end.
#[derive(Clone, Debug)]
pub struct Workload {
    names: Names,
    dice: Dice,
    states: Vec<State>,
    last_number: u32,
    /// The key that is to be replaced once more.
    again: Option<Key>,
}

impl Workload {
    /// Those that follow from a seed, on a bucket that has none of the keys.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let small =
            DIRECTORIES.into_iter().flat_map(|(path, count)| (0..count).map(move |n| format!("{path}{n}")));
        let keys: Vec<_> = small.chain(LARGE.map(str::to_owned)).collect();
        let states = vec![State::Absent; keys.len()];
        Self { names: Names::new(keys), dice: Dice::new(seed), states, last_number: 0, again: None }
    }

    /// The keys that it changes.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What a key is after all operations so far.
    ///
    /// # Panics
    /// When it is none of the names.
    #[must_use]
    pub fn state(&self, key: Key) -> State {
        self.states[key.0]
    }

    fn decide(&mut self) -> Operation {
        if let Some(key) = self.again.take() {
            return self.replace(key);
        }
        let key = Key(self.dice.below(self.states.len()));
        if self.state(key) == State::Absent {
            return self.put(key, None);
        }
        match self.dice.below(100) {
            0..REPLACE_PERCENT => {
                self.again = self.dice.percent(TWICE_PERCENT).then_some(key);
                self.replace(key)
            }
            roll if roll < REPLACE_PERCENT + DELETE_PERCENT => {
                self.states[key.0] = State::Absent;
                Operation::Delete(key)
            }
            _ => self.rename(key),
        }
    }

    fn replace(&mut self, key: Key) -> Operation {
        let same = self.dice.percent(SAME_LENGTH_PERCENT);
        let length = match self.state(key) {
            State::Version { length, .. } if same => usize::try_from(length).ok(),
            _ => None,
        };
        self.put(key, length)
    }

    fn put(&mut self, key: Key, length: Option<usize>) -> Operation {
        let length = length.unwrap_or_else(|| self.length(key));
        self.last_number += 1;
        let number = self.last_number;
        self.states[key.0] = State::Version { number, length: length as u64 };
        Operation::Put { key, number, length }
    }

    fn length(&mut self, key: Key) -> usize {
        let range = match self.is_large(key) {
            true => LARGE_LENGTHS,
            false if self.dice.percent(EMPTY_PERCENT) => return 0,
            false => self.dice.one_of(&LENGTHS).clone(),
        };
        range.start + self.dice.below(range.len())
    }

    /// Large objects stay among themselves, so that there are never more of them.
    fn rename(&mut self, from: Key) -> Operation {
        let is_large = self.is_large(from);
        let others: Vec<_> =
            self.names.keys().filter(|key| *key != from && self.is_large(*key) == is_large).collect();
        let to = *self.dice.one_of(&others);
        self.states[to.0] = std::mem::replace(&mut self.states[from.0], State::Absent);
        Operation::Rename { from, to }
    }

    fn is_large(&self, key: Key) -> bool {
        LARGE.contains(&self.names.text(key))
    }
}

impl Iterator for Workload {
    type Item = Operation;

    fn next(&mut self) -> Option<Operation> {
        Some(self.decide())
    }
}

#[cfg(test)]
mod tests {
    use super::{Operation, State, Workload};

    #[test]
    fn a_seed_gives_the_same_operations_and_another_one_others() {
        let of = |seed| Workload::new(seed).take(300).collect::<Vec<_>>();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn a_thousand_operations_have_all_kinds() {
        let mut workload = Workload::new(7);
        let (mut added, mut same, mut other, mut twice, mut deleted, mut onto, mut fresh) =
            (0, 0, 0, 0, 0, 0, 0);
        let mut last = None;
        for _ in 0..1000 {
            let before = workload.clone();
            let operation = workload.next().expect("without end");
            match operation {
                Operation::Put { key, length, .. } => match before.state(key) {
                    State::Absent => added += 1,
                    State::Version { length: old, .. } if old == length as u64 => same += 1,
                    State::Version { .. } => other += 1,
                },
                Operation::Delete(key) => {
                    assert_ne!(before.state(key), State::Absent);
                    deleted += 1;
                }
                Operation::Rename { from, to } => {
                    assert_ne!(before.state(from), State::Absent);
                    if before.state(to) == State::Absent { fresh += 1 } else { onto += 1 }
                }
            }
            if let (Operation::Put { key, .. }, Some(Operation::Put { key: previous, .. })) =
                (operation, last)
            {
                twice += usize::from(key == previous && before.state(key) != State::Absent);
            }
            last = Some(operation);
        }
        let counts = [added, same, other, deleted, onto, fresh];
        assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
        assert!(twice > 20, "{twice}");
    }

    #[test]
    fn a_rename_moves_the_state() {
        let mut workload = Workload::new(3);
        let (before, from, to) = loop {
            let before = workload.clone();
            if let Some(Operation::Rename { from, to }) = workload.next() {
                break (before, from, to);
            }
        };
        assert_eq!(workload.state(to), before.state(from));
        assert_eq!(workload.state(from), State::Absent);
    }
}
