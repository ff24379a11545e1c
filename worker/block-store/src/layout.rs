//! What lies on a tier's directory, byte by byte (docs/adr/0004-one-sidecar-index-per-cached-version.md, for segments
//! docs/adr/0019-segments.md, and for catalogues docs/adr/0022-catalogues.md).
//!
//! ```text
//! DIR/lock                                               held while a process has the directory open
//! DIR/format                                             magic, format version, cluster id, CRC32C
//! DIR/probe                                              what was written last to see whether the disk works
//! DIR/blocks/XX/<incarnation>-<counter>.<generation>.data   the content, header-free, sparse, at its full length
//! DIR/blocks/XX/<incarnation>-<counter>.<generation>.index  what the data file holds: header, then a record a page
//! DIR/blocks/XX/<incarnation>-<counter>.s<segment>.<generation>.data, .index   the same of one segment
//! DIR/blocks/catalogue/XX                                what a start need not find out of the files of XX one by one
//! ```
//!
//! XX spreads the files over 256 folders. A generation is one pair of files of a unit: what is dropped and filled
//! again gets a new one, so that files in use are never changed. All numbers are little-endian. Every part carries
//! its own CRC32C, so a flipped or torn byte costs one page or one unit and never more.
//!
//! Format 1 knows whole versions only. Segments have names that it does not read, headers of format 2, and the
//! directory is of format 2 from its first segment on.

mod catalogue;
mod format_file;
mod header;
mod name;

use std::fmt;

use forebay_types::RecordSeed;

use crate::unit::UnitId;

pub(crate) use catalogue::{
    CATALOGUE_FOLDER, CATALOGUE_LENGTH_MAX, CatalogueEntry, CatalogueHeader, catalogue_path,
    new_catalogue_path,
};
pub(crate) use format_file::{FORMAT_FILE_LENGTH, FormatFile, FormatFileError};
pub(crate) use header::{
    HeaderError, IndexHeader, RECORDS_ALIGNMENT, index_length, read_header, read_header_into, record_offset,
};
pub(crate) use name::{FileKind, file_name, folder, folder_path, parse_name, relative_path};

/// The format of a directory without segments, and of the header of a whole version.
pub(crate) const FORMAT_WHOLE: u32 = 1;
/// The format of a directory with segments, and of a segment's header.
pub(crate) const FORMAT_SEGMENTS: u32 = 2;
/// How many folders the files are spread over.
pub(crate) const FOLDER_COUNT: u32 = 256;
/// The file that is locked while the directory is open.
pub(crate) const LOCK_FILE: &str = "lock";
/// The file that says whose directory it is.
pub(crate) const FORMAT_FILE: &str = "format";
/// The file that is written and read to see whether the disk works.
pub(crate) const PROBE_FILE: &str = "probe";
/// The folder of the folders of files.
pub(crate) const BLOCKS_FOLDER: &str = "blocks";

/// One pair of files of a unit. A higher one is newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u64);

/// Names one pair of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationKey {
    /// The unit.
    pub unit: UnitId,
    /// Which of its pairs.
    pub generation: Generation,
}

impl Generation {
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

impl GenerationKey {
    /// What the checksums of its records begin with.
    pub(crate) fn seed(self) -> RecordSeed {
        RecordSeed::of(self.unit.file(), self.unit.segment(), self.generation.get())
    }
}

impl fmt::Display for GenerationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.unit, self.generation.0)
    }
}

/// The four bytes at `offset` as a number; `None` beyond the end.
fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().copied().map(u32::from_le_bytes)
}
