//! Directories that are gone while the kernel remembers them, as after an unmount, and perhaps there again under the same
//! name, as after the next mount. Nothing here waits: what was remembered must not be seen once.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use rustix::io::Errno;

use crate::fixture::{Fixture, content, errno};
use crate::tree::Tree;

/// A tree with `mount/f`, which the kernel remembers for an hour.
fn remembered(complete: bool) -> (Arc<Tree>, Fixture) {
    let tree = Tree::new();
    let version = tree.write("mount/f", content(1000, 1));
    if complete {
        tree.complete(version);
    }
    let fixture = Fixture::new(&tree);
    assert!(std::fs::read(fixture.path("mount/f")).expect("read") == content(1000, 1));
    (tree, fixture)
}

fn unmount(tree: &Tree) {
    tree.remove("mount/f");
    tree.remove("mount");
}

#[test]
fn a_name_in_a_directory_that_was_replaced_is_looked_up_in_the_new_one() {
    let (tree, fixture) = remembered(false);
    unmount(&tree);
    tree.write("mount/other", content(10, 2));
    assert!(std::fs::read(fixture.path("mount/other")).expect("read") == content(10, 2));
}

#[test]
fn a_file_of_a_directory_that_was_replaced_is_opened_as_it_is_now() {
    for complete in [false, true] {
        let (tree, fixture) = remembered(complete);
        unmount(&tree);
        tree.write("mount/f", content(2000, 2));
        assert!(std::fs::read(fixture.path("mount/f")).expect("read") == content(2000, 2), "{complete}");
    }
}

#[test]
fn a_file_of_a_directory_that_is_gone_is_not_found() {
    let (tree, fixture) = remembered(true);
    unmount(&tree);
    assert_eq!(errno(File::open(fixture.path("mount/f"))), Errno::NOENT);
    assert_eq!(errno(std::fs::metadata(fixture.path("mount/other"))), Errno::NOENT);
    assert_eq!(errno(std::fs::read_dir(fixture.path("mount"))), Errno::NOENT);
}

#[test]
fn what_is_open_in_a_directory_that_is_gone_can_be_read_and_reopened() {
    let (tree, fixture) = remembered(false);
    let old = File::open(fixture.path("mount/f")).expect("opened");
    unmount(&tree);
    for _ in 0..3 {
        let path = format!("/proc/self/fd/{}", old.as_raw_fd());
        assert!(std::fs::read(path).expect("never stale") == content(1000, 1));
    }
}

#[test]
fn a_name_looked_up_from_within_a_directory_that_is_gone_is_stale() {
    let (tree, fixture) = remembered(false);
    let directory = File::open(fixture.path("mount")).expect("opened");
    unmount(&tree);
    let looked = std::fs::metadata(format!("/proc/self/fd/{}/other", directory.as_raw_fd()));
    assert_eq!(errno(looked), Errno::STALE);
}
