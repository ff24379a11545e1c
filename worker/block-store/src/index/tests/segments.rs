//! Versions that are cut: where their segments go, and who leaves for them.

use super::*;

/// Room for so many MiB and their index files, in segments of 2 MiB.
fn tier(mib: u64) -> TierLimits {
    let limits = limits(TierKind::Disk, mib * MIB + mib * 4096);
    TierLimits { whole_file_max: ByteCount::new(MIB), ..limits }
}

fn index_with(tiers: Vec<TierLimits>, eviction: Eviction) -> Index {
    Index::new(tiers, SEGMENT_PAGES, eviction)
}

fn load(counter: u64, length: u64) -> Wanted {
    Wanted { demand: Demand::Load, ..wanted(counter, length) }
}

fn present(index: &Index, wanted: &Wanted) -> Vec<u32> {
    let pages = u32::try_from(wanted.length.get().div_ceil(PAGE_LENGTH)).unwrap();
    let missing = index.missing(wanted.file, wanted.length, PageRange { first: page(0), count: pages });
    (0..pages).filter(|position| !missing.contains(&page(*position))).collect()
}

#[test]
fn a_version_that_no_tier_takes_whole_is_cut_and_never_held_or_lent() {
    let mut index = index_with(vec![tier(20)], Eviction::Lru);
    let large = wanted(1, 5 * MIB + 7);
    let last = fill(&mut index, &large).unwrap();
    assert_eq!(last.key.unit, UnitId::segment_of(file(1), 2).unwrap());
    let presence = index.presence(file(1)).unwrap();
    assert_eq!((presence.cached, presence.is_complete, presence.is_whole), (large.length, true, false));
    assert_eq!(index.hold(file(1)), HoldDecision::Incomplete);
    assert_eq!((index.can_lend(file(1)), index.lend(file(1))), (false, None));
    index.used_unseen(file(1));
    assert_eq!(index.tier_counts(TierIndex(0)).versions, 3);
    fill(&mut index, &wanted(2, MIB)).unwrap();
    assert!(index.presence(file(2)).unwrap().is_whole);
    assert!(index.can_lend(file(2)) && index.lend(file(2)).is_some());
    assert_eq!(
        index.list(None, 10).iter().map(|version| version.file).collect::<Vec<_>>(),
        [file(1), file(2)]
    );
    assert_eq!(index.reserve(&large, page(6)), Reservation::NoSuchPage);
    check(&mut index);
}

#[test]
fn segments_lie_on_any_tier_that_has_room() {
    let mut index = index_with(vec![tier(4), tier(9)], Eviction::Lru);
    let large = wanted(1, 8 * MIB);
    fill(&mut index, &large).unwrap();
    let tiers = |index: &Index| [0, 1].map(|position| index.tier_counts(TierIndex(position)).versions);
    assert_eq!((tiers(&index), present(&index, &large).len()), ([2, 2], 8));
    let all = PageRange { first: page(0), count: 8 };
    assert_eq!(index.kind_of(file(1), large.length, all), Some(TierKind::Disk));
    check(&mut index);
}

#[test]
fn a_load_lets_others_leave_and_none_of_its_own_version() {
    for eviction in Eviction::ALL {
        let mut index = index_with(vec![tier(12)], eviction);
        for counter in 1..=12 {
            fill(&mut index, &wanted(counter, MIB)).unwrap();
        }
        // Whatever is here was used again and again.
        for _ in 0..4 {
            for counter in 1..=12 {
                let HoldDecision::Granted(held) = index.hold(file(counter)) else { panic!("it is complete") };
                index.release_rested(held.location.key);
            }
        }
        let large = load(20, 10 * MIB);
        assert!(fill(&mut index, &large).is_some(), "{eviction}");
        assert_eq!(present(&index, &large).len(), 10, "{eviction}");
        check(&mut index);
    }
}

