//! Reading one folder of a tier: which files are a unit's, and what their index file says of them.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use forebay_types::limits::FILE_LENGTH_MAX;
use forebay_types::{ByteCount, PageRecord, RECORD_LENGTH, Timestamp};
use rustix::fs::{Dir, FileType};

use super::{Owner, RecoveryReport, drop_files};
use crate::directory::TierDirectory;
use crate::index::{Location, Restored, TierIndex};
use crate::io::{
    open_directory, open_for_changing, open_for_reading, read_at, set_length, state_at, state_of,
};
use crate::layout::{
    FileKind, GenerationKey, IndexHeader, file_name, folder as folder_of, folder_path, parse_name,
    read_header_into, record_offset, relative_path,
};
use crate::page::{Geometry, PageIndex, PageSet};

/// How many records are read at once.
const RECORDS_PER_READ: u32 = 1024;

/// A unit that can be used.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) restored: Restored,
    /// When a page was written last.
    pub(super) modified: Timestamp,
    pub(super) dropped_pages: u64,
}

/// One folder of a tier that is being read, with the names of what lies there made once.
struct Folder<'a> {
    directory: &'a TierDirectory,
    open: OwnedFd,
    tier: TierIndex,
    owner: Owner,
}

/// What is there of one generation.
#[derive(Default)]
struct Pair {
    /// The inode of the index file: files are read in the order of their inodes, in which they lie on many disks.
    index: Option<u64>,
    has_data: bool,
}

/// Puts the units of one folder into `found`, and deletes what does not fit.
pub(super) fn scan_folder(
    directory: &TierDirectory,
    tier: TierIndex,
    owner: Owner,
    folder: u32,
    found: &mut Vec<Found>,
    report: &mut RecoveryReport,
) {
    let mut read = || {
        let open = open_directory(directory.root(), &folder_path(folder))?;
        let generations = list_folder(&open, folder, report)?;
        Ok::<_, io::Error>((Folder { directory, open, tier, owner }, generations))
    };
    let Ok((folder, generations)) = read() else {
        report.unreadable_folders += 1;
        return;
    };
    let mut whole = Vec::with_capacity(generations.len());
    for (key, pair) in generations {
        match pair.index.filter(|_| pair.has_data) {
            Some(inode) => whole.push((inode, key)),
            None => {
                report.orphan_files += 1;
                drop_files(directory, key);
            }
        }
    }
    whole.sort_unstable();
    let mut bytes = Vec::new();
    for (_, key) in whole {
        match folder.load(key, &mut bytes) {
            Some(version) => found.push(version),
            None => {
                report.dropped_versions += 1;
                drop_files(directory, key);
            }
        }
    }
}

fn list_folder(
    open: &OwnedFd,
    folder: u32,
    report: &mut RecoveryReport,
) -> io::Result<BTreeMap<GenerationKey, Pair>> {
    let mut generations: BTreeMap<GenerationKey, Pair> = BTreeMap::new();
    for entry in Dir::read_from(open)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        // Some file systems do not say in a listing what a name is.
        let is_file = match entry.file_type() {
            FileType::Unknown => {
                state_at(open, &String::from_utf8_lossy(name)).is_ok_and(|state| state.is_some())
            }
            kind => kind == FileType::RegularFile,
        };
        match parse_name(name) {
            Some((key, kind)) if is_file && folder_of(key.unit) == folder => {
                let pair = generations.entry(key).or_default();
                match kind {
                    FileKind::Index => pair.index = Some(entry.ino()),
                    FileKind::Data => pair.has_data = true,
                }
            }
            _ => report.foreign_files += 1,
        }
    }
    Ok(generations)
}

