//! Reserving room for a page: which tier a new version goes to, and who has to leave for it.
//!
//! A new version goes to the fastest tier that has room for all of it. When none has, it goes where it does the least
//! harm: to the tier whose next victim was used longest ago. Room is then made page by page, within that tier.

use forebay_types::{ByteCount, FileId};

use super::entry::{Entry, rounded};
use super::{Action, Index, Location, Reason, TierIndex};
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
}

impl Index {
    /// Asks for room to write `page`, and for the right to be the one who does.
    pub fn reserve(&mut self, wanted: &Wanted, page: PageIndex) -> Reservation {
        if let Some(action) = self.refuse_other(wanted.file, wanted.identity) {
            return Reservation::First(vec![action]);
        }
        let file = self.names.kept(wanted.file);
        // Taken out while room is made, so that the version cannot be its own victim.
        match self.versions.remove(&file) {
            Some(mut entry) => {
                self.tiers[entry.tier().0].unshelve(file, &mut entry);
                let answer = self.reserve_in(file, &mut entry, page);
                self.tiers[entry.tier().0].reshelve(file, &mut entry);
                self.versions.insert(file, entry);
                answer
            }
            None => self.create(wanted, page),
        }
    }

    fn reserve_in(&mut self, file: FileId, entry: &mut Entry, page: PageIndex) -> Reservation {
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
        let tier = entry.tier();
        let charge = entry.page_charge(self.tiers[tier.0].limits().kind, page);
        match self.make_room(tier, charge, false) {
            Room::Ready => {
                self.tiers[tier.0].charge_in_flight(charge);
                entry.begin_fill(page, charge);
                Reservation::Granted(Slot { location: entry.location(file), records: Some(records) })
            }
            Room::Evict(actions) => Reservation::First(actions),
            Room::Wait => Reservation::Wait,
            Room::Never => Reservation::NoSpace,
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
        let mut someone_leaves = false;
        for tier in self.tiers_for(wanted.length, index_charge) {
            let mut entry =
                Entry::new(self.next_generation(), tier, wanted.identity, wanted.length, index_charge);
            if page.get() >= entry.geometry().page_count() {
                return Reservation::NoSuchPage;
            }
            let page_charge = entry.page_charge(self.tiers[tier.0].limits().kind, page);
            match self.make_room(tier, index_charge + page_charge, true) {
                Room::Ready => {
                    entry.set_used(self.tick());
                    entry.begin_first_fill(page, page_charge);
                    let state = &mut self.tiers[tier.0];
                    state.charge_in_flight(index_charge + page_charge);
                    state.version_added();
                    let slot = Slot { location: entry.location(wanted.file), records: None };
                    self.insert(wanted.file, entry);
                    return Reservation::Granted(slot);
                }
                Room::Evict(actions) => return Reservation::First(actions),
                Room::Wait => someone_leaves = true,
                Room::Never => {}
            }
        }
        if someone_leaves { Reservation::Wait } else { Reservation::NoSpace }
    }

    /// The tiers that may take a new version, the best first: those with room for all of it, then by harm, then those
    /// with nothing to evict, where the first pages may still fit.
    fn tiers_for(&self, length: ByteCount, index_charge: u64) -> Vec<TierIndex> {
        let need = rounded(length.get()).saturating_add(index_charge);
        let mut ranked: Vec<((u8, u64), TierIndex)> = Vec::with_capacity(self.tiers.len());
        for (position, tier) in self.tiers.iter().enumerate() {
            if length > tier.limits().whole_file_max || need > tier.limits().capacity.get() {
                continue;
            }
            let last_used = tier.victim().and_then(|file| self.versions.get(&file)).map(Entry::last_used);
            let rank = match last_used {
                _ if tier.missing_bytes(need) == 0 && tier.has_inodes() => (0, 0),
                Some(used) => (1, used),
                None => (2, 0),
            };
            ranked.push((rank, TierIndex(position)));
        }
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, tier)| tier).collect()
    }

    fn make_room(&mut self, tier: TierIndex, need: u64, is_new: bool) -> Room {
        let state = &self.tiers[tier.0];
        let missing = state.missing_bytes(need);
        let lacks_inodes = is_new && !state.has_inodes();
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
            return if state.leaving() > 0 { Room::Wait } else { Room::Never };
        }
        let mut actions = Vec::new();
        let mut freed = 0;
        while actions.len() < EVICTION_BATCH_MAX && (freed < to_evict || actions.is_empty()) {
            let Some(victim) = self.tiers[tier.0].victim() else { break };
            freed += self.versions.get(&victim).map_or(0, Entry::charge);
            actions.extend(self.detach(victim, Reason::Evicted));
        }
        if actions.is_empty() { Room::Never } else { Room::Evict(actions) }
    }
}
