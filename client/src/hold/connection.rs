//! One connection to a local worker: many requests at a time, answers in any order.
//!
//! A packet goes whole or not at all, so requests are sent by whoever makes them; one task receives. What nobody waits
//! for any more is given back at once. Law: nothing that gives something back is dropped under the lock.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Weak};

use forebay_local::{LEVEL, LocalError, LocalSocket, Reply, Request};
use forebay_types::{ErrorKind, RecordSeed, Timestamp};
use parking_lot::Mutex;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;

use super::lend::{Files, Slot};
use super::{Descriptor, Given, MayRest, Release};
use crate::limits::HOLD_REQUESTS_MAX;

/// The connection. It is dead once anything went wrong with it; a new one is made then.
#[derive(Debug)]
pub(super) struct Connection {
    socket: AsyncFd<LocalSocket>,
    state: Mutex<State>,
    /// Changed under the lock only.
    is_dead: AtomicBool,
    /// What both sides know; 0 before the worker's greeting.
    level: AtomicU8,
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
    /// Where the files of lends are that were not given back.
    lent: BTreeMap<u64, Weak<Slot>>,
}

#[derive(Debug)]
struct Waiting {
    places: OwnedSemaphorePermit,
    answer: oneshot::Sender<Answer>,
}

/// What the worker said.
#[derive(Debug)]
pub(super) enum Answer {
    Given(Given),
    Lent(Arc<Slot>),
    NotHeld,
    Refused(ErrorKind, String),
}

impl Connection {
    /// Connects and says hello; the answer to that is awaited by [`serve`](Self::serve).
    pub(super) fn open(path: &Path, wanted_back: Arc<Notify>) -> Result<Arc<Self>, LocalError> {
        let socket = LocalSocket::connect(path)?;
        socket.send(&Request::Hello { level: LEVEL }, &[])?;
        let socket = registered(socket)?;
        let (state, releases_wait) = (Mutex::default(), Notify::new());
        let (is_dead, level) = (AtomicBool::new(false), AtomicU8::new(0));
        Ok(Arc::new(Self { socket, state, is_dead, level, releases_wait, wanted_back }))
    }

    pub(super) fn is_live(&self) -> bool {
        !self.is_dead.load(Ordering::Acquire)
    }

    /// Whether the worker is known to know the messages of a level. It is once it has answered anything.
    pub(super) fn has_level(&self, level: u8) -> bool {
        self.level.load(Ordering::Acquire) >= level
    }

