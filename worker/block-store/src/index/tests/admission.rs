//! Where the policy lets few versions in: what is declined, what insists, and that whoever is let in gets all its room.

use super::*;

/// A tier that is full of versions that are all read once in each of three passes: 1 to 4, of 2 MiB each.
fn full() -> Index {
    let mut index =
        Index::new(vec![limits(TierKind::Disk, 4 * 2 * MIB + 4 * 4096)], SEGMENT_PAGES, Eviction::Epoch);
    for counter in 1..=4 {
        fill(&mut index, &wanted(counter, 2 * MIB)).unwrap();
    }
    for counter in (1..=4).chain(1..=4) {
        open_and_close(&mut index, counter);
    }
    check(&mut index);
    index
}

fn open_and_close(index: &mut Index, counter: u64) {
    let HoldDecision::Granted(held) = index.hold(file(counter)) else { panic!("{counter} is complete") };
    index.release(held.location.key);
}

fn cached(index: &Index, counters: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    counters.filter(|counter| index.presence(file(*counter)).is_some()).collect()
}

#[test]
fn a_read_is_declined_where_a_load_is_stored() {
    let mut index = full();
    let read = wanted(5, 2 * MIB);
    assert_eq!(index.reserve(&read, page(0)), Reservation::Declined);
    assert_eq!(cached(&index, 1..=5), [1, 2, 3, 4], "nobody left for it");
    let load = Wanted { demand: Demand::Load, ..read };
    assert!(fill(&mut index, &load).is_some());
    assert_eq!(cached(&index, 1..=5), [2, 3, 4, 5], "the one that waited longest left");
    check(&mut index);
}

#[test]
fn a_part_that_is_missing_is_declined_as_a_new_version_is() {
    let mut index = full();
    let HoldDecision::Granted(held) = index.hold(file(1)) else { panic!("it is complete") };
    index.release(held.location.key);
    for action in index.lose_page(held.location.key, page(1)) {
        delete(&mut index, action);
    }
    // Its room is still charged, so it comes back to its place.
    assert!(matches!(index.reserve(&wanted(1, 2 * MIB), page(1)), Reservation::Granted(_)));
    assert_eq!(index.commit(held.location.key, page(1), time(2)), Committed::Published);
    check(&mut index);
}

#[test]
fn of_two_that_come_at_once_one_gets_all_the_room_and_the_other_none() {
    let mut index = Index::new(vec![limits(TierKind::Disk, 3 * MIB + 8192)], SEGMENT_PAGES, Eviction::Epoch);
    let begin = |index: &mut Index, counter: u64, position: u32| {
        let answer = index.reserve(&wanted(counter, 2 * MIB), page(position));
        if let Reservation::Granted(slot) = &answer {
            if slot.records.is_none() {
                index.created(slot.location.key, 64);
            }
            assert_eq!(index.commit(slot.location.key, page(position), time(1)), Committed::Published);
        }
        answer
    };
    assert!(matches!(begin(&mut index, 1, 0), Reservation::Granted(_)));
    assert_eq!(begin(&mut index, 2, 0), Reservation::Declined, "the second half of 1 is to come");
    assert!(matches!(begin(&mut index, 1, 1), Reservation::Granted(_)));
    assert!(index.presence(file(1)).unwrap().is_complete);
    check(&mut index);
}

#[test]
fn room_that_was_promised_and_is_never_asked_for_is_given_to_others() {
    let mut index = Index::new(vec![limits(TierKind::Disk, 3 * MIB + 8192)], SEGMENT_PAGES, Eviction::Epoch);
    let Reservation::Granted(slot) = index.reserve(&wanted(1, 3 * MIB), page(0)) else { panic!("it fits") };
    index.created(slot.location.key, 64);
    assert_eq!(index.commit(slot.location.key, page(0), time(1)), Committed::Published);
    let other = wanted(2, MIB);
    let declined =
        (0..).take_while(|_| index.reserve(&other, page(0)) == Reservation::Declined).count() as u64;
    assert!(0 < declined && declined <= crate::limits::PROMISE_PATIENCE, "{declined}");
    check(&mut index);
}
