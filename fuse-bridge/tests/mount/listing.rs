//! Directories are listed whole and in constant memory, also while they change.

use std::collections::BTreeSet;
use std::os::unix::fs::{DirEntryExt, MetadataExt};

use forebay_types::{FileId, Incarnation};
use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::fixture::{Fixture, content, count, errno, eventually};
use crate::tree::Tree;

fn open(fixture: &Fixture, path: &str) -> Dir {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let descriptor = rustix::fs::open(fixture.path(path), flags, Mode::empty()).expect("opened");
    Dir::new(descriptor).expect("a directory")
}

fn names(directory: &mut Dir) -> Vec<String> {
    let names = directory.map(|entry| entry.expect("read").file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.starts_with('.')).collect()
}

fn wide() -> std::sync::Arc<Tree> {
    let tree = Tree::new();
    for at in 0..5000 {
        tree.write(&format!("dir/f{at:05}"), content(at, 1));
    }
    tree
}

#[test]
fn a_wide_directory_is_listed_whole_in_order_and_with_its_attributes() {
    let tree = wide();
    let fixture = Fixture::new(&tree);
    let expected: Vec<_> = (0..5000).map(|at| format!("f{at:05}")).collect();
    assert_eq!(names(&mut open(&fixture, "dir")), expected);
    // A short one first, for those who take no more.
    assert_eq!(count(&tree.counts.lists), 6);
    for entry in std::fs::read_dir(fixture.path("dir")).expect("opened") {
        let entry = entry.expect("read");
        let metadata = entry.metadata().expect("known");
        assert_eq!(entry.ino(), metadata.ino());
        let number: u64 = entry.file_name().to_string_lossy()[1..].parse().expect("a number");
        assert_eq!(metadata.len(), number);
    }
    assert!(count(&tree.counts.lookups) < 2000, "listings bring attributes: {:?}", tree.counts.lookups);
}

#[test]
fn the_dots_have_the_inode_numbers_of_the_directories() {
    let tree = Tree::new();
    tree.directory("a/b");
    let fixture = Fixture::new(&tree);
    let ino = |path: &str| std::fs::metadata(fixture.path(path)).expect("known").ino();
    for (path, own, parent) in [("a/b", ino("a/b"), ino("a")), ("a", ino("a"), 1), ("", 1, 1)] {
        let seen: Vec<_> = open(&fixture, path)
            .map(|entry| entry.expect("read"))
            .filter(|entry| entry.file_name().to_bytes().starts_with(b"."))
            .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.ino()))
            .collect();
        assert_eq!(seen, [(".".to_owned(), own), ("..".to_owned(), parent)], "{path}");
    }
}

#[test]
fn names_that_stay_are_seen_once_while_others_come_and_go() {
    let tree = wide();
    let fixture = Fixture::new(&tree);
    let directory = open(&fixture, "dir");
    let mut seen: Vec<String> = Vec::new();
    for entry in directory {
        let name = entry.expect("read").file_name().to_string_lossy().into_owned();
        if name.starts_with('f') {
            // Behind and before where the listing is.
            let at = seen.len();
            if at.is_multiple_of(10) && at < 4000 {
                tree.remove(&format!("dir/{name}"));
                tree.write(&format!("dir/a{at:05}"), content(1, 1));
                tree.write(&format!("dir/z{at:05}"), content(1, 1));
            }
            seen.push(name);
        }
    }
    let unique: BTreeSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), unique.len()), (5000, 5000));
}

#[test]
fn rewinding_begins_anew() {
    let tree = Tree::new();
    tree.write("dir/b", content(1, 1));
    let fixture = Fixture::new(&tree);
    let mut directory = open(&fixture, "dir");
    assert_eq!(names(&mut directory), ["b"]);
    tree.write("dir/a", content(1, 1));
    directory.rewind();
    assert_eq!(names(&mut directory), ["a", "b"]);
}

#[test]
fn a_directory_that_is_gone_is_not_found_and_an_empty_one_is_empty() {
    let tree = Tree::new();
    tree.directory("empty");
    tree.write("gone/f", content(1, 1));
    let fixture = Fixture::new(&tree);
    assert_eq!(names(&mut open(&fixture, "empty")), [""; 0]);
    let listed = std::fs::read_dir(fixture.path("gone")).expect("opened");
    tree.remove("gone/f");
    tree.remove("gone");
    assert_eq!(errno(std::fs::read_dir(fixture.path("gone"))), Errno::NOENT, "though its name is remembered");
    drop(listed);
}

#[test]
fn a_directory_that_was_replaced_is_listed_as_it_is_now() {
    let tree = Tree::new();
    tree.write("dir/old", content(1, 1));
    let fixture = Fixture::new(&tree);
    assert_eq!(names(&mut open(&fixture, "dir")), ["old"]);
    tree.remove("dir/old");
    tree.remove("dir");
    tree.write("dir/new", content(1, 1));
    assert_eq!(names(&mut open(&fixture, "dir")), ["new"]);
}

#[test]
fn a_directory_that_goes_while_it_is_listed_is_an_error_and_no_early_end() {
    let tree = wide();
    let fixture = Fixture::new(&tree);
    let mut listed = std::fs::read_dir(fixture.path("dir")).expect("opened");
    assert!(listed.next().is_some());
    tree.remove("dir");
    assert_eq!(errno(listed.collect::<Result<Vec<_>, _>>()), Errno::STALE);
}

#[test]
fn an_entry_that_cannot_be_shown_hides_no_other_and_leaves_nothing_that_is_never_forgotten() {
    let tree = Tree::new();
    let directory = tree.directory("a");
    tree.write("b", content(10, 1));
    // A version whose node would be the directory's, which masters never make.
    let clash = FileId { incarnation: Incarnation::new(1 << 16), counter: directory.get() };
    tree.edit("b", |entry| entry.version.as_mut().expect("a file").0.file = clash);
    let fixture = Fixture::new(&tree);
    let listed: Vec<_> = open(&fixture, "").take_while(Result::is_ok).flatten().collect();
    assert!(listed.iter().any(|entry| entry.file_name() == c"a"), "{listed:?}");
    assert!(fixture.metric("forebay_fuse_requests_total{operation=\"readdirplus\"}") > 0);
    assert_eq!(fixture.metric("forebay_fuse_nodes_live"), 2);
    fixture.shrink();
    eventually("only the root is remembered", || fixture.metric("forebay_fuse_nodes_live") == 1);
}
