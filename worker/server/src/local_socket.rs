//! Passes descriptors of cached versions to the processes of this host, and keeps those versions held or lent meanwhile.
//!
//! A hold or a lend belongs to the connection it was asked on: when that closes, however it does, all of them end. A hold
//! may rest, that is stay while nobody reads its file, until the store wants it back. A lend is wanted back when its
//! version left: a process that does not give it back in time keeps room from others, and its connection is closed.

mod passing;
pub(crate) mod reactor;

use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use forebay_local::limits::{REFUSAL_LENGTH_MAX, WANTED_BACK_MAX};
use forebay_local::{LEVEL, LocalError, LocalSocket, NotHeldReason, Reply, Request};
use forebay_runtime::Stage;
use forebay_types::{BlockCapability, VersionDescriptor};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::io::unix::AsyncFd;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::core::WorkerCore;
use crate::error::ReadError;
use crate::limits::{
    ACCEPT_PAUSE, ACCEPT_WARNING_INTERVAL, HOLD_REQUESTS_MAX, HOLDS_PER_CONNECTION_MAX, HOLDS_PER_WORKER_MAX,
    LEND_RETURN_DEADLINE, LOCAL_CONNECTIONS_MAX, LOCAL_SEND_DEADLINE, WANTED_BACK_INTERVAL,
};
use crate::log_pace::LogPace;
use crate::metrics::HoldOutcome;
use passing::{Asked, Given, Passed};
use reactor::{register, when_ready};

/// The server of one worker's socket.
#[derive(Debug)]
pub(crate) struct LocalServer {
    core: Arc<WorkerCore>,
    connections: Arc<Semaphore>,
    holds: Arc<Semaphore>,
    /// Changes when holds may not rest any more that could before.
    wants_back: watch::Receiver<()>,
}

/// One connected process.
struct Connection {
    server: Arc<LocalServer>,
    socket: AsyncFd<LocalSocket>,
    holds: HashMap<u64, Kept>,
    /// When the first lend that is wanted back is overdue.
    overdue: Option<Instant>,
    /// Which messages it knows; 0 before its greeting.
    level: u8,
}

/// A hold or a lend that a process has.
struct Kept {
    given: Given,
    /// Whether the process was told that it may rest, and not otherwise since.
    may_rest: bool,
    /// Until when a lend that is wanted back is to be given back.
    due: Option<Instant>,
    _place: OwnedSemaphorePermit,
}

/// What became of a request.
struct Done {
    request: u64,
    place: OwnedSemaphorePermit,
    outcome: Result<Result<Passed, NotHeldReason>, ReadError>,
}

type Working = FuturesUnordered<BoxFuture<'static, Done>>;

impl LocalServer {
    pub(crate) fn new(core: Arc<WorkerCore>) -> Arc<Self> {
        let (tell, wants_back) = watch::channel(());
        core.path.cache.store().on_wants_back(move || {
            let _ = tell.send(());
        });
        let places = |max| Arc::new(Semaphore::new(max));
        let (connections, holds) = (places(LOCAL_CONNECTIONS_MAX), places(HOLDS_PER_WORKER_MAX));
        Arc::new(Self { core, connections, holds, wants_back })
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
        let peer = socket.peer().ok();
        let Ok(socket) = register(socket) else { return };
        tracing::debug!(worker = %self.core.worker(), ?peer, "a process of this host connected");
        let mut connection =
            Connection { server: Arc::clone(self), socket, holds: HashMap::new(), overdue: None, level: 0 };
        let ended = tokio::select! {
            ended = connection.run() => ended,
            () = token.cancelled() => Ok(()),
        };
        match ended {
            Ok(()) | Err(LocalError::Closed) => {}
            Err(error) => {
                tracing::warn!(worker = %self.core.worker(), ?peer, %error, "a connection of this host was closed");
            }
        }
        let holds = std::mem::take(&mut connection.holds);
        // There may be very many, and closing the last descriptor of a deleted file takes time on a disk.
        let _ = self.core.disk.run(move || drop(holds)).await;
    }
}

impl Connection {
    async fn run(&mut self) -> Result<(), LocalError> {
        let mut working = Working::new();
        let mut wanted = pin!(wanted_back(self.server.wants_back.clone(), Instant::now()));
        loop {
            tokio::select! {
                received = when_ready(&self.socket, false, LocalSocket::recv::<Request>),
                    if working.len() < HOLD_REQUESTS_MAX => self.take(received?.0, &mut working).await?,
                Some(done) = working.next() => self.answer(done).await?,
                wants_back = &mut wanted => {
                    wanted.set(wanted_back(wants_back, Instant::now() + WANTED_BACK_INTERVAL));
                    self.want_back().await?;
                }
                () = tokio::time::sleep_until(self.overdue.unwrap_or_else(Instant::now)),
                    if self.overdue.is_some() => self.look_for_overdue()?,
            }
        }
    }

