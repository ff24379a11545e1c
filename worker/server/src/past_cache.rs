//! Reads past the cache: what is asked of an under-store and not stored. What readers of one version want at the same
//! time is asked for once, and goes to all of them.
//!
//! A version is fetched in steps, cut where all readers cut it, so that those who begin in different places come to ask
//! for the same. A step is asked for by the first who wants it, in a task of its own: a reader that is slow or goes away
//! keeps nobody waiting, and the request ends when nobody is left who wants it. What came is kept for those who are a
//! little behind, within a named part of the memory, the oldest leaving first, and no longer than some reader of the
//! version is on its way past the cache: this is no cache. Who is farther behind asks again.
//!
//! Invariants: the steps of a version do not overlap; a step serves bytes only when all of it came and was seen to be of
//! the one version; beside what it is giving to its connection a reader holds one step, and more only as the memory
//! for that allows.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use forebay_types::FileId;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tracing::Instrument;

use crate::error::ReadError;
use crate::fetches::Fetches;
use crate::limits::{UNCACHED_FETCH_LENGTH, UNCACHED_FETCHES_PER_READ_MAX, UNCACHED_KEPT_LENGTH_LEAST};
use crate::version::Version;
use crate::working_memory::WorkingMemory;

/// The reads past the cache of a worker.
#[derive(Debug)]
pub(crate) struct PastCache {
    fetches: Arc<Fetches>,
    memory: WorkingMemory,
    shared: Mutex<Shared>,
}

/// A reader on its way past the cache. What it and others fetch is shared until the last of them is dropped.
#[derive(Debug)]
pub(crate) struct Visit {
    past: Arc<PastCache>,
    file: FileId,
}

/// Bytes that follow each other, on their way to one reader.
#[derive(Debug)]
pub(crate) struct Run {
    visit: Arc<Visit>,
    version: Arc<Version>,
    position: u64,
    asked_until: u64,
    end: u64,
    /// Those that were asked for and not taken, in their order.
    asked: VecDeque<Asked>,
}

/// What a run gives at once: pieces that follow each other.
#[derive(Debug)]
pub(crate) struct Stretch {
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) pieces: VecDeque<Bytes>,
}

/// A step that a reader waits for.
#[derive(Debug)]
struct Asked {
    begin: u64,
    end: u64,
    state: watch::Receiver<StepState>,
    /// Of one that was asked for ahead of the reader's need.
    _ahead: Option<OwnedSemaphorePermit>,
}

#[derive(Debug, Default)]
struct Shared {
    versions: HashMap<FileId, Readers>,
    /// The number of the step that was asked for last.
    latest: u64,
    /// Versions and begins of the steps whose bytes are kept, by their numbers.
    kept: BTreeMap<u64, (FileId, u64)>,
    kept_length: u64,
}

/// The readers of one version.
#[derive(Debug, Default)]
struct Readers {
    count: usize,
    /// By their begins.
    steps: BTreeMap<u64, Step>,
}

/// A step that is coming or is kept.
#[derive(Debug)]
struct Step {
    /// Tells it from others that begin in the same place, before and after it.
    number: u64,
    end: u64,
    state: watch::Sender<StepState>,
}

#[derive(Clone, Debug)]
enum StepState {
    Coming,
    Here(Arc<[Bytes]>),
    Failed(ReadError),
}

/// A request under way.
struct Flight {
    past: Arc<PastCache>,
    version: Arc<Version>,
    number: u64,
    begin: u64,
    end: u64,
    /// Whether what came stays for those who are behind.
    is_kept: bool,
    state: watch::Sender<StepState>,
}

impl PastCache {
    /// Nobody reads yet.
    pub(crate) fn new(fetches: Arc<Fetches>, memory: WorkingMemory) -> Arc<Self> {
        Arc::new(Self { fetches, memory, shared: Mutex::default() })
    }

    /// A reader of `file` begins.
    pub(crate) fn enter(self: &Arc<Self>, file: FileId) -> Arc<Visit> {
        self.shared.lock().versions.entry(file).or_default().count += 1;
        Arc::new(Visit { past: Arc::clone(self), file })
    }

    /// The step that has the byte at `position`: one that others asked for, else a new one, which ends at `end` or before.
    fn ask(
        self: &Arc<Self>,
        version: &Arc<Version>,
        position: u64,
        end: u64,
    ) -> (u64, u64, watch::Receiver<StepState>) {
        let mut shared = self.shared.lock();
        let number = shared.latest + 1;
        let readers = shared.versions.entry(version.file()).or_default();
        if let Some((begin, step)) = readers.steps.range(..=position).next_back()
            && step.end > position
        {
            return (*begin, step.end, step.state.subscribe());
        }
        let cut = (position / UNCACHED_FETCH_LENGTH + 1).saturating_mul(UNCACHED_FETCH_LENGTH);
        let next = readers.steps.range(position..).next().map_or(u64::MAX, |(begin, _)| *begin);
        let wanted = end;
        let end = wanted.min(cut).min(next);
        // One that ends where its reader does is no part of what others ask for.
        let is_part = end == wanted && end < cut.min(next).min(version.length());
        let is_kept = !is_part || end - position >= UNCACHED_KEPT_LENGTH_LEAST;
        let (state, receiver) = watch::channel(StepState::Coming);
        readers.steps.insert(position, Step { number, end, state: state.clone() });
        shared.latest = number;
        drop(shared);
        let (past, version) = (Arc::clone(self), Arc::clone(version));
        let flight = Flight { past, version, number, begin: position, end, is_kept, state };
        // Its log lines belong to the request that asked first.
        self.fetches.spawn(flight.run().in_current_span());
        (position, end, receiver)
    }
}

