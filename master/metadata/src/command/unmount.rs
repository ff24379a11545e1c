//! Detaches a mount. What it showed is cut off at once and cleared by the reaper.

use forebay_types::{InodeId, NamespacePath};
use serde::{Deserialize, Serialize};

use crate::query;
use crate::reply::{Rejection, Reply, Success};
use crate::state::{Directory, EdgeOrigin, Transition, edge_key, inode_key, mount_key};
use crate::store::{StoreError, Table};
use crate::tree;

/// Detaches the mount at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmount {
    /// Where it is attached.
    pub path: NamespacePath,
}

impl Unmount {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        let mounts = query::mounts(state.reader())?;
        let Some(mount) = mounts.iter().find(|mount| mount.path == self.path) else {
            return Ok(Err(Rejection::NotMounted { path: self.path.clone() }));
        };
        if let Some(nested) =
            mounts.iter().find(|other| other.id != mount.id && other.path.starts_with(&self.path))
        {
            return Ok(Err(Rejection::MountsBelow { path: self.path.clone(), nested: nested.path.clone() }));
        }
        let root = state.inode_that_exists(mount.root)?;
        let edge = root.name.as_ref().map(|name| state.edge(root.parent, name)).transpose()?.flatten();
        let (Some(edge), Some(name)) = (edge, &root.name) else {
            return Err(StoreError::corrupt(
                Table::Mounts,
                &mount_key(mount.id),
                "no name leads to its root",
            ));
        };
        tree::cut(state, root.parent, name, &edge)?;
        tree::count_mount_point(state, root.parent, |count| count.checked_sub(1))?;
        let around = remove_empty_directories(state, root.parent)?;
        void_listing(state, around)?;
        state.delete(Table::Mounts, mount_key(mount.id));
        state.directory_changed(around);
        state.mounts_changed();
        Ok(Ok(Success::Unmounted { mount: mount.id }))
    }
}

/// Removes directories that led to the mount only, from the lowest up. Gives the lowest one that stays.
fn remove_empty_directories(state: &mut Transition<'_, '_>, lowest: InodeId) -> Result<InodeId, StoreError> {
    let mut inode = state.inode_that_exists(lowest)?;
    while inode.mount.is_none() && !tree::has_children(state.reader(), inode.id)? {
        // The root has no name, and stays; so does what somebody made.
        let Some(name) = &inode.name else { break };
        if state.edge(inode.parent, name)?.is_some_and(|edge| edge.origin == EdgeOrigin::Made) {
            break;
        }
        state.delete(Table::Children, edge_key(inode.parent, name));
        state.delete_inode(&inode)?;
        inode = state.inode_that_exists(inode.parent)?;
    }
    Ok(inode.id)
}

/// Where the mount lay in another one, that one's under-store may have a name which the mount hid: the directory must
/// be listed again, and a listing that runs now does not count.
fn void_listing(state: &mut Transition<'_, '_>, directory: InodeId) -> Result<(), StoreError> {
    if state.inode_that_exists(directory)?.mount.is_some() {
        let before: Directory = state.read(&inode_key(directory))?.unwrap_or_default();
        let after = Directory { loaded_at: None, voided_at: state.index(), ..before };
        state.write(inode_key(directory), &after);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
