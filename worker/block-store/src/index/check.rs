//! Which unit the scrubber verifies next.

use forebay_types::ByteCount;

use super::{Index, Location};
use crate::layout::GenerationKey;

/// A complete unit that nobody holds or fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ToCheck {
    pub(crate) location: Location,
    pub(crate) length: ByteCount,
    /// Where the records begin in the index file.
    pub(crate) records: u64,
    /// When all of it was verified or written last, in uses; 0: not by this process.
    pub(crate) checked: u64,
}

impl Index {
    /// The unit that was verified longest ago, of those that nobody holds or fills and whose disk works.
    pub(crate) fn next_to_check(&self) -> Option<ToCheck> {
        let oldest = self.tiers.iter().filter(|tier| tier.is_open()).filter_map(|tier| tier.next_to_check());
        let (checked, unit) = oldest.min()?;
        let entry = self.units.get(&unit)?;
        Some(ToCheck {
            location: entry.location(unit),
            length: ByteCount::new(entry.geometry().length()),
            records: entry.records()?,
            checked,
        })
    }

    /// Whether `key` is still a complete unit that nobody holds or fills.
    pub(crate) fn may_check(&self, key: GenerationKey) -> bool {
        self.units.get(&key.unit).is_some_and(|entry| {
            entry.generation() == key.generation
                && entry.is_complete()
                && entry.may_be_evicted()
                && self.tiers[entry.tier().0].is_open()
        })
    }

    /// All of `key` was verified just now.
    pub(crate) fn checked(&mut self, key: GenerationKey) {
        let tick = self.tick();
        if let Some(entry) =
            self.units.get_mut(&key.unit).filter(|entry| entry.generation() == key.generation)
        {
            let tier = &mut self.tiers[entry.tier().0];
            tier.unshelve_check(key.unit, entry);
            entry.set_checked(tick);
            tier.shelve_check(key.unit, entry);
        }
    }

    /// How often anything was used until now.
    pub(crate) const fn now(&self) -> u64 {
        self.clock
    }
}
