//! Metrics of what others count: the store's counters and tiers, and the mounts' under-stores. Carried over each time
//! somebody looks.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use forebay_block_store::{Health, StatisticsSnapshot};
use forebay_types::MountId;
use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts};

use crate::core::WorkerCore;

/// How a counter of the store is read.
type StoreCounter = fn(&StatisticsSnapshot) -> u64;

/// What a mount counts, in the order of [`Carried::of_mounts`].
type MountCounts = [u64; 6];

/// What others count, carried over when somebody looks.
pub(crate) struct Carried {
    core: Arc<OnceLock<Arc<WorkerCore>>>,
    store: Vec<(IntCounter, StoreCounter)>,
    tier_capacity: IntGaugeVec,
    tier_used: IntGaugeVec,
    tier_held: IntGaugeVec,
    tier_free: IntGaugeVec,
    tier_versions: IntGaugeVec,
    tier_health: IntGaugeVec,
    mount_hit: IntCounterVec,
    mount_miss: IntCounterVec,
    mount_requests: IntCounterVec,
    mount_read: IntCounterVec,
    mount_errors: IntCounterVec,
    mount_retries: IntCounterVec,
    /// What each mount had counted at the last look. Held while somebody looks: two looks at once would carry one growth
    /// over twice.
    seen: Mutex<HashMap<MountId, MountCounts>>,
}

impl Carried {
    /// Metrics that are read from `core`, once there is one.
    pub(crate) fn new(core: Arc<OnceLock<Arc<WorkerCore>>>) -> Result<Self, prometheus::Error> {
        let counter = |name, help| IntCounter::new(name, help);
        let gauges = |name, help| IntGaugeVec::new(Opts::new(name, help), &["tier"]);
        let counters = |name, help| IntCounterVec::new(Opts::new(name, help), &["mount"]);
        let mut store: Vec<(IntCounter, StoreCounter)> = Vec::new();
        for (name, help, value) in STORE_COUNTERS {
            store.push((counter(name, help)?, value));
        }
        Ok(Self {
            core,
            store,
            tier_capacity: gauges("forebay_worker_tier_capacity_bytes", "Quota of a tier.")?,
            tier_used: gauges("forebay_worker_tier_used_bytes", "What the files of a tier take.")?,
            tier_held: gauges("forebay_worker_tier_held_bytes", "The part of a tier that is held.")?,
            tier_free: gauges(
                "forebay_worker_tier_free_bytes",
                "Free space of a tier's file system beyond what must stay free; 0: only evicting makes room.",
            )?,
            tier_versions: gauges(
                "forebay_worker_tier_versions",
                "Versions, or segments of long ones, on a tier.",
            )?,
            tier_health: gauges("forebay_worker_tier_health", "A tier's disk: 0 up, 1 unstable, 2 down.")?,
            mount_hit: counters(
                "forebay_worker_mount_hit_bytes_total",
                "Bytes served that were cached at open.",
            )?,
            mount_miss: counters("forebay_worker_mount_miss_bytes_total", "Bytes served that were not.")?,
            mount_requests: counters(
                "forebay_worker_under_store_requests_total",
                "Requests to the under-store.",
            )?,
            mount_read: counters(
                "forebay_worker_under_store_read_bytes_total",
                "Bytes read from the under-store.",
            )?,
            mount_errors: counters(
                "forebay_worker_under_store_errors_total",
                "Calls to the under-store that failed, other than because an object changed.",
            )?,
            mount_retries: counters(
                "forebay_worker_under_store_retries_total",
                "Requests to the under-store that were sent again.",
            )?,
            seen: Mutex::default(),
        })
    }

    fn collectors(&self) -> Vec<&dyn Collector> {
        let vecs: [&dyn Collector; 12] = [
            &self.tier_capacity,
            &self.tier_used,
            &self.tier_held,
            &self.tier_free,
            &self.tier_versions,
            &self.tier_health,
            &self.mount_hit,
            &self.mount_miss,
            &self.mount_requests,
            &self.mount_read,
            &self.mount_errors,
            &self.mount_retries,
        ];
        self.store.iter().map(|(counter, _)| counter as &dyn Collector).chain(vecs).collect()
    }

    fn of_mounts(&self) -> [&IntCounterVec; 6] {
        [
            &self.mount_hit,
            &self.mount_miss,
            &self.mount_requests,
            &self.mount_read,
            &self.mount_errors,
            &self.mount_retries,
        ]
    }

    fn carry_over(&self, core: &WorkerCore, seen: &mut HashMap<MountId, MountCounts>) {
        let raise = |counter: &IntCounter, to: u64| counter.inc_by(to.saturating_sub(counter.get()));
        let statistics = core.path.cache.store().statistics();
        self.store.iter().for_each(|(counter, value)| raise(counter, value(&statistics)));
        for tier in core.path.cache.store().usage() {
            let set = |gauge: &IntGaugeVec, value: u64| {
                gauge.with_label_values(&[&tier.name]).set(i64::try_from(value).unwrap_or(i64::MAX));
            };
            set(&self.tier_capacity, tier.capacity.get());
            set(&self.tier_used, tier.used.get());
            set(&self.tier_held, tier.held.get());
            if let Some(free) = tier.free {
                set(&self.tier_free, free.get());
            }
            set(&self.tier_versions, tier.versions);
            let health = match tier.health {
                Health::Up => 0,
                Health::Unstable => 1,
                Health::Down => 2,
            };
            set(&self.tier_health, health);
        }
        for mount in core.mounts.connected() {
            let (label, report, asked) = (mount.id.get().to_string(), mount.report(0), mount.asked());
            let now = [
                report.hit_bytes,
                report.miss_bytes,
                report.under_store_requests,
                report.under_store_read_bytes,
                asked.errors,
                asked.retries,
            ];
            let before = seen.insert(mount.id, now).unwrap_or_default();
            for (counters, growth) in self.of_mounts().into_iter().zip(growth(before, now)) {
                counters.with_label_values(&[label.as_str()]).inc_by(growth);
            }
        }
    }
}

