//! Which pages of which versions the tiers hold, and what must happen next: a pure state machine without IO.
//!
//! The shell asks, does what the [`Action`]s say, and reports back. Invariants, each asserted in the tests: what a tier
//! is charged never exceeds its capacity, since bytes are charged before they are written and given back after they are
//! deleted; a version that is held or being filled is never evicted; a page of a held version is never written or
//! cleared.
//!
//! One version passes through: created by its first reservation; pages reserved, then committed or aborted; detached
//! when it is evicted, freed, replaced or found corrupt while held; gone when its files are deleted and nobody holds or
//! fills it any more. Detached generations keep their charge until then.

mod changes;
mod check;
mod entry;
mod hold;
mod names;
mod promises;
mod query;
mod remove;
mod reserve;
mod tier;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod traces;

use std::collections::BTreeMap;

use forebay_types::{ByteCount, FileId, Timestamp};

use self::changes::ChangeLog;
use self::entry::{Detached, Entry};
use self::names::Names;
use self::tier::TierState;
use crate::eviction::{Eviction, EvictionPolicy};
use crate::layout::{Generation, GenerationKey, record_offset};
use crate::page::{PageIndex, PageSet};
use crate::source::IdentityDigest;

pub use self::changes::{CachedVersion, ChangeCursor, Changes};
pub(crate) use self::check::ToCheck;
pub(crate) use self::hold::{Held, HoldDecision};
pub use self::query::{Lookup, Presence, TierUsage};
pub use self::reserve::{Demand, Reservation, Slot, Wanted};
pub use self::tier::TierLimits;

/// The position of a tier in the index, fastest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TierIndex(pub usize);

/// Where a pair of files lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// Whose.
    pub key: GenerationKey,
    /// On which tier.
    pub tier: TierIndex,
}

/// What the shell must do, without the index locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Delete both files, whether they exist or not, then call [`Index::removed`].
    Remove(Location, Reason),
    /// Write "absent" into the page's record, which lies at this offset, then call [`Index::abort`] for the page.
    ClearRecord(Location, PageIndex, u64),
}

/// Why a version leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Others need the room.
    Evicted,
    /// The id means another content now.
    Replaced,
    /// Somebody asked for it.
    Freed,
    /// It has no page.
    Empty,
    /// A page of it was found corrupt while it was held.
    Corrupt,
    /// Its files are not there.
    Vanished,
    /// The disk of its tier fails.
    Disk,
    /// It left before; a late writer may have made its files again.
    LateWriter,
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The page can be read.
    Published,
    /// The version left meanwhile.
    Superseded(Vec<Action>),
}

/// A version that was found on disk.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Where it lies.
    pub location: Location,
    /// What it is the content of.
    pub identity: IdentityDigest,
    /// Length of the content.
    pub length: ByteCount,
    /// What the index file takes.
    pub index_charge: u64,
    /// Where the records begin in the index file.
    pub records: u64,
    /// The pages that have a record.
    pub present: PageSet,
    /// What the data file takes on its file system.
    pub allocated: u64,
    /// Change time of the data file.
    pub changed: Timestamp,
}

/// The state. All methods are quick: the shell calls them under a lock.
#[derive(Debug)]
pub struct Index {
    tiers: Vec<TierState>,
    versions: BTreeMap<FileId, Entry>,
    /// Generations that are no version's any more but still take room.
    detached: BTreeMap<GenerationKey, Detached>,
    generation_next: u64,
    /// Counts uses, to tell which tier's victim was used earlier.
    clock: u64,
    /// Holds may not rest any more that could before.
    wants_back: bool,
    changes: ChangeLog,
    names: Names,
}

impl Index {
    /// An empty index over `tiers`, fastest first.
    pub fn new(tiers: Vec<TierLimits>, eviction: Eviction) -> Self {
        Self::with_policies(tiers, |tier| eviction.policy(tier.capacity))
    }

    /// An empty index whose tiers evict by what `policy` makes for each.
    pub(crate) fn with_policies(
        tiers: Vec<TierLimits>,
        policy: impl Fn(&TierLimits) -> Box<dyn EvictionPolicy>,
    ) -> Self {
        let state = |limits: TierLimits| TierState::new(limits, policy(&limits));
        Self {
            tiers: tiers.into_iter().map(state).collect(),
            versions: BTreeMap::new(),
            detached: BTreeMap::new(),
            generation_next: 1,
            clock: 0,
            wants_back: false,
            changes: ChangeLog::default(),
            names: Names::default(),
        }
    }

    /// Takes in a version found on disk, as the one used last. False when the index has a generation of it already, or
    /// somebody still uses this one from before its tier went down: the caller deletes its files.
    pub fn restore(&mut self, found: &Restored) -> bool {
        let file = found.location.key.file;
        self.generation_next = self.generation_next.max(found.location.key.generation.get() + 1);
        // One that is found while the store is in use may be here under this id, or under another one that was given it.
        let is_here = self.versions.contains_key(&self.names.kept(file));
        if is_here || self.detached.contains_key(&found.location.key) {
            return false;
        }
        let tick = self.tick();
        let tier = &mut self.tiers[found.location.tier.0];
        let mut entry = Entry::restored(found, tier.limits().kind, tick);
        tier.charge(entry.charge());
        tier.came(file, found.length);
        tier.reshelve(file, &mut entry);
        self.insert(file, entry);
        true
    }

