//! Starts a master: opens its folder, forms the cluster where there is none, and gives the routes to serve.

mod beginning;
mod joining;
mod log;
mod member;
mod peers;
mod reign;
mod slot;

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use forebay_proto::v1;
use forebay_proto::v1::raft_server::RaftServer;
use forebay_raft::{ClusterMark, Effects, RaftError, RaftService, Reads, Role, Wake};
use forebay_runtime::{Clock, Shutdown};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::Instant;
use tonic::service::Routes;

use crate::capabilities::Capabilities;
use crate::disk_probe::DiskProbe;
use crate::door::{Door, Late};
use crate::error::MasterError;
use crate::feed::Feed;
use crate::freshness::Checks;
use crate::limits;
use crate::listings::Listings;
use crate::live_jobs::Jobs;
use crate::metrics::Metrics;
use crate::mount_states;
use crate::registry::Registry;
use crate::sealing::SealingError;
use crate::service::{
    AdminService, ClusterService, JobsService, MastersService, MountsService, NamespaceService,
};
use crate::shared::Shared;
use crate::single_names::SingleNames;
use crate::under_stores::UnderStores;
use log::Begun;

pub use beginning::{BackupContent, BeginError, RestoreSettings, Restored, format, restore};
pub use peers::{PeerList, PeerListError};

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
    /// The masters of the cluster; none or one for a cluster of this master alone.
    pub peers: PeerList,
    /// After how long without a leader another one is elected, at the latest.
    pub election_timeout: Duration,
    /// How it makes sure, while it leads, that what it answers is the newest.
    pub reads: Reads,
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

/// A master. It can be served from the first moment on, and answers once it has started.
#[derive(Debug)]
pub struct Master {
    settings: MasterSettings,
    door: Arc<Door>,
    services: Services,
    #[cfg(test)]
    started: std::sync::OnceLock<Arc<Shared>>,
}

/// What it serves, each in its time.
#[derive(Debug, Default)]
struct Services {
    raft: Late<RaftServer<RaftService>>,
    namespace: Late<v1::namespace_server::NamespaceServer<NamespaceService>>,
    mounts: Late<v1::mounts_server::MountsServer<MountsService>>,
    cluster: Late<v1::cluster_server::ClusterServer<ClusterService>>,
    jobs: Late<v1::jobs_server::JobsServer<JobsService>>,
    admin: Late<v1::admin_server::AdminServer<AdminService>>,
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
    /// The file in which the folder keeps which cluster it joined is not ours, or damaged.
    #[error(
        "{path} does not say which cluster this master joined: if it is damaged, start with an empty --dir, and the master \
         joins anew"
    )]
    NoMember {
        /// The file.
        path: PathBuf,
    },
    /// The folder says that this master joined a cluster, and its log is gone.
    #[error(
        "{path} is the folder of a master of the cluster {}, and has no log any more: say with --peers where the other masters \
         are, and it joins them anew; or begin another cluster with --format",
        .mark.cluster
    )]
    LostLog {
        /// The folder.
        path: PathBuf,
        /// The cluster.
        mark: ClusterMark,
    },
    /// The list of masters does not have this one, or has it elsewhere.
    #[error(
        "--peers {peers} does not have slot {slot} at {address}, where this master is: correct the list, or --id, --listen or \
         --advertise"
    )]
    NotAmongPeers {
        /// The list.
        peers: PeerList,
        /// This master's slot.
        slot: u32,
        /// Where it is.
        address: String,
    },
    /// Another master has another list.
    #[error(
        "the master in slot {slot} at {address} was started with --peers {theirs}, this one with --peers {ours}: give all \
         masters the same list"
    )]
    OtherPeers {
        /// The other master's slot.
        slot: u32,
        /// Where it is.
        address: String,
        /// Its list.
        theirs: PeerList,
        /// This master's list.
        ours: PeerList,
    },
    /// Who answers at an address is not the master that the list has there.
    #[error(
        "at {address}, where --peers has slot {slot}, {}: give each master a slot and an address of its own",
        if *.is_itself { "this master itself answers".to_owned() } else { format!("the master in slot {} answers", .found) }
    )]
    OtherSlot {
        /// The slot that the list has there.
        slot: u32,
        /// The address.
        address: String,
        /// The slot of whoever answers.
        found: u32,
        /// Whether it is this very master.
        is_itself: bool,
    },
    /// The folder is of another cluster than the masters of the list.
    #[error(
        "--dir has the data of the cluster {} (its life {}), and the other masters of --peers belong to {} (its life {}): give \
         this master the folder that belongs to this cluster, or an empty one to join it",
        .ours.cluster, .ours.incarnation, .theirs.cluster, .theirs.incarnation
    )]
    OtherCluster {
        /// That of the folder.
        ours: ClusterMark,
        /// That of the others.
        theirs: ClusterMark,
    },
    /// The cluster does not take this master in.
    #[error("the cluster's master at {leader} does not take this one in: {reason}")]
    NotTakenIn {
        /// Who leads.
        leader: String,
        /// Why not.
        reason: String,
    },
    /// The process is stopping.
    #[error("the process is stopping")]
    Stopping,
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

