//! A listing that the kernel has is shown by it without a message for as long as it may be, and no longer.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use forebay_client::{Change, ChangedName, ChangedNames, DirectoryChange};
use forebay_fuse::FuseOptions;
use rustix::fs::{Dir, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use crate::fixture::{Fixture, content, count, errno, eventually};
use crate::tree::{Tree, name};

const HOUR: Duration = Duration::from_secs(3600);
/// More than the kernel is told of in one answer.
const NAMES: usize = 3000;

/// `dir` with so many files, of a mount, whose answers are good for an hour to whoever hears of changes.
fn granted(names: usize) -> Arc<Tree> {
    let tree = Tree::new();
    for at in 0..names {
        tree.write(&format!("dir/f{at:05}"), content(1, 1));
    }
    tree.directory("dir");
    tree.edit("dir", |entry| entry.under_store_uri = "s3://bucket/dir".to_owned());
    tree.set_valid(Duration::from_micros(1));
    tree.set_granted(HOUR);
    tree
}

fn open(fixture: &Fixture) -> Dir {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let descriptor = rustix::fs::open(fixture.path("dir"), flags, Mode::empty()).expect("opened");
    Dir::new(descriptor).expect("a directory")
}

fn read(directory: &mut Dir) -> Vec<String> {
    let names = directory.map(|entry| entry.expect("read").file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// The names that one system call gives for a small buffer; none at the end.
fn read_some(handle: &mut OwnedFd) -> Vec<String> {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 1024];
    let mut names = RawDir::new(handle, &mut buffer);
    let mut some = Vec::new();
    while let Some(entry) = names.next() {
        some.push(entry.expect("read").file_name().to_string_lossy().into_owned());
        if names.is_buffer_empty() {
            break;
        }
    }
    some
}

fn list(fixture: &Fixture) -> Vec<String> {
    read(&mut open(fixture))
}

fn shown(fixture: &Fixture) -> u64 {
    fixture.metric("forebay_fuse_kept_listings_opened_total")
}

/// How often we were asked for names of a directory.
fn asked(fixture: &Fixture) -> u64 {
    let requests = |of: &str| fixture.metric(&format!("forebay_fuse_requests_total{{operation=\"{of}\"}}"));
    requests("readdir") + requests("readdirplus")
}

/// Waits until another listing costs no request for names; each must be what is expected.
fn expect_kept(fixture: &Fixture, expected: usize) {
    eventually("a listing is kept", || {
        let before = (shown(fixture), asked(fixture));
        assert_eq!(list(fixture).len(), expected);
        (shown(fixture), asked(fixture)) == (before.0 + 1, before.1)
    });
}

/// Gives what comes of it once that cost no request for names, each time after a whole listing: somebody may drop the page
/// cache of the machine meanwhile.
fn by_the_kernel<T>(fixture: &Fixture, mut of: impl FnMut() -> T) -> T {
    let mut outcome = None;
    eventually("the kernel shows it", || {
        list(fixture);
        let before = asked(fixture);
        outcome = Some(of());
        asked(fixture) == before
    });
    outcome.expect("it came")
}

fn tell(fixture: &Fixture, names: &[&str]) {
    let names = names.iter().map(|text| ChangedName { name: name(text), before: None });
    let (directory, names) = (fixture.tree.inode("dir"), ChangedNames::These(names.collect()));
    fixture.tree.tell(vec![Change::Directory(DirectoryChange { directory, names })]);
}

#[test]
fn what_was_listed_is_listed_again_without_a_message_in_the_same_order_and_with_the_same_inodes() {
    let fixture = Fixture::new(&granted(NAMES));
    let entries = || -> Vec<_> {
        open(&fixture)
            .map(|entry| entry.expect("read"))
            .map(|of| (of.file_name().to_owned(), of.ino()))
            .collect()
    };
    let first = entries();
    let shown = by_the_kernel(&fixture, || [entries(), entries(), entries()]);
    assert!(first.len() == NAMES + 2 && shown.iter().all(|of| *of == first));
}

#[test]
fn a_change_that_was_heard_is_in_the_next_listing_and_what_is_listed_then_is_kept_again() {
    let fixture = Fixture::new(&granted(NAMES));
    assert_eq!(list(&fixture).len(), NAMES);
    expect_kept(&fixture, NAMES);
    fixture.tree.write("dir/new", content(1, 1));
    // Before the kernel could be told of anything.
    assert!(list(&fixture).contains(&"new".to_owned()));
    expect_kept(&fixture, NAMES + 1);
    fixture.tree.remove("dir/f00001");
    assert!(!list(&fixture).contains(&"f00001".to_owned()));
    expect_kept(&fixture, NAMES);
}

#[test]
fn a_directory_that_stays_open_shows_a_change_when_it_is_read_anew() {
    let fixture = Fixture::new(&granted(NAMES));
    list(&fixture);
    // One that gathered what the kernel has, and one that was only shown it.
    let mut handles = [open(&fixture), open(&fixture)];
    for handle in &mut handles {
        assert_eq!(read(handle).len(), NAMES);
    }
    fixture.tree.write("dir/new", content(1, 1));
    tell(&fixture, &["new"]);
    for handle in &mut handles {
        eventually("the new name is seen", || {
            handle.rewind();
            read(handle).len() == NAMES + 1
        });
    }
    drop(handles);
    fixture.tree.remove("dir/new");
    fixture.tree.tell(vec![Change::Everything]);
    assert_eq!(list(&fixture).len(), NAMES);
}

#[test]
fn a_directory_that_stays_open_shows_nothing_that_is_older_than_it_may_be() {
    let tree = granted(NAMES);
    tree.set_granted(Duration::ZERO);
    tree.set_valid(Duration::from_secs(3));
    let fixture = Fixture::new(&tree);
    let mut handle = by_the_kernel(&fixture, || {
        let mut handle = open(&fixture);
        for _ in 0..2 {
            assert_eq!(read(&mut handle).len(), NAMES);
            handle.rewind();
        }
        handle
    });
    let before = asked(&fixture);
    // Nobody tells of it; only the time is over.
    eventually("it is asked for again", || {
        handle.rewind();
        read(&mut handle).len() == NAMES && asked(&fixture) > before
    });
}

#[test]
fn who_reads_on_after_the_kernel_had_to_drop_its_listing_sees_what_stays_once() {
    let fixture = Fixture::new(&granted(NAMES));
    let (mut handle, mut seen) = by_the_kernel(&fixture, || {
        let mut handle =
            rustix::fs::open(fixture.path("dir"), OFlags::RDONLY, Mode::empty()).expect("opened");
        let mut seen = Vec::new();
        while seen.len() < NAMES / 2 {
            seen.extend(read_some(&mut handle));
        }
        (handle, seen)
    });
    let before = asked(&fixture);
    // What it showed last is gone, and so is much of what was before; other names have come.
    for at in (0..NAMES / 2).step_by(3) {
        fixture.tree.remove(&format!("dir/f{at:05}"));
        // More than went, so that whoever counts is elsewhere.
        fixture.tree.write(&format!("dir/d{at:05}"), content(1, 1));
        fixture.tree.write(&format!("dir/e{at:05}"), content(1, 1));
    }
    // Another one gathers the listing as it is now.
    assert_eq!(list(&fixture).len(), NAMES + NAMES / 6);
    loop {
        let more = read_some(&mut handle);
        if more.is_empty() {
            break;
        }
        seen.extend(more);
    }
    let stays = |at: &usize| *at >= NAMES / 2 || !at.is_multiple_of(3);
    let unique: BTreeSet<_> = seen.iter().cloned().collect();
    assert_eq!(unique.len(), seen.len(), "nothing is seen twice");
    for name in (0..NAMES).filter(stays).map(|at| format!("f{at:05}")) {
        assert!(unique.contains(&name), "{name} was there all the time");
    }
    assert!(asked(&fixture) > before + 2);
}

#[test]
fn what_was_broken_off_is_not_shown_and_keeps_later_listings_from_nothing() {
    let fixture = Fixture::new(&granted(NAMES));
    for removed in 0..3 {
        let mut handle = open(&fixture);
        assert!(handle.by_ref().take(10).all(|entry| entry.is_ok()));
        drop(handle);
        let name = format!("dir/f{removed:05}");
        fixture.tree.remove(&name);
        let expected = NAMES - removed - 1;
        expect_kept(&fixture, expected);
    }
}

#[test]
fn what_was_gathered_before_and_after_a_change_is_not_kept() {
    let fixture = Fixture::new(&granted(NAMES));
    let mut handle = open(&fixture);
    let some: Vec<_> = handle.by_ref().take(10).collect();
    assert_eq!(some.len(), 10);
    fixture.tree.remove("dir/f00001");
    let before = read(&mut handle);
    assert_eq!(before.len() + 8, NAMES);
    handle.rewind();
    assert_eq!(read(&mut handle).len(), NAMES - 1);
    assert_eq!(list(&fixture).len(), NAMES - 1);
}

#[test]
fn what_fills_the_last_page_of_the_kernel_is_never_kept() {
    // With the dots so many entries of 32 bytes fill a page.
    let full = rustix::param::page_size() / 32 - 2;
    let fixture = Fixture::new(&granted(full));
    for _ in 0..3 {
        assert_eq!((list(&fixture).len(), shown(&fixture)), (full, 0));
    }
    fixture.tree.write("dir/g", content(1, 1));
    expect_kept(&fixture, full + 1);
}

#[test]
fn who_goes_back_within_a_listing_spoils_none() {
    let fixture = Fixture::new(&granted(NAMES));
    let mut handle = open(&fixture);
    assert_eq!(handle.by_ref().take(NAMES / 2).count(), NAMES / 2);
    handle.rewind();
    assert_eq!(read(&mut handle).len(), NAMES);
    // Far beyond the end, and back.
    let raw = rustix::fs::open(fixture.path("dir"), OFlags::RDONLY, Mode::empty()).expect("opened");
    rustix::fs::seek(&raw, SeekFrom::Start(NAMES as u64 * 2)).expect("sought");
    let mut sought = Dir::new(raw).expect("a directory");
    assert_eq!(read(&mut sought).len(), 0);
    sought.rewind();
    assert_eq!(read(&mut sought).len(), NAMES);
    drop((handle, sought));
    expect_kept(&fixture, NAMES);
}

#[test]
fn where_nothing_may_be_remembered_nothing_is_kept() {
    let strict = || {
        let tree = granted(10);
        tree.set_valid(Duration::ZERO);
        Fixture::new(&tree)
    };
    let without_freshness = || {
        let options = FuseOptions { freshness: Some(Duration::ZERO), ..FuseOptions::default() };
        Fixture::with(&granted(10), options)
    };
    let where_mounts_appear = || {
        let tree = granted(10);
        tree.edit("dir", |entry| entry.under_store_uri.clear());
        Fixture::new(&tree)
    };
    for fixture in [strict(), without_freshness(), where_mounts_appear()] {
        let mut handle = open(&fixture);
        for more in 0..3 {
            assert_eq!((list(&fixture).len(), read(&mut handle).len()), (10 + more, 10 + more));
            fixture.tree.write(&format!("dir/g{more}"), content(1, 1));
            handle.rewind();
        }
        assert_eq!(shown(&fixture), 0);
    }
}

#[test]
fn a_directory_that_the_kernel_forgot_is_listed_and_kept_anew() {
    let fixture = Fixture::new(&granted(NAMES));
    list(&fixture);
    fixture.shrink();
    eventually("only the root is remembered", || fixture.metric("forebay_fuse_nodes_live") == 1);
    assert_eq!((list(&fixture).len(), shown(&fixture)), (NAMES, 0));
    expect_kept(&fixture, NAMES);
}

#[test]
fn whoever_looks_at_each_entry_gets_listings_with_attributes_again() {
    const WIDTH: usize = 800;
    let tree = granted(0);
    for at in 0..4 * WIDTH {
        tree.write(&format!("d{}/f{at}", at / WIDTH), content(1, 1));
    }
    for at in 0..4 {
        tree.edit(&format!("d{at}"), |entry| entry.under_store_uri = "s3://bucket/d".to_owned());
    }
    tree.set_valid(HOUR);
    let fixture = Fixture::new(&tree);
    let directories = || (0..4).map(|at| fixture.path(&format!("d{at}")));
    let entries = |path| std::fs::read_dir(path).expect("opened").map(|entry| entry.expect("read"));
    let lookups = || count(&fixture.tree.counts.lookups);
    let all_names = || directories().flat_map(entries).count();
    let look_at_all = || directories().flat_map(entries).filter(|entry| entry.metadata().is_ok()).count();
    eventually("names are shown", || {
        let before = shown(&fixture);
        assert_eq!((all_names(), all_names()), (4 * WIDTH, 4 * WIDTH));
        shown(&fixture) >= before + 4
    });
    let before = lookups();
    assert_eq!(look_at_all(), 4 * WIDTH);
    // Those of the first directory, where it is found out.
    assert!(lookups() - before < 2 * WIDTH as u64, "{} look-ups", lookups() - before);
    eventually("all is shown and known", || {
        let before = (lookups(), shown(&fixture));
        assert_eq!(look_at_all(), 4 * WIDTH);
        (lookups(), shown(&fixture)) == (before.0, before.1 + 4)
    });
}

#[test]
fn who_looks_at_each_entry_of_a_long_listing_gets_the_rest_with_attributes() {
    const LENGTH: usize = 15_000;
    let tree = granted(LENGTH);
    tree.set_valid(HOUR);
    let fixture = Fixture::new(&tree);
    expect_kept(&fixture, LENGTH);
    let before = count(&fixture.tree.counts.lookups);
    let entries = std::fs::read_dir(fixture.path("dir")).expect("opened").map(|entry| entry.expect("read"));
    let looked_at = entries.map(|entry| (entry.metadata().expect("there"), entry.file_name()).1);
    let seen: BTreeSet<_> = looked_at.collect();
    let lookups = count(&fixture.tree.counts.lookups) - before;
    assert!(seen.len() == LENGTH && lookups < LENGTH as u64 / 2, "{} seen, {lookups} look-ups", seen.len());
}

/// Lists as programs do that are in no hurry: some begin anew half-way, some take only part, some go on until the end.
fn read_somehow(handle: &mut Dir, round: usize) -> Option<Vec<String>> {
    if round % 3 == 1 {
        assert!(handle.by_ref().take(round % 400).all(|entry| entry.is_ok()));
        handle.rewind();
    }
    if round.is_multiple_of(5) {
        assert!(handle.by_ref().take(round % 700).all(|entry| entry.is_ok()));
        return None;
    }
    Some(read(handle))
}

#[test]
fn under_a_storm_of_changes_each_open_sees_what_was_changed_before_and_what_stays_once() {
    const CHANGES: usize = 300;
    let fixture = Fixture::new(&granted(NAMES));
    let (made, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    fixture.tree.write("dir/c00000", content(1, 1));
    let look = &|thread: usize| {
        for round in thread.. {
            if is_over.load(Ordering::SeqCst) {
                break;
            }
            let made_before = made.load(Ordering::SeqCst);
            let mut handle = open(&fixture);
            for pass in 0..3 {
                let Some(names) = read_somehow(&mut handle, round + pass) else { break };
                let unique: BTreeSet<_> = names.iter().collect();
                let stay = unique.iter().filter(|name| name.starts_with('f')).count();
                assert_eq!((unique.len(), stay), (names.len(), NAMES));
                let newest =
                    unique.iter().filter_map(|name| name.strip_prefix('c')?.parse::<usize>().ok()).max();
                assert!(pass > 0 || newest >= Some(made_before), "{newest:?} is older than {made_before}");
                handle.rewind();
            }
        }
    };
    std::thread::scope(|scope| {
        (0..4).for_each(|thread| drop(scope.spawn(move || look(thread))));
        for change in 1..=CHANGES {
            fixture.tree.write(&format!("dir/c{change:05}"), content(1, 1));
            made.store(change, Ordering::SeqCst);
            let old = format!("c{:05}", change - 1);
            fixture.tree.remove(&format!("dir/{old}"));
            tell(&fixture, &[&old, &format!("c{change:05}")]);
            // Long enough that listings are kept in between now and then.
            std::thread::sleep(Duration::from_millis(if change % 10 == 0 { 40 } else { 2 }));
        }
        is_over.store(true, Ordering::SeqCst);
    });
    let newest = format!("c{CHANGES:05}");
    assert!(list(&fixture).contains(&newest));
    // A listing that became shorter while the kernel gathered it may keep it from gathering, until it forgets the directory.
    fixture.shrink();
    expect_kept(&fixture, NAMES + 1);
}

#[test]
fn of_a_directory_that_is_gone_the_kernel_shows_nothing_though_it_has_the_listing() {
    let fixture = Fixture::new(&granted(10));
    expect_kept(&fixture, 10);
    let mut handle = open(&fixture);
    assert_eq!(read(&mut handle).len(), 10);
    // Its own names did not change.
    fixture.tree.remove("dir");
    assert_eq!(errno(std::fs::read_dir(fixture.path("dir"))), Errno::NOENT, "though its name is remembered");
    eventually("whoever has it open is told", || {
        handle.rewind();
        handle.by_ref().any(|entry| entry.is_err())
    });
}
