//! Finding again what the directories hold, when the store opens.
//!
//! Whatever does not fit is dropped and counted, and never keeps the store from opening: a cache is fetched again. What
//! is found is not verified here; its bytes are before the first of them is served. Files under names that the store
//! does not give are left alone.
//!
//! A catalogue spares a start the look into each file that it lists. It is believed only of files that are there, and
//! only until they are opened.

mod scan;

use std::cmp::Reverse;
use std::sync::Arc;
use std::thread;

use forebay_types::{ByteCount, ClusterId};

pub(crate) use self::scan::units_in;
use self::scan::{Found, Scan};
use crate::directory::TierDirectory;
use crate::index::{Index, Location, Restored, TierIndex};
use crate::io::remove;
use crate::layout::{FOLDER_COUNT, FileKind, Generation, GenerationKey, folder, relative_path};
use crate::limits::RECOVERY_THREADS;
use crate::source::IdentityDigest;

/// What was found when the store opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Versions that can be read again, a segment of a large one counting as one.
    pub versions: u64,
    /// Their pages.
    pub pages: u64,
    /// Those of them that a catalogue told of, so that their files were not looked into.
    pub catalogued_versions: u64,
    /// Versions or segments that were dropped: bad or foreign header, no data file or one that is too long, no page, an
    /// older generation, or cut otherwise than what was written last of the version.
    pub dropped_versions: u64,
    /// Pages of kept versions that were dropped: damaged record, or beyond the end of a cut data file.
    pub dropped_pages: u64,
    /// Files whose other half was missing. They were deleted.
    pub orphan_files: u64,
    /// Files and folders that are not the store's. They were left alone.
    pub foreign_files: u64,
    /// Folders that could not be read.
    pub unreadable_folders: u64,
}

impl RecoveryReport {
    fn add(&mut self, other: &Self) {
        self.versions += other.versions;
        self.catalogued_versions += other.catalogued_versions;
        self.pages += other.pages;
        self.dropped_versions += other.dropped_versions;
        self.dropped_pages += other.dropped_pages;
        self.orphan_files += other.orphan_files;
        self.foreign_files += other.foreign_files;
        self.unreadable_folders += other.unreadable_folders;
    }
}

/// Whose bytes are looked for, and how that store cuts what it does not keep whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    pub(crate) cluster: ClusterId,
    pub(crate) segment_length: ByteCount,
}

/// What the directories hold.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// In the order in which it was written.
    pub(crate) found: Vec<Restored>,
    pub(crate) report: RecoveryReport,
    /// Folders that hold something else than their catalogue says.
    pub(crate) uncatalogued: Vec<(TierIndex, u32)>,
    /// The last generation that a catalogue knows of, whether it is there or not.
    last_catalogued: Generation,
}

impl Recovered {
    /// What the index has to know before it takes in what was found.
    pub(crate) fn prepare(&self, index: &mut Index) {
        index.skip_generations(self.last_catalogued);
    }
}

/// Puts what the directories hold into `index`, the one written last as the one used last. Gives what was found, but for
/// the units themselves.
pub(crate) fn recover(
    directories: &[(TierIndex, Arc<TierDirectory>)],
    owner: Owner,
    index: &mut Index,
) -> Recovered {
    let mut recovered = find(directories, owner);
    recovered.prepare(index);
    for restored in std::mem::take(&mut recovered.found) {
        let is_new = index.restore(&restored);
        debug_assert!(is_new, "one generation a unit was kept, and one content a version");
    }
    recovered
}

