//! One connection to a local worker: many requests at a time, answers in any order.
//!
//! A packet goes whole or not at all, so requests are sent by whoever makes them; one task receives. A hold that nobody
//! waits for any more is given back at once.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use forebay_local::{LEVEL, LocalError, LocalSocket, Reply, Request};
use forebay_types::{BlockCapability, ErrorKind, Timestamp, VersionDescriptor};
use parking_lot::Mutex;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Descriptor, Given, MayRest, Release};
use crate::limits::HOLD_REQUESTS_MAX;

/// The connection. It is dead once anything went wrong with it; a new one is made then.
#[derive(Debug)]
pub(super) struct Connection {
    socket: AsyncFd<LocalSocket>,
    state: Mutex<State>,
    /// Changed under the lock only.
    is_dead: AtomicBool,
    /// Releases wait that could not be sent at once.
    releases_wait: Notify,
    /// Told when holds may not rest any more.
    wanted_back: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    next_request: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// Holds to give back; as many at most as the worker gave.
    releases: Vec<u64>,
    /// Those that may rest and were not given back.
    resting: BTreeMap<u64, MayRest>,
}

#[derive(Debug)]
struct Waiting {
    place: OwnedSemaphorePermit,
    answer: oneshot::Sender<Answer>,
}

/// What the worker said.
#[derive(Debug)]
pub(super) enum Answer {
    Given(Given),
    NotHeld,
    Refused(ErrorKind, String),
}

impl Connection {
    /// Connects and says hello; the answer to that is awaited by [`serve`](Self::serve).
    pub(super) fn open(path: &Path, wanted_back: Arc<Notify>) -> Result<Arc<Self>, LocalError> {
        let socket = LocalSocket::connect(path)?;
        socket.send(&Request::Hello { level: LEVEL }, None)?;
        let socket = registered(socket)?;
        let (state, releases_wait) = (Mutex::default(), Notify::new());
        let is_dead = AtomicBool::new(false);
        Ok(Arc::new(Self { socket, state, is_dead, releases_wait, wanted_back }))
    }

    pub(super) fn is_live(&self) -> bool {
        !self.is_dead.load(Ordering::Acquire)
    }

    /// Asks for a hold. `None` when the connection breaks or has too many requests. Cancel safe.
    pub(super) async fn hold(
        &self,
        version: &VersionDescriptor,
        capability: &BlockCapability,
        place: OwnedSemaphorePermit,
    ) -> Option<Answer> {
        let (sender, receiver) = oneshot::channel();
        let request = {
            let mut state = self.state.lock();
            if !self.is_live() || state.waiting.len() >= HOLD_REQUESTS_MAX {
                return None;
            }
            let request = state.next_request;
            state.next_request += 1;
            state.waiting.insert(request, Waiting { place, answer: sender });
            request
        };
        let forget = Forget { connection: self, request };
        let message = Request::Hold { request, version: version.clone(), capability: capability.clone() };
        if let Err(error) = self.send(&message).await {
            self.fail(&error);
            return None;
        }
        let answer = receiver.await.ok();
        drop(forget);
        answer
    }

