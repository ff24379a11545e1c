//! Names and what `stat` shows of them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use bytes::Bytes;
use forebay_fuse::FuseOptions;
use forebay_types::InodeId;
use rustix::io::Errno;

use crate::fixture::{Fixture, content, count, errno, eventually};
use crate::tree::{Tree, name};

#[test]
fn stat_shows_what_is_known_and_defaults_for_the_rest() {
    let tree = Tree::new();
    tree.write("plain", content(1000, 1));
    tree.write("owned", content(1, 1));
    tree.edit("owned", |entry| (entry.mode, entry.uid, entry.gid) = (Some(0o640), Some(12), Some(34)));
    tree.directory("dir");
    let options = FuseOptions { uid: Some(5), gid: Some(6), umask: 0o027, ..FuseOptions::default() };
    let fixture = Fixture::with(&tree, options);
    let seen = |path: &str| {
        let metadata = std::fs::metadata(fixture.path(path)).expect("known");
        (metadata.permissions().mode(), metadata.uid(), metadata.gid())
    };
    assert_eq!(seen("plain"), (0o100_640, 5, 6));
    assert_eq!(seen("dir"), (0o40_750, 5, 6));
    assert_eq!(seen("owned"), (0o100_640, 12, 34));
    let plain = std::fs::metadata(fixture.path("plain")).expect("known");
    assert_eq!((plain.len(), plain.blocks(), plain.nlink()), (1000, 2, 1));
    assert_eq!((plain.mtime(), plain.mtime_nsec()), (1_700_000_000, 5));
    assert_eq!((plain.atime(), plain.ctime(), plain.blksize()), (1_700_000_000, 1_700_000_000, 128 << 10));
}

#[test]
fn names_need_not_be_text() {
    let tree = Tree::new();
    let odd = b"caf\xe9 \n\x01\xff";
    tree.write_in(InodeId::ROOT, name(odd), Bytes::from_static(b"content"));
    let fixture = Fixture::new(&tree);
    let path = fixture.root().join(OsStr::from_bytes(odd));
    assert_eq!(std::fs::read(path).expect("read"), b"content");
    let listed: Vec<_> = std::fs::read_dir(fixture.root())
        .expect("opened")
        .map(|entry| entry.expect("read").file_name())
        .collect();
    assert_eq!(listed, [OsStr::from_bytes(odd)]);
}

#[test]
fn an_answer_is_remembered_for_as_long_as_it_holds() {
    let tree = Tree::new();
    tree.write("dir/f", content(1, 1));
    tree.edit("dir", |entry| entry.under_store_uri = "s3://bucket/dir".to_owned());
    let fixture = Fixture::new(&tree);
    for _ in 0..5 {
        assert!(std::fs::metadata(fixture.path("dir/f")).is_ok());
        assert_eq!(errno(std::fs::metadata(fixture.path("dir/g"))), Errno::NOENT);
    }
    assert_eq!(
        (count(&tree.counts.lookups), count(&tree.counts.attributes)),
        (3, 1),
        "one of them at the mount"
    );
    tree.write("dir/g", content(1, 1));
    assert_eq!(errno(std::fs::metadata(fixture.path("dir/g"))), Errno::NOENT);
}

#[test]
fn a_mount_is_seen_at_once_where_its_name_was_missing_before() {
    let tree = Tree::new();
    let fixture = Fixture::new(&tree);
    assert_eq!(errno(std::fs::metadata(fixture.path("new"))), Errno::NOENT);
    tree.write("new/f", content(1, 1));
    assert!(std::fs::metadata(fixture.path("new")).is_ok(), "the root lies in no under-store");
}

#[test]
fn what_may_not_be_remembered_is_asked_for_each_time() {
    let tree = Tree::new();
    tree.set_valid(Duration::ZERO);
    let options = FuseOptions { freshness: Some(Duration::from_secs(3600)), ..FuseOptions::default() };
    let fixture = Fixture::with(&tree, options);
    assert_eq!(errno(std::fs::metadata(fixture.path("f"))), Errno::NOENT);
    tree.write("f", content(1, 1));
    assert_eq!(std::fs::metadata(fixture.path("f")).expect("there").len(), 1);
    tree.remove("f");
    assert_eq!(errno(std::fs::metadata(fixture.path("f"))), Errno::NOENT);
}

#[test]
fn links_lead_where_they_say() {
    let tree = Tree::new();
    tree.write("dir/f", content(10, 1));
    tree.symlink("link", "dir/f");
    tree.symlink("broken", "nowhere");
    let fixture = Fixture::new(&tree);
    assert_eq!(std::fs::read_link(fixture.path("link")).expect("read").as_os_str(), "dir/f");
    assert_eq!(std::fs::read(fixture.path("link")).expect("read"), content(10, 1));
    assert_eq!(std::fs::symlink_metadata(fixture.path("link")).expect("known").len(), 5);
    assert_eq!(errno(std::fs::read(fixture.path("broken"))), Errno::NOENT);
}

#[test]
fn illegal_walks_fail_as_anywhere() {
    let tree = Tree::new();
    tree.write("f", content(1, 1));
    tree.directory("dir");
    let fixture = Fixture::new(&tree);
    assert_eq!(errno(std::fs::metadata(fixture.path(&"x".repeat(256)))), Errno::NAMETOOLONG);
    assert_eq!(errno(std::fs::metadata(fixture.path("f/below"))), Errno::NOTDIR);
    assert_eq!(errno(std::fs::read(fixture.path("dir"))), Errno::ISDIR);
    assert!(std::fs::metadata(fixture.path(&"x".repeat(255))).is_err());
}

#[test]
fn the_room_of_the_cluster_is_shown() {
    let fixture = Fixture::new(&Tree::new());
    let room = rustix::fs::statvfs(fixture.root()).expect("answered");
    assert_eq!(room.f_blocks * room.f_frsize, 1 << 30);
    assert_eq!(room.f_bavail * room.f_frsize, (1 << 30) - (1 << 28));
    assert_eq!((room.f_files, room.f_namemax), (7, 255));
}

#[test]
fn what_the_kernel_forgets_is_forgotten_here() {
    let tree = Tree::new();
    for at in 0..3000 {
        tree.write(&format!("dir/f{at}"), content(1, 1));
    }
    let fixture = Fixture::new(&tree);
    for at in 0..3000 {
        assert!(std::fs::metadata(fixture.path(&format!("dir/f{at}"))).is_ok());
    }
    let listed = std::fs::read_dir(fixture.path("dir")).expect("opened");
    let known: Vec<_> = listed.map(|entry| entry.expect("read").metadata().expect("known")).collect();
    assert_eq!(known.len(), 3000);
    assert_eq!(fixture.metric("forebay_fuse_nodes_live"), 3002);
    fixture.shrink();
    eventually("only the root is left", || fixture.metric("forebay_fuse_nodes_live") == 1);
    assert_eq!(std::fs::read(fixture.path("dir/f7")).expect("read").len(), 1);
}
