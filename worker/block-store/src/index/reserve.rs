//! Reserving room for a page: which tier a new unit goes to, and who has to leave for it.
//!
//! A new unit goes to the fastest tier that has room for all of it. When none has, it goes where it does the least
//! harm: to the tier whose next victim was used longest ago. Room is then made page by page, within that tier. Where the
//! policy lets few units in, one that it lets in gets room for all of it at once, and the rest is promised to it; so does
//! what finds room in memory, since others can go to a disk. A segment also goes, last of all, to a tier that is smaller
//! than it is, which then holds a part.

use forebay_types::limits::FILE_LENGTH_MAX;
use forebay_types::{ByteCount, FileId, RECORD_LENGTH};

use super::entry::{Entry, rounded};
use super::{Action, Index, Location, Reason, TierIndex};
use crate::eviction::Newcomer;
use crate::limits::{EVICTION_BATCH_MAX, MEMORY_PROMISED_PART};
use crate::page::{Geometry, PageIndex};
use crate::settings::TierKind;
use crate::source::IdentityDigest;
use crate::unit::{Place, UnitId};

/// A version that somebody wants to fill.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The version.
    pub file: FileId,
    /// What it is the content of.
    pub identity: IdentityDigest,
    /// Length of the content.
    pub length: ByteCount,
    /// Most bytes that the header of an index file of it will have.
    pub header_length: u64,
    /// What for.
    pub demand: Demand,
}

/// What a page is stored for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Somebody reads it; the eviction policy may say that nobody is to leave for it.
    Read,
    /// Somebody wants it to be here, whoever has to leave for it.
    Load,
}

/// Where to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The files.
    pub location: Location,
    /// Length of the unit.
    pub length: ByteCount,
    /// Which of the unit's pages it is: the one to commit or abort.
    pub page: PageIndex,
    /// Where the records begin in the index file; `None`: make the files, then call [`Index::created`].
    pub records: Option<u64>,
}

/// What the index says to somebody who wants to fill a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// Write the page, then commit or abort.
    Granted(Slot),
    /// The page is here.
    Present,
    /// Somebody else is writing it.
    InProgress,
    /// Do this, then ask again.
    First(Vec<Action>),
    /// Others are deleting enough or are making the unit's files: ask again when one of them has reported.
    Wait,
    /// Nothing more can be evicted.
    NoSpace,
    /// The eviction policy lets nobody leave for this read.
    Declined,
    /// Nobody has versions of this length; the longest that there are.
    TooLarge(ByteCount),
    /// The version has no such page.
    NoSuchPage,
}

/// Whether there is room on a tier.
enum Room {
    Ready,
    Evict(Vec<Action>),
    Wait,
    Never,
    Declined,
}

/// Who asks for room.
#[derive(Clone, Copy)]
struct Asking {
    newcomer: Newcomer,
    demand: Demand,
    /// It has no files yet.
    is_new: bool,
}

impl Index {
    /// Asks for room to write `page` of a version, and for the right to be the one who does.
    pub fn reserve(&mut self, wanted: &Wanted, page: PageIndex) -> Reservation {
        let max = ByteCount::new(FILE_LENGTH_MAX);
        if wanted.length > max {
            return Reservation::TooLarge(max);
        }
        let others = self.refuse_other(wanted.file, wanted.identity);
        if !others.is_empty() {
            return Reservation::First(others);
        }
        let Some(place) = self.place(wanted.file, wanted.length, page) else {
            return Reservation::NoSuchPage;
        };
        let index_charge = index_charge(wanted, &place);
        if let Some(action) = self.leave_closed_tier(&place, index_charge) {
            return Reservation::First(vec![action]);
        }
        let Place { unit, page, length, .. } = place;
        let asking =
            Asking { newcomer: Newcomer { unit, length, page }, demand: wanted.demand, is_new: false };
        // Taken out while room is made, so that the unit cannot be its own victim.
        match self.units.remove(&unit) {
            Some(mut entry) => {
                self.tiers[entry.tier().0].unshelve(unit, &mut entry);
                let answer = self.reserve_in(&mut entry, asking);
                self.tiers[entry.tier().0].reshelve(unit, &mut entry);
                self.units.insert(unit, entry);
                answer
            }
            None => self.create(wanted, index_charge, Asking { is_new: true, ..asking }),
        }
    }

