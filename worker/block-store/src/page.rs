//! Pages of a version: their numbers, their lengths, and sets of them.
//!
//! An empty version has one page of no bytes, so that "all pages are here" can be said of it like of any other.

use std::fmt;

use forebay_types::{ByteCount, FileOffset, GRANULE_LENGTH, PAGE_LENGTH};

/// The position of a page within its version, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageIndex(u32);

/// Pages that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRange {
    /// The first page.
    pub first: PageIndex,
    /// How many there are.
    pub count: u32,
}

/// A set of a version's pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageSet {
    length: u32,
    count: u32,
    words: Words,
}

/// One bit a page. Most files are small, and 64 pages need no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Words {
    Inline(u64),
    Heap(Box<[u64]>),
}

/// How a version of some length is cut into pages and granules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    length: u64,
}

impl PageIndex {
    /// Wraps a page's position.
    #[must_use]
    pub const fn new(position: u32) -> Self {
        Self(position)
    }

    /// The bare position.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The page that holds the byte at `offset`; `None` beyond what 32 bits can number.
    #[must_use]
    pub fn at(offset: FileOffset) -> Option<Self> {
        u32::try_from(offset.get() / PAGE_LENGTH).ok().map(Self)
    }

    /// Where the page begins.
    #[must_use]
    pub const fn offset(self) -> FileOffset {
        FileOffset::new(self.0 as u64 * PAGE_LENGTH)
    }
}

impl fmt::Display for PageIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl PageRange {
    /// The pages one by one.
    pub fn iter(self) -> impl Iterator<Item = PageIndex> {
        (self.first.0..self.first.0.saturating_add(self.count)).map(PageIndex)
    }
}

impl PageSet {
    /// No page of a version that has `length` pages.
    #[must_use]
    pub fn new(length: u32) -> Self {
        let words = match length {
            0..=64 => Words::Inline(0),
            _ => Words::Heap(vec![0; length.div_ceil(64) as usize].into_boxed_slice()),
        };
        Self { length, count: 0, words }
    }

    /// All pages of a version that has `length` pages.
    pub(crate) fn full(length: u32) -> Self {
        let mut full = Self::new(length);
        (0..length).for_each(|page| {
            full.insert(PageIndex(page));
        });
        full
    }

    /// How many pages the version has.
    #[must_use]
    pub const fn version_pages(&self) -> u32 {
        self.length
    }

    /// How many pages are in the set.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether all pages of the version are in the set.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.count == self.length
    }

    /// Whether no page is in the set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether `page` is in the set; false for one beyond the version's end.
    #[must_use]
    pub fn contains(&self, page: PageIndex) -> bool {
        page.0 < self.length && self.word(page) & Self::bit(page) != 0
    }

    /// The pages in the set, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = PageIndex> {
        (0..self.length).map(PageIndex).filter(|page| self.contains(*page))
    }

    /// The first page in the set that is not before `page`.
    pub(crate) fn first_from(&self, page: PageIndex) -> Option<PageIndex> {
        (page.0..self.length).map(PageIndex).find(|page| self.contains(*page))
    }

    /// One bit a page, the lowest first.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        match &self.words {
            Words::Inline(word) => std::slice::from_ref(word),
            Words::Heap(words) => words,
        }
    }

    /// How many pages from `first` on are in the set without a gap, at most `max`.
    pub(crate) fn run_present(&self, first: PageIndex, max: u32) -> u32 {
        self.run(first, max, true)
    }

    /// How many pages from `first` on are not in the set, at most `max`.
    pub(crate) fn run_absent(&self, first: PageIndex, max: u32) -> u32 {
        self.run(first, max, false)
    }

    /// Adds `page`; whether it was new. A page beyond the end is not added.
    pub fn insert(&mut self, page: PageIndex) -> bool {
        if page.0 >= self.length || self.contains(page) {
            return false;
        }
        *self.word_mut(page) |= Self::bit(page);
        self.count += 1;
        true
    }

    /// Takes `page` out; whether it was there.
    pub(crate) fn remove(&mut self, page: PageIndex) -> bool {
        if !self.contains(page) {
            return false;
        }
        *self.word_mut(page) &= !Self::bit(page);
        self.count -= 1;
        true
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.length);
    }

    fn run(&self, first: PageIndex, max: u32, present: bool) -> u32 {
        let end = first.0.saturating_add(max).min(self.length);
        let stop = (first.0..end).find(|&page| self.contains(PageIndex(page)) != present).unwrap_or(end);
        stop.saturating_sub(first.0)
    }

    const fn bit(page: PageIndex) -> u64 {
        1 << (page.0 % 64)
    }

    fn word(&self, page: PageIndex) -> u64 {
        self.words().get(page.0 as usize / 64).copied().unwrap_or(0)
    }

    fn word_mut(&mut self, page: PageIndex) -> &mut u64 {
        match &mut self.words {
            Words::Inline(word) => word,
            Words::Heap(words) => &mut words[page.0 as usize / 64],
        }
    }
}

