//! Reading one folder of a tier: which files are a version's, and what their index file says of them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use forebay_types::limits::FILE_LENGTH_MAX;
use forebay_types::{ClusterId, Timestamp};

use super::{RecoveryReport, drop_files};
use crate::directory::TierDirectory;
use crate::index::{Location, Restored, TierIndex};
use crate::io::{open_for_changing, open_for_reading, read_at, set_length, state_of};
use crate::layout::{
    FileKind, GenerationKey, PageRecord, RECORD_LENGTH, RecordSeed, folder as folder_of, parse_name,
    read_header, record_offset, relative_path,
};
use crate::page::{Geometry, PageIndex, PageSet};

/// How many records are read at once.
const RECORDS_PER_READ: u32 = 1024;

/// A version that can be used.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) restored: Restored,
    /// When a page was written last.
    pub(super) modified: Timestamp,
    pub(super) dropped_pages: u64,
}

/// Puts the versions of one folder into `found`, and deletes what does not fit.
pub(super) fn scan_folder(
    directory: &TierDirectory,
    tier: TierIndex,
    cluster: ClusterId,
    folder: u32,
    found: &mut Vec<Found>,
    report: &mut RecoveryReport,
) {
    let Ok(generations) = list_folder(directory, folder, report) else {
        report.unreadable_folders += 1;
        return;
    };
    for (key, kinds) in generations {
        if let [_] = kinds.as_slice() {
            report.orphan_files += 1;
            drop_files(directory, key);
            continue;
        }
        let location = Location { key, tier };
        match load(directory, location, cluster) {
            Some(version) => found.push(version),
            None => {
                report.dropped_versions += 1;
                drop_files(directory, key);
            }
        }
    }
}

fn list_folder(
    directory: &TierDirectory,
    folder: u32,
    report: &mut RecoveryReport,
) -> io::Result<BTreeMap<GenerationKey, Vec<FileKind>>> {
    let mut generations: BTreeMap<GenerationKey, Vec<FileKind>> = BTreeMap::new();
    for entry in fs::read_dir(directory.folder_path(folder))? {
        let entry = entry?;
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        match parse_name(entry.file_name().as_bytes()) {
            Some((key, kind)) if is_file && folder_of(key.file) == folder => {
                generations.entry(key).or_default().push(kind);
            }
            _ => report.foreign_files += 1,
        }
    }
    Ok(generations)
}

/// What the files of a generation hold; `None` when they do not fit.
fn load(directory: &TierDirectory, location: Location, cluster: ClusterId) -> Option<Found> {
    let key = location.key;
    let index = open_for_reading(directory.root(), &relative_path(key, FileKind::Index)).ok()?;
    let (header, records) = read_header(&index)?;
    let length = header.fingerprint.length;
    if header.cluster != cluster || header.key != key || length.get() > FILE_LENGTH_MAX {
        return None;
    }
    let path = relative_path(key, FileKind::Data);
    let data = open_for_reading(directory.root(), &path).ok()?;
    let mut state = state_of(&data).ok()?;
    if state.length > length.get() {
        return None;
    }
    let geometry = Geometry::new(length);
    let (present, dropped_pages) = read_records(&index, key, records, geometry, state.length)?;
    if present.is_empty() {
        return None;
    }
    if state.length < length.get() {
        let file = open_for_changing(directory.root(), &path).ok()?;
        set_length(&file, length.get()).ok()?;
        state = state_of(&file).ok()?;
    }
    let restored = Restored {
        location,
        identity: header.digest(),
        length,
        index_charge: record_offset(records, PageIndex::new(geometry.page_count())).next_multiple_of(4096),
        records,
        present,
        allocated: state.allocated,
        changed: state.changed,
    };
    Some(Found { restored, modified: state.modified, dropped_pages })
}

/// The pages whose record is good and whose bytes lie within the data file, and how many others there were.
fn read_records(
    index: impl AsFd,
    key: GenerationKey,
    records: u64,
    geometry: Geometry,
    data_length: u64,
) -> Option<(PageSet, u64)> {
    let pages = geometry.page_count();
    let seed = RecordSeed::of(key);
    let mut present = PageSet::new(pages);
    let mut dropped = 0;
    let mut bytes = Vec::new();
    for first in (0..pages).step_by(RECORDS_PER_READ as usize) {
        let count = RECORDS_PER_READ.min(pages - first);
        let offset = record_offset(records, PageIndex::new(first));
        read_at(&index, &mut bytes, count as usize * RECORD_LENGTH, offset).ok()?;
        for (page, record) in (first..).map(PageIndex::new).zip(bytes.chunks(RECORD_LENGTH)) {
            match PageRecord::decode(record, seed, page, geometry.granule_count(page)) {
                PageRecord::Absent => {}
                PageRecord::Present(_) if page.offset().get() + geometry.page_length(page) <= data_length => {
                    present.insert(page);
                }
                PageRecord::Present(_) | PageRecord::Damaged => dropped += 1,
            }
        }
    }
    Some((present, dropped))
}