    /// Lets go a unit whose missing page its tier does not take, if another tier takes all of it.
    fn leave_closed_tier(&mut self, place: &Place, index_charge: u64) -> Option<Action> {
        let entry = self.units.get(&place.unit)?;
        let need = rounded(place.length.get()).saturating_add(index_charge);
        let stays = self.tiers[entry.tier().0].is_open()
            || entry.present().contains(place.page)
            || entry.is_filling(place.page)
            || !self.tiers.iter().any(|tier| tier.takes(place.unit, place.length, need));
        if stays { None } else { self.detach_unit(place.unit, Reason::Disk) }
    }

    fn reserve_in(&mut self, entry: &mut Entry, asking: Asking) -> Reservation {
        let Newcomer { unit, length, page } = asking.newcomer;
        if entry.present().contains(page) {
            return Reservation::Present;
        }
        if entry.is_filling(page) {
            return Reservation::InProgress;
        }
        let Some(records) = entry.records() else { return Reservation::Wait };
        if !self.tiers[entry.tier().0].is_open() {
            return Reservation::NoSpace;
        }
        let tier = entry.tier();
        let charge = entry.page_charge(self.tiers[tier.0].limits().kind, page);
        match self.make_room(tier, (charge, charge), asking) {
            Room::Ready => {
                let tick = self.tick();
                let state = &mut self.tiers[tier.0];
                state.charge_in_flight(charge);
                state.promises().fulfil(unit, charge, tick);
                state.touch(unit, page);
                entry.begin_fill(page, charge);
                self.moves.call_off(unit);
                let location = entry.location(unit);
                Reservation::Granted(Slot { location, length, page, records: Some(records) })
            }
            Room::Evict(actions) => Reservation::First(actions),
            Room::Wait => Reservation::Wait,
            Room::Never => Reservation::NoSpace,
            Room::Declined => Reservation::Declined,
        }
    }

    fn create(&mut self, wanted: &Wanted, index_charge: u64, asking: Asking) -> Reservation {
        let Newcomer { unit, length, page } = asking.newcomer;
        let mut otherwise = Reservation::NoSpace;
        for tier in self.tiers_for(unit, length, index_charge) {
            let lengths = (length, wanted.length);
            let mut entry = Entry::new(self.next_generation(), tier, wanted.identity, lengths, index_charge);
            let limits = *self.tiers[tier.0].limits();
            let page_charge = entry.page_charge(limits.kind, page);
            let first = index_charge + page_charge;
            let whole = entry.whole_charge(index_charge).min(limits.capacity.get());
            match self.make_room(tier, (first, whole), asking) {
                Room::Ready => {
                    self.visited_on(unit, page, length, tier);
                    let used = self.use_now();
                    entry.set_used(used);
                    entry.begin_first_fill(page, page_charge);
                    let state = &mut self.tiers[tier.0];
                    let rest_fits = state.missing_beside_promises(unit, whole) == 0;
                    state.charge_in_flight(first);
                    state.came(unit, length);
                    // For a load no more than the first page was looked for; in memory, all of it.
                    let is_promised = if state.is_selective() {
                        asking.demand == Demand::Read
                    } else {
                        let promised = state.promises().beside(unit).saturating_add(whole);
                        let is_modest = promised <= limits.capacity.get() / MEMORY_PROMISED_PART;
                        limits.kind == TierKind::Ram && rest_fits && is_modest
                    };
                    if is_promised {
                        state.promises().give(unit, whole.saturating_sub(first), used.tick);
                    }
                    let slot = Slot { location: entry.location(unit), length, page, records: None };
                    self.insert(unit, entry);
                    return Reservation::Granted(slot);
                }
                Room::Evict(actions) => return Reservation::First(actions),
                Room::Wait => otherwise = Reservation::Wait,
                Room::Declined if otherwise == Reservation::NoSpace => otherwise = Reservation::Declined,
                Room::Declined | Room::Never => {}
            }
        }
        otherwise
    }

