//! What the master counts, as Prometheus shows it.

use forebay_types::JobState;
use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::request_cap::Urgency;
use crate::under_stores::TooLate;

/// The master's metrics, in the registry of the process.
#[derive(Debug)]
pub(crate) struct Metrics {
    proposals: IntCounterVec,
    listed_entries: IntCounter,
    skipped_entries: IntCounter,
    single_names: IntCounter,
    forgotten_entries: IntCounter,
    pub(crate) outbox: OutboxMetrics,
    pub(crate) workers_live: IntGauge,
    pub(crate) workers_lost: IntGauge,
    pub(crate) safe_mode: IntGauge,
    pub(crate) mounts_unreachable: IntGauge,
    pub(crate) mounts_maintenance: IntGauge,
    pub(crate) jobs_running: IntGauge,
    jobs: IntCounterVec,
    loaded_bytes: IntCounter,
    loaded_under_store_bytes: IntCounter,
    turns: IntCounterVec,
}

/// What is to be done outside of the master.
#[derive(Debug)]
pub(crate) struct OutboxMetrics {
    pub(crate) rows: IntGauge,
    pub(crate) rows_done: IntCounter,
}

/// Adds a metric to `registry`.
fn registered<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: Result<M, prometheus::Error>,
) -> Result<M, prometheus::Error> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

impl OutboxMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let rows = IntGauge::new(
            "forebay_master_outbox_rows_count",
            "Rows of the outbox: what is still to be done outside of the master, or to be seen to be done",
        );
        let rows_done =
            IntCounter::new("forebay_master_outbox_rows_done_total", "Rows of the outbox that were done");
        Ok(Self { rows: registered(registry, rows)?, rows_done: registered(registry, rows_done)? })
    }
}

impl Metrics {
    /// Adds the metrics to `registry`.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name, help, labels: &[&str]| {
            registered(registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let counter = |name, help| registered(registry, IntCounter::new(name, help));
        let gauge = |name, help| registered(registry, IntGauge::new(name, help));
        Ok(Self {
            proposals: counters(
                "forebay_master_proposals_total",
                "Changes proposed to the log, by command and outcome",
                &["command", "outcome"],
            )?,
            jobs: counters(
                "forebay_master_jobs_ended_total",
                "Jobs that ended by themselves, by state",
                &["state"],
            )?,
            turns: counters(
                "forebay_master_under_store_waits_total",
                "Requests to under-stores that the cap of requests a second made wait or refused",
                &["urgency", "outcome"],
            )?,
            jobs_running: gauge("forebay_master_jobs_running_count", "Jobs that are not over")?,
            loaded_bytes: counter(
                "forebay_master_loaded_bytes_total",
                "Bytes that workers verified to be cached for jobs",
            )?,
            loaded_under_store_bytes: counter(
                "forebay_master_loaded_under_store_bytes_total",
                "Bytes of these that workers fetched for jobs",
            )?,
            listed_entries: counter(
                "forebay_master_listed_entries_total",
                "Entries that under-stores listed",
            )?,
            skipped_entries: counter(
                "forebay_master_skipped_entries_total",
                "Entries of under-stores that no path can name",
            )?,
            single_names: counter(
                "forebay_master_single_names_total",
                "Names that under-stores were asked for alone, since a listing would cost more than the freshness",
            )?,
            mounts_unreachable: gauge(
                "forebay_master_mounts_unreachable_count",
                "Mounts whose under-store failed when it was last asked",
            )?,
            mounts_maintenance: gauge(
                "forebay_master_mounts_maintenance_count",
                "Mounts whose under-store may not be asked",
            )?,
            forgotten_entries: counter(
                "forebay_master_forgotten_entries_total",
                "Files and links that were forgotten since their mounts knew more than their budget",
            )?,
            outbox: OutboxMetrics::new(registry)?,
            workers_live: gauge("forebay_master_workers_live_count", "Workers that send heartbeats")?,
            workers_lost: gauge(
                "forebay_master_workers_lost_count",
                "Workers that were not heard of for a while",
            )?,
            safe_mode: gauge("forebay_master_safe_mode", "1 while this master leads and lacks workers")?,
        })
    }

    pub(crate) fn count_proposal(&self, command: &str, committed: bool) {
        let outcome = if committed { "committed" } else { "failed" };
        self.proposals.with_label_values(&[command, outcome]).inc();
    }

    /// How many proposals of a command came about.
    #[cfg(test)]
    pub(crate) fn committed(&self, command: &str) -> u64 {
        self.proposals.with_label_values(&[command, "committed"]).get()
    }

    pub(crate) fn count_job(&self, state: JobState) {
        self.jobs.with_label_values(&[state.name()]).inc();
    }

    /// Counts a request that did not pass at once.
    pub(crate) fn count_turn(&self, urgency: Urgency, came: Result<bool, TooLate>) {
        let urgency = match urgency {
            Urgency::Foreground => "foreground",
            Urgency::Background => "background",
        };
        match came {
            Ok(false) => {}
            Ok(true) => self.turns.with_label_values(&[urgency, "waited"]).inc(),
            Err(_) => self.turns.with_label_values(&[urgency, "refused"]).inc(),
        }
    }

    /// How many requests did not pass at once.
    #[cfg(test)]
    pub(crate) fn turns(&self, urgency: &str, outcome: &str) -> u64 {
        self.turns.with_label_values(&[urgency, outcome]).get()
    }

    pub(crate) fn count_loaded(&self, bytes: u64, under_store_bytes: u64) {
        self.loaded_bytes.inc_by(bytes);
        self.loaded_under_store_bytes.inc_by(under_store_bytes);
    }

    pub(crate) fn count_forgotten(&self, entries: u32) {
        self.forgotten_entries.inc_by(entries.into());
    }

    pub(crate) fn count_single_name(&self) {
        self.single_names.inc();
    }

    pub(crate) fn count_listed(&self, entries: usize, skipped: u64) {
        self.listed_entries.inc_by(entries as u64);
        self.skipped_entries.inc_by(skipped);
    }
}
