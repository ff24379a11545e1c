//! Copying units from tier to tier, a page at a time, as the index plans it.
//!
//! Each granule is verified by its record before it is written, and the copy's records bear the same checksums: a
//! damaged page is lost as if a reader had found it, and is never copied. The header of the copy's index file is written
//! last. A copy that a kill left without it is none to who looks for what the directories hold, and the unit is still where
//! it was; with it the copy is the later generation of two, and has all pages.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use forebay_types::PageRecord;

use super::Inner;
use super::open_versions::OpenVersion;
use super::read::{Fault, Reader};
use crate::index::{Copied, Location, Move, NextMove, Reason};
use crate::io::{is_full, open_for_writing, set_length, state_of, write_all_at};
use crate::layout::{FileKind, IndexHeader, read_header, record_offset, relative_path};
use crate::page::{Geometry, PageIndex};

/// What a step is taken to move beyond a page's bytes: its record, and the blocks of the files' inodes and folders.
const STEP_OVERHEAD: u64 = 16 << 10;

/// Moves units between the tiers of a store. Holds one page in memory.
#[derive(Debug)]
pub struct Mover {
    inner: Arc<Inner>,
    current: Option<Copying>,
    buffer: Vec<u8>,
}

/// A copy that is being made. Dropped before it is done, it is deleted.
#[derive(Debug)]
struct Copying {
    inner: Arc<Inner>,
    plan: Move,
    /// `None` once the index was told how it ended.
    files: Option<Files>,
    /// The pages before this one are copied.
    next: PageIndex,
}

#[derive(Debug)]
struct Files {
    source: OpenVersion,
    data: OwnedFd,
    index: OwnedFd,
    /// That of the copy's index file, which is as long as the offset of the records.
    header: Vec<u8>,
}

/// Why a copy cannot be made.
#[derive(Debug)]
enum Obstacle {
    /// The source does not give a page.
    Page(Fault),
    /// The source's files or header cannot be read.
    Source(io::Error),
    /// The target's files cannot be written.
    Target(io::Error),
    /// The source changed, is in use or left, or the target's tier is down.
    CalledOff,
}

impl Mover {
    pub(super) fn new(inner: &Arc<Inner>) -> Self {
        inner.state.lock().index.watch_moves();
        Self { inner: Arc::clone(inner), current: None, buffer: Vec::new() }
    }

    /// Copies the next page. About how many bytes that moved; `None`: there is nothing to move for now.
    pub fn step(&mut self) -> Option<u64> {
        if self.current.is_none() {
            let plan = self.plan()?;
            self.begin(plan);
        }
        let Some(mut copying) = self.current.take() else { return Some(STEP_OVERHEAD) };
        match copying.copy_page(&mut self.buffer) {
            Ok((bytes, true)) => {
                self.current = Some(copying);
                Some(bytes + STEP_OVERHEAD)
            }
            Ok((bytes, false)) => {
                copying.finish();
                Some(bytes + STEP_OVERHEAD)
            }
            Err(obstacle) => {
                copying.give_up(obstacle);
                Some(STEP_OVERHEAD)
            }
        }
    }

    /// What to copy next, with room made for it where the index says so.
    fn plan(&self) -> Option<Move> {
        loop {
            let next = self.inner.state.lock().index.next_move();
            match next {
                NextMove::Copy(plan) => return Some(plan),
                NextMove::First(actions) => {
                    self.inner.perform(actions);
                }
                NextMove::Nothing => return None,
            }
        }
    }

    /// Begins a copy that the index planned.
    pub(super) fn begin(&mut self, plan: Move) {
        let mut copying =
            Copying { inner: Arc::clone(&self.inner), plan, files: None, next: PageIndex::new(0) };
        match copying.open() {
            Ok(files) => {
                copying.files = Some(files);
                self.current = Some(copying);
            }
            Err(obstacle) => copying.give_up(obstacle),
        }
    }
}

impl Copying {
    /// Opens the source and makes the files of the copy.
    fn open(&self) -> Result<Files, Obstacle> {
        let Move { source, target, length, .. } = self.plan;
        let from = self.inner.directory(source.tier).map_err(Obstacle::Source)?;
        let opened = OpenVersion::open(from.root(), source.key).map_err(Obstacle::Source)?;
        // The copy is taken for what its header says, so that must be what the index says of the source.
        if let Some(claim) = self.inner.unconfirmed(source) {
            self.inner.confirm(&from, source, &claim, &opened).map_err(Obstacle::Source)?;
        }
        let header = read_header(&opened.index).map(|(header, _)| header);
        let header = header.filter(|header| header.key == source.key && header.cluster == self.inner.cluster);
        let header = header.and_then(|header| IndexHeader { key: target.key, ..header }.encode().ok());
        let header = header.ok_or_else(|| Obstacle::Source(io::ErrorKind::InvalidData.into()))?;
        // Without one the tier went down since the copy was planned.
        let to = self.inner.directory(target.tier).map_err(|_| Obstacle::CalledOff)?;
        let make = || {
            if target.key.unit.segment().is_some() {
                to.expect_segments()?;
            }
            let data = open_for_writing(to.root(), &relative_path(target.key, FileKind::Data))?;
            // At its final length before the first byte: a tmpfs then gives huge pages.
            set_length(&data, length.get())?;
            let index = open_for_writing(to.root(), &relative_path(target.key, FileKind::Index))?;
            Ok::<_, io::Error>((data, index))
        };
        let (data, index) = make().map_err(Obstacle::Target)?;
        Ok(Files { source: opened, data, index, header })
    }