#[test]
fn a_load_that_cannot_fit_ends_where_there_is_no_more_room_and_a_read_goes_on() {
    for eviction in Eviction::ALL {
        let mut index = index_with(vec![tier(6)], eviction);
        let large = load(1, 10 * MIB);
        assert_eq!(fill(&mut index, &large), None, "{eviction}");
        assert_eq!(present(&index, &large), [0, 1, 2, 3, 4, 5], "{eviction}");
        check(&mut index);
    }
    let mut index = index_with(vec![tier(6)], Eviction::Lru);
    let large = wanted(1, 10 * MIB);
    fill(&mut index, &large).unwrap();
    assert_eq!(present(&index, &large), [4, 5, 6, 7, 8, 9], "segments leave one by one");
    check(&mut index);
}

#[test]
fn a_tier_that_is_smaller_than_a_segment_takes_a_part_of_it_where_no_other_takes_all() {
    let small = TierLimits { whole_file_max: ByteCount::ZERO, ..limits(TierKind::Disk, MIB + 8192) };
    for eviction in Eviction::ALL {
        let mut index = index_with(vec![small], eviction);
        let large = wanted(1, 4 * MIB);
        assert_eq!(fill(&mut index, &large), None);
        assert_eq!(present(&index, &large), [0], "{eviction}");
        check(&mut index);
        let mut index = index_with(vec![small, tier(6)], eviction);
        fill(&mut index, &large).unwrap();
        assert_eq!(index.tier_counts(TierIndex(0)).versions, 0, "{eviction}");
        check(&mut index);
    }
}

/// The second page of so many.
fn second_of(pages: u32) -> PageSet {
    let mut present = PageSet::new(pages);
    present.insert(page(1));
    present
}

#[test]
fn what_was_cut_stays_cut_and_what_was_not_stays_whole() {
    let whole = Restored {
        location: Location {
            key: GenerationKey { unit: UnitId::whole(file(1)), generation: Generation::new(7) },
            tier: TierIndex(0),
        },
        identity: IdentityDigest::from_number(0),
        length: ByteCount::new(4 * MIB),
        version_length: ByteCount::new(4 * MIB),
        index_charge: 4096,
        records: 64,
        present: second_of(4),
        allocated: 0,
        changed: time(1),
        is_confirmed: true,
    };
    let segment = |number, generation, identity| Restored {
        location: Location {
            key: GenerationKey {
                unit: UnitId::segment_of(file(1), number).unwrap(),
                generation: Generation::new(generation),
            },
            tier: TierIndex(0),
        },
        identity: IdentityDigest::from_number(identity),
        length: ByteCount::new(2 * MIB),
        present: second_of(2),
        ..whole.clone()
    };
    let mut index = index_with(vec![tier(20)], Eviction::Lru);
    assert!(index.restore(&whole));
    assert!(!index.restore(&segment(0, 8, 0)), "it is whole");
    let Reservation::Granted(slot) = index.reserve(&wanted(1, 4 * MIB), page(3)) else {
        panic!("there is room")
    };
    assert_eq!((slot.location, slot.page), (whole.location, page(3)));
    check(&mut index);

    let mut index = index_of(vec![limits(TierKind::Disk, 20 * MIB)]);
    assert!(index.restore(&segment(0, 8, 0)) && index.restore(&segment(1, 9, 0)));
    assert!(!index.restore(&whole), "it is cut");
    assert!(!index.restore(&segment(1, 10, 0)), "it is here");
    assert_eq!(present(&index, &wanted(1, 4 * MIB)), [1, 3]);
    assert_eq!(index.place(file(1), ByteCount::new(4 * MIB), page(2)).unwrap().unit.segment(), Some(1));
    let left = index.detach(file(1), Reason::Freed);
    assert_eq!(left.len(), 2);
    left.into_iter().for_each(|action| delete(&mut index, action));
    assert_eq!(index.place(file(1), ByteCount::new(4 * MIB), page(2)).unwrap().unit.segment(), None);
    check(&mut index);
}
