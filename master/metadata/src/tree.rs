//! Walks and cuts of the tree that several commands and queries share.

pub(crate) mod own;

use forebay_types::{EntryName, InodeId, NamespacePath};

use crate::limits::DEPTH_MAX;
use crate::state::{
    Edge, Inode, InodeBody, NOWHERE, Orphan, Transition, children_range, edge_key, inode_key, read, read_page,
};
use crate::store::{StateReader, StoreError, Table};

/// How far a path leads.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The deepest inode of the path that exists.
    pub(crate) inode: Inode,
    /// How many names of the path were found.
    pub(crate) found: usize,
}

/// Follows a path from the root as far as it leads.
pub(crate) fn walk(reader: &dyn StateReader, path: &NamespacePath) -> Result<Walk, StoreError> {
    let mut walk = Walk { inode: existing(reader, InodeId::ROOT)?, found: 0 };
    for name in path.names() {
        let Some(edge) = read::<Edge>(reader, &edge_key(walk.inode.id, name))? else {
            break;
        };
        walk = Walk { inode: existing(reader, edge.target)?, found: walk.found + 1 };
    }
    Ok(walk)
}

/// The inode and all directories above it, up to the root; `None` when it does not exist or is detached.
pub(crate) fn lineage(reader: &dyn StateReader, id: InodeId) -> Result<Option<Vec<Inode>>, StoreError> {
    let Some(inode) = read::<Inode>(reader, &inode_key(id))? else {
        return Ok(None);
    };
    let mut lineage = vec![inode];
    while let Some(last) = lineage.last()
        && last.id != InodeId::ROOT
    {
        if last.parent == NOWHERE {
            return Ok(None);
        }
        // A mount that moved may be deeper than where it was listed, by as much as a directory outside of mounts can be.
        if lineage.len() > 2 * DEPTH_MAX + 1 {
            return Err(StoreError::corrupt(Table::Inodes, &inode_key(id), "its parents lead in a circle"));
        }
        lineage.push(existing(reader, last.parent)?);
    }
    Ok(Some(lineage))
}

/// Whether a directory has any name.
pub(crate) fn has_children(reader: &dyn StateReader, directory: InodeId) -> Result<bool, StoreError> {
    let (start, end) = children_range(directory, None);
    Ok(!read_page::<Edge>(reader, &start, end.as_deref(), 1)?.is_empty())
}

/// Removes a name. A file or symbolic link goes at once; a directory is detached and left to the reaper.
pub(crate) fn cut(
    state: &mut Transition<'_, '_>,
    directory: InodeId,
    name: &EntryName,
    edge: &Edge,
) -> Result<(), StoreError> {
    state.delete(Table::Children, edge_key(directory, name));
    let inode = state.inode_that_exists(edge.target)?;
    match &inode.body {
        InodeBody::File(version) => {
            state.forget_version(version.file);
            state.delete_inode(&inode)
        }
        InodeBody::Symlink { .. } => state.delete_inode(&inode),
        InodeBody::Directory { .. } => {
            state.write(inode_key(inode.id), &Inode { parent: NOWHERE, name: None, ..inode.clone() });
            state.write(inode_key(inode.id), &Orphan::default());
            state.reap_needed();
            Ok(())
        }
    }
}

/// Counts a mount point that came or went in each directory above it, `directory` the lowest of them.
pub(crate) fn count_mount_point(
    state: &mut Transition<'_, '_>,
    directory: InodeId,
    change: impl Fn(u32) -> Option<u32>,
) -> Result<(), StoreError> {
    let lineage = lineage(state.reader(), directory)?;
    for before in lineage.into_iter().flatten() {
        let count = change(before.mounts_below()).ok_or_else(|| {
            StoreError::corrupt(
                Table::Inodes,
                &inode_key(before.id),
                "its count of mount points below is wrong",
            )
        })?;
        let after = Inode { body: InodeBody::Directory { mounts_below: count }, ..before };
        state.write(inode_key(after.id), &after);
    }
    Ok(())
}

/// The inode `id`, which a row of ours names.
pub(crate) fn existing(reader: &dyn StateReader, id: InodeId) -> Result<Inode, StoreError> {
    let key = inode_key(id);
    read(reader, &key)?
        .ok_or_else(|| StoreError::corrupt(Table::Inodes, &key, "a row names this inode, and it is missing"))
}