impl Visit {
    /// Fetches `begin..end` of the version that is visited.
    pub(crate) fn run(self: &Arc<Self>, version: &Arc<Version>, begin: u64, end: u64) -> Run {
        let (visit, version) = (Arc::clone(self), Arc::clone(version));
        Run { visit, version, position: begin, asked_until: begin, end, asked: VecDeque::new() }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.past.shared.lock().leave(self.file);
    }
}

impl Run {
    /// The next bytes; `None` at the end. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Stretch>, ReadError> {
        self.ask_ahead();
        let Some(first) = self.asked.front_mut() else { return Ok(None) };
        let is_over = first.state.wait_for(|state| !matches!(state, StepState::Coming));
        let state = is_over.await.map_err(|_| ReadError::Stopping)?.clone();
        let pieces = match state {
            StepState::Here(pieces) => pieces,
            StepState::Failed(error) => return Err(error),
            StepState::Coming => return Err(ReadError::Stopping),
        };
        let (begin, end) = (self.position, first.end.min(self.end));
        let pieces = cut(first.begin, &pieces, begin, end);
        self.asked.pop_front();
        self.position = end;
        // Before the reader is busy with these.
        self.ask_ahead();
        Ok(Some(Stretch { begin, end, pieces }))
    }

    /// The first is always asked for, and more while there is memory for what comes before it is needed.
    fn ask_ahead(&mut self) {
        let past = &self.visit.past;
        while self.asked_until < self.end && self.asked.len() < UNCACHED_FETCHES_PER_READ_MAX {
            let ahead = if self.asked.is_empty() { None } else { past.memory.ahead() };
            if ahead.is_none() && !self.asked.is_empty() {
                return;
            }
            let (begin, end, state) = past.ask(&self.version, self.asked_until, self.end);
            self.asked_until = end;
            self.asked.push_back(Asked { begin, end, state, _ahead: ahead });
        }
    }
}

/// The part from `begin` to `end` of pieces that begin at `position`.
fn cut(mut position: u64, pieces: &[Bytes], begin: u64, end: u64) -> VecDeque<Bytes> {
    let place = |offset: u64| usize::try_from(offset).expect("within a piece");
    let mut parts = VecDeque::new();
    for piece in pieces {
        let piece_end = position + piece.len() as u64;
        let (from, to) = (begin.max(position), end.min(piece_end));
        if from < to {
            parts.push_back(piece.slice(place(from - position)..place(to - position)));
        }
        position = piece_end;
    }
    parts
}

impl Shared {
    /// Keeps what came for those who are behind, and lets the oldest go that is beyond `length_max`.
    fn keep(&mut self, file: FileId, begin: u64, number: u64, length_max: u64) {
        let step = self.versions.get(&file).and_then(|readers| readers.steps.get(&begin));
        let Some(step) = step.filter(|step| step.number == number) else { return };
        self.kept_length += step.end - begin;
        self.kept.insert(number, (file, begin));
        while self.kept_length > length_max
            && let Some((number, (file, begin))) = self.kept.pop_first()
            && let Some(step) = self.forget(file, begin, number)
        {
            self.kept_length -= step.end - begin;
        }
    }

    /// Takes a step out of the table; whoever waits for it hears of it still.
    fn forget(&mut self, file: FileId, begin: u64, number: u64) -> Option<Step> {
        let steps = &mut self.versions.get_mut(&file)?.steps;
        steps.get(&begin).is_some_and(|step| step.number == number).then(|| steps.remove(&begin)).flatten()
    }

    /// A reader is done. With the last one goes what is kept for others.
    fn leave(&mut self, file: FileId) {
        let Some(readers) = self.versions.get_mut(&file) else { return };
        readers.count = readers.count.saturating_sub(1);
        if readers.count > 0 {
            return;
        }
        for (begin, step) in self.versions.remove(&file).into_iter().flat_map(|readers| readers.steps) {
            if self.kept.remove(&step.number).is_some() {
                self.kept_length -= step.end - begin;
            }
        }
    }
}

impl Flight {
    async fn run(self) {
        let fetched = {
            let fetch = self.past.fetches.uncached(&self.version, self.begin, self.end);
            tokio::select! {
                biased;
                fetched = fetch => fetched,
                () = self.is_abandoned() => return,
            }
        };
        let (file, mut shared) = (self.version.file(), self.past.shared.lock());
        match fetched {
            Ok(pieces) => {
                self.state.send_replace(StepState::Here(pieces.into()));
                if self.is_kept {
                    shared.keep(file, self.begin, self.number, self.past.memory.kept_length_max());
                } else {
                    shared.forget(file, self.begin, self.number);
                }
            }
            Err(error) => {
                // First, so that whoever asks from now on makes an attempt of its own.
                shared.forget(file, self.begin, self.number);
                self.state.send_replace(StepState::Failed(error));
            }
        }
    }

    /// Ends when nobody waits for the step, and nobody can begin to.
    async fn is_abandoned(&self) {
        loop {
            self.state.closed().await;
            let mut shared = self.past.shared.lock();
            // Under the lock, as all who join do so under it.
            if self.state.receiver_count() == 0 {
                shared.forget(self.version.file(), self.begin, self.number);
                return;
            }
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if matches!(*self.state.borrow(), StepState::Coming) {
            self.past.shared.lock().forget(self.version.file(), self.begin, self.number);
            self.state.send_replace(StepState::Failed(ReadError::Stopping));
        }
    }
}
