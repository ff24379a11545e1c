//! Reserving room for a page: which tier a new version goes to, and who has to leave for it.
//!
//! A new version goes to the fastest tier that has room for all of it. When none has, it goes where it does the least
//! harm: to the tier whose next victim was used longest ago. Room is then made page by page, within that tier. Where the
//! policy lets few versions in, one that it lets in gets room for all of it at once, and the rest is promised to it.

use forebay_types::{ByteCount, FileId};

use super::entry::{Entry, rounded};
use super::{Action, Index, Location, Reason, TierIndex};
use crate::eviction::Newcomer;
use crate::limits::EVICTION_BATCH_MAX;
use crate::page::PageIndex;
use crate::source::IdentityDigest;

/// A version that somebody wants to fill.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The version.
    pub file: FileId,
    /// What it is the content of.
    pub identity: IdentityDigest,
    /// Length of the content.
    pub length: ByteCount,
    /// Most bytes that its index file will have.
    pub index_length: u64,
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
    /// Others are deleting enough or are making the version's files: ask again when one of them has reported.
    Wait,
    /// Nothing more can be evicted.
    NoSpace,
    /// The eviction policy lets nobody leave for this read.
    Declined,
    /// No tier takes versions of this length; the longest that one takes.
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
    /// Asks for room to write `page`, and for the right to be the one who does.
    pub fn reserve(&mut self, wanted: &Wanted, page: PageIndex) -> Reservation {
        if let Some(action) = self.refuse_other(wanted.file, wanted.identity) {
            return Reservation::First(vec![action]);
        }
        let file = self.names.kept(wanted.file);
        if let Some(action) = self.leave_closed_tier(file, wanted, page) {
            return Reservation::First(vec![action]);
        }
        // Taken out while room is made, so that the version cannot be its own victim.
        match self.versions.remove(&file) {
            Some(mut entry) => {
                self.tiers[entry.tier().0].unshelve(file, &mut entry);
                let newcomer = Newcomer { file, length: wanted.length, page };
                let asking = Asking { newcomer, demand: wanted.demand, is_new: false };
                let answer = self.reserve_in(&mut entry, asking);
                self.tiers[entry.tier().0].reshelve(file, &mut entry);
                self.versions.insert(file, entry);
                answer
            }
            None => self.create(wanted, page),
        }
    }

    /// Lets go a version whose missing `page` its tier does not take, if another tier takes all of it.
    fn leave_closed_tier(&mut self, file: FileId, wanted: &Wanted, page: PageIndex) -> Option<Action> {
        let entry = self.versions.get(&file)?;
        let need = rounded(wanted.length.get()).saturating_add(rounded(wanted.index_length));
        let stays = self.tiers[entry.tier().0].is_open()
            || entry.present().contains(page)
            || entry.is_filling(page)
            || !self.tiers.iter().any(|tier| tier.takes(wanted.length, need));
        if stays { None } else { self.detach(file, Reason::Disk) }
    }

    fn reserve_in(&mut self, entry: &mut Entry, asking: Asking) -> Reservation {
        let Newcomer { file, page, .. } = asking.newcomer;
        if page.get() >= entry.geometry().page_count() {
            return Reservation::NoSuchPage;
        }
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
                state.promises().fulfil(file, charge, tick);
                state.touch(file, page);
                entry.begin_fill(page, charge);
                Reservation::Granted(Slot { location: entry.location(file), records: Some(records) })
            }
            Room::Evict(actions) => Reservation::First(actions),
            Room::Wait => Reservation::Wait,
            Room::Never => Reservation::NoSpace,
            Room::Declined => Reservation::Declined,
        }
    }

    fn create(&mut self, wanted: &Wanted, page: PageIndex) -> Reservation {
        let Some(max) = self.tiers.iter().map(|tier| tier.limits().whole_file_max).max() else {
            return Reservation::NoSpace;
        };
        if wanted.length > max {
            return Reservation::TooLarge(max);
        }
        let index_charge = rounded(wanted.index_length);
        let newcomer = Newcomer { file: wanted.file, length: wanted.length, page };
        let asking = Asking { newcomer, demand: wanted.demand, is_new: true };
        let mut otherwise = Reservation::NoSpace;
        for tier in self.tiers_for(wanted.length, index_charge) {
            let mut entry =
                Entry::new(self.next_generation(), tier, wanted.identity, wanted.length, index_charge);
            if page.get() >= entry.geometry().page_count() {
                return Reservation::NoSuchPage;
            }
            let page_charge = entry.page_charge(self.tiers[tier.0].limits().kind, page);
            let (first, whole) = (index_charge + page_charge, entry.whole_charge(index_charge));
            match self.make_room(tier, (first, whole), asking) {
                Room::Ready => {
                    let tick = self.tick();
                    entry.set_used(tick);
                    entry.begin_first_fill(page, page_charge);
                    let state = &mut self.tiers[tier.0];
                    state.charge_in_flight(first);
                    state.came(wanted.file, wanted.length);
                    // For a load no more than the first page was looked for.
                    if state.is_selective() && asking.demand == Demand::Read {
                        state.promises().give(wanted.file, whole.saturating_sub(first), tick);
                    }
                    let slot = Slot { location: entry.location(wanted.file), records: None };
                    self.insert(wanted.file, entry);
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

    /// The tiers that may take a new version, the best first: those with room for all of it, then by harm, then those
    /// with nothing to evict, where the first pages may still fit.
    fn tiers_for(&mut self, length: ByteCount, index_charge: u64) -> Vec<TierIndex> {
        let need = rounded(length.get()).saturating_add(index_charge);
        let mut ranked: Vec<((u8, u64), TierIndex)> = Vec::with_capacity(self.tiers.len());
        for (position, tier) in self.tiers.iter_mut().enumerate() {
            if !tier.takes(length, need) {
                continue;
            }
            // A policy may move others about when it is asked, so it is asked only where somebody has to leave.
            let rank = if tier.missing_bytes(need) == 0 && tier.has_inodes() {
                (0, 0)
            } else {
                let last_used = tier.victim().and_then(|file| self.versions.get(&file)).map(Entry::last_used);
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
        let mut missing = state.missing_bytes(page);
        if may_decline {
            missing = state.missing_beside_promises(asking.newcomer.file, whole);
            if missing > 0 && state.promises().lapse(tick) {
                missing = state.missing_beside_promises(asking.newcomer.file, whole);
            }
        }
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
        let mut actions = Vec::new();
        let mut freed = 0;
        while actions.len() < EVICTION_BATCH_MAX && (freed < to_evict || actions.is_empty()) {
            let state = &mut self.tiers[tier.0];
            let victim = if may_decline { state.victim_for(&asking.newcomer) } else { state.victim() };
            let Some(victim) = victim else { break };
            freed += self.versions.get(&victim).map_or(0, Entry::charge);
            actions.extend(self.detach(victim, Reason::Evicted));
        }
        if !actions.is_empty() {
            return Room::Evict(actions);
        }
        if may_decline { self.decline(tier, &asking) } else { Room::Never }
    }

    fn decline(&mut self, tier: TierIndex, asking: &Asking) -> Room {
        self.tiers[tier.0].declined(&asking.newcomer);
        Room::Declined
    }
}
