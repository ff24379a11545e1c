//! A name gets a new content while the old one is open, cached by the kernel, or about to be opened.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::fixture::{Fixture, content, errno, eventually};
use crate::tree::Tree;

fn all_of(mut file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("read");
    bytes
}

/// A tree with `f` of 1000 bytes, whose names the kernel remembers for an hour.
fn mounted(complete: bool) -> Fixture {
    let tree = Tree::new();
    let version = tree.write("f", content(1000, 1));
    if complete {
        tree.complete(version);
    }
    Fixture::new(&tree)
}

fn keeps_old_bytes(complete: bool) {
    let fixture = mounted(complete);
    let old = File::open(fixture.path("f")).expect("opened");
    let old_ino = old.metadata().expect("known").ino();
    let new = fixture.tree.write("f", content(2000, 2));
    if complete {
        fixture.tree.complete(new);
    }
    eventually("the new content is opened", || {
        std::fs::read(fixture.path("f")).expect("never an error") == content(2000, 2)
    });
    assert!(all_of(&old) == content(1000, 1));
    let seen = old.metadata().expect("never stale");
    assert_eq!((seen.len(), seen.ino()), (1000, old_ino));
    let now = std::fs::metadata(fixture.path("f")).expect("known");
    assert_eq!(now.len(), 2000);
    assert_ne!(now.ino(), old_ino, "as after a rename over it");
}

#[test]
fn an_open_handle_keeps_the_old_bytes_and_a_new_open_gets_the_new_ones() {
    keeps_old_bytes(false);
}

#[test]
fn so_it_is_with_passthrough_of_both_versions() {
    keeps_old_bytes(true);
}

#[test]
fn a_handle_that_is_reopened_through_proc_reads_its_old_version() {
    let fixture = mounted(false);
    let old = File::open(fixture.path("f")).expect("opened");
    fixture.tree.write("f", content(2000, 2));
    eventually("the new content is opened", || {
        std::fs::metadata(fixture.path("f")).is_ok() && {
            std::fs::read(fixture.path("f")).expect("never an error").len() == 2000
        }
    });
    for _ in 0..3 {
        let again = File::open(format!("/proc/self/fd/{}", old.as_raw_fd())).expect("never stale");
        assert!(all_of(&again) == content(1000, 1));
    }
}

#[test]
fn under_a_strict_mount_the_next_open_has_the_new_content() {
    let fixture = mounted(false);
    fixture.tree.set_valid(Duration::ZERO);
    fixture.shrink();
    for version in 0..20_u8 {
        let expected = content(1000 + usize::from(version), version);
        fixture.tree.write("f", expected.clone());
        assert_eq!(std::fs::metadata(fixture.path("f")).expect("known").len(), expected.len() as u64);
        assert!(std::fs::read(fixture.path("f")).expect("read") == expected, "version {version}");
    }
}

#[test]
fn fstat_of_an_open_handle_is_never_stale_even_if_nothing_may_be_remembered() {
    let tree = Tree::new();
    tree.set_valid(Duration::ZERO);
    tree.write("f", content(1000, 1));
    let fixture = Fixture::new(&tree);
    let old = File::open(fixture.path("f")).expect("opened");
    tree.write("f", content(2000, 2));
    // Longer than a lookup is trusted, by the rule that is tested here.
    let end = Instant::now() + Duration::from_millis(1200);
    while Instant::now() < end {
        assert_eq!(old.metadata().expect("never stale").len(), 1000);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(std::fs::metadata(fixture.path("f")).expect("known").len(), 2000);
    tree.remove("f");
    assert_eq!(old.metadata().expect("never stale").len(), 1000);
    assert!(all_of(&old) == content(1000, 1));
}

#[test]
fn a_file_that_is_gone_is_not_found_and_goes_on_for_those_who_have_it() {
    let fixture = mounted(false);
    let old = File::open(fixture.path("f")).expect("opened");
    fixture.tree.remove("f");
    eventually("it is not found", || match File::open(fixture.path("f")) {
        Ok(_) => false,
        outcome => errno(outcome) == Errno::NOENT,
    });
    assert!(all_of(&old) == content(1000, 1));
}

#[test]
fn a_directory_that_was_replaced_is_walked_anew() {
    let tree = Tree::new();
    tree.write("a/b/f", content(10, 1));
    let fixture = Fixture::new(&tree);
    assert_eq!(std::fs::read(fixture.path("a/b/f")).expect("read").len(), 10);
    tree.remove("a/b/f");
    tree.remove("a/b");
    tree.write("a/b/f", content(20, 2));
    eventually("the new file is read", || {
        std::fs::read(fixture.path("a/b/f")).expect("never an error") == content(20, 2)
    });
}

/// A storm is over when its readers together have seen so many contents. Each sees about one a second, since a node of
/// which the kernel was told just now is opened as it is.
const CONTENTS_SEEN_MIN: u64 = 16;

/// Ends a storm's readers, also when its writer fails.
struct EndsStorm<'a>(&'a AtomicBool);

impl Drop for EndsStorm<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Each content is one number over and over, so that a mixture shows.
fn numbered(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(1024)
}

#[test]
fn under_a_storm_of_changes_no_open_fails_and_no_handle_mixes_versions() {
    let tree = Tree::new();
    tree.write("f", numbered(0));
    let fixture = Fixture::new(&tree);
    let (over, seen) = (AtomicBool::new(false), AtomicU64::new(0));
    let (tree, fixture) = (&tree, &fixture);
    std::thread::scope(|scope| {
        let check = || {
            let mut last = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let file = File::open(fixture.path("f")).expect("no open fails");
                let mut bytes = vec![0; 8192];
                file.read_exact_at(&mut bytes, 0).expect("no read fails");
                assert!(bytes == bytes[..8].repeat(1024), "a mixture of versions");
                if bytes != last {
                    seen.fetch_add(1, Ordering::Relaxed);
                    last = bytes;
                }
            }
        };
        let readers: Vec<_> = (0..4).map(|_| scope.spawn(check)).collect();
        let ends = EndsStorm(&over);
        // Until enough was seen; a reader that failed sees no more.
        let is_enough = || seen.load(Ordering::Relaxed) >= CONTENTS_SEEN_MIN;
        let mut number = 0;
        while !is_enough() && !readers.iter().any(|reader| reader.is_finished()) {
            number += 1;
            let version = tree.write("f", numbered(number));
            if number % 3 == 0 {
                tree.complete(version);
            }
            // The pace of the changes: readers are to meet each phase of them.
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(ends);
        for reader in readers {
            reader.join().expect("no reader failed");
        }
    });
}
