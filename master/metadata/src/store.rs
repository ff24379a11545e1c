//! The port to whatever keeps the rows of the replicated state: get, scan, and mutations to be written as one.
//!
//! Rows lie in named tables; keys and values are bytes, keys in the order of their bytes. The state machine only
//! reads through the port; what it wants written comes back as [`Mutation`]s, which the caller commits atomically
//! together with the log index that they came from.

use std::error::Error;

use forebay_types::ErrorKind;
use thiserror::Error;

pub mod conformance;

mod memory;
mod overlay;

pub use memory::MemoryStore;
pub(crate) use overlay::Overlay;

/// The tables of the state. Closed; the order is a format, since dumps and snapshots follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Directories, files and symbolic links, by inode.
    Inodes,
    /// Names in directories, by directory and name.
    Children,
    /// Mounts, by id.
    Mounts,
    /// Counters and rows of which there is one: identity, clock, totals.
    Counters,
    /// Sessions and the replies remembered for them.
    Sessions,
    /// What is known of a directory's listing, by inode.
    Directories,
    /// Detached subtrees that wait to be reaped, by inode.
    Orphans,
    /// Names that were found to be gone while an older listing may be open, by directory and name.
    Tombstones,
    /// Jobs, by id.
    Jobs,
    /// The paths of jobs, by job and number.
    JobPaths,
    /// What jobs gave up, by job and number.
    JobFailures,
    /// What is still to be done to the world, by sequence.
    Outbox,
    /// What is to stay known, by inode.
    Pins,
}

/// One row to be written, or deleted where there is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// The row's table.
    pub table: Table,
    /// The row's key.
    pub key: Vec<u8>,
    /// The row's new value; `None` deletes it. Deleting a row that is not there is no error.
    pub value: Option<Vec<u8>>,
}

/// One row: its key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Reads rows. A store shows what was last committed; a snapshot of it shows one point in time.
pub trait StateReader {
    /// The value of one row.
    ///
    /// # Errors
    /// [`StoreError::Backend`] when the store fails.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Up to `limit` rows in the order of their keys, from `start` (inclusive) to `end` (exclusive; `None`: to the
    /// end of the table).
    ///
    /// # Errors
    /// [`StoreError::Backend`] when the store fails.
    fn scan(
        &self,
        table: Table,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;
}

/// Writes rows: what tests and the conformance suite need of a store beside reading.
pub trait StateWriter: StateReader {
    /// Writes all of `mutations`, or none. Of several for one row the last one counts.
    ///
    /// # Errors
    /// [`StoreError::Backend`] when the store fails.
    fn commit(&mut self, mutations: Vec<Mutation>) -> Result<(), StoreError>;
}

/// Why the state could not be read. The caller cannot go on with this state.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The store itself failed.
    #[error("cannot read the table {table}: {source}")]
    Backend {
        /// The table that was read.
        table: &'static str,
        /// What the store said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A row is not what this table's rows look like.
    #[error("the row {key} of the table {table} is corrupt: {problem}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The row's key in hex.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// A row was written by a later version.
    #[error(
        "the row {key} of the table {table} has format {found}; this version knows up to {known}: upgrade this master"
    )]
    NewerFormat {
        /// The table.
        table: &'static str,
        /// The row's key in hex.
        key: String,
        /// The format of the row.
        found: u8,
        /// The newest format that is known.
        known: u8,
    },
    /// The state may have what only a later version knows.
    #[error(
        "the state has the feature level {found}; this version knows up to {known}: upgrade this master, nothing was \
         changed"
    )]
    NewerLevel {
        /// The level of the state.
        found: u32,
        /// The highest level that is known.
        known: u32,
    },
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 13] = [
        Self::Inodes,
        Self::Children,
        Self::Mounts,
        Self::Counters,
        Self::Sessions,
        Self::Directories,
        Self::Orphans,
        Self::Tombstones,
        Self::Jobs,
        Self::JobPaths,
        Self::JobFailures,
        Self::Outbox,
        Self::Pins,
    ];

    /// The table's name on disk and in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inodes => "inodes",
            Self::Children => "children",
            Self::Mounts => "mounts",
            Self::Counters => "counters",
            Self::Sessions => "sessions",
            Self::Directories => "directories",
            Self::Orphans => "orphans",
            Self::Tombstones => "tombstones",
            Self::Jobs => "jobs",
            Self::JobPaths => "job-paths",
            Self::JobFailures => "job-failures",
            Self::Outbox => "outbox",
            Self::Pins => "pins",
        }
    }
}

impl StoreError {
    /// What kind of error it is for those above.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Backend { .. } => ErrorKind::Io,
            Self::Corrupt { .. } | Self::NewerFormat { .. } => ErrorKind::Corrupt,
            Self::NewerLevel { .. } => ErrorKind::Unsupported,
        }
    }
}
