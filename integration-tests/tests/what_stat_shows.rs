//! What `stat` says of local files, of objects and of links, and who may read them.

use std::fs::{self, File, Metadata, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use forebay_integration_tests::{Cluster, READ_MODES, Rclone, by_nobody, content, wait_until, write_file};

const WITHIN: Duration = Duration::from_secs(10);
/// A moment that is not now. Of objects, whole seconds are told.
const LONG_AGO: Duration = Duration::from_secs(1_600_000_000);

/// A cluster that shows a folder at `data`, with these options of its mount point.
fn show(source: &Path, options: &str) -> Cluster {
    let uri = format!("file://{}", source.display());
    Cluster::builder().mount("/data", &uri).fuse().fuse_options(options).start()
}

fn set_modified(path: &Path, since: Duration) {
    File::open(path).and_then(|file| file.set_modified(UNIX_EPOCH + since)).expect("our own file");
}

/// Mode, owner, group, and the time of the last change.
fn facts(of: &Metadata) -> (u32, u32, u32, i64, i64) {
    (of.mode(), of.uid(), of.gid(), of.mtime(), of.mtime_nsec())
}

#[test]
fn a_local_file_has_the_attributes_of_its_source_but_for_links_holes_and_times_of_access() {
    let source = tempfile::tempdir().expect("a folder");
    let at = |name: &str| source.path().join(name);
    write_file(&at("plain"), 1, 1000);
    fs::hard_link(at("plain"), at("second-name")).expect("made");
    File::create(at("holes")).and_then(|file| file.set_len(1 << 20)).expect("made");
    fs::create_dir(at("dir")).expect("made");
    for (name, mode, owner) in [("plain", 0o640, 12), ("holes", 0o4711, 34), ("dir", 0o2750, 56)] {
        chown(at(name), Some(owner), Some(owner + 1)).expect("only root may give a file away");
        set_mode(&at(name), mode);
        set_modified(&at(name), LONG_AGO + Duration::from_nanos(123_456_789));
    }
    let cluster = show(source.path(), "uid=5,gid=6,umask=077");
    for name in ["plain", "second-name", "holes", "dir"] {
        let (shown, of_source) = [cluster.fuse().join("data").join(name), at(name)]
            .map(|path| fs::metadata(path).expect("there"))
            .into();
        assert_eq!(facts(&shown), facts(&of_source), "{name}");
        assert!(shown.is_dir() || shown.len() == of_source.len(), "{name}");
        let changed = (shown.mtime(), shown.mtime_nsec());
        let others = [(shown.atime(), shown.atime_nsec()), (shown.ctime(), shown.ctime_nsec())];
        assert_eq!(others, [changed; 2], "{name}");
        assert_eq!((shown.nlink(), shown.blocks()), (1, shown.len().div_ceil(512)), "{name}");
    }
    let of_source = ["plain", "holes"].map(|name| fs::metadata(at(name)).expect("there"));
    assert_eq!((of_source[0].nlink(), of_source[1].blocks()), (2, 0), "which is not told");
}

#[test]
fn an_object_has_the_owner_and_mode_of_the_mount_point_and_the_time_of_its_last_change() {
    let server = Rclone::start("bucket", |bucket| {
        write_file(&bucket.join("sub/object"), 1, 1000);
        set_modified(&bucket.join("sub/object"), LONG_AGO);
    });
    let ours = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    for (options, (owner, group), file_mode, directory_mode) in
        [("uid=5,gid=6,umask=027", (5, 6), 0o640, 0o750), ("passthrough=auto", ours, 0o644, 0o755)]
    {
        let cluster = Cluster::builder().fuse().fuse_options(options).start();
        let mounted = cluster.mount_s3("s3://bucket", "/data", server.endpoint(), &[]);
        assert_eq!(mounted.code, 0, "{}", mounted.stderr);
        let root = cluster.fuse().join("data");
        wait_until("the mount is seen", WITHIN, || root.exists());
        let object = fs::metadata(root.join("sub/object")).expect("there");
        let changed = i64::try_from(LONG_AGO.as_secs()).expect("small");
        assert_eq!(facts(&object), (0o100_000 | file_mode, owner, group, changed, 0), "{options}");
        assert_eq!((object.len(), object.blocks(), object.nlink()), (1000, 2, 1));
        assert_eq!((object.atime(), object.ctime()), (changed, changed));
        let directory = fs::metadata(root.join("sub")).expect("there");
        assert_eq!(facts(&directory), (0o040_000 | directory_mode, owner, group, 0, 0), "{options}");
        let mount = fs::metadata(&root).expect("there");
        assert_eq!((mount.mode(), mount.uid(), mount.gid()), (directory.mode(), owner, group), "{options}");
        assert!(mount.mtime() > changed, "when it was mounted");
    }
}

/// What a user without rights reads of a file, and what `cat` says.
fn read_by_nobody(path: &Path) -> (Vec<u8>, String) {
    let output = by_nobody("cat", path);
    (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("our own");
}

#[test]
fn access_is_as_the_modes_of_the_source_say() {
    let source = tempfile::tempdir().expect("a folder");
    for (path, mode) in [("open/f", 0o644), ("open/secret", 0o600), ("closed/f", 0o644)] {
        write_file(&source.path().join(path), 1, 1000);
        set_mode(&source.path().join(path), mode);
    }
    set_mode(&source.path().join("closed"), 0o700);
    for mode in READ_MODES {
        let cluster = show(source.path(), mode);
        set_mode(cluster.dir(), 0o755);
        let data = cluster.fuse().join("data");
        let read_by_nobody = |path: &str| read_by_nobody(&data.join(path));
        // First nothing is cached, then all of it, by root.
        for _ in 0..2 {
            assert_eq!(read_by_nobody("open/f").0, content(1, 1000), "{mode}");
            for refused in ["open/secret", "closed/f"] {
                let (read, said) = read_by_nobody(refused);
                assert!(read.is_empty() && said.contains("Permission denied"), "{mode}, {refused}: {said}");
                assert_eq!(fs::read(data.join(refused)).expect("root may"), content(1, 1000));
            }
        }
    }
}

/// Whether a user without rights may list a directory; it is refused for no other reason.
fn may_list(path: &Path) -> bool {
    let listed = by_nobody("ls", path);
    let said = String::from_utf8_lossy(&listed.stderr);
    assert!(listed.status.success() || said.contains("Permission denied"), "{said}");
    listed.status.success()
}

#[test]
fn the_directory_of_a_mount_is_as_its_source_is_and_as_private() {
    let source = tempfile::tempdir().expect("a folder");
    write_file(&source.path().join("f"), 1, 1000);
    set_mode(&source.path().join("f"), 0o644);
    chown(source.path(), Some(12), Some(34)).expect("only root may give a folder away");
    set_mode(source.path(), 0o700);
    set_modified(source.path(), LONG_AGO);
    let cluster = show(source.path(), "uid=5,gid=6");
    set_mode(cluster.dir(), 0o755);
    let directory = cluster.fuse().join("data");
    let [shown, of_source] = [&*directory, source.path()].map(|path| fs::metadata(path).expect("there"));
    assert_eq!(facts(&shown), facts(&of_source));
    // Neither its names, nor what is known to be in it, nor whether something is.
    assert!(!may_list(&directory));
    for name in ["f", "missing"] {
        let (read, said) = read_by_nobody(&directory.join(name));
        assert!(read.is_empty() && said.contains("Permission denied"), "{name}: {said}");
    }
    assert_eq!(fs::read(directory.join("f")).expect("root may"), content(1, 1000));
    assert!(!may_list(&directory) && read_by_nobody(&directory.join("f")).0.is_empty(), "cached as it is");
    let told = cluster.json(&["fs", "stat", "/data"]);
    assert_eq!([&told["mode"], &told["uid"], &told["gid"]], [0o700, 12, 34], "{told}");
    let listed = cluster.json(&["fs", "ls", "/"]);
    assert_eq!(listed["entries"][0]["mtime"], told["mtime"]);
}

#[test]
fn a_change_of_who_may_enter_the_source_of_a_mount_is_seen_within_its_freshness() {
    let source = tempfile::tempdir().expect("a folder");
    write_file(&source.path().join("f"), 1, 1000);
    set_mode(&source.path().join("f"), 0o644);
    set_mode(source.path(), 0o700);
    let uri = format!("file://{}", source.path().display());
    let cluster = Cluster::builder().fuse().start();
    set_mode(cluster.dir(), 0o755);
    let mounted = cluster.run(&["mount", &uri, "/data", "--freshness", "2s"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let data = cluster.fuse().join("data");
    assert!(!may_list(&data), "from its first moment on");
    for is_open in [true, false, true] {
        set_mode(source.path(), if is_open { 0o755 } else { 0o700 });
        wait_until("it is seen", WITHIN, || may_list(&data) == is_open);
        assert_eq!(read_by_nobody(&data.join("f")).0 == content(1, 1000), is_open);
    }
    // Another directory in its place is the source from then on.
    let away = source.path().with_extension("away");
    fs::rename(source.path(), &away).expect("renamed");
    fs::create_dir(source.path()).expect("made");
    set_mode(source.path(), 0o700);
    wait_until("it is seen", WITHIN, || !may_list(&data));
    fs::remove_dir_all(away).expect("our own");
}

#[test]
fn what_a_refresh_finds_of_the_source_of_a_mount_is_seen_by_the_kernel_whatever_the_freshness() {
    let source = tempfile::tempdir().expect("a folder");
    set_mode(source.path(), 0o755);
    let uri = format!("file://{}", source.path().display());
    let cluster = Cluster::builder().fuse().start();
    set_mode(cluster.dir(), 0o755);
    let mounted = cluster.run(&["mount", &uri, "/data", "--freshness", "1h"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let data = cluster.fuse().join("data");
    assert!(may_list(&data));
    set_mode(source.path(), 0o700);
    let refreshed = cluster.run(&["fs", "refresh", "/data"]);
    assert_eq!(refreshed.code, 0, "{}", refreshed.stderr);
    wait_until("it is seen", WITHIN, || !may_list(&data));
}

#[test]
fn how_the_source_of_a_mount_is_is_known_once_the_command_returns() {
    let source = tempfile::tempdir().expect("a folder");
    set_mode(source.path(), 0o750);
    let uri = format!("file://{}", source.path().display());
    let cluster = Cluster::builder().start();
    let mounted = cluster.run(&["mount", &uri, "/data"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let away = source.path().with_extension("away");
    fs::rename(source.path(), &away).expect("renamed");
    assert_eq!(cluster.json(&["fs", "stat", "/data"])["mode"], 0o750);
    fs::rename(&away, source.path()).expect("renamed");
}

#[test]
fn a_mount_that_was_not_looked_at_is_closed_to_others_until_it_is() {
    let source = tempfile::tempdir().expect("a folder");
    set_mode(source.path(), 0o755);
    let uri = format!("file://{}", source.path().display());
    let cluster = Cluster::builder().fuse().start();
    set_mode(cluster.dir(), 0o755);
    for (mode, is_open) in [("no-access", false), ("normal", true)] {
        let mounted = cluster.run(&["mount", &uri, "/data", "--mode", mode]);
        assert_eq!(mounted.code, 0, "{}", mounted.stderr);
        let data = cluster.fuse().join("data");
        wait_until("it is seen", WITHIN, || may_list(&data) == is_open);
    }
}

#[test]
fn links_are_followed_by_the_reader_and_never_by_the_under_store() {
    let (source, elsewhere) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let inside = write_file(&source.path().join("dir/f"), 1, 1000);
    let outside = write_file(&elsewhere.path().join("secret"), 2, 1000);
    let secret = elsewhere.path().join("secret");
    let links = [
        ("relative", Path::new("dir/f")),
        ("to-directory", Path::new("dir")),
        ("absolute", &secret),
        ("away", elsewhere.path()),
        ("broken", Path::new("nowhere")),
    ];
    for (name, target) in links {
        symlink(target, source.path().join(name)).expect("made");
    }
    let cluster = show(source.path(), "passthrough=auto");
    let data = cluster.fuse().join("data");
    for (name, target) in links {
        assert_eq!(fs::read_link(data.join(name)).expect("a link"), target, "{name}");
        let shown = fs::symlink_metadata(data.join(name)).expect("there");
        assert_eq!(shown.len(), target.as_os_str().len() as u64);
    }
    for path in ["relative", "to-directory/f"] {
        assert_eq!(fs::read(data.join(path)).expect("within the mount"), inside, "{path}");
    }
    for path in ["absolute", "away/secret"] {
        assert_eq!(fs::read(data.join(path)).expect("a file of this machine"), outside, "{path}");
        let by_command = cluster.run(&["fs", "cat", &format!("/data/{path}")]);
        assert!(by_command.code == 1 && by_command.stdout.is_empty(), "{path}: {by_command:?}");
    }
    assert!(fs::metadata(data.join("broken")).is_err());
    let load = cluster.run(&["load", "/data"]);
    assert_eq!(load.code, 0, "{}", load.stderr);
    let fetched = cluster.metric("forebay_worker_under_store_read_bytes_total");
    assert_eq!(fetched, 1000, "the one file of the mount, and nothing that links lead to");
}
