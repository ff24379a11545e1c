//! Files that nobody has open any more and that the kernel can still read without us: the next open asks nobody.
//!
//! What was not used for longest goes first. Nothing is dropped under the lock: dropping one is a call into the kernel
//! and a message to a worker.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::IntGauge;

use crate::node_id::NodeId;

/// The files, each by the node of its version, which the kernel may have forgotten meanwhile.
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
    files: HashMap<NodeId, (u64, Arc<B>)>,
    by_use: BTreeMap<u64, NodeId>,
}

impl<B> RestingFiles<B> {
    /// Room for `max` files.
    pub(crate) fn new(max: usize, live: IntGauge) -> Self {
        let order = Order { clock: 0, files: HashMap::new(), by_use: BTreeMap::new() };
        Self { order: Mutex::new(order), max, live }
    }

    /// Keeps a file whose last handle was closed.
    pub(crate) fn put(&self, node: NodeId, file: Arc<B>) {
        if self.max == 0 {
            return;
        }
        let mut order = self.order.lock();
        let before = order.take(node);
        order.clock += 1;
        let now = order.clock;
        order.by_use.insert(now, node);
        order.files.insert(node, (now, file));
        let pushed_out = if order.files.len() > self.max { order.take_oldest() } else { None };
        self.count(&order);
        drop(order);
        drop((before, pushed_out));
    }

    /// The file of a node, for a handle that is opened now.
    pub(crate) fn take(&self, node: NodeId) -> Option<Arc<B>> {
        let mut order = self.order.lock();
        let file = order.take(node);
        self.count(&order);
        file
    }

    /// Whether there is a file of a node.
    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.order.lock().files.contains_key(&node)
    }

    /// Keeps only those of which `may_stay` says so.
    pub(crate) fn keep_only(&self, may_stay: impl Fn(&B) -> bool) {
        let mut order = self.order.lock();
        let gone: Vec<NodeId> =
            order.files.iter().filter(|(_, (_, file))| !may_stay(file)).map(|(node, _)| *node).collect();
        let gone: Vec<_> = gone.into_iter().filter_map(|node| order.take(node)).collect();
        self.count(&order);
        drop(order);
        drop(gone);
    }

    fn count(&self, order: &Order<B>) {
        self.live.set(i64::try_from(order.files.len()).unwrap_or(i64::MAX));
    }
}

impl<B> Order<B> {
    fn take(&mut self, node: NodeId) -> Option<Arc<B>> {
        let (used, file) = self.files.remove(&node)?;
        self.by_use.remove(&used);
        Some(file)
    }

    fn take_oldest(&mut self) -> Option<Arc<B>> {
        let (_, node) = self.by_use.pop_first()?;
        self.files.remove(&node).map(|(_, file)| file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resting(max: usize) -> RestingFiles<u64> {
        RestingFiles::new(max, IntGauge::new("resting", "of a test").expect("legal"))
    }

    fn node(id: u64) -> NodeId {
        NodeId::new(id)
    }

    #[test]
    fn the_file_that_was_closed_first_makes_room() {
        let files = resting(2);
        (1..=2).for_each(|id| files.put(node(id), Arc::new(id)));
        let first = files.take(node(1)).expect("it rests");
        files.put(node(1), first);
        files.put(node(3), Arc::new(3));
        assert_eq!([1, 2, 3].map(|id| files.has(node(id))), [true, false, true]);
        assert_eq!(files.live.get(), 2);
        assert!(files.take(node(2)).is_none());
    }

    #[test]
    fn what_is_taken_or_wanted_back_is_gone() {
        let files = resting(10);
        (1..=4).for_each(|id| files.put(node(id), Arc::new(id)));
        assert_eq!(files.take(node(1)).as_deref(), Some(&1));
        assert!(files.take(node(1)).is_none());
        files.keep_only(|id| *id == 3);
        assert_eq!([2, 3, 4].map(|id| files.has(node(id))), [false, true, false]);
        assert_eq!(files.live.get(), 1);
    }

    #[test]
    fn a_file_that_comes_twice_rests_once_and_without_room_none_does() {
        let files = resting(2);
        [1, 2, 1].into_iter().for_each(|id| files.put(node(id), Arc::new(id)));
        files.put(node(3), Arc::new(3));
        assert_eq!([1, 2, 3].map(|id| files.has(node(id))), [true, false, true]);
        let none = resting(0);
        let file = Arc::new(1);
        none.put(node(1), Arc::clone(&file));
        assert_eq!((Arc::strong_count(&file), none.has(node(1))), (1, false));
    }
}
