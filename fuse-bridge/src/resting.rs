//! Files that nobody has open any more and that the kernel can still read without us: the next open asks nobody.
//!
//! What was not used for longest goes first. Nothing is dropped under the lock: dropping one is a call into the kernel
//! and a message to a worker.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use forebay_types::FileId;
use parking_lot::Mutex;
use prometheus::IntGauge;

/// The files by their versions. The kernel may have forgotten their nodes meanwhile.
#[derive(Debug)]
pub(crate) struct RestingFiles<B> {
    order: Mutex<Order<B>>,
    max: usize,
    live: IntGauge,
}

#[derive(Debug)]
struct Order<B> {
    /// Counts what came; the higher, the later.
    clock: u64,
    files: HashMap<FileId, (u64, Arc<B>)>,
    by_use: BTreeMap<u64, FileId>,
}

impl<B> RestingFiles<B> {
    /// Room for `max` files.
    pub(crate) fn new(max: usize, live: IntGauge) -> Self {
        let order = Order { clock: 0, files: HashMap::new(), by_use: BTreeMap::new() };
        Self { order: Mutex::new(order), max, live }
    }

    /// Keeps a file whose last handle was closed, if it `may_stay`. That is looked at once it is here: whoever wants files
    /// back meanwhile finds this one, or is seen here.
    pub(crate) fn put(&self, version: FileId, file: Arc<B>, may_stay: impl Fn(&B) -> bool) {
        if self.max == 0 {
            return;
        }
        let mut order = self.order.lock();
        let before = order.take(version);
        order.clock += 1;
        let now = order.clock;
        order.by_use.insert(now, version);
        order.files.insert(version, (now, Arc::clone(&file)));
        let refused = if may_stay(&file) { None } else { order.take(version) };
        let pushed_out = if order.files.len() > self.max { order.take_oldest() } else { None };
        self.count(&order);
        drop(order);
        drop((before, refused, pushed_out, file));
    }

    /// The file of a version, for a handle that is opened now.
    pub(crate) fn take(&self, version: FileId) -> Option<Arc<B>> {
        let mut order = self.order.lock();
        let file = order.take(version);
        self.count(&order);
        file
    }

    /// Whether there is a file of a version.
    pub(crate) fn has(&self, version: FileId) -> bool {
        self.order.lock().files.contains_key(&version)
    }

    /// Keeps only those of which `may_stay` says so; the others are to be dropped where that may take a while.
    #[must_use]
    pub(crate) fn keep_only(&self, may_stay: impl Fn(&B) -> bool) -> Vec<Arc<B>> {
        let mut order = self.order.lock();
        let gone: Vec<FileId> = order
            .files
            .iter()
            .filter(|(_, (_, file))| !may_stay(file))
            .map(|(version, _)| *version)
            .collect();
        let gone: Vec<_> = gone.into_iter().filter_map(|version| order.take(version)).collect();
        self.count(&order);
        gone
    }

    fn count(&self, order: &Order<B>) {
        self.live.set(i64::try_from(order.files.len()).unwrap_or(i64::MAX));
    }
}

impl<B> Order<B> {
    fn take(&mut self, version: FileId) -> Option<Arc<B>> {
        let (used, file) = self.files.remove(&version)?;
        self.by_use.remove(&used);
        Some(file)
    }

    fn take_oldest(&mut self) -> Option<Arc<B>> {
        let (_, version) = self.by_use.pop_first()?;
        self.files.remove(&version).map(|(_, file)| file)
    }
}

#[cfg(test)]
mod tests {
    use forebay_types::Incarnation;

    use super::*;

    fn resting(max: usize) -> RestingFiles<u64> {
        RestingFiles::new(max, IntGauge::new("resting", "of a test").expect("legal"))
    }

    fn version(counter: u64) -> FileId {
        FileId { incarnation: Incarnation::new(1), counter }
    }

    fn put(files: &RestingFiles<u64>, id: u64) {
        files.put(version(id), Arc::new(id), |_| true);
    }

    #[test]
    fn the_file_that_was_closed_first_makes_room() {
        let files = resting(2);
        (1..=2).for_each(|id| put(&files, id));
        let first = files.take(version(1)).expect("it rests");
        files.put(version(1), first, |_| true);
        put(&files, 3);
        assert_eq!([1, 2, 3].map(|id| files.has(version(id))), [true, false, true]);
        assert_eq!(files.live.get(), 2);
        assert!(files.take(version(2)).is_none());
    }

    #[test]
    fn what_is_taken_or_wanted_back_is_gone() {
        let files = resting(10);
        (1..=4).for_each(|id| put(&files, id));
        assert_eq!(files.take(version(1)).as_deref(), Some(&1));
        assert!(files.take(version(1)).is_none());
        let gone = files.keep_only(|id| *id == 3);
        assert_eq!(gone.len(), 2);
        assert_eq!([2, 3, 4].map(|id| files.has(version(id))), [false, true, false]);
        assert_eq!(files.live.get(), 1);
    }

    #[test]
    fn what_is_wanted_back_while_it_is_put_does_not_stay() {
        let files = resting(2);
        put(&files, 1);
        let file = Arc::new(1);
        files.put(version(1), Arc::clone(&file), |_| false);
        assert_eq!((files.has(version(1)), files.live.get(), Arc::strong_count(&file)), (false, 0, 1));
    }

    #[test]
    fn a_file_that_comes_twice_rests_once_and_without_room_none_does() {
        let files = resting(2);
        [1, 2, 1].into_iter().for_each(|id| put(&files, id));
        put(&files, 3);
        assert_eq!([1, 2, 3].map(|id| files.has(version(id))), [true, false, true]);
        let none = resting(0);
        let file = Arc::new(1);
        none.put(version(1), Arc::clone(&file), |_| true);
        assert_eq!((Arc::strong_count(&file), none.has(version(1))), (1, false));
    }
}
