//! Lends: a version's files as they are, complete or not, for somebody who verifies what it reads of them.
//!
//! Unlike a hold, a lend keeps nothing as it is: pages come and go, and the version may leave. What it does keep is the
//! charge: a file that somebody has open takes its room until it is closed, so a version that left stays charged until
//! its last lend is given back. That is soon, and for a while nobody else has to leave for the same room.
//!
//! As with holds, only a version that is kept whole is lent: one in segments is looked for as a whole unit and not found.

use forebay_types::FileId;

use super::{Index, Location};
use crate::layout::GenerationKey;
use crate::page::PageIndex;
use crate::unit::UnitId;

/// What is lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lent {
    pub(crate) location: Location,
    /// Where the records begin in the index file.
    pub(crate) records: u64,
}

impl Index {
    /// Whether `file` can be lent: it is kept whole and a page of it is here.
    pub(crate) fn can_lend(&self, file: FileId) -> bool {
        let unit = UnitId::whole(self.names.kept(file));
        self.units.get(&unit).is_some_and(|entry| !entry.present().is_empty())
    }

    /// Lends the files of `file`; `None` when no page of it is here, or the version is cut into segments.
    pub(crate) fn lend(&mut self, file: FileId) -> Option<Lent> {
        let unit = UnitId::whole(self.names.kept(file));
        let entry = self.units.get_mut(&unit).filter(|entry| !entry.present().is_empty())?;
        let records = entry.records()?;
        entry.add_lend();
        let location = entry.location(unit);
        self.moves.call_off(unit);
        self.unit_is_used(unit);
        Some(Lent { location, records })
    }

    /// Marks `file` as used by somebody whose reads are not seen. It goes on being used: that is no use of its own, unless
    /// it was not used for long. Reads of segments are always seen.
    pub(crate) fn used_unseen(&mut self, file: FileId) {
        self.unit_is_used(UnitId::whole(self.names.kept(file)));
    }

    fn unit_is_used(&mut self, unit: UnitId) {
        let Some(entry) = self.units.get(&unit) else { return };
        let last = PageIndex::new(entry.geometry().page_count() - 1);
        self.visited(unit, last);
        let used = self.use_now();
        if let Some(entry) = self.units.get_mut(&unit) {
            entry.set_used(used);
            self.tiers[entry.tier().0].touch(unit, last);
        }
    }

    /// One lend of `key` was given back.
    pub(crate) fn give_back(&mut self, key: GenerationKey) {
        if self.is_current(key) {
            self.unit_is_used(key.unit);
            let entry = self.units.get_mut(&key.unit);
            if entry.expect("it is current").drop_lend() {
                self.consider(key.unit);
            }
            return;
        }
        let Some(detached) = self.detached.get_mut(&key) else { return };
        if detached.entry.drop_lend() {
            self.tiers[detached.entry.tier().0].awaits_no_more(detached.entry.charge());
            self.detached_use_ended(key);
        }
    }

    /// What was lent and has left did not come back in time: others have to leave instead.
    pub(crate) fn await_no_more(&mut self) {
        self.tiers.iter_mut().for_each(|tier| tier.awaits_no_more(u64::MAX));
    }
}
