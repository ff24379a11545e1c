//! The versions that one worker must forget or disown: told a list at a time, each again until the worker has taken it.

use std::collections::VecDeque;

use forebay_types::FileId;

use crate::limits;

/// What a worker is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForgetList {
    /// Names the list; the worker says it back.
    pub sequence: u64,
    /// To be dropped; with `disowned` at most `FORGET_PER_HEARTBEAT_MAX`.
    pub files: Vec<FileId>,
    /// To be kept, and found by their content only.
    pub disowned: Vec<FileId>,
}

/// What is to be done with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Dropped,
    Disowned,
}

/// What one worker has still to forget.
#[derive(Clone, Debug, Default)]
pub struct Forgetting {
    /// The oldest first, at most [`limits::FORGET_PENDING_MAX`].
    files: VecDeque<(FileId, Fate)>,
    /// How many were taken before them: each has a place of its own, counted from 1.
    taken: u64,
    /// How many of them, from the first on, make up the list that was told last.
    told: usize,
    /// The number of that list.
    sequence: u64,
}

impl Forgetting {
    /// Adds a version to be dropped, unless too many wait already.
    pub fn add(&mut self, file: FileId) {
        self.push(file, Fate::Dropped);
    }

    /// The same for one to be disowned.
    pub fn add_disowned(&mut self, file: FileId) {
        self.push(file, Fate::Disowned);
    }

    /// Forgets all that waits. The list that was told last is not told again, and the next one has another number.
    pub fn clear(&mut self) {
        self.taken += self.files.len() as u64;
        self.files.clear();
        self.told = 0;
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The place of the last one that was added.
    #[must_use]
    pub fn last_place(&self) -> u64 {
        self.taken + self.files.len() as u64
    }

    /// The place of the last one that was taken.
    #[must_use]
    pub const fn taken_place(&self) -> u64 {
        self.taken
    }

    fn push(&mut self, file: FileId, fate: Fate) {
        if self.files.len() < limits::FORGET_PENDING_MAX {
            self.files.push_back((file, fate));
        }
    }

    /// What to tell a worker that took the list of number `taken` last: the same list again if that was another one.
    /// `None`: the worker does not say, so what it was told counts as taken.
    pub fn next(&mut self, taken: Option<u64>) -> ForgetList {
        if taken.is_none_or(|taken| taken == self.sequence) {
            self.files.drain(..self.told);
            self.taken += self.told as u64;
            self.told = 0;
        }
        if self.told == 0 && !self.files.is_empty() {
            self.told = self.files.len().min(limits::FORGET_PER_HEARTBEAT_MAX);
            self.sequence += 1;
        }
        let of_fate = |wanted| {
            let told = self.files.range(..self.told).filter(move |(_, fate)| *fate == wanted);
            told.map(|(file, _)| *file).collect()
        };
        let (files, disowned) = (of_fate(Fate::Dropped), of_fate(Fate::Disowned));
        ForgetList { sequence: self.sequence, files, disowned }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_types::Incarnation;

    fn file(counter: u64) -> FileId {
        FileId { incarnation: Incarnation::new(1), counter }
    }

    #[test]
    fn a_list_is_told_again_until_it_was_taken() {
        let mut forgetting = Forgetting::default();
        assert_eq!(forgetting.next(Some(0)).files, []);
        forgetting.add(file(1));
        let first = forgetting.next(Some(0));
        assert_eq!(first, ForgetList { sequence: 1, files: vec![file(1)], disowned: vec![] });
        forgetting.add(file(2));
        forgetting.add_disowned(file(3));
        assert_eq!(forgetting.next(Some(0)), first, "the answer was lost");
        let second = ForgetList { sequence: 2, files: vec![file(2)], disowned: vec![file(3)] };
        assert_eq!(forgetting.next(Some(1)), second);
        assert_eq!(forgetting.next(Some(1)), second);
        assert_eq!(forgetting.next(Some(2)).files, []);
        assert_eq!(forgetting.next(Some(2)).files, []);
    }

    #[test]
    fn a_new_life_of_the_worker_is_told_what_the_last_one_did_not_take() {
        let mut forgetting = Forgetting::default();
        forgetting.add(file(1));
        forgetting.next(Some(0));
        forgetting.next(Some(1));
        forgetting.add(file(2));
        let list = forgetting.next(Some(1));
        assert_eq!(forgetting.next(Some(0)), list);
    }

    #[test]
    fn a_list_after_one_that_was_given_up_has_another_number() {
        let mut forgetting = Forgetting::default();
        forgetting.add(file(1));
        let first = forgetting.next(Some(0));
        forgetting.clear();
        assert_eq!(forgetting.taken_place(), forgetting.last_place());
        forgetting.add(file(2));
        for taken in [0, first.sequence] {
            let second = forgetting.next(Some(taken));
            assert_eq!((second.files, second.sequence), (vec![file(2)], first.sequence + 1), "{taken}");
        }
        assert_eq!(forgetting.next(Some(first.sequence + 1)).files, []);
    }

    #[test]
    fn a_worker_that_does_not_say_what_it_took_is_told_once() {
        let mut forgetting = Forgetting::default();
        forgetting.add(file(1));
        assert_eq!(forgetting.next(None).files, [file(1)]);
        assert_eq!(forgetting.next(None).files, []);
    }

    #[test]
    fn a_long_list_is_told_in_parts_and_too_long_a_one_is_cut() {
        let mut forgetting = Forgetting::default();
        (0..=limits::FORGET_PENDING_MAX as u64).for_each(|counter| forgetting.add(file(counter)));
        let (mut told, mut taken) = (0, 0);
        loop {
            let list = forgetting.next(Some(taken));
            if list.files.is_empty() {
                break;
            }
            assert!(list.files.len() <= limits::FORGET_PER_HEARTBEAT_MAX);
            assert_eq!(list.files[0], file(told as u64), "in order");
            told += list.files.len();
            taken = list.sequence;
        }
        assert_eq!(told, limits::FORGET_PENDING_MAX);
    }
}
