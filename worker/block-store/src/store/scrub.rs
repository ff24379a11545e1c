//! Verifying what nobody reads, a page at a time, the unit that was verified longest ago first.
//!
//! Between two steps nothing is held, open or reserved: a unit may leave, be held or filled, and is then left
//! alone. What is found corrupt is lost as if a reader had found it.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use forebay_types::{PageRecord, RECORD_LENGTH};
use rustix::fs::OFlags;

use super::Inner;
use super::read::{Fault, verify};
use crate::index::{Reason, ToCheck};
use crate::io::{AlignedBuffer, DirectFile, open_direct, state_of};
use crate::layout::{FileKind, record_offset, relative_path};
use crate::page::{Geometry, PageIndex, PageRange};
use crate::scrub::ScrubRound;

/// What a step is taken to read beyond a page's bytes: the block of its record, and of the files' inodes.
const STEP_OVERHEAD: u64 = 8192;

/// Goes through the complete units that nobody uses.
#[derive(Debug)]
pub struct Scrubber {
    inner: Arc<Inner>,
    round: ScrubRound,
    /// The unit that is being verified, and its next page.
    current: Option<(ToCheck, PageIndex)>,
    buffer: AlignedBuffer,
}

/// Both files of a unit, read past the page cache.
struct Files {
    data: DirectFile,
    index: DirectFile,
}

impl Scrubber {
    pub(super) fn new(inner: &Arc<Inner>, now: Instant) -> Self {
        let tick = inner.state.lock().index.now();
        let round = ScrubRound::new(now, tick);
        Self { inner: Arc::clone(inner), round, current: None, buffer: AlignedBuffer::default() }
    }

    /// Verifies the next page. About how many bytes that read; `None`: there is nothing to verify for now.
    pub fn step(&mut self, now: Instant) -> Option<u64> {
        let (unit, page) = self.next(now)?;
        let geometry = Geometry::new(unit.length);
        let step = PageStep { inner: &self.inner, unit, page, geometry, buffer: &mut self.buffer };
        if let Some(files) = step.open() {
            step.verify(&files);
        }
        let next = PageIndex::new(page.get() + 1);
        if next.get() < geometry.page_count() {
            self.current = Some((unit, next));
        } else {
            self.inner.state.lock().index.checked(unit.location.key);
        }
        Some(geometry.page_length(page) + STEP_OVERHEAD)
    }

    /// What to verify: the rest of what was begun, if it can still be, or else another unit.
    fn next(&mut self, now: Instant) -> Option<(ToCheck, PageIndex)> {
        let index = &self.inner.state.lock().index;
        if let Some((unit, page)) = self.current.take()
            && index.may_check(unit.location.key)
        {
            return Some((unit, page));
        }
        let unit = index.next_to_check()?;
        self.round.takes(unit.checked, now, index.now()).then_some((unit, PageIndex::new(0)))
    }
}

/// One page of one unit.
struct PageStep<'a> {
    inner: &'a Inner,
    unit: ToCheck,
    page: PageIndex,
    geometry: Geometry,
    buffer: &'a mut AlignedBuffer,
}

impl PageStep<'_> {
    /// The files; `None` when they cannot be opened, and then the unit is let go if they vanished.
    fn open(&self) -> Option<Files> {
        let location = self.unit.location;
        let directory = self.inner.directory(location.tier).ok()?;
        let open = |kind| open_direct(directory.root(), &relative_path(location.key, kind), OFlags::RDONLY);
        let opened = self.inner.confirm_unopened(&directory, location).and_then(|()| {
            let data = open(FileKind::Data)?;
            Ok(Files { data, index: open(FileKind::Index)? })
        });
        match opened {
            Ok(files) => Some(files),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let action = self.inner.state.lock().index.detach_generation(location.key, Reason::Vanished);
                self.inner.perform(action.into_iter().collect());
                None
            }
            Err(error) => {
                self.inner.disk_failed(location.tier, &error);
                None
            }
        }
    }

    fn verify(mut self, files: &Files) {
        let first = self.verify_once(files);
        // The page may have been dropped and filled again between looking and reading: once more, then drop it.
        if let Err(fault) = first.or_else(|_| self.verify_once(files)) {
            self.inner.lose_page(self.unit.location, fault);
        }
    }

    fn verify_once(&mut self, files: &Files) -> Result<(), Fault> {
        let (page, key) = (self.page, self.unit.location.key);
        let failed = |_| Fault::Io(page);
        let state = state_of(files.data.file()).map_err(failed)?;
        let offset = record_offset(self.unit.records, page);
        let record = files.index.read(self.buffer, offset..offset + RECORD_LENGTH as u64).map_err(failed)?;
        let granules = self.geometry.granule_count(page);
        let PageRecord::Present(stored) = PageRecord::decode(record, key.seed(), page.get(), granules) else {
            return Err(Fault::Checksum(page));
        };
        let begin = page.offset().get();
        let length = self.geometry.page_length(page);
        let range = begin..begin + length;
        let bytes = files.data.read(self.buffer, range.clone()).map_err(failed)?;
        if bytes.len() as u64 != length {
            return Err(Fault::Checksum(page));
        }
        verify(bytes, range, PageRange { first: page, count: 1 }, &stored)?;
        self.inner.statistics.scrubbed_bytes.add(length);
        self.inner.state.lock().index.mark_verified(key, std::iter::once(page), state.changed);
        Ok(())
    }
}
