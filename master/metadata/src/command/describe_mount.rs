//! Takes over what an under-store says of the directory that a mount is shown at: the mount's directory is as private as
//! its source.
//!
//! Its name belongs to the directory around it and its attributes to the source, so no listing of either says them. As a
//! listing does, the command carries the log index at which the under-store was asked, and says nothing where the
//! directory changed since.

use forebay_types::{InodeId, LogIndex, Timestamp};
use serde::{Deserialize, Serialize};

use crate::query;
use crate::reply::{Rejection, Reply, Success};
use crate::state::{Edge, Inode, Transition, edge_key};
use crate::store::{StoreError, Table};
use crate::tree;

/// What the under-store has in place of a mount's directory. Answered as a listing that changed one name, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeMount {
    /// The directory that the mount is shown at.
    pub root: InodeId,
    /// The last entry of the log that was applied when the under-store was asked.
    pub begun_at: LogIndex,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last modification.
    pub modified: Timestamp,
}

impl DescribeMount {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        let Some(inode) =
            tree::lineage(state.reader(), self.root)?.and_then(|lineage| lineage.into_iter().next())
        else {
            return Ok(Err(Rejection::InodeMissing { inode: self.root }));
        };
        let mount = inode.mount.map(|mount| query::mount(state.reader(), mount)).transpose()?.flatten();
        let (Some(name), true) = (&inode.name, mount.is_some_and(|mount| mount.root == self.root)) else {
            return Ok(Err(Rejection::NotAMountPoint { directory: self.root }));
        };
        let Some(edge) = state.edge(inode.parent, name)? else {
            let key = edge_key(inode.parent, name);
            return Err(StoreError::corrupt(Table::Children, &key, "a mount's directory has no edge"));
        };
        let listed =
            |changed, newer| Ok(Ok(Success::Listed { created: 0, changed, removed: 0, newer, mounts: 0 }));
        if edge.changed_at > self.begun_at {
            return listed(0, 1);
        }
        let Self { mode, uid, gid, modified, .. } = *self;
        let after = Inode { mode, uid, gid, modified, ..inode.clone() };
        if after == inode {
            return listed(0, 0);
        }
        state.replace_inode(&inode, &after)?;
        state.write(edge_key(inode.parent, name), &Edge { changed_at: state.index(), ..edge });
        state.name_changed(inode.parent, name, Some(self.root));
        listed(1, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::testing::{World, counts, directory, name};
    use crate::{ChangedName, ChangedNames, Effect};

    const AS_LISTED: (u32, u32, u32, u32, u32) = (0, 1, 0, 0, 0);

    fn described(root: InodeId, begun_at: LogIndex, mode: u32) -> Command {
        Command::DescribeMount(DescribeMount {
            root,
            begun_at,
            mode: Some(mode),
            uid: Some(12),
            gid: Some(34),
            modified: Timestamp::from_nanos(77),
        })
    }

    fn mode(world: &World, inode: InodeId) -> Option<u32> {
        query::attributes(world.reader(), inode).unwrap().unwrap().mode
    }

    #[test]
    fn the_directory_of_a_mount_is_as_its_source_and_its_name_is_void_where_it_lies() {
        let (mut world, root) = World::mounted();
        let before = query::attributes(world.reader(), root).unwrap().unwrap();
        assert_eq!((before.mode, before.uid), (None, None), "nothing was told yet");
        let begun_at = world.index();
        assert_eq!(counts(world.apply(described(root, begun_at, 0o700))), AS_LISTED);
        let changed = ChangedName { name: name("data"), before: Some(root) };
        let names = ChangedNames::These(vec![changed]);
        assert_eq!(world.effects, [Effect::DirectoriesChanged([(InodeId::ROOT, names)].into())]);
        let after = query::attributes(world.reader(), root).unwrap().unwrap();
        let (mode, uid, gid) = (Some(0o700), Some(12), Some(34));
        assert_eq!(after, Inode { mode, uid, gid, modified: Timestamp::from_nanos(77), ..before });
    }

    #[test]
    fn what_is_known_already_changes_nothing() {
        let (mut world, root) = World::mounted();
        let begun_at = world.index();
        world.apply(described(root, begun_at, 0o700)).unwrap();
        let begun_at = world.index();
        assert_eq!(counts(world.apply(described(root, begun_at, 0o700))), (0, 0, 0, 0, 0));
        assert_eq!(world.effects, []);
    }

    #[test]
    fn an_older_look_at_the_source_does_not_undo_a_newer_one() {
        let (mut world, root) = World::mounted();
        let begun_at = world.index();
        world.apply(described(root, begun_at, 0o755)).unwrap();
        assert_eq!(counts(world.apply(described(root, begun_at, 0o700))), (0, 0, 0, 1, 0));
        assert_eq!(mode(&world, root), Some(0o755));
    }

    #[test]
    fn a_look_that_began_before_the_mount_says_nothing_of_it() {
        let (mut world, root) = World::mounted();
        let begun_at = world.index();
        world.unmount("/data").unwrap();
        world.mount("/data", "s3://bucket").unwrap();
        let again = world.at("/data").unwrap();
        assert_eq!(
            world.apply(described(root, begun_at, 0o700)),
            Err(Rejection::InodeMissing { inode: root })
        );
        assert_eq!(counts(world.apply(described(again, begun_at, 0o700))), (0, 0, 0, 1, 0));
        assert_eq!(mode(&world, again), None);
    }

    #[test]
    fn a_listing_of_the_directory_around_leaves_it_as_it_is() {
        let (mut world, outer) = World::mounted();
        world.mount("/data/inner", "s3://inner").unwrap();
        let inner = world.at("/data/inner").unwrap();
        let begun_at = world.index();
        world.apply(described(inner, begun_at, 0o700)).unwrap();
        let names = ChangedNames::These(vec![ChangedName { name: name("inner"), before: Some(inner) }]);
        assert_eq!(world.effects, [Effect::DirectoriesChanged([(outer, names)].into())]);
        world.list(outer, vec![directory("inner")], &[]).unwrap();
        assert_eq!((world.at("/data/inner"), mode(&world, inner)), (Some(inner), Some(0o700)));
    }

    #[test]
    fn what_is_no_mounts_directory_is_refused() {
        let (mut world, root) = World::mounted();
        world.list(root, vec![directory("below")], &[]).unwrap();
        let (below, begun_at) = (world.at("/data/below").unwrap(), world.index());
        for directory in [below, InodeId::ROOT] {
            let refused = world.apply(described(directory, begun_at, 0o700));
            assert_eq!(refused, Err(Rejection::NotAMountPoint { directory }));
        }
    }
}
