//! Starts a master: opens its folder, forms the cluster where there is none, and gives the routes to serve.

mod beginning;
mod slot;

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use forebay_metadata::query;
use forebay_metadata::snapshot::next_incarnation;
use forebay_proto::v1;
use forebay_raft::{Effects, RaftError, RaftNode, RaftSettings, Wake};
use forebay_runtime::{Clock, Shutdown};
use forebay_types::ClusterId;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::Instant;
use tonic::service::Routes;

use crate::budget;
use crate::capabilities::Capabilities;
use crate::error::MasterError;
use crate::feed::Feed;
use crate::freshness::Checks;
use crate::jobs;
use crate::known_levels::OwnLevel;
use crate::limits;
use crate::listing;
use crate::listings::Listings;
use crate::live_jobs::Jobs;
use crate::metrics::Metrics;
use crate::mount_states;
use crate::outbox;
use crate::registry::Registry;
use crate::renewal;
use crate::sealing::{SealingError, SealingKey};
use crate::service::{AdminService, ClusterService, JobsService, MountsService, NamespaceService};
use crate::shared::Shared;
use crate::single_names::SingleNames;
use crate::under_stores::UnderStores;

pub use beginning::{BeginError, RestoreSettings, Restored, format, restore};

/// What a master needs to start.
#[derive(Debug)]
pub struct MasterSettings {
    /// Where log, state and the cluster's key lie. One master's alone.
    pub dir: PathBuf,
    /// Other folders in which this process keeps its own files; like `dir` never mounted.
    pub private_folders: Vec<PathBuf>,
    /// This master's place in the configuration; only a name, and the same at each start in `dir`.
    pub slot: u32,
    /// Host and port at which others find it.
    pub address: String,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// What `env:NAME` in a mount's options refers to.
    pub environment: BTreeMap<String, String>,
    /// How many requests a second each under-store is asked by this master at most; 0 for as many as come.
    pub requests_per_second_max: u32,
    /// Files and links that are known of each mount at most, 0 for as many as there are.
    pub loaded_entries_max: u64,
    /// Where its metrics go.
    pub registry: prometheus::Registry,
}

/// A running master.
#[derive(Debug)]
pub struct Master {
    shared: Arc<Shared>,
}

