//! Pins: what is to stay known, however long nobody asks about it.

use forebay_types::{InodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::store::Table;

/// One pin. Its key is that of the inode that is pinned, with all below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    /// The directory whose names stay for it: of a directory itself, of anything else the one that it lies in.
    pub(crate) directory: InodeId,
    /// When it was pinned.
    pub(crate) pinned_at: Timestamp,
}

impl Record for Pin {
    const TABLE: Table = Table::Pins;
}
