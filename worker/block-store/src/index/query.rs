//! Looking at the index without changing what it holds.

use std::ops::Bound;
use std::path::PathBuf;

use forebay_types::{ByteCount, FileId, Timestamp};

use super::changes::{CachedVersion, ChangeCursor, Changes};
use super::entry::Entry;
use super::{Index, Location, TierIndex};
use crate::health::Health;
use crate::limits::CHANGES_PAGE_MAX;
use crate::page::{PageIndex, PageRange, PageSet};
use crate::settings::TierKind;

/// How much of a version is cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The pages that are here.
    pub pages: PageSet,
    /// Their bytes.
    pub cached: ByteCount,
    /// Whether all of the version is here.
    pub is_complete: bool,
    /// What it lies on.
    pub kind: TierKind,
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
    /// Versions, with those that left but are still held.
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
    /// Length of the version.
    pub length: ByteCount,
    /// Where the records begin in the index file.
    pub records: u64,
    /// How many of the pages, from the first, are here.
    pub readable: u32,
    /// The first of the pages that are not.
    pub missing: Option<PageRange>,
    /// The change time that the data file must still have for the readable pages to be trusted; `None`: verify.
    pub trusted: Option<Timestamp>,
}

impl Index {
    /// How much of `file` is here; `None` when nothing ever was.
    pub fn presence(&self, file: FileId) -> Option<Presence> {
        let entry = self.versions.get(&self.names.kept(file))?;
        Some(Presence {
            pages: entry.present().clone(),
            cached: ByteCount::new(entry.cached_bytes()),
            is_complete: entry.is_complete(),
            kind: self.tiers[entry.tier().0].limits().kind,
        })
    }

    /// Where the bytes of `pages` lie.
    pub fn lookup(&self, file: FileId, pages: PageRange) -> Option<Lookup> {
        let file = self.names.kept(file);
        let entry = self.versions.get(&file)?;
        let readable = entry.present().run_present(pages.first, pages.count);
        let rest = PageIndex::new(pages.first.get() + readable);
        let absent = entry.present().run_absent(rest, pages.count - readable);
        Some(Lookup {
            location: entry.location(file),
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
        let kept = self.versions.range((begin, Bound::Unbounded)).map(|(file, _)| *file);
        let is_shown = |file: &FileId| self.names.is_shown(*file);
        let mut files: Vec<_> = kept.filter(is_shown).take(max).collect();
        files.extend(self.names.given_after(begin).filter(is_shown).take(max));
        files.sort_unstable();
        files.truncate(max);
        files.into_iter().map(|file| self.state_of(file)).collect()
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
        TierCounts { used: tier.used(), held: tier.held(), free: tier.free(), versions: tier.versions() }
    }

    fn state_of(&self, file: FileId) -> CachedVersion {
        let gone = CachedVersion { file, cached: ByteCount::ZERO, is_complete: false };
        if !self.names.is_shown(file) {
            return gone;
        }
        self.versions.get(&self.names.kept(file)).map_or(gone, |entry| listed(file, entry))
    }
}

fn listed(file: FileId, entry: &Entry) -> CachedVersion {
    CachedVersion { file, cached: ByteCount::new(entry.cached_bytes()), is_complete: entry.is_complete() }
}
