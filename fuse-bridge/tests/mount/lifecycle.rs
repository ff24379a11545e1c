//! A mount from its begin to its end, and what may stand in its way.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use forebay_fuse::{FuseOptions, MountSettings, mount, unmount_at};
use forebay_types::InodeId;
use prometheus::Registry;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::fixture::{
    Fixture, PATIENCE, content, errno, eventually, expect_mounts, runtime, settings, try_mount,
};
use crate::tree::Tree;

fn tree() -> Arc<Tree> {
    let tree = Tree::new();
    tree.write("f", content(10, 1));
    tree
}

/// The lines of the mount table for `path`.
fn mount_lines(path: &Path) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("read");
    let place = format!(" {} ", path.display());
    table.lines().filter(|line| line.contains(&place)).map(str::to_owned).collect()
}

/// Leaves a mount as a process does that is killed.
fn dead_mount(at: &Path) {
    let device =
        rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).expect("opened");
    let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", std::os::fd::AsRawFd::as_raw_fd(&device));
    let data = std::ffi::CString::new(data).expect("no zero bytes");
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("forebay", at, "fuse.forebay", flags, Some(data.as_c_str())).expect("mounted");
    drop(device);
    assert_eq!(errno(std::fs::metadata(at)), Errno::NOTCONN);
}

#[test]
fn the_mount_table_shows_what_it_is() {
    let fixture = Fixture::new(&tree());
    let lines = mount_lines(fixture.root());
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(
        line.contains(" ro,nosuid,nodev,noatime ") && line.contains(" - fuse.forebay forebay "),
        "{line}"
    );
    assert!(line.contains("allow_other") && line.contains("default_permissions"), "{line}");
    let device = line.split(' ').nth(2).expect("a number");
    let read_ahead = std::fs::read_to_string(format!("/sys/class/bdi/{device}/read_ahead_kb")).expect("read");
    assert_eq!(read_ahead.trim(), "1024");
}

#[test]
fn programs_can_be_run_unless_the_mount_says_noexec() {
    let tree = tree();
    tree.write("program", "#!/bin/sh\nexit 7\n");
    tree.edit("program", |entry| entry.mode = Some(0o755));
    let run = |fixture: &Fixture| std::process::Command::new(fixture.path("program")).status();
    let fixture = Fixture::new(&tree);
    assert_eq!(run(&fixture).expect("run").code(), Some(7));
    drop(fixture);
    let options = "noexec,relatime,_netdev,nofail,x-systemd.automount".parse().expect("legal");
    let fixture = Fixture::with(&tree, options);
    let lines = mount_lines(fixture.root());
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(line.contains(" ro,nosuid,nodev,noexec,noatime "), "{line}");
    assert_eq!(errno(run(&fixture)), Errno::ACCESS);
    assert_eq!(std::fs::read(fixture.path("f")).expect("read").len(), 10);
}

#[test]
fn unmounting_ends_it() {
    let mut fixture = Fixture::new(&tree());
    let mounted = fixture.mounted.take().expect("mounted");
    assert_eq!(std::fs::read(fixture.path("f")).expect("read").len(), 10);
    fixture.runtime.block_on(mounted.unmount(PATIENCE)).expect("unmounted");
    assert_eq!(mount_lines(fixture.root()), [""; 0]);
    assert_eq!(std::fs::read_dir(fixture.root()).expect("opened").count(), 0);
}

#[test]
fn an_unmount_by_somebody_else_is_noticed_and_a_newer_mount_is_left_alone() {
    let mut fixture = Fixture::new(&tree());
    let old = fixture.mounted.take().expect("mounted");
    unmount_at(fixture.root()).expect("unmounted");
    fixture.runtime.block_on(async { tokio::time::timeout(PATIENCE, old.ended()).await }).expect("noticed");
    let (new, _runtime) = try_mount(&fixture.tree, fixture.root());
    let _new = new.expect("mounted again");
    fixture.runtime.block_on(old.unmount(PATIENCE)).expect("nothing to do");
    assert_eq!(std::fs::read(fixture.path("f")).expect("the newer one serves").len(), 10);
}

#[test]
fn a_mount_that_is_dropped_is_taken_off_also_by_a_panic() {
    expect_mounts();
    let folder = tempfile::tempdir().expect("made");
    let panicked = std::panic::catch_unwind(|| {
        let (mounted, _runtime) = try_mount(&tree(), folder.path());
        let _mounted = mounted.expect("mounted");
        assert_eq!(mount_lines(folder.path()).len(), 1);
        std::panic::resume_unwind(Box::new("a test failed"));
    });
    assert!(panicked.is_err());
    assert_eq!(mount_lines(folder.path()), [""; 0]);
}

