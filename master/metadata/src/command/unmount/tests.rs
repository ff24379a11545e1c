//! What unmounting takes away, and what it leaves to the reaper.

use super::*;
use crate::Effect;
use crate::testing::{World, counts, directory, file, path};
use forebay_types::{LogIndex, MountId};

#[test]
fn an_unmounted_path_is_gone_at_once_and_its_inodes_when_reaped() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![directory("d"), file("f", "1")], &[]).unwrap();
    let version = world.version("/data/f");
    assert_eq!(world.unmount("/data"), Ok(Success::Unmounted { mount: MountId::new(1) }));
    assert!(world.effects.contains(&Effect::MountsChanged) && world.effects.contains(&Effect::ReapNeeded));
    assert_eq!((world.at("/data"), query::path_of(world.reader(), root).unwrap()), (None, None));
    assert!(query::mounts(world.reader()).unwrap().is_empty());
    assert!(query::needs_reaping(world.reader()).unwrap());
    assert_eq!(query::totals(world.reader()).unwrap().files, 1);
    assert_eq!(world.reap_all(100), 3);
    assert_eq!(world.forgotten(), [version]);
    assert!(!query::needs_reaping(world.reader()).unwrap());
    let totals = query::totals(world.reader()).unwrap();
    assert_eq!((totals.files, totals.directories, totals.bytes), (0, 1, 0));
}

#[test]
fn directories_that_only_led_to_the_mount_go_with_it() {
    let mut world = World::formatted();
    world.mount("/a/b/one", "s3://one").unwrap();
    world.mount("/a/two", "s3://two").unwrap();
    world.unmount("/a/b/one").unwrap();
    assert_eq!((world.at("/a/b"), world.at("/a").is_some()), (None, true));
    world.unmount("/a/two").unwrap();
    assert_eq!(world.names(InodeId::ROOT), [""; 0]);
}

#[test]
fn a_mount_with_a_mount_below_stays_and_names_it() {
    let (mut world, _) = World::mounted();
    world.mount("/data/x/nested", "s3://nested").unwrap();
    let refused = world.unmount("/data");
    assert_eq!(refused, Err(Rejection::MountsBelow { path: path("/data"), nested: path("/data/x/nested") }));
    world.unmount("/data/x/nested").unwrap();
    world.unmount("/data").unwrap();
}

#[test]
fn only_the_very_path_of_a_mount_is_unmounted() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![directory("d")], &[]).unwrap();
    for wrong in ["/", "/dat", "/data/d", "/data/none"] {
        assert_eq!(world.unmount(wrong), Err(Rejection::NotMounted { path: path(wrong) }));
    }
}

#[test]
fn a_name_that_a_nested_mount_hid_is_looked_for_again() {
    let (mut world, root) = World::mounted();
    world.mount("/data/name", "s3://nested").unwrap();
    assert_eq!(counts(world.list(root, vec![file("name", "1")], &[])), (0, 0, 0, 0, 1));
    assert!(query::is_loaded(world.reader(), root).unwrap());
    let begun_at = world.index();
    world.unmount("/data/name").unwrap();
    assert!(!query::is_loaded(world.reader(), root).unwrap(), "the directory now lacks a name that exists");
    let stale = world.list_since(begun_at, root, Vec::new(), &[]);
    assert_eq!(stale, Err(Rejection::StaleListing { directory: root, begun_at }));
    assert_eq!(counts(world.list(root, vec![file("name", "1")], &[])), (1, 0, 0, 0, 0));
}

#[test]
fn a_path_can_be_mounted_again_before_the_old_content_is_reaped() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![file("f", "1")], &[]).unwrap();
    world.unmount("/data").unwrap();
    world.mount("/data", "s3://bucket").unwrap();
    let new = world.at("/data").unwrap();
    world.list(new, vec![file("g", "1")], &[]).unwrap();
    assert_eq!(world.reap_all(1), 2);
    assert_eq!(world.names(new), ["g"]);
    let late = world.list_since(LogIndex::new(2), root, vec![file("h", "1")], &[]);
    assert_eq!(late, Err(Rejection::InodeMissing { inode: root }));
}
