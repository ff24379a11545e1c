//! Finding again what the directories hold, when the store opens.
//!
//! Whatever does not fit is dropped and counted, and never keeps the store from opening: a cache is fetched again. What
//! is found is not verified here; its bytes are before the first of them is served. Files under names that the store
//! does not give are left alone.

mod scan;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use forebay_types::{ByteCount, ClusterId, FileId};

use self::scan::{Found, scan_folder};
use crate::directory::TierDirectory;
use crate::index::{Index, Restored, TierIndex};
use crate::io::remove;
use crate::layout::{FOLDER_COUNT, FileKind, Generation, GenerationKey, relative_path};
use crate::limits::RECOVERY_THREADS;
use crate::source::IdentityDigest;

/// What was found when the store opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Versions that can be read again, a segment of a large one counting as one.
    pub versions: u64,
    /// Their pages.
    pub pages: u64,
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

/// Puts what the directories hold into `index`, the one written last as the one used last.
pub(crate) fn recover(
    directories: &[(TierIndex, Arc<TierDirectory>)],
    owner: Owner,
    index: &mut Index,
) -> RecoveryReport {
    let (found, report) = find(directories, owner);
    for restored in found {
        let is_new = index.restore(&restored);
        debug_assert!(is_new, "one generation a unit was kept, and one content a version");
    }
    report
}

/// What the directories hold, in the order in which it was written. Older generations are deleted.
pub(crate) fn find(
    directories: &[(TierIndex, Arc<TierDirectory>)],
    owner: Owner,
) -> (Vec<Restored>, RecoveryReport) {
    let mut report = RecoveryReport::default();
    let mut all = Vec::new();
    // Each disk at once: they do not wait for each other.
    thread::scope(|scope| {
        let scan = |(tier, directory): &(TierIndex, Arc<TierDirectory>)| {
            let (tier, directory) = (*tier, Arc::clone(directory));
            scope.spawn(move || scan_tier(&directory, tier, owner))
        };
        let running: Vec<_> = directories.iter().map(scan).collect();
        for tier in running {
            let (found, part) = tier.join().expect("scanning does not panic");
            report.add(&part);
            all.extend(found);
        }
    });
    // Generations count over all tiers, so the highest is the latest.
    all.sort_unstable_by_key(|found| {
        let key = found.restored.location.key;
        (key.unit, Reverse(key.generation))
    });
    let forms = latest_forms(&all);
    let mut latest = None;
    all.retain(|found| {
        let location = found.restored.location;
        let unit = location.key.unit;
        if latest.replace(unit) != Some(unit)
            && forms.get(&unit.file()).is_some_and(|(_, form)| *form == Form::of(found))
        {
            return true;
        }
        let lies_on = directories.iter().find(|(tier, _)| *tier == location.tier);
        lies_on.iter().for_each(|(_, directory)| drop_files(directory, location.key));
        report.dropped_versions += 1;
        false
    });
    all.sort_by_key(|found| found.modified);
    for found in &all {
        report.versions += 1;
        report.pages += u64::from(found.restored.present.count());
        report.dropped_pages += found.dropped_pages;
    }
    (all.into_iter().map(|found| found.restored).collect(), report)
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

/// Of each version the form of what was made last.
fn latest_forms(all: &[Found]) -> BTreeMap<FileId, (Generation, Form)> {
    let mut forms: BTreeMap<FileId, (Generation, Form)> = BTreeMap::new();
    for found in all {
        let GenerationKey { unit, generation } = found.restored.location.key;
        let latest = forms.entry(unit.file()).or_insert((generation, Form::of(found)));
        if generation > latest.0 {
            *latest = (generation, Form::of(found));
        }
    }
    forms
}

fn scan_tier(directory: &TierDirectory, tier: TierIndex, owner: Owner) -> (Vec<Found>, RecoveryReport) {
    let threads = RECOVERY_THREADS;
    let scan_share = |share: usize| {
        let mut report = RecoveryReport::default();
        let mut found = Vec::new();
        for folder in (0..FOLDER_COUNT).skip(share).step_by(threads) {
            scan_folder(directory, tier, owner, folder, &mut found, &mut report);
        }
        (found, report)
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|share| scope.spawn(move || scan_share(share))).collect();
        let mut all = (Vec::new(), RecoveryReport::default());
        for thread in running {
            let (found, report) = thread.join().expect("scanning does not panic");
            all.0.extend(found);
            all.1.add(&report);
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
