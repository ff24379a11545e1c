//! Disks that fail, directories that go away and come back: no byte is wrong, and what can be found again is.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::health::Health;
use crate::index::Changes;
use crate::limits::{DOWN_ERRORS, ERROR_SPAN, PROBE_INTERVAL, RETURN_PAUSE_MAX, UNSTABLE_ERRORS};

/// Runs the probes that are due so long after the begin, as if they took no time.
fn probe(store: &BlockStore, begin: Instant, after: Duration) -> usize {
    let now = begin + after;
    let due = store.due_probes(now);
    let count = due.len();
    due.into_iter().for_each(|probe| probe.run(|| now));
    count
}

fn fail(store: &BlockStore, tier: usize, count: usize) {
    for _ in 0..count {
        store.inner.disk_failed(TierIndex(tier), &io::Error::from_raw_os_error(5));
    }
}

fn healths(store: &BlockStore) -> Vec<Health> {
    store.usage().iter().map(|tier| tier.health).collect()
}

fn two_disks() -> Fixture {
    Fixture::with_tiers(&[(TierKind::Disk, 64 * MIB), (TierKind::Disk, 64 * MIB)])
}

#[test]
fn a_directory_that_is_moved_away_is_down_and_found_again_when_it_is_back() {
    let fixture = two_disks();
    let store = fixture.open();
    let begin = Instant::now();
    let contents: Vec<_> = (1..=3).map(|counter| Content::new(counter, 2 * MIB + counter)).collect();
    contents.iter().for_each(|content| content.put_all(&store));
    let hold = store.hold(&contents[0].source()).unwrap().expect("it is complete");
    let told = Arc::new(AtomicBool::new(false));
    store.on_wants_back({
        let told = Arc::clone(&told);
        move || told.store(true, Ordering::Relaxed)
    });
    assert!(probe(&store, begin, PROBE_INTERVAL + Duration::from_secs(1)) > 0);
    assert_eq!(healths(&store), [Health::Up; 2]);

    let cursor = store.cursor();
    let away = fixture.folder.path().join("away");
    fs::rename(fixture.tier(0), &away).unwrap();
    probe(&store, begin, 2 * PROBE_INTERVAL + Duration::from_secs(2));
    assert_eq!(healths(&store), [Health::Down, Health::Up]);
    assert!(told.load(Ordering::Relaxed), "holds are wanted back");
    assert_eq!(
        contents[0].held_bytes(&hold),
        contents[0].bytes(0, 3 * MIB),
        "what is held can still be read"
    );
    let Changes::Since { versions, .. } = store.changes_since(cursor) else { panic!("it reaches back") };
    assert_eq!(versions.len(), 3);
    assert!(versions.iter().all(|version| version.cached == ByteCount::ZERO), "{versions:?}");
    assert_eq!(contents[1].read(&store, 0, 10).missing, range(0, 1));
    assert_eq!(store.usage()[0].usable(), ByteCount::ZERO);
    // Others take over.
    contents[1].put_all(&store);
    assert!(contents[1].is_readable(&store));
    assert_eq!(store.usage()[1].versions, 1);

    fs::rename(&away, fixture.tier(0)).unwrap();
    let cursor = store.cursor();
    probe(&store, begin, RETURN_PAUSE_MAX);
    assert_eq!(healths(&store), [Health::Up; 2]);
    assert!(contents[1].is_readable(&store) && contents[2].is_readable(&store));
    assert!(!contents[0].is_complete(&store), "one that is still held from before is not taken back");
    assert_eq!(contents[0].held_bytes(&hold), contents[0].bytes(0, 3 * MIB));
    let Changes::Since { versions, .. } = store.changes_since(cursor) else { panic!("it reaches back") };
    assert_eq!(versions.iter().map(|version| version.file).collect::<Vec<_>>(), [contents[2].file()]);
    drop(hold);
    contents[0].put_all(&store);
    assert!(contents[0].is_readable(&store));
    assert_eq!(fixture.files("data").len(), 3, "nothing is left of what was not taken back");
}

#[test]
fn a_deleted_directory_is_made_anew_and_empty() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let begin = Instant::now();
    let content = Content::new(1, 110_000);
    content.put_all(&store);
    fs::remove_dir_all(fixture.tier(0)).unwrap();
    probe(&store, begin, PROBE_INTERVAL + Duration::from_secs(1));
    assert_eq!((healths(&store), used(&store)), (vec![Health::Down], 0));
    let refused = store.put_page(&content.source(), PageIndex::new(0), &content.page(0));
    assert!(matches!(refused, Err(StoreError::NoSpace { .. })), "{refused:?}");
    probe(&store, begin, RETURN_PAUSE_MAX);
    assert_eq!(healths(&store), [Health::Up]);
    content.put_all(&store);
    assert!(content.is_readable(&store));
}

