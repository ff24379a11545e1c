//! S3-FIFO: what was used once leaves soon, what was used again stays, and what comes back soon is let in for good.
//!
//! New versions pass through a small queue, a tenth of the bytes; those that were visited again there move to the main
//! queue, in which each visit spares a version one round. The names of those that left the small queue are remembered:
//! one that comes again meanwhile goes to the main queue at once. A scan of things used once passes through the small
//! queue and leaves the rest alone.
//!
//! Source: Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023. Here the queues
//! are counted in bytes, and what is parked keeps its place.

use std::collections::BTreeMap;

use forebay_types::ByteCount;

use super::EvictionPolicy;
use super::visit::{Visit, VisitClock};
use crate::limits::GHOSTS_MAX;
use crate::page::PageIndex;
use crate::unit::UnitId;

/// The small queue's part of all bytes.
const SMALL_PARTS: u64 = 10;
/// Visits beyond that are not counted.
const VISITS_MAX: u8 = 3;
/// Visits after the first that let a version pass from the small queue to the main one.
const VISITS_TO_PASS: u8 = 2;

/// The queues. About 180 bytes for each version, and 100 for each remembered name, of which there are at most as many
/// as versions.
#[derive(Debug)]
pub(crate) struct S3Fifo {
    clock: VisitClock,
    next_place: u64,
    known: BTreeMap<UnitId, Known>,
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Small,
    Main,
}

#[derive(Debug)]
struct Known {
    visit: Visit,
    length: u64,
    /// Its key in the queue, also while it is parked.
    place: u64,
    queue: Which,
    visits: u8,
}

/// A queue, the oldest first.
#[derive(Debug, Default)]
struct Queue {
    /// Those that are not parked.
    order: BTreeMap<u64, UnitId>,
    /// Bytes of all that belong to it.
    bytes: u64,
}

/// Names of what left the small queue.
#[derive(Debug, Default)]
struct Ghosts {
    order: BTreeMap<u64, UnitId>,
    places: BTreeMap<UnitId, u64>,
}

impl S3Fifo {
    pub(crate) fn new(capacity: ByteCount) -> Self {
        Self {
            clock: VisitClock::new(capacity.get()),
            next_place: 0,
            known: BTreeMap::new(),
            small: Queue::default(),
            main: Queue::default(),
            ghosts: Ghosts::default(),
        }
    }

    fn queue(&mut self, which: Which) -> &mut Queue {
        match which {
            Which::Small => &mut self.small,
            Which::Main => &mut self.main,
        }
    }

    fn place(&mut self) -> u64 {
        self.next_place += 1;
        self.next_place
    }

    /// Moves the oldest of a queue to the end of the main one.
    fn requeue(&mut self, from: Which, visits: u8) {
        let place = self.place();
        let Some((_, unit)) = self.queue(from).order.pop_first() else { return };
        let known = self.known.get_mut(&unit).expect("what is in a queue is known");
        known.place = place;
        known.queue = Which::Main;
        known.visits = visits;
        let length = known.length;
        self.queue(from).bytes -= length;
        self.main.bytes += length;
        self.main.order.insert(place, unit);
    }

    fn oldest(&self, queue: &Queue) -> Option<(UnitId, u8)> {
        let (_, unit) = queue.order.first_key_value()?;
        Some((*unit, self.known.get(unit).expect("what is in a queue is known").visits))
    }
}

impl EvictionPolicy for S3Fifo {
    fn insert(&mut self, unit: UnitId, length: ByteCount) {
        let place = self.place();
        let visit = self.clock.begin(PageIndex::new(0), length.get());
        let queue = if self.ghosts.remove(unit) { Which::Main } else { Which::Small };
        let length = length.get().max(1);
        self.queue(queue).bytes += length;
        let earlier = self.known.insert(unit, Known { visit, length, place, queue, visits: 0 });
        debug_assert!(earlier.is_none(), "{unit} came twice");
    }

    fn remove(&mut self, unit: UnitId) {
        let Some(known) = self.known.remove(&unit) else { return };
        let queue = self.queue(known.queue);
        queue.order.remove(&known.place);
        queue.bytes -= known.length;
        if known.queue == Which::Small {
            let place = self.place();
            self.ghosts.insert(unit, place);
        }
        self.ghosts.cut(self.known.len().min(GHOSTS_MAX));
    }

    fn park(&mut self, unit: UnitId) {
        if let Some(Known { place, queue, .. }) = self.known.get(&unit) {
            let (place, queue) = (*place, *queue);
            self.queue(queue).order.remove(&place);
        }
    }

    fn unpark(&mut self, unit: UnitId) {
        if let Some(known) = self.known.get_mut(&unit) {
            known.visit.used = self.clock.now();
            let (place, queue) = (known.place, known.queue);
            self.queue(queue).order.insert(place, unit);
        }
    }

    fn touch(&mut self, unit: UnitId, page: PageIndex) {
        let Some(known) = self.known.get_mut(&unit) else { return };
        if self.clock.is_another(&known.visit, page) {
            known.visit = self.clock.begin(page, known.length);
            known.visits = (known.visits + 1).min(VISITS_MAX);
        } else {
            self.clock.go_on(&mut known.visit, page);
        }
    }

