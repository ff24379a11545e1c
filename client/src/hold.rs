//! Holds and lends: descriptors of a worker's cache files, got over its unix socket and given back when they are
//! dropped.
//!
//! One connection for each local worker carries all requests. When it breaks, the worker has given up its holds; their
//! descriptors still read the right bytes, as the file is unlinked and not rewritten while a process has it open.

mod buffers;
mod connection;
mod lend;
mod resting;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use forebay_local::{LEVEL_LENDS, LEVEL_OPENS, Request};
use forebay_types::{BlockCapability, ByteCount, FileOffset, Timestamp, VersionDescriptor};
use parking_lot::Mutex;
use rustix::io::{Errno, ReadWriteFlags};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::ClientError;
use crate::limits::{
    DESCRIPTORS_PER_HOLD, DESCRIPTORS_PER_LEND, HOLD_DEADLINE, HOLD_RECONNECT_PAUSE, HOLDS_OPEN_MIN,
    INLINE_READ_MAX,
};
use buffers::Buffers;
use connection::{Answer, Connection};
use resting::{FileState, MayRest, Shelf};

pub(crate) use lend::Gap;
pub use lend::Lend;
pub use resting::RestingHold;

/// A wholly cached version as a local file that nobody changes while this lives.
///
/// Dropping it gives the hold back, also when the worker died meanwhile. The descriptor is `O_RDONLY`; the file has the
/// version's bytes at their offsets and its length.
#[derive(Debug)]
pub struct Hold {
    file: Descriptor,
    length: ByteCount,
    state: FileState,
    release: Release,
    shelf: Arc<Shelf>,
}

/// An open file of a worker, and its place among those that this process may have open.
#[derive(Debug)]
struct Descriptor {
    file: OwnedFd,
    _place: OwnedSemaphorePermit,
}

/// Gives a hold back when it is dropped.
#[derive(Debug)]
struct Release {
    connection: Arc<Connection>,
    hold: u64,
    may_rest: MayRest,
}

/// What a worker gave: a file that may be the version's.
#[derive(Debug)]
struct Given {
    file: Descriptor,
    /// Change time of the file when it was right, where the worker says it.
    changed: Option<Timestamp>,
    release: Release,
}

/// What this machine has of a version.
#[derive(Debug)]
pub enum AtHand {
    /// All of it, held.
    Hold(Hold),
    /// Some of it, or all where it may not be held.
    Lend(Lend),
    /// Nothing that could be read past a worker.
    Nothing,
}

/// A version, and the right to read it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readable<'a> {
    pub(crate) version: &'a VersionDescriptor,
    pub(crate) capability: &'a BlockCapability,
}

/// The workers of this machine, by their sockets.
#[derive(Debug)]
pub(crate) struct LocalWorkers {
    sockets: Mutex<BTreeMap<PathBuf, Socket>>,
    /// How many files of theirs may be open at once.
    places: Arc<Semaphore>,
    shelf: Arc<Shelf>,
    /// What reads of lent files fill.
    buffers: Arc<Buffers>,
    /// Told when resting holds are wanted back.
    wanted_back: Arc<Notify>,
    tracker: TaskTracker,
    token: CancellationToken,
}

#[derive(Debug)]
enum Socket {
    Connected(Arc<Connection>),
    /// Nobody listened; not asked again before this.
    Absent(Instant),
}

impl Hold {
    /// Length of the version.
    #[must_use]
    pub const fn length(&self) -> ByteCount {
        self.length
    }

