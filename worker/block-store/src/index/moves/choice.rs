//! Which unit moves next, and who gives way to it.
//!
//! No thrash: demotion begins when a sixteenth of memory is free, goes on until an eighth is, and takes only room that a
//! disk has left over. Promotion takes room that memory has beyond that eighth; and any room, also that of others, for
//! what was visited three times in a third of the time that the next to leave memory waits. In random passes over a data
//! set three visits take longer than one whole pass and nobody waits for two, so there this never happens.

use forebay_types::ByteCount;

use super::super::entry::Entry;
use super::super::{Index, Reason, TierIndex};
use super::watch::Candidate;
use super::{Move, NextMove};
use crate::eviction::Newcomer;
use crate::limits::{DEMOTION_BEGIN_PARTS, DEMOTION_END_PARTS, DEMOTION_SPARE_PARTS, MOVES_MAX};
use crate::page::PageIndex;
use crate::settings::TierKind;
use crate::unit::UnitId;

/// What gives way to a promotion waits so many times longer than three visits of the promoted one took.
const COLDER: u64 = 3;
/// For a promotion at most about so many times its own bytes leave their tiers.
const WAY_TIMES_MAX: u64 = 4;

impl Index {
    /// What to move next.
    pub(crate) fn next_move(&mut self) -> NextMove {
        if self.moves.under_way.len() >= MOVES_MAX {
            return NextMove::Nothing;
        }
        while let Some(candidate) = self.moves.watch.as_ref().and_then(|watch| watch.waiting.front().copied())
        {
            match self.promote(candidate) {
                NextMove::Nothing => {}
                next => return next,
            }
            if let Some(watch) = &mut self.moves.watch {
                watch.finish_first();
            }
        }
        self.demote().map_or(NextMove::Nothing, NextMove::Copy)
    }

    fn tiers_of(&self, kind: TierKind) -> Vec<TierIndex> {
        let tiers = (0..).map(TierIndex).zip(&self.tiers);
        tiers.filter(|(_, tier)| tier.limits().kind == kind && tier.is_open()).map(|(at, _)| at).collect()
    }

    fn promote(&mut self, candidate: Candidate) -> NextMove {
        let Candidate { unit, took, way } = candidate;
        let is_on_disk = |tier: TierIndex| self.tiers[tier.0].limits().kind == TierKind::Disk;
        let Some(entry) = self.units.get(&unit).filter(|entry| is_on_disk(entry.tier())) else {
            return NextMove::Nothing;
        };
        let need = entry.charge();
        for tier in self.tiers_of(TierKind::Ram) {
            // Once others left for it, what they gave is its.
            let spare = if way > 0 { 0 } else { self.tiers[tier.0].room().0 / DEMOTION_END_PARTS };
            if let Some(begun) = self.begin_move(unit, tier, spare) {
                self.use_allowance(if way > 0 { need } else { 0 });
                return NextMove::Copy(begun);
            }
            let limit = took.map(|took| took.saturating_mul(COLDER)).filter(|_| self.is_allowed(need));
            let Some(victim) = limit.and_then(|limit| self.waits_for(tier, limit)) else { continue };
            if let Some(begun) = self.begin_move(unit, tier, 0) {
                self.use_allowance(need);
                return NextMove::Copy(begun);
            }
            if let Some(next) = self.make_way(tier, victim, candidate) {
                return next;
            }
        }
        NextMove::Nothing
    }

    fn is_allowed(&self, bytes: u64) -> bool {
        self.moves.watch.as_ref().is_some_and(|watch| bytes <= watch.allowance)
    }

    fn use_allowance(&mut self, bytes: u64) {
        if let Some(watch) = &mut self.moves.watch {
            watch.allowance = watch.allowance.saturating_sub(bytes);
        }
    }

    /// Who leaves a tier next, if it waits for so long.
    fn waits_for(&mut self, tier: TierIndex, limit: u64) -> Option<UnitId> {
        let victim = self.tiers[tier.0].victim()?;
        let waits = self.moves.now() - self.units.get(&victim)?.last_seen();
        (waits >= limit).then_some(victim)
    }

    /// Lets the next to leave memory give way to a unit that is read much more often: to a disk, or, where there is no room
    /// for it, somebody leaves who would by the policy of his tier: on a disk, if it was used longer ago, or itself.
    fn make_way(&mut self, tier: TierIndex, victim: UnitId, candidate: Candidate) -> Option<NextMove> {
        let entry = self.units.get(&candidate.unit).filter(|_| self.may_move(candidate.unit))?;
        let newcomer = |unit: UnitId, entry: &Entry| Newcomer {
            unit,
            length: ByteCount::new(entry.geometry().length()),
            page: PageIndex::new(0),
        };
        let (need, promoted) = (entry.charge(), newcomer(candidate.unit, entry));
        let cold = self.units.get(&victim)?;
        let (charge, last_used, demoted) = (cold.charge(), cold.last_used(), newcomer(victim, cold));
        // What is much larger would leave room for others.
        let is_fit = charge <= WAY_TIMES_MAX * need && candidate.way <= WAY_TIMES_MAX * need;
        if !is_fit
            || !self.may_move(victim)
            || !self.tiers[tier.0].takes(promoted.unit, promoted.length, need)
        {
            return None;
        }
        let disks = self.tiers_of(TierKind::Disk);
        for disk in &disks {
            if let Some(begun) = self.begin_move(victim, *disk, 0) {
                self.left_for_first(charge);
                return Some(NextMove::Copy(begun));
            }
        }
        let colder = disks.into_iter().find_map(|disk| {
            let coldest = self.tiers[disk.0].victim_for(&demoted)?;
            let is_colder = self.units.get(&coldest)?.last_used() < last_used;
            (is_colder && coldest != promoted.unit).then_some(coldest)
        });
        let itself = || self.tiers[tier.0].victim_for(&promoted).filter(|coldest| *coldest == victim);
        let leaving = colder.or_else(itself)?;
        self.left_for_first(self.units.get(&leaving).map_or(0, Entry::charge));
        let action = self.detach_unit(leaving, Reason::Evicted);
        Some(NextMove::First(action.into_iter().collect()))
    }

    /// So many bytes leave for the first candidate.
    fn left_for_first(&mut self, bytes: u64) {
        if let Some(first) = self.moves.watch.as_mut().and_then(|watch| watch.waiting.front_mut()) {
            first.way += bytes;
        }
    }

    /// The next to leave memory goes to a disk with room to spare, while little of memory is free.
    fn demote(&mut self) -> Option<Move> {
        self.moves.watch.as_ref()?;
        let disks = self.tiers_of(TierKind::Disk);
        self.tiers_of(TierKind::Ram).into_iter().find_map(|tier| {
            let (all, free) = self.tiers[tier.0].room();
            let watch = self.moves.watch.as_ref()?;
            let parts =
                if watch.relieved.contains(&tier) { DEMOTION_END_PARTS } else { DEMOTION_BEGIN_PARTS };
            let victim = if free < all / parts { self.tiers[tier.0].victim() } else { None };
            let begun = victim.and_then(|victim| {
                disks.iter().find_map(|disk| {
                    let spare = self.tiers[disk.0].room().0 / DEMOTION_SPARE_PARTS;
                    self.begin_move(victim, *disk, spare)
                })
            });
            let relieved = &mut self.moves.watch.as_mut()?.relieved;
            match begun {
                Some(_) => relieved.insert(tier),
                None => relieved.remove(&tier),
            };
            begun
        })
    }
}
