//! The directories that the namespace itself has: those outside of all mounts, which people make, move and remove.
//!
//! Some of them only lead to mounts and go with the last one. What somebody uses by hand stays until it is removed by
//! hand; so does all above it.

use forebay_types::{EntryKind, EntryName, InodeId, NamespacePath, UnderStoreKey};

use crate::reply::Rejection;
use crate::state::{Edge, EdgeOrigin, Inode, InodeBody, Transition, edge_key, read};
use crate::store::{StateReader, StoreError, Table};
use crate::tree;

/// How far a path leads outside of mounts.
#[derive(Debug)]
pub(crate) struct OwnWalk {
    /// What exists of the path, from the root down. Never empty.
    pub(crate) lineage: Vec<Inode>,
    /// The whole path exists, and a mount is shown there.
    pub(crate) is_mount_point: bool,
}

impl OwnWalk {
    /// How many names of the path were found.
    pub(crate) const fn found(&self) -> usize {
        self.lineage.len() - 1
    }

    /// The deepest directory of the path that exists.
    pub(crate) fn last(&self) -> &Inode {
        self.lineage.last().expect("the root is always there")
    }
}

/// Follows a path from the root as far as it leads. One that leads into a mount is refused: what is there is its source's.
pub(crate) fn walk(
    reader: &dyn StateReader,
    path: &NamespacePath,
) -> Result<Result<OwnWalk, Rejection>, StoreError> {
    let mut walk = OwnWalk { lineage: vec![tree::existing(reader, InodeId::ROOT)?], is_mount_point: false };
    for name in path.names() {
        let Some(edge) = read::<Edge>(reader, &edge_key(walk.last().id, name))? else { break };
        walk.lineage.push(tree::existing(reader, edge.target)?);
        if walk.last().mount.is_some() {
            if walk.found() < path.names().len() {
                return Ok(Err(inside(path, walk.found())));
            }
            walk.is_mount_point = true;
        }
    }
    Ok(Ok(walk))
}

/// The directory at a path, with all above it.
pub(crate) fn existing(
    reader: &dyn StateReader,
    path: &NamespacePath,
) -> Result<Result<OwnWalk, Rejection>, StoreError> {
    Ok(walk(reader, path)?.and_then(|walk| match walk.found() {
        found if found == path.names().len() => Ok(walk),
        found => Err(Rejection::NoDirectory { path: first_names(path, found + 1) }),
    }))
}

/// The refusal of a path that has a mount after so many of its names.
pub(crate) fn inside(path: &NamespacePath, names: usize) -> Rejection {
    Rejection::InsideMount { path: path.clone(), mount: first_names(path, names) }
}

/// The first names of a path.
pub(crate) fn first_names(path: &NamespacePath, count: usize) -> NamespacePath {
    path.names()[..count].iter().cloned().fold(NamespacePath::root(), |path, name| path.join(name))
}

/// Who may do what with a new directory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Access {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// Makes a directory that stays.
pub(crate) fn add(
    state: &mut Transition<'_, '_>,
    parent: InodeId,
    name: &EntryName,
    access: Access,
) -> Result<InodeId, StoreError> {
    let id = state.next_inode()?;
    state.insert_inode(&Inode {
        id,
        parent,
        name: Some(name.clone()),
        mount: None,
        key: UnderStoreKey::default(),
        mode: access.mode,
        uid: access.uid,
        gid: access.gid,
        modified: state.now(),
        body: InodeBody::Directory { mounts_below: 0 },
    })?;
    name_made(state, parent, name, id);
    Ok(id)
}

/// Writes that a name leads to a directory that stays.
pub(crate) fn name_made(state: &mut Transition<'_, '_>, parent: InodeId, name: &EntryName, target: InodeId) {
    let origin = EdgeOrigin::Made;
    let edge = Edge { target, kind: EntryKind::Directory, origin, changed_at: state.index() };
    state.write(edge_key(parent, name), &edge);
}

/// Has directories stay, of which some may only have led to mounts.
pub(crate) fn keep(state: &mut Transition<'_, '_>, directories: &[Inode]) -> Result<(), StoreError> {
    for directory in directories {
        let Some(name) = &directory.name else { continue };
        let Some(edge) = state.edge(directory.parent, name)? else {
            let key = edge_key(directory.parent, name);
            return Err(StoreError::corrupt(Table::Children, &key, "a directory has no edge"));
        };
        if edge.origin == EdgeOrigin::Synthetic {
            state.write(edge_key(directory.parent, name), &Edge { origin: EdgeOrigin::Made, ..edge });
        }
    }
    Ok(())
}

/// Notes that the names in a directory were changed just now.
pub(crate) fn touch(state: &mut Transition<'_, '_>, directory: InodeId) -> Result<(), StoreError> {
    let before = state.inode_that_exists(directory)?;
    let after = Inode { modified: state.now(), ..before.clone() };
    state.replace_inode(&before, &after)?;
    attributes_changed(state, &after);
    Ok(())
}

/// Says that what was told of a directory itself is void.
pub(crate) fn attributes_changed(state: &mut Transition<'_, '_>, directory: &Inode) {
    match &directory.name {
        Some(name) => state.name_changed(directory.parent, name, Some(directory.id)),
        // The root has no name by which it could be told.
        None => state.directory_changed(directory.id),
    }
}
