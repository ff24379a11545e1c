//! The worker's metrics, listed for people in docs/metrics.md. Counters of the store and of under-stores are kept by
//! those; they are carried over each time somebody looks.

use std::fmt;
use std::sync::{Arc, OnceLock};

use forebay_block_store::StatisticsSnapshot;
use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::core::WorkerCore;

/// Where served bytes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadSource {
    /// The cache.
    Cache,
    /// A fetch that this reader or another one waited for.
    Fetch,
    /// The under-store, past the cache.
    Uncached,
}

/// How a fetch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FetchOutcome {
    /// All its pages came.
    Stored,
    /// Its bytes came, past the cache.
    Uncached,
    /// There was no room.
    NoRoom,
    /// The under-store has another version.
    Changed,
    /// The under-store failed.
    Failed,
}

/// How a request for a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoldOutcome {
    /// A descriptor was passed.
    Held,
    /// The version is not wholly here.
    Incomplete,
    /// Too much is held.
    OverBudget,
    /// It was refused or failed.
    Refused,
}

/// What the worker counts itself.
#[derive(Debug)]
pub(crate) struct Metrics {
    read_bytes: IntCounterVec,
    reads: IntCounter,
    read_errors: IntCounterVec,
    fetches: IntCounterVec,
    load_bytes: IntCounterVec,
    load_errors: IntCounterVec,
    holds: IntCounterVec,
    /// Processes of this host that are connected.
    pub(crate) local_connections: IntGauge,
    heartbeats: IntCounterVec,
}

/// How a counter of the store is read.
type StoreCounter = fn(&StatisticsSnapshot) -> u64;

/// What others count, carried over when somebody looks.
pub(crate) struct Carried {
    core: Arc<OnceLock<Arc<WorkerCore>>>,
    store: Vec<(IntCounter, StoreCounter)>,
    tier_capacity: IntGaugeVec,
    tier_used: IntGaugeVec,
    tier_held: IntGaugeVec,
    tier_versions: IntGaugeVec,
    mount_hit: IntCounterVec,
    mount_miss: IntCounterVec,
    mount_requests: IntCounterVec,
    mount_read: IntCounterVec,
    /// Two looks at once would carry one growth over twice.
    looking: Mutex<()>,
}

