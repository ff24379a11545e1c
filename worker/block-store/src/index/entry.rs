//! One unit in the index: its pages, who uses it, and what it is charged.

use std::collections::BTreeMap;

use forebay_types::{ByteCount, PAGE_LENGTH, Timestamp};

use super::{Location, Restored, TierIndex};
use crate::layout::{Generation, GenerationKey, RECORDS_ALIGNMENT, record_offset};
use crate::page::{Geometry, PageIndex, PageRange, PageSet};
use crate::settings::TierKind;
use crate::source::IdentityDigest;
use crate::unit::UnitId;

/// The unit in which file systems give out room.
const SECTOR_LENGTH: u64 = 4096;
/// A tmpfs mounted with `huge=within_size` gives out room in huge pages where one lies wholly within the file.
const HUGE_PAGE_LENGTH: u64 = 2 * PAGE_LENGTH;

#[derive(Debug)]
pub(super) struct Entry {
    generation: Generation,
    tier: TierIndex,
    identity: IdentityDigest,
    /// Length of the version.
    version_length: ByteCount,
    /// Of the unit.
    geometry: Geometry,
    present: PageSet,
    /// Pages that this process verified, and the only page of a file that it wrote. Trusted while the version is complete and its data file's change
    /// time is `sealed`.
    verified: PageSet,
    /// Pages that may take room in the data file, whether present or not.
    charged: PageSet,
    /// Pages that somebody writes or clears, with the bytes newly charged for them.
    filling: BTreeMap<PageIndex, u64>,
    holds: u32,
    lends: u32,
    charge: u64,
    cached_bytes: u64,
    used: Use,
    sealed: Option<Timestamp>,
    /// When all of it was verified last, or written at once, as the tick of `used`; 0: not by this process.
    checked: u64,
    /// Where the records begin in the index file; `None` while the first writer is still making the files.
    records: Option<u64>,
    /// Whether the files were seen to be of this unit.
    pub(super) is_confirmed: bool,
    /// Whether its tier's eviction policy may choose it.
    pub(super) is_evictable: bool,
    /// A move of it failed: it is left where it is.
    stays: bool,
}

/// When something was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Use {
    /// In uses of anything.
    pub(super) tick: u64,
    /// In bytes of what was visited, see [`super::moves`].
    pub(super) seen: u64,
}

/// A generation that left but still takes room.
#[derive(Debug)]
pub(super) struct Detached {
    pub(super) entry: Entry,
    /// Deletions of its files that the shell has not reported yet.
    pub(super) removals: u32,
}

/// What `length` bytes take on a file system.
pub(super) const fn rounded(length: u64) -> u64 {
    length.div_ceil(SECTOR_LENGTH) * SECTOR_LENGTH
}

impl Entry {
    pub(super) fn new(
        generation: Generation,
        tier: TierIndex,
        identity: IdentityDigest,
        (length, version_length): (ByteCount, ByteCount),
        index_charge: u64,
    ) -> Self {
        let geometry = Geometry::new(length);
        let pages = geometry.page_count();
        Self {
            generation,
            tier,
            identity,
            version_length,
            geometry,
            present: PageSet::new(pages),
            verified: PageSet::new(pages),
            charged: PageSet::new(pages),
            filling: BTreeMap::new(),
            holds: 0,
            lends: 0,
            charge: index_charge,
            cached_bytes: 0,
            used: Use::default(),
            sealed: None,
            checked: 0,
            records: None,
            is_confirmed: true,
            is_evictable: false,
            stays: false,
        }
    }

    pub(super) fn restored(found: &Restored, kind: TierKind, used: Use) -> Self {
        let Location { key, tier } = found.location;
        let lengths = (found.length, found.version_length);
        let mut entry = Self::new(key.generation, tier, found.identity, lengths, found.index_charge);
        let pages = PageRange { first: PageIndex::new(0), count: entry.geometry.page_count() };
        for page in pages.iter().filter(|page| found.present.contains(*page)) {
            entry.charge += entry.page_charge(kind, page);
            entry.charged.insert(page);
            entry.cached_bytes += entry.geometry.page_length(page);
        }
        // A page that was being written when the process died takes room although no record tells of it.
        entry.charge = entry.charge.max(found.index_charge + found.allocated);
        entry.present = found.present.clone();
        entry.sealed = Some(found.changed);
        entry.records = Some(found.records);
        entry.is_confirmed = found.is_confirmed;
        entry.used = used;
        entry
    }

