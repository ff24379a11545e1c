//! Which files or versions a walk has come by, in a bit each: ids of one directory's files lie close together.

use std::collections::BTreeMap;

use forebay_types::{FileId, Incarnation, InodeId};

use crate::limits::VISITED_WORDS_MAX;

/// What has an id that the set can take. One set holds ids of one kind.
pub(crate) trait Numbered {
    fn number(self) -> (Incarnation, u64);
}

/// A set of files or of versions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visited {
    words: BTreeMap<(Incarnation, u64), u64>,
}

impl Numbered for FileId {
    fn number(self) -> (Incarnation, u64) {
        (self.incarnation, self.counter)
    }
}

impl Numbered for InodeId {
    fn number(self) -> (Incarnation, u64) {
        (Incarnation::default(), self.get())
    }
}

impl Visited {
    /// Adds an id; whether it is new. When the set is full, an id that it cannot take counts as new.
    pub(crate) fn insert(&mut self, id: impl Numbered) -> bool {
        let (incarnation, number) = id.number();
        let (key, bit) = ((incarnation, number / 64), 1_u64 << (number % 64));
        if self.words.len() >= VISITED_WORDS_MAX && !self.words.contains_key(&key) {
            return true;
        }
        let word = self.words.entry(key).or_default();
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_new_once() {
        let file = |incarnation, counter| FileId { incarnation: Incarnation::new(incarnation), counter };
        let mut visited = Visited::default();
        for counter in [0, 1, 63, 64, 1 << 40, u64::MAX] {
            assert!(visited.insert(file(1, counter)));
            assert!(!visited.insert(file(1, counter)));
            assert!(visited.insert(file(2, counter)), "another incarnation");
        }
        let mut visited = Visited::default();
        assert!(visited.insert(InodeId::new(64)) && visited.insert(InodeId::new(63)));
        assert!(!visited.insert(InodeId::new(64)));
    }
}
