//! Units: what one local file holds, a whole version or a segment of a large one, and how a version is cut into them.
//!
//! The index, eviction and the files on disk know units only; each has pages of its own, from 0. Where a page of a
//! version lies is said by its cut.

use std::fmt;

use forebay_types::{ByteCount, FileId, Incarnation, PAGE_LENGTH};

use crate::page::{Geometry, PageIndex, PageRange};

/// A version that is kept whole, or one segment of a version that is not.
///
/// Ordered by version, then by segment, so that the units of a version are neighbours. Flat, since there are millions:
/// a `FileId` beside a number would take half as much again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId {
    incarnation: Incarnation,
    counter: u64,
    /// 0: the whole version; else the segment's number and one.
    place: u32,
}

/// How a version is cut into units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    file: FileId,
    /// Of the version.
    geometry: Geometry,
    /// Pages of a segment; `None`: the version is whole.
    segment_pages: Option<u32>,
}

/// Where a page of a version lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// In which unit.
    pub unit: UnitId,
    /// Which page of the unit it is.
    pub page: PageIndex,
    /// The version's page that is the unit's first.
    pub begin: PageIndex,
    /// Length of the unit.
    pub length: ByteCount,
}

impl UnitId {
    /// The unit of a version that is kept whole.
    #[must_use]
    pub const fn whole(file: FileId) -> Self {
        Self { incarnation: file.incarnation, counter: file.counter, place: 0 }
    }

    /// A segment of a version, by its number from 0. `None`: no version has so many.
    #[must_use]
    pub fn segment_of(file: FileId, number: u32) -> Option<Self> {
        let place = number.checked_add(1)?;
        Some(Self { place, ..Self::whole(file) })
    }

    /// Behind all units of a version.
    pub(crate) const fn last_of(file: FileId) -> Self {
        Self { place: u32::MAX, ..Self::whole(file) }
    }

    /// The version.
    #[must_use]
    pub const fn file(self) -> FileId {
        FileId { incarnation: self.incarnation, counter: self.counter }
    }

    /// Which segment it is; `None`: the whole version.
    #[must_use]
    pub const fn segment(self) -> Option<u32> {
        self.place.checked_sub(1)
    }
}

/// `1-77` for a version, `1-77.s3` for its fourth segment.
impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file())?;
        self.segment().map_or(Ok(()), |segment| write!(f, ".s{segment}"))
    }
}

impl Cut {
    /// A version of `length` bytes, at most `FILE_LENGTH_MAX`, in one unit.
    pub(crate) const fn whole(file: FileId, length: ByteCount) -> Self {
        Self { file, geometry: Geometry::new(length), segment_pages: None }
    }

    /// The same in segments of `pages` pages, at least one.
    pub(crate) const fn segments(file: FileId, length: ByteCount, pages: u32) -> Self {
        Self { segment_pages: Some(pages), ..Self::whole(file, length) }
    }

    /// How many units the version has.
    pub(crate) fn units(self) -> u32 {
        self.segment_pages.map_or(1, |pages| self.geometry.page_count().div_ceil(pages))
    }

    /// Where `page` lies; `None` beyond the version's end.
    pub(crate) fn place(self, page: PageIndex) -> Option<Place> {
        if page.get() >= self.geometry.page_count() {
            return None;
        }
        let Some(pages) = self.segment_pages else {
            let (begin, length) = (PageIndex::new(0), ByteCount::new(self.geometry.length()));
            return Some(Place { unit: UnitId::whole(self.file), page, begin, length });
        };
        let number = page.get() / pages;
        let begin = PageIndex::new(number * pages);
        let rest = self.geometry.length() - begin.offset().get();
        Some(Place {
            unit: UnitId::segment_of(self.file, number)?,
            page: PageIndex::new(page.get() - begin.get()),
            begin,
            length: ByteCount::new(rest.min(u64::from(pages) * PAGE_LENGTH)),
        })
    }

    /// Where `pages` lie, unit by unit: where the first of them lies, and how many follow in that unit. Ends at the version's end.
    pub(crate) fn runs(self, pages: PageRange) -> impl Iterator<Item = (Place, u32)> {
        let mut rest = pages;
        std::iter::from_fn(move || {
            let place = self.place(rest.first).filter(|_| rest.count > 0)?;
            let count = rest.count.min(place.pages_left());
            rest = PageRange { first: PageIndex::new(rest.first.get() + count), count: rest.count - count };
            Some((place, count))
        })
    }
}

impl Place {
    /// How many pages the unit has from this one on, this one included.
    pub(crate) fn pages_left(&self) -> u32 {
        Geometry::new(self.length).page_count() - self.page.get()
    }

    /// What the version calls `page` of the unit.
    pub(crate) const fn in_version(&self, page: PageIndex) -> PageIndex {
        PageIndex::new(self.begin.get() + page.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileId = FileId { incarnation: Incarnation::new(1), counter: 7 };

    fn page(position: u32) -> PageIndex {
        PageIndex::new(position)
    }

    #[test]
    fn the_units_of_a_version_are_neighbours_and_named_apart() {
        let segment = |number| UnitId::segment_of(FILE, number).unwrap();
        let next = UnitId::whole(FileId { counter: 8, ..FILE });
        let ordered = [UnitId::whole(FILE), segment(0), segment(1), UnitId::last_of(FILE), next];
        assert!(ordered.is_sorted_by(|one, other| one < other));
        assert_eq!((segment(1).file(), segment(1).segment()), (FILE, Some(1)));
        assert_eq!(
            (UnitId::whole(FILE).to_string(), segment(1).to_string()),
            ("1-7".into(), "1-7.s1".into())
        );
        assert_eq!(UnitId::segment_of(FILE, u32::MAX), None);
        assert_eq!(size_of::<UnitId>(), size_of::<FileId>(), "there are millions");
    }

    #[test]
    fn a_page_lies_in_its_segment_and_the_last_one_may_be_short() {
        let cut = Cut::segments(FILE, ByteCount::new(9 * PAGE_LENGTH + 5), 4);
        assert_eq!(cut.units(), 3);
        let last = cut.place(page(9)).unwrap();
        assert_eq!((last.unit.segment(), last.page, last.begin), (Some(2), page(1), page(8)));
        assert_eq!((last.length.get(), last.pages_left()), (PAGE_LENGTH + 5, 1));
        assert_eq!(last.in_version(last.page), page(9));
        assert_eq!(cut.place(page(3)).unwrap().length.get(), 4 * PAGE_LENGTH);
        assert_eq!(cut.place(page(10)), None);
        let whole = Cut::whole(FILE, ByteCount::ZERO);
        assert_eq!((whole.units(), whole.place(page(0)).unwrap().unit), (1, UnitId::whole(FILE)));
    }

    #[test]
    fn a_range_is_cut_at_the_borders_of_segments_and_at_the_end() {
        let cut = Cut::segments(FILE, ByteCount::new(9 * PAGE_LENGTH), 4);
        let runs = |first, count| {
            let runs = cut.runs(PageRange { first: page(first), count });
            runs.map(|(place, count)| (place.unit.segment().unwrap(), place.page.get(), count))
                .collect::<Vec<_>>()
        };
        assert_eq!(runs(3, 6), [(0, 3, 1), (1, 0, 4), (2, 0, 1)]);
        assert_eq!(runs(3, 100), [(0, 3, 1), (1, 0, 4), (2, 0, 1)]);
        assert_eq!((runs(4, 4), runs(4, 0), runs(9, 1)), (vec![(1, 0, 4)], vec![], vec![]));
    }
}
