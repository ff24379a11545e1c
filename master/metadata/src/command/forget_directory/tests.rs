//! What is dropped of a directory, what stays, and which listings no longer count.

use std::collections::BTreeMap;

use super::*;
use crate::query;
use crate::testing::{World, counts, directory, file, symlink};
use crate::{ChangedNames, Effect};

#[test]
fn files_and_links_go_and_directories_and_what_leads_to_mounts_stays() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![directory("d"), file("f", "1"), symlink("l", "f")], &[]).unwrap();
    let below = world.at("/data/d").unwrap();
    world.list(below, vec![file("g", "1")], &[]).unwrap();
    world.mount("/data/two", "s3://two").unwrap();
    world.mount("/data/way/three", "s3://three").unwrap();
    let version = world.version("/data/f");
    assert_eq!(world.forget(root), Ok(Success::Forgotten { dropped: 2, more: false }));
    assert_eq!(world.names(root), ["d", "two", "way"]);
    let all = BTreeMap::from([(root, ChangedNames::All)]);
    let effects = [Effect::DisownVersions(vec![version]), Effect::DirectoriesChanged(all)];
    assert_eq!(world.effects, effects, "workers keep what they hold");
    assert!(!query::is_loaded(world.reader(), root).unwrap());
    assert!(query::is_loaded(world.reader(), below).unwrap());
    assert_eq!(world.names(below), ["g"]);
}

#[test]
fn what_is_seen_again_has_new_ids_and_what_is_gone_meanwhile_goes() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![directory("d"), directory("gone"), file("f", "1")], &[]).unwrap();
    let (kept, version) = (world.at("/data/d"), world.version("/data/f"));
    world.forget(root).unwrap();
    world.list(root, vec![directory("d"), file("f", "1")], &["gone"]).unwrap();
    assert_eq!(world.names(root), ["d", "f"]);
    assert_eq!(world.at("/data/d"), kept);
    assert_ne!(world.version("/data/f"), version);
}

#[test]
fn a_listing_that_began_before_is_void_since_its_differences_mean_nothing() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![file("f", "1")], &[]).unwrap();
    let begun_at = world.index();
    world.forget(root).unwrap();
    // It saw `f` unchanged, so it does not carry it.
    let refused = world.list_since(begun_at, root, Vec::new(), &[]);
    assert_eq!(refused, Err(Rejection::StaleListing { directory: root, begun_at }));
    assert_eq!(counts(world.list(root, vec![file("f", "1")], &[])), (1, 0, 0, 0, 0));
    assert!(query::is_loaded(world.reader(), root).unwrap());
}

#[test]
fn a_large_directory_is_forgotten_in_steps() {
    let (mut world, root) = World::mounted();
    let entries =
        |from: usize, to: usize| (from..to).map(|number| file(&format!("f{number:06}"), "1")).collect();
    let half = REAP_LIMIT_MAX as usize / 2 + 5;
    world.list(root, entries(0, half), &[]).unwrap();
    world.list(root, entries(half, 2 * half), &[]).unwrap();
    assert_eq!(world.forget(root), Ok(Success::Forgotten { dropped: REAP_LIMIT_MAX, more: true }));
    let begun_at = world.index();
    assert_eq!(world.forget(root), Ok(Success::Forgotten { dropped: 10, more: false }));
    let void = world.list_since(begun_at, root, Vec::new(), &[]);
    assert_eq!(
        void,
        Err(Rejection::StaleListing { directory: root, begun_at }),
        "each step voids what ran before it"
    );
    assert_eq!(world.names(root), [""; 0]);
}

#[test]
fn only_directories_of_mounts_can_be_forgotten() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![file("f", "1")], &[]).unwrap();
    let inode = world.at("/data/f").unwrap();
    assert_eq!(world.forget(inode), Err(Rejection::NotADirectory { inode }));
    assert_eq!(world.forget(InodeId::ROOT), Err(Rejection::NotInAMount { directory: InodeId::ROOT }));
    world.unmount("/data").unwrap();
    assert_eq!(world.forget(root), Err(Rejection::InodeMissing { inode: root }));
}
