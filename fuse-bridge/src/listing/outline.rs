//! The places of all names of a listing, so that who was shown part of it from elsewhere goes on exactly there.
//!
//! Neighbours in a listing begin alike, so of each place only what differs from the one before is stored, save of every
//! [`RESTART`]th.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forebay_types::ListingPosition;

use crate::kernel_listings::WalkNumber;

/// Places between two that are stored whole.
const RESTART: usize = 32;
/// What is stored of a place before its bytes: how many it shares, and how many follow.
const HEAD_LENGTH: usize = 3;

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

    /// Adds the next place; `false` if there is no memory for it.
    #[must_use]
    pub(crate) fn push(&mut self, place: &ListingPosition) -> bool {
        let place = place.as_bytes();
        let is_whole = self.count.is_multiple_of(RESTART);
        let shared = if is_whole { 0 } else { shared_length(&self.last, place) };
        let rest = &place[usize::from(shared)..];
        let Ok(length) = u16::try_from(rest.len()) else { return false };
        let (restart, needed) = (size_of::<usize>() * usize::from(is_whole), HEAD_LENGTH + rest.len());
        if !self.reserve(restart + needed) {
            return false;
        }
        if is_whole {
            self.restarts.push(self.packed.len());
        }
        self.packed.push(shared);
        self.packed.extend(length.to_ne_bytes());
        self.packed.extend(rest);
        self.last.clear();
        self.last.extend(place);
        self.count += 1;
        true
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

    fn reserve(&mut self, bytes: usize) -> bool {
        let is_there = self.memory.take(bytes);
        if is_there {
            self.reserved += bytes;
        }
        is_there
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

    const WALK: WalkNumber = WalkNumber::PLAIN;

    fn place(bytes: impl Into<Box<[u8]>>) -> ListingPosition {
        ListingPosition::of_key(bytes).expect("legal")
    }

    proptest! {
        #[test]
        fn every_place_is_found_as_it_was(names in prop::collection::btree_set("[ab]{1,300}|[a-z]{1,8}/?", 0..200)) {
            let memory = OutlineMemory::new(1 << 20);
            let mut outline = Outline::new(WALK, memory.clone());
            for name in &names {
                prop_assert!(outline.push(&place(name.as_bytes())));
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
    fn what_all_of_them_take_is_bounded() {
        let memory = OutlineMemory::new(100);
        let (mut one, mut other) = (Outline::new(WALK, memory.clone()), Outline::new(WALK, memory.clone()));
        assert!(one.push(&place(*b"a name of some length")) && other.push(&place(*b"a name of some length")));
        while one.push(&place(*b"b")) {}
        assert!(!other.push(&place(*b"a name beyond it")) && memory.taken() <= 100);
        drop(one);
        assert!(other.push(&place(*b"a name beyond it")));
    }
}
