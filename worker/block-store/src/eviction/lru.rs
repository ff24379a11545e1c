//! Least recently used leaves first. Simple and predictable; a scan over more than the cache throws everything out.

use std::collections::BTreeMap;

use forebay_types::ByteCount;

use super::EvictionPolicy;
use crate::page::PageIndex;
use crate::unit::UnitId;

/// The order of last use. About 100 bytes for each version.
#[derive(Debug, Default)]
pub(crate) struct Lru {
    /// Counts uses; the higher, the later.
    clock: u64,
    by_use: BTreeMap<u64, UnitId>,
    /// Of those that are not parked.
    last_use: BTreeMap<UnitId, u64>,
}

impl EvictionPolicy for Lru {
    fn insert(&mut self, _unit: UnitId, _length: ByteCount) {
        // What is parked has no place in the order: when it may leave again it was used just then.
    }

    fn remove(&mut self, unit: UnitId) {
        self.park(unit);
    }

    fn park(&mut self, unit: UnitId) {
        if let Some(last_use) = self.last_use.remove(&unit) {
            self.by_use.remove(&last_use);
        }
    }

    fn unpark(&mut self, unit: UnitId) {
        self.clock += 1;
        let earlier = self.last_use.insert(unit, self.clock);
        debug_assert!(earlier.is_none(), "{unit} is not parked");
        self.by_use.insert(self.clock, unit);
    }

    fn touch(&mut self, unit: UnitId, _page: PageIndex) {
        let Some(last_use) = self.last_use.get_mut(&unit) else { return };
        if *last_use == self.clock {
            return;
        }
        self.by_use.remove(last_use);
        self.clock += 1;
        *last_use = self.clock;
        self.by_use.insert(self.clock, unit);
    }

    fn victim(&mut self) -> Option<UnitId> {
        self.by_use.first_key_value().map(|(_, unit)| *unit)
    }
}

#[cfg(test)]
mod tests {
    use forebay_types::{FileId, Incarnation};

    use super::*;

    fn unit(counter: u64) -> UnitId {
        UnitId::whole(FileId { incarnation: Incarnation::new(1), counter })
    }

    #[test]
    fn the_one_not_used_for_longest_leaves_first() {
        let mut lru = Lru::default();
        assert_eq!(lru.victim(), None);
        (1..=3).for_each(|counter| lru.unpark(unit(counter)));
        lru.touch(unit(1), PageIndex::new(0));
        assert_eq!(lru.victim(), Some(unit(2)));
        lru.remove(unit(2));
        assert_eq!(lru.victim(), Some(unit(3)));
        lru.touch(unit(3), PageIndex::new(0));
        assert_eq!(lru.victim(), Some(unit(1)));
        lru.park(unit(1));
        assert_eq!(lru.victim(), Some(unit(3)));
        lru.unpark(unit(1));
        assert_eq!(lru.victim(), Some(unit(3)), "what was held was used until just now");
    }
}
