//! `forebay local`: a master, a worker and, if asked, a FUSE mount in one process, which talk over the same sockets
//! as they would on three machines.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use forebay_client::{Client, MountRequest};
use forebay_fuse::{FuseOptions, MountSettings};
use forebay_master::{Master, MasterSettings};
use forebay_runtime::{Readiness, Shutdown, Signals, Stage, SystemClock};
use forebay_types::{InodeId, NamespacePath, UnderStoreUri};
use forebay_worker::{Worker, WorkerSettings};
use tonic::service::Routes;

use super::tiers::Tiers;
use crate::args::{GlobalArguments, LocalArguments};
use crate::commands::{mount, session};
use crate::failure::Failure;
use crate::settings::{MASTER_ADDRESS, Settings, set};

/// How long the users of the mount have to leave it once the process is to stop.
const UNMOUNT_DEADLINE: Duration = Duration::from_secs(3);

/// Runs until it is told to stop.
pub(crate) fn run(global: &GlobalArguments, arguments: LocalArguments) -> Result<(), Failure> {
    let settings = Settings::resolve(global, flags(arguments)?, super::LOG_LEVEL)?;
    super::begin_logging(&settings)?;
    super::runtime()?.block_on(serve(settings))
}

/// The flags in the shape of a file.
fn flags(arguments: LocalArguments) -> Result<toml::Table, Failure> {
    let mut flags = toml::Table::new();
    let text = |path: PathBuf| {
        path.into_os_string().into_string().map_err(|path| {
            Failure::usage(format!("{} is not UTF-8; this folder's name must be", path.to_string_lossy()))
        })
    };
    if let Some(dir) = arguments.dir {
        set(&mut flags, "local", "dir", text(dir)?);
    }
    if let Some(fuse) = arguments.fuse {
        set(&mut flags, "local", "fuse", text(fuse)?);
    }
    for (key, value) in [("listen", arguments.listen), ("ram", arguments.ram)] {
        if let Some(value) = value {
            set(&mut flags, "local", key, value);
        }
    }
    let lists = [("tiers", arguments.tiers), ("mounts", arguments.mounts), ("fuse_options", arguments.fuse_options)];
    for (key, values) in lists {
        if !values.is_empty() {
            set(&mut flags, "local", key, values);
        }
    }
    if arguments.insecure {
        set(&mut flags, "node", "insecure", true);
    }
    Ok(flags)
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    let signals = Signals::new().map_err(|error| Failure::start("cannot catch signals", error))?;
    let config = &settings.local;
    let mounts = config.mounts.iter().map(|text| parse_mount(text)).collect::<Result<Vec<_>, _>>()?;
    let fuse_options: FuseOptions =
        config.fuse_options.join(",").parse().map_err(|error| Failure::usage(format!("-o: {error}")))?;
    let dir = config.dir.clone().map_or_else(|| data_folder(&settings), Ok)?;
    let tiers = Tiers::choose(&dir, config.ram, &config.tiers)?;
    let listen = config.listen.as_deref().unwrap_or(MASTER_ADDRESS);
    let (listener, address) = super::listen(listen, settings.insecure).await?;

    // Stages stop in the order in which they are made: first the mount, whose users lean on all else.
    let shutdown = Shutdown::new();
    let fuse_stage = shutdown.stage("fuse");
    let client_stage = shutdown.stage("client");
    let serving = shutdown.stage("serving");
    let registry = prometheus::Registry::new();
    let readiness = Readiness::default();
    let all = readiness.add("local");

    let mut worker = worker_settings(&settings, &dir, address, tiers, &shutdown)?;
    worker.registry = registry.clone();
    worker.readiness = readiness.clone();
    let mut cache_directories: Vec<_> = worker.tiers.iter().map(|tier| tier.directory.clone()).collect();
    cache_directories.push(worker.directory.clone());
    let worker = Worker::start(worker).await.map_err(|error| Failure::start("the worker did not start", error))?;
    let master = start_master(&settings, &dir, address, &registry, &shutdown).await?;

    let pages = forebay_runtime::router(registry.clone(), readiness);
    let routes = worker.add_routes(master.add_routes(Routes::from(pages)));
    let token = serving.token();
    let served = serving.spawn(forebay_proto::transport::serve(listener, routes, token));
    stop_when_it_ends(&shutdown, &serving, served);

    worker.ready().await.map_err(|error| Failure::start("the worker did not get ready", error))?;
    let client = session::connect(&settings, vec![address.to_string()]).await?;
    for (path, uri) in &mounts {
        mount::attach(&client, request(&settings, path, uri)?).await?;
    }
    let mut parts = vec![("listen", address.to_string()), ("mounts", mounts.len().to_string())];
    if let Some(mount_point) = &config.fuse {
        let fuse = Fuse { mount_point, options: fuse_options, cache_directories, registry };
        parts.push(("fuse", fuse.mount(&client, &fuse_stage, &shutdown).await?));
    }
    client_stage.spawn(close(client, client_stage.token()));
    all.set(true);
    super::say_ready(&parts)?;
    super::run_until_stopped(&shutdown, signals).await
}