impl Folder<'_> {
    /// What the files of a generation hold; `None` when they do not fit. Four system calls for a small unit; `bytes`
    /// is room to read into.
    fn load(&self, key: GenerationKey, bytes: &mut Vec<u8>) -> Option<Found> {
        let index = open_for_reading(&self.open, &file_name(key, FileKind::Index)).ok()?;
        let (header, records) = read_header_into(&index, bytes)?;
        if header.cluster != self.owner.cluster || header.key != key {
            return None;
        }
        let length = self.unit_length(&header)?;
        if key.unit.segment().is_some() {
            // Should it fail, the name and the header still keep it from whoever does not know segments.
            let _ = self.directory.expect_segments();
        }
        let name = file_name(key, FileKind::Data);
        let mut state = state_at(&self.open, &name).ok()??;
        if state.length > length.get() {
            return None;
        }
        let geometry = Geometry::new(length);
        let (present, dropped_pages) =
            Records { index, key, offset: records, begin: bytes }.read(geometry, state.length)?;
        if present.is_empty() {
            return None;
        }
        if state.length < length.get() {
            let file = open_for_changing(self.directory.root(), &relative_path(key, FileKind::Data)).ok()?;
            set_length(&file, length.get()).ok()?;
            state = state_of(&file).ok()?;
        }
        let restored = Restored {
            location: Location { key, tier: self.tier },
            identity: header.digest(),
            length,
            version_length: header.fingerprint.length,
            index_charge: record_offset(records, PageIndex::new(geometry.page_count()))
                .next_multiple_of(4096),
            records,
            present,
            allocated: state.allocated,
            changed: state.changed,
        };
        Some(Found { restored, modified: state.modified, dropped_pages })
    }

    /// Length of the unit that a header belongs to; `None` when there can be no such unit.
    fn unit_length(&self, header: &IndexHeader) -> Option<ByteCount> {
        let length = header.fingerprint.length;
        if length.get() > FILE_LENGTH_MAX {
            return None;
        }
        let Some(number) = header.key.unit.segment() else { return Some(length) };
        let segment = self.owner.segment_length;
        let begin = segment.get().checked_mul(number.into()).filter(|begin| *begin < length.get())?;
        let fits = header.segment_length == Some(segment);
        fits.then(|| segment.min(ByteCount::new(length.get() - begin)))
    }
}

/// The records of an index file.
struct Records<'a> {
    index: OwnedFd,
    key: GenerationKey,
    /// Where they begin.
    offset: u64,
    /// The begin of the file, as far as it was read already.
    begin: &'a [u8],
}

impl Records<'_> {
    /// The pages whose record is good and whose bytes lie within the data file, and how many others there were.
    fn read(&self, geometry: Geometry, data_length: u64) -> Option<(PageSet, u64)> {
        let pages = geometry.page_count();
        let seed = self.key.seed();
        let mut present = PageSet::new(pages);
        let mut dropped = 0;
        let mut bytes = Vec::new();
        for first in (0..pages).step_by(RECORDS_PER_READ as usize) {
            let count = RECORDS_PER_READ.min(pages - first);
            let records = self.piece(PageIndex::new(first), count as usize, &mut bytes)?;
            for (page, record) in (first..).map(PageIndex::new).zip(records.chunks(RECORD_LENGTH)) {
                match PageRecord::decode(record, seed, page.get(), geometry.granule_count(page)) {
                    PageRecord::Absent => {}
                    PageRecord::Present(_)
                        if page.offset().get() + geometry.page_length(page) <= data_length =>
                    {
                        present.insert(page);
                    }
                    PageRecord::Present(_) | PageRecord::Damaged => dropped += 1,
                }
            }
        }
        Some((present, dropped))
    }

    /// `count` records from that of `first` on, or as many as the file has; read unless they were already.
    fn piece<'a>(&'a self, first: PageIndex, count: usize, bytes: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        let offset = record_offset(self.offset, first);
        let begin = usize::try_from(offset).ok()?;
        let length = count * RECORD_LENGTH;
        if let Some(read) = self.begin.get(begin..begin + length) {
            return Some(read);
        }
        read_at(&self.index, bytes, length, offset).ok()?;
        Some(bytes)
    }
}
