//! Files that rest: closed, but ready for the next open without a word to the worker. They are in nobody's way: not of
//! what is cached next, of what is freed, or of a wrong byte that is to be found.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use forebay_integration_tests::{Cluster, Fleet, Sums, cache_files, drop_page_cache, wait_until};
use rustix::process::Signal;

const MIB: usize = 1 << 20;
const WITHIN: Duration = Duration::from_secs(20);
const RESTING: &str = "forebay_fuse_resting_files";
const HELD: &str = "forebay_worker_hold_requests_total{outcome=\"held\"}";
const FETCHED: &str = "forebay_worker_under_store_read_bytes_total";

fn file_uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// Files of a MiB, `count` in each of two folders.
fn write_all(source: &Path, count: usize) -> [Sums; 2] {
    ["one", "two"].map(|folder| {
        let names = (0..count).map(|number| (format!("{folder}-{number}"), MIB));
        Sums::write(&source.join(folder), names)
    })
}

fn cluster(source: &Path, tier: &str, eviction: &str) -> Cluster {
    let builder = Cluster::builder().mount("/data", &file_uri(source)).fuse().ram("0").tier(tier);
    builder.argument("--eviction").argument(eviction).start()
}

/// Reads the files until all that can rest do.
fn read_until_at_rest(cluster: &Cluster, folder: &str, sums: &Sums, at_rest: u64) {
    wait_until("the files rest", WITHIN, || {
        sums.expect_in(&cluster.fuse().join("data").join(folder));
        cluster.metric(RESTING) >= at_rest
    });
}

#[test]
fn a_file_that_was_open_before_is_opened_without_a_word_to_the_worker() {
    let source = tempfile::tempdir().expect("a folder");
    let [sums, _] = write_all(source.path(), 10);
    let cluster = cluster(source.path(), "64MiB", "s3-fifo");
    read_until_at_rest(&cluster, "one", &sums, 10);
    let held = cluster.metric(HELD);
    for _ in 0..5 {
        sums.expect_in(&cluster.fuse().join("data/one"));
    }
    assert_eq!(cluster.metric(HELD), held);
}

#[test]
fn files_at_rest_make_room_for_what_is_read_next() {
    let source = tempfile::tempdir().expect("a folder");
    let [one, two] = write_all(source.path(), 30);
    for eviction in ["lru", "s3-fifo"] {
        files_at_rest_make_room_for_what_is_read_next_under(eviction, source.path(), &one, &two);
    }
}

fn files_at_rest_make_room_for_what_is_read_next_under(
    eviction: &str,
    source: &Path,
    one: &Sums,
    two: &Sums,
) {
    let cluster = cluster(source, "40MiB", eviction);
    // Three fifths of the tier may rest.
    read_until_at_rest(&cluster, "one", one, 20);
    two.expect_in(&cluster.fuse().join("data/two"));
    wait_until("what rested is given back", WITHIN, || cluster.metric(RESTING) == 0);
    let fetched_again = || {
        let before = cluster.metric(FETCHED);
        // Else the kernel has it still, whoever made room for whom.
        drop_page_cache();
        two.expect_in(&cluster.fuse().join("data/two"));
        cluster.metric(FETCHED) - before
    };
    wait_until("all of it has found room", WITHIN, || fetched_again() == 0);
    // Nobody had to leave for an epoch, so these may rest now.
    read_until_at_rest(&cluster, "two", two, 20);
}

#[test]
fn what_is_freed_while_it_rests_gives_its_room_back() {
    let source = tempfile::tempdir().expect("a folder");
    let [sums, _] = write_all(source.path(), 10);
    let cluster = cluster(source.path(), "64MiB", "s3-fifo");
    read_until_at_rest(&cluster, "one", &sums, 10);
    wait_until("the master knows what is cached", WITHIN, || {
        cluster.json(&["fs", "cached", "/data"])["cached_bytes"].as_u64() == Some(10 << 20)
    });
    let freed = cluster.json(&["fs", "free", "/data/one"]);
    assert_eq!(freed["files"].as_u64(), Some(10));
    wait_until("the room is free", WITHIN, || {
        cluster.json(&["admin", "report"])["capacity"]["used_bytes"].as_u64() == Some(0)
    });
    assert_eq!(cluster.metric(RESTING), 0);
    sums.expect_in(&cluster.fuse().join("data/one"));
}

#[test]
fn a_byte_that_is_changed_in_the_cache_while_the_file_rests_is_never_read() {
    let source = tempfile::tempdir().expect("a folder");
    let [sums, _] = write_all(source.path(), 5);
    let cluster = cluster(source.path(), "64MiB", "s3-fifo");
    read_until_at_rest(&cluster, "one", &sums, 5);
    let files = cache_files(cluster.dir(), "data");
    assert_eq!(files.len(), 5, "{files:?}");
    for path in &files {
        let file = OpenOptions::new().read(true).write(true).open(path).expect("open");
        let mut byte = [0];
        file.read_exact_at(&mut byte, 77).expect("read");
        file.write_all_at(&[!byte[0]], 77).expect("written");
    }
    sums.expect_in(&cluster.fuse().join("data/one"));
    assert_eq!(cluster.metric("forebay_worker_corrupt_pages_total"), 5);
}

#[test]
fn a_worker_that_is_killed_while_files_rest_costs_no_error() {
    let source = tempfile::tempdir().expect("a folder");
    let [sums, _] = write_all(source.path(), 10);
    let mut fleet = Fleet::start(1);
    let mounted = fleet.run(&["mount", &file_uri(source.path()), "/data"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let root = fleet.mount("host-0", "passthrough=auto").join("data/one");
    for _ in 0..2 {
        wait_until("the files rest", WITHIN, || {
            sums.expect_in(&root);
            fleet.mount_metric(0, RESTING) == 10
        });
        fleet.workers[0].kill();
        fleet.workers[0] = fleet.start_worker(0);
        sums.expect_in(&root);
    }
    // Nor does one that is stopped: what rests asks it nothing.
    wait_until("the files rest", WITHIN, || {
        sums.expect_in(&root);
        fleet.mount_metric(0, RESTING) == 10
    });
    fleet.workers[0].signal(Signal::STOP);
    sums.expect_in(&root);
    fleet.workers[0].signal(Signal::CONT);
}
