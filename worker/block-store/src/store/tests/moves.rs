//! Moves on real directories: every byte is right and there, before, during and after, also after a kill.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread;

use super::catalogues::end;
use super::*;
use crate::unit::UnitId;

const RAM: TierIndex = TierIndex(0);
const DISK: TierIndex = TierIndex(1);

fn two_tiers(ram: u64, disk: u64) -> Fixture {
    Fixture::with_tiers(&[(TierKind::Ram, ram), (TierKind::Disk, disk)])
}

fn contents(count: u64, length: u64) -> Vec<Content> {
    (1..=count).map(|counter| Content::new(counter, length)).collect()
}

/// Moves until there is nothing to move.
fn move_all(mover: &mut Mover) {
    while mover.step().is_some() {}
}

fn step(mover: &mut Mover, steps: u32) {
    for _ in 0..steps {
        mover.step();
    }
}

/// Begins to move a unit, wherever it is, to a tier. Whether it may be moved now.
fn begin(store: &BlockStore, mover: &mut Mover, unit: UnitId, tier: TierIndex) -> bool {
    let plan = store.inner.state.lock().index.begin_move(unit, tier, 0);
    let is_begun = plan.is_some();
    plan.into_iter().for_each(|plan| mover.begin(plan));
    is_begun
}

/// Moves all of a version to a tier.
fn move_to(store: &BlockStore, mover: &mut Mover, content: &Content, tier: TierIndex) {
    assert!(begin(store, mover, UnitId::whole(content.file()), tier));
    let begun = store.statistics();
    step(mover, content.page_count());
    let ended = store.statistics();
    assert_eq!(ended.demotions + ended.promotions, begun.demotions + begun.promotions + 1);
}

fn lies_on(fixture: &Fixture, content: &Content) -> Vec<usize> {
    let name = format!("/{}.", content.file());
    let here = fixture.files("data").into_iter().filter(|path| path.to_string_lossy().contains(&name));
    let on_ram = |path: &PathBuf| path.starts_with(fixture.tier(0));
    here.map(|path| if on_ram(&path) { 0 } else { 1 }).collect()
}

fn flip(path: &Path, offset: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[!byte[0]], offset).unwrap();
}

/// The files of a tier, as they are now.
fn copy_of(tier: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for folder in fs::read_dir(tier.join("blocks")).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            files.push((path, bytes));
        }
    }
    files
}

#[test]
fn what_leaves_memory_lies_on_a_disk_with_all_its_bytes_and_comes_back_when_it_is_read_again() {
    let fixture = two_tiers(12 * MIB, 64 * MIB);
    let store = fixture.open();
    let mut mover = store.mover();
    let all = contents(30, MIB + 70_000);
    for content in &all {
        content.put_all(&store);
        move_all(&mut mover);
    }
    let moved = store.statistics();
    assert_eq!((moved.evictions, moved.promotions, moved.aborted_moves), (0, 0, 0));
    assert_eq!(moved.demoted_bytes, moved.demotions * (MIB + 70_000));
    let on_disk: Vec<_> = all.iter().filter(|content| lies_on(&fixture, content) == [1]).collect();
    assert!(on_disk.len() >= 20 && moved.demotions > 10, "{} of {moved:?}", on_disk.len());
    assert!(all.iter().all(|content| lies_on(&fixture, content).len() == 1 && content.is_readable(&store)));
    for usage in store.usage() {
        assert!(usage.used <= usage.capacity);
    }
    let in_memory: Vec<_> = all.iter().filter(|content| lies_on(&fixture, content) == [0]).collect();
    assert!(store.is_in_memory(&in_memory[0].source(), range(0, 2).unwrap()));
    assert!(in_memory.iter().all(|content| store.drop_version(content.file())));
    on_disk.iter().for_each(|content| drop(content.read(&store, 0, 1)));
    move_all(&mut mover);
    let back: Vec<_> = on_disk.iter().filter(|content| lies_on(&fixture, content) == [0]).collect();
    assert_eq!((back.len() as u64, back.len() > 5), (store.statistics().promotions, true));
    assert!(on_disk.iter().all(|content| content.is_readable(&store)));
    assert!(back.iter().all(|content| store.hold(&content.source()).unwrap().is_some()));
    drop((store, mover));
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.dropped_versions, report.orphan_files), (on_disk.len() as u64, 0, 0));
    assert!(on_disk.iter().all(|content| content.is_readable(&store)));
}

