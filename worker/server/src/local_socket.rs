//! Passes descriptors of complete versions to the processes of this host, and keeps those versions held meanwhile.
//!
//! A hold belongs to the connection it was asked on: when that closes, however it does, all its holds end.

pub(crate) mod reactor;

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use forebay_block_store::Hold;
use forebay_local::limits::REFUSAL_LENGTH_MAX;
use forebay_local::{LocalError, LocalSocket, NotHeldReason, PROTOCOL, Reply, Request};
use forebay_runtime::Stage;
use forebay_types::{BlockCapability, PAGE_LENGTH, VersionDescriptor};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::io::unix::AsyncFd;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::core::WorkerCore;
use crate::error::ReadError;
use crate::limits::{
    ACCEPT_PAUSE, ACCEPT_WARNING_INTERVAL, DESCRIPTORS_PER_HOLD, HOLD_REQUESTS_MAX, HOLDS_PER_CONNECTION_MAX,
    HOLDS_PER_WORKER_MIN, LOCAL_CONNECTIONS_MAX, LOCAL_SEND_DEADLINE,
};
use crate::log_pace::LogPace;
use crate::metrics::HoldOutcome;
use reactor::{register, when_ready};

/// The server of one worker's socket.
#[derive(Debug)]
pub(crate) struct LocalServer {
    core: Arc<WorkerCore>,
    connections: Arc<Semaphore>,
    holds: Arc<Semaphore>,
}

/// One connected process.
struct Connection {
    server: Arc<LocalServer>,
    socket: AsyncFd<LocalSocket>,
    holds: HashMap<u64, (Hold, OwnedSemaphorePermit)>,
    greeted: bool,
}

/// What became of a request that took its time.
enum Done {
    Answered(u64, OwnedSemaphorePermit, Result<Result<Hold, NotHeldReason>, ReadError>),
    Released,
}

type Working = FuturesUnordered<BoxFuture<'static, Done>>;

impl LocalServer {
    pub(crate) fn new(core: Arc<WorkerCore>) -> Arc<Self> {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        let holds_max = usize::try_from(limit / DESCRIPTORS_PER_HOLD).unwrap_or(usize::MAX);
        let holds_max = holds_max.clamp(HOLDS_PER_WORKER_MIN, Semaphore::MAX_PERMITS);
        let places = |max| Arc::new(Semaphore::new(max));
        Arc::new(Self { core, connections: places(LOCAL_CONNECTIONS_MAX), holds: places(holds_max) })
    }