    /// Whether the worker still knows of the hold. When not, further reads are right as well, but a new one should be
    /// asked for.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.release.connection.is_live()
    }

    /// Goes on holding for whoever else has the file open, or for the next one.
    #[must_use]
    pub fn rest(self) -> RestingHold {
        RestingHold::new(self.file, self.state, self.release, &self.shelf)
    }

    /// Up to `length` bytes from `offset` on; fewer at the end of the file. Blocks while a disk is read.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn read_at(&self, offset: FileOffset, length: usize) -> io::Result<Bytes> {
        let mut buffer = vec![0; length];
        let mut had = 0;
        while had < length {
            let at = offset.get().saturating_add(had as u64);
            match rustix::io::pread(&self.file.file, &mut buffer[had..], at) {
                Ok(0) => break,
                Ok(more) => had += more,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        buffer.truncate(had);
        Ok(buffer.into())
    }

    /// The bytes of a range without blocking the task: at once where they are in memory, else on a thread for it.
    pub(crate) async fn read(self: &Arc<Self>, range: Range<u64>) -> io::Result<Bytes> {
        let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        if length <= INLINE_READ_MAX
            && let Some(bytes) = self.read_from_memory(range.start, length)
        {
            return Ok(bytes);
        }
        let hold = Arc::clone(self);
        tokio::task::spawn_blocking(move || hold.read_at(FileOffset::new(range.start), length))
            .await
            .map_err(io::Error::other)?
    }

    /// All of the bytes, if they are in the page cache.
    fn read_from_memory(&self, offset: u64, length: usize) -> Option<Bytes> {
        let mut buffer = vec![0; length];
        self.read_from_memory_into(offset, &mut buffer).then(|| buffer.into())
    }

    /// Fills the buffer, if all that it takes is in the page cache.
    pub(crate) fn read_from_memory_into(&self, offset: u64, buffer: &mut [u8]) -> bool {
        let length = buffer.len();
        let mut parts = [io::IoSliceMut::new(buffer)];
        let read = rustix::io::preadv2(&self.file.file, &mut parts, offset, ReadWriteFlags::NOWAIT);
        read.is_ok_and(|had| had == length)
    }
}

impl AsFd for Hold {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.file.as_fd()
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        self.connection.release(self.hold);
    }
}

