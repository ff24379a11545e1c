//! Orphans: directories that were detached from the tree, whose content is deleted in small steps.

use serde::{Deserialize, Serialize};

use forebay_types::EntryName;

use super::record::Record;
use crate::store::Table;

/// One detached directory. Its key is that of its inode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Orphan {
    /// The last name that was deleted, so that the next step need not walk over what is gone.
    pub(crate) cursor: Option<EntryName>,
}

impl Record for Orphan {
    const TABLE: Table = Table::Orphans;
}
