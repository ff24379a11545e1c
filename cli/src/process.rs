//! Processes that run until they are told to stop: what they have in common, and one file for each.

pub(crate) mod local;

mod tiers;

use std::net::SocketAddr;

use forebay_runtime::{Shutdown, ShutdownError, Signals};
use tokio::net::TcpListener;

use crate::failure::Failure;
use crate::output;
use crate::settings::Settings;

/// What a process logs unless told otherwise. The log's library tells each step of an election at level info.
const LOG_LEVEL: &str = "info,openraft=warn";

/// Begins logging as the settings say.
fn begin_logging(settings: &Settings) -> Result<(), Failure> {
    forebay_runtime::init_logging(settings.log_format, &settings.log_level)
        .map_err(|error| Failure::usage(error.to_string()))
}

/// A runtime with a thread for each core.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::start("cannot start the runtime", error))
}

/// Binds the port of a process. Beyond loopback whoever reaches the port can read everything, so it must be said.
async fn listen(address: &str, insecure: bool) -> Result<(TcpListener, SocketAddr), Failure> {
    let resolved: Vec<SocketAddr> = tokio::net::lookup_host(address)
        .await
        .map_err(|error| Failure::usage(format!("--listen {address}: {error}; write HOST:PORT, such as [::1]:7411")))?
        .collect();
    if !insecure && resolved.iter().any(|address| !address.ip().is_loopback()) {
        return Err(Failure::usage(format!(
            "--listen {address}: without TLS only loopback is served; say --insecure if the network is trusted"
        )));
    }
    let listener = TcpListener::bind(&resolved[..]).await.map_err(|error| {
        Failure::new(format!("cannot listen on {address}: {error}; choose another --listen, or port 0 for any free one"))
    })?;
    let bound = listener.local_addr().map_err(|error| Failure::start("cannot listen", error))?;
    Ok((listener, bound))
}

/// Says on standard output that everything serves.
fn say_ready(parts: &[(&str, String)]) -> Result<(), Failure> {
    let parts: Vec<_> = parts.iter().map(|(name, value)| format!("{name}={value}")).collect();
    output::print_line(&format!("ready {}", parts.join(" ")))
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
