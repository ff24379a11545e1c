//! Deletes what was detached from the tree, in small steps.
//!
//! Unmounting a mount or removing a directory cuts one edge, whatever hangs below; this command clears the rest, so
//! that no entry of the log takes longer than a few thousand rows do.

use forebay_types::{EntryKind, InodeId};
use serde::{Deserialize, Serialize};

use crate::limits::REAP_LIMIT_MAX;
use crate::reply::{Rejection, Reply, Success};
use crate::state::{
    Edge, Orphan, Tombstone, Transition, children_range, edge_name, inode_id, inode_key, range_end, read_page,
};
use crate::store::{StoreError, Table};
use crate::tree;

/// Deletes up to `limit` inodes of detached subtrees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reap {
    /// How many, from 1 to [`REAP_LIMIT_MAX`].
    pub limit: u32,
}

impl Reap {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        if !(1..=REAP_LIMIT_MAX).contains(&self.limit) {
            return Ok(Err(Rejection::TooMany {
                what: "inodes to reap".to_owned(),
                count: self.limit.into(),
                max: REAP_LIMIT_MAX.into(),
            }));
        }
        let mut budget = Budget { left: self.limit, removed: 0 };
        let more = loop {
            let page = read_page::<Orphan>(state.reader(), &[], None, 1)?;
            let Some((key, orphan)) = page.into_iter().next() else {
                break false;
            };
            if budget.left == 0 {
                break true;
            }
            reap_directory(state, inode_id(Table::Orphans, &key)?, orphan, &mut budget)?;
        };
        Ok(Ok(Success::Reaped { removed: budget.removed, more }))
    }
}

/// How much one command may still do. Each row that is looked at counts, so that the time is bounded too.
struct Budget {
    left: u32,
    removed: u32,
}

/// Clears one detached directory as far as the budget goes.
fn reap_directory(
    state: &mut Transition<'_, '_>,
    directory: InodeId,
    orphan: Orphan,
    budget: &mut Budget,
) -> Result<(), StoreError> {
    let (start, end) = children_range(directory, orphan.cursor.as_ref());
    let page = read_page::<Edge>(state.reader(), &start, end.as_deref(), budget.left as usize)?;
    let mut cursor = orphan.cursor;
    for (key, edge) in page {
        let (_, name) = edge_name(Table::Children, &key)?;
        budget.left -= 1;
        if edge.kind != EntryKind::Directory {
            budget.removed += 1;
        }
        tree::cut(state, directory, &name, &edge)?;
        cursor = Some(name);
    }
    // With the budget used up, whatever may be left waits for the next step.
    if !clear_tombstones(state, directory, budget)? {
        state.delete(Table::Directories, inode_key(directory));
        state.delete(Table::Orphans, inode_key(directory));
        let inode = state.inode_that_exists(directory)?;
        state.delete_inode(&inode)?;
        budget.left = budget.left.saturating_sub(1);
        budget.removed += 1;
    } else {
        state.write(inode_key(directory), &Orphan { cursor });
    }
    Ok(())
}

/// Deletes what is remembered of removed names; whether more may be left.
fn clear_tombstones(
    state: &mut Transition<'_, '_>,
    directory: InodeId,
    budget: &mut Budget,
) -> Result<bool, StoreError> {
    let prefix = inode_key(directory);
    let end = range_end(&prefix);
    let page = read_page::<Tombstone>(state.reader(), &prefix, end.as_deref(), budget.left as usize)?;
    for (key, _) in page {
        budget.left -= 1;
        state.delete(Table::Tombstones, key);
    }
    Ok(budget.left == 0)
}

#[cfg(test)]
mod tests;
