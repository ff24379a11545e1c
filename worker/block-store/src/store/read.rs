//! Reading pages that are here, with their checksums.
//!
//! One read stays within one unit, and counts from its begin once it knows it. A unit that this process verified, or
//! wrote at once, and whose file did not change since is read as it lies. Anything else is verified granule by granule
//! before a byte of it is returned.

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;
use forebay_types::{
    ByteCount, FileOffset, GRANULE_LENGTH, GRANULES_PER_PAGE, PAGE_LENGTH, PageRecord, RECORD_LENGTH, crc32c,
};

use super::Inner;
use super::open_versions::OpenVersion;
use crate::error::StoreError;
use crate::index::{Location, Lookup};
use crate::io::{read_at, state_of};
use crate::layout::record_offset;
use crate::limits::READ_LENGTH_MAX;
use crate::page::{Geometry, PageIndex, PageRange};
use crate::source::VersionSource;
use crate::unit::Place;

/// What a read found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOutcome {
    /// The bytes from the offset on that are here; none when the first page is missing or the offset is at the end.
    pub bytes: Bytes,
    /// CRC32C of each piece of `bytes`, cut where the file offset is a multiple of the granule. That of a whole granule
    /// is the one that was computed when the granule was stored.
    pub checksums: Vec<u32>,
    /// The first of the asked pages that are not here; `None` when all that was asked for was found, up to the limit of
    /// one read and the end of the version or of its segment.
    pub missing: Option<PageRange>,
}

/// The files of a unit as the readers use them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    pub(super) files: &'a OpenVersion,
    pub(super) location: Location,
    pub(super) geometry: Geometry,
    /// Where the records begin in the index file.
    pub(super) records: u64,
}

/// What was found of the pages that one read may reach.
struct Found {
    place: Place,
    /// The pages, as their unit counts.
    pages: PageRange,
    /// What is here of the unit, if anything is.
    lookup: Option<Lookup>,
}

/// A page that cannot be served, as its unit counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// It does not have its checksums, or its record does not.
    Checksum(PageIndex),
    /// The disk does not give it.
    Io(PageIndex),
}

impl Fault {
    pub(super) const fn page(self) -> PageIndex {
        match self {
            Self::Checksum(page) | Self::Io(page) => page,
        }
    }
}

impl Inner {
    pub(super) fn read(
        &self,
        source: &VersionSource<'_>,
        offset: FileOffset,
        length: ByteCount,
    ) -> Result<ReadOutcome, StoreError> {
        let begin = offset.get();
        let length = length.get().min(READ_LENGTH_MAX);
        let end = begin.saturating_add(length).min(source.descriptor.length().get());
        let Some(pages) = pages_of(begin..end) else { return Ok(ReadOutcome::default()) };
        self.refuse_other(source);
        let mut suspects = BTreeSet::new();
        loop {
            let Some(Found { place, pages, lookup }) = self.find(source, pages) else {
                return Ok(ReadOutcome::default());
            };
            let missing = |missing: Option<PageRange>| ReadOutcome {
                missing: missing.map(|run| PageRange { first: place.in_version(run.first), ..run }),
                ..ReadOutcome::default()
            };
            let Some(found) = lookup else { return Ok(missing(Some(pages))) };
            // From here on all is counted from the unit's begin.
            let unit_begin = place.begin.offset().get();
            let (begin, end) = (begin - unit_begin, end - unit_begin);
            let readable_end = end.min(begin_of(pages.first.get() + found.readable));
            if readable_end <= begin {
                return Ok(missing(found.missing));
            }
            let Some(files) = self.open_or_let_go(found.location)? else {
                // It may have been moved to another tier between looking and opening.
                if self.state.lock().index.is_elsewhere(found.location.key) {
                    continue;
                }
                return Ok(missing(Some(pages)));
            };
            let reader = Reader {
                files: &files,
                location: found.location,
                geometry: Geometry::new(found.length),
                records: found.records,
            };
            match self.read_run(reader, &found, begin..readable_end) {
                Ok((bytes, checksums)) => {
                    self.statistics.read_bytes.add(bytes.len() as u64);
                    return Ok(ReadOutcome { bytes, checksums, ..missing(found.missing) });
                }
                // The page may have been dropped and filled again between looking and reading: once more, then drop it.
                Err(fault) => {
                    if !suspects.insert(fault.page()) {
                        self.lose_page(found.location, fault);
                    }
                }
            }
        }
    }

    /// Looks for the unit that the first of `pages` lies in; `None` beyond the version's end.
    fn find(&self, source: &VersionSource<'_>, pages: PageRange) -> Option<Found> {
        let mut state = self.state.lock();
        let place = state.index.place(source.file(), source.descriptor.length(), pages.first)?;
        let pages = PageRange { first: place.page, count: pages.count.min(place.pages_left()) };
        let lookup = state.index.lookup(place.unit, pages);
        if lookup.is_some() {
            state.index.touch(place.unit, pages.first);
        }
        Some(Found { place, pages, lookup })
    }