#[test]
fn an_unstable_tier_takes_nothing_new_and_is_read() {
    let fixture = two_disks();
    let store = fixture.open();
    let begin = Instant::now();
    let (whole, part) = (Content::new(1, 110_000), Content::new(2, 2 * MIB));
    whole.put_all(&store);
    part.put(&store, 0);
    fail(&store, 0, UNSTABLE_ERRORS);
    assert_eq!(healths(&store), [Health::Unstable, Health::Up]);
    assert!(whole.is_readable(&store));
    assert_eq!(part.read(&store, 0, MIB).missing, None);
    let new = Content::new(3, 110_000);
    new.put_all(&store);
    part.put_all_anew(&store);
    let versions: Vec<_> = store.usage().iter().map(|tier| tier.versions).collect();
    assert_eq!(versions, [1, 2], "what lacked pages begins anew elsewhere");
    assert!(part.is_readable(&store) && new.is_readable(&store));

    probe(&store, begin, ERROR_SPAN + Duration::from_secs(1));
    assert_eq!(healths(&store), [Health::Up; 2]);
    Content::new(4, 110_000).put_all(&store);
    assert_eq!(store.usage()[0].versions, 2);
}

#[test]
fn where_no_other_tier_is_an_unstable_one_keeps_what_it_has() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let part = Content::new(1, 2 * MIB);
    part.put(&store, 0);
    fail(&store, 0, UNSTABLE_ERRORS);
    let refused = store.put_page(&part.source(), PageIndex::new(1), &part.page(1));
    assert!(matches!(refused, Err(StoreError::NoSpace { .. })), "{refused:?}");
    assert_eq!(part.read(&store, 0, MIB).missing, None);
}

#[test]
fn a_fill_and_a_hold_outlive_their_tier() {
    let fixture = two_disks();
    let store = fixture.open();
    let (filled, held) = (Content::new(1, 2 * MIB), Content::new(2, 110_000));
    held.put_all(&store);
    filled.put(&store, 1);
    let FillStart::Writing(mut fill) =
        store.begin_fill(&filled.source(), PageIndex::new(0), Demand::Load).unwrap()
    else {
        panic!("nobody else fills")
    };
    let hold = store.hold(&held.source()).unwrap().expect("it is complete");
    fail(&store, 0, DOWN_ERRORS);
    assert_eq!(healths(&store), [Health::Down, Health::Up]);
    fill.write(&filled.page(0)).unwrap();
    assert_eq!(fill.commit().unwrap(), FillOutcome::Superseded);
    drop(hold);
    assert_eq!(store.usage()[0].held, ByteCount::ZERO);
    assert_eq!(used(&store), 0);
    filled.put_all(&store);
    held.put_all(&store);
    assert!(filled.is_readable(&store) && held.is_readable(&store));
    assert_eq!(store.usage()[0].versions, 0);
}

#[test]
fn what_returns_is_not_mixed_up_with_what_was_adopted_meanwhile() {
    let fixture = two_disks();
    let store = fixture.open();
    let begin = Instant::now();
    store.begin_life(Incarnation::new(1));
    let content = Content::new(1, 110_000);
    content.put_all(&store);
    fail(&store, 0, DOWN_ERRORS);
    // The same content comes to the other tier under an id that is disowned, and answers to the first id then.
    let mut other = content.clone();
    other.descriptor.file.counter = 2;
    other.put_all(&store);
    store.disown_version(other.file());
    assert!(store.adopt(&content.source()));
    probe(&store, begin, RETURN_PAUSE_MAX);
    assert_eq!(healths(&store), [Health::Up; 2]);
    assert!(content.is_readable(&store) && other.is_readable(&store));
    assert_eq!(store.usage().iter().map(|tier| tier.versions).sum::<u64>(), 1);
    store.drop_version(content.file());
    assert_eq!(used(&store), 0);
}

#[test]
fn errors_that_say_nothing_of_the_disk_bring_no_tier_down() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    for _ in 0..DOWN_ERRORS {
        for errno in [2, 13, 24, 28] {
            store.inner.disk_failed(TierIndex(0), &io::Error::from_raw_os_error(errno));
        }
    }
    assert_eq!(healths(&store), [Health::Up]);
}
