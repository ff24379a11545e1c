//! One tier in the index: its limits, what it is charged, and the units that may be evicted from it.

use std::collections::BTreeSet;

use forebay_types::ByteCount;

use super::entry::Entry;
use super::promises::Promises;
use crate::eviction::{EvictionPolicy, Newcomer};
use crate::limits::{HELD_PERCENT_MAX, RESTING_PERCENT_MAX};
use crate::page::PageIndex;
use crate::settings::TierKind;
use crate::unit::UnitId;

/// Files of one unit: data and index.
const FILES_PER_UNIT: u64 = 2;

/// What a tier may take.
#[derive(Clone, Copy, Debug)]
pub struct TierLimits {
    /// What it lies on.
    pub kind: TierKind,
    /// Its quota.
    pub capacity: ByteCount,
    /// The longest version that it takes whole.
    pub whole_file_max: ByteCount,
    /// Bytes that its file system keeps free.
    pub free_bytes_floor: ByteCount,
    /// Inodes that its file system keeps free.
    pub free_inodes_floor: u64,
}

#[derive(Debug)]
pub(super) struct TierState {
    limits: TierLimits,
    /// What may be charged now: the capacity, or less when the file system has less.
    ceiling: u64,
    /// What the file system had free beyond the floors when it was last looked at; 0 also when inodes were short.
    free: Option<u64>,
    /// How many units there may be now, by the file system's inodes.
    units_max: u64,
    /// All that is charged: units and detached generations.
    used: u64,
    /// The part of `used` that may not have been written yet.
    in_flight: u64,
    /// The part of `used` whose files are being deleted.
    leaving: u64,
    /// The part of `used` that left and was lent, so that it leaves when it is given back; nobody waits for ever for that.
    awaited: u64,
    /// The part of `used` that is held.
    held: u64,
    /// The part of `used` that the policy can give.
    evictable: u64,
    /// Units and detached generations.
    units: u64,
    /// Whether new units and pages may come.
    is_open: bool,
    /// Somebody had to leave, or could not be held, a while ago: holds that nobody uses are in the way.
    crowded: bool,
    /// How many holds were granted since.
    granted_since_crowded: u64,
    /// The complete units that the policy can give, by when they were verified last: what the scrubber may read.
    checks: BTreeSet<(u64, UnitId)>,
    /// Empty on a disk where the policy lets everybody in.
    promises: Promises,
    policy: Box<dyn EvictionPolicy>,
}

impl TierState {
    pub(super) fn new(limits: TierLimits, policy: Box<dyn EvictionPolicy>) -> Self {
        Self {
            limits,
            ceiling: limits.capacity.get(),
            free: None,
            units_max: u64::MAX,
            used: 0,
            in_flight: 0,
            leaving: 0,
            awaited: 0,
            held: 0,
            evictable: 0,
            units: 0,
            is_open: true,
            crowded: false,
            granted_since_crowded: 0,
            checks: BTreeSet::new(),
            promises: Promises::default(),
            policy,
        }
    }

    pub(super) const fn limits(&self) -> &TierLimits {
        &self.limits
    }

    pub(super) const fn used(&self) -> u64 {
        self.used
    }

    pub(super) const fn held(&self) -> u64 {
        self.held
    }

    pub(super) const fn free(&self) -> Option<u64> {
        self.free
    }

    pub(super) const fn leaving(&self) -> u64 {
        self.leaving
    }

    pub(super) const fn awaited(&self) -> u64 {
        self.awaited
    }

    /// So many bytes left and are lent.
    pub(super) const fn awaits(&mut self, bytes: u64) {
        self.awaited += bytes;
    }

    /// So many of them were given back, or nothing is waited for any more.
    pub(super) const fn awaits_no_more(&mut self, bytes: u64) {
        self.awaited = self.awaited.saturating_sub(bytes);
    }

    pub(super) const fn evictable(&self) -> u64 {
        self.evictable
    }

    pub(super) const fn units(&self) -> u64 {
        self.units
    }

    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    pub(super) const fn set_open(&mut self, is_open: bool) {
        self.is_open = is_open;
    }

    pub(super) const fn set_floors(&mut self, bytes: ByteCount, inodes: u64) {
        self.limits.free_bytes_floor = bytes;
        self.limits.free_inodes_floor = inodes;
    }

