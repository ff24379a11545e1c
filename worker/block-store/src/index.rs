//! Which pages of which versions the tiers hold, and what must happen next: a pure state machine without IO.
//!
//! What is kept, evicted and lies in a file is a unit: a whole version, or a segment of one that is longer than any tier
//! keeps whole. Pages of a unit are counted from its begin. A version stays cut as it is for as long as a unit of it is
//! here, whatever the tiers' limits become.
//!
//! The shell asks, does what the [`Action`]s say, and reports back. Invariants, each asserted in the tests: what a tier
//! is charged never exceeds its capacity, since bytes are charged before they are written and given back after they are
//! deleted and nobody has them open; a version that is held or being filled is never evicted; a page of a held version is never written or
//! cleared.
//!
//! One unit passes through: created by its first reservation; pages reserved, then committed or aborted; detached
//! when it is evicted, freed, replaced or found corrupt while held; gone when its files are deleted and nobody holds,
//! fills or was lent it any more. Detached generations keep their charge until then.

mod changes;
mod check;
mod claims;
mod cut;
mod entry;
mod hold;
mod lend;
mod moves;
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

use forebay_types::{ByteCount, Timestamp};

use self::changes::ChangeLog;
use self::entry::{Detached, Entry, Use};
use self::moves::Moves;
use self::names::Names;
use self::tier::TierState;
use crate::eviction::{Eviction, EvictionPolicy};
use crate::layout::{Generation, GenerationKey, record_offset};
use crate::page::{PageIndex, PageSet};
use crate::source::IdentityDigest;
use crate::unit::UnitId;

pub use self::changes::{CachedVersion, ChangeCursor, Changes};
pub(crate) use self::check::ToCheck;
pub(crate) use self::claims::Claim;
pub(crate) use self::hold::{Held, HoldDecision};
pub(crate) use self::moves::{Copied, Move, NextMove};
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

/// Why a unit leaves.
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
    /// It lies on another tier now.
    Moved,
    /// A copy of it to another tier came to nothing.
    CalledOff,
    /// Its files are not there, or are not what a catalogue said of them.
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
    /// The unit left meanwhile.
    Superseded(Vec<Action>),
}

/// A unit that was found on disk.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Where it lies.
    pub location: Location,
    /// What it is the content of, or a segment of that.
    pub identity: IdentityDigest,
    /// Length of the unit.
    pub length: ByteCount,
    /// Length of the version.
    pub version_length: ByteCount,
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
    /// Whether its files were looked at; else a catalogue told of it, and they are before they are used.
    pub is_confirmed: bool,
}

/// The state. All methods are quick: the shell calls them under a lock.
#[derive(Debug)]
pub struct Index {
    tiers: Vec<TierState>,
    /// Pages of a segment.
    segment_pages: u32,
    units: BTreeMap<UnitId, Entry>,
    /// Copies between tiers that are under way, and what is to be copied next.
    moves: Moves,
    /// Generations that are no unit's any more but still take room.
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
    /// An empty index over `tiers`, fastest first. What no tier keeps whole is cut into segments of `segment_pages`, at
    /// least one.
    pub fn new(tiers: Vec<TierLimits>, segment_pages: u32, eviction: Eviction) -> Self {
        Self::with_policies(tiers, segment_pages, |tier| eviction.policy(tier.capacity))
    }

    /// An empty index whose tiers evict by what `policy` makes for each.
    pub(crate) fn with_policies(
        tiers: Vec<TierLimits>,
        segment_pages: u32,
        policy: impl Fn(&TierLimits) -> Box<dyn EvictionPolicy>,
    ) -> Self {
        let state = |limits: TierLimits| TierState::new(limits, policy(&limits));
        Self {
            tiers: tiers.into_iter().map(state).collect(),
            segment_pages: segment_pages.max(1),
            units: BTreeMap::new(),
            moves: Moves::default(),
            detached: BTreeMap::new(),
            generation_next: 1,
            clock: 0,
            wants_back: false,
            changes: ChangeLog::default(),
            names: Names::default(),
        }
    }

    /// Takes in a unit found on disk, as the one used last. False when the index has a generation of it already, has its
    /// version cut otherwise or as another content, or somebody still uses this one from before its tier went down: the
    /// caller deletes its files.
    pub fn restore(&mut self, found: &Restored) -> bool {
        let unit = found.location.key.unit;
        self.generation_next = self.generation_next.max(found.location.key.generation.get() + 1);
        // One that is found while the store is in use may be here under another id that was given this one.
        let is_given = self.names.kept(unit.file()) != unit.file();
        // All units of a version are alike, so one of them speaks for all.
        let is_unlike = self.units_of(unit.file()).next().is_some_and(|(other, entry)| {
            other.segment().is_some() != unit.segment().is_some() || !entry.has_identity(found.identity)
        });
        if is_given
            || is_unlike
            || self.units.contains_key(&unit)
            || self.detached.contains_key(&found.location.key)
        {
            return false;
        }
        let used = self.use_now();
        let tier = &mut self.tiers[found.location.tier.0];
        let mut entry = Entry::restored(found, tier.limits().kind, used);
        tier.charge(entry.charge());
        tier.came(unit, found.length);
        tier.reshelve(unit, &mut entry);
        self.insert(unit, entry);
        true
    }

