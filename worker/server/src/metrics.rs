//! What the worker counts itself, as metrics. Counters that others keep are shown by `carried.rs`; all are listed for
//! people in docs/metrics.md.

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Where served bytes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadSource {
    /// The cache.
    Cache,
    /// A fetch that this reader or another one waited for.
    Fetch,
    /// The under-store, past the cache, which has no room.
    Uncached,
    /// The same, of what the mount does not want cached.
    NotAdmitted,
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
    /// Nothing was asked, since the mount is in maintenance.
    Refused,
}

/// How a request for a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoldOutcome {
    /// A descriptor was passed.
    Held,
    /// The files of a version were passed as they are.
    Lent,
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

    /// Each of them.
    pub(crate) fn collectors(&self) -> [Box<dyn Collector>; 9] {
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
            ReadSource::NotAdmitted => "not_admitted",
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
            FetchOutcome::Refused => "refused",
        };
        self.fetches.with_label_values(&[label]).inc();
    }

    pub(crate) fn hold_answered(&self, outcome: HoldOutcome) {
        let label = match outcome {
            HoldOutcome::Held => "held",
            HoldOutcome::Lent => "lent",
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
