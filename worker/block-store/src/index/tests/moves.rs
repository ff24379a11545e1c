//! Moves: what begins, what calls them off, and that nothing goes to and fro.

use super::*;

/// What can happen in a walk beside the rest.
#[derive(Clone, Debug)]
pub(super) enum MoveStep {
    Begin { counter: u64, page: u32, tier: usize },
    Next,
    End { which: usize, is_good: bool },
    TierGoes { tier: usize },
    TierComes { tier: usize },
}

pub(super) fn move_step() -> impl Strategy<Value = MoveStep> {
    prop_oneof![
        3 => (0..9_u64, 0..8_u32, 0..2_usize)
            .prop_map(|(counter, page, tier)| MoveStep::Begin { counter, page, tier }),
        2 => Just(MoveStep::Next),
        4 => (0..3_usize, prop::bool::weighted(0.9)).prop_map(|(which, is_good)| MoveStep::End { which, is_good }),
        1 => (0..2_usize).prop_map(|tier| MoveStep::TierGoes { tier }),
        2 => (0..2_usize).prop_map(|tier| MoveStep::TierComes { tier }),
    ]
}

impl Shell {
    pub(super) fn walk_moves(&mut self, index: &mut Index, step: &MoveStep, tick: i64) {
        match *step {
            MoveStep::Begin { counter, page: position, tier } => {
                let place = place_of(index, counter, position);
                let begun = place.and_then(|place| index.begin_move(place.unit, TierIndex(tier), 0));
                self.moves.extend(begun);
            }
            MoveStep::Next => match index.next_move() {
                NextMove::Copy(of) => self.moves.push(of),
                NextMove::First(actions) => self.asked(actions),
                NextMove::Nothing => {}
            },
            MoveStep::End { which, is_good } if which < self.moves.len() => {
                self.end_move(index, which, is_good.then_some(time(tick)));
            }
            MoveStep::TierGoes { tier } => {
                index.set_open(TierIndex(tier), false);
                let (actions, _) = index.empty(TierIndex(tier), None, usize::MAX);
                self.asked(actions);
            }
            MoveStep::TierComes { tier } => index.set_open(TierIndex(tier), true),
            MoveStep::End { .. } => {}
        }
    }

    /// Ends a copy, which was made at a time or came to nothing.
    pub(super) fn end_move(&mut self, index: &mut Index, which: usize, copied: Option<Timestamp>) {
        let of = self.moves.swap_remove(which);
        let unit = of.source.key.unit;
        let before = index.units.get(&unit).map(|entry| (entry.generation(), entry.present().clone()));
        let copied = copied.map(|changed| Copied { records: 64, changed });
        let (is_moved, action) = index.end_move(&of, copied);
        if is_moved {
            assert!(!self.holds.contains(&of.source.key), "a held version was moved");
            assert!(!self.lends.contains(&of.source.key), "a lent version was moved");
            assert!(self.fills.iter().all(|slot| slot.location != of.source), "it was being filled");
            assert_eq!(before, Some((of.source.key.generation, of.pages.clone())), "it changed meanwhile");
            let now = index.units.get(&unit).expect("it is here");
            assert_eq!((now.location(unit), now.present()), (of.target, &of.pages));
        } else {
            let after = index.units.get(&unit).map(|entry| (entry.generation(), entry.present().clone()));
            assert_eq!(before, after, "a move that came to nothing changes nothing");
        }
        self.asked(action);
    }
}

const RAM: TierIndex = TierIndex(0);
const DISK: TierIndex = TierIndex(1);
const COPIED: Copied = Copied { records: 64, changed: Timestamp::from_nanos(7) };

/// Memory of 8 MiB and a disk of 64 MiB, with somebody who moves.
fn watched() -> Index {
    let mut index = index_of(vec![limits(TierKind::Ram, 8 * MIB), limits(TierKind::Disk, 64 * MIB)]);
    index.watch_moves();
    index
}

fn unit(counter: u64) -> UnitId {
    UnitId::whole(file(counter))
}

fn tier_of(index: &Index, counter: u64) -> Option<TierIndex> {
    index.units.get(&unit(counter)).map(Entry::tier)
}

fn fill_all(index: &mut Index, counters: impl IntoIterator<Item = u64>, length: u64) {
    for counter in counters {
        fill(index, &wanted(counter, length)).unwrap();
    }
}

/// Makes the copy and deletes what is to be deleted. Whether it took the unit's place.
fn make(index: &mut Index, of: &Move) -> bool {
    check(index);
    let (is_moved, action) = index.end_move(of, Some(COPIED));
    check(index);
    action.into_iter().for_each(|action| delete(index, action));
    check(index);
    is_moved
}