/// What the directories hold. Older generations are deleted.
pub(crate) fn find(directories: &[(TierIndex, Arc<TierDirectory>)], owner: Owner) -> Recovered {
    let mut recovered = Recovered::default();
    let mut all = Vec::new();
    // Each disk at once: they do not wait for each other.
    thread::scope(|scope| {
        let scan = |(tier, directory): &(TierIndex, Arc<TierDirectory>)| {
            let (tier, directory) = (*tier, Arc::clone(directory));
            scope.spawn(move || (tier, scan_tier(&directory, tier, owner)))
        };
        let running: Vec<_> = directories.iter().map(scan).collect();
        for scan in running {
            let (tier, scan) = scan.join().expect("scanning does not panic");
            recovered.report.add(&scan.report);
            recovered.uncatalogued.extend(scan.uncatalogued.into_iter().map(|folder| (tier, folder)));
            recovered.last_catalogued = recovered.last_catalogued.max(scan.last_catalogued);
            all.extend(scan.found);
        }
    });
    let left_over = keep_latest(&mut all);
    for location in &left_over {
        let lies_on = directories.iter().find(|(tier, _)| *tier == location.tier);
        lies_on.iter().for_each(|(_, directory)| drop_files(directory, location.key));
        recovered.uncatalogued.push((location.tier, folder(location.key.unit)));
    }
    let report = &mut recovered.report;
    report.dropped_versions += left_over.len() as u64;
    // Of what was written in one tick of the clock, what was made later was written later.
    all.sort_unstable_by_key(|found| (found.modified, found.restored.location.key.generation));
    for found in &all {
        report.versions += 1;
        report.catalogued_versions += u64::from(!found.restored.is_confirmed);
        report.pages += u64::from(found.restored.present.count());
        report.dropped_pages += found.dropped_pages;
    }
    recovered.found = all.into_iter().map(|found| found.restored).collect();
    recovered
}

/// Keeps the latest generation of each unit, and of each version what is cut as the last that was made of it. Gives the
/// others.
fn keep_latest(all: &mut Vec<Found>) -> Vec<Location> {
    // Generations count over all tiers, so the highest is the latest.
    all.sort_unstable_by_key(|found| {
        let key = found.restored.location.key;
        (key.unit, Reverse(key.generation))
    });
    let mut keeps = Vec::with_capacity(all.len());
    // The units of a version are neighbours.
    for version in all.chunk_by(|one, other| one.file() == other.file()) {
        let latest = version.iter().max_by_key(|found| found.restored.location.key.generation);
        let form = latest.map(Form::of);
        let mut before = None;
        for found in version {
            let unit = found.restored.location.key.unit;
            keeps.push(before.replace(unit) != Some(unit) && form == Some(Form::of(found)));
        }
    }
    let mut left_over = Vec::new();
    let mut keeps = keeps.into_iter();
    all.retain(|found| {
        let is_kept = keeps.next().expect("one for each");
        if !is_kept {
            left_over.push(found.restored.location);
        }
        is_kept
    });
    left_over
}

/// What all units of a version have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Form {
    is_cut: bool,
    identity: IdentityDigest,
}

impl Form {
    fn of(found: &Found) -> Self {
        let Restored { location, identity, .. } = found.restored;
        Self { is_cut: location.key.unit.segment().is_some(), identity }
    }
}

fn scan_tier(directory: &TierDirectory, tier: TierIndex, owner: Owner) -> Scan {
    let threads = RECOVERY_THREADS;
    let scan_share = |share: usize| {
        let mut scan = Scan::default();
        for folder in (0..FOLDER_COUNT).skip(share).step_by(threads) {
            scan.folder(directory, tier, owner, folder);
        }
        scan
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|share| scope.spawn(move || scan_share(share))).collect();
        let mut all = Scan::default();
        for thread in running {
            all.add(thread.join().expect("scanning does not panic"));
        }
        all
    })
}

/// Deletes both files. One that cannot be deleted is found again at the next start.
pub(crate) fn drop_files(directory: &TierDirectory, key: GenerationKey) {
    for kind in [FileKind::Index, FileKind::Data] {
        let path = relative_path(key, kind);
        if let Err(error) = remove(directory.root(), &path) {
            tracing::warn!(%path, %error, "cannot delete a cache file that does not fit");
        }
    }
}
