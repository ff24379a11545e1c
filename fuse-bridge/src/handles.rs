//! What the kernel has open, by the numbers that we give it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fuser::FileHandle;
use parking_lot::Mutex;
use prometheus::IntGauge;

use crate::limits::SHARDS;

/// Open things of one kind. Numbers are never used twice.
#[derive(Debug)]
pub(crate) struct HandleTable<T> {
    next: AtomicU64,
    shards: Box<[Shard<T>]>,
    live: IntGauge,
}

type Shard<T> = Mutex<HashMap<u64, Arc<T>>>;

impl<T> HandleTable<T> {
    pub(crate) fn new(live: IntGauge) -> Self {
        Self { next: AtomicU64::new(1), shards: (0..SHARDS).map(|_| Mutex::default()).collect(), live }
    }

    /// Adds a thing under a new number.
    pub(crate) fn insert(&self, thing: T) -> FileHandle {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.shard(number).lock().insert(number, Arc::new(thing));
        self.live.inc();
        FileHandle(number)
    }

    pub(crate) fn get(&self, handle: FileHandle) -> Option<Arc<T>> {
        self.shard(handle.0).lock().get(&handle.0).map(Arc::clone)
    }

    pub(crate) fn remove(&self, handle: FileHandle) -> Option<Arc<T>> {
        let removed = self.shard(handle.0).lock().remove(&handle.0);
        if removed.is_some() {
            self.live.dec();
        }
        removed
    }

    fn shard(&self, number: u64) -> &Shard<T> {
        #[allow(clippy::cast_possible_truncation, reason = "a remainder of a small number")]
        let index = (number % self.shards.len() as u64) as usize;
        &self.shards[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_found_until_it_is_removed_and_its_number_never_returns() {
        let live = IntGauge::new("handles", "of a test").expect("legal");
        let table = HandleTable::new(live.clone());
        let first = table.insert("first");
        assert_eq!((table.get(first).as_deref(), live.get()), (Some(&"first"), 1));
        assert_eq!(table.remove(first).as_deref(), Some(&"first"));
        assert!(table.get(first).is_none() && table.remove(first).is_none());
        assert_ne!(table.insert("second"), first);
        assert_eq!(live.get(), 1);
    }
}
