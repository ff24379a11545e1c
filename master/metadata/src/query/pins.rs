//! What is pinned, and what stays known for it.

use std::collections::BTreeSet;

use forebay_types::{InodeId, NamespacePath};

use super::path_of;
use crate::limits::PINS_MAX;
use crate::state::{Pin, inode_id, inode_key, read_page};
use crate::store::{StateReader, StoreError, Table};
use crate::tree;

/// All pins, for whoever asks about many directories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// Directories, with all below them.
    directories: BTreeSet<InodeId>,
    /// Those that hold something else that is pinned.
    holders: BTreeSet<InodeId>,
}

impl Pins {
    /// The pins as they are.
    ///
    /// # Errors
    /// As all queries.
    pub fn read(reader: &dyn StateReader) -> Result<Self, StoreError> {
        let mut pins = Self::default();
        for (key, pin) in read_page::<Pin>(reader, &[], None, PINS_MAX)? {
            let of_itself = inode_id(Table::Pins, &key)? == pin.directory;
            if of_itself { &mut pins.directories } else { &mut pins.holders }.insert(pin.directory);
        }
        Ok(pins)
    }

    /// Whether the names in a directory stay known.
    ///
    /// # Errors
    /// As all queries.
    pub fn keep(&self, reader: &dyn StateReader, directory: InodeId) -> Result<bool, StoreError> {
        if self.holders.contains(&directory) {
            return Ok(true);
        }
        if self.directories.is_empty() {
            return Ok(false);
        }
        let lineage = tree::lineage(reader, directory)?.unwrap_or_default();
        Ok(lineage.iter().any(|inode| self.directories.contains(&inode.id)))
    }
}

/// Up to `limit` of what is pinned after `after`, by inode, with its path, which is none where it is detached.
///
/// # Errors
/// As all queries.
pub fn pins(
    reader: &dyn StateReader,
    after: InodeId,
    limit: usize,
) -> Result<Vec<(InodeId, Option<NamespacePath>)>, StoreError> {
    let Some(next) = after.get().checked_add(1) else { return Ok(Vec::new()) };
    let page = read_page::<Pin>(reader, &inode_key(InodeId::new(next)), None, limit)?;
    let pinned = page.into_iter().map(|(key, _)| {
        let inode = inode_id(Table::Pins, &key)?;
        Ok((inode, path_of(reader, inode)?))
    });
    pinned.collect()
}