impl Master {
    /// A master that has not started.
    ///
    /// # Errors
    /// [`StartError::NotAmongPeers`], [`StartError::Random`].
    pub fn new(settings: MasterSettings) -> Result<Self, StartError> {
        let MasterSettings { slot, address, peers, .. } = &settings;
        if !peers.is_one() && peers.address(*slot) != Some(address) {
            let (peers, address) = (peers.clone(), address.clone());
            return Err(StartError::NotAmongPeers { peers, slot: *slot, address });
        }
        let mut process = [0; 8];
        getrandom::fill(&mut process).map_err(StartError::Random)?;
        let door = Door::new(
            *slot,
            address.clone(),
            peers.clone(),
            u64::from_le_bytes(process),
            Arc::clone(&settings.clock),
        );
        Ok(Self {
            door: Arc::new(door),
            services: Services::default(),
            settings,
            #[cfg(test)]
            started: std::sync::OnceLock::new(),
        })
    }

    /// The services to serve, from now on: until they are there they say so.
    #[must_use]
    pub fn add_routes(&self, routes: Routes) -> Routes {
        let Services { raft, namespace, mounts, cluster, jobs, admin } = &self.services;
        let masters = MastersService(Arc::clone(&self.door));
        routes
            .add_service(v1::masters_server::MastersServer::new(masters))
            .add_service(raft.clone())
            .add_service(admin.clone())
            .add_service(namespace.clone())
            .add_service(jobs.clone())
            .add_service(mounts.clone())
            .add_service(cluster.clone())
    }

