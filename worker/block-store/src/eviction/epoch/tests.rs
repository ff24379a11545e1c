//! The policy by itself: passes over more than there is room for, and what ends them.

use forebay_types::{FileId, Incarnation};

use super::*;

const MIB: u64 = 1 << 20;
const STORED: u64 = 50;
const FILES: u64 = 100;

fn unit(counter: u64) -> UnitId {
    UnitId::whole(FileId { incarnation: Incarnation::new(1), counter })
}

fn newcomer(counter: u64) -> Newcomer {
    Newcomer { unit: unit(counter), length: ByteCount::new(MIB), page: PageIndex::new(0) }
}

/// Files in an order of their own for each pass: a step that is prime to their number.
fn pass(number: u64) -> impl Iterator<Item = u64> {
    const STEPS: [u64; 5] = [37, 61, 83, 11, 97];
    let step = STEPS[usize::try_from(number % 5).unwrap()];
    (0..FILES).map(move |position| (position * step + number * 29) % FILES)
}

/// One reading, as an open and a close. Who left for it.
fn read(epoch: &mut Epoch, counter: u64) -> Option<UnitId> {
    if epoch.known.contains_key(&unit(counter)) {
        epoch.park(unit(counter));
        epoch.touch(unit(counter), PageIndex::new(0));
        epoch.unpark(unit(counter));
        return None;
    }
    let mut left = None;
    if epoch.known.len() as u64 == STORED {
        left = epoch.victim_for(&newcomer(counter));
        let Some(victim) = left else {
            epoch.declined(&newcomer(counter));
            return None;
        };
        epoch.remove(victim);
    }
    epoch.insert(unit(counter), ByteCount::new(MIB));
    epoch.unpark(unit(counter));
    left
}

/// A policy after some passes over twice what is stored.
fn after_passes() -> Epoch {
    let mut epoch = Epoch::new(ByteCount::new(STORED * MIB));
    for counter in (0..6).flat_map(pass) {
        assert_eq!(read(&mut epoch, counter), None, "nobody leaves while all are read once a pass");
    }
    epoch
}

#[test]
fn nobody_leaves_in_random_passes_and_a_load_takes_who_waits_longest() {
    let mut epoch = after_passes();
    let first = epoch.victim().unwrap();
    epoch.park(first);
    assert_ne!(epoch.victim(), Some(first), "what is parked is no victim");
    epoch.unpark(first);
    assert_ne!(epoch.victim(), Some(first), "what was parked was used until just now");
}

#[test]
fn who_is_not_read_any_more_leaves_though_all_that_comes_is_new() {
    let mut epoch = after_passes();
    let came: Vec<_> = (1000..1000 + 3 * FILES).map(|counter| read(&mut epoch, counter)).collect();
    let first = came.iter().position(Option::is_some).unwrap() as u64;
    assert!(FILES / 2 < first && first < 2 * FILES, "the first left after {first} others were read");
    assert!(came.iter().flatten().count() as u64 >= STORED, "in the end all have left");
}

#[test]
fn what_is_out_of_use_gives_way_at_once_to_what_is_asked_for_a_second_time() {
    let mut epoch = after_passes();
    let first: usize = pass(0).filter_map(|counter| read(&mut epoch, 1000 + counter)).count();
    assert_eq!(first, 0, "a scan, for all that is known");
    let second: usize = pass(1).filter_map(|counter| read(&mut epoch, 1000 + counter)).count();
    assert_eq!(second as u64, STORED, "the other data set took over");
    for counter in pass(2) {
        assert_eq!(read(&mut epoch, 1000 + counter), None);
    }
    assert!(epoch.known.keys().all(|unit| unit.file().counter >= 1000));
}

#[test]
fn who_is_read_all_the_time_is_let_in_among_those_that_are_read_once_a_pass() {
    let mut epoch = after_passes();
    let mut let_in_after = None;
    for (number, counter) in pass(6).chain(pass(7)).enumerate() {
        read(&mut epoch, counter);
        if number % 5 == 0 && read(&mut epoch, 1000).is_some() {
            let_in_after = Some(number);
            break;
        }
    }
    assert!(let_in_after.is_some_and(|reads| reads < 100), "{let_in_after:?}");
}

#[test]
fn a_sample_of_many_files_measures_how_long_they_wait_and_stays_small() {
    let mut pace = Pace::default();
    let (mut now, files) = (0, 40_000);
    for _ in 0..10 {
        pace.fit(files / 2);
    }
    for number in 0..4_u64 {
        for position in 0..files as u64 {
            now += 1;
            // One order forth and one back: waits from none to two passes.
            let counter = if number % 2 == 0 { position } else { files as u64 - 1 - position };
            pace.visited(unit(counter), now);
        }
    }
    let wait = pace.longest_usual_wait().unwrap() as f64 / files as f64;
    assert!((1.8..2.3).contains(&wait), "{wait} passes");
    assert!(pace.len() < 4 * crate::limits::PACE_SAMPLE, "{} of {files}", pace.len());
}