    /// Tells the process which of its holds may not rest any more.
    async fn want_back(&mut self) -> Result<(), LocalError> {
        let mut holds = Vec::new();
        for (id, kept) in &mut self.holds {
            if kept.may_rest && !kept.given.may_rest() {
                kept.may_rest = false;
                holds.push(*id);
                if matches!(kept.given, Given::Lend(_)) {
                    let due = Instant::now() + LEND_RETURN_DEADLINE;
                    kept.due = Some(due);
                    self.overdue = Some(self.overdue.unwrap_or(due));
                }
            }
        }
        for holds in holds.chunks(WANTED_BACK_MAX) {
            self.send(&Reply::WantedBack { holds: holds.to_vec() }, None).await?;
        }
        Ok(())
    }

    /// Gives the connection up if a lend was wanted back and did not come.
    fn look_for_overdue(&mut self) -> Result<(), LocalError> {
        self.overdue = self.holds.values().filter_map(|kept| kept.due).min();
        if self.overdue.is_some_and(|due| due <= Instant::now()) {
            return Err(LocalError::Garbage("what was wanted back did not come in time"));
        }
        Ok(())
    }

    async fn take(&mut self, request: Request, working: &mut Working) -> Result<(), LocalError> {
        match request {
            Request::Hello { level } => {
                self.level = level.clamp(1, LEVEL);
                let worker = self.server.core.worker();
                self.send(&Reply::Hello { level: self.level, worker }, None).await
            }
            _ if self.level == 0 => Err(LocalError::Garbage("it came before the greeting")),
            Request::Hold { request, version, capability } => {
                self.ask(Asked::Hold, request, (version, capability), working).await
            }
            Request::Lend { request, version, capability } => {
                self.ask(Asked::Lend, request, (version, capability), working).await
            }
            Request::Open { request, version, capability } => {
                self.ask(Asked::HoldOrLend, request, (version, capability), working).await
            }
            Request::Release { hold } => {
                // One that is not known was never given: the asker is wrong, and nothing is lost.
                self.holds.remove(&hold);
                Ok(())
            }
        }
    }

    /// Begins to look for what is asked for.
    async fn ask(
        &self,
        asked: Asked,
        request: u64,
        (version, capability): (VersionDescriptor, BlockCapability),
        working: &mut Working,
    ) -> Result<(), LocalError> {
        let has_room = self.holds.len() + working.len() < HOLDS_PER_CONNECTION_MAX;
        let place = Arc::clone(&self.server.holds).try_acquire_owned();
        if let (true, Ok(place)) = (has_room, place) {
            let core = Arc::clone(&self.server.core);
            let found = async move {
                Done { request, place, outcome: passing::find(&core, asked, version, &capability).await }
            };
            working.push(found.boxed());
            return Ok(());
        }
        self.server.core.metrics.hold_answered(HoldOutcome::OverBudget);
        self.send(&Reply::NotHeld { request, reason: NotHeldReason::OverBudget }, None).await
    }

    async fn answer(&mut self, done: Done) -> Result<(), LocalError> {
        let Done { request, place, outcome } = done;
        let metrics = Arc::clone(&self.server.core.metrics);
        let reply = match outcome {
            Ok(Ok(passed)) => {
                let may_rest = passed.may_rest() && self.level > 1;
                let sent = self.send(&passed.reply(request, self.level), Some(&passed)).await;
                metrics.hold_answered(match passed {
                    Passed::Hold(_) => HoldOutcome::Held,
                    Passed::Lend(_) => HoldOutcome::Lent,
                });
                let id = passed.id().get();
                self.holds.insert(id, Kept { given: passed.rest(), may_rest, due: None, _place: place });
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
    async fn send(&self, reply: &Reply, passed: Option<&Passed>) -> Result<(), LocalError> {
        let descriptors = passed.map(Passed::descriptors).unwrap_or_default();
        let send = |socket: &LocalSocket| socket.send(reply, &descriptors);
        tokio::time::timeout(LOCAL_SEND_DEADLINE, when_ready(&self.socket, true, send))
            .await
            .unwrap_or(Err(LocalError::Closed))
    }
}

/// Waits until holds are wanted back, and until it is time: each look goes through all of them.
async fn wanted_back(mut wants_back: watch::Receiver<()>, not_before: Instant) -> watch::Receiver<()> {
    if wants_back.changed().await.is_err() {
        // The store is gone, and with it whoever would want something.
        std::future::pending::<()>().await;
    }
    tokio::time::sleep_until(not_before).await;
    wants_back.mark_unchanged();
    wants_back
}

fn cut(mut text: String) -> String {
    let mut end = text.len().min(REFUSAL_LENGTH_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
