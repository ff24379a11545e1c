//! Processes that run until they are told to stop: what they have in common, and one file for each.

pub(crate) mod fuse;
pub(crate) mod local;
pub(crate) mod master;
pub(crate) mod worker;

mod background;
mod flags;
mod mounted;
mod tiers;

use std::net::SocketAddr;

use forebay_runtime::{Readiness, Shutdown, ShutdownError, Signals, Stage};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::service::Routes;

use crate::failure::Failure;
use crate::output;
use crate::settings::Settings;

/// What a process logs unless told otherwise. The log's library tells each step of an election at level info, and each
/// message that did not reach another master at level warn.
const LOG_LEVEL: &str = "info,openraft=error";

/// Runs a process to its end: `begin` starts its parts and says that they serve, then it serves until it is told to
/// stop.
fn run(
    settings: &Settings,
    begin: impl AsyncFnOnce(&Settings, &Shutdown) -> Result<(), Failure>,
) -> Result<(), Failure> {
    begin_logging(settings)?;
    runtime()?.block_on(async {
        let mut signals = signals()?;
        let shutdown = Shutdown::new();
        let begun = tokio::select! {
            begun = begin(settings, &shutdown) => Some(begun),
            // A start may wait for other processes for as long as those take.
            _ = signals.next() => None,
        };
        match begun {
            Some(Ok(())) => run_until_stopped(&shutdown, signals).await,
            Some(Err(failure)) => Err(stop_after(failure, &shutdown).await),
            None => finish(&shutdown).await,
        }
    })
}

/// Begins logging as the settings say.
fn begin_logging(settings: &Settings) -> Result<(), Failure> {
    forebay_runtime::init_logging(settings.log_format, &settings.log_level)
        .map_err(|error| Failure::usage(error.to_string()))
}

/// A runtime with a thread for each core.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    raise_descriptor_limit();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::start("cannot start the runtime", error))
}

/// Each open file of a reader may cost a descriptor here, and the usual soft limit of 1024 is for programs that use
/// select(2).
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Binds the port of a process. Beyond loopback whoever reaches the port can read everything, so it must be said.
async fn listen(flag: &str, address: &str, insecure: bool) -> Result<(TcpListener, SocketAddr), Failure> {
    let resolved: Vec<SocketAddr> = tokio::net::lookup_host(address)
        .await
        .map_err(|error| {
            Failure::usage(format!("{flag} {address}: {error}; write HOST:PORT, such as [::1]:7411"))
        })?
        .collect();
    if !insecure && resolved.iter().any(|address| !address.ip().is_loopback()) {
        return Err(Failure::usage(format!(
            "{flag} {address}: without TLS only loopback is served; say --insecure if the network is trusted"
        )));
    }
    let listener = TcpListener::bind(&resolved[..]).await.map_err(|error| {
        Failure::new(format!(
            "cannot listen on {address}: {error}; choose another {flag}, or port 0 for any free one"
        ))
    })?;
    let bound = listener.local_addr().map_err(|error| Failure::start("cannot listen", error))?;
    Ok((listener, bound))
}

/// What a process shows to machines: its metrics, and whether it serves.
#[derive(Clone, Default)]
struct Pages {
    registry: prometheus::Registry,
    readiness: Readiness,
}

impl Pages {
    fn router(&self) -> Routes {
        Routes::from(forebay_runtime::router(self.registry.clone(), self.readiness.clone()))
    }

    /// The routes to begin with: these pages, unless they are served at an address of their own.
    async fn begin(
        &self,
        settings: &Settings,
        stage: &Stage,
        shutdown: &Shutdown,
    ) -> Result<Routes, Failure> {
        let Some(http) = &settings.http else {
            return Ok(self.router());
        };
        let (listener, _) = listen("--http", http, settings.insecure).await?;
        serve(listener, self.router(), stage, shutdown);
        Ok(Routes::default())
    }
}

/// Serves a port until the stage ends. The process cannot go on without it.
fn serve(listener: TcpListener, routes: Routes, stage: &Stage, shutdown: &Shutdown) {
    let served: JoinHandle<_> = stage.spawn(forebay_proto::transport::serve(listener, routes, stage.token()));
    let shutdown = shutdown.clone();
    stage.spawn(async move {
        if let Ok(Err(error)) = served.await {
            tracing::error!(%error, "the port cannot be served any more");
            shutdown.request();
        }
    });
}

fn signals() -> Result<Signals, Failure> {
    Signals::new().map_err(|error| Failure::start("cannot catch signals", error))
}

/// Says on standard output that everything serves.
fn say_ready(parts: &[(&str, String)]) -> Result<(), Failure> {
    let parts: Vec<_> = parts.iter().map(|(name, value)| format!("{name}={value}")).collect();
    output::print_line(&format!("ready {}", parts.join(" ")))
}

/// Stops what had begun when a part did not start. The process may not end before: the log's database has threads,
/// and a process that ends under them crashes.
async fn stop_after(failure: Failure, shutdown: &Shutdown) -> Failure {
    if let Err(error) = shutdown.finish(forebay_runtime::limits::SHUTDOWN_DEADLINE).await {
        tracing::warn!(%error, "stopped before all was done");
    }
    failure
}

/// Stops a process that was told to before all of it had begun.
async fn finish(shutdown: &Shutdown) -> Result<(), Failure> {
    let finished = shutdown.finish(forebay_runtime::limits::SHUTDOWN_DEADLINE).await;
    finished.map_err(|error| Failure::start("stopped before all was done", error))
}

/// Serves until a signal, then stops the stages in their order.
async fn run_until_stopped(shutdown: &Shutdown, signals: Signals) -> Result<(), Failure> {
    match shutdown.run(signals, forebay_runtime::limits::SHUTDOWN_DEADLINE).await {
        Ok(()) => Ok(()),
        Err(error @ (ShutdownError::TimedOut { .. } | ShutdownError::Interrupted { .. })) => {
            Err(Failure::start("stopped before all was done", error))
        }
    }
}