    /// Reads `wanted`, whose pages are all present.
    fn read_run(
        &self,
        reader: Reader<'_>,
        found: &Lookup,
        wanted: Range<u64>,
    ) -> Result<(Bytes, Vec<u32>), Fault> {
        let pages = pages_of(wanted.clone()).expect("the range is not empty");
        let state = state_of(&reader.files.data).map_err(|_| Fault::Io(pages.first))?;
        let length = reader.geometry.length();
        let is_trusted = found.trusted == Some(state.changed) && state.length == length;
        // To verify a granule all of it must be read.
        let read = if is_trusted {
            wanted.clone()
        } else {
            let end = wanted.end.next_multiple_of(GRANULE_LENGTH).min(length);
            wanted.start / GRANULE_LENGTH * GRANULE_LENGTH..end
        };
        let stored = reader.checksums(pages)?;
        let mut buffer = Vec::new();
        reader.read(read.clone(), &mut buffer)?;
        if !is_trusted {
            verify(&buffer, read.clone(), pages, &stored)?;
            self.statistics.verified_bytes.add(buffer.len() as u64);
            let whole = pages.iter().filter(|page| {
                let begin = page.offset().get();
                read.start <= begin && begin + reader.geometry.page_length(*page) <= read.end
            });
            self.state.lock().index.mark_verified(reader.location.key, whole, state.changed);
        }
        let skip = usize_of(wanted.start - read.start);
        let bytes = Bytes::from(buffer).slice(skip..skip + usize_of(wanted.end - wanted.start));
        let checksums = granules_of(wanted.clone())
            .map(|piece| {
                let granule_end = (piece.start / GRANULE_LENGTH + 1) * GRANULE_LENGTH;
                let is_whole =
                    piece.start.is_multiple_of(GRANULE_LENGTH) && piece.end == granule_end.min(length);
                if is_whole {
                    stored[position_of(piece.start, pages)]
                } else {
                    crc32c::crc32c(
                        &bytes[usize_of(piece.start - wanted.start)..usize_of(piece.end - wanted.start)],
                    )
                }
            })
            .collect();
        Ok((bytes, checksums))
    }
}

impl Reader<'_> {
    /// The stored checksums of `pages`, 16 a page.
    pub(super) fn checksums(&self, pages: PageRange) -> Result<Vec<u32>, Fault> {
        let seed = self.location.key.seed();
        let mut bytes = Vec::new();
        let length = pages.count as usize * RECORD_LENGTH;
        read_at(&self.files.index, &mut bytes, length, record_offset(self.records, pages.first))
            .map_err(|_| Fault::Io(pages.first))?;
        let mut all = Vec::with_capacity(pages.count as usize * GRANULES_PER_PAGE);
        let mut rest = bytes.as_slice();
        for page in pages.iter() {
            let (record, later) = rest.split_at(rest.len().min(RECORD_LENGTH));
            match PageRecord::decode(record, seed, page.get(), self.geometry.granule_count(page)) {
                PageRecord::Present(checksums) => all.extend_from_slice(&checksums),
                PageRecord::Absent | PageRecord::Damaged => return Err(Fault::Checksum(page)),
            }
            rest = later;
        }
        Ok(all)
    }

    /// Reads `range` of the data file; a shorter file is at fault where it ends.
    fn read(&self, range: Range<u64>, buffer: &mut Vec<u8>) -> Result<(), Fault> {
        let length = usize_of(range.end - range.start);
        let read = read_at(&self.files.data, buffer, length, range.start);
        let page = page_at(range.start + buffer.len() as u64);
        match read {
            Ok(()) if buffer.len() == length => Ok(()),
            Ok(()) => Err(Fault::Checksum(page)),
            Err(_) => Err(Fault::Io(page)),
        }
    }

    /// Reads and verifies one whole page. `buffer` is room to read into.
    pub(super) fn verify_page(&self, page: PageIndex, buffer: &mut Vec<u8>) -> Result<u64, Fault> {
        self.read_page(page, buffer)?;
        Ok(self.geometry.page_length(page))
    }

    /// Reads one whole page into `buffer` and verifies it. The checksums that it was verified by.
    pub(super) fn read_page(&self, page: PageIndex, buffer: &mut Vec<u8>) -> Result<Vec<u32>, Fault> {
        let pages = PageRange { first: page, count: 1 };
        let stored = self.checksums(pages)?;
        let begin = page.offset().get();
        let length = self.geometry.page_length(page);
        self.read(begin..begin + length, buffer)?;
        verify(buffer, begin..begin + length, pages, &stored)?;
        Ok(stored)
    }
}

/// Whether each granule of `bytes`, which lie at the granule-aligned `range`, has its checksum in `stored`.
pub(super) fn verify(bytes: &[u8], range: Range<u64>, pages: PageRange, stored: &[u32]) -> Result<(), Fault> {
    for piece in granules_of(range.clone()) {
        let granule = &bytes[usize_of(piece.start - range.start)..usize_of(piece.end - range.start)];
        if crc32c::crc32c(granule) != stored[position_of(piece.start, pages)] {
            return Err(Fault::Checksum(page_at(piece.start)));
        }
    }
    Ok(())
}

/// `range` cut at the borders of granules.
fn granules_of(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut begin = range.start;
    std::iter::from_fn(move || {
        let end = ((begin / GRANULE_LENGTH + 1) * GRANULE_LENGTH).min(range.end);
        let piece = begin..end;
        begin = end;
        (!piece.is_empty()).then_some(piece)
    })
}

/// The pages that `range` touches; `None` when it is empty.
fn pages_of(range: Range<u64>) -> Option<PageRange> {
    let last = range.end.checked_sub(1).filter(|last| *last >= range.start)?;
    let first = PageIndex::at(FileOffset::new(range.start))?;
    let last = PageIndex::at(FileOffset::new(last))?;
    Some(PageRange { first, count: last.get() - first.get() + 1 })
}

/// The position in the checksums of `pages` of the granule at `offset`.
fn position_of(offset: u64, pages: PageRange) -> usize {
    usize_of((offset - pages.first.offset().get()) / GRANULE_LENGTH)
}

fn page_at(offset: u64) -> PageIndex {
    PageIndex::at(FileOffset::new(offset)).expect("within a version")
}

fn begin_of(page: u32) -> u64 {
    u64::from(page) * PAGE_LENGTH
}

fn usize_of(length: u64) -> usize {
    usize::try_from(length).expect("within one read")
}
