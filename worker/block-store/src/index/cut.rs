//! How a version is cut: as what is here of it says, else by its length.

use forebay_types::limits::FILE_LENGTH_MAX;
use forebay_types::{ByteCount, FileId};

use super::Index;
use super::entry::Entry;
use crate::page::PageIndex;
use crate::unit::{Cut, Place, UnitId};

impl Index {
    /// Where `page` of a version of `length` bytes lies or would lie; `None` beyond its end.
    pub fn place(&self, file: FileId, length: ByteCount, page: PageIndex) -> Option<Place> {
        self.cut(file, length).place(page)
    }

    /// How a version of `length` bytes is cut, or would be. By the id that it is kept under. What lies beyond
    /// `FILE_LENGTH_MAX` is as beyond its end: nobody has it.
    pub(super) fn cut(&self, file: FileId, length: ByteCount) -> Cut {
        let (file, length) = (self.names.kept(file), length.min(ByteCount::new(FILE_LENGTH_MAX)));
        let is_whole = match self.units_of(file).next() {
            Some((unit, _)) => unit.segment().is_none(),
            // Whatever the disks do meanwhile: a version must not be cut anew each time that one fails.
            None => self.tiers.iter().any(|tier| length <= tier.limits().whole_file_max),
        };
        if is_whole { Cut::whole(file, length) } else { Cut::segments(file, length, self.segment_pages) }
    }

    /// What is here of the version that is kept under `file`.
    pub(super) fn units_of(&self, file: FileId) -> impl Iterator<Item = (UnitId, &Entry)> {
        let units = self.units.range(UnitId::whole(file)..=UnitId::last_of(file));
        units.map(|(unit, entry)| (*unit, entry))
    }

    /// Whether anything is here of the version that is kept under `file`.
    pub(super) fn has_units(&self, file: FileId) -> bool {
        self.units_of(file).next().is_some()
    }
}
