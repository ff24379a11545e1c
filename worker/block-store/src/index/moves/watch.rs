//! What is visited on the disks, and which units may be promoted for it.
//!
//! Time is counted in bytes of what is visited. Whatever the work is, in place of others no more is promoted than an
//! eighth of what is visited on the disks.

use std::collections::{BTreeSet, VecDeque};

use forebay_types::ByteCount;

use super::super::entry::Entry;
use super::super::{Index, TierIndex};
use crate::eviction::{Newcomer, Newcomers, VisitClock};
use crate::limits::{DEMOTION_END_PARTS, PROMOTIONS_WAITING_MAX};
use crate::page::PageIndex;
use crate::settings::TierKind;
use crate::unit::UnitId;

/// In place of others no more is promoted than one part in so many of what is visited on the disks.
const PROMOTED_PARTS: u64 = 8;

/// Visits, and the units that wait to be promoted.
#[derive(Debug)]
pub(super) struct Watch {
    clock: VisitClock,
    /// To what lies on the disks.
    visits: Newcomers,
    /// What was used last, if that lies in memory: ranges of one reading are one visit.
    in_memory: Option<UnitId>,
    pub(super) waiting: VecDeque<Candidate>,
    is_waiting: BTreeSet<UnitId>,
    /// Bytes that may be promoted in place of others now, and most that they may become: what memory holds.
    pub(super) allowance: u64,
    allowance_max: u64,
    /// Tiers that are being relieved.
    pub(super) relieved: BTreeSet<TierIndex>,
}

/// A unit that may be promoted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) unit: UnitId,
    /// What was visited during its last three visits, if there were so many.
    pub(super) took: Option<u64>,
    /// Bytes that left their tiers for it.
    pub(super) way: u64,
}

impl Watch {
    pub(super) const fn now(&self) -> u64 {
        self.clock.now()
    }

    /// A unit is on no disk any more.
    pub(super) fn forget(&mut self, unit: UnitId) {
        self.visits.remove(unit);
    }

    /// The first of those that wait is done with.
    pub(super) fn finish_first(&mut self) {
        if let Some(first) = self.waiting.pop_front() {
            self.is_waiting.remove(&first.unit);
        }
    }
}

impl Index {
    /// From now on somebody moves units. Without memory or without a disk there is nothing to do.
    pub(crate) fn watch_moves(&mut self) {
        let capacity_of = |kind| {
            let of_kind = self.tiers.iter().map(|tier| tier.limits()).filter(|limits| limits.kind == kind);
            of_kind.map(|limits| limits.capacity.get()).sum::<u64>()
        };
        let (ram, disk) = (capacity_of(TierKind::Ram), capacity_of(TierKind::Disk));
        if ram > 0 && disk > 0 && self.moves.watch.is_none() {
            self.moves.watch = Some(Watch {
                clock: VisitClock::new(disk),
                visits: Newcomers::default(),
                in_memory: None,
                waiting: VecDeque::new(),
                is_waiting: BTreeSet::new(),
                allowance: 0,
                allowance_max: ram,
                relieved: BTreeSet::new(),
            });
        }
    }

    /// A unit, wherever it is, is being used from `page` on.
    pub(in crate::index) fn visited(&mut self, unit: UnitId, page: PageIndex) {
        if self.moves.watch.is_some()
            && let Some(entry) = self.units.get(&unit)
        {
            let (length, tier) = (ByteCount::new(entry.geometry().length()), entry.tier());
            self.visited_on(unit, page, length, tier);
            self.consider(unit);
        }
    }

    /// As [`Index::visited`], for a unit that may only be coming.
    pub(in crate::index) fn visited_on(
        &mut self,
        unit: UnitId,
        page: PageIndex,
        length: ByteCount,
        tier: TierIndex,
    ) {
        let Some(watch) = &mut self.moves.watch else { return };
        if self.tiers[tier.0].limits().kind == TierKind::Ram {
            // Only for the time. Two readings that take turns are counted too often, which does no harm.
            if page == PageIndex::new(0) && watch.in_memory.replace(unit) != Some(unit) {
                watch.clock.begin(page, length.get());
            }
            return;
        }
        watch.in_memory = None;
        let newcomer = Newcomer { unit, length, page };
        // What the watch does not know came long ago.
        let came_earlier = self.units.contains_key(&unit) && !watch.visits.knows(unit);
        let before = watch.clock.now();
        watch.visits.came(&mut watch.clock, &newcomer);
        watch.allowance += (watch.clock.now() - before) / PROMOTED_PARTS;
        watch.allowance = watch.allowance.min(watch.allowance_max);
        if came_earlier {
            watch.visits.was_there(unit);
        }
    }

    /// A unit that was used may be promoted now, if it lies on a disk and was visited again.
    pub(in crate::index) fn consider(&mut self, unit: UnitId) {
        let Some(watch) = &self.moves.watch else { return };
        if watch.is_waiting.contains(&unit) || !watch.visits.came_again(unit) {
            return;
        }
        let tier = self.units.get(&unit).map(Entry::tier);
        if tier.is_none_or(|tier| self.tiers[tier.0].limits().kind != TierKind::Disk) {
            return;
        }
        let took = watch.visits.span_of_three_visits(unit);
        let has_ample_room = |index: &Self| {
            let memory = index.tiers.iter().filter(|tier| tier.limits().kind == TierKind::Ram);
            memory.map(|tier| tier.room()).any(|(all, free)| free > all / DEMOTION_END_PARTS)
        };
        if !self.may_move(unit) || (took.is_none() && !has_ample_room(self)) {
            return;
        }
        let Some(watch) = &mut self.moves.watch else { return };
        if watch.waiting.len() >= PROMOTIONS_WAITING_MAX {
            watch.finish_first();
        }
        watch.waiting.push_back(Candidate { unit, took, way: 0 });
        watch.is_waiting.insert(unit);
    }
}
