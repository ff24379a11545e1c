//! Looking at the index without changing what it holds.

use std::ops::Bound;
use std::path::PathBuf;

use forebay_types::{ByteCount, FileId, Timestamp};

use super::changes::{CachedVersion, ChangeCursor, Changes};
use super::entry::Entry;
use super::{Index, Location, TierIndex};
use crate::health::Health;
use crate::limits::CHANGES_PAGE_MAX;
use crate::page::{PageIndex, PageRange};
use crate::settings::TierKind;
use crate::unit::{Cut, UnitId};

/// How much of a version is cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Bytes that are here.
    pub cached: ByteCount,
    /// Whether all of the version is here.
    pub is_complete: bool,
    /// Whether it is kept in one file, so that it can be held when it is complete.
    pub is_whole: bool,
}

/// What a tier has and holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierUsage {
    /// The tier's name.
    pub name: String,
    /// Its directory.
    pub directory: PathBuf,
    /// What it lies on.
    pub kind: TierKind,
    /// Its quota.
    pub capacity: ByteCount,
    /// What its files are charged, index files included; never more than `capacity` unless that was made smaller.
    pub used: ByteCount,
    /// The part of `used` that is held.
    pub held: ByteCount,
    /// What its file system has free beyond what must stay free, when it was last looked at; zero also when inodes are
    /// short. `None`: it could not be asked.
    pub free: Option<ByteCount>,
    /// Versions, a segment of a large one counting as one, with those that left but are still held.
    pub versions: u64,
    /// How its disk is.
    pub health: Health,
}

impl TierUsage {
    /// What the tier can hold: its quota, or what it holds and what its file system gives beyond that, if that is less.
    /// One whose disk fails holds no more than it does, or nothing.
    #[must_use]
    pub fn usable(&self) -> ByteCount {
        match self.health {
            Health::Up => {}
            Health::Unstable => return self.used,
            Health::Down => return ByteCount::ZERO,
        }
        let beyond = self.free.map_or(u64::MAX, ByteCount::get);
        self.capacity.min(ByteCount::new(self.used.get().saturating_add(beyond)))
    }
}

/// The counts of a tier that change, see [`TierUsage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TierCounts {
    pub(crate) used: u64,
    pub(crate) held: u64,
    pub(crate) free: Option<u64>,
    pub(crate) versions: u64,
}

/// Where to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The files.
    pub location: Location,
    /// Length of the unit.
    pub length: ByteCount,
    /// Where the records begin in the index file.
    pub records: u64,
    /// How many of the pages, from the first, are here.
    pub readable: u32,
    /// The first of the unit's pages that are not.
    pub missing: Option<PageRange>,
    /// The change time that the data file must still have for the readable pages to be trusted; `None`: verify.
    pub trusted: Option<Timestamp>,
}

impl Index {
    /// How much of `file` is here; `None` when nothing is.
    pub fn presence(&self, file: FileId) -> Option<Presence> {
        let mut units = self.units_of(self.names.kept(file)).peekable();
        let (first, entry) = units.peek()?;
        let (is_whole, version_length) = (first.segment().is_none(), entry.version_length());
        let (mut cached, mut complete) = (0, 0);
        for (_, entry) in units {
            cached += entry.cached_bytes();
            complete += u32::from(entry.is_complete());
        }
        let cut = if is_whole {
            Cut::whole(file, version_length)
        } else {
            Cut::segments(file, version_length, self.segment_pages)
        };
        Some(Presence { cached: ByteCount::new(cached), is_complete: complete == cut.units(), is_whole })
    }

    /// Which of some pages of a version of `length` bytes are not here.
    pub fn missing(&self, file: FileId, length: ByteCount, pages: PageRange) -> Vec<PageIndex> {
        let mut missing = Vec::new();
        for (place, count) in self.cut(file, length).runs(pages) {
            let present = self.units.get(&place.unit).map(Entry::present);
            let run = PageRange { first: place.page, count };
            let absent = run.iter().filter(|page| !present.is_some_and(|present| present.contains(*page)));
            missing.extend(absent.map(|page| place.in_version(page)));
        }
        missing
    }

    /// The slowest kind of tier that something of these pages lies on; `None`: nothing of them is here.
    pub(crate) fn kind_of(&self, file: FileId, length: ByteCount, pages: PageRange) -> Option<TierKind> {
        let places = self.cut(file, length).runs(pages);
        let entries = places.filter_map(|(place, _)| self.units.get(&place.unit));
        entries.map(|entry| self.tiers[entry.tier().0].limits().kind).max()
    }

    /// Where the bytes of some pages of `unit` lie.
    pub fn lookup(&self, unit: UnitId, pages: PageRange) -> Option<Lookup> {
        let entry = self.units.get(&unit)?;
        let readable = entry.present().run_present(pages.first, pages.count);
        let rest = PageIndex::new(pages.first.get() + readable);
        let absent = entry.present().run_absent(rest, pages.count - readable);
        Some(Lookup {
            location: entry.location(unit),
            length: ByteCount::new(entry.geometry().length()),
            records: entry.records().unwrap_or(0),
            readable,
            missing: (absent > 0).then_some(PageRange { first: rest, count: absent }),
            trusted: entry.trusted(pages.first, readable),
        })
    }

    /// The versions after `after` in the order of their ids, at most `max`.
    pub fn list(&self, after: Option<FileId>, max: usize) -> Vec<CachedVersion> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let is_shown = |file: &FileId| self.names.is_shown(*file);
        let mut files: Vec<_> = self.kept_after(after).filter(is_shown).take(max).collect();
        files.extend(self.names.given_after(begin).filter(is_shown).take(max));
        files.sort_unstable();
        files.truncate(max);
        files.into_iter().map(|file| self.state_of(file)).collect()
    }

    /// The ids after `after` that versions are kept under, in their order.
    fn kept_after(&self, mut after: Option<FileId>) -> impl Iterator<Item = FileId> {
        std::iter::from_fn(move || {
            let begin = after.map_or(Bound::Unbounded, |file| Bound::Excluded(UnitId::last_of(file)));
            after = self.units.range((begin, Bound::Unbounded)).next().map(|(unit, _)| unit.file());
            after
        })
        .fuse()
    }

    /// A cursor behind all that has changed until now.
    pub const fn cursor(&self) -> ChangeCursor {
        self.changes.cursor()
    }

    /// What changed after `cursor`, in pieces.
    pub fn changes_since(&self, cursor: ChangeCursor) -> Changes {
        let Some(changed) = self.changes.since(cursor, CHANGES_PAGE_MAX) else { return Changes::TooOld };
        let next = changed.last().map_or(cursor, |(_, next)| *next);
        let versions = changed.iter().map(|(file, _)| self.state_of(*file)).collect();
        Changes::Since { versions, next, more: next != self.cursor() }
    }

    /// What a tier is charged, and what its file system had free.
    pub(crate) fn tier_counts(&self, tier: TierIndex) -> TierCounts {
        let tier = &self.tiers[tier.0];
        TierCounts { used: tier.used(), held: tier.held(), free: tier.free(), versions: tier.units() }
    }

    fn state_of(&self, file: FileId) -> CachedVersion {
        let gone = CachedVersion { file, cached: ByteCount::ZERO, is_complete: false };
        if !self.names.is_shown(file) {
            return gone;
        }
        self.presence(file).map_or(gone, |found| CachedVersion {
            file,
            cached: found.cached,
            is_complete: found.is_complete,
        })
    }
}
