//! Files that rest after their last close: the next open passes them through without asking anybody.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use forebay_client::Change;
use forebay_fuse::FuseOptions;

use crate::fixture::{Fixture, content, count, eventually};
use crate::tree::Tree;

/// A tree of complete files whose holds may rest.
fn tree(files: usize) -> Arc<Tree> {
    let tree = Tree::new();
    for number in 0..files {
        let version = tree.write(&format!("f{number}"), content(10_000, 1));
        tree.complete(version);
    }
    tree.set_may_rest(true);
    tree
}

/// Reads a file, and waits until so many rest: the kernel tells of a close when it likes.
fn read(fixture: &Fixture, name: &str, at_rest: u64) -> Vec<u8> {
    let bytes = std::fs::read(fixture.path(name)).expect("read");
    eventually("the file is closed", || fixture.metric("forebay_fuse_handles_live{kind=\"file\"}") == 0);
    eventually("the file rests", || resting(fixture) == at_rest);
    bytes
}

fn resting(fixture: &Fixture) -> u64 {
    fixture.metric("forebay_fuse_resting_files")
}

fn with_room_for(tree: &Arc<Tree>, resting_files: usize) -> Fixture {
    Fixture::with(tree, FuseOptions { resting_files, ..FuseOptions::default() })
}

#[test]
fn a_file_is_held_once_for_many_opens_also_when_the_kernel_forgot_its_name() {
    let tree = tree(1);
    let fixture = with_room_for(&tree, 10);
    for round in 1..=6 {
        assert_eq!(read(&fixture, "f0", 1), content(10_000, 1));
        assert_eq!(count(&tree.counts.passthrough_opens), round);
        assert_eq!((count(&tree.counts.holds_given), count(&tree.counts.holds)), (1, 1));
        assert_eq!(count(&tree.counts.reads), 0);
        if round == 3 {
            fixture.shrink();
        }
    }
}

#[test]
fn no_more_files_rest_than_the_option_says() {
    let tree = tree(5);
    for room in [3, 0] {
        tree.counts.holds_given.store(0, Ordering::SeqCst);
        let fixture = with_room_for(&tree, room);
        for round in 0..2 {
            for number in 0..5 {
                let at_rest = if round == 0 { room.min(number + 1) } else { room };
                assert_eq!(read(&fixture, &format!("f{number}"), at_rest as u64).len(), 10_000);
            }
        }
        assert_eq!(count(&tree.counts.holds), room as u64);
        assert_eq!(count(&tree.counts.holds_given), 10, "in this order what rests is never what comes next");
        drop(fixture);
        eventually("all holds end with the mount", || count(&tree.counts.holds) == 0);
    }
}

#[test]
fn what_is_wanted_back_is_given_back_at_once_or_when_it_is_closed() {
    let tree = tree(2);
    let fixture = with_room_for(&tree, 10);
    read(&fixture, "f1", 1);
    let open = File::open(fixture.path("f0")).expect("opened");
    assert_eq!(count(&tree.counts.holds), 2);
    tree.set_may_rest(false);
    eventually("what rests is given back", || count(&tree.counts.holds) == 1);
    assert_eq!(resting(&fixture), 0);
    drop(open);
    eventually("what was open is given back", || count(&tree.counts.holds) == 0);
    assert_eq!(resting(&fixture), 0);
}

#[test]
fn a_file_that_somebody_changed_is_asked_for_anew() {
    let tree = tree(1);
    let fixture = with_room_for(&tree, 10);
    read(&fixture, "f0", 1);
    tree.counts.files_changed.store(true, Ordering::SeqCst);
    read(&fixture, "f0", 1);
    assert_eq!(count(&tree.counts.holds_given), 2);
    tree.counts.files_changed.store(false, Ordering::SeqCst);
    read(&fixture, "f0", 1);
    assert_eq!((count(&tree.counts.holds_given), count(&tree.counts.holds)), (2, 1));
}

#[test]
fn a_replaced_file_is_opened_in_its_new_version() {
    let tree = tree(1);
    let fixture = with_room_for(&tree, 10);
    read(&fixture, "f0", 1);
    let version = tree.write("f0", content(10_000, 2));
    tree.complete(version);
    tree.tell(vec![Change::Everything]);
    eventually("the new version is seen", || {
        std::fs::read(fixture.path("f0")).expect("read") == content(10_000, 2)
    });
    assert_eq!(count(&tree.counts.reads), 0, "both are passed through");
}
