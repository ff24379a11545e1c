//! Removes an empty directory outside of mounts.

use forebay_types::NamespacePath;
use serde::{Deserialize, Serialize};

use crate::reply::{Rejection, Reply, Success};
use crate::state::{Inode, Transition, edge_key};
use crate::store::{StoreError, Table};
use crate::tree::{self, own};

/// Removes a directory that has nothing in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveDirectory {
    /// Where it is.
    pub path: NamespacePath,
}

impl RemoveDirectory {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        let path = || self.path.clone();
        let walk = match own::existing(state.reader(), &self.path)? {
            Ok(walk) => walk,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let directory = walk.last();
        if directory.name.is_none() {
            return Ok(Err(Rejection::RootStays));
        }
        if walk.is_mount_point {
            return Ok(Err(Rejection::MountPoint { path: path() }));
        }
        if tree::has_children(state.reader(), directory.id)? {
            return Ok(Err(Rejection::DirectoryNotEmpty { path: path() }));
        }
        remove(state, directory)?;
        own::touch(state, directory.parent)?;
        Ok(Ok(Success::DirectoryRemoved { inode: directory.id }))
    }
}

/// Removes a directory that has nothing in it, and its name.
pub(crate) fn remove(state: &mut Transition<'_, '_>, directory: &Inode) -> Result<(), StoreError> {
    let Some(name) = &directory.name else { return Ok(()) };
    state.delete(Table::Children, edge_key(directory.parent, name));
    state.delete_inode(directory)?;
    state.name_changed(directory.parent, name, Some(directory.id));
    Ok(())
}

#[cfg(test)]
mod tests {
    use forebay_types::{EntryName, InodeId};

    use super::*;
    use crate::command::Command;
    use crate::testing::{World, directory, name, path};
    use crate::{ChangedName, ChangedNames, Effect, query};

    #[test]
    fn an_empty_directory_goes_and_what_is_above_it_stays_and_is_younger() {
        let mut world = World::formatted();
        world.make("/a/b").unwrap();
        let (above, gone) = (world.at("/a").unwrap(), world.at("/a/b").unwrap());
        assert_eq!(world.remove("/a/b"), Ok(Success::DirectoryRemoved { inode: gone }));
        let changed = |of: &str, before| ChangedNames::These(vec![ChangedName { name: name(of), before }]);
        let told = [(InodeId::ROOT, changed("a", Some(above))), (above, changed("b", Some(gone)))];
        assert_eq!(world.effects, [Effect::DirectoriesChanged(told.into())]);
        assert_eq!((world.at("/a"), world.at("/a/b")), (Some(above), None));
        let modified = query::attributes(world.reader(), above).unwrap().unwrap().modified;
        assert_eq!(modified, query::clock(world.reader()).unwrap());
        assert_eq!(query::totals(world.reader()).unwrap().directories, 2);
    }

    #[test]
    fn what_is_not_there_or_not_empty_or_the_root_or_a_mount_point_stays() {
        let (mut world, root) = World::mounted();
        world.list(root, vec![directory("known")], &[]).unwrap();
        world.mount("/deep/er", "s3://other").unwrap();
        world.make("/a/b").unwrap();
        let missing = |text: &str| Rejection::NoDirectory { path: path(text) };
        let not_empty = |text: &str| Rejection::DirectoryNotEmpty { path: path(text) };
        let inside = |text: &str| Rejection::InsideMount { path: path(text), mount: path("/data") };
        for (at, refusal) in [
            ("/", Rejection::RootStays),
            ("/a", not_empty("/a")),
            ("/deep", not_empty("/deep")),
            ("/x", missing("/x")),
            ("/a/x/y", missing("/a/x")),
            ("/data", Rejection::MountPoint { path: path("/data") }),
            ("/data/known", inside("/data/known")),
            ("/data/unknown", inside("/data/unknown")),
        ] {
            let before = world.rows();
            assert_eq!(world.remove(at), Err(refusal), "{at}");
            assert_eq!(world.effects, []);
            assert_eq!(world.rows(), before, "{at}");
        }
    }

    #[test]
    fn a_name_of_any_bytes_can_go() {
        let mut world = World::formatted();
        let odd = NamespacePath::root().join(EntryName::new(b"\xff\n".to_vec()).unwrap());
        let make = |path: NamespacePath| {
            Command::MakeDirectory(crate::MakeDirectory {
                path,
                parents: false,
                mode: None,
                uid: None,
                gid: None,
            })
        };
        world.apply(make(odd.clone())).unwrap();
        world.apply(Command::RemoveDirectory(RemoveDirectory { path: odd.clone() })).unwrap();
        let again = world.apply(Command::RemoveDirectory(RemoveDirectory { path: odd.clone() }));
        assert_eq!(again, Err(Rejection::NoDirectory { path: odd }));
    }
}
