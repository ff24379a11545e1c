//! Worker and bridge stay within their budgets of memory beside many readers, and however many names were looked up.
//!
//! The budget is 512 MiB each unless the settings say otherwise. `FOREBAY_LOOKUPS=5000000` makes the second scenario as
//! long as the product promises.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread;

use forebay_integration_tests::{Fleet, content, drop_page_cache, own_memory, own_memory_during, write_file};

const MIB: usize = 1 << 20;
const BUDGET: u64 = 512 << 20;
const READERS: u64 = 64;
const LENGTH: usize = 24 * MIB;
const READ: usize = 128 << 10;
const DIRECTORIES: usize = 20;
const FILES: usize = 1000;
const LOOKUPS_DEFAULT: usize = 400_000;
/// What memory may grow by between an early pass over all names and the last one, such as by allocations that leave
/// holes.
const GROWTH_MAX: u64 = 24 << 20;
const STATERS: usize = 4;

/// A master, a worker on `host-0`, and the tree of `source` at `/data`, of which it caches what `rule` says.
fn start(source: &Path, rule: &str) -> Fleet {
    let fleet = Fleet::start(1);
    let uri = format!("file://{}", source.display());
    let mounted = fleet.run(&["mount", &uri, "/data", "--cache", rule]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    fleet
}

/// Reads all of a file, and compares it.
fn compare(path: &Path, seed: u64) {
    let expected = content(seed, LENGTH);
    let mut file = File::open(path).expect("open");
    let mut buffer = vec![0; READ];
    let mut at = 0;
    loop {
        let count = file.read(&mut buffer).expect("read");
        if count == 0 {
            break;
        }
        assert!(expected[at..at + count] == buffer[..count], "{} at {at}", path.display());
        at += count;
    }
    assert_eq!(at, LENGTH);
}

#[test]
fn beside_64_readers_of_64_files_worker_and_bridge_stay_within_their_budgets() {
    read_64_files("all", ["from the under-store", "from the cache"]);
}

#[test]
fn beside_64_readers_past_the_cache_they_do_too() {
    read_64_files("none", ["past the cache", "past the cache again"]);
}

fn read_64_files(rule: &str, epochs: [&str; 2]) {
    let source = tempfile::tempdir().expect("a folder");
    (0..READERS).for_each(|file| drop(write_file(&source.path().join(format!("f{file}")), file, LENGTH)));
    let mut fleet = start(source.path(), rule);
    // The worker is on another host, so all bytes go through the memory of both.
    let root = fleet.mount("host-9", "").join("data");
    let mut all = Vec::new();
    for epoch in epochs {
        drop_page_cache();
        let (worker, mount) = (&fleet.workers[0], &fleet.mounts[0]);
        let most = own_memory_during(&[worker, mount], || {
            thread::scope(|scope| {
                for file in 0..READERS {
                    let path = root.join(format!("f{file}"));
                    scope.spawn(move || compare(&path, file));
                }
            });
        });
        eprintln!("{epoch}: worker {} MiB, bridge {} MiB", most[0] >> 20, most[1] >> 20);
        all.extend(most);
    }
    assert!(all.iter().all(|most| *most <= BUDGET), "{all:?}");
}

#[test]
fn names_that_the_kernel_forgot_take_no_memory() {
    let source = tempfile::tempdir().expect("a folder");
    let names: Vec<_> = (0..DIRECTORIES * FILES)
        .map(|number| PathBuf::from(format!("d{}/f{number}", number % DIRECTORIES)))
        .collect();
    (0..DIRECTORIES).for_each(|number| {
        std::fs::create_dir(source.path().join(format!("d{number}"))).expect("a folder");
    });
    names.iter().for_each(|name| std::fs::write(source.path().join(name), b"x").expect("written"));
    let mut fleet = start(source.path(), "all");
    let root = fleet.mount("host-0", "").join("data");
    let lookups = std::env::var("FOREBAY_LOOKUPS")
        .map_or(LOOKUPS_DEFAULT, |lookups| lookups.parse().expect("a number"));
    let passes = lookups.div_ceil(names.len());
    let mut after_first_passes = 0;
    for pass in 0..passes {
        look_up(&root, &names);
        drop_page_cache();
        if pass == passes / 4 {
            after_first_passes = own_memory(&fleet.mounts[0]);
        }
    }
    let at_the_end = own_memory(&fleet.mounts[0]);
    eprintln!(
        "bridge: {} KiB after a quarter, {} KiB at the end",
        after_first_passes >> 10,
        at_the_end >> 10
    );
    assert!(at_the_end <= BUDGET);
    assert!(at_the_end <= after_first_passes + GROWTH_MAX, "{after_first_passes}, then {at_the_end}");
    let asked = fleet.mount_metric(0, r#"forebay_fuse_requests_total{operation="lookup"}"#);
    assert!(asked >= lookups as u64, "the kernel asked for {asked} names only");
}

fn look_up(root: &Path, names: &[PathBuf]) {
    thread::scope(|scope| {
        for names in names.chunks(names.len().div_ceil(STATERS)) {
            scope.spawn(move || {
                for name in names {
                    assert_eq!(std::fs::metadata(root.join(name)).expect("stat").len(), 1);
                }
            });
        }
    });
}
