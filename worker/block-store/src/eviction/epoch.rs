//! No thrashing under epochs: what is cached stays as long as it is read once in each pass over a data set, and what
//! finds no room is read past the cache.
//!
//! Training reads each file once an epoch, in another order each time. Whatever is stored for such a read pushes out
//! something that is needed as soon, and costs a write. Keeping what there is gives the best ratio of hits that is
//! possible without knowing the order: cache / data set. (Mohan, Phanishayee, Raniwala, Chidambaram, "Analyzing and
//! Mitigating Data Stalls in DNN Training", VLDB 2021, call that MinIO.) To it this adds how things leave after all:
//!
//! - *The dead.* In random passes over N bytes no version waits 2 N for its next visit. A sample of all visits, also of
//!   what is not stored, measures how long waits are at most; who waits for [`DEAD_AFTER`] of that is dead.
//! - *The forsaken.* When hardly anything that is cached was visited for a quarter of that, it is out of use, and
//!   gives way to what is asked for a second time.
//! - *The cold.* A newcomer with three visits in a third of the time that somebody waits is let in for it. In random passes
//!   three visits take longer than one whole pass, and nobody waits for two, so there this never happens.

mod pace;
mod quiet;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use forebay_types::ByteCount;

use self::pace::Pace;
use self::quiet::Quiet;
use super::newcomers::Newcomers;
use super::visit::{Visit, VisitClock};
use super::{EvictionPolicy, Newcomer};
use crate::page::PageIndex;
use crate::unit::UnitId;

/// How much longer than the longest usual wait a version waits when it is dead, as a fraction.
const DEAD_AFTER: (u64, u64) = (5, 4);
/// How long nearly all that is cached is left alone until it is out of use, as a part of the longest usual wait.
const FORSAKEN_AFTER_PARTS: u64 = 4;
/// Nobody waits for longer than to see so many times the capacity visited. Of a data set so large next to nothing is
/// cached, so it does not matter that some of it leaves too early; and without any repetition nothing is measured.
const CAPACITIES_MAX: u64 = 32;
/// Who waits so many times longer than a newcomer's last three visits took is colder than it.
const COLDER: u64 = 3;

/// What stays and what is asked for. About 180 bytes for each version; what is remembered beyond that is bounded.
#[derive(Debug)]
pub(crate) struct Epoch {
    clock: VisitClock,
    capacity: u64,
    next_place: u64,
    known: BTreeMap<UnitId, Known>,
    /// Those that are not parked, the one that waits longest first.
    waiting: BTreeMap<u64, UnitId>,
    newcomers: Newcomers,
    pace: Pace,
    quiet: Quiet,
}

#[derive(Debug)]
struct Known {
    visit: Visit,
    length: u64,
    /// Its key among those that wait; `None` while it is parked.
    place: Option<u64>,
}

impl Epoch {
    pub(crate) fn new(capacity: ByteCount) -> Self {
        Self {
            clock: VisitClock::new(capacity.get()),
            capacity: capacity.get(),
            next_place: 0,
            known: BTreeMap::new(),
            waiting: BTreeMap::new(),
            newcomers: Newcomers::default(),
            pace: Pace::default(),
            quiet: Quiet::default(),
        }
    }

    /// Puts the version behind all others.
    fn wait_from_now(&mut self, unit: UnitId) {
        let Some(known) = self.known.get_mut(&unit) else { return };
        if let Some(place) = known.place {
            self.waiting.remove(&place);
        }
        self.next_place += 1;
        known.place = Some(self.next_place);
        self.waiting.insert(self.next_place, unit);
    }

    /// Who waits longest, and since when.
    fn coldest(&self) -> Option<(UnitId, u64)> {
        let (_, unit) = self.waiting.first_key_value()?;
        Some((*unit, self.known.get(unit).expect("who waits is known").visit.used))
    }

    /// Whether who waits since then is dead, where waits are usually not longer than `usual`.
    fn is_dead(&self, since: u64, usual: Option<u64>) -> bool {
        let (parts, of) = DEAD_AFTER;
        let most = self.capacity.saturating_mul(CAPACITIES_MAX);
        let longest = usual.map_or(most, |usual| (usual.saturating_mul(parts) / of).min(most));
        self.clock.now() - since > longest
    }

    /// Whether who waits since then waits with nearly all others, and the newcomer was asked for before.
    fn is_forsaken(&self, since: u64, usual: Option<u64>, newcomer: &Newcomer) -> bool {
        let quiet = self.quiet.since();
        let is_quiet = usual.is_some_and(|usual| self.clock.now() - quiet > usual / FORSAKEN_AFTER_PARTS);
        is_quiet && since <= quiet && self.newcomers.is_another_visit(&self.clock, newcomer)
    }

    /// Whether who waits since then is that much colder than the newcomer.
    fn is_colder(&self, since: u64, newcomer: &Newcomer) -> bool {
        let took = self.newcomers.three_visits_took(&self.clock, newcomer);
        took.is_some_and(|took| self.clock.now() - since >= took.saturating_mul(COLDER))
    }
}

impl EvictionPolicy for Epoch {
    fn insert(&mut self, unit: UnitId, length: ByteCount) {
        let visit = match self.newcomers.remove(unit) {
            Some(visit) if !self.clock.is_another(&visit, PageIndex::new(0)) => visit,
            _ => {
                let visit = self.clock.begin(PageIndex::new(0), length.get());
                self.pace.visited(unit, visit.began);
                visit
            }
        };
        let earlier = self.known.insert(unit, Known { visit, length: length.get(), place: None });
        debug_assert!(earlier.is_none(), "{unit} came twice");
        self.pace.fit(self.known.len());
    }

    fn remove(&mut self, unit: UnitId) {
        if let Some(place) = self.known.remove(&unit).and_then(|known| known.place) {
            self.waiting.remove(&place);
        }
    }

    fn park(&mut self, unit: UnitId) {
        if let Some(place) = self.known.get_mut(&unit).and_then(|known| known.place.take()) {
            self.waiting.remove(&place);
        }
    }

    fn unpark(&mut self, unit: UnitId) {
        if let Some(known) = self.known.get_mut(&unit) {
            known.visit.used = self.clock.now();
        }
        self.wait_from_now(unit);
    }

    fn touch(&mut self, unit: UnitId, page: PageIndex) {
        let stored = self.known.len();
        let Some(known) = self.known.get_mut(&unit) else { return };
        if self.clock.is_another(&known.visit, page) {
            known.visit = self.clock.begin(page, known.length);
            self.pace.visited(unit, known.visit.began);
            self.quiet.visited(known.visit.began, stored);
        } else {
            self.clock.go_on(&mut known.visit, page);
        }
        if known.place.is_some() {
            self.wait_from_now(unit);
        }
    }

    fn victim(&mut self) -> Option<UnitId> {
        self.coldest().map(|(unit, _)| unit)
    }

    fn victim_for(&mut self, newcomer: &Newcomer) -> Option<UnitId> {
        let (coldest, since) = self.coldest()?;
        let usual = self.pace.longest_usual_wait();
        let leaves = self.is_dead(since, usual)
            || self.is_forsaken(since, usual, newcomer)
            || self.is_colder(since, newcomer);
        leaves.then_some(coldest)
    }

    fn declined(&mut self, newcomer: &Newcomer) {
        if self.known.contains_key(&newcomer.unit) {
            self.touch(newcomer.unit, newcomer.page);
        } else if let Some(began) = self.newcomers.came(&mut self.clock, newcomer) {
            self.pace.visited(newcomer.unit, began);
        }
    }

    fn is_selective(&self) -> bool {
        true
    }
}
