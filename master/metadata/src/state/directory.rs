//! What is known of a directory beside its names: whether all of them were listed, and which are known to be gone.

use forebay_types::{EntryName, InodeId, LogIndex};
use serde::{Deserialize, Serialize};

use super::edge::edge_key;
use super::record::Record;
use crate::store::Table;

/// What is known of a directory's listing. A directory without a row was never listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// The entry of the log that completed a listing; from then on a name that is not here does not exist.
    pub loaded_at: Option<LogIndex>,
    /// Listings that began before this entry of the log are void: what they differ from was forgotten.
    pub voided_at: LogIndex,
    /// While the directory is being forgotten: the last name that was looked at.
    pub forget_cursor: Option<EntryName>,
}

impl Record for Directory {
    const TABLE: Table = Table::Directories;
}

/// A name that was found to be gone, remembered so that a listing which began before does not bring it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tombstone {
    /// The entry of the log that removed it.
    pub(crate) gone_at: LogIndex,
}

impl Record for Tombstone {
    const TABLE: Table = Table::Tombstones;
}

/// The key of a removed name's row.
pub(crate) fn tombstone_key(directory: InodeId, name: &EntryName) -> Vec<u8> {
    edge_key(directory, name)
}
