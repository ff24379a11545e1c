//! How a version is cut: as what is here of it says, else by its length.

use forebay_types::{ByteCount, FileId};

use super::Index;
use super::entry::Entry;
use crate::page::PageIndex;
use crate::unit::{Cut, Place, UnitId};

impl Index {
    /// Where `page` of a version of `length` bytes, at most `FILE_LENGTH_MAX`, lies or would lie; `None` beyond its end.
    pub fn place(&self, file: FileId, length: ByteCount, page: PageIndex) -> Option<Place> {
        self.cut(file, length).place(page)
    }

    /// How a version of `length` bytes is cut, or would be. By the id that it is kept under.
    pub(super) fn cut(&self, file: FileId, length: ByteCount) -> Cut {
        let file = self.names.kept(file);
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
