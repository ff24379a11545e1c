//! What a restart finds again: all that was committed, and nothing that does not fit.

use super::*;
use crate::layout::{FileKind, Generation, GenerationKey, relative_path};
use crate::unit::UnitId;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Four whole contents of all lengths and one in part, put into a store.
pub(super) struct Committed {
    whole: [Content; 4],
    partial: Content,
}

impl Committed {
    /// Their pages.
    pub(super) const PAGES: u64 = 1 + 3 + 9 + 1 + 2;

    pub(super) fn put(store: &BlockStore) -> Self {
        let lengths = [(1, 110_000), (2, 3 * MIB), (3, 9 * MIB), (4, 0)];
        let whole = lengths.map(|(counter, length)| Content::new(counter, length));
        whole.iter().for_each(|content| content.put_all(store));
        let partial = Content::new(5, 20 * MIB);
        for page in [3, 7] {
            partial.put(store, page);
        }
        Self { whole, partial }
    }

    /// All is there after a start, is verified once and can be used.
    pub(super) fn expect_in(&self, store: &BlockStore) {
        for content in &self.whole {
            assert!(content.is_readable(store) && store.hold(&content.source()).unwrap().is_some());
        }
        let whole: u64 = self.whole.iter().map(Content::length).sum();
        assert_eq!(store.statistics().verified_bytes, whole, "once, by the reads");
        assert_eq!(self.partial.read(store, 3 * MIB, MIB).missing, None);
        assert_eq!(self.partial.put(store, 0), FillOutcome::Stored, "it can be filled further");
    }
}

#[test]
fn all_that_was_committed_is_found_again_and_verified_before_it_is_trusted() {
    let fixture = Fixture::with_tiers(&[(TierKind::Ram, 4 * MIB), (TierKind::Disk, 64 * MIB)]);
    let store = fixture.open();
    let committed = Committed::put(&store);
    let before = (used(&store), store.list(None, 100));
    drop(store);
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.pages), (5, Committed::PAGES));
    assert_eq!((used(&store), store.list(None, 100)), before);
    committed.expect_in(&store);
}

#[test]
fn what_does_not_fit_is_dropped_and_counted() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    for counter in 1..=5 {
        Content::new(counter, 2 * MIB).put_all(&store);
    }
    drop(store);
    let file = |counter: u64, kind| {
        let file = Content::new(counter, 0).file();
        fixture.tier(0).join(relative_path(
            GenerationKey { unit: UnitId::whole(file), generation: Generation::new(counter) },
            kind,
        ))
    };
    fs::remove_file(file(1, FileKind::Data)).unwrap();
    fs::remove_file(file(2, FileKind::Index)).unwrap();
    fs::File::options().write(true).open(file(3, FileKind::Data)).unwrap().set_len(MIB).unwrap();
    fs::File::options().write(true).open(file(4, FileKind::Data)).unwrap().set_len(2 * MIB + 1).unwrap();
    let stranger = file(5, FileKind::Data).with_file_name("notes.txt");
    fs::write(&stranger, "mine").unwrap();
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.orphan_files, report.dropped_versions), (2, 2, 1));
    assert_eq!((report.dropped_pages, report.foreign_files), (1, 1));
    let cut = Content::new(3, 2 * MIB);
    assert_eq!(cut.read(&store, 0, 2 * MIB).missing, range(1, 1));
    cut.put(&store, 1);
    assert!(cut.is_readable(&store) && store.hold(&cut.source()).unwrap().is_some());
    assert!(Content::new(5, 2 * MIB).is_readable(&store));
    assert_eq!((fixture.files("data").len(), fixture.files("index").len()), (2, 2));
    assert_eq!(fs::read(stranger).unwrap(), b"mine", "what is not the store's is left alone");
}

#[test]
fn of_two_generations_the_newer_is_kept() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 1000);
    content.put_all(&store);
    let old = [fixture.file("data"), fixture.file("index")];
    let saved = old.clone().map(|path| fs::read(path).unwrap());
    store.drop_version(content.file());
    content.put_all(&store);
    let new = fixture.file("data");
    drop(store);
    old.iter().zip(saved).for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.dropped_versions, fixture.file("data")), (1, 1, new));
    assert!(content.is_readable(&store));
}

#[test]
fn an_index_file_under_another_versions_name_is_dropped() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    Content::new(1, 1000).put_all(&store);
    drop(store);
    let file = Content::new(9, 1000).file();
    for kind in [FileKind::Data, FileKind::Index] {
        let extension = if kind == FileKind::Data { "data" } else { "index" };
        let path =
            relative_path(GenerationKey { unit: UnitId::whole(file), generation: Generation::new(1) }, kind);
        fs::rename(fixture.file(extension), fixture.tier(0).join(path)).unwrap();
    }
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.dropped_versions, store.list(None, 10)), (1, vec![]));
}

#[test]
fn a_smaller_capacity_evicts_what_was_written_first() {
    let mut fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let contents = [Content::new(3, MIB), Content::new(2, MIB), Content::new(1, MIB)];
    contents.iter().for_each(|content| content.put_all(&store));
    drop(store);
    for (age, path) in fixture.files("data").iter().enumerate() {
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(100 - age as u64);
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
    fixture.settings.tiers[0].capacity = ByteCount::new(2 * MIB + 64 * 1024);
    let store = fixture.open();
    assert_eq!(contents.map(|content| content.is_complete(&store)), [false, true, true]);
    assert!(used(&store) <= 2 * MIB + 64 * 1024);
}

/// Not a test by itself: the process that the next test kills. It fills and says what it has committed.
#[test]
fn child_that_fills_until_it_is_killed() {
    let Ok(directory) = std::env::var("FOREBAY_BLOCK_STORE_CHILD") else { return };
    let mut fixture = Fixture::new(TierKind::Disk, 256 * MIB);
    fixture.settings.tiers[0].directory = directory.into();
    let store = fixture.open();
    for counter in 1.. {
        let content = Content::new(counter, 2 * MIB + 110_000);
        for page in 0..content.page_count() {
            content.put(&store, page);
            println!("committed {counter} {page}");
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_committed() {
    let fixture = Fixture::new(TierKind::Disk, 256 * MIB);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::restart::child_that_fills_until_it_is_killed", "--nocapture"])
        .env("FOREBAY_BLOCK_STORE_CHILD", fixture.tier(0))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut committed = Vec::new();
    while committed.len() < 40 {
        let line = lines.next().expect("the child fills for ever").unwrap();
        let Some(at) = line.find("committed ") else { continue };
        let mut numbers = line[at..].split(' ').skip(1).map(|number| number.parse::<u32>().unwrap());
        committed.push((numbers.next().unwrap(), numbers.next().unwrap()));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let store = fixture.open();
    for (counter, page) in committed {
        let content = Content::new(counter.into(), 2 * MIB + 110_000);
        assert_eq!(content.read(&store, u64::from(page) * MIB, MIB).missing, None, "{counter} page {page}");
    }
    assert_eq!(store.statistics().corrupt_pages, 0);
}