    /// Gives a hold back now, or as soon as the worker reads on. Never blocks.
    pub(super) fn release(&self, hold: u64) {
        {
            let mut state = self.state.lock();
            state.resting.remove(&hold);
            if !self.is_live() {
                return;
            }
        }
        match self.socket.get_ref().send(&Request::Release { hold }, None) {
            Ok(()) => {}
            Err(LocalError::WouldBlock) => {
                self.state.lock().releases.push(hold);
                self.releases_wait.notify_one();
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Receives answers and sends releases that wait, until the connection breaks or the client is closed.
    pub(super) async fn serve(self: Arc<Self>, token: CancellationToken) {
        let outcome = tokio::select! {
            () = token.cancelled() => Err(LocalError::Closed),
            outcome = self.receive() => outcome,
            outcome = self.send_releases() => outcome,
        };
        if let Err(error) = outcome {
            self.fail(&error);
        }
    }

    async fn receive(self: &Arc<Self>) -> Result<(), LocalError> {
        loop {
            let mut ready = self.socket.readable().await.map_err(waiting)?;
            let received = ready.try_io(|socket| ready_or_not(socket.get_ref().recv::<Reply>()));
            // An error here says that the socket was not ready after all.
            if let Ok(received) = received {
                let (reply, descriptor) = received.map_err(waiting)??;
                self.answered(reply, descriptor)?;
            }
        }
    }

    /// Passes an answer on. Nothing is dropped under the lock that a hold's end takes.
    fn answered(self: &Arc<Self>, reply: Reply, descriptor: Option<OwnedFd>) -> Result<(), LocalError> {
        let waiting = |request| self.state.lock().waiting.remove(&request);
        match reply {
            Reply::Hello { level, .. } if (1..=LEVEL).contains(&level) => {}
            Reply::Hello { level, .. } => {
                return Err(LocalError::Protocol { theirs: level, ours: LEVEL });
            }
            Reply::Held { request, hold } => {
                self.held(waiting(request), descriptor, (hold, false, None))?;
            }
            Reply::HeldAt { request, hold, changed, may_rest } => {
                self.held(waiting(request), descriptor, (hold, may_rest, Some(changed)))?;
            }
            Reply::WantedBack { holds } => {
                let mut state = self.state.lock();
                for may_rest in holds.iter().filter_map(|hold| state.resting.remove(hold)) {
                    may_rest.take_back();
                }
                drop(state);
                self.wanted_back.notify_one();
            }
            Reply::NotHeld { request, reason } => {
                tracing::trace!(?reason, "not held");
                let _ = waiting(request).map(|waiting| waiting.answer.send(Answer::NotHeld));
            }
            Reply::Refused { request, kind, message } => {
                let _ = waiting(request).map(|waiting| waiting.answer.send(Answer::Refused(kind, message)));
            }
        }
        Ok(())
    }

    /// Passes a hold on, or gives it back if nobody waits for it any more.
    fn held(
        self: &Arc<Self>,
        waiting: Option<Waiting>,
        descriptor: Option<OwnedFd>,
        (hold, may_rest, changed): (u64, bool, Option<Timestamp>),
    ) -> Result<(), LocalError> {
        let file = descriptor.ok_or(LocalError::Garbage("its descriptor is missing"))?;
        let Some(Waiting { place, answer }) = waiting else {
            self.release(hold);
            return Ok(());
        };
        let may_rest = {
            let mut state = self.state.lock();
            let may_rest = MayRest::new(may_rest && self.is_live());
            if may_rest.get() {
                state.resting.insert(hold, may_rest.clone());
            }
            may_rest
        };
        let file = Descriptor { file, _place: place };
        let release = Release { connection: Arc::clone(self), hold, may_rest };
        // Whoever stopped waiting just now gives it back by not taking it.
        let _ = answer.send(Answer::Given(Given { file, changed, release }));
        Ok(())
    }

    async fn send_releases(&self) -> Result<(), LocalError> {
        loop {
            let Some(hold) = self.state.lock().releases.pop() else {
                self.releases_wait.notified().await;
                continue;
            };
            self.send(&Request::Release { hold }).await?;
        }
    }

    async fn send(&self, message: &Request) -> Result<(), LocalError> {
        match self.socket.get_ref().send(message, None) {
            Err(LocalError::WouldBlock) => {}
            outcome => return outcome,
        }
        loop {
            let mut ready = self.socket.writable().await.map_err(waiting)?;
            if let Ok(sent) = ready.try_io(|socket| ready_or_not(socket.get_ref().send(message, None))) {
                return sent.map_err(waiting)?;
            }
        }
    }

    /// Ends the connection after an error, unless that was a message's own.
    fn fail(&self, error: &LocalError) {
        if !error.is_fatal() {
            return;
        }
        let (waiting, was_dead) = {
            let mut state = self.state.lock();
            state.releases.clear();
            state.resting.values().for_each(MayRest::take_back);
            state.resting.clear();
            (std::mem::take(&mut state.waiting), self.is_dead.swap(true, Ordering::AcqRel))
        };
        drop(waiting);
        self.wanted_back.notify_one();
        if !was_dead {
            tracing::debug!(%error, "the connection to the local worker ended");
        }
    }
}

/// Forgets a request that is no longer waited for.
struct Forget<'a> {
    connection: &'a Connection,
    request: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        let forgotten = self.connection.state.lock().waiting.remove(&self.request);
        drop(forgotten);
    }
}

#[allow(unsafe_code, reason = "tokio has no safe way to register a descriptor of our own")]
fn registered(socket: LocalSocket) -> Result<AsyncFd<LocalSocket>, LocalError> {
    // SAFETY: a `LocalSocket` owns its one descriptor, gives the same one each time, and closes it only when it is
    // dropped, which the `AsyncFd` that owns it does after the end of the registration.
    let registered = unsafe { AsyncFd::register(socket) };
    registered.map_err(|error| waiting(error.into()))
}

/// Tells the reactor whether the socket was ready, and everything else to the caller.
fn ready_or_not<T>(outcome: Result<T, LocalError>) -> io::Result<Result<T, LocalError>> {
    match outcome {
        Err(LocalError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        outcome => Ok(outcome),
    }
}

fn waiting(source: io::Error) -> LocalError {
    LocalError::Socket { action: "wait", source }
}
