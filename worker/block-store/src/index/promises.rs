//! Room that is kept for the rest of versions whose first pages came, where a policy lets few versions in: else of many
//! that come at once each would get a part, and none could be passed through. In memory, for those that found room for
//! all: else of many that come at once each would make others leave, though a disk has room.
//!
//! A promise is no charge. It ends when it is fulfilled, with its version, or when nothing of it was used for long.

use std::collections::BTreeMap;

use crate::limits::{PROMISE_PATIENCE, PROMISES_MAX};
use crate::unit::UnitId;

/// The promises of one tier.
#[derive(Debug, Default)]
pub(super) struct Promises {
    by_unit: BTreeMap<UnitId, Promise>,
    sum: u64,
}

#[derive(Clone, Copy, Debug)]
struct Promise {
    bytes: u64,
    /// The index's tick when it was given or used last.
    used: u64,
}

impl Promises {
    /// Bytes promised to others than `unit`.
    pub(super) fn beside(&self, unit: UnitId) -> u64 {
        self.sum - self.by_unit.get(&unit).map_or(0, |promise| promise.bytes)
    }

    /// Promises `bytes` to a new version.
    pub(super) fn give(&mut self, unit: UnitId, bytes: u64, tick: u64) {
        if bytes == 0 {
            return;
        }
        if self.by_unit.len() >= PROMISES_MAX
            && let Some((unit, _)) = self.by_unit.iter().min_by_key(|(_, promise)| promise.used)
        {
            self.end(*unit);
        }
        self.by_unit.insert(unit, Promise { bytes, used: tick });
        self.sum += bytes;
    }

    /// `bytes` more are charged to `unit`.
    pub(super) fn fulfil(&mut self, unit: UnitId, bytes: u64, tick: u64) {
        let Some(promise) = self.by_unit.get_mut(&unit) else { return };
        let fulfilled = bytes.min(promise.bytes);
        self.sum -= fulfilled;
        *promise = Promise { bytes: promise.bytes - fulfilled, used: tick };
        if promise.bytes == 0 {
            self.by_unit.remove(&unit);
        }
    }

    /// Nothing is promised to `unit` any more.
    pub(super) fn end(&mut self, unit: UnitId) {
        self.sum -= self.by_unit.remove(&unit).map_or(0, |promise| promise.bytes);
    }

    /// Ends what was not used for long. Whether there was any.
    pub(super) fn lapse(&mut self, tick: u64) -> bool {
        let is_old = |promise: &Promise| tick - promise.used > PROMISE_PATIENCE;
        let old = self.by_unit.iter().filter(|(_, promise)| is_old(promise)).map(|(unit, _)| *unit);
        let old: Vec<_> = old.collect();
        old.iter().for_each(|unit| self.end(*unit));
        !old.is_empty()
    }

    #[cfg(test)]
    pub(super) fn units(&self) -> impl Iterator<Item = UnitId> {
        self.by_unit.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use forebay_types::{FileId, Incarnation};

    use super::*;

    fn unit(counter: u64) -> UnitId {
        UnitId::whole(FileId { incarnation: Incarnation::new(1), counter })
    }

    #[test]
    fn a_promise_ends_when_it_is_fulfilled_or_not_used_for_long() {
        let mut promises = Promises::default();
        promises.give(unit(1), 10, 1);
        promises.give(unit(2), 20, 1);
        assert_eq!((promises.beside(unit(1)), promises.beside(unit(3))), (20, 30));
        promises.fulfil(unit(1), 4, 2);
        assert_eq!(promises.beside(unit(3)), 26);
        promises.fulfil(unit(1), 7, 2);
        assert_eq!(promises.beside(unit(3)), 20);
        assert!(!promises.lapse(1 + PROMISE_PATIENCE) && promises.lapse(2 + PROMISE_PATIENCE));
        assert_eq!(promises.beside(unit(3)), 0);
    }

    #[test]
    fn there_are_never_too_many() {
        let mut promises = Promises::default();
        (0..1000).for_each(|counter| promises.give(unit(counter), 1, counter));
        assert_eq!(promises.beside(unit(0)), PROMISES_MAX as u64);
        assert_eq!(promises.beside(unit(999)), PROMISES_MAX as u64 - 1, "the newest are kept");
    }
}
