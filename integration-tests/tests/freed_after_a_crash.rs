//! What a file was before it was replaced or removed leaves the cache of a worker, also when the master that saw it died
//! before the worker could be told.

use std::path::Path;
use std::time::Duration;

use forebay_integration_tests::{Fleet, wait_until, write_file};
use rustix::process::Signal;

const MIB: usize = 1 << 20;
const LENGTH: usize = 8 * MIB;
const SOON: Duration = Duration::from_secs(60);
/// More than one of the files takes, and less than two.
const LESS_THAN_TWO: u64 = (LENGTH + LENGTH / 2) as u64;

/// One worker that holds `kept` and `replaced`, mounted at `/data`.
fn fleet(source: &Path) -> Fleet {
    for (seed, name) in (1..).zip(["kept", "replaced"]) {
        write_file(&source.join(name), seed, LENGTH);
    }
    let fleet = Fleet::start(1);
    let uri = format!("file://{}", source.display());
    let mounted = fleet.run(&["mount", &uri, "/data", "--freshness", "0s"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    for name in ["kept", "replaced"] {
        let got = fleet.run(&["fs", "get", &format!("/data/{name}"), &target(&fleet, name)]);
        assert_eq!(got.code, 0, "{}", got.stderr);
    }
    wait_until("both are reported to be cached", SOON, || {
        cached(&fleet, "/data") == 2 * LENGTH as u64 && used(&fleet) > LESS_THAN_TWO
    });
    fleet
}

fn target(fleet: &Fleet, name: &str) -> String {
    fleet.dir().join(format!("got-{name}")).display().to_string()
}

/// What the namespace's files have in the cache.
fn cached(fleet: &Fleet, path: &str) -> u64 {
    fleet.json(&["fs", "cached", path])["cached_bytes"].as_u64().expect("a figure")
}

/// What the worker has on its disk, of any version.
fn used(fleet: &Fleet) -> u64 {
    let report = fleet.json(&["admin", "report"]);
    report["workers"][0]["tiers"][0]["used_bytes"].as_u64().unwrap_or(u64::MAX)
}

fn version(fleet: &Fleet, path: &str) -> String {
    fleet.json(&["fs", "stat", path])["file_id"].as_str().expect("a file").to_owned()
}

/// Replaces the file, and has the master see it.
fn replace(fleet: &Fleet, source: &Path) {
    let before = version(fleet, "/data/replaced");
    write_file(&source.join("new"), 3, LENGTH);
    std::fs::rename(source.join("new"), source.join("replaced")).expect("renamed");
    assert_ne!(version(fleet, "/data/replaced"), before);
}

/// The old version is gone, and what is still a file's is not.
fn expect_only_kept(fleet: &Fleet) {
    wait_until("what was replaced has left the worker", SOON, || used(fleet) < LESS_THAN_TWO);
    assert_eq!(cached(fleet, "/data/kept"), LENGTH as u64);
}

#[test]
fn a_worker_that_was_silent_while_its_master_died_forgets_what_was_replaced() {
    let source = tempfile::tempdir().expect("a folder");
    let mut fleet = fleet(source.path());
    fleet.workers[0].signal(Signal::STOP);
    replace(&fleet, source.path());
    fleet.master.kill();
    fleet.restart_master();
    fleet.workers[0].signal(Signal::CONT);
    expect_only_kept(&fleet);
}

#[test]
fn a_worker_that_died_with_its_master_forgets_what_was_replaced_and_removed() {
    let source = tempfile::tempdir().expect("a folder");
    let mut fleet = fleet(source.path());
    fleet.workers[0].kill();
    replace(&fleet, source.path());
    std::fs::remove_file(source.path().join("kept")).expect("removed");
    assert_eq!(fleet.run(&["fs", "stat", "/data/kept"]).code, 1);
    fleet.master.kill();
    fleet.restart_master();
    fleet.workers[0] = fleet.start_worker(0);
    wait_until("both have left the worker", SOON, || used(&fleet) < LENGTH as u64 / 2);
}

#[test]
fn what_a_mount_had_cached_leaves_a_worker_that_comes_back_after_the_mount_and_its_master_are_gone() {
    let source = tempfile::tempdir().expect("a folder");
    let mut fleet = fleet(source.path());
    fleet.workers[0].signal(Signal::STOP);
    let unmounted = fleet.run(&["unmount", "/data"]);
    assert_eq!(unmounted.code, 0, "{}", unmounted.stderr);
    fleet.master.kill();
    fleet.restart_master();
    fleet.workers[0].signal(Signal::CONT);
    wait_until("all of it has left the worker", SOON, || used(&fleet) < LENGTH as u64 / 2);
}

#[test]
fn what_a_backup_was_still_to_free_is_freed_by_the_life_that_begins_from_it() {
    let source = tempfile::tempdir().expect("a folder");
    let mut fleet = fleet(source.path());
    fleet.workers[0].signal(Signal::STOP);
    replace(&fleet, source.path());
    let file = fleet.dir().join("backup").display().to_string();
    let taken = fleet.run(&["admin", "backup", &file]);
    assert_eq!(taken.code, 0, "{}", taken.stderr);
    fleet.master.kill();
    fleet.restore_master(&file);
    fleet.workers[0].signal(Signal::CONT);
    expect_only_kept(&fleet);
}
