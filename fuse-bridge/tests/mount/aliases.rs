//! Handles that were opened before a file was complete, beside new ones that are passed through: on a node of their own.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forebay_fuse::FuseOptions;
use forebay_fuse::limits::ALIAS_LENGTH_MIN;

use crate::extended::value;
use crate::fixture::{Fixture, content, count, eventually};
use crate::reading::{Overlay, mapped};
use crate::tree::Tree;

const LENGTH: usize = (4 << 20) + 5;
const _: () = assert!(LENGTH as u64 > ALIAS_LENGTH_MIN);

fn with_aliases() -> FuseOptions {
    FuseOptions { aliases: true, ..FuseOptions::default() }
}

fn reads_right(file: &File, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    file.read_exact_at(&mut bytes, 0).expect("read");
    assert!(bytes == expected && mapped(file, expected.len()) == expected);
}

#[test]
fn a_new_handle_is_passed_through_beside_one_from_before_the_file_was_complete() {
    let tree = Tree::new();
    let expected = content(LENGTH, 1);
    let version = tree.write("f", expected.clone());
    let fixture = Fixture::with(&tree, with_aliases());
    let old = File::open(fixture.path("f")).expect("opened");
    reads_right(&old, &expected);
    tree.complete(version);
    assert_eq!(value(&fixture, "f", "user.forebay.served_by"), Ok("passthrough".to_owned()));
    let passed = || fixture.metric("forebay_fuse_opens_total{mode=\"passthrough\"}");
    eventually("a new handle is passed through", || {
        let file = File::open(fixture.path("f")).expect("opened");
        reads_right(&file, &expected);
        passed() > 0
    });
    let new = File::open(fixture.path("f")).expect("opened");
    let reads = count(&tree.counts.reads);
    reads_right(&new, &expected);
    assert_eq!(count(&tree.counts.reads), reads, "the kernel reads it");
    reads_right(&old, &expected);
    let numbers = [&old, &new].map(|file| file.metadata().expect("known").ino());
    assert_ne!(numbers[0], numbers[1]);
    assert_eq!(std::fs::metadata(fixture.path("f")).expect("known").ino(), numbers[1]);
    // What is open can be opened again as it is, though no path leads there.
    let again =
        File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&old))).expect("opened");
    reads_right(&again, &expected);
    drop((old, again));
    reads_right(&new, &expected);
    drop(new);
    assert!(std::fs::read(fixture.path("f")).expect("read") == expected);
    assert_eq!(fixture.metric("forebay_fuse_errors_total{operation=\"open\"}"), 0);
}

#[test]
fn no_open_fails_while_old_handles_and_the_cache_come_and_go() {
    let tree = Tree::new();
    let expected = content(LENGTH, 1);
    let version = tree.write("f", expected.clone());
    let fixture = Fixture::with(&tree, with_aliases());
    let old = File::open(fixture.path("f")).expect("opened");
    let over = AtomicBool::new(false);
    let (expected, over, path) = (&expected, &over, &fixture.path("f"));
    let check = move |file: &File, at: usize| {
        let mut bytes = vec![0; 4096];
        file.read_exact_at(&mut bytes, at as u64).expect("read");
        assert!(bytes == expected[at..at + 4096]);
        if at.is_multiple_of(8) {
            assert!(&mapped(file, LENGTH) == expected);
        }
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|reader| {
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    for turn in 0_usize.. {
                        let file = File::open(path).expect("no open is refused");
                        check(&file, (turn * 7919 + reader) % (LENGTH - 4096));
                        kept.push(file);
                        while kept.len() > turn % 5 {
                            let oldest = kept.remove(0);
                            check(&oldest, turn % 5000);
                        }
                        if over.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                })
            })
            .collect();
        let (begun, mut old) = (std::time::Instant::now(), Some(old));
        while begun.elapsed() < Duration::from_secs(5) {
            tree.complete(version);
            std::thread::sleep(Duration::from_millis(40));
            tree.evict(version);
            std::thread::sleep(Duration::from_millis(5));
            if begun.elapsed() > Duration::from_secs(3) {
                old.take().inspect(|old| check(old, 0));
            }
        }
        over.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().expect("all was right"));
    });
    let opens = |mode: &str| fixture.metric(&format!("forebay_fuse_opens_total{{mode=\"{mode}\"}}"));
    assert!(["passthrough", "buffered"].iter().all(|mode| opens(mode) > 0), "each way was used");
    assert_eq!(fixture.metric("forebay_fuse_errors_total{operation=\"open\"}"), 0);
}

#[test]
fn a_short_file_keeps_its_one_node() {
    let tree = Tree::new();
    let version = tree.write("f", content(300_000, 1));
    let fixture = Fixture::with(&tree, with_aliases());
    let old = File::open(fixture.path("f")).expect("opened");
    tree.complete(version);
    for _ in 0..5 {
        let new = File::open(fixture.path("f")).expect("opened");
        assert_eq!(new.metadata().expect("known").ino(), old.metadata().expect("known").ino());
    }
    assert_eq!(fixture.metric("forebay_fuse_opens_total{mode=\"passthrough\"}"), 0);
}

#[test]
fn by_default_every_file_keeps_its_one_node_and_so_an_overlay_can_lie_over_it() {
    let tree = Tree::new();
    let expected = content(LENGTH, 1);
    let version = tree.write("f", expected.clone());
    let fixture = Fixture::new(&tree);
    let overlay = Overlay::over(&fixture.path(""));
    let path = overlay.merged().join("f");
    let old = File::open(&path).expect("opened");
    reads_right(&old, &expected);
    tree.complete(version);
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        for path in [&path, &fixture.path("f")] {
            std::fs::metadata(path).expect("known");
            reads_right(&File::open(path).expect("opened"), &expected);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(fixture.metric("forebay_fuse_opens_total{mode=\"passthrough\"}"), 0);
}
