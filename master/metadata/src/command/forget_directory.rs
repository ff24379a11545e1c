//! Drops what was loaded of a directory, so that it is asked for again when it is needed.
//!
//! Directories in it stay: somebody may stand in one, whose node must not change for as long as it lives. Until the last
//! step of a large directory is done, the names that are left are as they were; that others are missing means nothing,
//! since the directory is not loaded from the first step on. What workers hold of its files is not dropped: the files
//! may still be there, and get new ids when they are seen again.

use forebay_types::{EntryKind, EntryName, InodeId};
use serde::{Deserialize, Serialize};

use crate::limits::REAP_LIMIT_MAX;
use crate::query;
use crate::reply::{Rejection, Reply, Success};
use crate::state::{
    Directory, Edge, EdgeOrigin, Tombstone, Transition, children_range, edge_name, inode_key, range_end,
    read_page,
};
use crate::store::{StoreError, Table};
use crate::tree;

/// Drops the files and links that were loaded of a directory: repeat it while the reply says that more are left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetDirectory {
    /// The directory.
    pub directory: InodeId,
    /// How many names are looked at, from 1 to [`REAP_LIMIT_MAX`].
    pub limit: u32,
}

impl ForgetDirectory {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        let directory = self.directory;
        if !(1..=REAP_LIMIT_MAX).contains(&self.limit) {
            return Ok(Err(Rejection::TooMany {
                what: "names to forget".to_owned(),
                count: self.limit.into(),
                max: REAP_LIMIT_MAX.into(),
            }));
        }
        let lineage = tree::lineage(state.reader(), directory)?;
        let Some(inode) = lineage.and_then(|lineage| lineage.into_iter().next()) else {
            return Ok(Err(Rejection::InodeMissing { inode: directory }));
        };
        if inode.kind() != EntryKind::Directory {
            return Ok(Err(Rejection::NotADirectory { inode: directory }));
        }
        if inode.mount.is_none() {
            return Ok(Err(Rejection::NotInAMount { directory }));
        }
        if query::Pins::read(state.reader())?.keep(state.reader(), directory)? {
            return Ok(Err(Rejection::Pinned { directory }));
        }
        let known: Directory = state.read(&inode_key(directory))?.unwrap_or_default();
        let mut cursor = known.forget_cursor;
        let (start, end) = children_range(directory, cursor.as_ref());
        let page = read_page::<Edge>(state.reader(), &start, end.as_deref(), self.limit as usize)?;
        let more = page.len() == self.limit as usize;
        let mut dropped = 0;
        for (key, edge) in page {
            let (_, name) = edge_name(Table::Children, &key)?;
            if edge.origin == EdgeOrigin::Loaded && edge.kind != EntryKind::Directory {
                let inode = state.inode_that_exists(edge.target)?;
                state.delete(Table::Children, key);
                state.delete_inode(&inode)?;
                if let Some(version) = inode.version() {
                    state.disown_version(version.file);
                }
                dropped += 1;
            }
            cursor = Some(name);
        }
        self.finish(state, cursor.filter(|_| more), more)?;
        Ok(Ok(Success::Forgotten { dropped, more }))
    }

    /// Each step voids the listings that run: they were compared with what this step dropped.
    fn finish(
        &self,
        state: &mut Transition<'_, '_>,
        forget_cursor: Option<EntryName>,
        more: bool,
    ) -> Result<(), StoreError> {
        let prefix = inode_key(self.directory);
        let known = Directory { loaded_at: None, voided_at: state.index(), forget_cursor };
        state.write(prefix.clone(), &known);
        state.directory_changed(self.directory);
        if !more {
            // No listing that they guard against counts any more.
            let end = range_end(&prefix);
            let gone =
                read_page::<Tombstone>(state.reader(), &prefix, end.as_deref(), REAP_LIMIT_MAX as usize)?;
            for (key, _) in gone {
                state.delete(Table::Tombstones, key);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