    fn rested(&mut self, unit: UnitId) {
        if let Some(known) = self.known.get_mut(&unit) {
            known.visits = known.visits.max(VISITS_TO_PASS);
        }
    }

    fn victim(&mut self) -> Option<UnitId> {
        // Ends: each round moves one out of the small queue, or takes a visit from one of the main queue.
        loop {
            let is_small_full = self.small.bytes >= (self.small.bytes + self.main.bytes) / SMALL_PARTS;
            let (small, main) = (self.oldest(&self.small), self.oldest(&self.main));
            match (small, main) {
                (Some((unit, visits)), main) if is_small_full || main.is_none() => {
                    if visits < VISITS_TO_PASS {
                        return Some(unit);
                    }
                    self.requeue(Which::Small, 0);
                }
                (_, Some((unit, 0))) => return Some(unit),
                (_, Some((_, visits))) => self.requeue(Which::Main, visits - 1),
                (_, None) => return None,
            }
        }
    }
}

impl Ghosts {
    fn insert(&mut self, unit: UnitId, place: u64) {
        self.remove(unit);
        self.places.insert(unit, place);
        self.order.insert(place, unit);
    }

    /// Whether it was remembered.
    fn remove(&mut self, unit: UnitId) -> bool {
        let place = self.places.remove(&unit);
        place.is_some_and(|place| self.order.remove(&place).is_some())
    }

    fn cut(&mut self, max: usize) {
        while self.places.len() > max
            && let Some((_, unit)) = self.order.pop_first()
        {
            self.places.remove(&unit);
        }
    }
}

#[cfg(test)]
mod tests {
    use forebay_types::{FileId, Incarnation};

    use super::*;

    const MIB: u64 = 1 << 20;
    const STORED: usize = 100;

    fn unit(counter: u64) -> UnitId {
        UnitId::whole(FileId { incarnation: Incarnation::new(1), counter })
    }

    /// One reading as an open and a close; where the version is not here it comes, and somebody leaves for it.
    fn read(policy: &mut S3Fifo, counter: u64) -> Option<UnitId> {
        if policy.known.contains_key(&unit(counter)) {
            policy.park(unit(counter));
            policy.touch(unit(counter), PageIndex::new(0));
            policy.unpark(unit(counter));
            return None;
        }
        let left = if policy.known.len() == STORED { policy.victim() } else { None };
        left.iter().for_each(|left| policy.remove(*left));
        policy.insert(unit(counter), ByteCount::new(MIB));
        policy.unpark(unit(counter));
        left
    }

    #[test]
    fn what_rested_passes_though_its_uses_were_not_seen() {
        let mut policy = S3Fifo::new(ByteCount::new(STORED as u64 * MIB));
        let hot = STORED as u64 * 9 / 10;
        read_all(&mut policy, 0..hot);
        for counter in 0..hot {
            policy.park(unit(counter));
            policy.touch(unit(counter), PageIndex::new(0));
            policy.rested(unit(counter));
            policy.unpark(unit(counter));
        }
        read_all(&mut policy, 1_000..1_000 + 3 * STORED as u64);
        let stayed = (0..hot).filter(|counter| policy.known.contains_key(&unit(*counter))).count();
        assert_eq!(stayed as u64, hot, "a scan goes by");
    }

    fn read_all(policy: &mut S3Fifo, counters: impl IntoIterator<Item = u64>) {
        for counter in counters {
            read(policy, counter);
        }
    }

    /// A hot set of nine tenths of what is stored, opened and closed some times.
    fn with_hot_set() -> S3Fifo {
        let mut policy = S3Fifo::new(ByteCount::new(STORED as u64 * MIB));
        read_all(&mut policy, (0..4).flat_map(|_| 0..90));
        policy
    }

    #[test]
    fn a_scan_passes_through_the_small_queue_and_leaves_the_rest_alone() {
        let mut policy = with_hot_set();
        for counter in 1000..3000 {
            assert!(read(&mut policy, counter).is_none_or(|left| left.file().counter >= 1000));
        }
        assert!((0..90).all(|counter| policy.known.contains_key(&unit(counter))));
        assert!(policy.ghosts.places.len() <= STORED, "as many names are remembered as there are versions");
        assert_eq!(policy.ghosts.places.len(), policy.ghosts.order.len());
    }

    #[test]
    fn what_comes_back_soon_after_it_left_stays() {
        let mut policy = with_hot_set();
        read_all(&mut policy, 1000..1050);
        assert!(!policy.known.contains_key(&unit(1010)));
        read(&mut policy, 1010);
        assert_eq!(policy.known[&unit(1010)].queue, Which::Main);
        read_all(&mut policy, 2000..2100);
        assert!(policy.known.contains_key(&unit(1010)));
    }

    #[test]
    fn what_is_parked_is_no_victim_and_keeps_its_place() {
        let mut policy = S3Fifo::new(ByteCount::new(STORED as u64 * MIB));
        read_all(&mut policy, 0..3);
        policy.park(unit(0));
        assert_eq!(policy.victim(), Some(unit(1)));
        policy.unpark(unit(0));
        assert_eq!(policy.victim(), Some(unit(0)));
        (0..3).for_each(|counter| policy.park(unit(counter)));
        assert_eq!(policy.victim(), None);
    }
}
