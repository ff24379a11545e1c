//! What was served from where: hits and misses, when pages were filled, and how much of each mount is cached.
//!
//! A page is a hit for a handle when it was in the cache before the handle was opened. So each fill gets a number that
//! only grows, and the numbers of the latest fills are remembered.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use forebay_block_store::PageIndex;
use forebay_proto::v1;
use forebay_types::{FileId, MountId, Timestamp};
use parking_lot::Mutex;

use crate::limits::REMEMBERED_FILLS_MAX;
use crate::mounts::ConnectedMount;

/// The numbers of fills.
#[derive(Debug)]
pub(crate) struct FillLog {
    latest: AtomicU64,
    recent: Mutex<RecentFills>,
}

#[derive(Debug, Default)]
struct RecentFills {
    by_page: HashMap<(FileId, PageIndex), u64>,
    /// In the order of their numbers. A page that was filled again stands here more than once.
    order: VecDeque<(FileId, PageIndex, u64)>,
}

/// Bytes that were served, since the process began.
#[derive(Debug, Default)]
pub(crate) struct ReadCounts {
    remote: AtomicU64,
    hit: AtomicU64,
    miss: AtomicU64,
}

/// How many cached bytes belong to which mount. The store knows versions, not mounts; a version found on disk belongs
/// to none until it is read.
#[derive(Debug, Default)]
pub(crate) struct MountShares {
    state: Mutex<Shares>,
}

#[derive(Debug, Default)]
struct Shares {
    files: HashMap<FileId, (Option<MountId>, u64)>,
    totals: BTreeMap<MountId, u64>,
}

impl FillLog {
    /// A log whose numbers begin at the time of day, so that those of a later life of the worker are larger.
    pub(crate) fn new(now: Timestamp) -> Self {
        let begin = u64::try_from(now.nanos()).unwrap_or(0).max(1);
        Self { latest: AtomicU64::new(begin), recent: Mutex::default() }
    }

    /// The number of the latest fill.
    pub(crate) fn sequence(&self) -> u64 {
        self.latest.load(Ordering::Acquire)
    }

    /// A page is about to be filled.
    pub(crate) fn record(&self, file: FileId, page: PageIndex) {
        let mut recent = self.recent.lock();
        let number = self.latest.fetch_add(1, Ordering::AcqRel) + 1;
        recent.by_page.insert((file, page), number);
        recent.order.push_back((file, page, number));
        if recent.order.len() > REMEMBERED_FILLS_MAX
            && let Some((file, page, number)) = recent.order.pop_front()
            && recent.by_page.get(&(file, page)) == Some(&number)
        {
            recent.by_page.remove(&(file, page));
        }
    }

    /// Whether the page was filled after the fill of this number.
    pub(crate) fn is_later(&self, file: FileId, page: PageIndex, number: u64) -> bool {
        self.recent.lock().by_page.get(&(file, page)).is_some_and(|filled| *filled > number)
    }
}

impl ReadCounts {
    /// Counts bytes that were served by RPC, for the worker and for the mount.
    pub(crate) fn count(&self, mount: &ConnectedMount, bytes: u64, is_hit: bool) {
        self.remote.fetch_add(bytes, Ordering::Relaxed);
        let (counter, hit, miss) = if is_hit { (&self.hit, bytes, 0) } else { (&self.miss, 0, bytes) };
        counter.fetch_add(bytes, Ordering::Relaxed);
        mount.count(hit, miss);
    }

    /// The counters for the master. What came from under-stores is added by the caller.
    pub(crate) fn report(&self, under_store_bytes: u64) -> v1::ReadCounters {
        v1::ReadCounters {
            remote_bytes: self.remote.load(Ordering::Relaxed),
            hit_bytes: self.hit.load(Ordering::Relaxed),
            miss_bytes: self.miss.load(Ordering::Relaxed),
            under_store_bytes,
            ..v1::ReadCounters::default()
        }
    }
}

impl MountShares {
    /// The version is read through `mount`.
    pub(crate) fn read_through(&self, file: FileId, mount: MountId) {
        let mut state = self.state.lock();
        let Some((owner, cached)) = state.files.get_mut(&file) else { return };
        if *owner == Some(mount) {
            return;
        }
        let (before, cached) = (owner.replace(mount), *cached);
        state.shift(before, cached, 0);
        state.shift(Some(mount), 0, cached);
    }