    /// Whether all of a unit that takes so much may be put here, whoever has to leave.
    pub(super) fn takes(&self, unit: UnitId, length: ByteCount, need: u64) -> bool {
        let is_fit = unit.segment().is_some() || length <= self.limits.whole_file_max;
        self.is_open && is_fit && need <= self.limits.capacity.get()
    }

    /// Whether a part of a unit may be put here, where there is no room for all of it.
    pub(super) const fn takes_part(&self, unit: UnitId) -> bool {
        self.is_open && unit.segment().is_some()
    }

    /// How many bytes must leave before `need` more fit.
    pub(super) const fn missing_bytes(&self, need: u64) -> u64 {
        self.used.saturating_add(need).saturating_sub(self.ceiling)
    }

    /// As [`TierState::missing_bytes`], with what is promised to others than `unit` kept free.
    pub(super) fn missing_beside_promises(&self, unit: UnitId, need: u64) -> u64 {
        self.missing_bytes(need.saturating_add(self.promises.beside(unit)))
    }

    /// The same once promises that were not used for long are none any more.
    pub(super) fn missing_after_lapse(&mut self, unit: UnitId, need: u64, tick: u64) -> u64 {
        let missing = self.missing_beside_promises(unit, need);
        let is_other = missing > 0 && self.promises.lapse(tick);
        if is_other { self.missing_beside_promises(unit, need) } else { missing }
    }

    /// Whether all of a new unit fits beside what is promised to others.
    pub(super) fn has_room(&mut self, unit: UnitId, need: u64, tick: u64) -> bool {
        self.missing_after_lapse(unit, need, tick) == 0
    }

    /// Whether one more unit finds inodes.
    pub(super) const fn has_inodes(&self) -> bool {
        self.units < self.units_max
    }

    pub(super) const fn charge(&mut self, bytes: u64) {
        self.used += bytes;
    }

    pub(super) const fn charge_in_flight(&mut self, bytes: u64) {
        self.used += bytes;
        self.in_flight += bytes;
    }

    /// Bytes that were in flight are written, or will not be.
    pub(super) const fn landed(&mut self, bytes: u64) {
        self.in_flight -= bytes;
    }

    pub(super) const fn leaves(&mut self, bytes: u64) {
        self.leaving += bytes;
    }

    /// Bytes that were leaving will stay for now: a writer came late.
    pub(super) const fn stays(&mut self, bytes: u64) {
        self.leaving -= bytes;
    }

    /// A generation's files are gone.
    pub(super) const fn left(&mut self, bytes: u64) {
        self.used -= bytes;
        self.units -= 1;
    }

    /// Takes `bytes` as held, if the tier may hold so much.
    pub(super) const fn try_hold(&mut self, bytes: u64) -> bool {
        if !self.could_hold(self.held + bytes) {
            return false;
        }
        self.held += bytes;
        true
    }

    /// Whether so much may be held in all.
    pub(super) const fn could_hold(&self, bytes: u64) -> bool {
        bytes <= self.limits.capacity.get().saturating_mul(HELD_PERCENT_MAX) / 100
    }

    /// Somebody has to leave or could not be held. Whether that is news.
    pub(super) const fn set_crowded(&mut self) -> bool {
        self.granted_since_crowded = 0;
        !std::mem::replace(&mut self.crowded, true)
    }

    /// A hold was granted. Once as many were as there are units, all that is in use fits: about an epoch went by
    /// in which nobody had to leave.
    pub(super) const fn granted_hold(&mut self) {
        self.granted_since_crowded += 1;
        if self.granted_since_crowded > self.units {
            self.crowded = false;
        }
    }

    pub(super) const fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// Whether a hold that is granted now may stay when nobody uses it.
    pub(super) const fn may_rest(&self) -> bool {
        let max = self.limits.capacity.get().saturating_mul(RESTING_PERCENT_MAX) / 100;
        !self.crowded && self.held <= max
    }

    pub(super) const fn unhold(&mut self, bytes: u64) {
        self.held -= bytes;
    }

    /// What the file system has free beyond the floors, together with what is used already, is the ceiling. Bytes in
    /// flight are charged but still count as free there.
    pub(super) fn set_free_space(&mut self, bytes: u64, inodes: Option<u64>) {
        let room = bytes.saturating_sub(self.limits.free_bytes_floor.get());
        self.ceiling = (self.used - self.in_flight).saturating_add(room).min(self.limits.capacity.get());
        self.units_max = inodes.map_or(u64::MAX, |inodes| {
            let room = inodes.saturating_sub(self.limits.free_inodes_floor) / FILES_PER_UNIT;
            self.units.saturating_add(room)
        });
        self.free = Some(if self.has_inodes() { room } else { 0 });
    }

