//! `forebay master`: the namespace, kept in a replicated log, and the registry of workers.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use forebay_master::{Master, MasterSettings};
use forebay_runtime::{Shutdown, SystemClock};

use super::Pages;
use crate::args::{GlobalArguments, MasterArguments};
use crate::failure::Failure;
use crate::settings::{MASTER_ADDRESS, Settings, path_text, set, set_some};

/// Runs until it is told to stop.
pub(crate) fn run(global: &GlobalArguments, arguments: MasterArguments) -> Result<(), Failure> {
    let mut flags = toml::Table::new();
    set_some(&mut flags, "master", "id", arguments.id);
    set_some(&mut flags, "master", "dir", arguments.dir.map(path_text).transpose()?);
    set_some(&mut flags, "master", "listen", arguments.listen);
    set_some(&mut flags, "master", "advertise", arguments.advertise);
    set_some(&mut flags, "node", "http", arguments.network.http);
    if arguments.network.insecure {
        set(&mut flags, "node", "insecure", true);
    }
    let settings = Settings::resolve(global, flags, super::LOG_LEVEL)?;
    super::begin_logging(&settings)?;
    super::runtime()?.block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    let signals = super::signals()?;
    let shutdown = Shutdown::new();
    match begin(&settings, &shutdown).await {
        Ok(()) => super::run_until_stopped(&shutdown, signals).await,
        Err(failure) => Err(super::stop_after(failure, &shutdown).await),
    }
}

/// Starts the master and its port, and says so.
async fn begin(settings: &Settings, shutdown: &Shutdown) -> Result<(), Failure> {
    let config = &settings.master;
    let dir = config
        .dir
        .clone()
        .ok_or_else(|| Failure::usage("say with --dir where the master keeps its state"))?;
    let listen = config.listen.as_deref().unwrap_or(MASTER_ADDRESS);
    let (listener, address) = super::listen("--listen", listen, settings.insecure).await?;
    let serving = shutdown.stage("serving");
    let pages = Pages::default();
    let all = pages.readiness.add("master");
    let advertised = advertised(config.advertise.as_ref(), address)?;
    let master = start(settings, &dir, config.id.unwrap_or(1), &advertised, &pages, shutdown).await?;
    let routes = master.add_routes(pages.begin(settings, &serving, shutdown).await?);
    super::serve(listener, routes, &serving, shutdown);
    all.set(true);
    super::say_ready(&[("listen", address.to_string())])
}

/// Starts the master of a process.
pub(super) async fn start(
    settings: &Settings,
    dir: &Path,
    slot: u32,
    address: &str,
    pages: &Pages,
    shutdown: &Shutdown,
) -> Result<Master, Failure> {
    let master = MasterSettings {
        dir: dir.to_owned(),
        slot,
        address: address.to_owned(),
        clock: Arc::new(SystemClock),
        environment: settings.environment.clone(),
        registry: pages.registry.clone(),
    };
    Master::start(master, shutdown).await.map_err(|error| Failure::start("the master did not start", error))
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