#[test]
fn a_part_of_a_version_and_a_segment_of_one_are_moved_as_they_are() {
    let mut fixture = two_tiers(16 * MIB, 64 * MIB);
    fixture.settings.segment_length = ByteCount::new(2 * MIB);
    fixture.settings.tiers.iter_mut().for_each(|tier| tier.whole_file_max = ByteCount::new(3 * MIB));
    let store = fixture.open();
    let mut mover = store.mover();
    let (part, large) = (Content::new(1, 2 * MIB + 5), Content::new(2, 5 * MIB + 70_000));
    part.put(&store, 2);
    part.put(&store, 0);
    large.put_all(&store);
    (0..2000).for_each(|_| drop(large.read(&store, 0, 1)));
    assert!(begin(&store, &mut mover, UnitId::whole(part.file()), DISK));
    move_all(&mut mover);
    assert!(begin(&store, &mut mover, UnitId::segment_of(large.file(), 1).unwrap(), DISK));
    move_all(&mut mover);
    assert_eq!((lies_on(&fixture, &part), store.statistics().demotions), (vec![1], 2));
    let expect = |store: &BlockStore| {
        assert_eq!(store.missing(&part.source(), range(0, 3).unwrap()), [PageIndex::new(1)]);
        assert_eq!(part.read(store, 0, MIB).missing, None);
        assert_eq!(part.read(store, 2 * MIB, 5).missing, None);
        assert!(
            large.is_complete(store)
                && (0..3).all(|at| !large.read(store, at * 2 * MIB, MIB).bytes.is_empty())
        );
    };
    expect(&store);
    drop((store, mover));
    let store = fixture.open();
    expect(&store);
    part.put(&store, 1);
    assert!(part.is_readable(&store));
}

#[test]
fn a_damaged_page_is_not_copied_and_is_fetched_again() {
    for (page, is_index) in [(0_u32, false), (1, false), (2, false), (1, true)] {
        let fixture = two_tiers(16 * MIB, 64 * MIB);
        let store = fixture.open();
        let content = Content::new(1, 2 * MIB + 70_000);
        content.put_all(&store);
        let mut mover = store.mover();
        assert!(begin(&store, &mut mover, UnitId::whole(content.file()), DISK));
        let source = |extension: &str| {
            let files = fixture.files(extension).into_iter();
            files.filter(|path| path.starts_with(fixture.tier(0))).collect::<Vec<_>>().remove(0)
        };
        if is_index {
            let end = fs::metadata(source("index")).unwrap().len();
            flip(&source("index"), end - 72 - 30);
        } else {
            flip(&source("data"), u64::from(page) * MIB + 69_999);
        }
        move_all(&mut mover);
        let after = store.statistics();
        assert_eq!((after.demotions, after.aborted_moves, after.corrupt_pages), (0, 1, 1), "page {page}");
        assert_eq!(lies_on(&fixture, &content), [0], "the copy is gone");
        assert_eq!(store.missing(&content.source(), range(0, 3).unwrap()), [PageIndex::new(page)]);
        content.put(&store, page);
        assert!(content.is_readable(&store));
        assert_eq!(store.usage()[1].used, ByteCount::ZERO);
    }
}