    /// The tiers that may take a new unit, the best first: those with room for all of it, then by harm, then those
    /// with nothing to evict, where the first pages may still fit, then those that are too small for all of it.
    fn tiers_for(&mut self, unit: UnitId, length: ByteCount, index_charge: u64) -> Vec<TierIndex> {
        let (tick, need) = (self.tick(), rounded(length.get()).saturating_add(index_charge));
        let mut ranked: Vec<((u8, u64), TierIndex)> = Vec::with_capacity(self.tiers.len());
        for (position, tier) in self.tiers.iter_mut().enumerate() {
            let rank = if !tier.takes(unit, length, need) {
                if !tier.takes_part(unit) {
                    continue;
                }
                (3, 0)
            } else if tier.has_room(unit, need, tick) && tier.has_inodes() {
                (0, 0)
            } else {
                // A policy may move others about when it is asked, so it is asked only where somebody has to leave.
                let last_used = tier.victim().and_then(|unit| self.units.get(&unit)).map(Entry::last_used);
                last_used.map_or((2, 0), |used| (1, used))
            };
            ranked.push((rank, TierIndex(position)));
        }
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, tier)| tier).collect()
    }

    /// Looks for room for a page; where the policy may decline the read, for `whole`, which is all of a new version.
    fn make_room(&mut self, tier: TierIndex, (page, whole): (u64, u64), asking: Asking) -> Room {
        let may_decline = asking.demand == Demand::Read && self.tiers[tier.0].is_selective();
        let tick = self.tick();
        let state = &mut self.tiers[tier.0];
        let missing = match may_decline {
            true => state.missing_after_lapse(asking.newcomer.unit, whole, tick),
            false => state.missing_bytes(page),
        };
        let lacks_inodes = asking.is_new && !state.has_inodes();
        if missing == 0 && !lacks_inodes {
            return Room::Ready;
        }
        let to_evict = missing.saturating_sub(state.leaving());
        self.wants_back |= self.tiers[tier.0].set_crowded();
        let state = &self.tiers[tier.0];
        if state.leaving() > 0 && to_evict == 0 {
            return Room::Wait;
        }
        // What was lent comes back soon: the shell waits for it, if it waits for anything.
        let to_evict = to_evict.saturating_sub(state.awaited());
        if missing > 0 && to_evict == 0 {
            return Room::Never;
        }
        // Evicting everything and still not fitting would help nobody.
        if to_evict > state.evictable() {
            return if may_decline {
                self.decline(tier, &asking)
            } else if state.leaving() > 0 {
                Room::Wait
            } else {
                Room::Never
            };
        }
        let actions = self.evict(tier, to_evict, may_decline, asking);
        if !actions.is_empty() {
            return Room::Evict(actions);
        }
        if may_decline { self.decline(tier, &asking) } else { Room::Never }
    }

    /// Lets units go until `bytes` or a batch will be free; fewer where nobody else is to leave for `asking`.
    fn evict(&mut self, tier: TierIndex, bytes: u64, may_decline: bool, asking: Asking) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut spared = Vec::new();
        let mut freed = 0;
        while actions.len() < EVICTION_BATCH_MAX && (freed < bytes || actions.is_empty()) {
            let state = &mut self.tiers[tier.0];
            let victim = if may_decline { state.victim_for(&asking.newcomer) } else { state.victim() };
            let Some(victim) = victim else { break };
            // A load wants all of its version at the end, so none of it makes room for the rest.
            if asking.demand == Demand::Load && victim.file() == asking.newcomer.unit.file() {
                state.spare(victim);
                spared.push(victim);
                continue;
            }
            freed += self.units.get(&victim).map_or(0, Entry::charge);
            actions.extend(self.detach_unit(victim, Reason::Evicted));
        }
        spared.into_iter().for_each(|unit| self.tiers[tier.0].end_sparing(unit));
        actions
    }

    fn decline(&mut self, tier: TierIndex, asking: &Asking) -> Room {
        self.tiers[tier.0].declined(&asking.newcomer);
        Room::Declined
    }
}

/// What the index file of a unit takes.
fn index_charge(wanted: &Wanted, place: &Place) -> u64 {
    let pages = Geometry::new(place.length).page_count();
    rounded(wanted.header_length.saturating_add(u64::from(pages) * RECORD_LENGTH as u64))
}
