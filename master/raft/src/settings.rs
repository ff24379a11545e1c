//! What a node needs to know to start.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

use crate::clock::{Clock, SystemClock};
use crate::error::RaftError;
use crate::limits;
use crate::peers::ClusterMark;

/// The node id of the master that forms a cluster. Later nodes get theirs from the log.
pub const FIRST_NODE: u64 = 1;

/// How to start a node.
#[derive(Clone, Debug)]
pub struct RaftSettings {
    /// Where log, state and snapshots lie. One master's alone.
    pub dir: PathBuf,
    /// The id that this node votes under. Never that of another node, also not of one whose directory was lost. `None`:
    /// the one that the directory keeps, or that of a first node where it keeps none.
    pub node: Option<u64>,
    /// The cluster that this node belongs to, where it is known before the state tells it.
    pub mark: Option<ClusterMark>,
    /// Host and port at which the others and the clients find this master.
    pub address: String,
    /// This master's place in the configuration. Only a name.
    pub slot: u32,
    /// After how long without a leader a follower stands for election, at the latest. From eight tenths of it on it may;
    /// half of it is the lease of the leader, in which nobody votes against it, and ten times as often it says that it
    /// lives. All masters of a cluster should have the same.
    pub election_timeout: Duration,
    /// How it makes sure, while it leads, that what it reads is the newest.
    pub reads: Reads,
    /// Where the leader's time comes from.
    pub clock: Arc<dyn Clock>,
    /// What is worth measuring, with defaults that were.
    pub tuning: Tuning,
}

/// How a leader makes sure, before it answers a question, that no other one leads by now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reads {
    /// A majority confirms it after the question came; questions that wait at the same time share that.
    #[default]
    ReadIndex,
    /// What a majority confirmed within its lease is enough. Right as long as the clocks of the masters' machines run
    /// equally fast to a fifth, and none stands still unnoticed (docs/adr/0035-reads-by-lease.md).
    Lease,
}

/// A word that names no way to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no way to read (master.reads, {0}): unknown; say read-index or lease")]
pub struct UnknownReads(String);

impl std::str::FromStr for Reads {
    type Err = UnknownReads;

    fn from_str(text: &str) -> Result<Self, UnknownReads> {
        match text {
            "read-index" => Ok(Self::ReadIndex),
            "lease" => Ok(Self::Lease),
            other => Err(UnknownReads(other.to_owned())),
        }
    }
}

/// Numbers that trade latency, throughput and room for each other. All at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Most proposals of one entry; 1 gives each proposal an entry of its own.
    pub entry_proposals_max: usize,
    /// Most entries that the proposer has under way.
    pub entries_in_flight_max: usize,
    /// Entries after which a new snapshot is made.
    pub snapshot_every_entries: u64,
    /// Bytes of the log after which a new snapshot is made, however few entries they are.
    pub snapshot_every_length: u64,
    /// Entries that are kept behind a snapshot.
    pub kept_entries: u64,
    /// Fewest entries that are purged at once.
    pub purged_entries_min: u64,
    /// Most batches of effects that wait to be looked at.
    pub queued_effects_max: usize,
}

impl RaftSettings {
    /// The settings of a first master in slot 0, with the machine's clock.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, address: impl Into<String>) -> Self {
        Self {
            dir: dir.into(),
            node: None,
            mark: None,
            address: address.into(),
            slot: 0,
            election_timeout: limits::ELECTION_TIMEOUT,
            reads: Reads::default(),
            clock: Arc::new(SystemClock),
            tuning: Tuning::default(),
        }
    }

    /// For how long a master that heard from a leader votes for no other one.
    pub(crate) fn lease(&self) -> Duration {
        self.election_timeout / 2
    }

    pub(crate) fn openraft_config(&self) -> Result<Config, RaftError> {
        let tuning = &self.tuning;
        if tuning.entry_proposals_max == 0
            || tuning.entries_in_flight_max == 0
            || tuning.queued_effects_max == 0
        {
            return Err(RaftError::Settings("a limit of 0 would let nothing through".to_owned()));
        }
        let (least, most) = (limits::ELECTION_TIMEOUT_MIN, limits::ELECTION_TIMEOUT_MAX);
        if !(least..=most).contains(&self.election_timeout) {
            return Err(RaftError::Settings(format!(
                "an election timeout of {:?} is not between {least:?} and {most:?}",
                self.election_timeout
            )));
        }
        let config = Config {
            cluster_name: "forebay".to_owned(),
            // A follower waits for one of these on top of the lease, which is as long as the longest of them.
            heartbeat_interval: millis(self.election_timeout / 10),
            election_timeout_min: millis(self.election_timeout * 3 / 10),
            election_timeout_max: millis(self.lease()),
            install_snapshot_timeout: millis(limits::SNAPSHOT_INSTALL_TIMEOUT),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(tuning.snapshot_every_entries),
            max_in_snapshot_log_to_keep: tuning.kept_entries,
            purge_batch_size: tuning.purged_entries_min,
            // Beyond what a snapshot and the kept entries can bridge, only a snapshot helps.
            replication_lag_threshold: tuning.snapshot_every_entries.saturating_add(tuning.kept_entries),
            enable_pre_vote: Some(true),
            // The state is not synced with each entry, so after a power cut it may be older than what was read from it.
            // A leader that begins a new term first has all of its log applied.
            enable_leader_restore: Some(false),
            ..Config::default()
        };
        config.validate().map_err(|error| RaftError::Settings(error.to_string()))
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            entry_proposals_max: limits::ENTRY_PROPOSALS_MAX,
            entries_in_flight_max: limits::ENTRIES_IN_FLIGHT_MAX,
            snapshot_every_entries: limits::SNAPSHOT_EVERY_ENTRIES,
            snapshot_every_length: limits::SNAPSHOT_EVERY_LENGTH,
            kept_entries: limits::KEPT_ENTRIES,
            purged_entries_min: limits::PURGED_ENTRIES_MIN,
            queued_effects_max: limits::QUEUED_EFFECTS_MAX,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