    /// What a copy of it will be on another tier, with all pages that are here charged. Its files are still to be made.
    pub(super) fn twin(&self, generation: Generation, tier: TierIndex, kind: TierKind) -> Option<Self> {
        let length = ByteCount::new(self.geometry.length());
        let end = PageIndex::new(self.geometry.page_count());
        // The headers differ in the generation, which may take some bytes more.
        let index_charge = rounded(record_offset(self.records? + RECORDS_ALIGNMENT as u64, end));
        let lengths = (length, self.version_length);
        let mut twin = Self::new(generation, tier, self.identity, lengths, index_charge);
        for page in self.present.iter() {
            twin.charge += twin.page_charge(kind, page);
            twin.charged.insert(page);
        }
        twin.present = self.present.clone();
        twin.cached_bytes = self.cached_bytes;
        Some(twin)
    }

    /// The copy that this is takes the place of `earlier`.
    pub(super) fn take_over(&mut self, earlier: &Self, records: u64, changed: Timestamp) {
        self.records = Some(records);
        self.sealed = Some(changed);
        self.used = earlier.used;
        self.checked = earlier.checked;
        // As for what is stored: see `publish`.
        if self.geometry.page_count() == 1 {
            self.verified = self.present.clone();
        }
    }

    pub(super) const fn generation(&self) -> Generation {
        self.generation
    }

    pub(super) const fn tier(&self) -> TierIndex {
        self.tier
    }

    pub(super) fn location(&self, unit: UnitId) -> Location {
        Location { key: GenerationKey { unit, generation: self.generation }, tier: self.tier }
    }

    pub(super) fn has_identity(&self, identity: IdentityDigest) -> bool {
        self.identity == identity
    }

    pub(super) const fn identity(&self) -> IdentityDigest {
        self.identity
    }

    pub(super) const fn version_length(&self) -> ByteCount {
        self.version_length
    }

    pub(super) const fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(super) const fn present(&self) -> &PageSet {
        &self.present
    }

    pub(super) const fn is_complete(&self) -> bool {
        self.present.is_full()
    }

    pub(super) const fn cached_bytes(&self) -> u64 {
        self.cached_bytes
    }

    pub(super) const fn sealed(&self) -> Option<Timestamp> {
        self.sealed
    }

    pub(super) const fn charge(&self) -> u64 {
        self.charge
    }

    pub(super) const fn records(&self) -> Option<u64> {
        self.records
    }

    pub(super) const fn set_records(&mut self, offset: u64) {
        self.records = Some(offset);
    }

    pub(super) const fn holds(&self) -> u32 {
        self.holds
    }

    pub(super) fn is_filling(&self, page: PageIndex) -> bool {
        self.filling.contains_key(&page)
    }

    pub(super) fn fills(&self) -> usize {
        self.filling.len()
    }

    pub(super) fn may_be_evicted(&self) -> bool {
        self.holds == 0 && self.filling.is_empty()
    }

    /// Nobody holds or fills it, or has its files open: its room is free once they are deleted.
    pub(super) fn is_unused(&self) -> bool {
        self.may_be_evicted() && self.lends == 0
    }

    /// Nothing in it and nobody at it.
    pub(super) fn is_disposable(&self) -> bool {
        self.present.is_empty() && self.may_be_evicted()
    }

    pub(super) const fn last_used(&self) -> u64 {
        self.used.tick
    }

    pub(super) const fn last_seen(&self) -> u64 {
        self.used.seen
    }

    pub(super) const fn set_used(&mut self, used: Use) {
        self.used = used;
    }

    pub(super) const fn stays(&self) -> bool {
        self.stays
    }

    pub(super) const fn set_stays(&mut self) {
        self.stays = true;
    }

    pub(super) const fn checked(&self) -> u64 {
        self.checked
    }

    pub(super) const fn set_checked(&mut self, tick: u64) {
        self.checked = tick;
    }

