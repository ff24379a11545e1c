//! A backup of the state: one file with every row of one moment, whatever is applied meanwhile.
//!
//! All numbers are little-endian:
//!
//! ```text
//! 0   magic "FBBACKUP"
//! 8   format version, u32
//! 12  CRC32C of all before, u32
//! then blocks, numbered from 0, each:
//!     kind, u8: 1 description, 2 rows of one table, 3 end
//!     length of the body, u32
//!     the body, postcard
//!     CRC32C of number (u64), kind, length and body, u32
//! ```
//!
//! The first block is the description, the last the end, which counts the rows; nothing follows it. So a flipped, lost,
//! doubled, moved or cut-off part is found, and told with its place. Written and read block by block, in bounded memory.

mod read;
mod write;

use std::fmt;
use std::io;

use forebay_metadata::StoreError;
use forebay_types::{ClusterId, ErrorKind, Incarnation, LogIndex, Timestamp, crc32c};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use read::{BackupReader, BackupSummary};
pub use write::BackupBlocks;

const MAGIC: [u8; 8] = *b"FBBACKUP";
/// The format that is written, and the newest that is read.
const VERSION: u32 = 1;
const PREFIX_LENGTH: usize = 16;
const BLOCK_HEADER_LENGTH: usize = 5;

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupDescription {
    /// The cluster.
    pub cluster: ClusterId,
    /// Which life of its state.
    pub incarnation: Incarnation,
    /// The last entry of the log that it has.
    pub index: LogIndex,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// The release of Forebay that took it.
    pub release: String,
}

/// Rows of one table, in the order of their keys.
#[derive(Serialize, Deserialize)]
struct RowsBody {
    table: String,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The end.
#[derive(Serialize, Deserialize)]
struct EndBody {
    rows: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlockKind {
    Description = 1,
    Rows = 2,
    End = 3,
}

/// A part of a backup, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupPlace {
    /// The block.
    pub block: u64,
    /// Where it begins.
    pub offset: u64,
}

/// Why a backup cannot be read.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The disk, or whatever else gives the bytes.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Something else.
    #[error("it is no backup of Forebay: it does not begin as one")]
    Foreign,
    /// A later version wrote it.
    #[error("it has format {found}; this version knows up to {VERSION}: upgrade Forebay")]
    Newer {
        /// Its format.
        found: u32,
    },
    /// Bytes are not what was written.
    #[error("it is damaged at {place}: {problem}; take another backup")]
    Damaged {
        /// Where.
        place: BackupPlace,
        /// What is wrong there.
        problem: String,
    },
    /// A row that this version cannot read.
    #[error("a row at {place} cannot be used: {source}")]
    Row {
        /// Where.
        place: BackupPlace,
        /// What is wrong with it.
        source: StoreError,
    },
}

impl BackupError {
    /// What kind of error it is for those above.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io(_) => ErrorKind::Io,
            Self::Foreign | Self::Newer { .. } => ErrorKind::InvalidArgument,
            Self::Damaged { .. } => ErrorKind::Corrupt,
            Self::Row { source, .. } => source.kind(),
        }
    }
}

impl fmt::Display for BackupPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} (block {})", self.offset, self.block)
    }
}

impl BlockKind {
    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Description),
            2 => Some(Self::Rows),
            3 => Some(Self::End),
            _ => None,
        }
    }
}

fn checksum(number: u64, header: &[u8], body: &[u8]) -> u32 {
    let begun = crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), header);
    crc32c::crc32c_append(begun, body)
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