/// Why a master did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Its folder cannot be used.
    #[error("the master's folder {path} cannot be used: {source}; give it a folder of its own with --dir")]
    Dir {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The folder is another master's.
    #[error(
        "{path} is the folder of the master in slot {kept}, not {slot}: start it with --id {kept}, or give it a folder of its own with --dir"
    )]
    Slot {
        /// The folder.
        path: PathBuf,
        /// The slot that is kept there.
        kept: u32,
        /// The slot that was asked for.
        slot: u32,
    },
    /// The file in which the folder keeps its slot is not ours, or damaged.
    #[error(
        "{path} has no number of a slot: write the number that belongs to this folder into it, or remove it to take the one of --id"
    )]
    NoSlot {
        /// The file.
        path: PathBuf,
    },
    /// The log or the state.
    #[error(transparent)]
    Raft(#[from] RaftError),
    /// The cluster's key.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// The state cannot be read.
    #[error(transparent)]
    Master(#[from] MasterError),
    /// A metric of the same name is there already.
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// No random numbers.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
}

/// The cluster's key in the folder.
const KEY_FILE: &str = "cluster.key";
/// How long opening the folder, electing and forming may take together: a long log is replayed in this time.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// How long the log may take to close.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

impl Master {
    /// Starts a master whose tasks belong to stages of `shutdown`; the log closes last.
    ///
    /// # Errors
    /// [`StartError`], with the way out.
    pub async fn start(settings: MasterSettings, shutdown: &Shutdown) -> Result<Self, StartError> {
        let MasterSettings {
            dir,
            private_folders,
            slot,
            address,
            clock,
            environment,
            requests_per_second_max,
            loaded_entries_max,
            registry,
        } = settings;
        let failed = |source| StartError::Dir { path: dir.clone(), source };
        // State, log and key are the owner's alone: whoever reads them can read everything.
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        let own_folders = private_folders.into_iter().chain([dir.clone()]).collect();
        let kept = slot::check(&dir, slot)?;
        let sealing = SealingKey::open_or_create(&dir.join(KEY_FILE))?;
        let (raft, effects) = start_raft(&dir, slot, &address, &clock).await?;
        if kept.is_none() {
            slot::keep(&dir, slot).map_err(failed)?;
        }
        let view = raft.read(Instant::now() + START_DEADLINE).await?;
        let (applied, identity) = {
            let moment = view.moment();
            (moment.applied(), query::identity(&moment).map_err(MasterError::from)?)
        };
        let identity = identity.ok_or(MasterError::Rejected(forebay_metadata::Rejection::NotFormatted))?;
        drop(view);
        let background = shutdown.stage("master");
        let seed = u64::try_from(clock.now().nanos() / 1_000_000).unwrap_or(0);
        let shared = Arc::new(Shared {
            raft,
            slot,
            address,
            under_stores: UnderStores::new(sealing, environment, own_folders, requests_per_second_max),
            capabilities: Capabilities::new(identity.capability_secret),
            registry: Mutex::new(Registry::new(seed)),
            checks: Mutex::new(Checks::default()),
            listings: Listings::default(),
            single_names: SingleNames::default(),
            roots: SingleNames::default(),
            feed: Feed::new(identity.incarnation, applied),
            jobs: Jobs::default(),
            clock,
            loaded_entries_max,
            metrics: Metrics::new(&registry)?,
            background: background.clone(),
        });
        background.spawn(work_effects(Arc::clone(&shared), effects, background.token()));
        background.spawn(listing::reap(Arc::clone(&shared), background.token()));
        background.spawn(renewal::renew(Arc::clone(&shared), background.token()));
        background.spawn(budget::keep(Arc::clone(&shared), background.token()));
        background.spawn(outbox::work(Arc::clone(&shared), background.token()));
        background.spawn(jobs::work(Arc::clone(&shared), background.token()));
        background.spawn(follow_references(Arc::clone(&shared), background.token()));
        background.spawn(watch_workers(Arc::clone(&shared), background.token()));
        background.spawn(mount_states::watch(Arc::clone(&shared), background.token()));
        close_last(&shared, shutdown);
        tracing::info!(cluster = %identity.cluster, incarnation = %identity.incarnation, "master started");
        Ok(Self { shared })
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// The services to serve.
    #[must_use]
    pub fn add_routes(&self, routes: Routes) -> Routes {
        let limit = forebay_types::limits::RPC_LENGTH_MAX;
        let namespace = NamespaceService(Arc::clone(&self.shared));
        let mounts = MountsService(Arc::clone(&self.shared));
        let cluster = ClusterService(Arc::clone(&self.shared));
        let jobs = JobsService(Arc::clone(&self.shared));
        let levels = Arc::new(OwnLevel { node: self.shared.raft.status().node });
        let admin = AdminService::new(Arc::clone(&self.shared), levels);
        routes
            .add_service(v1::admin_server::AdminServer::new(admin).max_decoding_message_size(limit))
            .add_service(
                v1::namespace_server::NamespaceServer::new(namespace)
                    .max_decoding_message_size(limit)
                    .max_encoding_message_size(limit),
            )
            .add_service(
                v1::jobs_server::JobsServer::new(jobs)
                    .max_decoding_message_size(limit)
                    .max_encoding_message_size(limit),
            )
            .add_service(v1::mounts_server::MountsServer::new(mounts).max_decoding_message_size(limit))
            .add_service(v1::cluster_server::ClusterServer::new(cluster).max_decoding_message_size(limit))
    }
}

async fn start_raft(
    dir: &Path,
    slot: u32,
    address: &str,
    clock: &Arc<dyn Clock>,
) -> Result<(RaftNode, Effects), StartError> {
    let deadline = Instant::now() + START_DEADLINE;
    let mut settings = RaftSettings::new(dir, address);
    settings.slot = slot;
    settings.clock = Arc::new(LeaderClock(Arc::clone(clock)));
    let (raft, effects) = RaftNode::start(settings, deadline).await?;
    let is_formatted = raft.has_cluster(deadline).await? && {
        let view = raft.read(deadline).await?;
        query::identity(&view.moment()).map_err(MasterError::from)?.is_some()
    };
    if !is_formatted {
        let (mut cluster, mut secret) = ([0; 16], [0; 32]);
        getrandom::fill(&mut cluster).map_err(StartError::Random)?;
        getrandom::fill(&mut secret).map_err(StartError::Random)?;
        let incarnation = next_incarnation(clock.now(), None);
        raft.form(ClusterId::new(cluster), incarnation, secret, deadline).await?;
    }
    Ok((raft, effects))
}

/// The log's clock is the process's.
#[derive(Debug)]
struct LeaderClock(Arc<dyn Clock>);

impl forebay_raft::Clock for LeaderClock {
    fn now(&self) -> forebay_types::Timestamp {
        self.0.now()
    }
}

/// The log closes after all who use it have ended.
fn close_last(shared: &Arc<Shared>, shutdown: &Shutdown) {
    let log = shutdown.stage("log");
    let (shared, token) = (Arc::clone(shared), log.token());
    log.spawn(async move {
        token.cancelled().await;
        if let Err(error) = shared.raft.shutdown(Instant::now() + STOP_DEADLINE).await {
            tracing::warn!(%error, "the log did not close in time; it is recovered at the next start");
        }
    });
}

async fn work_effects(
    shared: Arc<Shared>,
    mut effects: Effects,
    cancelled: tokio_util::sync::CancellationToken,
) {
    loop {
        let wake = tokio::select! {
            () = cancelled.cancelled() => return,
            wake = effects.next() => wake,
        };
        match wake {
            None => return,
            Some(Wake::Effects(index, effects)) => shared.work_effects(index, &effects),
            Some(Wake::Rescan) => shared.look_for_work(),
        }
    }
}

/// Takes up what the options of mounts refer to now.
async fn follow_references(shared: Arc<Shared>, cancelled: tokio_util::sync::CancellationToken) {
    shared.under_stores.keep_current(cancelled).await;
}

/// Marks workers that fell silent.
async fn watch_workers(shared: Arc<Shared>, cancelled: tokio_util::sync::CancellationToken) {
    let mut interval = tokio::time::interval(limits::HEARTBEAT_INTERVAL);
    loop {
        tokio::select! {
            () = cancelled.cancelled() => return,
            _ = interval.tick() => {}
        }
        let now = shared.clock.boot_instant();
        let mut registry = shared.registry.lock();
        for worker in registry.tick(now, limits::WORKER_LOST_AFTER) {
            tracing::warn!(%worker, "worker was not heard of and is asked last from now on");
        }
        let live = |state| registry.workers().filter(|worker| worker.entry.state == state).count();
        let (live, lost) = (live(forebay_types::WorkerState::Live), live(forebay_types::WorkerState::Lost));
        shared.metrics.workers_live.set(i64::try_from(live).unwrap_or(i64::MAX));
        shared.metrics.workers_lost.set(i64::try_from(lost).unwrap_or(i64::MAX));
    }
}
