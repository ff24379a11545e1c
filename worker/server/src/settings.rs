//! What a worker must be told to start.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use forebay_block_store::{Eviction, TierSettings};
use forebay_runtime::{Clock, Readiness, Shutdown, Stage, SystemClock};
use forebay_types::{ByteCount, HostId};
use prometheus::Registry;
use tokio::net::TcpListener;

use crate::error::WorkerError;
use crate::limits::{
    HOLD_PATIENCE_DEFAULT, MASTERS_MAX, SCRUB_RATE_DEFAULT, WORKING_MEMORY_DEFAULT, WORKING_MEMORY_MIN,
};

/// Settings of one worker.
#[derive(Debug)]
pub struct WorkerSettings {
    /// Its folder: id, lock, unix socket, and the RAM tier's mount.
    pub directory: PathBuf,
    /// Where it serves gRPC and the pages for machines; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A listener that is bound already, to be used instead of binding `listen`.
    pub listener: Option<TcpListener>,
    /// The port of the process that the worker is a part of, which serves
    /// [`RunningWorker::add_routes`](crate::RunningWorker::add_routes); then the worker listens at none of its own.
    pub shared_port: Option<SocketAddr>,
    /// `host:port` that others reach it at; none: where it listens.
    pub advertise: Option<String>,
    /// The masters, `host:port` each.
    pub masters: Vec<String>,
    /// The host it runs on.
    pub host: HostId,
    /// Tenants that it serves; empty for all.
    pub group: String,
    /// Size of the RAM tier, which the worker sets up itself; 0 for none.
    pub memory: ByteCount,
    /// The directories of the other tiers.
    pub tiers: Vec<TierSettings>,
    /// Length of the largest version that a tier keeps in one file, if that is not more than half of the tier; none: as
    /// the tier says, and the RAM tier by default.
    pub whole_file_max: Option<ByteCount>,
    /// Who leaves when a tier is full.
    pub eviction: Eviction,
    /// Whether what leaves memory goes to a disk that has room, and what is read again on a disk comes to memory.
    pub tier_moves: bool,
    /// Bytes that are read in a second to verify what nobody reads; 0: none are.
    pub scrub_rate: ByteCount,
    /// What it may take in memory beside the RAM tier.
    pub working_memory: ByteCount,
    /// How long an open of a file waits for all of it to be verified, before it gets the file to verify what it reads; 0:
    /// for nothing that would wait.
    pub hold_patience: Duration,
    /// Deletes whatever the tiers hold.
    pub format_cache: bool,
    /// The process's environment, for references and credentials of mounts.
    pub environment: BTreeMap<String, String>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where its metrics go.
    pub registry: Registry,
    /// Where it says whether it serves. Shown on its own port together with whatever else is in it.
    pub readiness: Readiness,
    /// Asked to stop the process when the worker cannot go on.
    pub shutdown: Shutdown,
    /// The stages that its tasks belong to.
    pub stages: WorkerStages,
}

/// The order in which a worker stops. Whatever leans on the worker makes its stages before, what the worker leans on
/// makes them after.
#[derive(Clone, Debug)]
pub struct WorkerStages {
    /// Listeners and the calls under way.
    pub(crate) serving: Stage,
    /// Fetches from under-stores.
    pub(crate) fetching: Stage,
    /// Heartbeats and disk work.
    pub(crate) storing: Stage,
}

impl WorkerStages {
    /// Adds the stages to a process.
    #[must_use]
    pub fn new(shutdown: &Shutdown) -> Self {
        Self {
            serving: shutdown.stage("worker serving"),
            fetching: shutdown.stage("worker fetching"),
            storing: shutdown.stage("worker storing"),
        }
    }
}

impl WorkerSettings {
    /// Settings with nothing but what each worker must have; it listens at a free port of the loopback, and has no
    /// tier yet.
    #[must_use]
    pub fn new(
        directory: impl Into<PathBuf>,
        masters: Vec<String>,
        host: HostId,
        shutdown: &Shutdown,
    ) -> Self {
        Self {
            directory: directory.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            listener: None,
            shared_port: None,
            advertise: None,
            masters,
            host,
            group: String::new(),
            memory: ByteCount::ZERO,
            tiers: Vec::new(),
            whole_file_max: None,
            eviction: Eviction::default(),
            tier_moves: true,
            scrub_rate: SCRUB_RATE_DEFAULT,
            working_memory: WORKING_MEMORY_DEFAULT,
            hold_patience: HOLD_PATIENCE_DEFAULT,
            format_cache: false,
            environment: BTreeMap::new(),
            clock: Arc::new(SystemClock),
            registry: Registry::new(),
            readiness: Readiness::default(),
            shutdown: shutdown.clone(),
            stages: WorkerStages::new(shutdown),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), WorkerError> {
        let wrong = |text: String| Err(WorkerError::Settings(text));
        if self.masters.is_empty() {
            return wrong("the worker has no master; give at least one as host:port".to_owned());
        }
        if self.masters.len() > MASTERS_MAX {
            return wrong(format!(
                "{} masters are given, a cluster has at most {MASTERS_MAX}",
                self.masters.len()
            ));
        }
        if let Some(odd) = self.masters.iter().find(|master| !is_address(master)) {
            return wrong(format!("`{odd}` is no address of a master; write host:port"));
        }
        if let Some(odd) = self.advertise.as_ref().filter(|address| !is_address(address)) {
            return wrong(format!("`{odd}` is no address to advertise; write host:port"));
        }
        if self.memory == ByteCount::ZERO && self.tiers.is_empty() {
            return wrong("the worker has no tier; give it memory or a directory".to_owned());
        }
        if self.working_memory < WORKING_MEMORY_MIN {
            let given = self.working_memory;
            return wrong(format!(
                "a working memory of {given} is too little; give it {WORKING_MEMORY_MIN} or more"
            ));
        }
        Ok(())
    }
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}
