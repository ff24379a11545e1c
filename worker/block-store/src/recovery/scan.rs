//! Reading one folder of a tier: which files are a unit's, and what the folder's catalogue or their index file says of
//! them.

use std::io;
use std::os::fd::OwnedFd;

use forebay_types::limits::FILE_LENGTH_MAX;
use forebay_types::{ByteCount, FileId, PageRecord, RECORD_LENGTH, Timestamp};
use rustix::fs::{Dir, FileType};

use super::{Owner, RecoveryReport, drop_files};
use crate::directory::TierDirectory;
use crate::index::{Location, Restored, TierIndex};
use crate::io::{
    open_directory, open_for_changing, open_for_reading, read_at, set_length, state_at, state_of,
};
use crate::layout::{
    CATALOGUE_LENGTH_MAX, CatalogueEntry, CatalogueHeader, FileKind, Generation, GenerationKey,
    catalogue_path, file_name, folder as folder_of, folder_path, index_length, parse_name, read_header_into,
    record_offset, relative_path,
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

/// What was found in some folders of a tier.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) found: Vec<Found>,
    pub(super) report: RecoveryReport,
    /// Folders that hold something else than their catalogue says.
    pub(super) uncatalogued: Vec<u32>,
    /// The last generation that a catalogue knows of.
    pub(super) last_catalogued: Generation,
    /// Room to read into.
    bytes: Vec<u8>,
}

/// One folder of a tier that is being read, with the names of what lies there made once.
struct Folder<'a> {
    directory: &'a TierDirectory,
    open: OwnedFd,
    tier: TierIndex,
    owner: Owner,
}

/// One file of a generation. Ordered by whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Half {
    key: GenerationKey,
    kind: FileKind,
    inode: u64,
}

/// The names in a folder.
struct Listing {
    /// In their order.
    halves: Vec<Half>,
    foreign_files: u64,
}

impl Found {
    pub(super) const fn file(&self) -> FileId {
        self.restored.location.key.unit.file()
    }
}

impl Scan {
    pub(super) fn add(&mut self, other: Self) {
        self.found.extend(other.found);
        self.report.add(&other.report);
        self.uncatalogued.extend(other.uncatalogued);
        self.last_catalogued = self.last_catalogued.max(other.last_catalogued);
    }

    /// Takes in the units of one folder, and deletes what does not fit.
    pub(super) fn folder(&mut self, directory: &TierDirectory, tier: TierIndex, owner: Owner, number: u32) {
        let Ok((open, listing)) = list_folder(directory, number) else {
            self.report.unreadable_folders += 1;
            return;
        };
        self.report.foreign_files += listing.foreign_files;
        let folder = Folder { directory, open, tier, owner };
        let (catalogue, is_whole) = folder.catalogue(number, &mut self.bytes);
        let last = catalogue.iter().map(|entry| entry.key.generation).max().unwrap_or_default();
        self.last_catalogued = self.last_catalogued.max(last);
        let before = self.found.len();
        let mut unlisted = Vec::new();
        let mut entries = catalogue.iter().peekable();
        for pair in listing.halves.chunk_by(|one, other| one.key == other.key) {
            let key = pair[0].key;
            // Data comes before index.
            let [_, Half { inode, .. }] = *pair else {
                self.report.orphan_files += 1;
                drop_files(directory, key);
                continue;
            };
            while entries.next_if(|entry| entry.key < key).is_some() {}
            match entries.next_if(|entry| entry.key == key).and_then(|entry| folder.believe(entry)) {
                Some(unit) => self.found.push(unit),
                None => unlisted.push((inode, key)),
            }
        }
        let believed = self.found.len() - before;
        let complete = self.load(&folder, unlisted);
        if !is_whole || believed != catalogue.len() || complete > 0 {
            self.uncatalogued.push(number);
        }
    }

    /// Takes in what no catalogue told of. How many of them one should have.
    fn load(&mut self, folder: &Folder<'_>, mut unlisted: Vec<(u64, GenerationKey)>) -> usize {
        // Files lie on many disks in the order of their inodes.
        unlisted.sort_unstable();
        let mut complete = 0;
        for (_, key) in unlisted {
            match folder.load(key, &mut self.bytes) {
                Some(unit) => {
                    complete += usize::from(unit.restored.present.is_full());
                    self.found.push(unit);
                }
                None => {
                    self.report.dropped_versions += 1;
                    drop_files(folder.directory, key);
                }
            }
        }
        complete
    }
}

