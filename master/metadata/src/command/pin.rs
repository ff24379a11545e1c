//! Has what lies at a path, and all below it, stay known, or ends that.
//!
//! A pin is of the inode and moves with it. It goes with the inode: when its source no longer has it, or its mount is gone.

use forebay_types::{EntryKind, NamespacePath};
use serde::{Deserialize, Serialize};

use crate::limits::PINS_MAX;
use crate::reply::{Rejection, Reply, Success};
use crate::state::{Pin as Row, Transition, inode_key, read_page};
use crate::store::{StoreError, Table};
use crate::tree;

/// Pins what lies at a path. What is known there and below is not forgotten any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Where it is.
    pub path: NamespacePath,
}

/// Ends a pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpin {
    /// Where what is pinned is.
    pub path: NamespacePath,
}

impl Pin {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        let walk = tree::walk(state.reader(), &self.path)?;
        if walk.found < self.path.names().len() {
            return Ok(Err(Rejection::PathMissing { path: self.path.clone() }));
        }
        let inode = walk.inode;
        let key = inode_key(inode.id);
        if state.read::<Row>(&key)?.is_some() {
            return Ok(Ok(Success::Pinned { inode: inode.id, already: true }));
        }
        let pins = read_page::<Row>(state.reader(), &[], None, PINS_MAX)?.len();
        if pins >= PINS_MAX {
            let (count, max) = (pins as u64 + 1, PINS_MAX as u64);
            return Ok(Err(Rejection::TooMany { what: "pins".to_owned(), count, max }));
        }
        let directory = if inode.kind() == EntryKind::Directory { inode.id } else { inode.parent };
        state.write(key, &Row { directory, pinned_at: state.now() });
        Ok(Ok(Success::Pinned { inode: inode.id, already: false }))
    }
}

impl Unpin {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        let walk = tree::walk(state.reader(), &self.path)?;
        let key = inode_key(walk.inode.id);
        let exists = walk.found == self.path.names().len();
        if !exists || state.read::<Row>(&key)?.is_none() {
            return Ok(Err(Rejection::NotPinned { path: self.path.clone() }));
        }
        state.delete(Table::Pins, key);
        Ok(Ok(Success::Unpinned { inode: walk.inode.id }))
    }
}

#[cfg(test)]
mod tests;