    /// Starts the master, whose tasks belong to stages of `shutdown`; the log closes last. With several masters it waits
    /// for the others, as long as it takes.
    ///
    /// # Errors
    /// [`StartError`], with the way out.
    pub async fn start(&self, shutdown: &Shutdown) -> Result<(), StartError> {
        let settings = &self.settings;
        let dir = &settings.dir;
        let failed = |source| StartError::Dir { path: dir.clone(), source };
        // State, log and key are the owner's alone: whoever reads them can read everything.
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let own_folders = settings.private_folders.iter().cloned().chain([dir.clone()]).collect();
        let kept = slot::check(dir, settings.slot)?;
        let background = shutdown.stage("master");
        let stopping = background.token();
        let begun = log::begin(settings, &self.door, &self.services.raft, &stopping, shutdown);
        let Begun { raft, effects, sealing } = begun.await?;
        if kept.is_none() {
            slot::keep(dir, settings.slot).map_err(failed)?;
        }
        let (applied, identity) = log::identity(&raft, &stopping).await?;
        let clock = Arc::clone(&settings.clock);
        let seed = u64::try_from(clock.now().nanos() / 1_000_000).unwrap_or(0);
        let requests_max = settings.requests_per_second_max;
        let environment = settings.environment.clone();
        let shared = Arc::new(Shared {
            raft,
            door: Arc::clone(&self.door),
            under_stores: UnderStores::new(sealing, environment, own_folders, requests_max),
            capabilities: Capabilities::new(identity.capability_secret),
            registry: Mutex::new(Registry::new(seed)),
            checks: Mutex::new(Checks::default()),
            listings: Listings::default(),
            single_names: SingleNames::default(),
            roots: SingleNames::default(),
            feed: Feed::new(identity.incarnation, applied),
            jobs: Jobs::default(),
            clock,
            loaded_entries_max: settings.loaded_entries_max,
            metrics: Metrics::new(&settings.registry)?,
            background: background.clone(),
        });
        background.spawn(end_with_log(Arc::clone(&shared), shutdown.clone(), background.token()));
        background.spawn(work_effects(Arc::clone(&shared), effects, background.token()));
        background.spawn(reign::follow(Arc::clone(&shared), background.token()));
        background.spawn(follow_references(Arc::clone(&shared), background.token()));
        background.spawn(watch_workers(Arc::clone(&shared), background.token()));
        background.spawn(mount_states::watch(Arc::clone(&shared), background.token()));
        self.serve(&shared);
        tracing::info!(cluster = %identity.cluster, incarnation = %identity.incarnation, "master started");
        Ok(())
    }

    fn serve(&self, shared: &Arc<Shared>) {
        let limit = forebay_types::limits::RPC_LENGTH_MAX;
        let Services { raft: _, namespace, mounts, cluster, jobs, admin } = &self.services;
        let service = NamespaceService(Arc::clone(shared));
        let service = v1::namespace_server::NamespaceServer::new(service);
        namespace.set(service.max_decoding_message_size(limit).max_encoding_message_size(limit));
        let service = v1::jobs_server::JobsServer::new(JobsService(Arc::clone(shared)));
        jobs.set(service.max_decoding_message_size(limit).max_encoding_message_size(limit));
        let service = v1::mounts_server::MountsServer::new(MountsService(Arc::clone(shared)));
        mounts.set(service.max_decoding_message_size(limit));
        let service = v1::admin_server::AdminServer::new(AdminService::new(
            Arc::clone(shared),
            DiskProbe::new(self.settings.dir.clone()),
        ));
        admin.set(service.max_decoding_message_size(limit));
        let service = v1::cluster_server::ClusterServer::new(ClusterService(Arc::clone(shared)));
        cluster.set(service.max_decoding_message_size(limit));
        #[cfg(test)]
        self.started.set(Arc::clone(shared)).expect("a master starts once");
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(self.started.get().expect("it has started"))
    }
}

/// Ends the process when the log has stopped for good, as after an error of its disk: the other masters go on, and
/// whoever starts this one again sees whether the disk is well.
async fn end_with_log(
    shared: Arc<Shared>,
    shutdown: Shutdown,
    cancelled: tokio_util::sync::CancellationToken,
) {
    let stopped = async {
        while shared.raft.status().role != Role::Stopped {
            let later = Instant::now() + limits::ROLE_WAIT;
            // Whether it stopped or the time is over: it is looked again.
            drop(shared.raft.wait_until(later, |status| status.role == Role::Stopped).await);
        }
    };
    tokio::select! {
        biased;
        () = cancelled.cancelled() => {}
        () = stopped => {
            let reason = shared.raft.local_failure();
            tracing::error!(reason, "the log of this master has stopped; the process ends");
            shutdown.request();
        }
    }
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
            Some(Wake::Rescan(up_to)) => shared.look_for_work(up_to),
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
        let lacks_workers = registry.leads() && registry.safe_mode().is_active();
        shared.metrics.safe_mode.set(lacks_workers.into());
    }
}