    /// Accepts connections until the stage stops.
    ///
    /// # Errors
    /// When the listening socket itself fails.
    pub(crate) async fn serve(self: Arc<Self>, listener: LocalSocket, stage: Stage) -> io::Result<()> {
        let listener = register(listener)?;
        let token = stage.token();
        let worker = self.core.worker();
        let (mut failed, mut full) =
            (LogPace::new(ACCEPT_WARNING_INTERVAL), LogPace::new(ACCEPT_WARNING_INTERVAL));
        loop {
            let accepted = tokio::select! {
                accepted = when_ready(&listener, false, LocalSocket::accept) => accepted,
                () = token.cancelled() => return Ok(()),
            };
            let socket = match accepted {
                Ok(socket) => socket,
                Err(error) => {
                    // Out of descriptors, most likely: others close theirs.
                    if let Some(unsaid) = failed.next(Instant::now()) {
                        tracing::warn!(%worker, %error, unsaid, "a process of this host cannot connect");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&self.connections).try_acquire_owned() else {
                if let Some(unsaid) = full.next(Instant::now()) {
                    let max = LOCAL_CONNECTIONS_MAX;
                    tracing::warn!(%worker, max, unsaid, "too many processes of this host are connected");
                }
                continue;
            };
            let (server, token) = (Arc::clone(&self), stage.token());
            stage.spawn(async move {
                server.core.metrics.local_connections.inc();
                server.converse(socket, token).await;
                server.core.metrics.local_connections.dec();
                drop(place);
            });
        }
    }

    async fn converse(self: &Arc<Self>, socket: LocalSocket, token: CancellationToken) {
        let Ok(socket) = register(socket) else { return };
        let mut connection =
            Connection { server: Arc::clone(self), socket, holds: HashMap::new(), greeted: false };
        let ended = tokio::select! {
            ended = connection.run() => ended,
            () = token.cancelled() => Ok(()),
        };
        match ended {
            Ok(()) | Err(LocalError::Closed) => {}
            Err(error) => {
                tracing::warn!(worker = %self.core.worker(), %error, "a connection of this host was closed");
            }
        }
        let holds = std::mem::take(&mut connection.holds);
        // Closing the last descriptor of a deleted file gives its room back, which takes time on a disk.
        let _ = self.core.disk.run(move || drop(holds)).await;
    }
}

impl Connection {
    async fn run(&mut self) -> Result<(), LocalError> {
        let mut working = Working::new();
        loop {
            tokio::select! {
                received = when_ready(&self.socket, false, LocalSocket::recv::<Request>),
                    if working.len() < HOLD_REQUESTS_MAX => self.take(received?.0, &mut working).await?,
                Some(done) = working.next() => self.answer(done).await?,
            }
        }
    }

    async fn take(&mut self, request: Request, working: &mut Working) -> Result<(), LocalError> {
        match request {
            Request::Hello { .. } => {
                self.greeted = true;
                let worker = self.server.core.worker();
                self.send(&Reply::Hello { protocol: PROTOCOL, worker }, None).await
            }
            _ if !self.greeted => Err(LocalError::Garbage("it came before the greeting")),
            Request::Hold { request, version, capability } => {
                let has_room = self.holds.len() + working.len() < HOLDS_PER_CONNECTION_MAX;
                let place = Arc::clone(&self.server.holds).try_acquire_owned();
                if let (true, Ok(place)) = (has_room, place) {
                    let core = Arc::clone(&self.server.core);
                    let held = async move {
                        Done::Answered(request, place, hold(&core, version, &capability).await)
                    };
                    working.push(held.boxed());
                    return Ok(());
                }
                self.server.core.metrics.hold_answered(HoldOutcome::OverBudget);
                self.send(&Reply::NotHeld { request, reason: NotHeldReason::OverBudget }, None).await
            }
            Request::Release { hold } => {
                // One that is not known was never given: the asker is wrong, and nothing is lost.
                if let Some(hold) = self.holds.remove(&hold) {
                    if is_linked(&hold.0) {
                        return Ok(());
                    }
                    let core = Arc::clone(&self.server.core);
                    let released = async move {
                        let _ = core.disk.run(move || drop(hold)).await;
                        Done::Released
                    };
                    working.push(released.boxed());
                }
                Ok(())
            }
        }
    }

    async fn answer(&mut self, done: Done) -> Result<(), LocalError> {
        let Done::Answered(request, place, outcome) = done else { return Ok(()) };
        let metrics = Arc::clone(&self.server.core.metrics);
        let reply = match outcome {
            Ok(Ok(hold)) => {
                let id = hold.id().get();
                let sent = self.send(&Reply::Held { request, hold: id }, Some(&hold)).await;
                metrics.hold_answered(HoldOutcome::Held);
                self.holds.insert(id, (hold, place));
                return sent;
            }
            Ok(Err(reason)) => {
                metrics.hold_answered(match reason {
                    NotHeldReason::Incomplete => HoldOutcome::Incomplete,
                    NotHeldReason::OverBudget => HoldOutcome::OverBudget,
                });
                Reply::NotHeld { request, reason }
            }
            Err(error) => {
                metrics.hold_answered(HoldOutcome::Refused);
                Reply::Refused { request, kind: error.kind(), message: cut(error.to_string()) }
            }
        };
        drop(place);
        self.send(&reply, None).await
    }

    /// Sends, or gives the connection up when the other side does not read.
    async fn send(&self, reply: &Reply, hold: Option<&Hold>) -> Result<(), LocalError> {
        let send = |socket: &LocalSocket| socket.send(reply, hold.map(AsFd::as_fd));
        tokio::time::timeout(LOCAL_SEND_DEADLINE, when_ready(&self.socket, true, send))
            .await
            .unwrap_or(Err(LocalError::Closed))
    }
}

/// Holds a version for whoever may read it.
async fn hold(
    core: &Arc<WorkerCore>,
    version: VersionDescriptor,
    capability: &BlockCapability,
) -> Result<Result<Hold, NotHeldReason>, ReadError> {
    let version = core.admit_and_adopt(version, capability).await?;
    let cache = &core.path.cache;
    let mut presence = cache.store().presence(&version.source());
    if version.length() == 0 && presence.is_none() {
        cache.store_empty(&version).await?;
        presence = cache.store().presence(&version.source());
    }
    if !presence.is_some_and(|presence| presence.is_complete) {
        return Ok(Err(NotHeldReason::Incomplete));
    }
    // A page at most in memory is verified, if need be, in less time than a thread takes to be woken.
    let held = if version.length() <= PAGE_LENGTH && cache.is_in_memory(&version) {
        cache.store().hold(&version.source())
    } else {
        let (store, version) = (cache.store().clone(), Arc::clone(&version));
        core.disk.run(move || store.hold(&version.source())).await?
    };
    match held? {
        Some(hold) => Ok(Ok(hold)),
        None => {
            let presence = cache.store().presence(&version.source());
            let is_complete = presence.is_some_and(|presence| presence.is_complete);
            Ok(Err(if is_complete { NotHeldReason::OverBudget } else { NotHeldReason::Incomplete }))
        }
    }
}

/// Whether the held file has its name still. Then closing it gives no room back, and takes less time than a thread
/// takes to be woken.
fn is_linked(hold: &Hold) -> bool {
    rustix::fs::fstat(hold).is_ok_and(|file| file.st_nlink > 0)
}

fn cut(mut text: String) -> String {
    let mut end = text.len().min(REFUSAL_LENGTH_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
