//! Holds: the promise that a complete version's file stays as it is while somebody may read it. A version in segments
//! has no such file and is never held.

use forebay_types::{ByteCount, FileId, Timestamp};

use super::{Index, Location};
use crate::layout::GenerationKey;
use crate::page::PageIndex;
use crate::unit::UnitId;

/// What the index says to somebody who wants to hold a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoldDecision {
    /// The hold counts from now on.
    Granted(Held),
    /// A page is missing, or all are, or the version is cut into segments.
    Incomplete,
    /// Too much of the tier is held.
    TooMuchHeld,
}

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) location: Location,
    pub(crate) length: ByteCount,
    /// Where the records begin in the index file.
    pub(crate) records: u64,
    /// The change time that the data file must still have to be trusted; `None`: verify.
    pub(crate) trusted: Option<Timestamp>,
    /// Whether it may stay while nobody uses it.
    pub(crate) may_rest: bool,
}

impl Index {
    /// Holds `file` if it is complete and its tier may hold so much.
    pub(crate) fn hold(&mut self, file: FileId) -> HoldDecision {
        let unit = UnitId::whole(self.names.kept(file));
        self.visited(unit, PageIndex::new(0));
        let used = self.use_now();
        let Some(entry) = self.units.get_mut(&unit).filter(|entry| entry.is_complete()) else {
            return HoldDecision::Incomplete;
        };
        let tier = &mut self.tiers[entry.tier().0];
        if entry.holds() == 0 && !tier.try_hold(entry.charge()) {
            // Who could not be held in an empty tier has no use for the room of others.
            self.wants_back |= tier.could_hold(entry.charge()) && tier.set_crowded();
            return HoldDecision::TooMuchHeld;
        }
        tier.granted_hold();
        entry.add_hold();
        entry.set_used(used);
        tier.touch(unit, PageIndex::new(0));
        tier.reshelve(unit, entry);
        self.moves.call_off(unit);
        HoldDecision::Granted(Held {
            location: entry.location(unit),
            length: ByteCount::new(entry.geometry().length()),
            records: entry.records().expect("a complete version has its files"),
            trusted: entry.trusted(PageIndex::new(0), entry.geometry().page_count()),
            may_rest: tier.may_rest(),
        })
    }

    /// Whether a hold of `key` may stay while nobody uses it: its version is still one, and its tier is not crowded.
    pub(crate) fn may_rest(&self, key: GenerationKey) -> bool {
        self.units
            .get(&key.unit)
            .filter(|entry| entry.generation() == key.generation)
            .is_some_and(|entry| !self.tiers[entry.tier().0].is_crowded())
    }

    /// Whether holds may not rest any more that could when they were granted. Asking takes note.
    pub(crate) const fn take_wants_back(&mut self) -> bool {
        std::mem::replace(&mut self.wants_back, false)
    }

    /// One hold of `key` ended that could rest, so that nobody knows how often it was used.
    pub(crate) fn release_rested(&mut self, key: GenerationKey) {
        if self.is_current(key)
            && let Some(entry) = self.units.get(&key.unit)
        {
            self.tiers[entry.tier().0].rested(key.unit);
        }
        self.release(key);
    }

    /// One hold of `key` ended.
    pub(crate) fn release(&mut self, key: GenerationKey) {
        if let Some(entry) =
            self.units.get_mut(&key.unit).filter(|entry| entry.generation() == key.generation)
        {
            if entry.drop_hold() {
                let tier = &mut self.tiers[entry.tier().0];
                tier.unhold(entry.charge());
                tier.reshelve(key.unit, entry);
                self.consider(key.unit);
            }
            return;
        }
        let Some(detached) = self.detached.get_mut(&key) else { return };
        if detached.entry.drop_hold() {
            self.tiers[detached.entry.tier().0].unhold(detached.entry.charge());
            self.detached_use_ended(key);
        }
    }
}