/// The generations of which there are files in a folder.
pub(crate) fn units_in(directory: &TierDirectory, folder: u32) -> io::Result<Vec<GenerationKey>> {
    let (_, listing) = list_folder(directory, folder)?;
    let mut keys: Vec<_> = listing.halves.iter().map(|half| half.key).collect();
    keys.dedup();
    Ok(keys)
}

fn list_folder(directory: &TierDirectory, folder: u32) -> io::Result<(OwnedFd, Listing)> {
    let open = open_directory(directory.root(), &folder_path(folder))?;
    let mut listing = Listing { halves: Vec::new(), foreign_files: 0 };
    for entry in Dir::read_from(&open)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        // Some file systems do not say in a listing what a name is.
        let is_file = match entry.file_type() {
            FileType::Unknown => {
                state_at(&open, &String::from_utf8_lossy(name)).is_ok_and(|state| state.is_some())
            }
            kind => kind == FileType::RegularFile,
        };
        match parse_name(name) {
            Some((key, kind)) if is_file && folder_of(key.unit) == folder => {
                listing.halves.push(Half { key, kind, inode: entry.ino() });
            }
            _ => listing.foreign_files += 1,
        }
    }
    listing.halves.sort_unstable();
    Ok((open, listing))
}

impl Folder<'_> {
    /// What the folder's catalogue lists, in the order of the keys, and whether that is all that it ever did. `bytes` is
    /// room to read into.
    fn catalogue(&self, number: u32, bytes: &mut Vec<u8>) -> (Vec<CatalogueEntry>, bool) {
        let read = open_for_reading(self.directory.root(), &catalogue_path(number)).and_then(|file| {
            let length = usize::try_from(state_of(&file)?.length).unwrap_or(usize::MAX);
            read_at(&file, bytes, length.min(CATALOGUE_LENGTH_MAX), 0)
        });
        let Owner { cluster, segment_length } = self.owner;
        let header = CatalogueHeader { cluster, folder: number, segment_length };
        read.map_or((Vec::new(), false), |()| header.decode(bytes))
    }

    /// The unit as its catalogue has it; `None` when there can be no such unit.
    fn believe(&self, entry: &CatalogueEntry) -> Option<Found> {
        let version_length = entry.version_length;
        let length = self.unit_length(entry.key, version_length)?;
        if entry.allocated > FILE_LENGTH_MAX {
            return None;
        }
        self.knows_segments(entry.key);
        let geometry = Geometry::new(length);
        let records = u64::from(entry.records);
        let restored = Restored {
            location: Location { key: entry.key, tier: self.tier },
            identity: entry.identity,
            length,
            version_length,
            index_charge: index_length(records, geometry),
            records,
            present: PageSet::full(geometry.page_count()),
            allocated: entry.allocated,
            changed: entry.changed,
            is_confirmed: false,
        };
        Some(Found { restored, modified: entry.changed, dropped_pages: 0 })
    }

    /// What the files of a generation hold; `None` when they do not fit. Four system calls for a small unit; `bytes`
    /// is room to read into.
    fn load(&self, key: GenerationKey, bytes: &mut Vec<u8>) -> Option<Found> {
        let index = open_for_reading(&self.open, &file_name(key, FileKind::Index)).ok()?;
        let (header, records) = read_header_into(&index, bytes)?;
        if header.cluster != self.owner.cluster || header.key != key {
            return None;
        }
        if header.segment_length != key.unit.segment().map(|_| self.owner.segment_length) {
            return None;
        }
        let length = self.unit_length(key, header.fingerprint.length)?;
        self.knows_segments(key);
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
            index_charge: index_length(records, geometry),
            records,
            present,
            allocated: state.allocated,
            changed: state.changed,
            is_confirmed: true,
        };
        Some(Found { restored, modified: state.modified, dropped_pages })
    }

    /// Length of a unit of a version; `None` when there can be no such unit.
    fn unit_length(&self, key: GenerationKey, version_length: ByteCount) -> Option<ByteCount> {
        if version_length.get() > FILE_LENGTH_MAX {
            return None;
        }
        let Some(number) = key.unit.segment() else { return Some(version_length) };
        let segment = self.owner.segment_length;
        let begin = segment.get().checked_mul(number.into()).filter(|begin| *begin < version_length.get())?;
        Some(segment.min(ByteCount::new(version_length.get() - begin)))
    }

    /// Says in the directory's format that there are segments if this is one.
    fn knows_segments(&self, key: GenerationKey) {
        if key.unit.segment().is_some() {
            // Should it fail, the name and the header still keep it from whoever does not know segments.
            let _ = self.directory.expect_segments();
        }
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
