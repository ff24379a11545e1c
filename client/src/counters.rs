//! What this process read without a worker seeing it, counted and told to the master while it changes.
//!
//! Workers count the bytes that they serve. Passthrough and short-circuit reads are seen only here; passthrough reads
//! are not seen at all, so the sizes of files opened that way are counted apart and never as hits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use forebay_proto::v1;
use forebay_types::{ByteCount, MountId};
use parking_lot::Mutex;

/// Counts since the client began.
#[derive(Debug, Default)]
pub struct Counters {
    passthrough_opens: AtomicU64,
    passthrough_open_bytes: AtomicU64,
    short_circuit_bytes: AtomicU64,
    damaged_chunks: AtomicU64,
    failed_reads: AtomicU64,
    /// As many as there are mounts in the versions read: bounded by the cluster's limit of mounts.
    mounts: Mutex<BTreeMap<MountId, Arc<MountCounters>>>,
}

/// Bytes of one mount that were read on this machine without a worker.
#[derive(Debug, Default)]
pub struct MountCounters {
    hit_bytes: AtomicU64,
    miss_bytes: AtomicU64,
}

/// The counts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountersSnapshot {
    /// Opens that were answered by passthrough.
    pub passthrough_opens: u64,
    /// Lengths of the files opened so: an upper bound of nothing but themselves.
    pub passthrough_open_bytes: ByteCount,
    /// Bytes read from a worker's local file.
    pub short_circuit_bytes: ByteCount,
    /// Chunks that came without their checksum, out of place or cut short, and were asked for again.
    pub damaged_chunks: u64,
    /// Reads from a worker that failed and went on elsewhere.
    pub failed_reads: u64,
    /// Hit and missed bytes of each mount, of the reads counted here.
    pub mounts: BTreeMap<MountId, (ByteCount, ByteCount)>,
}

impl Counters {
    /// A file of `length` was opened by passthrough.
    pub fn add_passthrough_open(&self, length: ByteCount) {
        self.passthrough_opens.fetch_add(1, Ordering::Relaxed);
        self.passthrough_open_bytes.fetch_add(length.get(), Ordering::Relaxed);
    }

    /// `length` bytes of a mount were read from a worker's local file. They are a hit if they were in the cache when
    /// the handle was opened.
    pub fn add_short_circuit(&self, mount: &MountCounters, length: ByteCount, hit: bool) {
        self.short_circuit_bytes.fetch_add(length.get(), Ordering::Relaxed);
        let bytes = if hit { &mount.hit_bytes } else { &mount.miss_bytes };
        bytes.fetch_add(length.get(), Ordering::Relaxed);
    }

    /// The counters of a mount, to be kept by whoever reads much of it.
    #[must_use]
    pub fn mount(&self, mount: MountId) -> Arc<MountCounters> {
        Arc::clone(self.mounts.lock().entry(mount).or_default())
    }

    /// All counts now.
    #[must_use]
    pub fn snapshot(&self) -> CountersSnapshot {
        let bytes = |counter: &AtomicU64| ByteCount::new(counter.load(Ordering::Relaxed));
        let mounts = self.mounts.lock();
        CountersSnapshot {
            passthrough_opens: self.passthrough_opens.load(Ordering::Relaxed),
            passthrough_open_bytes: bytes(&self.passthrough_open_bytes),
            short_circuit_bytes: bytes(&self.short_circuit_bytes),
            damaged_chunks: self.damaged_chunks.load(Ordering::Relaxed),
            failed_reads: self.failed_reads.load(Ordering::Relaxed),
            mounts: mounts
                .iter()
                .map(|(mount, counted)| (*mount, (bytes(&counted.hit_bytes), bytes(&counted.miss_bytes))))
                .collect(),
        }
    }

    pub(crate) fn add_damaged_chunk(&self) {
        self.damaged_chunks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_failed_read(&self) {
        self.failed_reads.fetch_add(1, Ordering::Relaxed);
    }
}

impl CountersSnapshot {
    /// The report of client number `client` to the master.
    pub(crate) fn report(&self, client: u64, header: v1::RequestHeader) -> v1::ReportClientRequest {
        let sum = |of: fn(&(ByteCount, ByteCount)) -> ByteCount| {
            self.mounts.values().fold(0_u64, |sum, bytes| sum.saturating_add(of(bytes).get()))
        };
        let mounts = self.mounts.iter().map(|(mount, (hit, miss))| v1::MountCounters {
            mount: mount.get(),
            hit_bytes: hit.get(),
            miss_bytes: miss.get(),
            ..Default::default()
        });
        v1::ReportClientRequest {
            header: Some(header),
            client,
            reads: Some(v1::ReadCounters {
                passthrough_opens: self.passthrough_opens,
                passthrough_open_bytes: self.passthrough_open_bytes.get(),
                short_circuit_bytes: self.short_circuit_bytes.get(),
                hit_bytes: sum(|(hit, _)| *hit),
                miss_bytes: sum(|(_, miss)| *miss),
                ..Default::default()
            }),
            mounts: mounts.collect(),
        }
    }

    /// Whether the master is told something new by this snapshot after `reported`.
    pub(crate) fn is_news_after(&self, reported: &Self) -> bool {
        let told = |of: &Self| {
            (of.passthrough_opens, of.passthrough_open_bytes, of.short_circuit_bytes, of.mounts.clone())
        };
        told(self) != told(reported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_short_circuit_reads_as_hits_and_passthrough_opens_apart() {
        let counters = Counters::default();
        counters.add_passthrough_open(ByteCount::new(1000));
        let mount = counters.mount(MountId::new(3));
        counters.add_short_circuit(&mount, ByteCount::new(10), true);
        counters.add_short_circuit(&mount, ByteCount::new(4), false);
        let report = counters.snapshot().report(7, v1::RequestHeader::default());
        let reads = report.reads.expect("present");
        assert_eq!((reads.passthrough_opens, reads.passthrough_open_bytes), (1, 1000));
        assert_eq!((reads.short_circuit_bytes, reads.hit_bytes, reads.miss_bytes), (14, 10, 4));
        assert_eq!(report.mounts.len(), 1);
        assert_eq!((report.mounts[0].mount, report.mounts[0].hit_bytes), (3, 10));
    }

    #[test]
    fn what_the_master_is_not_told_is_no_news() {
        let counters = Counters::default();
        let before = counters.snapshot();
        counters.add_failed_read();
        assert!(!counters.snapshot().is_news_after(&before));
        counters.add_passthrough_open(ByteCount::new(1));
        assert!(counters.snapshot().is_news_after(&before));
    }
}
