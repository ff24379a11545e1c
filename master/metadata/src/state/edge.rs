//! Edges: the names in directories, in the order of their bytes.

use forebay_types::{EntryKind, EntryName, InodeId, LogIndex};
use serde::{Deserialize, Serialize};

use super::record::{Record, range_end};
use crate::store::{StoreError, Table};

/// What a name in a directory leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// The inode.
    pub target: InodeId,
    /// What the inode is, so that a listing of names need not read it.
    pub kind: EntryKind,
    /// How the name came to be.
    pub origin: EdgeOrigin,
    /// The entry of the log that last changed what the name means. A listing that began before it says nothing
    /// about the name.
    pub changed_at: LogIndex,
}

/// How a name came to be, which decides who may remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EdgeOrigin {
    /// The under-store has it. Listings change and remove it.
    Loaded,
    /// It only leads to mount points below, and goes with the last of them.
    Synthetic,
    /// A mount point, which goes by unmount only.
    MountPoint,
    /// Somebody made it, outside of mounts, and it stays until somebody removes it.
    Made,
}

impl Record for Edge {
    const TABLE: Table = Table::Children;
}

/// The key of a name's row: the directory's id, then the name's bytes.
pub(crate) fn edge_key(directory: InodeId, name: &EntryName) -> Vec<u8> {
    let mut key = directory.get().to_be_bytes().to_vec();
    key.extend_from_slice(name.as_bytes());
    key
}

/// The keys of a directory's names after `after`: the first one, and the one after the last.
pub(crate) fn children_range(directory: InodeId, after: Option<&EntryName>) -> (Vec<u8>, Option<Vec<u8>>) {
    children_range_after(directory, after.map(EntryName::as_bytes))
}

/// The same after bytes that need not be a name.
pub(crate) fn children_range_after(directory: InodeId, after: Option<&[u8]>) -> (Vec<u8>, Option<Vec<u8>>) {
    let prefix = directory.get().to_be_bytes();
    let mut start = prefix.to_vec();
    if let Some(after) = after {
        start.extend_from_slice(after);
        // No name has a zero byte, so this is the smallest key after these bytes' own.
        start.push(0);
    }
    (start, range_end(&prefix))
}

/// Reads the directory and name that [`edge_key`] wrote.
pub(crate) fn edge_name(table: Table, key: &[u8]) -> Result<(InodeId, EntryName), StoreError> {
    let (directory, name) = key
        .split_first_chunk::<8>()
        .ok_or_else(|| StoreError::corrupt(table, key, "a key of less than 8 bytes"))?;
    let name = EntryName::new(name).map_err(|error| StoreError::corrupt(table, key, error.to_string()))?;
    Ok((InodeId::new(u64::from_be_bytes(*directory)), name))
}
