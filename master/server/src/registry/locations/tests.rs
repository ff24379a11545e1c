//! Reports, lives that end and rows that are swept, also beside a simple model.

use std::collections::BTreeMap;

use forebay_types::Incarnation;

use super::*;

fn file(counter: u64) -> FileId {
    FileId { incarnation: Incarnation::new(1), counter }
}

fn part(cached: u64) -> Holding {
    Holding { cached: ByteCount::new(cached), complete: false }
}

const NOTHING: Holding = Holding { cached: ByteCount::ZERO, complete: false };
const ONE: WorkerId = WorkerId::new(1);
const TWO: WorkerId = WorkerId::new(2);

fn rows(locations: &Locations) -> usize {
    let parts = locations.parts.iter();
    parts.map(|part| part.by_one.len() + part.by_several.values().map(Vec::len).sum::<usize>()).sum()
}

fn capacity(locations: &Locations) -> usize {
    locations.parts.iter().map(|part| part.by_one.capacity()).sum()
}

fn sweep_all(locations: &mut Locations) {
    while locations.sweep() {}
}

#[test]
fn a_version_that_one_worker_holds_takes_a_row_of_32_bytes() {
    assert_eq!(size_of::<(FileId, Row)>(), 32);
}

#[test]
fn of_a_version_that_several_hold_each_is_told_until_it_holds_it_no_more() {
    let mut locations = Locations::default();
    locations.record(TWO, file(1), part(2));
    locations.record(ONE, file(1), part(1));
    assert_eq!(locations.of(file(1)), [(ONE, part(1)), (TWO, part(2))]);
    locations.record(ONE, file(1), part(3));
    assert_eq!(locations.cached(file(1)), ByteCount::new(3));
    locations.record(TWO, file(1), NOTHING);
    assert_eq!(locations.of(file(1)), [(ONE, part(3))]);
    assert!(locations.holds_any(ONE) && !locations.holds_any(TWO));
    locations.record(ONE, file(1), NOTHING);
    assert!(locations.of(file(1)).is_empty() && !locations.holds_any(ONE));
    assert_eq!(rows(&locations), 0);
}

#[test]
fn a_length_that_no_file_has_is_kept_as_far_as_it_fits() {
    let mut locations = Locations::default();
    locations.record(ONE, file(1), Holding { cached: ByteCount::new(u64::MAX), complete: true });
    let kept = Holding { cached: ByteCount::new(u64::MAX >> 1), complete: true };
    assert_eq!(locations.of(file(1)), [(ONE, kept)]);
}

#[test]
fn what_is_void_does_not_count_from_that_moment_and_its_memory_comes_back_with_the_sweeps() {
    let mut locations = Locations::default();
    for counter in 0..100_000 {
        locations.record(ONE, file(counter), part(1));
    }
    locations.record(TWO, file(7), part(2));
    locations.record(TWO, file(200_000), part(2));
    let full = capacity(&locations);
    locations.forget_workers(&BTreeSet::from([ONE]));
    assert_eq!(locations.of(file(7)), [(TWO, part(2))]);
    assert!(locations.of(file(8)).is_empty() && locations.holders(file(8)).next().is_none());
    assert!(!locations.holds_any(ONE));
    assert_eq!(rows(&locations), 100_002, "nothing of it was looked at");
    sweep_all(&mut locations);
    assert_eq!(rows(&locations), 2);
    assert!(full > 100_000 && capacity(&locations) < full / 10);
    assert_eq!(locations.of(file(7)), [(TWO, part(2))]);
    assert!(!locations.sweep(), "nothing is left to look for");
}

#[test]
fn a_worker_that_comes_back_takes_the_rows_of_its_last_life() {
    let mut locations = Locations::default();
    locations.record(ONE, file(1), part(1));
    locations.record(ONE, file(2), part(1));
    locations.record(TWO, file(2), part(2));
    locations.forget_workers(&BTreeSet::from([ONE]));
    locations.record(ONE, file(1), part(3));
    locations.record(ONE, file(2), part(4));
    assert_eq!(rows(&locations), 3);
    assert_eq!(locations.of(file(1)), [(ONE, part(3))]);
    assert_eq!(locations.of(file(2)), [(ONE, part(4)), (TWO, part(2))]);
    sweep_all(&mut locations);
    assert_eq!(rows(&locations), 3);
}

#[test]
fn parts_fill_about_equally_and_not_all_in_the_same_moment() {
    for step in [1, 2, 3, 1000] {
        let mut counts = vec![0_usize; PARTS];
        (0..1000 * PARTS as u64).for_each(|number| counts[part_of(file(number * step))] += 1);
        let (least, most) = (counts.iter().min(), counts.iter().max());
        assert!(least > Some(&800) && most < Some(&1200), "{step}: {least:?} to {most:?}");
        assert!(least < Some(&950) && most > Some(&1050), "{step}: {least:?} to {most:?}");
    }
}

#[test]
fn after_any_reports_and_ends_of_lives_it_tells_what_a_simple_model_tells() {
    let (workers, files) = (5, 40);
    for seed in 0..20_u64 {
        let mut locations = Locations::default();
        let mut model: BTreeMap<(u64, WorkerId), Holding> = BTreeMap::new();
        let mut random = seed;
        for _ in 0..2000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let of = |shift: u32, most: u64| (random >> shift) % most;
            let worker = WorkerId::new(1 + u32::try_from(of(20, workers)).expect("small"));
            let counter = of(30, files);
            match of(40, 20) {
                0 => {
                    locations.forget_workers(&BTreeSet::from([worker]));
                    model.retain(|(_, of), _| *of != worker);
                }
                1 | 2 => drop(locations.sweep()),
                _ => {
                    let holding = Holding { cached: ByteCount::new(of(50, 3)), complete: of(55, 2) == 1 };
                    locations.record(worker, file(counter), holding);
                    if holding == NOTHING {
                        model.remove(&(counter, worker));
                    } else {
                        model.insert((counter, worker), holding);
                    }
                }
            }
            let expected = model.iter().filter(|((of, _), _)| *of == counter);
            let expected: Vec<_> = expected.map(|((_, worker), holding)| (*worker, *holding)).collect();
            assert_eq!(locations.of(file(counter)), expected, "seed {seed}");
            let holds_any = model.keys().any(|(_, of)| *of == worker);
            assert_eq!(locations.holds_any(worker), holds_any, "seed {seed}");
        }
        sweep_all(&mut locations);
        assert_eq!(rows(&locations), model.len(), "seed {seed}");
    }
}