/// By how much the counts grew. Fewer than before are those of another mount under the same number, which began at 0.
fn growth(before: MountCounts, now: MountCounts) -> MountCounts {
    let is_another = now.iter().zip(before).any(|(now, before)| *now < before);
    let before = if is_another { MountCounts::default() } else { before };
    std::array::from_fn(|place| now[place] - before[place])
}

/// The store's counters that people look at.
const STORE_COUNTERS: [(&str, &str, StoreCounter); 19] = [
    ("forebay_worker_evictions_total", "Versions, or segments of long ones, evicted to make room.", |all| {
        all.evictions
    }),
    (
        "forebay_worker_demotions_total",
        "Versions, or segments of long ones, moved from memory to a disk.",
        |all| all.demotions,
    ),
    ("forebay_worker_demoted_bytes_total", "Bytes moved from memory to disks.", |all| all.demoted_bytes),
    (
        "forebay_worker_promotions_total",
        "Versions, or segments of long ones, moved from a disk to memory.",
        |all| all.promotions,
    ),
    ("forebay_worker_promoted_bytes_total", "Bytes moved from disks to memory.", |all| all.promoted_bytes),
    ("forebay_worker_aborted_moves_total", "Moves between tiers that came to nothing.", |all| {
        all.aborted_moves
    }),
    ("forebay_worker_fill_bytes_total", "Bytes stored in the cache.", |all| all.filled_bytes),
    ("forebay_worker_fill_pages_total", "Pages stored in the cache.", |all| all.filled_pages),
    ("forebay_worker_no_space_total", "Fills that found no room.", |all| all.no_space),
    ("forebay_worker_declined_fills_total", "Fills that the eviction policy let nothing leave for.", |all| {
        all.declined_fills
    }),
    ("forebay_worker_verified_bytes_total", "Bytes whose checksum was verified on disk.", |all| {
        all.verified_bytes
    }),
    ("forebay_worker_scrubbed_bytes_total", "Bytes that nobody read, verified and found right.", |all| {
        all.scrubbed_bytes
    }),
    ("forebay_worker_corrupt_pages_total", "Pages that did not have their checksum.", |all| {
        all.corrupt_pages
    }),
    ("forebay_worker_disk_errors_total", "Errors of the local disks.", |all| all.io_errors),
    (
        "forebay_worker_recovered_versions_total",
        "Versions, or segments of long ones, found when the cache opened.",
        |all| all.recovered_versions,
    ),
    (
        "forebay_worker_catalogued_versions_total",
        "Those of them that catalogues told of, so that their files were not looked into.",
        |all| all.catalogued_versions,
    ),
    (
        "forebay_worker_dropped_versions_total",
        "Versions, or segments of long ones, dropped when the cache opened.",
        |all| all.dropped_versions,
    ),
    (
        "forebay_worker_adopted_versions_total",
        "Versions found in the cache under an earlier id of the same content.",
        |all| all.adopted_versions,
    ),
    (
        "forebay_worker_disowned_versions_total",
        "Versions in the cache whose id the master has forgotten; their content can be found again.",
        |all| all.disowned_versions,
    ),
];

impl Collector for Carried {
    fn desc(&self) -> Vec<&Desc> {
        self.collectors().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut seen = self.seen.lock();
        if let Some(core) = self.core.get() {
            self.carry_over(core, &mut seen);
        }
        drop(seen);
        self.collectors().into_iter().flat_map(Collector::collect).collect()
    }
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carried").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_number_that_means_another_mount_now_is_counted_on() {
        assert_eq!(growth([1, 2, 3, 4, 5, 6], [1, 3, 3, 9, 5, 6]), [0, 1, 0, 5, 0, 0]);
        assert_eq!(growth([1, 2, 3, 4, 5, 6], [0, 7, 1, 9, 0, 0]), [0, 7, 1, 9, 0, 0]);
    }

    #[test]
    fn every_metric_stands_in_the_document_and_the_document_names_no_other() {
        let metrics = Metrics::new(&Registry::new()).expect("legal names");
        let carried = Carried::new(Arc::default()).expect("legal names");
        let own = metrics.collectors();
        let all = own.iter().flat_map(|metric| metric.desc()).chain(carried.desc());
        let mut names: Vec<String> = all.map(|desc| format!("`{}`", desc.fq_name)).collect();
        let document = include_str!("../../../docs/metrics.md");
        for name in &names {
            assert!(document.contains(name.as_str()), "{name} is not documented");
        }
        let rows = document.lines().filter(|line| line.starts_with("| `forebay_worker_"));
        let mut documented: Vec<_> =
            rows.filter_map(|line| line.split(' ').nth(1)).map(str::to_owned).collect();
        names.sort();
        documented.sort();
        assert_eq!(names, documented);
    }
}