/// `NS_PATH=URI`.
fn parse_mount(text: &str) -> Result<(NamespacePath, UnderStoreUri), Failure> {
    let wrong = |why: String| Failure::usage(format!("--mount {text}: {why}; write PATH=URI, such as /data=file:///srv"));
    let (path, uri) = text.split_once('=').ok_or_else(|| wrong("there is no `=`".to_owned()))?;
    let path = path.parse().map_err(|error| wrong(format!("{error}")))?;
    let uri = uri.parse().map_err(|error| wrong(format!("{error}")))?;
    Ok((path, uri))
}

/// `XDG_DATA_HOME`, else where the specification of it says.
fn data_folder(settings: &Settings) -> Result<PathBuf, Failure> {
    let variable = |name: &str| settings.environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("XDG_DATA_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/share")))
        .map(|folder| folder.join("forebay"))
        .ok_or_else(|| Failure::usage("there is no HOME: say with --dir where state and cache are to be kept"))
}

fn worker_settings(
    settings: &Settings,
    dir: &Path,
    address: SocketAddr,
    tiers: Tiers,
    shutdown: &Shutdown,
) -> Result<WorkerSettings, Failure> {
    let host = forebay_runtime::host_id(settings.host_id.as_deref());
    let host = host.map_err(|error| Failure::usage(error.to_string()))?;
    let mut worker = WorkerSettings::new(dir.join("worker"), vec![address.to_string()], host, shutdown);
    worker.shared_port = Some(address);
    worker.memory = tiers.memory;
    worker.tiers = tiers.disks;
    worker.environment = settings.environment.clone();
    Ok(worker)
}

async fn start_master(
    settings: &Settings,
    dir: &Path,
    address: SocketAddr,
    registry: &prometheus::Registry,
    shutdown: &Shutdown,
) -> Result<Master, Failure> {
    let master = MasterSettings {
        dir: dir.join("master"),
        slot: 1,
        address: address.to_string(),
        clock: Arc::new(SystemClock),
        environment: settings.environment.clone(),
        registry: registry.clone(),
    };
    Master::start(master, shutdown).await.map_err(|error| Failure::start("the master did not start", error))
}

fn request(settings: &Settings, path: &NamespacePath, uri: &UnderStoreUri) -> Result<MountRequest, Failure> {
    Ok(MountRequest {
        path: path.clone(),
        uri: uri.to_string(),
        writable: false,
        freshness: None,
        coherence: None,
        block_length: None,
        options: mount::options(uri, &[], &settings.environment)?,
        check_only: false,
    })
}

/// The process cannot go on without its port.
fn stop_when_it_ends(shutdown: &Shutdown, stage: &Stage, served: tokio::task::JoinHandle<std::io::Result<()>>) {
    let shutdown = shutdown.clone();
    stage.spawn(async move {
        if let Ok(Err(error)) = served.await {
            tracing::error!(%error, "the port cannot be served any more");
            shutdown.request();
        }
    });
}

async fn close(client: Client, stopped: tokio_util::sync::CancellationToken) {
    stopped.cancelled().await;
    client.close().await;
}

/// The mount of this process.
struct Fuse<'a> {
    mount_point: &'a Path,
    options: FuseOptions,
    cache_directories: Vec<PathBuf>,
    registry: prometheus::Registry,
}

impl Fuse<'_> {
    /// Mounts the whole namespace; ends with its stage, and ends the process when somebody else unmounts it.
    async fn mount(self, client: &Client, stage: &Stage, shutdown: &Shutdown) -> Result<String, Failure> {
        let mounted = forebay_fuse::mount(MountSettings {
            mount_point: self.mount_point.to_owned(),
            root: InodeId::ROOT,
            options: self.options,
            namespace: Arc::new(client.clone()),
            runtime: tokio::runtime::Handle::current(),
            registry: self.registry,
            cache_directories: self.cache_directories,
        });
        let mounted = mounted.await.map_err(|error| Failure::start("cannot mount", error))?;
        let shown = mounted.mount_point().display().to_string();
        let (token, shutdown) = (stage.token(), shutdown.clone());
        stage.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = mounted.ended() => {
                    tracing::info!("the mount was taken down from outside");
                    shutdown.request();
                }
            }
            if let Err(error) = mounted.unmount(UNMOUNT_DEADLINE).await {
                tracing::warn!(%error, "the mount stays until its users are gone");
            }
        });
        Ok(shown)
    }
}
