//! Sets who owns a directory outside of mounts and who may do what with it.

use forebay_types::NamespacePath;
use serde::{Deserialize, Serialize};

use crate::reply::{Rejection, Reply, Success};
use crate::state::{Inode, Transition};
use crate::store::StoreError;
use crate::tree::own;

/// Sets attributes of a directory; those that are not said stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAttributes {
    /// Where it is.
    pub path: NamespacePath,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// All permission bits, and those for set-id and sticky.
const MODE_BITS: u32 = 0o7777;

impl SetAttributes {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        let Self { path, mode, uid, gid } = self;
        if let Err(rejection) = check_access(path, *mode, *uid, *gid) {
            return Ok(Err(rejection));
        }
        let walk = match own::existing(state.reader(), path)? {
            Ok(walk) => walk,
            Err(rejection) => return Ok(Err(rejection)),
        };
        if walk.is_mount_point {
            return Ok(Err(own::inside(path, walk.found())));
        }
        own::keep(state, &walk.lineage)?;
        let before = walk.last();
        let after = Inode {
            mode: mode.or(before.mode),
            uid: uid.or(before.uid),
            gid: gid.or(before.gid),
            ..before.clone()
        };
        let changed = after != *before;
        if changed {
            state.replace_inode(before, &after)?;
            own::attributes_changed(state, &after);
        }
        Ok(Ok(Success::AttributesSet { changed }))
    }
}

/// Refuses bits that are none, and the user and group that `chown(2)` takes for "as it was".
pub(crate) fn check_access(
    path: &NamespacePath,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
) -> Result<(), Rejection> {
    let invalid = |problem: String| Err(Rejection::InvalidAttribute { path: path.clone(), problem });
    if let Some(mode) = mode.filter(|mode| mode & !MODE_BITS != 0) {
        return invalid(format!("the mode {mode:o} has bits beyond {MODE_BITS:o}"));
    }
    if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
        return invalid(format!("{} is no user or group", u32::MAX));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use forebay_types::InodeId;

    use super::*;
    use crate::command::Command;
    use crate::testing::{World, name, path};
    use crate::{ChangedName, ChangedNames, Effect, query};

    fn set(at: &str, mode: Option<u32>, uid: Option<u32>, gid: Option<u32>) -> Command {
        Command::SetAttributes(SetAttributes { path: path(at), mode, uid, gid })
    }

    fn inode(world: &World, at: &str) -> Inode {
        query::attributes(world.reader(), world.at(at).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn what_is_said_is_set_and_the_rest_stays() {
        let mut world = World::formatted();
        world.make("/a").unwrap();
        let before = inode(&world, "/a");
        let changed = |changed| Ok(Success::AttributesSet { changed });
        assert_eq!(world.apply(set("/a", Some(0o1750), None, None)), changed(true));
        let names = ChangedNames::These(vec![ChangedName { name: name("a"), before: Some(before.id) }]);
        assert_eq!(world.effects, [Effect::DirectoriesChanged([(InodeId::ROOT, names)].into())]);
        assert_eq!(world.apply(set("/a", None, Some(7), None)), changed(true));
        assert_eq!(world.apply(set("/a", None, Some(7), Some(8))), changed(true));
        assert_eq!(world.apply(set("/a", Some(0o1750), Some(7), Some(8))), changed(false));
        assert_eq!(world.effects, []);
        let expected = Inode { mode: Some(0o1750), uid: Some(7), gid: Some(8), ..before };
        assert_eq!(inode(&world, "/a"), expected, "its time of modification included");
    }

    #[test]
    fn the_root_has_attributes_too_and_all_that_was_told_of_it_is_void() {
        let mut world = World::formatted();
        assert_eq!(
            world.apply(set("/", Some(0o700), None, None)),
            Ok(Success::AttributesSet { changed: true })
        );
        let all = [(InodeId::ROOT, ChangedNames::All)];
        assert_eq!(world.effects, [Effect::DirectoriesChanged(all.into())]);
        assert_eq!(inode(&world, "/").mode, Some(0o700));
    }

    #[test]
    fn a_directory_that_led_to_a_mount_keeps_what_was_set_when_the_mount_goes() {
        let mut world = World::formatted();
        world.mount("/a/b/m", "s3://m").unwrap();
        world.apply(set("/a/b", Some(0o700), None, None)).unwrap();
        world.unmount("/a/b/m").unwrap();
        assert_eq!(inode(&world, "/a/b").mode, Some(0o700));
    }

    #[test]
    fn bits_that_are_none_and_what_is_in_a_mount_are_refused() {
        let (mut world, _) = World::mounted();
        world.make("/a").unwrap();
        let inside = |text: &str| Rejection::InsideMount { path: path(text), mount: path("/data") };
        let invalid =
            |problem: &str| Rejection::InvalidAttribute { path: path("/a"), problem: problem.to_owned() };
        for (command, refusal) in [
            (set("/a", Some(0o10_000), None, None), invalid("the mode 10000 has bits beyond 7777")),
            (set("/a", None, Some(u32::MAX), None), invalid("4294967295 is no user or group")),
            (set("/a", None, None, Some(u32::MAX)), invalid("4294967295 is no user or group")),
            (set("/x", Some(0), None, None), Rejection::NoDirectory { path: path("/x") }),
            (set("/data", Some(0), None, None), inside("/data")),
            (set("/data/x", Some(0), None, None), inside("/data/x")),
        ] {
            assert_eq!(world.apply(command), Err(refusal));
        }
    }
}