    pub(super) fn set_full(&mut self) {
        self.ceiling = self.ceiling.min(self.used - self.in_flight);
    }

    /// Who leaves next if somebody has to.
    pub(super) fn victim(&mut self) -> Option<UnitId> {
        self.policy.victim()
    }

    /// Who leaves next for a read.
    pub(super) fn victim_for(&mut self, newcomer: &Newcomer) -> Option<UnitId> {
        self.policy.victim_for(newcomer)
    }

    /// Keeps the policy from choosing a victim of its own again, until [`TierState::end_sparing`].
    pub(super) fn spare(&mut self, victim: UnitId) {
        self.policy.park(victim);
    }

    pub(super) fn end_sparing(&mut self, unit: UnitId) {
        self.policy.unpark(unit);
    }

    pub(super) fn declined(&mut self, newcomer: &Newcomer) {
        self.policy.declined(newcomer);
    }

    pub(super) fn is_selective(&self) -> bool {
        self.policy.is_selective()
    }

    pub(super) const fn promises(&mut self) -> &mut Promises {
        &mut self.promises
    }

    /// The unit begins to exist here, and cannot leave yet.
    pub(super) fn came(&mut self, unit: UnitId, length: ByteCount) {
        self.units += 1;
        self.policy.insert(unit, length);
    }

    /// A copy of a unit begins to be made here, which is this tier's unit once it has [`arrived`](Self::arrived).
    pub(super) const fn awaits_copy(&mut self) {
        self.units += 1;
    }

    /// The unit is this tier's from now on, and cannot leave yet.
    pub(super) fn arrived(&mut self, unit: UnitId, length: ByteCount) {
        self.policy.insert(unit, length);
    }

    /// What may be charged at all now, and how much of it is free or is being made so. What is promised counts as free: it
    /// is for those that are here.
    pub(super) const fn room(&self) -> (u64, u64) {
        (self.ceiling, self.ceiling.saturating_sub(self.used - self.leaving))
    }

    /// The unit is not this tier's any more, though its files may still be.
    pub(super) fn detached(&mut self, unit: UnitId, entry: &mut Entry) {
        self.unshelve(unit, entry);
        self.promises.end(unit);
        self.policy.remove(unit);
    }

    pub(super) fn touch(&mut self, unit: UnitId, page: PageIndex) {
        self.policy.touch(unit, page);
    }

    /// Lets the policy choose the unit or not, as its state asks for. Its charge must not change while it may.
    pub(super) fn reshelve(&mut self, unit: UnitId, entry: &mut Entry) {
        match (entry.is_evictable, entry.may_be_evicted()) {
            (false, true) => {
                self.policy.unpark(unit);
                self.evictable += entry.charge();
                entry.is_evictable = true;
                self.shelve_check(unit, entry);
            }
            (true, false) => self.unshelve(unit, entry),
            (true, true) | (false, false) => {}
        }
    }

    pub(super) fn rested(&mut self, unit: UnitId) {
        self.policy.rested(unit);
    }

    /// Keeps the policy from choosing the unit.
    pub(super) fn unshelve(&mut self, unit: UnitId, entry: &mut Entry) {
        if entry.is_evictable {
            self.policy.park(unit);
            self.evictable -= entry.charge();
            self.unshelve_check(unit, entry);
            entry.is_evictable = false;
        }
    }

    /// Lets the scrubber choose the unit, if nobody uses it and it is complete.
    pub(super) fn shelve_check(&mut self, unit: UnitId, entry: &Entry) {
        if entry.is_evictable && entry.is_complete() {
            self.checks.insert((entry.checked(), unit));
        }
    }

    /// Keeps the scrubber from choosing the unit.
    pub(super) fn unshelve_check(&mut self, unit: UnitId, entry: &Entry) {
        if entry.is_evictable {
            self.checks.remove(&(entry.checked(), unit));
        }
    }

    /// The unit that was verified longest ago, and when that was.
    pub(super) fn next_to_check(&self) -> Option<(u64, UnitId)> {
        self.checks.first().copied()
    }
}