impl LocalWorkers {
    pub(crate) fn new(tracker: TaskTracker, token: CancellationToken) -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        let places = usize::try_from(limit / DESCRIPTORS_PER_HOLD).unwrap_or(usize::MAX);
        let places = places.clamp(HOLDS_OPEN_MIN, Semaphore::MAX_PERMITS);
        // What rests must leave places to others.
        let shelf = Arc::new(Shelf::new(places / 2));
        let places = Arc::new(Semaphore::new(places));
        let (buffers, wanted_back) = Default::default();
        Self { sockets: Mutex::default(), places, shelf, buffers, wanted_back, tracker, token }
    }

    /// Waits until a worker wants resting holds back, or is gone. Cancel safe; for one at a time.
    pub(crate) async fn wanted_back(&self) {
        self.wanted_back.notified().await;
    }

    /// Asks the worker at `socket` for a hold. A worker that cannot be reached gives none.
    pub(crate) async fn hold(&self, socket: &Path, of: Readable<'_>) -> Result<Option<Hold>, ClientError> {
        let Some(connection) = self.connection(socket) else { return Ok(None) };
        let message = |request, version, capability| Request::Hold { request, version, capability };
        Ok(match self.ask(&connection, of, 1, message).await? {
            AtHand::Hold(hold) => Some(hold),
            AtHand::Lend(_) | AtHand::Nothing => None,
        })
    }

    /// Asks the worker at `socket` for a hold, or else for the files of a version as far as it has it: by one message, or by
    /// two where it is of an older release or has said nothing yet. A worker that cannot be reached gives nothing.
    pub(crate) async fn at_hand(&self, socket: &Path, of: Readable<'_>) -> Result<AtHand, ClientError> {
        let Some(connection) = self.connection(socket) else { return Ok(AtHand::Nothing) };
        if connection.has_level(LEVEL_OPENS) {
            let message = |request, version, capability| Request::Open { request, version, capability };
            return self.ask(&connection, of, DESCRIPTORS_PER_LEND, message).await;
        }
        if let Some(hold) = self.hold(socket, of).await? {
            return Ok(AtHand::Hold(hold));
        }
        let Some(connection) = self.connection(socket).filter(|it| it.has_level(LEVEL_LENDS)) else {
            return Ok(AtHand::Nothing);
        };
        let message = |request, version, capability| Request::Lend { request, version, capability };
        self.ask(&connection, of, DESCRIPTORS_PER_LEND, message).await
    }

    /// Sends what `message` makes, and gives what came. Nothing where too many files are open already.
    async fn ask(
        &self,
        connection: &Arc<Connection>,
        Readable { version, capability }: Readable<'_>,
        places: u32,
        message: fn(u64, VersionDescriptor, BlockCapability) -> Request,
    ) -> Result<AtHand, ClientError> {
        let Ok(places) = Arc::clone(&self.places).try_acquire_many_owned(places) else {
            return Ok(AtHand::Nothing);
        };
        let request = |request| message(request, version.clone(), capability.clone());
        match tokio::time::timeout(HOLD_DEADLINE, connection.ask(request, places)).await {
            Ok(Some(Answer::Given(given))) => {
                Ok(given.checked(version, &self.shelf)?.map_or(AtHand::Nothing, AtHand::Hold))
            }
            Ok(Some(Answer::Lent(files))) => {
                let lent = Lend::checked(files, version, &self.buffers).await;
                let lent = lent.map_err(|source| ClientError::Io {
                    what: format!("looking at the lent files of {} ({})", version.key, version.file),
                    source,
                })?;
                Ok(lent.map_or(AtHand::Nothing, AtHand::Lend))
            }
            Ok(Some(Answer::Refused(kind, message))) => {
                Err(ClientError::Answer { kind, message, leader: None })
            }
            Ok(Some(Answer::NotHeld) | None) | Err(_) => Ok(AtHand::Nothing),
        }
    }

    /// The live connection to a socket; makes one if the last attempt is not just over. Connecting to a unix socket
    /// does not wait.
    fn connection(&self, socket: &Path) -> Option<Arc<Connection>> {
        if self.token.is_cancelled() {
            return None;
        }
        let mut sockets = self.sockets.lock();
        match sockets.get(socket) {
            Some(Socket::Connected(connection)) if connection.is_live() => {
                return Some(Arc::clone(connection));
            }
            Some(Socket::Absent(until)) if *until > Instant::now() => return None,
            _ => {}
        }
        // A machine has one worker or a few: an old socket's name goes when another one is found.
        sockets.retain(|_, known| matches!(known, Socket::Connected(connection) if connection.is_live()));
        let (state, connected) = match Connection::open(socket, Arc::clone(&self.wanted_back)) {
            Ok(connection) => {
                self.tracker.spawn(Arc::clone(&connection).serve(self.token.clone()));
                (Socket::Connected(Arc::clone(&connection)), Some(connection))
            }
            Err(error) => {
                tracing::debug!(socket = %socket.display(), %error, "the local worker cannot be reached");
                (Socket::Absent(Instant::now() + HOLD_RECONNECT_PAUSE), None)
            }
        };
        sockets.insert(socket.to_owned(), state);
        connected
    }
}

impl Given {
    /// The hold, if its file can be the version's.
    fn checked(self, version: &VersionDescriptor, shelf: &Arc<Shelf>) -> Result<Option<Hold>, ClientError> {
        let Self { file, changed, release } = self;
        let stat = rustix::fs::fstat(&file.file).map_err(|error| ClientError::Io {
            what: format!("looking at the held file of {} ({})", version.key, version.file),
            source: error.into(),
        })?;
        if u64::try_from(stat.st_size).ok() != Some(version.length().get()) {
            let (key, file) = (&version.key, version.file);
            tracing::warn!(%key, %file, length = stat.st_size, "a held file has not its version's length");
            return Ok(None);
        }
        let state = FileState::of(&stat);
        if changed.is_some_and(|changed| changed != state.changed()) {
            tracing::debug!(file = %version.file, "a held file was changed before it came");
            return Ok(None);
        }
        Ok(Some(Hold { file, length: version.length(), state, release, shelf: Arc::clone(shelf) }))
    }
}

#[cfg(test)]
mod tests;
