//! A file's new version, and its end.

use super::*;
use crate::testing::{World, counts, directory, file, name, tagged};
use crate::{ChangedName, ChangedNames, Effect, query};

fn world_with_file() -> (World, InodeId, InodeId, FileId) {
    let (mut world, root) = World::mounted();
    world.list(root, vec![file("f", "1"), directory("d")], &[]).unwrap();
    let (inode, version) = (world.at("/data/f").unwrap(), world.version("/data/f"));
    (world, root, inode, version)
}

#[test]
fn another_content_gives_a_new_version_on_the_same_inode() {
    let (mut world, root, inode, before) = world_with_file();
    let reply = world.supersede(inode, before, Some(tagged("22")));
    let after = world.version("/data/f");
    assert_eq!(reply, Ok(Success::Superseded { current: Some(after) }));
    assert_ne!(after, before);
    let changed = ChangedNames::These(vec![ChangedName { name: name("f"), before: Some(inode) }]);
    let changed = Effect::DirectoriesChanged([(root, changed)].into());
    assert_eq!(world.effects, [Effect::ForgetVersions(vec![before]), changed]);
    let descriptor = query::attributes(world.reader(), inode).unwrap().unwrap().version().unwrap();
    assert_eq!(descriptor.fingerprint, tagged("22"));
    assert_eq!(query::totals(world.reader()).unwrap().bytes, 2);
}

#[test]
fn of_several_who_saw_the_same_only_the_first_makes_a_version() {
    let (mut world, _, inode, before) = world_with_file();
    let first = world.supersede(inode, before, Some(tagged("22"))).unwrap();
    assert_eq!(world.supersede(inode, before, Some(tagged("22"))), Ok(first.clone()));
    assert_eq!(world.supersede(inode, before, None), Ok(first));
    assert_eq!(world.effects, []);
}

#[test]
fn the_same_content_is_no_new_version() {
    let (mut world, _, inode, before) = world_with_file();
    let touched = Fingerprint { modified: forebay_types::Timestamp::from_nanos(99), ..tagged("1") };
    assert_eq!(
        world.supersede(inode, before, Some(touched)),
        Ok(Success::Superseded { current: Some(before) })
    );
    assert_eq!(world.effects, []);
}

#[test]
fn a_file_that_is_gone_goes_and_an_older_listing_does_not_bring_it_back() {
    let (mut world, root, inode, before) = world_with_file();
    let begun_at = world.index();
    assert_eq!(world.supersede(inode, before, None), Ok(Success::Superseded { current: None }));
    assert_eq!((world.at("/data/f"), world.forgotten()), (None, vec![before]));
    assert_eq!(counts(world.list_since(begun_at, root, vec![file("f", "1")], &[])), (0, 0, 0, 1, 0));
    assert_eq!(world.at("/data/f"), None);
    // A listing that began later knows better.
    assert_eq!(counts(world.list(root, vec![file("f", "1")], &[])), (1, 0, 0, 0, 0));
    assert_ne!(world.at("/data/f"), Some(inode), "an id is never used again");
}

#[test]
fn a_mount_may_take_the_name_of_a_file_that_is_gone() {
    let (mut world, root, inode, before) = world_with_file();
    world.supersede(inode, before, None).unwrap();
    world.mount("/data/f", "s3://nested").unwrap();
    assert!(query::lookup(world.reader(), root, &name("f")).unwrap().is_some());
}

#[test]
fn what_is_no_file_or_not_in_the_tree_has_no_version() {
    let (mut world, root, inode, before) = world_with_file();
    assert_eq!(world.supersede(root, before, None), Err(Rejection::NotAFile { inode: root }));
    let never = InodeId::new(999);
    assert_eq!(world.supersede(never, before, None), Err(Rejection::InodeMissing { inode: never }));
    world.unmount("/data").unwrap();
    assert_eq!(world.supersede(inode, before, None), Err(Rejection::InodeMissing { inode }));
}
