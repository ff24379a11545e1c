//! Readahead: fetches in the background what the planner foresees, and serves reads from it while it still arrives.
//!
//! The memory of all readers of a client together is bounded; what finds no room is simply not read ahead.

mod planner;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::fetch::{Fetch, join};
use crate::limits::READAHEAD_SHARE;
use planner::{PartId, PlannedPart, Planner};

/// The readahead of one reader.
#[derive(Debug)]
pub(crate) struct Prefetch {
    fetch: Arc<Fetch>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    planner: Planner,
    parts: BTreeMap<PartId, Running>,
}

/// A part that is being fetched or is there. Dropping it stops the fetch.
#[derive(Debug)]
struct Running {
    part: Arc<Part>,
    _stop: DropGuard,
}

/// The bytes of a part as far as they came.
#[derive(Debug)]
struct Part {
    range: Range<u64>,
    state: Mutex<Arrived>,
    grown: Notify,
    /// Room in memory, given back with the bytes.
    _room: OwnedSemaphorePermit,
}

#[derive(Debug, Default)]
struct Arrived {
    /// In their order, without gaps, with the offset of each.
    chunks: Vec<(u64, Bytes)>,
    /// The end of the last one.
    end: u64,
    /// No more will come.
    is_over: bool,
}

impl Prefetch {
    pub(crate) fn new(fetch: Arc<Fetch>) -> Self {
        let version = fetch.version();
        let planner = Planner::new(version.length().get(), version.block_length.get());
        Self { fetch, state: Mutex::new(State { planner, parts: BTreeMap::new() }) }
    }

    /// Whether a read is in what was read ahead or is on its way.
    pub(crate) fn has(&self, range: &Range<u64>) -> bool {
        self.state.lock().planner.covers(range)
    }

    /// The bytes of a read, if they were read ahead or are on their way; `None`: fetch them by themselves. Cancel safe.
    pub(crate) async fn read(&self, range: &Range<u64>, deadline: Instant) -> Option<Bytes> {
        let parts = self.plan(range);
        if parts.is_empty() {
            return None;
        }
        let mut chunks = Vec::new();
        for (id, part) in parts {
            let wanted = range.start.max(part.range.start)..range.end.min(part.range.end);
            let arrived = tokio::time::timeout_at(deadline, part.slice(&wanted)).await;
            let Ok(Some(arrived)) = arrived else {
                let mut state = self.state.lock();
                let forgotten = state.planner.on_failure(id);
                let stopped: Vec<_> = forgotten.iter().filter_map(|id| state.parts.remove(id)).collect();
                drop(state);
                drop(stopped);
                return None;
            };
            chunks.extend(arrived);
        }
        Some(join(chunks))
    }

    /// Tells the planner of a read, begins and stops what it says, and gives the parts that serve the read.
    fn plan(&self, range: &Range<u64>) -> Vec<(PartId, Arc<Part>)> {
        let mut rooms = Vec::new();
        let readahead = &self.fetch.client().0.readahead;
        let mut state = self.state.lock();
        let State { planner, parts } = &mut *state;
        let mut held: usize = parts.values().map(|running| running.part.length()).sum();
        let plan = planner.on_read(range, |part| {
            let Ok(bytes) = u32::try_from(part.range.end - part.range.start) else { return false };
            held += bytes as usize;
            held <= readahead.available_permits() / READAHEAD_SHARE
                && Arc::clone(readahead).try_acquire_many_owned(bytes).map(|room| rooms.push(room)).is_ok()
        });
        for (planned, room) in plan.fetch.into_iter().zip(rooms) {
            parts.insert(planned.id, self.begin(&planned, room));
        }
        let serve = plan.serve.iter().filter_map(|planned| {
            parts.get(&planned.id).map(|running| (planned.id, Arc::clone(&running.part)))
        });
        let serve: Vec<_> = serve.collect();
        let stopped: Vec<_> = plan.forget.iter().filter_map(|id| parts.remove(id)).collect();
        drop(state);
        drop(stopped);
        serve
    }

    fn begin(&self, planned: &PlannedPart, room: OwnedSemaphorePermit) -> Running {
        let client = self.fetch.client();
        let token = client.0.token.child_token();
        let arrived = Arrived { end: planned.range.start, ..Arrived::default() };
        let part = Arc::new(Part {
            range: planned.range.clone(),
            state: Mutex::new(arrived),
            grown: Notify::new(),
            _room: room,
        });
        let deadline = Instant::now() + client.settings().read_deadline;
        client.0.tracker.spawn(fill(Arc::clone(&part), Arc::clone(&self.fetch), deadline, token.clone()));
        Running { part, _stop: token.drop_guard() }
    }
}

/// Fetches a part until it is there, cannot be had, or nobody wants it any more.
async fn fill(part: Arc<Part>, fetch: Arc<Fetch>, deadline: Instant, token: CancellationToken) {
    let fetched = fetch.block(part.range.clone(), deadline, |chunk| part.push(chunk));
    let outcome = tokio::select! {
        () = token.cancelled() => Ok(()),
        outcome = fetched => outcome,
    };
    if let Err(error) = outcome {
        // The read that needs it asks again and tells the error.
        tracing::debug!(file = %fetch.version().file, %error, "readahead failed");
    }
    part.state.lock().is_over = true;
    part.grown.notify_waiters();
}

impl Part {
    /// Bytes of memory that it may take.
    fn length(&self) -> usize {
        usize::try_from(self.range.end - self.range.start).expect("planned parts are small")
    }

    fn push(&self, chunk: Bytes) {
        let mut state = self.state.lock();
        let offset = state.end;
        state.end += chunk.len() as u64;
        state.chunks.push((offset, chunk));
        drop(state);
        self.grown.notify_waiters();
    }

    /// The bytes of a range inside the part, as soon as they are there; `None` when they will not come.
    async fn slice(&self, range: &Range<u64>) -> Option<Vec<Bytes>> {
        loop {
            let grown = self.grown.notified();
            tokio::pin!(grown);
            // From here on no chunk is missed.
            grown.as_mut().enable();
            {
                let state = self.state.lock();
                if state.end >= range.end {
                    return Some(state.slice(range));
                }
                if state.is_over {
                    return None;
                }
            }
            grown.await;
        }
    }
}

impl Arrived {
    fn slice(&self, range: &Range<u64>) -> Vec<Bytes> {
        let first = self.chunks.partition_point(|(offset, chunk)| offset + chunk.len() as u64 <= range.start);
        let mut slices = Vec::new();
        for (offset, chunk) in &self.chunks[first..] {
            if *offset >= range.end {
                break;
            }
            let begin = range.start.saturating_sub(*offset);
            let end = (range.end - offset).min(chunk.len() as u64);
            let place = |at: u64| usize::try_from(at).expect("at most the length of the chunk");
            slices.push(chunk.slice(place(begin)..place(end)));
        }
        slices
    }
}