/// Moves until there is nothing to move. How many were moved up and down.
fn move_all(index: &mut Index) -> (u32, u32) {
    let (mut up, mut down) = (0, 0);
    loop {
        match index.next_move() {
            NextMove::Copy(of) => {
                assert!(make(index, &of), "nobody is in the way");
                if of.is_up { up += 1 } else { down += 1 }
            }
            NextMove::First(actions) => actions.into_iter().for_each(|action| delete(index, action)),
            NextMove::Nothing => return (up, down),
        }
    }
}

fn touch(index: &mut Index, counter: u64) {
    index.touch(unit(counter), page(0));
}

#[test]
fn a_copy_takes_the_place_of_the_unit_and_its_room_is_given_back() {
    let mut index = watched();
    let before = fill(&mut index, &wanted(1, 3 * MIB + 5)).unwrap();
    let in_memory = index.tier_counts(RAM).used;
    let of = index.begin_move(unit(1), DISK, 0).unwrap();
    assert_eq!((of.source, of.target.tier, of.is_up), (before, DISK, false));
    assert!(of.target.key.generation > before.key.generation && of.pages.is_full());
    assert_eq!(index.tier_counts(RAM).used, in_memory, "both take room");
    assert!(index.tier_counts(DISK).used >= 3 * MIB + 4096);
    assert_eq!(index.begin_move(unit(1), DISK, 0), None, "one copy at a time");
    assert!(index.is_current(before.key) && index.move_goes_on(&of));
    let (is_moved, action) = index.end_move(&of, Some(COPIED));
    assert_eq!((is_moved, action), (true, Some(Action::Remove(before, Reason::Moved))));
    assert!(index.is_current(of.target.key) && index.is_elsewhere(before.key));
    check(&mut index);
    index.removed(before.key);
    assert_eq!(index.tier_counts(RAM).used, 0);
    assert!(index.presence(file(1)).unwrap().is_complete);
    let pages = PageRange { first: page(0), count: 4 };
    let found = index.lookup(unit(1), pages).unwrap();
    assert_eq!((found.location, found.records, found.readable, found.trusted), (of.target, 64, 4, None));
    assert_eq!(index.end_move(&of, None), (false, None), "it ends once");
    check(&mut index);
}

#[test]
fn a_file_of_one_page_that_was_copied_at_once_is_trusted() {
    let mut index = watched();
    fill(&mut index, &wanted(1, 1000)).unwrap();
    let of = index.begin_move(unit(1), DISK, 0).unwrap();
    assert!(make(&mut index, &of));
    let pages = PageRange { first: page(0), count: 1 };
    assert_eq!(index.lookup(unit(1), pages).unwrap().trusted, Some(COPIED.changed));
}

