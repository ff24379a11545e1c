//! What the kernel has forgotten costs no message to the master while it is granted, and what changed is seen all the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use forebay_integration_tests::{Fleet, content, drop_page_cache, wait_until, write_file};
use rustix::fs::{Dir, Mode, OFlags};
use rustix::process::Signal;

const WITHIN: Duration = Duration::from_secs(30);
/// A client relies on what it was granted for at least 3 s after the last word of changes.
const WITHOUT_A_WORD: Duration = Duration::from_millis(2_500);
const LENGTH: usize = 1_000;
/// A client relies on nothing that it was granted after so long without a word, and waits a little longer for one.
const RELIED_ON_AT_MOST: Duration = Duration::from_secs(10);
const SHOWN: &str = "forebay_fuse_kept_listings_opened_total";
const DIRECTORIES: usize = 4;
const FILES: usize = 50;

/// Folders `d0` to `d3` with files `f0` to `f49`, mounted at /data of one FUSE mount.
fn mounted(source: &Path, mount: &[&str], options: &str) -> (Fleet, PathBuf) {
    for directory in 0..DIRECTORIES {
        let folder = source.join(format!("d{directory}"));
        std::fs::create_dir_all(&folder).expect("made");
        (0..FILES).for_each(|file| drop(write_file(&folder.join(format!("f{file}")), 1, LENGTH)));
    }
    let mut fleet = Fleet::start(1);
    let uri = format!("file://{}", source.display());
    let answer = fleet.run(&[&["mount", &uri, "/data"], mount].concat());
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let root = fleet.mount("host-0", options).join("data");
    (fleet, root)
}

fn names(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).expect("a directory");
    let mut names: Vec<_> =
        names.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort_unstable();
    names
}

/// Lists all directories and reads all files; how many there are.
fn read_all(root: &Path) -> usize {
    let mut files = 0;
    for directory in names(root) {
        let directory = root.join(directory);
        for name in names(&directory) {
            let read = std::fs::read(directory.join(name)).expect("read");
            assert_eq!(read.len(), LENGTH);
            files += 1;
        }
        assert!(!directory.join("missing").exists());
    }
    files
}

fn answers(fleet: &Fleet, from: &str) -> u64 {
    let of = |question| format!("forebay_fuse_answers_total{{from=\"{from}\",question=\"{question}\"}}");
    ["lookup", "attributes", "list", "open"].map(|question| fleet.mount_metric(0, &of(question))).iter().sum()
}

/// Reads all with nothing in the kernel; whether the master was asked nothing about names.
fn asks_nothing(fleet: &Fleet, root: &Path) -> bool {
    drop_page_cache();
    let (asked, remembered) = (answers(fleet, "master"), answers(fleet, "memory"));
    assert_eq!(read_all(root), DIRECTORIES * FILES);
    answers(fleet, "master") == asked && answers(fleet, "memory") > remembered
}

/// The same with a master that says nothing; whether all was read before it went on.
fn needs_no_master(fleet: &Fleet, root: &Path) -> bool {
    drop_page_cache();
    fleet.master.signal(Signal::STOP);
    let (begun, root) = (Instant::now(), root.to_owned());
    let reading = std::thread::spawn(move || read_all(&root));
    while !reading.is_finished() && begun.elapsed() < WITHOUT_A_WORD {
        std::thread::yield_now();
    }
    let is_done = reading.is_finished();
    fleet.master.signal(Signal::CONT);
    assert_eq!(reading.join().expect("read"), DIRECTORIES * FILES);
    is_done
}

#[test]
fn what_the_kernel_has_forgotten_is_listed_looked_up_and_opened_without_the_master() {
    let source = tempfile::tempdir().expect("a folder");
    let (fleet, root) = mounted(source.path(), &["--freshness", "1h"], "");
    assert_eq!(read_all(&root), DIRECTORIES * FILES);
    wait_until("all is known and granted", WITHIN, || asks_nothing(&fleet, &root));
    wait_until("all is read without a master", WITHIN, || needs_no_master(&fleet, &root));
    assert!(fleet.mount_metric(0, "forebay_fuse_remembered_bytes") > 10_000);
}

