//! Storing a page: reserve, write the data, write its record, publish. Dropped without commit, it is as if never begun.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use forebay_types::{ByteCount, FileId, GRANULE_LENGTH, GRANULES_PER_PAGE, PAGE_LENGTH, PageRecord, crc32c};

use super::Inner;
use crate::directory::path_of;
use crate::error::StoreError;
use crate::index::{Committed, Demand, Location, Reason, Reservation, Slot, Wanted};
use crate::io::{is_full, open_for_changing, open_for_writing, set_length, state_of, write_all_at};
use crate::layout::{FileKind, HeaderError, IndexHeader, record_offset, relative_path};
use crate::page::{Geometry, PageIndex};
use crate::source::VersionSource;

/// A page that is being written. Send it the page's bytes in order, then commit.
#[derive(Debug)]
pub struct Fill {
    inner: Arc<Inner>,
    location: Location,
    /// Of the version.
    file: FileId,
    page: PageIndex,
    /// Which of the unit's pages it is.
    page_of_unit: PageIndex,
    /// Length of the page.
    expected: u64,
    written: u64,
    checksums: [u32; GRANULES_PER_PAGE],
    files: FillFiles,
    /// Whether the index has been told how it ended.
    is_over: bool,
}

/// Both files, open for writing, and where the records begin.
#[derive(Debug)]
struct FillFiles {
    data: OwnedFd,
    index: OwnedFd,
    records: u64,
}

/// Whether there is anything to write.
#[derive(Debug)]
pub enum FillStart {
    /// Write the page.
    Writing(Fill),
    /// The page is here.
    Present,
    /// Somebody else is writing it.
    InProgress,
}

/// What became of a page's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FillOutcome {
    /// They can be read.
    Stored,
    /// The page was here already.
    AlreadyPresent,
    /// Somebody else is writing the page.
    InProgress,
    /// The version was dropped meanwhile.
    Superseded,
}

pub(super) fn begin(
    inner: &Arc<Inner>,
    source: &VersionSource<'_>,
    page: PageIndex,
    demand: Demand,
) -> Result<FillStart, StoreError> {
    let wanted = Wanted {
        file: source.file(),
        identity: source.digest(),
        length: source.descriptor.length(),
        header_length: IndexHeader::length_max(source),
        demand,
    };
    inner.sample_free_space();
    let (slot, files) = loop {
        let slot = match inner.reserve(&wanted, page)? {
            Ok(slot) => slot,
            Err(start) => {
                inner.statistics.duplicate_fills.add(1);
                return Ok(start);
            }
        };
        let opened = inner.open_slot(source, slot);
        if let Ok(Some(files)) = opened {
            break (slot, files);
        }
        inner.abort_fill(slot.location, slot.page);
        opened?;
        // Somebody let the unit go since the place was reserved, or another hand deleted its files. It begins anew,
        // with files that are made and not looked for, so that this comes again only with another loss.
        let action = inner.state.lock().index.detach_generation(slot.location.key, Reason::Vanished);
        inner.perform(action.into_iter().collect());
    };
    Ok(FillStart::Writing(Fill {
        inner: Arc::clone(inner),
        location: slot.location,
        file: source.file(),
        page,
        page_of_unit: slot.page,
        expected: Geometry::new(slot.length).page_length(slot.page),
        written: 0,
        checksums: [0; GRANULES_PER_PAGE],
        files,
        is_over: false,
    }))
}

impl Fill {
    /// The page, as its version counts.
    #[must_use]
    pub const fn page(&self) -> PageIndex {
        self.page
    }

    /// How many bytes are still to come.
    #[must_use]
    pub const fn remaining(&self) -> ByteCount {
        ByteCount::new(self.expected - self.written)
    }

