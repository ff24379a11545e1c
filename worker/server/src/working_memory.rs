//! How the memory that a worker may take beside its cache is shared out: a quarter to fetches, half to what goes to
//! readers, an eighth to what was fetched past the cache before it was needed, a sixteenth to what is kept of that for
//! others; the rest is for all else.
//!
//! Readers that are slow or stand still must not keep others from reading. So nobody waits long: where there is no room
//! a piece is shorter, and after a short while the shortest one goes without.

use std::sync::Arc;

use forebay_types::{ByteCount, PAGE_LENGTH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{FETCHES_MAX, FETCHES_MIN, PAGES_PER_FETCH, ROOM_PATIENCE, UNCACHED_FETCH_LENGTH};

/// The unit in which room is counted, in bytes.
const UNIT: u64 = 1 << 10;
/// A piece is in memory twice: as it was read, and as the message that the connection has not taken yet.
const COPIES: u64 = 2;

/// The memory of one worker. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct WorkingMemory {
    /// A permit is a unit that pieces may take.
    pieces: Arc<Semaphore>,
    fetches: usize,
    /// A permit is a fetch past the cache that nobody needs yet.
    ahead: Arc<Semaphore>,
    kept_length_max: u64,
}

/// Room for a piece. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Room {
    length: u64,
    _permit: Option<OwnedSemaphorePermit>,
}

impl WorkingMemory {
    pub(crate) fn new(budget: ByteCount) -> Self {
        let units = usize::try_from(budget.get() / 2 / UNIT).unwrap_or(usize::MAX);
        let fetches = budget.get() / 4 / (PAGES_PER_FETCH * PAGE_LENGTH);
        let ahead = usize::try_from(budget.get() / 8 / UNCACHED_FETCH_LENGTH).unwrap_or(usize::MAX);
        Self {
            pieces: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))),
            fetches: usize::try_from(fetches).unwrap_or(usize::MAX).clamp(FETCHES_MIN, FETCHES_MAX),
            ahead: Arc::new(Semaphore::new(ahead.min(Semaphore::MAX_PERMITS))),
            kept_length_max: budget.get() / 16,
        }
    }

    /// Leave to fetch past the cache what is not needed yet, where there is memory for it. It is given back when its bytes
    /// were taken.
    pub(crate) fn ahead(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.ahead).try_acquire_owned().ok()
    }

    /// Most bytes that are kept of what was fetched past the cache.
    pub(crate) const fn kept_length_max(&self) -> u64 {
        self.kept_length_max
    }

    /// Fetches that may be under way at once.
    pub(crate) const fn fetches(&self) -> usize {
        self.fetches
    }

    /// Room for a piece of `wanted` bytes, or of fewer where there is less, down to `least`. Cancel safe.
    pub(crate) async fn room(&self, wanted: u64, least: u64) -> Room {
        let mut length = wanted;
        loop {
            if let Ok(permit) = Arc::clone(&self.pieces).try_acquire_many_owned(units(length)) {
                return Room { length, _permit: Some(permit) };
            }
            if length <= least {
                break;
            }
            length = (length / 2).max(least);
        }
        let room = Arc::clone(&self.pieces).acquire_many_owned(units(length));
        // It is never closed.
        let permit = tokio::time::timeout(ROOM_PATIENCE, room).await.ok().and_then(Result::ok);
        Room { length, _permit: permit }
    }
}

impl Room {
    /// How long the piece may be, in bytes.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }
}

fn units(length: u64) -> u32 {
    u32::try_from((length * COPIES).div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const LEAST: u64 = 128 << 10;

    #[tokio::test(start_paused = true)]
    async fn pieces_become_shorter_where_there_is_less_room_and_nobody_waits_for_ever() {
        // Eight mebibytes for pieces, each of them twice.
        let memory = WorkingMemory::new(ByteCount::new(16 * MIB));
        let mut rooms = Vec::new();
        for expected in [MIB, MIB, MIB, MIB - LEAST] {
            rooms.push(memory.room(expected, LEAST).await);
            assert_eq!(rooms.last().expect("one").length(), expected);
        }
        rooms.push(memory.room(MIB, LEAST).await);
        assert_eq!(rooms.last().expect("one").length(), LEAST, "there is room for no more");
        let begun = tokio::time::Instant::now();
        let without = memory.room(MIB, LEAST).await;
        assert_eq!((without.length(), begun.elapsed()), (LEAST, ROOM_PATIENCE));
        rooms.clear();
        assert_eq!(memory.room(MIB, LEAST).await.length(), MIB);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_the_room_that_comes_free() {
        let memory = WorkingMemory::new(ByteCount::new(4 * MIB));
        let all = memory.room(MIB, LEAST).await;
        let waiting = tokio::spawn({
            let memory = memory.clone();
            async move { memory.room(LEAST, LEAST).await._permit.is_some() }
        });
        tokio::task::yield_now().await;
        drop(all);
        assert!(waiting.await.expect("no panic"));
    }

    #[test]
    fn what_is_ahead_of_its_readers_has_a_maximum_for_all_of_them() {
        let memory = WorkingMemory::new(ByteCount::new(64 * MIB));
        let mut ahead: Vec<_> = std::iter::from_fn(|| memory.ahead()).collect();
        assert_eq!(
            (ahead.len() as u64 * UNCACHED_FETCH_LENGTH, memory.kept_length_max()),
            (8 * MIB, 4 * MIB)
        );
        ahead.pop();
        assert!(memory.ahead().is_some());
    }

    #[test]
    fn a_quarter_goes_to_fetches_within_bounds() {
        let fetches = |mebibytes| WorkingMemory::new(ByteCount::new(mebibytes * MIB)).fetches();
        assert_eq!([1, 64, 512, 1 << 20].map(fetches), [FETCHES_MIN, 8, FETCHES_MAX, FETCHES_MAX]);
    }
}