    /// What writing `page` may newly take on a tier of `kind`: an upper bound of what the file system takes.
    pub(super) fn page_charge(&self, kind: TierKind, page: PageIndex) -> u64 {
        if self.charged.contains(page) {
            return 0;
        }
        let huge_begin = page.offset().get() / HUGE_PAGE_LENGTH * HUGE_PAGE_LENGTH;
        let is_huge = huge_begin + HUGE_PAGE_LENGTH <= rounded(self.geometry.length());
        if kind == TierKind::Disk || !is_huge {
            return rounded(self.geometry.page_length(page));
        }
        if self.charged.contains(PageIndex::new(page.get() ^ 1)) { 0 } else { HUGE_PAGE_LENGTH }
    }

    /// What it is charged when all of it is here.
    pub(super) const fn whole_charge(&self, index_charge: u64) -> u64 {
        rounded(self.geometry.length()) + index_charge
    }

    /// `page` is being written from now on, which may newly take `charge` bytes.
    pub(super) fn begin_fill(&mut self, page: PageIndex, charge: u64) {
        assert!(self.holds == 0 && !self.present.contains(page), "a held or present page would be written");
        self.charged.insert(page);
        self.charge += charge;
        let earlier = self.filling.insert(page, charge);
        assert!(earlier.is_none(), "one page would be written by two");
    }

    /// As [`Entry::begin_fill`] for the first page of a new version: its index file is written with it, so both land
    /// together.
    pub(super) fn begin_first_fill(&mut self, page: PageIndex, charge: u64) {
        let index_charge = self.charge;
        self.begin_fill(page, charge);
        self.filling.insert(page, charge + index_charge);
    }

    /// `page` is not being written any more. What was newly charged for it.
    pub(super) fn end_fill(&mut self, page: PageIndex) -> u64 {
        self.filling.remove(&page).unwrap_or(0)
    }

    pub(super) fn publish(&mut self, page: PageIndex, changed: Timestamp, used: Use) {
        if self.present.insert(page) {
            self.cached_bytes += self.geometry.page_length(page);
        }
        // What somebody else changed in the file between one write of ours and the next has no change time of its own: only
        // a file that is written at once is known to be as we wrote it.
        self.verified.clear();
        if self.geometry.page_count() == 1 {
            self.verified.insert(page);
        }
        // Of several writers the one that looked at the time last need not come here last.
        self.sealed = Some(self.sealed.map_or(changed, |sealed| sealed.max(changed)));
        self.used = used;
        // What was found on the disk and lacked a page is still to be verified.
        if self.verified.is_full() {
            self.checked = used.tick;
        }
    }

    /// Takes `page` out and keeps others from filling it until `end_fill`.
    pub(super) fn lose(&mut self, page: PageIndex) {
        if self.present.remove(page) {
            self.cached_bytes -= self.geometry.page_length(page);
        }
        self.verified.remove(page);
        self.filling.insert(page, 0);
    }

    pub(super) fn mark_verified(&mut self, pages: impl Iterator<Item = PageIndex>, changed: Timestamp) {
        // While pages are being written the change time says nothing about the others.
        if !self.is_complete() {
            return;
        }
        if self.sealed != Some(changed) {
            self.verified.clear();
            self.sealed = Some(changed);
        }
        for page in pages {
            self.verified.insert(page);
        }
    }

    /// The change time that the data file must still have for `count` pages from `first` on to be trusted without
    /// verifying them; `None` when they must be verified.
    pub(super) fn trusted(&self, first: PageIndex, count: u32) -> Option<Timestamp> {
        let is_verified = self.is_complete() && self.verified.run_present(first, count) == count;
        self.sealed.filter(|_| is_verified)
    }

    pub(super) fn add_hold(&mut self) {
        assert!(self.is_complete() && self.filling.is_empty(), "only a complete unit can be held");
        self.holds += 1;
    }

    pub(super) const fn lends(&self) -> u32 {
        self.lends
    }

    pub(super) const fn add_lend(&mut self) {
        self.lends += 1;
    }

    /// Whether it was the last.
    pub(super) fn drop_lend(&mut self) -> bool {
        self.lends = self.lends.checked_sub(1).expect("a lend is given back once");
        self.lends == 0
    }

    /// Whether it was the last.
    pub(super) fn drop_hold(&mut self) -> bool {
        self.holds = self.holds.checked_sub(1).expect("a hold is released once");
        self.holds == 0
    }
}