#[test]
fn a_busy_mount_is_detached_in_the_end_and_goes_on_for_those_who_use_it() {
    let mut fixture = Fixture::new(&tree());
    let mut file = File::open(fixture.path("f")).expect("opened");
    let error = unmount_at(fixture.root()).expect_err("busy").to_string();
    assert!(error.contains("in use") && error.contains("umount -l"), "{error}");
    let mounted = fixture.mounted.take().expect("mounted");
    fixture.runtime.block_on(mounted.unmount(Duration::from_millis(200))).expect("detached");
    assert_eq!(mount_lines(fixture.root()), [""; 0]);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("read");
    assert_eq!(bytes, content(10, 1));
}

#[test]
fn dead_mounts_are_taken_off_the_mount_point() {
    expect_mounts();
    let folder = tempfile::tempdir().expect("made");
    dead_mount(folder.path());
    let (mounted, _runtime) = try_mount(&tree(), folder.path());
    let mounted = mounted.expect("mounted");
    assert_eq!(std::fs::read(folder.path().join("f")).expect("read").len(), 10);
    assert_eq!(mount_lines(folder.path()).len(), 1);
    drop(mounted);
    dead_mount(folder.path());
    unmount_at(folder.path()).expect("unmounted");
    assert_eq!(mount_lines(folder.path()), [""; 0]);
}

#[test]
fn a_dead_mount_of_others_is_left_to_its_owner() {
    expect_mounts();
    let folder = tempfile::tempdir().expect("made");
    let device =
        rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).expect("opened");
    let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", std::os::fd::AsRawFd::as_raw_fd(&device));
    let data = std::ffi::CString::new(data).expect("no zero bytes");
    rustix::mount::mount("x", folder.path(), "fuse.other", MountFlags::RDONLY, Some(data.as_c_str()))
        .expect("mounted");
    drop(device);
    let (outcome, _runtime) = try_mount(&tree(), folder.path());
    let by_name = unmount_at(folder.path());
    rustix::mount::unmount(folder.path(), UnmountFlags::DETACH).expect("unmounted");
    let error = outcome.expect_err("refused").to_string();
    assert!(error.contains("fuse.other") && error.contains("umount -l"), "{error}");
    assert!(by_name.expect_err("refused").to_string().contains("no mount of Forebay"));
}

#[test]
fn what_stands_in_the_way_is_named() {
    let fixture = Fixture::new(&tree());
    let (again, _runtime) = try_mount(&fixture.tree, fixture.root());
    let error = again.expect_err("refused").to_string();
    assert!(error.contains("already") && error.contains("forebay fuse umount"), "{error}");
    let folder = tempfile::tempdir().expect("made");
    File::create(folder.path().join("file")).expect("made");
    let (filled, _runtime) = try_mount(&fixture.tree, folder.path());
    assert!(filled.expect_err("refused").to_string().contains("not empty"));
    assert_eq!(std::fs::read(fixture.path("f")).expect("read").len(), 10);
}

#[test]
fn a_directory_of_the_namespace_can_be_the_root_and_a_file_cannot() {
    expect_mounts();
    let tree = Tree::new();
    tree.write("a/b/f", content(10, 1));
    let (runtime, folder) = (runtime(), tempfile::tempdir().expect("made"));
    let of = |root: InodeId| {
        let registry = Registry::new();
        MountSettings { root, ..settings(&tree, folder.path(), FuseOptions::default(), &runtime, &registry) }
    };
    let mounted = runtime.block_on(mount(of(tree.directory("a")))).expect("mounted");
    assert_eq!(std::fs::read(folder.path().join("b/f")).expect("read").len(), 10);
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(folder.path()).expect("known")), 1);
    runtime.block_on(mounted.unmount(PATIENCE)).expect("unmounted");
    let file = tree.inode("a/b/f");
    let error = runtime.block_on(mount(of(file))).expect_err("refused").to_string();
    assert!(error.contains("no directory"), "{error}");
    let missing = runtime.block_on(mount(of(InodeId::new(999)))).expect_err("refused").to_string();
    assert!(missing.contains("ino:999"), "{missing}");
    eventually("nothing is mounted", || mount_lines(folder.path()).is_empty());
}
