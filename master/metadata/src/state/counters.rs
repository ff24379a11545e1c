//! Rows of which there is one: clock, the counters that ids come from, and totals.

use forebay_types::{EntryKind, MountId, Timestamp};
use serde::{Deserialize, Serialize};

use super::inode::Inode;
use super::record::{Record, encode_record, read};
use crate::store::{Overlay, StateReader, StoreError, Table};

/// The highest time that any applied entry carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clock {
    pub(crate) now: Timestamp,
}

/// The next ids to be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NextIds {
    /// For inodes and for versions of files, which share one counter.
    pub(crate) entry: u64,
    /// For mounts.
    pub(crate) mount: u32,
    /// For workers.
    pub(crate) worker: u32,
}

/// How many inodes there are, those that wait to be reaped included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Length of all files together. Sparse files can be long enough for the sum of a few to overflow 64 bits.
    pub bytes: u128,
}

/// What a row of totals counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TotalsScope {
    Namespace,
    Mount(MountId),
}

impl Record for Clock {
    const TABLE: Table = Table::Counters;
}

impl Record for NextIds {
    const TABLE: Table = Table::Counters;
}

impl Record for Totals {
    const TABLE: Table = Table::Counters;
}

impl Clock {
    pub(crate) const KEY: &'static [u8] = b"clock";

    pub(crate) fn read(reader: &dyn StateReader) -> Result<Option<Self>, StoreError> {
        read(reader, Self::KEY)
    }

    pub(crate) fn write(self, rows: &mut Overlay<'_>) {
        rows.set(Self::TABLE, Self::KEY.to_vec(), Some(encode_record(&self)));
    }
}

impl NextIds {
    pub(crate) const KEY: &'static [u8] = b"next-ids";

    /// The counters of a formatted state.
    pub(crate) fn read(reader: &dyn StateReader) -> Result<Self, StoreError> {
        read(reader, Self::KEY)?.ok_or_else(|| {
            StoreError::corrupt(Table::Counters, Self::KEY, "a formatted state has no id counters")
        })
    }
}

impl TotalsScope {
    pub(crate) const MOUNT_PREFIX: &'static [u8] = b"totals/";

    pub(crate) fn key(self) -> Vec<u8> {
        match self {
            Self::Namespace => b"totals".to_vec(),
            Self::Mount(mount) => [Self::MOUNT_PREFIX, &mount.get().to_be_bytes()].concat(),
        }
    }
}

impl Totals {
    pub(crate) fn read(reader: &dyn StateReader, scope: TotalsScope) -> Result<Self, StoreError> {
        Ok(read(reader, &scope.key())?.unwrap_or_default())
    }

    /// Counts one more inode.
    pub(crate) fn add(&mut self, inode: &Inode) {
        *self.of(inode.kind()) += 1;
        self.bytes += u128::from(inode.length().get());
    }

    /// Counts one inode less.
    ///
    /// # Panics
    /// When it was never counted: going on would let the totals drift for ever.
    pub(crate) fn subtract(&mut self, inode: &Inode) {
        let count = self.of(inode.kind());
        *count = count.checked_sub(1).expect("each inode is counted once");
        let length = u128::from(inode.length().get());
        self.bytes = self.bytes.checked_sub(length).expect("each inode is counted with the length it has");
    }

    const fn of(&mut self, kind: EntryKind) -> &mut u64 {
        match kind {
            EntryKind::File => &mut self.files,
            EntryKind::Directory => &mut self.directories,
            EntryKind::Symlink => &mut self.symlinks,
        }
    }
}
