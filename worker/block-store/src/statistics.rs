//! Counters of what the store did, for the worker to export. They count from the process's begin.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// The counters as the threads of the store add to them.
        #[derive(Debug, Default)]
        pub(crate) struct Statistics {
            $($(#[$doc])* pub(crate) $name: Counter,)+
        }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct StatisticsSnapshot {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Statistics {
            pub(crate) fn snapshot(&self) -> StatisticsSnapshot {
                StatisticsSnapshot { $($name: self.$name.get(),)+ }
            }
        }
    };
}

counters! {
    /// Versions that were evicted to make room.
    evictions,
    /// Versions that were moved from memory to a disk.
    demotions,
    /// Their bytes.
    demoted_bytes,
    /// Versions that were moved from a disk to memory.
    promotions,
    /// Their bytes.
    promoted_bytes,
    /// Moves that were begun and came to nothing.
    aborted_moves,
    /// Pages that were stored.
    filled_pages,
    /// Bytes that were stored.
    filled_bytes,
    /// Fills that found their page present or being filled by another.
    duplicate_fills,
    /// Fills and creations that failed because there was no room.
    no_space,
    /// Fills that were not worth that anything leaves for them.
    declined_fills,
    /// Bytes that were read out.
    read_bytes,
    /// Bytes whose checksum was verified.
    verified_bytes,
    /// Bytes that the scrubber read and found right.
    scrubbed_bytes,
    /// Pages that did not have their checksum, and were dropped.
    corrupt_pages,
    /// Versions that were dropped because their files had vanished.
    vanished_versions,
    /// Versions that were dropped because the id now means another content.
    replaced_versions,
    /// Versions that were found here under another id of the same content.
    adopted_versions,
    /// Versions that are here and that nobody asks for under their id any more.
    disowned_versions,
    /// Errors of the local disks.
    io_errors,
    /// Holds that were granted.
    holds_granted,
    /// Versions lent, whole or not.
    lends_granted,
    /// Holds that were refused because too much of the tier was held.
    holds_refused,
    /// Versions found again when the store opened.
    recovered_versions,
    /// Those of them that catalogues told of.
    catalogued_versions,
    /// Versions found and dropped when the store opened.
    dropped_versions,
    /// Pages of recovered versions that were dropped when the store opened.
    dropped_pages,
}

/// One counter. Relaxed: nothing is ordered by it.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