    /// Writes the next bytes of the page.
    ///
    /// # Errors
    /// [`StoreError::PageLength`] when the page would become too long, [`StoreError::NoSpace`] or [`StoreError::Io`].
    /// The fill can then only be dropped.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let end = self.written + bytes.len() as u64;
        if end > self.expected {
            return Err(self.wrong_length(end));
        }
        write_all_at(&self.files.data, bytes, self.page_of_unit.offset().get() + self.written)
            .map_err(|error| self.inner.write_failed(self.location, FileKind::Data, error))?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = GRANULE_LENGTH - self.written % GRANULE_LENGTH;
            let (piece, later) = rest.split_at(rest.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            let granule = usize::try_from(self.written / GRANULE_LENGTH).unwrap_or(usize::MAX);
            // The bytes in memory are summed up, not what the disk would give back.
            let checksum = &mut self.checksums[granule];
            *checksum = crc32c::crc32c_append(*checksum, piece);
            self.written += piece.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Publishes the page.
    ///
    /// # Errors
    /// [`StoreError::PageLength`] when bytes are missing, [`StoreError::NoSpace`] or [`StoreError::Io`]. The page is then
    /// not stored.
    pub fn commit(mut self) -> Result<FillOutcome, StoreError> {
        if self.written != self.expected {
            return Err(self.wrong_length(self.written));
        }
        let key = self.location.key;
        let granules = usize::try_from(self.expected.div_ceil(GRANULE_LENGTH)).unwrap_or(GRANULES_PER_PAGE);
        let page = self.page_of_unit;
        let record = PageRecord::encode_present(key.seed(), page.get(), &self.checksums[..granules]);
        write_all_at(&self.files.index, &record, record_offset(self.files.records, page))
            .map_err(|error| self.inner.write_failed(self.location, FileKind::Index, error))?;
        let state = state_of(&self.files.data)
            .map_err(|error| self.inner.write_failed(self.location, FileKind::Data, error))?;
        let committed = self.inner.state.lock().index.commit(key, page, state.changed);
        self.is_over = true;
        match committed {
            Committed::Published => {
                self.inner.catalogues.changed(self.location);
                self.inner.statistics.filled_pages.add(1);
                self.inner.statistics.filled_bytes.add(self.expected);
                Ok(FillOutcome::Stored)
            }
            Committed::Superseded(actions) => {
                self.inner.perform(actions);
                Ok(FillOutcome::Superseded)
            }
        }
    }

    const fn wrong_length(&self, given: u64) -> StoreError {
        StoreError::PageLength { file: self.file, page: self.page, given, expected: self.expected }
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if !self.is_over {
            self.inner.abort_fill(self.location, self.page_of_unit);
        }
    }
}

impl Inner {
    /// Asks until there is an answer, and makes room meanwhile.
    fn reserve(&self, wanted: &Wanted, page: PageIndex) -> Result<Result<Slot, FillStart>, StoreError> {
        let file = wanted.file;
        loop {
            let mut state = self.state.lock();
            let reservation = state.index.reserve(wanted, page);
            self.tell_wants_back_of(&mut state);
            match reservation {
                Reservation::Granted(slot) => return Ok(Ok(slot)),
                Reservation::Present => return Ok(Err(FillStart::Present)),
                Reservation::InProgress => return Ok(Err(FillStart::InProgress)),
                Reservation::First(actions) => {
                    drop(state);
                    self.perform(actions);
                }
                Reservation::Wait => self.changed.wait(&mut state),
                Reservation::NoSpace if self.wait_for_resting(&mut state) => {}
                Reservation::NoSpace => {
                    self.statistics.no_space.add(1);
                    return Err(StoreError::NoSpace { file });
                }
                Reservation::Declined => {
                    self.statistics.declined_fills.add(1);
                    return Err(StoreError::Declined { file });
                }
                Reservation::TooLarge(max) => {
                    return Err(StoreError::TooLarge { file, length: wanted.length, max });
                }
                Reservation::NoSuchPage => return Err(StoreError::NoSuchPage { file, page }),
            }
        }
    }

    /// Opens the files to write to, and makes them if this is the unit's first page. `None`: they were there and are
    /// no more.
    fn open_slot(&self, source: &VersionSource<'_>, slot: Slot) -> Result<Option<FillFiles>, StoreError> {
        let Slot { location, length, records, .. } = slot;
        // Without one the tier went down since the place was reserved, and the unit left with it.
        let Ok(directory) = self.directory(location.tier) else { return Ok(None) };
        let root = directory.root();
        let path = |kind| relative_path(location.key, kind);
        let failed = |kind| move |error| self.write_failed(location, kind, error);
        if let Some(records) = records {
            let open = |kind| match open_for_changing(root, &path(kind)) {
                Ok(file) => Ok(Some(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failed(kind)(error)),
            };
            let both = open(FileKind::Data)?.zip(open(FileKind::Index)?);
            return Ok(both.map(|(data, index)| FillFiles { data, index, records }));
        }
        let header = IndexHeader::new(self.cluster, location.key, source, self.segment_length);
        let header = header.encode().map_err(|error| match error {
            HeaderError::TooLong(length) => StoreError::IdentityTooLong { file: source.file(), length },
            HeaderError::Damaged => StoreError::IdentityTooLong { file: source.file(), length: 0 },
        })?;
        if location.key.unit.segment().is_some() {
            directory.expect_segments().map_err(failed(FileKind::Data))?;
        }
        let data = open_for_writing(root, &path(FileKind::Data)).map_err(failed(FileKind::Data))?;
        // At its final length before the first byte: a tmpfs then gives huge pages.
        set_length(&data, length.get()).map_err(failed(FileKind::Data))?;
        let index = open_for_writing(root, &path(FileKind::Index)).map_err(failed(FileKind::Index))?;
        write_all_at(&index, &header, 0).map_err(failed(FileKind::Index))?;
        let records = header.len() as u64;
        self.state.lock().index.created(location.key, records);
        self.changed.notify_all();
        Ok(Some(FillFiles { data, index, records }))
    }

    fn abort_fill(&self, location: Location, page: PageIndex) {
        let actions = self.state.lock().index.abort(location.key, page);
        // Somebody may wait for the files that were to be made.
        self.changed.notify_all();
        self.perform(actions);
    }

    fn write_failed(&self, location: Location, kind: FileKind, error: io::Error) -> StoreError {
        if is_full(&error) {
            self.statistics.no_space.add(1);
            self.state.lock().index.set_full(location.tier);
            return StoreError::NoSpace { file: location.key.unit.file() };
        }
        self.disk_failed(location.tier, &error);
        StoreError::Io {
            action: "write",
            path: path_of(&self.slot(location.tier).settings.directory, location.key, kind),
            source: error,
        }
    }
}

const _: () = assert!(PAGE_LENGTH.is_multiple_of(GRANULE_LENGTH), "a page is whole granules");
