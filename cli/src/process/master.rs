//! `forebay master`: the namespace, kept in a replicated log, and the registry of workers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_master::{
    BackupContent, Master, MasterSettings, PeerList, RestoreSettings, Restored, StartError,
};
use forebay_runtime::{Shutdown, SystemClock};

use super::{Pages, flags};
use crate::args::{BeginArguments, GlobalArguments, MasterArguments};
use crate::failure::Failure;
use crate::object::ObjectPlace;
use crate::settings::{MASTER_ADDRESS, Settings};

/// Runs until it is told to stop.
pub(crate) fn run(global: &GlobalArguments, arguments: MasterArguments) -> Result<(), Failure> {
    let (flags, once) = flags::master(arguments)?;
    let settings = Settings::resolve(global, flags, super::LOG_LEVEL)?;
    super::run(&settings, async |settings, shutdown| begin(settings, &once, shutdown).await)
}

/// Starts the master and its port, and says so.
async fn begin(settings: &Settings, once: &BeginArguments, shutdown: &Shutdown) -> Result<(), Failure> {
    let config = &settings.master;
    let dir = config
        .dir
        .clone()
        .ok_or_else(|| Failure::usage("say with --dir where the master keeps its state"))?;
    let slot = config.id.unwrap_or(1);
    if slot == 0 {
        return Err(Failure::usage("--id 0: slots are counted from 1; write 1 or more"));
    }
    let listen = config.listen.as_deref().unwrap_or(MASTER_ADDRESS);
    let (listener, address) = super::listen("--listen", listen, settings.insecure).await?;
    let serving = shutdown.stage("serving");
    let pages = Pages::default();
    let all = pages.readiness.add("master");
    let peers = PeerList::parse(config.peers.iter().map(String::as_str))
        .map_err(|error| Failure::usage(format!("--peers: {error}")))?;
    // Where the others look for it is where they find it.
    let configured = config.advertise.clone().or_else(|| peers.address(slot).map(str::to_owned));
    let advertised = advertised(configured.as_ref(), address)?;
    prepare(settings, once, &dir, slot, &advertised, &peers).await?;
    let place = MasterPlace { dir, private_folders: Vec::new(), slot, address: advertised, peers };
    let master = place.master(settings, &pages)?;
    let routes = master.add_routes(pages.begin(settings, &serving, shutdown).await?);
    super::serve(listener, routes, &serving, shutdown);
    master.start(shutdown).await.map_err(not_started)?;
    all.set(true);
    super::say_ready(&[("listen", address.to_string())])
}

/// Does what is done once, before the start.
async fn prepare(
    settings: &Settings,
    once: &BeginArguments,
    dir: &Path,
    slot: u32,
    address: &str,
    peers: &PeerList,
) -> Result<(), Failure> {
    if let Some(file) = &once.restore {
        let place = ObjectPlace::of(file, &once.options, &settings.environment)?;
        let (content, feed) = match &place {
            Some(place) => {
                let (reader, feed) = place.read().await?;
                (Some(BackupContent::new(reader)), Some(feed))
            }
            None => (None, None),
        };
        let settings = RestoreSettings {
            file: file.clone(),
            content,
            dir: dir.to_owned(),
            slot,
            address: address.to_owned(),
            peers: peers.clone(),
            clock: Arc::new(SystemClock),
            without_credentials: once.without_credentials,
        };
        let fed = async {
            if let Some(feed) = feed {
                feed.await;
            }
        };
        let (restored, ()) = tokio::join!(forebay_master::restore(settings), fed);
        let restored = restored.map_err(|error| Failure::start("the master did not start", error))?;
        let Restored { cluster, incarnation, taken_at } = restored;
        tracing::info!(%cluster, %incarnation, backup_seconds = taken_at.seconds(), "a backup was restored");
    }
    if once.format {
        let formatted = forebay_master::format(dir.to_owned(), once.force).await;
        let formatted = formatted.map_err(|error| Failure::start("the master did not start", error))?;
        if let Some(cluster) = formatted {
            tracing::warn!(%cluster, "the state of this cluster was deleted");
        }
    }
    Ok(())
}

/// Where a master is, among which others.
pub(super) struct MasterPlace {
    pub(super) dir: PathBuf,
    /// Other folders in which the process keeps its own files.
    pub(super) private_folders: Vec<PathBuf>,
    pub(super) slot: u32,
    pub(super) address: String,
    pub(super) peers: PeerList,
}

impl MasterPlace {
    /// The master, which has not started yet.
    pub(super) fn master(self, settings: &Settings, pages: &Pages) -> Result<Master, Failure> {
        let Self { dir, private_folders, slot, address, peers } = self;
        let master = MasterSettings {
            dir,
            private_folders,
            slot,
            address,
            peers,
            election_timeout: settings.election_timeout,
            reads: settings.reads,
            clock: Arc::new(SystemClock),
            environment: settings.environment.clone(),
            requests_per_second_max: settings.requests_per_second_max,
            loaded_entries_max: settings.loaded_entries_max.into(),
            registry: pages.registry.clone(),
        };
        Master::new(master).map_err(not_started)
    }
}

/// A start that failed.
pub(super) fn not_started(error: StartError) -> Failure {
    match error {
        StartError::NotAmongPeers { .. } => Failure::usage(error.to_string()),
        _ => Failure::start("the master did not start", error),
    }
}

/// What others are told of a port: an unspecified address reaches nobody.
pub(super) fn advertised(configured: Option<&String>, bound: SocketAddr) -> Result<String, Failure> {
    match configured {
        Some(address) => Ok(address.clone()),
        None if bound.ip().is_unspecified() => Err(Failure::usage(format!(
            "--listen {bound} is no address that others can reach: say with --advertise HOST:PORT where they find it"
        ))),
        None => Ok(bound.to_string()),
    }
}