    /// As [`Index::restore`], while somebody follows the changes.
    pub(crate) fn take_back(&mut self, found: &Restored) -> bool {
        let is_new = self.restore(found);
        if is_new {
            self.changes.record(self.names.shown(found.location.key.file));
        }
        is_new
    }

    /// The files of `key` exist at full length and with their header; the records begin at `records`.
    pub fn created(&mut self, key: GenerationKey, records: u64) {
        let entry = self.versions.get_mut(&key.file);
        if let Some(entry) = entry.filter(|entry| entry.generation() == key.generation) {
            entry.set_records(records);
        }
    }

    /// The page's data and record are in the files, which changed last at `changed`.
    pub fn commit(&mut self, key: GenerationKey, page: PageIndex, changed: Timestamp) -> Committed {
        let tick = self.tick();
        match self.versions.get_mut(&key.file).filter(|entry| entry.generation() == key.generation) {
            Some(entry) => {
                let tier = &mut self.tiers[entry.tier().0];
                assert_eq!(entry.holds(), 0, "{key} was written while it was held");
                tier.landed(entry.end_fill(page));
                entry.publish(page, changed, tick);
                tier.reshelve(key.file, entry);
                self.changes.record(self.names.shown(key.file));
                Committed::Published
            }
            None => Committed::Superseded(self.end_detached_fill(key, page)),
        }
    }

    /// The fill of the page came to nothing, or its record was cleared.
    pub fn abort(&mut self, key: GenerationKey, page: PageIndex) -> Vec<Action> {
        match self.versions.get_mut(&key.file).filter(|entry| entry.generation() == key.generation) {
            Some(entry) => {
                let tier = &mut self.tiers[entry.tier().0];
                tier.landed(entry.end_fill(page));
                if entry.is_disposable() {
                    return self.detach(key.file, Reason::Empty).into_iter().collect();
                }
                tier.reshelve(key.file, entry);
                Vec::new()
            }
            None => self.end_detached_fill(key, page),
        }
    }

    /// The page did not have its checksum. It is taken out; the whole version is when somebody holds it.
    pub fn lose_page(&mut self, key: GenerationKey, page: PageIndex) -> Vec<Action> {
        let Some(entry) = self.versions.get_mut(&key.file) else { return Vec::new() };
        if entry.generation() != key.generation || !entry.present().contains(page) {
            return Vec::new();
        }
        if entry.holds() > 0 {
            return self.detach(key.file, Reason::Corrupt).into_iter().collect();
        }
        let records = entry.records().expect("a version with a page has its files");
        let location = entry.location(key.file);
        // Nobody may fill the page before its record is cleared, or the clearing would wipe out the new record.
        entry.lose(page);
        let tier = &mut self.tiers[location.tier.0];
        tier.reshelve(key.file, entry);
        self.changes.record(self.names.shown(key.file));
        vec![Action::ClearRecord(location, page, record_offset(records, page))]
    }

    /// Pages were read and had their checksums, and the data file had changed last at `changed` before the reading.
    pub(crate) fn mark_verified(
        &mut self,
        key: GenerationKey,
        pages: impl Iterator<Item = PageIndex>,
        changed: Timestamp,
    ) {
        let entry = self.versions.get_mut(&key.file);
        if let Some(entry) = entry.filter(|entry| entry.generation() == key.generation) {
            entry.mark_verified(pages, changed);
        }
    }

    /// Marks `file` as used just now, from `page` on.
    pub fn touch(&mut self, file: FileId, page: PageIndex) {
        let (tick, file) = (self.tick(), self.names.kept(file));
        if let Some(entry) = self.versions.get_mut(&file) {
            entry.set_used(tick);
            self.tiers[entry.tier().0].touch(file, page);
        }
    }

    /// Whether `key` is what its version consists of now.
    pub(crate) fn is_current(&self, key: GenerationKey) -> bool {
        self.versions.get(&key.file).is_some_and(|entry| entry.generation() == key.generation)
    }

    /// What the file system of `tier` has free for an unprivileged user: bytes, and inodes where it counts them.
    pub(crate) fn set_free_space(&mut self, tier: TierIndex, bytes: u64, inodes: Option<u64>) {
        self.tiers[tier.0].set_free_space(bytes, inodes);
    }

    /// Whether `tier` takes new versions and pages. One whose disk fails takes none.
    pub(crate) fn set_open(&mut self, tier: TierIndex, is_open: bool) {
        self.tiers[tier.0].set_open(is_open);
    }

    /// What the file system of `tier` keeps free: bytes and inodes.
    pub(crate) fn set_floors(&mut self, tier: TierIndex, (bytes, inodes): (ByteCount, u64)) {
        self.tiers[tier.0].set_floors(bytes, inodes);
    }

    /// The file system of `tier` turned out to be full: nothing more is taken there before something is deleted or
    /// the next look at its free space.
    pub(crate) fn set_full(&mut self, tier: TierIndex) {
        self.tiers[tier.0].set_full();
    }

    /// Takes in a new entry.
    fn insert(&mut self, file: FileId, entry: Entry) {
        self.names.came(file, entry.identity());
        self.versions.insert(file, entry);
    }

    fn next_generation(&mut self) -> Generation {
        let generation = Generation::new(self.generation_next);
        self.generation_next += 1;
        generation
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}
