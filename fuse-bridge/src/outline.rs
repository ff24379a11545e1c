//! The places of all names of a listing, so that who was shown part of it from elsewhere goes on exactly there.
//!
//! Neighbours in a listing begin alike, so of each place only what differs from the one before is stored, save of every
//! [`RESTART`]th.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forebay_types::ListingPosition;

use crate::walk::WalkNumber;

/// Places between two that are stored whole.
const RESTART: usize = 32;
/// What is stored of a place before its bytes: how many it shares, and how many follow.
const HEAD_LENGTH: usize = 3;

/// Why an outline cannot grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// It has all that one may have.
    ThisOne,
    /// All of them together have what there is.
    All,
}

/// What all outlines of a mount may take, and do.
#[derive(Clone, Debug)]
pub(crate) struct OutlineMemory {
    taken: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// The places of a listing, in its order.
#[derive(Debug)]
pub(crate) struct Outline {
    /// The walk by which its names are counted.
    pub(crate) walk: WalkNumber,
    packed: Vec<u8>,
    /// Where in `packed` those begin that are stored whole.
    restarts: Vec<usize>,
    count: usize,
    last: Vec<u8>,
    memory: OutlineMemory,
    /// What of the memory is taken for this one.
    reserved: usize,
}

impl OutlineMemory {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { taken: Arc::default(), bytes_max }
    }

    /// What is taken, in bytes.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let taken = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }
}

impl Outline {
    pub(crate) fn new(walk: WalkNumber, memory: OutlineMemory) -> Self {
        let (packed, restarts, last) = (Vec::new(), Vec::new(), Vec::new());
        Self { walk, packed, restarts, count: 0, last, memory, reserved: 0 }
    }

    /// Adds the next place, if there is memory for it.
    pub(crate) fn push(&mut self, place: &ListingPosition) -> Result<(), Full> {
        let place = place.as_bytes();
        let is_whole = self.count.is_multiple_of(RESTART);
        let shared = if is_whole { 0 } else { shared_length(&self.last, place) };
        let rest = &place[usize::from(shared)..];
        let Ok(length) = u16::try_from(rest.len()) else { return Err(Full::ThisOne) };
        let (restart, needed) = (size_of::<usize>() * usize::from(is_whole), HEAD_LENGTH + rest.len());
        self.reserve(restart + needed)?;
        if is_whole {
            self.restarts.push(self.packed.len());
        }
        self.packed.push(shared);
        self.packed.extend(length.to_ne_bytes());
        self.packed.extend(rest);
        self.last.clear();
        self.last.extend(place);
        self.count += 1;
        Ok(())
    }

    /// The place of the name that is the `index`th, from 0 on.
    pub(crate) fn place(&self, index: usize) -> Option<ListingPosition> {
        if index >= self.count {
            return None;
        }
        let mut rest = &self.packed[self.restarts[index / RESTART]..];
        let mut place = Vec::new();
        for _ in 0..=index % RESTART {
            let (head, tail) = rest.split_first_chunk::<HEAD_LENGTH>()?;
            let [shared, length @ ..] = *head;
            let (more, tail) = tail.split_at_checked(usize::from(u16::from_ne_bytes(length)))?;
            place.truncate(usize::from(shared));
            place.extend(more);
            rest = tail;
        }
        ListingPosition::of_key(place)
    }

    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// No one takes all of the memory.
    fn reserve(&mut self, bytes: usize) -> Result<(), Full> {
        if self.reserved + bytes > self.memory.bytes_max / 4 {
            return Err(Full::ThisOne);
        }
        if !self.memory.take(bytes) {
            return Err(Full::All);
        }
        self.reserved += bytes;
        Ok(())
    }
}

impl Drop for Outline {
    fn drop(&mut self) {
        self.memory.taken.fetch_sub(self.reserved, Ordering::Relaxed);
    }
}

fn shared_length(left: &[u8], right: &[u8]) -> u8 {
    let shared = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    u8::try_from(shared).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WALK: WalkNumber = WalkNumber::new(1);

    fn place(bytes: impl Into<Box<[u8]>>) -> ListingPosition {
        ListingPosition::of_key(bytes).expect("legal")
    }

    proptest! {
        #[test]
        fn every_place_is_found_as_it_was(names in prop::collection::btree_set("[ab]{1,300}|[a-z]{1,8}/?", 0..200)) {
            let memory = OutlineMemory::new(1 << 20);
            let mut outline = Outline::new(WALK, memory.clone());
            for name in &names {
                prop_assert_eq!(outline.push(&place(name.as_bytes())), Ok(()));
            }
            for (index, name) in names.iter().enumerate() {
                prop_assert_eq!(outline.place(index), Some(place(name.as_bytes())));
            }
            prop_assert_eq!(outline.place(names.len()), None);
            drop(outline);
            prop_assert_eq!(memory.taken(), 0);
        }
    }

    #[test]
    fn no_one_takes_more_than_its_part() {
        let memory = OutlineMemory::new(400);
        let mut outline = Outline::new(WALK, memory.clone());
        let full = (b'a'..=b'z').find_map(|first| outline.push(&place([first; 20])).err());
        assert_eq!((full, outline.place(0)), (Some(Full::ThisOne), Some(place(*b"aaaaaaaaaaaaaaaaaaaa"))));
        assert!(memory.taken() <= 100);
        drop(outline);
        assert_eq!(memory.taken(), 0);
    }

    #[test]
    fn what_all_have_together_is_bounded_too() {
        let memory = OutlineMemory::new(64);
        let outlines: Vec<_> = (0..5)
            .map(|_| {
                let mut outline = Outline::new(WALK, memory.clone());
                outline.push(&place(*b"a")).map(|()| outline).map_err(|full| (full, memory.taken()))
            })
            .collect();
        assert!(matches!(outlines[..], [Ok(_), Ok(_), Ok(_), Ok(_), Ok(_)]), "{outlines:?}");
        let mut last = Outline::new(WALK, memory.clone());
        assert_eq!(last.push(&place(*b"a")), Err(Full::All));
    }
}