#[test]
fn whatever_happens_to_the_unit_meanwhile_calls_the_move_off() {
    type Event = (&'static str, fn(&mut Index, Location));
    let events: [Event; 8] = [
        ("held", |index, _| {
            index.hold(file(1));
        }),
        ("held and released", |index, at| {
            index.hold(file(1));
            index.release(at.key);
        }),
        ("lent", |index, _| {
            index.lend(file(1));
        }),
        ("lent and given back", |index, at| {
            index.lend(file(1));
            index.give_back(at.key);
        }),
        ("damaged", |index, at| {
            let actions = index.lose_page(at.key, page(1));
            actions.into_iter().for_each(|action| delete(index, action));
        }),
        ("freed", |index, _| {
            let actions = index.detach(file(1), Reason::Freed);
            actions.into_iter().for_each(|action| delete(index, action));
        }),
        ("replaced", |index, _| {
            let actions = index.refuse_other(file(1), IdentityDigest::from_number(9));
            actions.into_iter().for_each(|action| delete(index, action));
        }),
        ("dropped and stored again", |index, _| {
            let actions = index.detach(file(1), Reason::Freed);
            actions.into_iter().for_each(|action| delete(index, action));
            fill(index, &wanted(1, 3 * MIB)).unwrap();
        }),
    ];
    for (name, event) in events {
        for is_copied in [false, true] {
            let mut index = watched();
            let at = fill(&mut index, &wanted(1, 3 * MIB)).unwrap();
            let of = index.begin_move(unit(1), DISK, 0).unwrap();
            event(&mut index, at);
            check(&mut index);
            assert!(!index.move_goes_on(&of), "{name}");
            let (is_moved, action) = index.end_move(&of, is_copied.then_some(COPIED));
            assert_eq!(
                (is_moved, action),
                (false, Some(Action::Remove(of.target, Reason::CalledOff))),
                "{name}"
            );
            check(&mut index);
            index.removed(of.target.key);
            check(&mut index);
            assert_eq!(index.tier_counts(DISK).used, 0, "{name}: the copy's room is free");
        }
    }
}

#[test]
fn a_fill_of_a_partly_cached_unit_calls_its_move_off_and_without_one_its_pages_are_moved() {
    for is_filled in [true, false] {
        let mut index = watched();
        let Reservation::Granted(slot) = index.reserve(&wanted(1, 3 * MIB), page(1)) else { panic!("room") };
        index.created(slot.location.key, 64);
        index.commit(slot.location.key, page(1), time(1));
        assert_eq!(index.begin_move(unit(1), DISK, 0), None, "the rest of it may be coming");
        (0..2000).for_each(|_| touch(&mut index, 2));
        let of = index.begin_move(unit(1), DISK, 0).unwrap();
        if is_filled {
            assert!(matches!(index.reserve(&wanted(1, 3 * MIB), page(0)), Reservation::Granted(_)));
        }
        assert_eq!(make(&mut index, &of), !is_filled);
        let found = index.presence(file(1)).unwrap();
        assert_eq!((found.cached.get(), found.is_complete), (MIB, false));
    }
}

#[test]
fn a_tier_that_goes_down_calls_off_what_is_copied_to_it_even_if_it_is_soon_back() {
    let mut index = watched();
    fill(&mut index, &wanted(1, 3 * MIB)).unwrap();
    let of = index.begin_move(unit(1), DISK, 0).unwrap();
    index.set_open(DISK, false);
    assert!(!index.move_goes_on(&of));
    index.empty(DISK, None, 100);
    index.set_open(DISK, true);
    assert!(!make(&mut index, &of));
    assert_eq!(tier_of(&index, 1), Some(RAM));
}

#[test]
fn what_is_held_or_lent_is_not_moved() {
    let mut index = watched();
    fill_all(&mut index, 1..=2, 3 * MIB + 800_000);
    let HoldDecision::Granted(held) = index.hold(file(1)) else { panic!("it is complete") };
    let lent = index.lend(file(2)).unwrap();
    assert_eq!(index.next_move(), NextMove::Nothing, "both are in use");
    index.release(held.location.key);
    assert_eq!(index.next_move(), NextMove::Nothing, "the next to leave is lent");
    index.give_back(lent.location.key);
    assert!(matches!(index.next_move(), NextMove::Copy(of) if of.source.key == held.location.key));
}

#[test]
fn memory_that_fills_up_is_relieved_in_the_order_of_eviction_until_an_eighth_is_free() {
    let mut index = watched();
    fill_all(&mut index, 1..=7, MIB);
    assert_eq!(move_all(&mut index), (0, 0), "an eighth is free");
    fill(&mut index, &wanted(8, 900_000)).unwrap();
    touch(&mut index, 1);
    let free = |index: &Index| 8 * MIB - index.tier_counts(RAM).used;
    assert!(free(&index) < MIB / 2);
    assert_eq!(move_all(&mut index), (0, 1));
    assert!(free(&index) >= MIB && tier_of(&index, 2) == Some(DISK) && tier_of(&index, 1) == Some(RAM));
    assert_eq!(move_all(&mut index), (0, 0));
}

#[test]
fn demotion_takes_only_room_that_a_disk_has_left_over() {
    let mut index = index_of(vec![limits(TierKind::Ram, 8 * MIB), limits(TierKind::Disk, 16 * MIB)]);
    index.watch_moves();
    fill_all(&mut index, 1..=22, MIB);
    fill(&mut index, &wanted(23, 900_000)).unwrap();
    assert_eq!((tier_of(&index, 23), move_all(&mut index)), (Some(RAM), (0, 0)));
    assert!((1..=23).all(|counter| index.presence(file(counter)).is_some()), "and nobody leaves for it");
}

/// Memory full of `count` versions of a MiB from 100 on, and a disk.
fn with_full_memory(count: u64) -> Index {
    let mut index = watched();
    fill_all(&mut index, 100..100 + count, MIB);
    index
}

#[test]
fn what_is_visited_again_on_a_disk_goes_to_memory_while_that_has_ample_room() {
    let mut index = with_full_memory(7);
    fill(&mut index, &wanted(1, MIB)).unwrap();
    assert_eq!((tier_of(&index, 1), move_all(&mut index)), (Some(DISK), (0, 0)));
    touch(&mut index, 1);
    assert_eq!(move_all(&mut index), (0, 0), "the visit that it came with goes on");
    fill_all(&mut index, 2..=4, MIB);
    touch(&mut index, 1);
    assert_eq!(move_all(&mut index), (0, 0), "there is no ample room");
    for counter in 100..102 {
        let actions = index.detach(file(counter), Reason::Freed);
        actions.into_iter().for_each(|action| delete(&mut index, action));
    }
    touch(&mut index, 1);
    assert_eq!((move_all(&mut index), tier_of(&index, 1)), ((1, 0), Some(RAM)));
    assert_eq!(move_all(&mut index), (0, 0), "and nothing goes back");
}

#[test]
fn what_is_found_on_a_disk_at_the_start_is_visited_again_by_its_first_visit() {
    let mut index = two_tiers();
    fill_all(&mut index, 1..=9, MIB);
    assert_eq!(tier_of(&index, 8), Some(DISK));
    (1..=7).for_each(|counter| {
        let actions = index.detach(file(counter), Reason::Freed);
        actions.into_iter().for_each(|action| delete(&mut index, action));
    });
    index.watch_moves();
    touch(&mut index, 8);
    assert_eq!(
        (move_all(&mut index), tier_of(&index, 8), tier_of(&index, 9)),
        ((1, 0), Some(RAM), Some(DISK))
    );
}

#[test]
fn what_is_read_all_the_time_takes_the_place_of_what_nobody_reads() {
    let mut index = with_full_memory(7);
    fill_all(&mut index, 1..=3, MIB);
    let mut moved = (0, 0);
    for round in 0..100 {
        for counter in 1..=3 {
            touch(&mut index, counter);
        }
        moved = move_all(&mut index);
        if moved != (0, 0) {
            assert!(round >= 2, "three visits are seen first");
            break;
        }
    }
    assert!(moved.0 > 0 && moved.1 > 0, "{moved:?}");
    for _ in 0..200 {
        (1..=3).for_each(|counter| touch(&mut index, counter));
        move_all(&mut index);
    }
    assert!((1..=3).all(|counter| tier_of(&index, counter) == Some(RAM)));
    assert!((100..107).all(|counter| index.presence(file(counter)).is_some()), "nothing was lost for it");
    let on_disk = (100..107).filter(|counter| tier_of(&index, *counter) == Some(DISK)).count();
    assert_eq!(on_disk, 3);
    for _ in 0..20 {
        (1..=3).for_each(|counter| touch(&mut index, counter));
        assert_eq!(move_all(&mut index), (0, 0), "what was moved stays");
    }
}

#[test]
fn where_all_is_full_the_coldest_of_all_leaves_for_a_promotion() {
    let mut index = index_of(vec![limits(TierKind::Ram, 4 * MIB), limits(TierKind::Disk, 4 * MIB)]);
    index.watch_moves();
    fill_all(&mut index, 1..=6, MIB);
    assert_eq!((tier_of(&index, 3), tier_of(&index, 4)), (Some(RAM), Some(DISK)));
    // 4 is colder than anything in memory, the others there are read.
    (1..=3).for_each(|counter| touch(&mut index, counter));
    for _ in 0..200 {
        [5, 6].into_iter().for_each(|counter| touch(&mut index, counter));
        move_all(&mut index);
    }
    assert!([5, 6].into_iter().all(|counter| tier_of(&index, counter) == Some(RAM)));
    assert!(index.presence(file(4)).is_none(), "it was colder than what went down");
    assert!([1, 2, 3, 5, 6].into_iter().all(|counter| index.presence(file(counter)).is_some()));
}

#[test]
fn random_passes_over_what_fits_the_tiers_move_nothing_once_all_is_there() {
    for eviction in Eviction::ALL {
        let tiers = vec![limits(TierKind::Ram, 32 * MIB), limits(TierKind::Disk, 128 * MIB)];
        let mut index = Index::new(tiers, SEGMENT_PAGES, eviction);
        index.watch_moves();
        let (mut order, mut draws) = ((0..120).collect::<Vec<u64>>(), 1_u64);
        for pass in 0..10 {
            (1..order.len()).rev().for_each(|last| {
                draws = draws.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                order.swap(last, usize::try_from(draws >> 33).unwrap() % (last + 1));
            });
            let mut moved = 0;
            for counter in &order {
                match index.presence(file(*counter)) {
                    Some(_) => touch(&mut index, *counter),
                    None => {
                        assert_eq!(pass, 0, "{eviction}: {counter} was lost");
                        fill(&mut index, &wanted(*counter, MIB)).unwrap();
                    }
                }
                let (up, down) = move_all(&mut index);
                moved += up + down;
            }
            assert!(pass == 0 || moved == 0, "{eviction}: {moved} in pass {pass}");
        }
    }
}

#[test]
fn a_promotion_that_finds_no_way_gives_up_and_waits_for_the_next_visit() {
    let mut index = with_full_memory(7);
    fill(&mut index, &wanted(1, MIB)).unwrap();
    fill(&mut index, &wanted(2, MIB)).unwrap();
    let cannot = |index: &mut Index, counter| {
        let entry = index.units.get_mut(&unit(counter)).unwrap();
        entry.set_stays();
    };
    (100..107).for_each(|counter| cannot(&mut index, counter));
    for _ in 0..20 {
        (1..=2).for_each(|counter| touch(&mut index, counter));
        assert_eq!(move_all(&mut index), (0, 0), "what cannot be moved stays");
    }
}
