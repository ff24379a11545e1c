//! SIEVE, to compare with: one queue in the order of coming, and a hand that spares what was visited.
//!
//! Source: Zhang, Yang, Yue, Vigfusson, Rashmi, "SIEVE is Simpler than LRU: an Efficient Turn-Key Eviction Algorithm
//! for Web Caches", NSDI 2024.

use std::collections::BTreeMap;
use std::ops::Bound;

use forebay_types::ByteCount;

use super::EvictionPolicy;
use super::visit::{Visit, VisitClock};
use crate::page::PageIndex;
use crate::unit::UnitId;

#[derive(Debug)]
pub(crate) struct Sieve {
    clock: VisitClock,
    next_place: u64,
    /// The place that the hand looked at last; it goes from old to new.
    hand: u64,
    known: BTreeMap<UnitId, Known>,
    /// Those that are not parked, the oldest first.
    queue: BTreeMap<u64, UnitId>,
}

#[derive(Debug)]
struct Known {
    visit: Visit,
    length: u64,
    place: u64,
    is_visited: bool,
}

impl Sieve {
    pub(crate) fn new(capacity: ByteCount) -> Self {
        Self {
            clock: VisitClock::new(capacity.get()),
            next_place: 1,
            hand: 0,
            known: BTreeMap::new(),
            queue: BTreeMap::new(),
        }
    }
}

impl EvictionPolicy for Sieve {
    fn insert(&mut self, unit: UnitId, length: ByteCount) {
        let visit = self.clock.begin(PageIndex::new(0), length.get());
        let place = self.next_place;
        self.next_place += 1;
        self.known.insert(unit, Known { visit, length: length.get(), place, is_visited: false });
    }

    fn remove(&mut self, unit: UnitId) {
        let Some(known) = self.known.remove(&unit) else { return };
        self.queue.remove(&known.place);
        if known.place == self.hand {
            // Behind the newest it begins again with the oldest, whatever comes meanwhile.
            let later = (Bound::Excluded(self.hand), Bound::Unbounded);
            self.hand = self.queue.range(later).next().map_or(0, |(place, _)| *place);
        }
    }

    fn park(&mut self, unit: UnitId) {
        if let Some(known) = self.known.get(&unit) {
            self.queue.remove(&known.place);
        }
    }

    fn unpark(&mut self, unit: UnitId) {
        if let Some(known) = self.known.get(&unit) {
            self.queue.insert(known.place, unit);
        }
    }

    fn touch(&mut self, unit: UnitId, page: PageIndex) {
        let Some(known) = self.known.get_mut(&unit) else { return };
        if self.clock.is_another(&known.visit, page) {
            known.visit = self.clock.begin(page, known.length);
            known.is_visited = true;
        } else {
            self.clock.go_on(&mut known.visit, page);
        }
    }

    fn victim(&mut self) -> Option<UnitId> {
        loop {
            let from_hand = (Bound::Included(self.hand), Bound::Unbounded);
            let found = self.queue.range(from_hand).next().or_else(|| self.queue.first_key_value());
            let (place, unit) = found.map(|(place, unit)| (*place, *unit))?;
            let known = self.known.get_mut(&unit).expect("what is in the queue is known");
            self.hand = place;
            if !known.is_visited {
                return Some(unit);
            }
            known.is_visited = false;
            self.hand = place + 1;
        }
    }
}
