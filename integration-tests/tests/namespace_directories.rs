//! Directories outside of mounts: made, removed, moved and given away by command, seen by everybody at once.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use forebay_integration_tests::{Cluster, Fleet, Output, forebay, wait_until, write_file};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(10);

/// Runs `forebay fs` with arguments of any bytes.
fn fs_command(address: &str, arguments: &[&OsStr]) -> Output {
    let output = Command::new(forebay())
        .args(["fs".as_ref()].iter().chain(arguments))
        .args(["--masters", address])
        .output()
        .expect("the binary starts");
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn uri(folder: &Path) -> String {
    format!("file://{}", folder.display())
}

/// Runs commands that must succeed, each as its words.
fn all_done(cluster: &Cluster, commands: &[&str]) {
    for command in commands {
        let done = cluster.run(&command.split(' ').collect::<Vec<_>>());
        assert_eq!(done.code, 0, "{command}: {}", done.stderr);
    }
}

fn stat(cluster: &Cluster, at: &str) -> Value {
    cluster.json(&["fs", "stat", at])
}

fn names(listing: &Value) -> Vec<&str> {
    let entries = listing["entries"].as_array().expect("a list");
    entries.iter().map(|entry| entry["name"].as_str().expect("text")).collect()
}

#[test]
fn what_one_command_did_the_next_one_sees() {
    let cluster = Cluster::builder().start();
    let made = cluster.run(&["fs", "mkdir", "/a"]);
    assert_eq!((made.code, made.stdout.as_str()), (0, "made: /a\n"), "{}", made.stderr);
    let new = stat(&cluster, "/a");
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    assert_eq!(new["kind"], "DIRECTORY");
    assert_eq!((&new["mode"], &new["uid"], &new["gid"]), (&json!(0o755), &json!(uid), &json!(gid)));
    assert_eq!(new["under_store_uri"], "");

    assert_eq!(cluster.json(&["fs", "mkdir", "-p", "/a/b/c"])["already"], false);
    assert_eq!(cluster.json(&["fs", "mkdir", "--parents", "/a/b/c"])["already"], true);
    let again = cluster.run(&["fs", "mkdir", "--parents", "/a/b/c/"]);
    assert_eq!((again.code, again.stdout.as_str()), (0, "was there before: /a/b/c\n"));
    assert_eq!(names(&cluster.json(&["fs", "ls", "/a/b"])), ["c"]);
    assert!(stat(&cluster, "/a")["mtime"].as_str() > new["mtime"].as_str(), "a name was made in it");

    let of_c = stat(&cluster, "/a/b/c")["mtime"].clone();
    all_done(&cluster, &["fs chmod 1750 /a/b/c", "fs chown 1234 /a/b/c", "fs chown :4321 /a/b/c"]);
    let given = stat(&cluster, "/a/b/c");
    assert_eq!((&given["mode"], &given["uid"], &given["gid"]), (&json!(0o1750), &json!(1234), &json!(4321)));
    assert_eq!(given["mtime"], of_c, "what is in it is as before");
    assert_eq!(cluster.json(&["fs", "chown", "1234:4321", "/a/b/c"])["changed"], false);
    all_done(&cluster, &["fs chmod 700 /"]);
    assert_eq!(stat(&cluster, "/")["mode"], json!(0o700));

    let moved = cluster.json(&["fs", "mv", "/a/b", "/moved"]);
    assert_eq!(moved, json!({ "from": "/a/b", "to": "/moved", "mounts": 0 }));
    assert_eq!(names(&cluster.json(&["fs", "ls", "/"])), ["a", "moved"]);
    assert_eq!(names(&cluster.json(&["fs", "ls", "/a"])), Vec::<&str>::new());
    let below = stat(&cluster, "/moved/c");
    assert_eq!((&below["mode"], &below["mtime"]), (&json!(0o1750), &of_c));
    all_done(&cluster, &["fs mkdir /empty", "fs mv /moved /empty", "fs rmdir /empty/c", "fs rmdir /empty"]);
    assert_eq!(names(&cluster.json(&["fs", "ls", "/"])), ["a"]);
    let totals = cluster.json(&["fs", "du", "/"]);
    assert_eq!((&totals["files"], &totals["directories"]), (&json!(0), &json!(1)));
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason_and_changes_nothing() {
    let [source, other] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    write_file(&source.path().join("d/f"), 1, 1000);
    let cluster =
        Cluster::builder().mount("/data", &uri(source.path())).mount("/way/to", &uri(other.path())).start();
    all_done(&cluster, &["fs mkdir -p /a/b/c", "fs mkdir /empty"]);
    let long = "x".repeat(256);
    let (before, mounts) = (cluster.json(&["fs", "ls", "/"]), cluster.json(&["mounts"]));
    let read_only = "content of the mount at /data, and mounts are read-only";
    for (command, code, told) in [
        ("mkdir /", 1, "cannot make /: / exists already"),
        ("mkdir /a", 1, "/a exists already"),
        ("mkdir /data", 1, "/data exists already"),
        ("mkdir /way", 1, "/way exists already"),
        ("mkdir /x/y", 1, "there is no directory /x; make that first, or all at once with --parents"),
        ("mkdir /data/new", 1, read_only),
        ("mkdir -p /data/d/f/new", 1, "come with the write path"),
        ("mkdir /a/.", 2, "`.` is no name"),
        ("mkdir /a/../b", 2, "`..` is no name"),
        ("mkdir a", 2, "begins with `/`"),
        (&format!("mkdir /{long}"), 2, "255"),
        ("mkdir", 2, "PATH"),
        ("rmdir /", 1, "/ is the root of the namespace"),
        ("rmdir /a", 1, "/a is not empty; `forebay fs ls /a` shows what is in it"),
        ("rmdir /way", 1, "/way is not empty"),
        ("rmdir /x", 1, "there is no directory /x"),
        ("rmdir /data", 1, "/data is a mount point; it goes with `forebay unmount /data`"),
        ("rmdir /data/d", 1, read_only),
        ("mv / /x", 1, "/ is the root of the namespace"),
        ("mv /a /", 1, "/ is the root of the namespace"),
        ("mv /x /y", 1, "there is no directory /x"),
        ("mv /a /x/y", 1, "there is no directory /x"),
        ("mv /a /a/b/d", 1, "/a cannot be moved to /a/b/d, which lies in it"),
        ("mv /empty /a", 1, "/a is not empty"),
        ("mv /a/b /a", 1, "/a is not empty"),
        ("mv /data /moved", 1, "/data is a mount point"),
        ("mv /empty /data", 1, "/data is a mount point"),
        ("mv /data/d /moved", 1, read_only),
        ("mv /data/d/f /f", 1, read_only),
        ("mv /a /data/a", 1, read_only),
        ("mv /a", 2, "TO"),
        ("chmod 700 /x", 1, "there is no directory /x"),
        ("chmod 700 /data", 1, read_only),
        ("chmod 700 /data/d", 1, read_only),
        ("chmod 10000 /a", 2, "octal number up to 7777"),
        ("chmod u+x /a", 2, "octal"),
        ("chown root /a", 2, "1000:100"),
        ("chown 4294967295 /a", 2, "write numbers"),
        ("chown 1:2 /data/d/f", 1, read_only),
    ] {
        let words: Vec<_> = ["fs"].into_iter().chain(command.split(' ')).collect();
        let refused = cluster.run(&words);
        assert_eq!(refused.code, code, "{command}: {}", refused.stderr);
        assert!(
            refused.stderr.starts_with("error: ") && refused.stderr.contains(told),
            "{command}: {}",
            refused.stderr
        );
        assert_eq!(refused.stdout, "", "{command}");
    }
    assert_eq!(cluster.json(&["fs", "ls", "/"]), before);
    assert_eq!(cluster.json(&["mounts"]), mounts);
    assert_eq!(names(&cluster.json(&["fs", "ls", "/a/b"])), ["c"]);
    let unreachable = fs_command("127.0.0.1:1", &["mkdir", "/z", "--timeout", "300ms"].map(OsStr::new));
    assert_eq!(unreachable.code, 3, "{}", unreachable.stderr);
}

#[test]
fn names_are_of_any_bytes_and_up_to_255_of_them() {
    let cluster = Cluster::builder().start();
    let long = vec![b'y'; 255];
    let path = |name: &[u8]| OsString::from_vec([b"/", name].concat());
    for name in [b"\xff\xfe", &b"tab\tand\nline"[..], b" ", b"...", b"-p", &long] {
        let (at, to) = (path(name), path(&[b"to ", &name[..name.len().min(200)]].concat()));
        let done = |arguments: &[&OsStr]| {
            let done = fs_command(cluster.address(), arguments);
            assert_eq!(done.code, 0, "{arguments:?}: {}", done.stderr);
            done.stdout
        };
        done(&["mkdir".as_ref(), &at]);
        done(&["chmod".as_ref(), "711".as_ref(), &at]);
        done(&["mv".as_ref(), &at, &to]);
        let shown: Value =
            serde_json::from_str(&done(&["stat".as_ref(), &to, "--output".as_ref(), "json".as_ref()]))
                .expect("a document");
        assert_eq!(shown["mode"], json!(0o711));
        assert_eq!(fs_command(cluster.address(), &["rmdir".as_ref(), &at]).code, 1, "it moved");
        let removed = done(&["rmdir".as_ref(), &to]);
        assert_eq!(removed.lines().count(), 1, "{removed:?}");
    }
    let too_long = fs_command(cluster.address(), &["mkdir".as_ref(), &path(&[b'y'; 256])]);
    assert_eq!(too_long.code, 2, "{}", too_long.stderr);
    assert_eq!(names(&cluster.json(&["fs", "ls", "/"])), Vec::<&str>::new());
}

#[test]
fn directories_are_as_deep_as_paths_are_long() {
    let cluster = Cluster::builder().start();
    let deepest = "/x".repeat(2047);
    all_done(&cluster, &[&format!("fs mkdir -p {deepest}"), "fs mkdir /y"]);
    assert_eq!(stat(&cluster, &deepest)["kind"], "DIRECTORY");
    let too_long = cluster.run(&["fs", "mkdir", "-p", &"/x".repeat(2048)]);
    assert_eq!(too_long.code, 2, "{}", too_long.stderr);
    let refused = cluster.run(&["fs", "mv", "/x", "/y/x"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("longer path than any can be"), "{}", refused.stderr);
    all_done(&cluster, &["fs mv /x /z", &format!("fs rmdir /z{}", &deepest[2..])]);
    all_done(&cluster, &["fs mv /z /y/z"]);
    assert_eq!(stat(&cluster, &format!("/y/z{}", "/x".repeat(2045)))["kind"], "DIRECTORY");
}

#[test]
fn mounts_move_with_the_directories_above_them() {
    let source = tempfile::tempdir().expect("a folder");
    let content = write_file(&source.path().join("d/f"), 1, 100_000);
    let cluster = Cluster::builder().fuse().start();
    let mounted = cluster.run(&["mount", &uri(source.path()), "/old/way/m"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    // Its credentials are sealed for its path, and nobody is asked while it is in maintenance.
    let bucket =
        ["s3://b4x", "/old/bucket", "--mode", "no-access", "--option", "endpoint=http://127.0.0.1:1"];
    let secrets = ["--option", "access_key_id=me", "--option", "secret_access_key=hush"];
    let mounted = cluster.run(&[&["mount"], &bucket[..], &secrets].concat());
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    assert_eq!(cluster.run_for_bytes(&["fs", "cat", "/old/way/m/d/f"]), content);
    assert_eq!(fs::read(cluster.fuse().join("old/way/m/d/f")).expect("read"), content);
    let cached = stat(&cluster, "/old/way/m/d/f");

    all_done(&cluster, &["fs mkdir /new"]);
    assert_eq!(cluster.json(&["fs", "mv", "/old", "/new/place"])["mounts"], 2);
    let mounts = cluster.json(&["mounts"]);
    let paths: Vec<_> =
        mounts["mounts"].as_array().expect("a list").iter().map(|mount| mount["path"].clone()).collect();
    assert_eq!(paths, ["/new/place/way/m", "/new/place/bucket"]);
    assert_eq!(cluster.run_for_bytes(&["fs", "cat", "/new/place/way/m/d/f"]), content);
    let same = stat(&cluster, "/new/place/way/m/d/f");
    assert_eq!((&same["file_id"], &same["mount"]), (&cached["file_id"], &json!("/new/place/way/m")));
    wait_until("the kernel sees it", WITHIN, || !cluster.fuse().join("old").exists());
    assert_eq!(fs::read(cluster.fuse().join("new/place/way/m/d/f")).expect("read"), content);

    let normal = cluster.run(&["mount", "s3://b4x", "/new/place/bucket", "--mode", "normal"]);
    assert_eq!(normal.code, 0, "{}", normal.stderr);
    let away = cluster.run(&["fs", "ls", "/new/place/bucket"]);
    assert!(away.code != 0 && !away.stderr.contains("sealed"), "its credentials are known: {}", away.stderr);

    all_done(&cluster, &["unmount /new/place/bucket", "unmount /new/place/way/m"]);
    assert_eq!(names(&cluster.json(&["fs", "ls", "/new"])), ["place"], "what was moved by hand stays");
    all_done(&cluster, &["fs rmdir /new/place", "fs rmdir /new"]);
}

#[test]
fn a_mount_made_in_a_directory_leaves_it_there_when_it_goes() {
    let source = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::builder().start();
    all_done(&cluster, &["fs mkdir -p /kept/by/hand"]);
    for at in ["/kept/by/hand/way/m", "/only/way/m"] {
        assert_eq!(cluster.run(&["mount", &uri(source.path()), at]).code, 0);
        assert_eq!(cluster.run(&["unmount", at]).code, 0);
    }
    assert_eq!(names(&cluster.json(&["fs", "ls", "/"])), ["kept"]);
    assert_eq!(names(&cluster.json(&["fs", "ls", "/kept/by/hand"])), Vec::<&str>::new());
}

#[test]
fn the_kernel_shows_them_with_owner_and_mode_and_changes_none() {
    let cluster = Cluster::builder().fuse().start();
    let root = cluster.fuse();
    all_done(&cluster, &["fs mkdir -p /a/b", "fs chmod 2751 /a/b", "fs chown 12:34 /a/b"]);
    wait_until("it is seen", WITHIN, || root.join("a/b").exists());
    let seen = fs::metadata(root.join("a/b")).expect("there");
    assert_eq!((seen.mode() & 0o7777, seen.uid(), seen.gid()), (0o2751, 12, 34));
    all_done(&cluster, &["fs chmod 700 /a/b"]);
    wait_until("another mode is seen", WITHIN, || {
        fs::metadata(root.join("a/b")).expect("there").mode() & 0o7777 == 0o700
    });
    let inode = seen.ino();
    all_done(&cluster, &["fs mv /a/b /c"]);
    wait_until("it moved", WITHIN, || !root.join("a/b").exists() && root.join("c").exists());
    assert_eq!(fs::metadata(root.join("c")).expect("there").ino(), inode, "it is the same directory");
    let before = fs::metadata(root.join("c")).expect("there").mtime_nsec();
    all_done(&cluster, &["fs mkdir /c/new"]);
    wait_until("a new name and a new time are seen", WITHIN, || {
        root.join("c/new").exists() && fs::metadata(root.join("c")).expect("there").mtime_nsec() != before
    });
    let read_only = Some(rustix::io::Errno::ROFS.raw_os_error());
    assert_eq!(fs::create_dir(root.join("x")).expect_err("read-only").raw_os_error(), read_only);
    assert_eq!(fs::remove_dir(root.join("c/new")).expect_err("read-only").raw_os_error(), read_only);
    assert_eq!(fs::rename(root.join("c"), root.join("d")).expect_err("read-only").raw_os_error(), read_only);
    all_done(&cluster, &["fs rmdir /c/new"]);
    wait_until("it is gone", WITHIN, || !root.join("c/new").exists());
}

#[test]
fn of_many_who_make_the_same_directory_one_does() {
    let cluster = Cluster::builder().start();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let start = |_| scope.spawn(|| cluster.run(&["fs", "mkdir", "/one"]));
        let started: Vec<_> = (0..8).map(start).collect();
        started.into_iter().map(|made| made.join().expect("ran")).collect()
    });
    let made = outcomes.iter().filter(|outcome| outcome.code == 0).count();
    assert_eq!(made, 1, "{outcomes:?}");
    assert!(
        outcomes.iter().all(|outcome| outcome.code == 0 || outcome.stderr.contains("/one exists already"))
    );
}

#[test]
fn a_master_that_was_killed_has_them_all_again() {
    let mut fleet = Fleet::start(0);
    let run = |fleet: &Fleet, arguments: &[&str]| {
        let done = fleet.run(arguments);
        assert_eq!(done.code, 0, "{arguments:?}: {}", done.stderr);
    };
    run(&fleet, &["fs", "mkdir", "-p", "/a/b"]);
    run(&fleet, &["fs", "chmod", "701", "/a/b"]);
    run(&fleet, &["fs", "mv", "/a/b", "/c"]);
    run(&fleet, &["fs", "rmdir", "/a"]);
    let before = [fleet.json(&["fs", "ls", "/"]), fleet.json(&["fs", "stat", "/c"])];
    fleet.master.kill();
    fleet.restart_master();
    assert_eq!([fleet.json(&["fs", "ls", "/"]), fleet.json(&["fs", "stat", "/c"])], before);
    run(&fleet, &["fs", "mkdir", "/c/d"]);
    fleet.master.kill();
    let address = fleet.address().to_owned();
    let away = fs_command(&address, &["mkdir", "/c/e", "--timeout", "300ms"].map(OsStr::new));
    assert_eq!(away.code, 3, "{}", away.stderr);
    // Whoever has the patience is answered once the master is back.
    let waiting =
        thread::spawn(move || fs_command(&address, &["mkdir", "/c/e", "--timeout", "60s"].map(OsStr::new)));
    fleet.restart_master();
    let made = waiting.join().expect("ran");
    assert_eq!(made.code, 0, "{}", made.stderr);
    assert_eq!(names(&fleet.json(&["fs", "ls", "/c"])), ["d", "e"]);
}