#[test]
fn what_is_used_meanwhile_stays_and_no_copy_is_left() {
    let fixture = two_tiers(16 * MIB, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 2 * MIB + 70_000);
    content.put_all(&store);
    let mut mover = store.mover();
    for steps in 0..3 {
        assert!(begin(&store, &mut mover, UnitId::whole(content.file()), DISK));
        step(&mut mover, steps);
        let hold = store.hold(&content.source()).unwrap().expect("it is complete");
        move_all(&mut mover);
        assert_eq!((lies_on(&fixture, &content), store.usage()[1].used.get()), (vec![0], 0));
        assert!(!begin(&store, &mut mover, UnitId::whole(content.file()), DISK), "it is held");
        assert_eq!(content.held_bytes(&hold), content.bytes(0, content.length()));
    }
    assert_eq!(store.statistics().aborted_moves, 3);
    assert!(begin(&store, &mut mover, UnitId::whole(content.file()), DISK));
    mover.step();
    drop(mover);
    assert_eq!(store.usage()[1].used.get(), 0, "who stops in the middle leaves nothing");
    assert!(content.is_readable(&store));
}

#[test]
fn a_disk_that_is_full_or_gone_ends_the_move_and_nothing_is_lost() {
    let fixture = two_tiers(16 * MIB, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 2 * MIB + 70_000);
    content.put_all(&store);
    let mut mover = store.mover();
    assert!(begin(&store, &mut mover, UnitId::whole(content.file()), DISK));
    mover.step();
    store.inner.state.lock().index.set_open(DISK, false);
    move_all(&mut mover);
    assert_eq!((lies_on(&fixture, &content), store.statistics().aborted_moves), (vec![0], 1));
    assert!(content.is_readable(&store));
    // The folder in which the copy would lie cannot be used.
    store.inner.state.lock().index.set_open(DISK, true);
    fs::remove_dir_all(fixture.tier(1).join("blocks")).unwrap();
    assert!(begin(&store, &mut mover, UnitId::whole(content.file()), DISK));
    move_all(&mut mover);
    assert_eq!((store.statistics().aborted_moves, store.usage()[1].used.get()), (2, 0));
    assert!(!begin(&store, &mut mover, UnitId::whole(content.file()), DISK), "it is not tried again");
    assert!(content.is_readable(&store));
}

#[test]
fn a_kill_at_any_moment_of_a_move_loses_no_byte() {
    let content = Content::new(1, 3 * MIB + 70_000);
    // The last two are between the copy's header and the deletions, and between those of the source's two files.
    for moment in 0..=content.page_count() + 1 {
        for (from, to) in [(RAM, DISK), (DISK, RAM)] {
            let fixture = two_tiers(16 * MIB, 64 * MIB);
            let store = fixture.open();
            content.put_all(&store);
            let mut mover = store.mover();
            if from == DISK {
                move_to(&store, &mut mover, &content, DISK);
            }
            let source = copy_of(fixture.tier(from.0));
            assert!(begin(&store, &mut mover, UnitId::whole(content.file()), to));
            step(&mut mover, moment.min(content.page_count()));
            let copy = copy_of(fixture.tier(to.0));
            drop((store, mover));
            // What the kill would have left.
            let is_made = moment >= content.page_count();
            let is_torn = moment > content.page_count();
            let left =
                source.into_iter().filter(|(path, _)| !(is_torn && path.extension().unwrap() == "index"));
            for (path, bytes) in left.chain(copy) {
                fs::write(path, bytes).unwrap();
            }
            let (store, report) = fixture.open_with_report();
            assert!(content.is_complete(&store) && content.is_readable(&store), "{from:?} {moment}");
            assert_eq!(lies_on(&fixture, &content), [if is_made { to.0 } else { from.0 }], "{moment}");
            assert_eq!((report.versions, report.dropped_pages), (1, 0));
            assert_eq!((fixture.files("index").len(), store.statistics().corrupt_pages), (1, 0));
        }
    }
}

/// Not a test by itself: the process that the next test kills. It moves to and fro, and says when it has begun.
#[test]
fn child_that_moves_until_it_is_killed() {
    let Ok(directory) = std::env::var("FOREBAY_BLOCK_STORE_MOVING_CHILD") else { return };
    let mut fixture = two_tiers(64 * MIB, 64 * MIB);
    for tier in 0..2 {
        fixture.settings.tiers[tier].directory = Path::new(&directory).join(format!("tier{tier}"));
    }
    let store = fixture.open();
    let all = contents(5, 2 * MIB + 110_000);
    all.iter().for_each(|content| content.put_all(&store));
    let mut mover = store.mover();
    for round in 0.. {
        for content in &all {
            move_to(&store, &mut mover, content, if round % 2 == 0 { DISK } else { RAM });
        }
        println!("moved all {round}");
    }
}

