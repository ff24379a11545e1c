//! `forebay worker`: cached blocks on RAM and disks.

use std::sync::Arc;

use forebay_runtime::{Shutdown, SystemClock};
use forebay_worker::{Worker, WorkerSettings};

use super::master::advertised;
use super::tiers::{self, Tiers};
use super::{Pages, flags};
use crate::args::{GlobalArguments, WorkerArguments};
use crate::failure::Failure;
use crate::settings::Settings;

const WORKER_ADDRESS: &str = "127.0.0.1:7421";

/// Runs until it is told to stop.
pub(crate) fn run(global: &GlobalArguments, arguments: WorkerArguments) -> Result<(), Failure> {
    let format_cache = arguments.format_cache;
    let settings = Settings::resolve(global, flags::worker(arguments)?, super::LOG_LEVEL)?;
    super::begin_logging(&settings)?;
    super::runtime()?.block_on(serve(settings, format_cache))
}

async fn serve(settings: Settings, format_cache: bool) -> Result<(), Failure> {
    let signals = super::signals()?;
    let config = &settings.worker;
    let dir =
        config.dir.clone().ok_or_else(|| Failure::usage("say with --dir where the worker keeps its id"))?;
    let tiers = Tiers::choose(&dir, config.ram, &config.tiers)?;
    let eviction = tiers::eviction(config.eviction.as_deref())?;
    let host = forebay_runtime::host_id(settings.host_id.as_deref());
    let host = host.map_err(|error| Failure::usage(error.to_string()))?;
    let listen = config.listen.as_deref().unwrap_or(WORKER_ADDRESS);
    let (listener, address) = super::listen("--listen", listen, settings.insecure).await?;
    let shutdown = Shutdown::new();
    let serving = shutdown.stage("serving");
    let pages = Pages::default();
    let mut worker = WorkerSettings::new(dir, settings.masters.clone(), host, &shutdown);
    worker.shared_port = Some(address);
    worker.advertise = Some(advertised(config.advertise.as_ref(), address)?);
    worker.group = config.group.clone().unwrap_or_default();
    worker.memory = tiers.memory;
    worker.tiers = tiers.disks;
    worker.eviction = eviction;
    worker.whole_file_max = config.whole_file_max;
    worker.tier_moves = config.tier_moves.unwrap_or(worker.tier_moves);
    worker.scrub_rate = config.scrub_rate.unwrap_or(worker.scrub_rate);
    worker.working_memory = config.working_memory.unwrap_or(worker.working_memory);
    worker.format_cache = format_cache;
    worker.environment = settings.environment.clone();
    worker.clock = Arc::new(SystemClock);
    worker.registry = pages.registry.clone();
    worker.readiness = pages.readiness.clone();
    let worker =
        Worker::start(worker).await.map_err(|error| Failure::start("the worker did not start", error))?;
    let routes = worker.add_routes(pages.begin(&settings, &serving, &shutdown).await?);
    super::serve(listener, routes, &serving, &shutdown);
    // A worker may come before its master; it says so in its log and is ready once it has registered.
    let stopped = super::run_until_stopped(&shutdown, signals);
    let ready = async {
        let id =
            worker.ready().await.map_err(|error| Failure::start("the worker did not get ready", error))?;
        super::say_ready(&[("listen", address.to_string()), ("worker", id.get().to_string())])
    };
    tokio::pin!(stopped);
    tokio::select! {
        stopped = &mut stopped => return stopped,
        ready = ready => if let Err(failure) = ready {
            shutdown.request();
            stopped.await?;
            return Err(failure);
        },
    }
    stopped.await
}
