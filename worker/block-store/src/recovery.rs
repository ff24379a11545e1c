//! Finding again what the directories hold, when the store opens.
//!
//! Whatever does not fit is dropped and counted, and never keeps the store from opening: a cache is fetched again. What
//! is found is not verified here; its bytes are before the first of them is served. Files under names that the store
//! does not give are left alone.

mod scan;

use std::cmp::Reverse;
use std::sync::Arc;
use std::thread;

use forebay_types::ClusterId;

use self::scan::{Found, scan_folder};
use crate::directory::TierDirectory;
use crate::index::{Index, Restored, TierIndex};
use crate::io::remove;
use crate::layout::{FOLDER_COUNT, FileKind, GenerationKey, relative_path};
use crate::limits::RECOVERY_THREADS;

/// What was found when the store opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Versions that can be read again.
    pub versions: u64,
    /// Their pages.
    pub pages: u64,
    /// Versions that were dropped: bad or foreign header, no data file or one that is too long, no page, an older
    /// generation.
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

/// Puts what the directories hold into `index`, the one written last as the one used last.
pub(crate) fn recover(
    directories: &[(TierIndex, Arc<TierDirectory>)],
    cluster: ClusterId,
    index: &mut Index,
) -> RecoveryReport {
    let (found, report) = find(directories, cluster);
    for restored in found {
        let is_new = index.restore(&restored);
        debug_assert!(is_new, "one generation a version was kept");
    }
    report
}

/// What the directories hold, in the order in which it was written. Older generations are deleted.
pub(crate) fn find(
    directories: &[(TierIndex, Arc<TierDirectory>)],
    cluster: ClusterId,
) -> (Vec<Restored>, RecoveryReport) {
    let mut report = RecoveryReport::default();
    let mut all = Vec::new();
    // Each disk at once: they do not wait for each other.
    thread::scope(|scope| {
        let scan = |(tier, directory): &(TierIndex, Arc<TierDirectory>)| {
            let (tier, directory) = (*tier, Arc::clone(directory));
            scope.spawn(move || scan_tier(&directory, tier, cluster))
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
        (key.file, Reverse(key.generation))
    });
    let mut latest = None;
    all.retain(|found| {
        let location = found.restored.location;
        if latest.replace(location.key.file) != Some(location.key.file) {
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

fn scan_tier(directory: &TierDirectory, tier: TierIndex, cluster: ClusterId) -> (Vec<Found>, RecoveryReport) {
    let threads = RECOVERY_THREADS;
    let scan_share = |share: usize| {
        let mut report = RecoveryReport::default();
        let mut found = Vec::new();
        for folder in (0..FOLDER_COUNT).skip(share).step_by(threads) {
            scan_folder(directory, tier, cluster, folder, &mut found, &mut report);
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
