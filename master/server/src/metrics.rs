//! What the master counts, as Prometheus shows it.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// The master's metrics, in the registry of the process.
#[derive(Debug)]
pub(crate) struct Metrics {
    proposals: IntCounterVec,
    listed_entries: IntCounter,
    skipped_entries: IntCounter,
    pub(crate) workers_live: IntGauge,
    pub(crate) workers_lost: IntGauge,
}

impl Metrics {
    /// Adds the metrics to `registry`.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let proposals = IntCounterVec::new(
            Opts::new(
                "forebay_master_proposals_total",
                "Changes proposed to the log, by command and outcome",
            ),
            &["command", "outcome"],
        )?;
        let counter = |name, help| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name, help| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        registry.register(Box::new(proposals.clone()))?;
        Ok(Self {
            proposals,
            listed_entries: counter(
                "forebay_master_listed_entries_total",
                "Entries that under-stores listed",
            )?,
            skipped_entries: counter(
                "forebay_master_skipped_entries_total",
                "Entries of under-stores that no path can name",
            )?,
            workers_live: gauge("forebay_master_workers_live_count", "Workers that send heartbeats")?,
            workers_lost: gauge(
                "forebay_master_workers_lost_count",
                "Workers that were not heard of for a while",
            )?,
        })
    }

    pub(crate) fn count_proposal(&self, command: &str, committed: bool) {
        let outcome = if committed { "committed" } else { "failed" };
        self.proposals.with_label_values(&[command, outcome]).inc();
    }

    pub(crate) fn count_listed(&self, entries: usize, skipped: u64) {
        self.listed_entries.inc_by(entries as u64);
        self.skipped_entries.inc_by(skipped);
    }
}
