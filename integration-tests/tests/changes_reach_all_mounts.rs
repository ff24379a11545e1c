//! What the cluster learns of an under-store reaches each mount, and what its kernel remembers, long before the mount's
//! freshness is over.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_integration_tests::{Fleet, content, wait_until, write_file};

/// Clients lag behind by 5 s at most; with room for a busy machine.
const WITHIN: Duration = Duration::from_secs(5 + 8);
const LENGTH: usize = 100_000;

/// A folder with `f` and `g`, mounted for an hour's freshness, and two mounts of the tree.
fn two_mounts(source: &Path) -> (Fleet, [PathBuf; 2]) {
    two_mounts_with(source, "relaxed")
}

fn two_mounts_with(source: &Path, coherence: &str) -> (Fleet, [PathBuf; 2]) {
    write_file(&source.join("f"), 1, LENGTH);
    write_file(&source.join("g"), 2, LENGTH);
    let mut fleet = Fleet::start(1);
    let uri = format!("file://{}", source.display());
    let mounted = fleet.run(&["mount", &uri, "/data", "--freshness", "1h", "--coherence", coherence]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let mounts = ["one", "other"].map(|host| fleet.mount(host, "passthrough=auto").join("data"));
    for mount in &mounts {
        assert_eq!(std::fs::read(mount.join("f")).expect("read"), content(1, LENGTH));
        assert_eq!(std::fs::read(mount.join("g")).expect("read"), content(2, LENGTH));
        assert!(!mount.join("new").exists());
    }
    (fleet, mounts)
}

/// Behind our back: `f` gets another content, `g` goes and `new` comes.
fn change(source: &Path) {
    write_file(&source.join("next"), 3, LENGTH);
    std::fs::rename(source.join("next"), source.join("f")).expect("replaced");
    std::fs::remove_file(source.join("g")).expect("removed");
    write_file(&source.join("new"), 4, LENGTH);
}

fn refresh(fleet: &Fleet, path: &str) {
    let refreshed = fleet.run(&["fs", "refresh", "-r", path]);
    assert_eq!(refreshed.code, 0, "{}", refreshed.stderr);
}

fn expect_the_change(mount: &Path) {
    wait_until("the new name is seen", WITHIN, || mount.join("new").exists());
    wait_until("the removed name is gone", WITHIN, || !mount.join("g").exists());
    wait_until("the new content is read", WITHIN, || {
        std::fs::read(mount.join("f")).expect("never an error") == content(3, LENGTH)
    });
}

#[test]
fn what_a_refresh_finds_is_seen_by_every_mount_within_seconds() {
    let source = tempfile::tempdir().expect("a folder");
    let (fleet, mounts) = two_mounts(source.path());
    change(source.path());
    refresh(&fleet, "/");
    mounts.iter().for_each(|mount| expect_the_change(mount));
}

#[test]
fn under_a_strict_mount_what_a_refresh_finds_is_seen_by_the_next_look() {
    let source = tempfile::tempdir().expect("a folder");
    let (fleet, mounts) = two_mounts_with(source.path(), "strict");
    change(source.path());
    refresh(&fleet, "/data");
    for mount in &mounts {
        assert!(mount.join("new").exists() && !mount.join("g").exists());
        assert_eq!(std::fs::read(mount.join("f")).expect("read"), content(3, LENGTH));
    }
}

#[test]
fn a_refresh_is_of_one_directory_or_file_and_with_r_of_all_below() {
    let source = tempfile::tempdir().expect("a folder");
    write_file(&source.path().join("sub/f"), 5, LENGTH);
    let (fleet, _mounts) = two_mounts(source.path());
    let is_there = |path: &str| fleet.run(&["fs", "stat", path]).code == 0;
    let version = |path: &str| fleet.json(&["fs", "stat", path])["file_id"].clone();
    assert!(!is_there("/data/sub/new"));
    let before = ["/data/f", "/data/sub/f"].map(version);
    change(source.path());
    write_file(&source.path().join("sub/new"), 6, LENGTH);
    write_file(&source.path().join("next"), 7, LENGTH);
    std::fs::rename(source.path().join("next"), source.path().join("sub/f")).expect("replaced");

    let refreshed = |arguments: &[&str]| {
        let output = fleet.run(&[&["fs", "refresh"], arguments].concat());
        assert_eq!(output.code, 0, "{}", output.stderr);
        let changed = ["/data/f", "/data/sub/f"].map(version);
        let is_changed = [changed[0] != before[0], changed[1] != before[1]];
        (is_changed, ["/data/new", "/data/sub/new"].map(is_there))
    };
    assert_eq!(refreshed(&["/data/sub/f"]), ([false, true], [false, false]), "of one file");
    assert_eq!(refreshed(&["/data"]), ([true, true], [true, false]), "of one directory");
    assert_eq!(refreshed(&["-r", "/data"]), ([true, true], [true, true]));
}

#[test]
fn what_differs_is_named_until_it_is_taken_over() {
    let source = tempfile::tempdir().expect("a folder");
    let (fleet, _mounts) = two_mounts(source.path());
    let check = || fleet.run(&["fs", "check-consistency", "-r", "/"]);
    assert_eq!((check().code, check().stdout), (0, String::new()));
    change(source.path());
    let checked = check();
    let mut lines: Vec<_> = checked.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!((checked.code, lines), (1, vec!["changed /data/f", "gone    /data/g", "new     /data/new"]));
    assert!(checked.stderr.contains("3 names differ") && checked.stderr.contains("fs refresh -r /"));
    assert_eq!(check().stdout, checked.stdout, "nothing was changed by looking");
    let document = fleet.run(&["fs", "check-consistency", "/data", "--output", "json"]);
    let document: serde_json::Value = serde_json::from_str(&document.stdout).expect("a document");
    assert_eq!(document["total"].as_u64(), Some(3), "{document}");
    refresh(&fleet, "/data");
    assert_eq!(check().code, 0);
}

#[test]
fn a_change_that_nobody_could_be_told_of_is_seen_after_a_restart_of_the_master() {
    let source = tempfile::tempdir().expect("a folder");
    let (mut fleet, mounts) = two_mounts(source.path());
    fleet.master.kill();
    change(source.path());
    fleet.restart_master();
    refresh(&fleet, "/data");
    mounts.iter().for_each(|mount| expect_the_change(mount));
}

#[test]
fn a_freshness_that_is_changed_counts_at_once() {
    let source = tempfile::tempdir().expect("a folder");
    let (fleet, mounts) = two_mounts(source.path());
    change(source.path());
    let uri = format!("file://{}", source.path().display());
    let changed = fleet.run(&["mount", &uri, "/data", "--freshness", "1s"]);
    assert_eq!((changed.code, changed.stdout.starts_with("changed: ")), (0, true), "{}", changed.stderr);
    mounts.iter().for_each(|mount| expect_the_change(mount));
    let shown = fleet.json(&["mounts"]);
    assert_eq!(shown["mounts"][0]["freshness"].as_f64(), Some(1.0), "{shown}");
    let again = fleet.run(&["mount", &uri, "/data"]);
    assert!(again.code == 0 && again.stdout.starts_with("was mounted before"), "{}", again.stdout);
}

#[test]
fn a_file_that_is_open_when_its_mount_goes_is_not_found_any_more() {
    const PAGE: u64 = 1 << 20;
    const PAGES: u64 = 1 << 10;
    let source = tempfile::tempdir().expect("a folder");
    let large = std::fs::File::create(source.path().join("large")).expect("made");
    large.set_len(PAGES * PAGE).expect("it takes no room");
    let (fleet, mounts) = two_mounts(source.path());
    let open = std::fs::File::open(mounts[0].join("large")).expect("opened");
    let read = |page: u64| open.read_exact_at(&mut [0; 4096], page * PAGE);
    read(0).expect("read");
    let unmounted = fleet.run(&["unmount", "/data"]);
    assert_eq!(unmounted.code, 0, "{}", unmounted.stderr);
    // Another page each time, since what is read once is cached.
    let mut pages = (1..PAGES).rev();
    wait_until("it is not found", Duration::from_secs(60), || {
        let error = read(pages.next().expect("enough")).err();
        error.is_some_and(|error| {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
            true
        })
    });
}

#[test]
fn an_unmount_is_seen_by_every_mount_within_seconds() {
    let source = tempfile::tempdir().expect("a folder");
    let (fleet, mounts) = two_mounts(source.path());
    let unmounted = fleet.run(&["unmount", "/data"]);
    assert_eq!(unmounted.code, 0, "{}", unmounted.stderr);
    for mount in &mounts {
        wait_until("the mount is gone", WITHIN, || !mount.exists());
    }
}
