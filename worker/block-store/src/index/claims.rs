//! What catalogues say of units: what is believed of one until its files are opened, and what is to be said of it.

use forebay_types::{ByteCount, Timestamp};

use super::{Index, Location};
use crate::layout::{CatalogueEntry, Generation, GenerationKey, index_length};
use crate::source::IdentityDigest;

/// What the files of a unit must be found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) identity: IdentityDigest,
    /// Of the unit.
    pub(crate) length: ByteCount,
    pub(crate) version_length: ByteCount,
    /// Where the records begin in the index file.
    pub(crate) records: Option<u64>,
}

impl Index {
    /// What a catalogue said of `key`, if its files were not compared with that yet.
    pub(crate) fn unconfirmed(&self, key: GenerationKey) -> Option<Claim> {
        let entry = self.units.get(&key.unit)?;
        let is_meant = entry.generation() == key.generation && !entry.is_confirmed;
        is_meant.then(|| Claim {
            identity: entry.identity(),
            length: ByteCount::new(entry.geometry().length()),
            version_length: entry.version_length(),
            records: entry.records(),
        })
    }

    /// The files of `key` are as was said.
    pub(crate) fn confirm(&mut self, key: GenerationKey) {
        if let Some(entry) = self.current(key) {
            entry.is_confirmed = true;
        }
    }

    /// What a catalogue is to say of the files there; `None`: nothing, since they are no unit's or it lacks pages.
    pub(crate) fn catalogue_entry(&self, location: Location) -> Option<CatalogueEntry> {
        let Location { key, tier } = location;
        let entry = self.units.get(&key.unit)?;
        let is_meant = entry.generation() == key.generation && entry.tier() == tier;
        let records = entry.records().filter(|_| is_meant && entry.is_complete())?;
        Some(CatalogueEntry {
            key,
            identity: entry.identity(),
            version_length: entry.version_length(),
            records: u32::try_from(records).ok()?,
            allocated: entry.charge().saturating_sub(index_length(records, entry.geometry())),
            changed: entry.sealed().unwrap_or(Timestamp::from_nanos(0)),
        })
    }

    /// Gives no generation up to this one any more. A catalogue knows of it, and would be believed of other files.
    pub(crate) fn skip_generations(&mut self, last: Generation) {
        self.generation_next = self.generation_next.max(last.get().saturating_add(1));
    }
}