impl Metrics {
    /// Counters that begin at 0, registered.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name, help, label| IntCounterVec::new(Opts::new(name, help), &[label]);
        let metrics = Self {
            read_bytes: counters("forebay_worker_read_bytes_total", "Bytes served by RPC.", "source")?,
            reads: IntCounter::new("forebay_worker_reads_total", "Reads begun by RPC.")?,
            read_errors: counters("forebay_worker_read_errors_total", "Reads by RPC that failed.", "kind")?,
            fetches: counters(
                "forebay_worker_fetches_total",
                "Requests to under-stores that ended.",
                "outcome",
            )?,
            load_bytes: counters(
                "forebay_worker_load_bytes_total",
                "Bytes that loads found or brought.",
                "source",
            )?,
            load_errors: counters("forebay_worker_load_errors_total", "Loads that failed.", "kind")?,
            holds: counters(
                "forebay_worker_hold_requests_total",
                "Answered requests for a hold.",
                "outcome",
            )?,
            local_connections: IntGauge::new(
                "forebay_worker_local_connections",
                "Processes of this host that are connected.",
            )?,
            heartbeats: counters("forebay_worker_heartbeats_total", "Heartbeats sent.", "outcome")?,
        };
        metrics.collectors().into_iter().try_for_each(|metric| registry.register(metric))?;
        Ok(metrics)
    }

    fn collectors(&self) -> [Box<dyn Collector>; 9] {
        [
            Box::new(self.read_bytes.clone()),
            Box::new(self.reads.clone()),
            Box::new(self.read_errors.clone()),
            Box::new(self.fetches.clone()),
            Box::new(self.load_bytes.clone()),
            Box::new(self.load_errors.clone()),
            Box::new(self.holds.clone()),
            Box::new(self.local_connections.clone()),
            Box::new(self.heartbeats.clone()),
        ]
    }

    pub(crate) fn read_begun(&self) {
        self.reads.inc();
    }

    pub(crate) fn read(&self, source: ReadSource, bytes: u64) {
        let label = match source {
            ReadSource::Cache => "cache",
            ReadSource::Fetch => "fetch",
            ReadSource::Uncached => "uncached",
        };
        self.read_bytes.with_label_values(&[label]).inc_by(bytes);
    }

    pub(crate) fn read_failed(&self, kind: forebay_types::ErrorKind) {
        self.read_errors.with_label_values(&[kind.name()]).inc();
    }

    /// A load ended with all it was asked for in the cache.
    pub(crate) fn loaded(&self, found: u64, fetched: u64) {
        self.load_bytes.with_label_values(&["cache"]).inc_by(found);
        self.load_bytes.with_label_values(&["under_store"]).inc_by(fetched);
    }

    pub(crate) fn load_failed(&self, kind: forebay_types::ErrorKind) {
        self.load_errors.with_label_values(&[kind.name()]).inc();
    }

    pub(crate) fn fetch_ended(&self, outcome: FetchOutcome) {
        let label = match outcome {
            FetchOutcome::Stored => "stored",
            FetchOutcome::Uncached => "uncached",
            FetchOutcome::NoRoom => "no_room",
            FetchOutcome::Changed => "changed",
            FetchOutcome::Failed => "failed",
        };
        self.fetches.with_label_values(&[label]).inc();
    }

    pub(crate) fn hold_answered(&self, outcome: HoldOutcome) {
        let label = match outcome {
            HoldOutcome::Held => "held",
            HoldOutcome::Incomplete => "incomplete",
            HoldOutcome::OverBudget => "over_budget",
            HoldOutcome::Refused => "refused",
        };
        self.holds.with_label_values(&[label]).inc();
    }

    pub(crate) fn heartbeat(&self, succeeded: bool) {
        self.heartbeats.with_label_values(&[if succeeded { "ok" } else { "failed" }]).inc();
    }
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
            tier_versions: gauges("forebay_worker_tier_versions", "Versions on a tier.")?,
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
            looking: Mutex::new(()),
        })
    }

    fn collectors(&self) -> Vec<&dyn Collector> {
        let vecs: [&dyn Collector; 8] = [
            &self.tier_capacity,
            &self.tier_used,
            &self.tier_held,
            &self.tier_versions,
            &self.mount_hit,
            &self.mount_miss,
            &self.mount_requests,
            &self.mount_read,
        ];
        self.store.iter().map(|(counter, _)| counter as &dyn Collector).chain(vecs).collect()
    }

    fn carry_over(&self, core: &WorkerCore) {
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
            set(&self.tier_versions, tier.versions);
        }
        for mount in core.mounts.connected() {
            let (label, report) = (mount.id.get().to_string(), mount.report(0));
            let set = |counter: &IntCounterVec, to| raise(&counter.with_label_values(&[label.as_str()]), to);
            set(&self.mount_hit, report.hit_bytes);
            set(&self.mount_miss, report.miss_bytes);
            set(&self.mount_requests, report.under_store_requests);
            set(&self.mount_read, report.under_store_read_bytes);
        }
    }
}

/// The store's counters that people look at.
const STORE_COUNTERS: [(&str, &str, StoreCounter); 9] = [
    ("forebay_worker_evictions_total", "Versions evicted to make room.", |all| all.evictions),
    ("forebay_worker_fill_bytes_total", "Bytes stored in the cache.", |all| all.filled_bytes),
    ("forebay_worker_fill_pages_total", "Pages stored in the cache.", |all| all.filled_pages),
    ("forebay_worker_no_space_total", "Fills that found no room.", |all| all.no_space),
    ("forebay_worker_verified_bytes_total", "Bytes whose checksum was verified on disk.", |all| {
        all.verified_bytes
    }),
    ("forebay_worker_corrupt_pages_total", "Pages that did not have their checksum.", |all| {
        all.corrupt_pages
    }),
    ("forebay_worker_disk_errors_total", "Errors of the local disks.", |all| all.io_errors),
    ("forebay_worker_recovered_versions_total", "Versions found when the cache opened.", |all| {
        all.recovered_versions
    }),
    ("forebay_worker_dropped_versions_total", "Versions dropped when the cache opened.", |all| {
        all.dropped_versions
    }),
];

impl Collector for Carried {
    fn desc(&self) -> Vec<&Desc> {
        self.collectors().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _looking = self.looking.lock();
        if let Some(core) = self.core.get() {
            self.carry_over(core);
        }
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
    use super::*;

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
