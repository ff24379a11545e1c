//! Least recently used leaves first. Simple and predictable; a scan over more than the cache throws everything out.

use std::collections::BTreeMap;

use forebay_types::{ByteCount, FileId};

use super::EvictionPolicy;
use crate::page::PageIndex;

/// The order of last use. About 100 bytes for each version.
#[derive(Debug, Default)]
pub(crate) struct Lru {
    /// Counts uses; the higher, the later.
    clock: u64,
    by_use: BTreeMap<u64, FileId>,
    /// Of those that are not parked.
    last_use: BTreeMap<FileId, u64>,
}

impl EvictionPolicy for Lru {
    fn insert(&mut self, _file: FileId, _length: ByteCount) {
        // What is parked has no place in the order: when it may leave again it was used just then.
    }

    fn remove(&mut self, file: FileId) {
        self.park(file);
    }

    fn park(&mut self, file: FileId) {
        if let Some(last_use) = self.last_use.remove(&file) {
            self.by_use.remove(&last_use);
        }
    }

    fn unpark(&mut self, file: FileId) {
        self.clock += 1;
        let earlier = self.last_use.insert(file, self.clock);
        debug_assert!(earlier.is_none(), "{file} is not parked");
        self.by_use.insert(self.clock, file);
    }

    fn touch(&mut self, file: FileId, _page: PageIndex) {
        let Some(last_use) = self.last_use.get_mut(&file) else { return };
        if *last_use == self.clock {
            return;
        }
        self.by_use.remove(last_use);
        self.clock += 1;
        *last_use = self.clock;
        self.by_use.insert(self.clock, file);
    }

    fn victim(&mut self) -> Option<FileId> {
        self.by_use.first_key_value().map(|(_, file)| *file)
    }
}

#[cfg(test)]
mod tests {
    use forebay_types::Incarnation;

    use super::*;

    fn file(counter: u64) -> FileId {
        FileId { incarnation: Incarnation::new(1), counter }
    }

    #[test]
    fn the_one_not_used_for_longest_leaves_first() {
        let mut lru = Lru::default();
        assert_eq!(lru.victim(), None);
        (1..=3).for_each(|counter| lru.unpark(file(counter)));
        lru.touch(file(1), PageIndex::new(0));
        assert_eq!(lru.victim(), Some(file(2)));
        lru.remove(file(2));
        assert_eq!(lru.victim(), Some(file(3)));
        lru.touch(file(3), PageIndex::new(0));
        assert_eq!(lru.victim(), Some(file(1)));
        lru.park(file(1));
        assert_eq!(lru.victim(), Some(file(3)));
        lru.unpark(file(1));
        assert_eq!(lru.victim(), Some(file(3)), "what was held was used until just now");
    }
}
