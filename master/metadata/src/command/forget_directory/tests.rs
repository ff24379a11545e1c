//! What is dropped of a directory, what stays, and which listings no longer count.

use super::*;
use crate::query;
use crate::testing::{World, counts, directory, file};

#[test]
fn loaded_names_go_and_those_that_lead_to_mounts_stay() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![directory("d"), directory("kept"), file("f", "1")], &[]).unwrap();
    world.mount("/data/kept/one", "s3://one").unwrap();
    world.mount("/data/two", "s3://two").unwrap();
    world.mount("/data/way/three", "s3://three").unwrap();
    let version = world.version("/data/f");
    assert_eq!(world.forget(root), Ok(Success::Forgotten { dropped: 2, more: false }));
    assert_eq!(
        (world.names(root), world.forgotten()),
        (["kept", "two", "way"].map(String::from).to_vec(), vec![version])
    );
    assert!(!query::is_loaded(world.reader(), root).unwrap());
    assert_eq!(world.reap_all(10), 1);
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
