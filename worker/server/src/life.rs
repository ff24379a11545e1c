//! The life of a worker behind its port: who it is, its cache, and then heartbeats to the end.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use forebay_block_store::limits::SEGMENT_LENGTH_DEFAULT;
use forebay_block_store::{BlockStore, StoreSettings, TierKind, TierSettings, prepare_ram_tier};
use forebay_local::LocalSocket;
use forebay_proto::v1;
use forebay_runtime::Condition;
use forebay_types::{ByteCount, WorkerId};
use tokio::sync::watch;

use crate::accounting::{FillLog, MountShares, ReadCounts};
use crate::cache::Cache;
use crate::cataloguing;
use crate::core::WorkerCore;
use crate::disk::DiskPool;
use crate::disk_watch;
use crate::error::WorkerError;
use crate::fetches::Fetches;
use crate::identity::{Identity, WorkerFolder};
use crate::keys::KeyTable;
use crate::limits::FETCHES_PER_LOAD_FETCH;
use crate::load::Loads;
use crate::local_socket::LocalServer;
use crate::master_link::MasterLink;
use crate::metrics::Metrics;
use crate::mounts::MountTable;
use crate::moving;
use crate::past_cache::PastCache;
use crate::read_path::ReadPath;
use crate::reading_order::ReadingOrder;
use crate::registration::{Presentation, Registered, register, say_moved};
use crate::reports::{Joined, Reports};
use crate::scrubbing;
use crate::settings::WorkerSettings;
use crate::working_memory::WorkingMemory;

/// How far a worker has come.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// It looks for its master or opens its cache.
    Starting,
    /// It serves.
    Serving(WorkerId),
    /// It is over.
    Ended(Result<(), Arc<WorkerError>>),
}

/// Everything that a worker begins with.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) settings: WorkerSettings,
    pub(crate) folder: WorkerFolder,
    pub(crate) address: SocketAddr,
    pub(crate) core: Arc<OnceLock<Arc<WorkerCore>>>,
    pub(crate) metrics: Arc<Metrics>,
    /// Met when the cache is open, and when the master's keys and mounts are known.
    pub(crate) conditions: (Condition, Condition),
    pub(crate) progress: watch::Sender<Progress>,
}

impl Life {
    /// Runs until the storing stage stops.
    pub(crate) async fn run(self, local: LocalSocket) -> Result<(), WorkerError> {
        let cancel = self.settings.stages.storing.token();
        let disk = DiskPool::new(self.settings.stages.storing.tracker().clone());
        let tiers = self.tiers(&disk).await?;
        let mut link = MasterLink::new(self.settings.masters.clone());
        let presentation = self.presentation(&tiers);
        let (store, identity, registered) = self.join(&disk, &tiers, &mut link, &presentation).await?;
        store.begin_life(registered.incarnation);
        let core = self.open_core(store, identity, disk);
        assert!(self.core.set(Arc::clone(&core)).is_ok(), "a worker lives once");
        self.conditions.0.set(true);

        let worker = core.worker();
        let fetching = self.settings.stages.fetching.clone();
        fetching.spawn({
            let (core, token) = (Arc::clone(&core), fetching.token());
            async move { token.run_until_cancelled(core.mounts.keep_fresh(&core.disk)).await }
        });
        let storing = &self.settings.stages.storing;
        storing.spawn(disk_watch::watch(core.path.cache.store().clone(), storing.clone()));
        storing.spawn(cataloguing::write(Arc::clone(&core), storing.token()));
        if self.settings.scrub_rate > ByteCount::ZERO {
            storing.spawn(scrubbing::scrub(Arc::clone(&core), self.settings.scrub_rate, storing.token()));
        }
        if self.settings.tier_moves {
            storing.spawn(moving::keep_in_place(Arc::clone(&core), storing.token()));
        }
        let serving = self.settings.stages.serving.clone();
        let server = LocalServer::new(Arc::clone(&core));
        serving.spawn({
            let (serving, shutdown) = (serving.clone(), self.settings.shutdown.clone());
            async move {
                if let Err(error) = server.serve(local, serving).await {
                    tracing::error!(%worker, %error, "the worker's local socket cannot be served");
                    shutdown.request();
                }
            }
        });
        tracing::info!(%worker, address = %self.address, "the worker serves");
        let Self { settings, progress, conditions: (_, master), folder, .. } = self;
        let announce = move || {
            progress.send_replace(Progress::Serving(worker));
        };
        let joined = Joined {
            presentation,
            folder,
            identity,
            masters: settings.masters,
            registered: (link.address().to_owned(), registered),
            condition: master,
            announce,
        };
        let reports = Reports::new(core, joined).map_err(|error| WorkerError::Refused {
            master: link.address().to_owned(),
            kind: error.kind,
            message: error.message,
        })?;
        reports.run(&cancel).await
    }