#[test]
fn a_replaced_a_removed_and_a_new_file_are_seen_through_what_is_remembered() {
    let source = tempfile::tempdir().expect("a folder");
    let (fleet, root) = mounted(source.path(), &["--freshness", "1h"], "");
    assert_eq!(read_all(&root), DIRECTORIES * FILES);
    wait_until("all is known and granted", WITHIN, || asks_nothing(&fleet, &root));
    let (folder, shown) = (source.path().join("d1"), root.join("d1"));
    write_file(&source.path().join("next"), 3, 2 * LENGTH);
    std::fs::rename(source.path().join("next"), folder.join("f0")).expect("replaced");
    std::fs::remove_file(folder.join("f1")).expect("removed");
    write_file(&folder.join("missing"), 4, LENGTH);
    std::fs::remove_dir_all(source.path().join("d2")).expect("removed");
    let refreshed = fleet.run(&["fs", "refresh", "-r", "/data"]);
    assert_eq!(refreshed.code, 0, "{}", refreshed.stderr);
    // Nothing of it may hang on what the kernel still has.
    let seen = |what: &str, is_so: &dyn Fn() -> bool| {
        wait_until(what, WITHIN, || {
            drop_page_cache();
            is_so()
        });
    };
    seen("the new content is read", &|| {
        std::fs::read(shown.join("f0")).expect("never an error") == content(3, 2 * LENGTH)
    });
    seen("the removed name is gone", &|| !shown.join("f1").exists());
    seen("the new name is there", &|| shown.join("missing").exists());
    seen("the listing is the new one", &|| {
        let names = names(&shown);
        names.contains(&"missing".to_owned()) && !names.contains(&"f1".to_owned())
    });
    seen("the removed directory is gone", &|| {
        !root.join("d2").exists() && !root.join("d2/f0").exists() && !names(&root).contains(&"d2".to_owned())
    });
}

/// Whether all directories are listed by the kernel alone.
fn are_kept(fleet: &Fleet, root: &Path) -> bool {
    let requests = || {
        let of = |operation| format!("forebay_fuse_requests_total{{operation=\"{operation}\"}}");
        ["readdir", "readdirplus"].map(|operation| fleet.mount_metric(0, &of(operation))).iter().sum::<u64>()
    };
    let before = (fleet.mount_metric(0, SHOWN), requests());
    let listed: usize = (0..DIRECTORIES).map(|at| names(&root.join(format!("d{at}"))).len()).sum();
    assert_eq!(listed, DIRECTORIES * FILES);
    (fleet.mount_metric(0, SHOWN), requests()) == (before.0 + DIRECTORIES as u64, before.1)
}

#[test]
fn the_kernel_lists_what_was_listed_and_shows_what_changed_also_to_who_has_it_open() {
    let source = tempfile::tempdir().expect("a folder");
    let (fleet, root) = mounted(source.path(), &["--freshness", "1h"], "");
    wait_until("the kernel lists by itself", WITHIN, || are_kept(&fleet, &root));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let shown = root.join("d1");
    let mut open = Dir::new(rustix::fs::open(&shown, flags, Mode::empty()).expect("opened")).expect("one");
    let mut names_in_open = || {
        open.rewind();
        let names = open.by_ref().map(|entry| entry.expect("read").file_name().to_owned());
        names.filter(|name| !name.to_bytes().starts_with(b".")).collect::<Vec<_>>()
    };
    assert_eq!((names_in_open().len(), names_in_open().len()), (FILES, FILES));
    std::fs::remove_file(source.path().join("d1/f1")).expect("removed");
    write_file(&source.path().join("d1/new"), 4, LENGTH);
    let refreshed = fleet.run(&["fs", "refresh", "/data/d1"]);
    assert_eq!(refreshed.code, 0, "{}", refreshed.stderr);
    wait_until("the change is listed", WITHIN, || {
        let names = names(&shown);
        names.contains(&"new".to_owned()) && !names.contains(&"f1".to_owned())
    });
    wait_until("the open directory shows it too", WITHIN, || {
        let names = names_in_open();
        names.contains(&c"new".to_owned()) && !names.contains(&c"f1".to_owned())
    });
    wait_until("what is listed now is kept again", WITHIN, || are_kept(&fleet, &root));
}