    /// The version begins to be filled through `mount`.
    pub(crate) fn filled_through(&self, file: FileId, mount: MountId) {
        self.state.lock().files.entry(file).or_insert((Some(mount), 0));
        self.read_through(file, mount);
    }

    /// The store now has `cached` bytes of the version; `is_gone` when it has no page of it.
    pub(crate) fn changed(&self, file: FileId, cached: u64, is_gone: bool) {
        let mut state = self.state.lock();
        let (owner, before) = state.files.get(&file).copied().unwrap_or_default();
        state.shift(owner, before, cached);
        if is_gone {
            state.files.remove(&file);
        } else {
            state.files.insert(file, (owner, cached));
        }
    }

    /// All versions are reported anew.
    pub(crate) fn begin_anew(&self) {
        let mut state = self.state.lock();
        state.totals.clear();
        state.files.values_mut().for_each(|(_, cached)| *cached = 0);
    }

    /// All versions have been reported: what was not among them is gone.
    pub(crate) fn end_anew(&self) {
        self.state.lock().files.retain(|_, (_, cached)| *cached > 0);
    }

    /// Cached bytes of a mount.
    pub(crate) fn cached(&self, mount: MountId) -> u64 {
        self.state.lock().totals.get(&mount).copied().unwrap_or(0)
    }
}

impl Shares {
    fn shift(&mut self, owner: Option<MountId>, before: u64, after: u64) {
        if let Some(mount) = owner {
            let total = self.totals.entry(mount).or_default();
            *total = (*total + after).saturating_sub(before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_types::Incarnation;

    fn file(counter: u64) -> FileId {
        FileId { incarnation: Incarnation::new(1), counter }
    }

    #[test]
    fn a_page_is_later_than_the_open_that_came_before_its_fill() {
        let log = FillLog::new(Timestamp::from_nanos(1_000));
        let opened = log.sequence();
        log.record(file(1), PageIndex::new(0));
        let reopened = log.sequence();
        assert!(reopened > opened);
        assert!(log.is_later(file(1), PageIndex::new(0), opened));
        assert!(!log.is_later(file(1), PageIndex::new(0), reopened));
        assert!(
            !log.is_later(file(1), PageIndex::new(1), opened),
            "found on disk, so never filled by this life"
        );
    }

    #[test]
    fn the_memory_of_fills_is_bounded_and_keeps_the_latest() {
        let log = FillLog::new(Timestamp::from_nanos(1));
        let opened = log.sequence();
        log.record(file(0), PageIndex::new(0));
        log.record(file(1), PageIndex::new(0));
        log.record(file(0), PageIndex::new(0));
        (2..=REMEMBERED_FILLS_MAX as u64).for_each(|counter| log.record(file(counter), PageIndex::new(0)));
        assert!(log.is_later(file(0), PageIndex::new(0), opened), "filled again later");
        assert!(!log.is_later(file(1), PageIndex::new(0), opened), "forgotten");
        assert_eq!(log.recent.lock().order.len(), REMEMBERED_FILLS_MAX);
    }

    #[test]
    fn cached_bytes_follow_the_mount_that_reads_them() {
        let (shares, one, two) = (MountShares::default(), MountId::new(1), MountId::new(2));
        shares.changed(file(1), 10, false);
        assert_eq!(shares.cached(one), 0, "found on disk");
        shares.read_through(file(1), one);
        shares.filled_through(file(2), one);
        shares.changed(file(2), 5, false);
        assert_eq!(shares.cached(one), 15);
        shares.read_through(file(1), two);
        assert_eq!((shares.cached(one), shares.cached(two)), (5, 10));
        shares.changed(file(2), 0, true);
        assert_eq!(shares.cached(one), 0);
        shares.read_through(file(3), one);
        assert!(
            !shares.state.lock().files.contains_key(&file(3)),
            "nothing is remembered of what is not cached"
        );
        shares.begin_anew();
        shares.changed(file(1), 10, false);
        shares.filled_through(file(4), one);
        shares.end_anew();
        assert_eq!((shares.cached(two), shares.state.lock().files.len()), (10, 1));
    }
}
