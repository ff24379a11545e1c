//! How the memory that a worker may take beside its cache is shared out: a quarter to fetches, half to what goes to
//! readers; the rest is for all else.
//!
//! Readers that are slow or stand still must not keep others from reading. So nobody waits long: where there is no room
//! a piece is shorter, and after a short while the shortest one goes without.

use std::sync::Arc;

use forebay_types::{ByteCount, PAGE_LENGTH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{FETCHES_MAX, FETCHES_MIN, PAGES_PER_FETCH, ROOM_PATIENCE};

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
        Self {
            pieces: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))),
            fetches: usize::try_from(fetches).unwrap_or(usize::MAX).clamp(FETCHES_MIN, FETCHES_MAX),
        }
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
    fn a_quarter_goes_to_fetches_within_bounds() {
        let fetches = |mebibytes| WorkingMemory::new(ByteCount::new(mebibytes * MIB)).fetches();
        assert_eq!([1, 64, 512, 1 << 20].map(fetches), [FETCHES_MIN, 8, FETCHES_MAX, FETCHES_MAX]);
    }
}