#[test]
fn what_the_kernel_could_list_is_not_shown_for_longer_than_a_client_may_hear_nothing() {
    let source = tempfile::tempdir().expect("a folder");
    let (fleet, root) = mounted(source.path(), &["--freshness", "1h"], "");
    wait_until("the kernel lists by itself", WITHIN, || are_kept(&fleet, &root));
    let shown = root.join("d1");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut open = Dir::new(rustix::fs::open(&shown, flags, Mode::empty()).expect("opened")).expect("one");
    assert!(open.by_ref().all(|entry| entry.is_ok()));
    fleet.master.signal(Signal::STOP);
    let stopped = Instant::now();
    // One lists by its path and one what it has open; once the master is needed, both wait for it.
    let listed = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let again_and_again = |which: usize, mut list: Box<dyn FnMut() + Send>| {
        let listed = Arc::clone(&listed);
        std::thread::spawn(move || {
            while stopped.elapsed() < RELIED_ON_AT_MOST {
                list();
                listed[which].fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let by_path = again_and_again(0, Box::new(move || assert_eq!(names(&shown).len(), FILES)));
    let by_handle = again_and_again(
        1,
        Box::new(move || {
            open.rewind();
            assert!(open.by_ref().all(|entry| entry.is_ok()));
        }),
    );
    let counts = || [0, 1].map(|which: usize| listed[which].load(Ordering::SeqCst));
    wait_until("both have listed", WITHIN, || counts().into_iter().all(|count| count > 0));
    wait_until("both wait for the master", RELIED_ON_AT_MOST, || {
        let before = counts();
        std::thread::sleep(Duration::from_millis(500));
        counts() == before
    });
    assert!(!by_path.is_finished() && !by_handle.is_finished());
    fleet.master.signal(Signal::CONT);
    let ended = (by_path.join(), by_handle.join());
    assert!(ended.0.is_ok() && ended.1.is_ok());
}

#[test]
fn a_strict_mount_and_one_whose_answers_hold_for_no_time_remember_nothing() {
    for mount in [["--coherence", "strict"], ["--freshness", "0"]] {
        let source = tempfile::tempdir().expect("a folder");
        let (fleet, root) = mounted(source.path(), &mount, "");
        for _ in 0..2 {
            assert_eq!(read_all(&root), DIRECTORIES * FILES);
            drop_page_cache();
        }
        let files = u64::try_from(DIRECTORIES * FILES).expect("few");
        assert!(answers(&fleet, "master") >= 4 * files, "{mount:?}");
        assert_eq!(fleet.mount_metric(0, SHOWN), 0, "{mount:?}");
        write_file(&source.path().join("next"), 3, 2 * LENGTH);
        std::fs::rename(source.path().join("next"), source.path().join("d0/f0")).expect("replaced");
        let refreshed = fleet.run(&["fs", "refresh", "/data/d0"]);
        assert_eq!(refreshed.code, 0, "{}", refreshed.stderr);
        assert_eq!(std::fs::read(root.join("d0/f0")).expect("read"), content(3, 2 * LENGTH), "{mount:?}");
        assert_eq!(std::fs::metadata(root.join("d0/f0")).expect("there").len(), 2 * LENGTH as u64);
    }
}

#[test]
fn a_small_memory_is_kept_to_and_none_is_none() {
    for (memory, bytes_max) in [("64KiB", 64 << 10), ("0", 0)] {
        let source = tempfile::tempdir().expect("a folder");
        let option = format!("directory_memory={memory}");
        let (fleet, root) = mounted(source.path(), &["--freshness", "1h"], &option);
        for _ in 0..3 {
            assert_eq!(read_all(&root), DIRECTORIES * FILES);
            drop_page_cache();
            let bytes = fleet.mount_metric(0, "forebay_fuse_remembered_bytes");
            assert!(bytes <= bytes_max && (bytes > 0) == (bytes_max > 0), "{memory}: {bytes}");
        }
    }
}