    /// Copies the next page. How long it is, and whether there are more.
    fn copy_page(&mut self, buffer: &mut Vec<u8>) -> Result<(u64, bool), Obstacle> {
        let plan = &self.plan;
        let Some(files) = &self.files else { return Err(Obstacle::CalledOff) };
        let Some(page) = plan.pages.first_from(self.next) else { return Ok((0, false)) };
        self.next = PageIndex::new(page.get() + 1);
        self.check()?;
        let geometry = Geometry::new(plan.length);
        let source = Reader { files: &files.source, location: plan.source, geometry, records: plan.records };
        let first = source.read_page(page, buffer);
        // The page may have been dropped and filled again while it was read: once more, then it is lost.
        let checksums = first.or_else(|_| source.read_page(page, buffer)).map_err(Obstacle::Page)?;
        let length = geometry.page_length(page);
        self.inner.statistics.verified_bytes.add(length);
        let granules = geometry.granule_count(page);
        let record = PageRecord::encode_present(plan.target.key.seed(), page.get(), &checksums[..granules]);
        let offset = record_offset(files.header.len() as u64, page);
        write_all_at(&files.data, buffer, page.offset().get())
            .and_then(|()| write_all_at(&files.index, &record, offset))
            .map_err(Obstacle::Target)?;
        Ok((length, plan.pages.first_from(self.next).is_some()))
    }

    fn check(&self) -> Result<(), Obstacle> {
        let goes_on = self.inner.state.lock().index.move_goes_on(&self.plan);
        if goes_on { Ok(()) } else { Err(Obstacle::CalledOff) }
    }

    /// Makes the copy one that is found after a restart, and then the one that is read.
    fn finish(mut self) {
        let written = self.check().and_then(|()| {
            let Some(files) = &self.files else { return Err(Obstacle::CalledOff) };
            write_all_at(&files.index, &files.header, 0).map_err(Obstacle::Target)?;
            let changed = state_of(&files.data).map_err(Obstacle::Target)?.changed;
            Ok(Copied { records: files.header.len() as u64, changed })
        });
        match written {
            Ok(copied) => self.end(Some(copied)),
            Err(obstacle) => self.give_up(obstacle),
        }
    }

    /// Does what an obstacle asks for, and deletes the copy.
    fn give_up(mut self, obstacle: Obstacle) {
        let Move { source, target, .. } = self.plan;
        match obstacle {
            Obstacle::Page(fault) if self.check().is_ok() => self.inner.lose_page(source, fault),
            Obstacle::Source(error) if error.kind() == io::ErrorKind::NotFound => {
                let action = self.inner.state.lock().index.detach_generation(source.key, Reason::Vanished);
                self.inner.perform(action.into_iter().collect());
            }
            Obstacle::Source(error) => self.fails(source, &error),
            Obstacle::Target(error) if is_full(&error) => {
                self.inner.state.lock().index.set_full(target.tier);
            }
            Obstacle::Target(error) => self.fails(target, &error),
            Obstacle::Page(_) | Obstacle::CalledOff => {}
        }
        self.end(None);
    }

    fn fails(&self, at: Location, error: &io::Error) {
        // A header that is damaged says nothing of the disk that a reader would not.
        if error.kind() != io::ErrorKind::InvalidData {
            self.inner.disk_failed(at.tier, error);
        }
        self.inner.state.lock().index.cannot_move(&self.plan);
        tracing::warn!(unit = %self.plan.source.key, tier = self.inner.slot(at.tier).settings.name, %error,
            "a cached unit cannot be moved to another tier and stays");
    }

    /// Tells the index, and deletes what it says.
    fn end(&mut self, copied: Option<Copied>) {
        // Deleted bytes take room for as long as they are open.
        self.files = None;
        let (is_moved, action) = self.inner.state.lock().index.end_move(&self.plan, copied);
        let statistics = &self.inner.statistics;
        if is_moved {
            self.inner.catalogues.changed(self.plan.target);
            let (moves, bytes) = match self.plan.is_up {
                true => (&statistics.promotions, &statistics.promoted_bytes),
                false => (&statistics.demotions, &statistics.demoted_bytes),
            };
            let geometry = Geometry::new(self.plan.length);
            moves.add(1);
            bytes.add(self.plan.pages.iter().map(|page| geometry.page_length(page)).sum());
        } else if action.is_some() {
            statistics.aborted_moves.add(1);
        }
        self.inner.perform(action.into_iter().collect());
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        // Nothing, unless it was given up in the middle.
        self.end(None);
    }
}
