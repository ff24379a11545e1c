//! Which files a walk has come by, in a bit each: ids of one directory's files lie close together.

use std::collections::BTreeMap;

use forebay_types::{FileId, Incarnation};

use crate::limits::VISITED_WORDS_MAX;

/// A set of versions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visited {
    words: BTreeMap<(Incarnation, u64), u64>,
}

impl Visited {
    /// Adds a version; whether it is new. When the set is full, a version that it cannot take counts as new.
    pub(crate) fn insert(&mut self, file: FileId) -> bool {
        let (key, bit) = place(file);
        if self.words.len() >= VISITED_WORDS_MAX && !self.words.contains_key(&key) {
            return true;
        }
        let word = self.words.entry(key).or_default();
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Takes a version out; whether it was in.
    pub(crate) fn remove(&mut self, file: FileId) -> bool {
        let (key, bit) = place(file);
        let Some(word) = self.words.get_mut(&key) else { return false };
        let was_in = *word & bit != 0;
        *word &= !bit;
        was_in
    }
}

const fn place(file: FileId) -> ((Incarnation, u64), u64) {
    ((file.incarnation, file.counter / 64), 1 << (file.counter % 64))
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
        assert!(visited.remove(file(1, 63)) && !visited.remove(file(1, 63)) && !visited.remove(file(3, 0)));
        assert!(visited.insert(file(1, 63)) && !visited.insert(file(1, 64)));
    }
}