    /// As [`Index::restore`], while somebody follows the changes.
    pub(crate) fn take_back(&mut self, found: &Restored) -> bool {
        let is_new = self.restore(found);
        if is_new {
            self.changes.record(self.names.shown(found.location.key.unit.file()));
        }
        is_new
    }

    /// The files of `key` exist at full length and with their header; the records begin at `records`.
    pub fn created(&mut self, key: GenerationKey, records: u64) {
        if let Some(entry) = self.current(key) {
            entry.set_records(records);
        }
    }

    /// The page's data and record are in the files, which changed last at `changed`.
    pub fn commit(&mut self, key: GenerationKey, page: PageIndex, changed: Timestamp) -> Committed {
        let used = self.use_now();
        match self.units.get_mut(&key.unit).filter(|entry| entry.generation() == key.generation) {
            Some(entry) => {
                let tier = &mut self.tiers[entry.tier().0];
                assert_eq!(entry.holds(), 0, "{key} was written while it was held");
                tier.landed(entry.end_fill(page));
                entry.publish(page, changed, used);
                tier.reshelve(key.unit, entry);
                self.changes.record(self.names.shown(key.unit.file()));
                Committed::Published
            }
            None => Committed::Superseded(self.end_detached_fill(key, page)),
        }
    }

    /// The fill of the page came to nothing, or its record was cleared.
    pub fn abort(&mut self, key: GenerationKey, page: PageIndex) -> Vec<Action> {
        match self.units.get_mut(&key.unit).filter(|entry| entry.generation() == key.generation) {
            Some(entry) => {
                let tier = &mut self.tiers[entry.tier().0];
                tier.landed(entry.end_fill(page));
                if entry.is_disposable() {
                    return self.detach_unit(key.unit, Reason::Empty).into_iter().collect();
                }
                tier.reshelve(key.unit, entry);
                Vec::new()
            }
            None => self.end_detached_fill(key, page),
        }
    }

    /// The page did not have its checksum. It is taken out; the whole unit is when somebody holds it.
    pub fn lose_page(&mut self, key: GenerationKey, page: PageIndex) -> Vec<Action> {
        let Some(entry) = self.units.get_mut(&key.unit) else { return Vec::new() };
        if entry.generation() != key.generation || !entry.present().contains(page) {
            return Vec::new();
        }
        if entry.holds() > 0 {
            return self.detach_unit(key.unit, Reason::Corrupt).into_iter().collect();
        }
        let records = entry.records().expect("a version with a page has its files");
        let location = entry.location(key.unit);
        // Nobody may fill the page before its record is cleared, or the clearing would wipe out the new record.
        entry.lose(page);
        self.moves.call_off(key.unit);
        let tier = &mut self.tiers[location.tier.0];
        tier.reshelve(key.unit, entry);
        self.changes.record(self.names.shown(key.unit.file()));
        vec![Action::ClearRecord(location, page, record_offset(records, page))]
    }

    /// Pages were read and had their checksums, and the data file had changed last at `changed` before the reading.
    pub(crate) fn mark_verified(
        &mut self,
        key: GenerationKey,
        pages: impl Iterator<Item = PageIndex>,
        changed: Timestamp,
    ) {
        if let Some(entry) = self.current(key) {
            entry.mark_verified(pages, changed);
        }
    }

    /// Marks `unit` as used just now, from `page` on.
    pub fn touch(&mut self, unit: UnitId, page: PageIndex) {
        self.visited(unit, page);
        let used = self.use_now();
        if let Some(entry) = self.units.get_mut(&unit) {
            entry.set_used(used);
            self.tiers[entry.tier().0].touch(unit, page);
        }
    }

    /// Whether `key` is what its unit consists of now.
    pub(crate) fn is_current(&self, key: GenerationKey) -> bool {
        self.units.get(&key.unit).is_some_and(|entry| entry.generation() == key.generation)
    }

    /// Whether its unit consists of something else than `key` now.
    pub(crate) fn is_elsewhere(&self, key: GenerationKey) -> bool {
        self.units.get(&key.unit).is_some_and(|entry| entry.generation() != key.generation)
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

    /// The entry of `key`, if it is what its unit consists of now.
    fn current(&mut self, key: GenerationKey) -> Option<&mut Entry> {
        self.units.get_mut(&key.unit).filter(|entry| entry.generation() == key.generation)
    }

    /// Takes in a new entry.
    fn insert(&mut self, unit: UnitId, entry: Entry) {
        self.names.came(unit.file(), entry.identity());
        self.units.insert(unit, entry);
    }

    fn next_generation(&mut self) -> Generation {
        let generation = Generation::new(self.generation_next);
        self.generation_next += 1;
        generation
    }

    fn use_now(&mut self) -> Use {
        Use { tick: self.tick(), seen: self.moves.now() }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}