    /// The tiers, with the RAM tier's directory made.
    async fn tiers(&self, disk: &DiskPool) -> Result<Vec<TierSettings>, WorkerError> {
        let mut tiers = self.settings.tiers.clone();
        let memory = self.settings.memory;
        if memory > ByteCount::ZERO {
            let directory = self.folder.ram_tier();
            let ram = disk
                .run(move || prepare_ram_tier(&directory, memory))
                .await
                .map_err(|_| WorkerError::Stopping)??;
            tiers.insert(0, TierSettings::new("ram", ram.directory, TierKind::Ram, memory));
        }
        if let Some(max) = self.settings.whole_file_max {
            tiers = tiers.into_iter().map(|tier| tier.with_whole_file_max(max)).collect();
        }
        Ok(tiers)
    }

    fn presentation(&self, tiers: &[TierSettings]) -> Presentation {
        let address = self.settings.advertise.clone().unwrap_or_else(|| self.address.to_string());
        Presentation {
            address,
            host: self.settings.host.as_str().to_owned(),
            local_socket: absolute(&self.folder),
            group: self.settings.group.clone(),
            tiers: tiers.iter().map(empty_tier).collect(),
        }
    }

    /// Registers and opens the cache. A known worker opens it first, since it knows whose it is; a new one learns that
    /// from the master. Gives the cache, who the worker is, and what the master said.
    async fn join(
        &self,
        disk: &DiskPool,
        tiers: &[TierSettings],
        link: &mut MasterLink,
        presentation: &Presentation,
    ) -> Result<(BlockStore, Identity, Registered), WorkerError> {
        let cancel = self.settings.stages.storing.token();
        let (eviction, format) = (self.settings.eviction, self.settings.format_cache);
        let segment_length = SEGMENT_LENGTH_DEFAULT;
        let settings_for =
            |cluster| StoreSettings { cluster, tiers: tiers.to_vec(), eviction, segment_length, format };
        if let Some(kept) = self.folder.identity()? {
            let store = open_store(disk, settings_for(kept.cache)).await?;
            let registered = register(link, presentation, Some(kept), &cancel).await?;
            let identity = registered.identity(Some(kept));
            if identity != kept {
                say_moved(kept, identity);
                self.folder.keep(identity)?;
            }
            return Ok((store, identity, registered));
        }
        // A worker that cannot cache must not be known to anybody: others would read from it.
        let checked = tiers.to_vec();
        disk.run(move || BlockStore::check(&checked)).await.map_err(|_| WorkerError::Stopping)??;
        let registered = register(link, presentation, None, &cancel).await?;
        let identity = registered.identity(None);
        let store = open_store(disk, settings_for(identity.cache)).await?;
        self.folder.keep(identity)?;
        Ok((store, identity, registered))
    }

    fn open_core(&self, store: BlockStore, identity: Identity, disk: DiskPool) -> Arc<WorkerCore> {
        let cache = Cache::new(store, disk.clone());
        let fills = Arc::new(FillLog::new(self.settings.clock.now()));
        let shares = Arc::new(MountShares::default());
        let memory = WorkingMemory::new(self.settings.working_memory);
        let fetches = Fetches::new(
            cache.clone(),
            Arc::clone(&fills),
            Arc::clone(&shares),
            Arc::clone(&self.metrics),
            memory.fetches(),
            self.settings.stages.fetching.clone(),
        );
        let for_loads = memory.fetches() / FETCHES_PER_LOAD_FETCH;
        let loads = Loads::new(cache.clone(), Arc::clone(&fetches), Arc::clone(&self.metrics), for_loads);
        let path = ReadPath {
            cache,
            past_cache: PastCache::new(Arc::clone(&fetches), memory.clone()),
            fetches,
            fills,
            order: ReadingOrder::default(),
            counts: Arc::new(ReadCounts::default()),
            memory,
            metrics: Arc::clone(&self.metrics),
        };
        Arc::new(WorkerCore {
            id: identity.worker.get().into(),
            clock: Arc::clone(&self.settings.clock),
            keys: KeyTable::default(),
            mounts: MountTable::new(self.settings.environment.clone()),
            path: Arc::new(path),
            loads,
            shares,
            disk,
            hold_patience: self.settings.hold_patience,
            metrics: Arc::clone(&self.metrics),
        })
    }
}

async fn open_store(disk: &DiskPool, settings: StoreSettings) -> Result<BlockStore, WorkerError> {
    let (store, _report) =
        disk.run(move || BlockStore::open(settings)).await.map_err(|_| WorkerError::Stopping)??;
    Ok(store)
}

fn empty_tier(tier: &TierSettings) -> v1::TierUsage {
    v1::TierUsage {
        name: tier.name.clone(),
        directory: tier.directory.display().to_string(),
        capacity_bytes: tier.capacity.get(),
        used_bytes: 0,
        health: v1::TierHealth::Unspecified.into(),
    }
}

/// Where the processes of this host find the socket, whatever folder they run in.
fn absolute(folder: &WorkerFolder) -> String {
    let path = folder.local_socket();
    std::path::absolute(&path).unwrap_or(path).to_string_lossy().into_owned()
}