impl Geometry {
    /// For a version of `length` bytes, which the caller has checked against `FILE_LENGTH_MAX`.
    pub(crate) const fn new(length: ByteCount) -> Self {
        Self { length: length.get() }
    }

    pub(crate) const fn length(self) -> u64 {
        self.length
    }

    /// At least 1.
    pub(crate) fn page_count(self) -> u32 {
        u32::try_from(self.length.div_ceil(PAGE_LENGTH).max(1)).expect("checked against FILE_LENGTH_MAX")
    }

    /// Length of `page` in bytes; 0 beyond the end.
    pub(crate) fn page_length(self, page: PageIndex) -> u64 {
        self.length.saturating_sub(page.offset().get()).min(PAGE_LENGTH)
    }

    /// How many granules `page` has; 0 for the one page of an empty version.
    pub(crate) fn granule_count(self, page: PageIndex) -> usize {
        usize::try_from(self.page_length(page).div_ceil(GRANULE_LENGTH)).expect("at most 16")
    }
}

#[cfg(test)]
mod tests {
    use forebay_types::GRANULES_PER_PAGE;

    use super::*;

    #[test]
    fn an_empty_version_has_one_page_of_no_bytes() {
        let empty = Geometry::new(ByteCount::ZERO);
        assert_eq!((empty.page_count(), empty.page_length(PageIndex(0))), (1, 0));
        assert_eq!(empty.granule_count(PageIndex(0)), 0);
    }

    #[test]
    fn the_last_page_and_granule_may_be_short() {
        let version = Geometry::new(ByteCount::new(PAGE_LENGTH + GRANULE_LENGTH + 1));
        assert_eq!(version.page_count(), 2);
        assert_eq!(version.page_length(PageIndex(1)), GRANULE_LENGTH + 1);
        assert_eq!(version.granule_count(PageIndex(0)), GRANULES_PER_PAGE);
        assert_eq!(version.granule_count(PageIndex(1)), 2);
        assert_eq!(version.page_length(PageIndex(2)), 0);
    }

    #[test]
    fn sets_count_and_find_runs_inline_and_on_the_heap() {
        for length in [5, 64, 65, 200] {
            let mut set = PageSet::new(length);
            assert_eq!(set.run_absent(PageIndex(0), u32::MAX), length);
            assert!(set.insert(PageIndex(1)) && set.insert(PageIndex(2)) && !set.insert(PageIndex(2)));
            assert!(!set.insert(PageIndex(length)), "beyond the end");
            assert_eq!(set.run_present(PageIndex(1), 10), 2);
            assert_eq!(set.run_absent(PageIndex(0), 10), 1);
            for page in 0..length {
                set.insert(PageIndex(page));
            }
            assert!(set.is_full() && set.remove(PageIndex(length - 1)) && !set.is_full());
        }
    }
}
