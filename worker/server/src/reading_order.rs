//! Tells reads at random from reads in order, for mounts of which only the former are cached.
//!
//! A read is in order when it begins where the file or a block of it does, when it goes on where one of the latest reads of
//! the version ends, or when it is longer than what is asked for at random. It is judged as it comes, alone: of a reading
//! in order that begins in the midst of a block, or whose requests overtake each other, some pages are taken for random.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use forebay_types::FileId;
use parking_lot::Mutex;

use crate::limits::{RANDOM_READ_LENGTH_MAX, READINGS_PER_VERSION_MAX, READINGS_REMEMBERED_MAX};

/// Where the latest reads ended.
#[derive(Debug, Default)]
pub(crate) struct ReadingOrder {
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    /// Of each version the ends, the latest last.
    ends: HashMap<FileId, VecDeque<u64>>,
    /// In the order in which they came.
    versions: VecDeque<FileId>,
}

impl ReadingOrder {
    /// Whether a read that comes now is one at random; `range` ends with the file.
    pub(crate) fn is_random(&self, file: FileId, block_length: u64, range: &Range<u64>) -> bool {
        let mut recent = self.recent.lock();
        if !recent.ends.contains_key(&file) {
            recent.versions.push_back(file);
            if recent.versions.len() > READINGS_REMEMBERED_MAX
                && let Some(oldest) = recent.versions.pop_front()
            {
                recent.ends.remove(&oldest);
            }
        }
        let ends = recent.ends.entry(file).or_default();
        let goes_on = ends.iter().position(|end| *end == range.start);
        // A reading has one end, which moves.
        if let Some(place) = goes_on {
            ends.remove(place);
        } else if ends.len() >= READINGS_PER_VERSION_MAX {
            ends.pop_front();
        }
        ends.push_back(range.end);
        let begins_a_block = range.start.checked_rem(block_length).is_none_or(|rest| rest == 0);
        let is_long = range.end.saturating_sub(range.start) > RANDOM_READ_LENGTH_MAX;
        goes_on.is_none() && !begins_a_block && !is_long
    }
}

#[cfg(test)]
mod tests {
    use forebay_types::Incarnation;

    use super::*;

    const MIB: u64 = 1 << 20;
    const BLOCK: u64 = 64 * MIB;

    fn file(counter: u64) -> FileId {
        FileId { incarnation: Incarnation::new(1), counter }
    }

    #[test]
    fn what_goes_on_begins_a_block_or_is_long_is_in_order() {
        let order = ReadingOrder::default();
        let is_random = |begin, end| order.is_random(file(1), BLOCK, &(begin..end));
        assert!(!is_random(0, 4096), "it begins the file");
        assert!(!is_random(4096, 8192), "it goes on");
        assert!(is_random(MIB, MIB + 4096));
        assert!(!is_random(8192, 10_000), "two readings go on side by side");
        assert!(!is_random(MIB + 4096, MIB + 8192));
        assert!(is_random(8192, 10_000), "that end has moved on");
        assert!(!is_random(BLOCK, BLOCK + 1), "a reading that came over from another worker");
        assert!(is_random(5 * MIB + 1, 6 * MIB + 1));
        assert!(!is_random(15 * MIB + 1, 17 * MIB), "nobody asks for so much at random");
        assert!(order.is_random(file(2), BLOCK, &(4096..8192)), "another file");
    }

    #[test]
    fn so_many_readings_are_remembered_and_no_more() {
        let order = ReadingOrder::default();
        for counter in 0..2 * READINGS_REMEMBERED_MAX as u64 {
            order.is_random(file(counter), BLOCK, &(1..2));
        }
        for begin in 0..100 {
            order.is_random(file(0), BLOCK, &(begin * 10 + 1..begin * 10 + 2));
        }
        let recent = order.recent.lock();
        assert_eq!(
            (recent.ends.len(), recent.versions.len()),
            (READINGS_REMEMBERED_MAX, READINGS_REMEMBERED_MAX)
        );
        assert_eq!(recent.ends[&file(0)].len(), READINGS_PER_VERSION_MAX);
    }
}