#[test]
fn a_process_that_is_killed_while_it_moves_loses_nothing() {
    for rounds in [1, 2, 3, 5, 8, 13] {
        let fixture = two_tiers(64 * MIB, 64 * MIB);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::moves::child_that_moves_until_it_is_killed", "--nocapture"])
            .env("FOREBAY_BLOCK_STORE_MOVING_CHILD", fixture.folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let moved = lines.map(Result::unwrap).filter(|line| line.contains("moved all")).take(rounds).count();
        assert_eq!(moved, rounds, "the child moves for ever");
        child.kill().unwrap();
        child.wait().unwrap();
        let (store, report) = fixture.open_with_report();
        for content in contents(5, 2 * MIB + 110_000) {
            assert!(content.is_readable(&store), "after {rounds}: {report:?}");
            assert_eq!(lies_on(&fixture, &content).len(), 1);
        }
        assert_eq!((report.versions, store.statistics().corrupt_pages), (5, 0));
    }
}

#[test]
fn readers_find_every_byte_while_it_goes_to_and_fro() {
    let fixture = two_tiers(64 * MIB, 64 * MIB);
    let store = fixture.open();
    let all = contents(4, MIB + 70_000);
    all.iter().for_each(|content| content.put_all(&store));
    let is_over = AtomicBool::new(false);
    let (store, all, is_over) = (&store, &all, &is_over);
    thread::scope(|scope| {
        for reader in 0..3_u64 {
            scope.spawn(move || {
                let mut at = reader;
                while !is_over.load(Ordering::Relaxed) {
                    at += 1;
                    let content = &all[usize::try_from(at).unwrap() % all.len()];
                    assert!(content.is_readable(store), "it is always somewhere");
                    if at.is_multiple_of(7) {
                        let hold = store.hold(&content.source()).unwrap().expect("it is complete");
                        assert!(content.held_bytes(&hold) == content.bytes(0, content.length()));
                    }
                }
            });
        }
        let mut mover = store.mover();
        for round in 0..60 {
            for content in all {
                begin(
                    store,
                    &mut mover,
                    UnitId::whole(content.file()),
                    if round % 2 == 0 { DISK } else { RAM },
                );
                step(&mut mover, content.page_count());
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let after = store.statistics();
    assert!(after.demotions > 10 && after.promotions > 10, "{after:?}");
    assert_eq!(
        (after.corrupt_pages, after.vanished_versions, after.io_errors, after.evictions),
        (0, 0, 0, 0)
    );
}

#[test]
fn files_that_are_not_what_their_catalogue_says_are_let_go_and_not_copied() {
    let content = Content::new(1, 1000);
    let mut other = content.clone();
    other.seed += 1000;
    other.descriptor.fingerprint.tag = Some("other".to_owned());
    let [fixture, others] = [&content, &other].map(|content| {
        let fixture = two_tiers(12 * MIB, 64 * MIB);
        let store = fixture.open();
        content.put_all(&store);
        move_to(&store, &mut store.mover(), content, DISK);
        end(store);
        fixture
    });
    for extension in ["data", "index"] {
        let (from, to) = (others.file(extension), fixture.file(extension));
        assert_eq!(from.file_name(), to.file_name(), "a generation that was given twice");
        fs::copy(from, to).unwrap();
    }
    let (store, report) = fixture.open_with_report();
    assert_eq!(
        (report.versions, report.catalogued_versions),
        (1, 1),
        "what was moved there is in its catalogue"
    );
    assert!(begin(&store, &mut store.mover(), UnitId::whole(content.file()), RAM));
    assert_eq!(store.presence(&content.source()), None);
    assert_eq!((store.statistics().promotions, store.statistics().vanished_versions), (0, 1));
}