    /// Asks for a hold or a lend, of which `message` makes the request; `places` are as many as it may need. `None` when the connection breaks or has too many
    /// requests. Cancel safe.
    pub(super) async fn ask(
        &self,
        message: impl FnOnce(u64) -> Request,
        places: OwnedSemaphorePermit,
    ) -> Option<Answer> {
        let (sender, receiver) = oneshot::channel();
        let request = {
            let mut state = self.state.lock();
            if !self.is_live() || state.waiting.len() >= HOLD_REQUESTS_MAX {
                return None;
            }
            let request = state.next_request;
            state.next_request += 1;
            state.waiting.insert(request, Waiting { places, answer: sender });
            request
        };
        let forget = Forget { connection: self, request };
        if let Err(error) = self.send(&message(request)).await {
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
            state.lent.remove(&hold);
            if !self.is_live() {
                return;
            }
        }
        match self.socket.get_ref().send(&Request::Release { hold }, &[]) {
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
                let (reply, descriptors) = received.map_err(waiting)??;
                self.answered(reply, descriptors)?;
            }
        }
    }

    /// Passes an answer on. Nothing is dropped under the lock that a hold's end takes.
    fn answered(self: &Arc<Self>, reply: Reply, descriptors: Vec<OwnedFd>) -> Result<(), LocalError> {
        let waiting = |request| self.state.lock().waiting.remove(&request);
        match reply {
            Reply::Hello { level, .. } if (1..=LEVEL).contains(&level) => {
                self.level.store(level, Ordering::Release);
            }
            Reply::Hello { level, .. } => {
                return Err(LocalError::Protocol { theirs: level, ours: LEVEL });
            }
            Reply::Held { request, hold } => {
                self.held(waiting(request), descriptors, (hold, false, None))?;
            }
            Reply::HeldAt { request, hold, changed, may_rest } => {
                self.held(waiting(request), descriptors, (hold, may_rest, Some(changed)))?;
            }
            Reply::WantedBack { holds } => {
                let mut state = self.state.lock();
                for may_rest in holds.iter().filter_map(|hold| state.resting.remove(hold)) {
                    may_rest.take_back();
                }
                let lent: Vec<_> =
                    holds.iter().filter_map(|hold| state.lent.remove(hold)?.upgrade()).collect();
                drop(state);
                lent.iter().for_each(|slot| slot.give_back());
                self.wanted_back.notify_one();
            }
            Reply::Lent { request, lend, records, seed } => {
                self.lent(waiting(request), descriptors, (lend, records, RecordSeed::from_number(seed)))?;
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
        descriptors: Vec<OwnedFd>,
        (hold, may_rest, changed): (u64, bool, Option<Timestamp>),
    ) -> Result<(), LocalError> {
        let [file] = taken(descriptors)?;
        let Some(Waiting { mut places, answer }) = waiting else {
            self.release(hold);
            return Ok(());
        };
        // A lend would have needed more.
        let place = places.split(1).unwrap_or(places);
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

    /// The same for a lend.
    fn lent(
        self: &Arc<Self>,
        waiting: Option<Waiting>,
        descriptors: Vec<OwnedFd>,
        (lend, records, seed): (u64, u64, RecordSeed),
    ) -> Result<(), LocalError> {
        let [data, index] = taken(descriptors)?;
        let Some(Waiting { places, answer }) = waiting else {
            self.release(lend);
            return Ok(());
        };
        let slot = Arc::<Slot>::default();
        {
            let mut state = self.state.lock();
            // On a dead connection nobody would empty it.
            if !self.is_live() {
                return Ok(());
            }
            state.lent.insert(lend, Arc::downgrade(&slot));
        }
        let release = Release { connection: Arc::clone(self), hold: lend, may_rest: MayRest::new(false) };
        slot.put(Files { data, index, records, seed, release, _places: places });
        if self.is_live() {
            let _ = answer.send(Answer::Lent(Arc::clone(&slot)));
        } else {
            slot.give_back();
        }
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
        match self.socket.get_ref().send(message, &[]) {
            Err(LocalError::WouldBlock) => {}
            outcome => return outcome,
        }
        loop {
            let mut ready = self.socket.writable().await.map_err(waiting)?;
            if let Ok(sent) = ready.try_io(|socket| ready_or_not(socket.get_ref().send(message, &[]))) {
                return sent.map_err(waiting)?;
            }
        }
    }

    /// Ends the connection after an error, unless that was a message's own.
    fn fail(&self, error: &LocalError) {
        if !error.is_fatal() {
            return;
        }
        let (waiting, lent, was_dead) = {
            let mut state = self.state.lock();
            state.releases.clear();
            state.resting.values().for_each(MayRest::take_back);
            state.resting.clear();
            let lent = std::mem::take(&mut state.lent);
            (std::mem::take(&mut state.waiting), lent, self.is_dead.swap(true, Ordering::AcqRel))
        };
        drop(waiting);
        lent.values().filter_map(Weak::upgrade).for_each(|slot| slot.give_back());
        self.wanted_back.notify_one();
        if !was_dead {
            tracing::debug!(%error, "the connection to the local worker ended");
        }
    }
}

/// The descriptors of a message, which the socket has counted.
fn taken<const N: usize>(descriptors: Vec<OwnedFd>) -> Result<[OwnedFd; N], LocalError> {
    descriptors.try_into().map_err(|_| LocalError::Garbage("its descriptors are missing"))
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
