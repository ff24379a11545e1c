//! The index against its invariants: random walks of everything that can happen, and the rules one by one.

mod admission;
mod moves;
mod segments;

use std::collections::BTreeSet;

use forebay_types::{FileId, Incarnation, PAGE_LENGTH};
use proptest::prelude::*;

use super::*;
use crate::health::Health;
use crate::page::PageRange;
use crate::settings::TierKind;
use crate::unit::Place;

const MIB: u64 = 1 << 20;
const SEGMENT_PAGES: u32 = 2;

fn limits(kind: TierKind, capacity: u64) -> TierLimits {
    TierLimits {
        kind,
        capacity: ByteCount::new(capacity),
        whole_file_max: ByteCount::new(capacity),
        free_bytes_floor: ByteCount::ZERO,
        free_inodes_floor: 0,
    }
}

fn file(counter: u64) -> FileId {
    FileId { incarnation: Incarnation::new(1), counter }
}

fn wanted(counter: u64, length: u64) -> Wanted {
    Wanted {
        file: file(counter),
        identity: IdentityDigest::from_number(0),
        length: ByteCount::new(length),
        header_length: 1000,
        demand: Demand::Read,
    }
}

fn page(position: u32) -> PageIndex {
    PageIndex::new(position)
}

fn time(tick: i64) -> Timestamp {
    Timestamp::from_nanos(tick)
}

/// Fills all of a version, deleting at once what has to leave. Where its last page lies; `None` when there is no room.
fn fill(index: &mut Index, wanted: &Wanted) -> Option<Location> {
    let pages = u32::try_from(wanted.length.get().div_ceil(PAGE_LENGTH).max(1)).unwrap();
    let mut location = None;
    for position in 0..pages {
        let slot = loop {
            match index.reserve(wanted, page(position)) {
                Reservation::Granted(slot) => break slot,
                Reservation::First(actions) => actions.into_iter().for_each(|action| delete(index, action)),
                _ => return None,
            }
        };
        if slot.records.is_none() {
            index.created(slot.location.key, 64);
        }
        assert_eq!(index.commit(slot.location.key, slot.page, time(1)), Committed::Published);
        location = Some(slot.location);
    }
    location
}

fn delete(index: &mut Index, action: Action) {
    match action {
        Action::Remove(location, _) => index.removed(location.key),
        Action::ClearRecord(location, page, _) => {
            assert_eq!(index.abort(location.key, page), []);
        }
    }
}

/// Everything that must be true at any time.
fn check(index: &mut Index) {
    for (position, tier) in index.tiers.iter_mut().enumerate() {
        let here = |entry: &&Entry| entry.tier() == TierIndex(position);
        let units: Vec<&Entry> = index.units.values().filter(here).collect();
        let detached: Vec<&Entry> = index.detached.values().map(|left| &left.entry).filter(here).collect();
        let copies: Vec<&Entry> = index.moves.under_way().filter(here).collect();
        let sum = |entries: &[&Entry], filter: fn(&Entry) -> bool| -> u64 {
            entries.iter().filter(|entry| filter(entry)).map(|entry| entry.charge()).sum()
        };
        let all: Vec<&Entry> = units.iter().chain(&detached).chain(&copies).copied().collect();
        assert_eq!(tier.used(), sum(&all, |_| true), "each unit is charged once");
        assert!(tier.used() <= tier.limits().capacity.get(), "the quota is kept");
        assert_eq!(tier.held(), sum(&all, |entry| entry.holds() > 0));
        assert_eq!(tier.evictable(), sum(&units, Entry::may_be_evicted));
        assert_eq!(tier.leaving(), sum(&detached, Entry::is_unused));
        let lent = sum(&detached, |entry| entry.lends() > 0);
        assert!(tier.awaited() <= lent, "only what can come back is awaited");
        assert_eq!(tier.units(), all.len() as u64);
        let victim = tier.victim();
        assert_eq!(victim.is_some(), tier.evictable() > 0);
        assert_eq!(victim, tier.victim(), "asked twice the policy says the same");
        let may_leave = |unit| index.units.get(&unit).is_some_and(Entry::may_be_evicted);
        assert!(victim.is_none_or(may_leave), "the policy chooses one that may leave");
        let promised: Vec<UnitId> = tier.promises().units().collect();
        let is_here = |unit| index.units.get(unit).is_some_and(|entry| entry.tier() == TierIndex(position));
        assert!(promised.iter().all(is_here), "room is promised only to units that are here");
    }
    for (unit, entry) in &index.units {
        let is_cut = unit.segment().is_some();
        let has_form = |(other, entry): (UnitId, &Entry)| {
            other.segment().is_some() == is_cut && entry.has_identity(index.units[unit].identity())
        };
        assert!(index.units_of(unit.file()).all(has_form), "a version is cut in one way");
        assert!(!is_cut || (entry.holds() == 0 && entry.lends() == 0), "a segment is never held or lent");
    }
    for entry in index.units.values() {
        assert!(entry.holds() == 0 || (entry.is_complete() && entry.fills() == 0), "held ones are complete");
        assert!(!entry.is_disposable(), "an empty version that nobody fills has left");
        assert_eq!(entry.is_evictable, entry.may_be_evicted());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Reserve { counter: u64, page: u32, demand: Demand },
    EndFill { which: usize, is_good: bool },
    Hold { counter: u64 },
    Release { which: usize },
    Lend { counter: u64 },
    GiveBack { which: usize },
    AwaitNoMore,
    Free { counter: u64 },
    Replace { counter: u64 },
    Touch { counter: u64, page: u32 },
    LosePage { counter: u64, page: u32 },
    Perform { which: usize },
    FreeSpace { tier: usize, bytes: u64 },
    Move(moves::MoveStep),
}

fn step() -> impl Strategy<Value = Step> {
    let counter = || 0..9_u64;
    prop_oneof![
        8 => (counter(), 0..8_u32, prop::sample::select(vec![Demand::Read, Demand::Load]))
            .prop_map(|(counter, page, demand)| Step::Reserve { counter, page, demand }),
        8 => (0..9_usize, prop::bool::weighted(0.9)).prop_map(|(which, is_good)| Step::EndFill { which, is_good }),
        3 => counter().prop_map(|counter| Step::Hold { counter }),
        2 => (0..9_usize).prop_map(|which| Step::Release { which }),
        2 => counter().prop_map(|counter| Step::Lend { counter }),
        2 => (0..9_usize).prop_map(|which| Step::GiveBack { which }),
        1 => Just(Step::AwaitNoMore),
        1 => counter().prop_map(|counter| Step::Free { counter }),
        1 => counter().prop_map(|counter| Step::Replace { counter }),
        2 => (counter(), 0..8_u32).prop_map(|(counter, page)| Step::Touch { counter, page }),
        1 => (counter(), 0..8_u32).prop_map(|(counter, page)| Step::LosePage { counter, page }),
        6 => (0..9_usize).prop_map(|which| Step::Perform { which }),
        1 => (0..2_usize, 0..16 * MIB).prop_map(|(tier, bytes)| Step::FreeSpace { tier, bytes }),
        12 => moves::move_step().prop_map(Step::Move),
    ]
}

/// Length of a version of the walk: small ones, some that are cut, and one longer than both tiers together.
fn length_of(counter: u64) -> u64 {
    const LENGTHS: [u64; 9] = [0, 1, 110_000, MIB, MIB + 1, 2 * MIB, 3 * MIB + 77, 6 * MIB, 20 * MIB];
    LENGTHS[usize::try_from(counter).unwrap()]
}

fn place_of(index: &Index, counter: u64, position: u32) -> Option<Place> {
    index.place(file(counter), ByteCount::new(length_of(counter)), page(position))
}

/// The shell's side: what it was asked to do and has not reported yet.
#[derive(Debug, Default)]
struct Shell {
    fills: Vec<Slot>,
    holds: Vec<GenerationKey>,
    lends: Vec<GenerationKey>,
    moves: Vec<Move>,
    actions: Vec<Action>,
}

impl Shell {
    fn asked(&mut self, actions: impl IntoIterator<Item = Action>) {
        for action in actions {
            if let Action::Remove(location, Reason::Evicted | Reason::Moved) = action {
                assert!(!self.holds.contains(&location.key), "a held version was evicted");
                let is_filled = self.fills.iter().any(|slot| slot.location == location);
                assert!(!is_filled, "a version was evicted while it was being filled");
            }
            if let Action::ClearRecord(location, ..) = action {
                assert!(!self.holds.contains(&location.key), "a page of a held version was cleared");
            }
            self.actions.push(action);
        }
    }

    fn walk(&mut self, index: &mut Index, step: &Step, tick: i64) {
        match *step {
            Step::Reserve { counter, page: position, demand } => {
                let wanted = Wanted { demand, ..wanted(counter, length_of(counter)) };
                match index.reserve(&wanted, page(position)) {
                    Reservation::Granted(slot) => {
                        assert!(!self.holds.contains(&slot.location.key), "a held version would be written");
                        if slot.records.is_none() {
                            index.created(slot.location.key, 64);
                        }
                        self.fills.push(slot);
                    }
                    Reservation::First(actions) => self.asked(actions),
                    Reservation::Wait => assert!(!self.actions.is_empty(), "nobody could end the waiting"),
                    _ => {}
                }
            }
            Step::EndFill { which, is_good } if which < self.fills.len() => {
                self.end_fill(index, which, is_good.then(|| time(tick)));
            }
            Step::Hold { counter } => {
                if let HoldDecision::Granted(held) = index.hold(file(counter)) {
                    self.holds.push(held.location.key);
                }
            }
            Step::Release { which } if which < self.holds.len() => {
                index.release(self.holds.swap_remove(which));
            }
            Step::Lend { counter } => self.lends.extend(index.lend(file(counter)).map(|of| of.location.key)),
            Step::GiveBack { which } if which < self.lends.len() => {
                index.give_back(self.lends.swap_remove(which));
            }
            Step::AwaitNoMore => index.await_no_more(),
            Step::Free { counter } => {
                let action = index.detach(file(counter), Reason::Freed);
                self.asked(action);
            }
            Step::Replace { counter } => {
                let action = index.refuse_other(file(counter), IdentityDigest::from_number(9));
                self.asked(action);
            }
            Step::Touch { counter, page: position } => {
                if let Some(place) = place_of(index, counter, position) {
                    index.touch(place.unit, place.page);
                }
            }
            Step::LosePage { counter, page: position } => {
                if let Some(place) = place_of(index, counter, position)
                    && let Some(entry) = index.units.get(&place.unit)
                {
                    let key = entry.location(place.unit).key;
                    let actions = index.lose_page(key, place.page);
                    self.asked(actions);
                }
            }
            Step::Perform { which } if which < self.actions.len() => match self.actions.swap_remove(which) {
                Action::Remove(location, _) => index.removed(location.key),
                Action::ClearRecord(location, page, _) => {
                    let more = index.abort(location.key, page);
                    self.asked(more);
                }
            },
            Step::FreeSpace { tier, bytes } => {
                index.set_free_space(TierIndex(tier), bytes, Some(bytes / MIB))
            }
            Step::Move(ref step) => self.walk_moves(index, step, tick),
            Step::EndFill { .. } | Step::Release { .. } | Step::GiveBack { .. } | Step::Perform { .. } => {}
        }
    }

    /// Commits a fill at a time, or aborts it.
    fn end_fill(&mut self, index: &mut Index, which: usize, written: Option<Timestamp>) {
        let slot = self.fills.swap_remove(which);
        let actions = match written.map(|time| index.commit(slot.location.key, slot.page, time)) {
            Some(Committed::Published) => Vec::new(),
            Some(Committed::Superseded(actions)) => actions,
            None => index.abort(slot.location.key, slot.page),
        };
        self.asked(actions);
    }

    /// Ends all that is open.
    fn finish(mut self, index: &mut Index) {
        for slot in std::mem::take(&mut self.fills) {
            let actions = index.abort(slot.location.key, slot.page);
            self.asked(actions);
        }
        while !self.moves.is_empty() {
            self.end_move(index, 0, Some(time(0)));
        }
        std::mem::take(&mut self.holds).into_iter().for_each(|key| index.release(key));
        std::mem::take(&mut self.lends).into_iter().for_each(|key| index.give_back(key));
        while let Some(action) = self.actions.pop() {
            match action {
                Action::Remove(location, _) => index.removed(location.key),
                Action::ClearRecord(location, page, _) => {
                    let more = index.abort(location.key, page);
                    self.asked(more);
                }
            }
        }
    }
}

/// By the policy that lets everybody in, oldest first: the rules of the index are clearest with it.
fn index_of(tiers: Vec<TierLimits>) -> Index {
    Index::new(tiers, SEGMENT_PAGES, Eviction::Lru)
}

fn two_tiers() -> Index {
    index_of(vec![limits(TierKind::Ram, 8 * MIB), limits(TierKind::Disk, 9 * MIB)])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_invariants_hold(
        eviction in prop::sample::select(Eviction::ALL.to_vec()),
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let cutting = |limits| TierLimits { whole_file_max: ByteCount::new(3 * MIB), ..limits };
        let tiers = [limits(TierKind::Ram, 8 * MIB), limits(TierKind::Disk, 9 * MIB)].map(cutting);
        let mut index = Index::new(tiers.into(), SEGMENT_PAGES, eviction);
        index.watch_moves();
        let mut shell = Shell::default();
        for (tick, step) in steps.iter().enumerate() {
            shell.walk(&mut index, step, i64::try_from(tick).unwrap());
            check(&mut index);
        }
        shell.finish(&mut index);
        check(&mut index);
        prop_assert!(index.detached.is_empty(), "whoever left is gone when nobody uses it");
        prop_assert_eq!(index.moves.under_way().count(), 0);
    }
}

#[test]
#[should_panic(expected = "each unit is charged once")]
fn the_check_catches_a_wrong_charge() {
    let mut index = two_tiers();
    fill(&mut index, &wanted(1, 100)).unwrap();
    index.tiers[0].charge(1);
    check(&mut index);
}

#[test]
#[should_panic(expected = "a held version was evicted")]
fn the_walk_catches_an_evicted_hold() {
    let mut index = two_tiers();
    let location = fill(&mut index, &wanted(1, 100)).unwrap();
    let mut shell = Shell { holds: vec![location.key], ..Shell::default() };
    shell.asked([Action::Remove(location, Reason::Evicted)]);
}

#[test]
fn a_new_version_goes_to_ram_then_to_disk_then_where_it_does_least_harm() {
    let mut index = index_of(vec![limits(TierKind::Ram, 5 * MIB), limits(TierKind::Disk, 5 * MIB)]);
    assert_eq!(fill(&mut index, &wanted(1, 4 * MIB)).unwrap().tier, TierIndex(0));
    assert_eq!(fill(&mut index, &wanted(2, 4 * MIB)).unwrap().tier, TierIndex(1));
    index.touch(UnitId::whole(file(1)), page(0));
    assert_eq!(
        fill(&mut index, &wanted(3, 4 * MIB)).unwrap().tier,
        TierIndex(1),
        "2 was used earlier than 1"
    );
    assert!(index.presence(file(1)).is_some() && index.presence(file(2)).is_none());
}

#[test]
fn held_versions_make_the_store_full_rather_than_leave() {
    let mut index = index_of(vec![limits(TierKind::Disk, 3 * MIB)]);
    fill(&mut index, &wanted(1, 2 * MIB)).unwrap();
    let HoldDecision::Granted(held) = index.hold(file(1)) else { panic!("it is complete") };
    assert_eq!(fill(&mut index, &wanted(2, 2 * MIB)), None);
    index.release(held.location.key);
    assert!(fill(&mut index, &wanted(2, 2 * MIB)).is_some());
    assert!(index.presence(file(1)).is_none());
}

#[test]
fn a_lent_version_may_leave_and_takes_its_room_until_it_is_given_back() {
    let mut index = index_of(vec![limits(TierKind::Disk, 4 * MIB + 65_536)]);
    let Reservation::Granted(slot) = index.reserve(&wanted(1, 3 * MIB), page(1)) else { panic!("room") };
    assert_eq!(index.lend(file(1)), None, "no page of it is here");
    index.created(slot.location.key, 64);
    index.commit(slot.location.key, page(1), time(1));
    let lent = index.lend(file(1)).unwrap();
    assert_eq!((lent.location, lent.records), (slot.location, 64));
    let Reservation::Granted(more) = index.reserve(&wanted(1, 3 * MIB), page(0)) else {
        panic!("a lent version is filled on")
    };
    index.commit(more.location.key, page(0), time(2));
    assert!(!index.take_wants_back());

    let Reservation::Granted(other) = index.reserve(&wanted(2, 3 * MIB), page(0)) else { panic!("room") };
    index.created(other.location.key, 64);
    index.commit(other.location.key, page(0), time(3));
    let bystander = fill(&mut index, &wanted(3, 300_000)).unwrap();
    let Reservation::First(actions) = index.reserve(&wanted(2, 3 * MIB), page(1)) else {
        panic!("the lent one is evicted")
    };
    assert!(index.take_wants_back(), "and to be given back");
    actions.into_iter().for_each(|action| delete(&mut index, action));
    let used = index.tier_counts(TierIndex(0)).used;
    assert!(used > 3 * MIB, "whoever has it open keeps its room: {used}");
    check(&mut index);
    assert_eq!(
        index.reserve(&wanted(2, 3 * MIB), page(1)),
        Reservation::NoSpace,
        "nobody else leaves for it"
    );
    index.await_no_more();
    let Reservation::First(others) = index.reserve(&wanted(2, 3 * MIB), page(1)) else {
        panic!("until it is late")
    };
    others.into_iter().for_each(|action| delete(&mut index, action));
    assert!(!index.is_current(bystander.key));
    check(&mut index);
    index.give_back(lent.location.key);
    assert!(index.tier_counts(TierIndex(0)).used < 2 * MIB);
    check(&mut index);
}

#[test]
fn whoever_was_lent_a_version_goes_on_with_the_visit_that_it_began() {
    let mut index = Index::new(vec![limits(TierKind::Disk, 64 * MIB)], SEGMENT_PAGES, Eviction::S3Fifo);
    for counter in 1..=2 {
        fill(&mut index, &wanted(counter, 3 * MIB)).unwrap();
    }
    for others in 10..13 {
        let lent = index.lend(file(1)).unwrap();
        index.used_unseen(file(1));
        index.give_back(lent.location.key);
        fill(&mut index, &wanted(others, 3 * MIB)).unwrap();
    }
    assert_eq!(
        index.tiers[0].victim(),
        Some(UnitId::whole(file(1))),
        "a file that is read once is not popular"
    );
    for others in 20..23 {
        index.touch(UnitId::whole(file(1)), page(0));
        fill(&mut index, &wanted(others, 3 * MIB)).unwrap();
    }
    assert_eq!(index.tiers[0].victim(), Some(UnitId::whole(file(2))), "one that is read again and again is");
}

#[test]
fn no_more_than_four_fifths_of_a_tier_are_held() {
    let mut index = index_of(vec![limits(TierKind::Disk, 10 * MIB)]);
    for counter in 1..=4 {
        fill(&mut index, &wanted(counter, 2 * MIB)).unwrap();
    }
    for counter in 1..=3 {
        assert!(matches!(index.hold(file(counter)), HoldDecision::Granted(_)));
    }
    assert_eq!(index.hold(file(4)), HoldDecision::TooMuchHeld);
    assert!(matches!(index.hold(file(1)), HoldDecision::Granted(_)), "a second hold of one version is free");
}

fn may_rest(index: &mut Index, counter: u64) -> bool {
    let HoldDecision::Granted(held) = index.hold(file(counter)) else { panic!("it is complete") };
    index.release(held.location.key);
    held.may_rest && index.may_rest(held.location.key)
}

#[test]
fn a_hold_may_rest_until_somebody_has_to_leave_its_tier_and_again_an_epoch_later() {
    let mut index = index_of(vec![limits(TierKind::Disk, 10 * MIB)]);
    for counter in 1..=4 {
        fill(&mut index, &wanted(counter, 2 * MIB)).unwrap();
    }
    let HoldDecision::Granted(held) = index.hold(file(4)) else { panic!("it is complete") };
    assert!(held.may_rest && index.may_rest(held.location.key) && !index.take_wants_back());
    fill(&mut index, &wanted(5, 2 * MIB)).unwrap();
    assert!(!index.may_rest(held.location.key) && index.take_wants_back());
    assert!(!index.take_wants_back(), "it was said once");
    index.release(held.location.key);
    let opens = (0..20).map(|open| may_rest(&mut index, 3 + open % 3)).collect::<Vec<_>>();
    // Four versions are there: once as many were opened and a fifth was, nobody had to leave for an epoch.
    assert_eq!(opens.iter().position(|may_rest| *may_rest), Some(4));
    assert!(opens[4..].iter().all(|may_rest| *may_rest));
    fill(&mut index, &wanted(6, 2 * MIB)).unwrap();
    assert!(!may_rest(&mut index, 6) && index.take_wants_back());
}

#[test]
fn a_hold_of_what_left_or_of_a_tier_that_is_held_for_the_most_part_may_not_rest() {
    let mut index = index_of(vec![limits(TierKind::Disk, 10 * MIB)]);
    for counter in 1..=4 {
        fill(&mut index, &wanted(counter, 2 * MIB)).unwrap();
    }
    let hold = |index: &mut Index, counter| match index.hold(file(counter)) {
        HoldDecision::Granted(held) => Some(held),
        HoldDecision::TooMuchHeld => None,
        HoldDecision::Incomplete => panic!("it is complete"),
    };
    let held = [1, 2, 3].map(|counter| hold(&mut index, counter).unwrap());
    assert_eq!(held.map(|held| held.may_rest), [true, true, false]);
    assert!(!index.take_wants_back());
    let removed = index.detach(file(1), Reason::Freed);
    assert!(!index.may_rest(held[0].location.key) && index.take_wants_back());
    removed.into_iter().for_each(|action| delete(&mut index, action));
    assert!(index.may_rest(held[1].location.key));
    // What was not held may go without a word.
    fill(&mut index, &wanted(6, 1000)).unwrap();
    assert_eq!(index.detach(file(6), Reason::Freed).len(), 1);
    assert!(!index.take_wants_back());
    assert_eq!(hold(&mut index, 4), None, "too much is held");
    assert!(!index.may_rest(held[1].location.key) && index.take_wants_back());
}

#[test]
fn nobody_is_evicted_for_one_who_cannot_fit_anyway() {
    let mut index = index_of(vec![limits(TierKind::Disk, 4 * MIB)]);
    fill(&mut index, &wanted(1, 3 * MIB)).unwrap();
    assert!(matches!(index.hold(file(1)), HoldDecision::Granted(_)));
    fill(&mut index, &wanted(2, 1000)).unwrap();
    assert_eq!(index.reserve(&wanted(3, 2 * MIB), page(0)), Reservation::NoSpace);
    assert!(index.presence(file(2)).is_some());
}

#[test]
fn a_second_writer_of_a_new_version_waits_until_its_files_are_made() {
    let mut index = two_tiers();
    let Reservation::Granted(slot) = index.reserve(&wanted(1, 3 * MIB), page(0)) else {
        panic!("there is room")
    };
    assert_eq!(index.reserve(&wanted(1, 3 * MIB), page(1)), Reservation::Wait);
    index.created(slot.location.key, 64);
    assert!(matches!(index.reserve(&wanted(1, 3 * MIB), page(1)), Reservation::Granted(_)));
    assert_eq!(index.reserve(&wanted(1, 3 * MIB), page(0)), Reservation::InProgress);
    assert_eq!(index.reserve(&wanted(1, 3 * MIB), page(3)), Reservation::NoSuchPage);
}

#[test]
fn the_floor_of_free_space_counts_before_the_capacity() {
    let floor =
        TierLimits { free_bytes_floor: ByteCount::new(10 * MIB), ..limits(TierKind::Disk, 100 * MIB) };
    let mut index = index_of(vec![TierLimits { free_inodes_floor: 100, ..floor }]);
    index.set_free_space(TierIndex(0), 12 * MIB, Some(1000));
    fill(&mut index, &wanted(1, MIB)).unwrap();
    fill(&mut index, &wanted(2, MIB)).unwrap();
    assert!(index.presence(file(1)).is_none(), "only 2 MiB lie above the floor");
    index.set_free_space(TierIndex(0), 90 * MIB, Some(101));
    fill(&mut index, &wanted(3, MIB)).unwrap();
    assert!(index.presence(file(2)).is_none(), "no inodes above the floor");
}

#[test]
fn a_file_without_huge_pages_is_charged_by_sectors_and_one_with_them_by_pairs_of_pages() {
    for (kind, charge) in [(TierKind::Disk, MIB), (TierKind::Ram, 2 * MIB)] {
        let mut index = index_of(vec![limits(kind, 100 * MIB)]);
        index.reserve(&wanted(1, 3 * MIB), page(0));
        assert_eq!(index.tier_counts(TierIndex(0)).used, charge + 4096);
    }
    let mut index = index_of(vec![limits(TierKind::Ram, 100 * MIB)]);
    index.reserve(&wanted(1, 110_000), page(0));
    assert_eq!(index.tier_counts(TierIndex(0)).used, 110_592 + 4096);
}

#[test]
fn trust_ends_when_the_file_has_another_change_time() {
    let mut index = two_tiers();
    let key = fill(&mut index, &wanted(1, 2 * MIB)).unwrap().key;
    let pages = PageRange { first: page(0), count: 2 };
    let trusted = |index: &Index| index.lookup(UnitId::whole(file(1)), pages).unwrap().trusted;
    assert_eq!(trusted(&index), None, "of two pages one may have been changed before the other was written");
    index.mark_verified(key, [page(0), page(1)].into_iter(), time(1));
    assert_eq!(trusted(&index), Some(time(1)));
    index.mark_verified(key, [page(0)].into_iter(), time(5));
    assert_eq!(trusted(&index), None, "page 1 was verified before the change only");
    index.mark_verified(key, [page(1)].into_iter(), time(5));
    assert_eq!(trusted(&index), Some(time(5)));
}

#[test]
fn generations_of_one_version_never_share_a_name() {
    let mut index = two_tiers();
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let location = fill(&mut index, &wanted(1, 10)).unwrap();
        assert!(seen.insert(location.key));
        let actions = index.detach(file(1), Reason::Freed);
        actions.into_iter().for_each(|action| delete(&mut index, action));
    }
}

#[test]
fn a_tier_can_hold_its_quota_or_what_it_has_and_its_file_system_gives() {
    let usable = |used: u64, free: Option<u64>| {
        let usage = TierUsage {
            health: Health::Up,
            name: String::new(),
            directory: "/".into(),
            kind: TierKind::Disk,
            capacity: ByteCount::new(1000),
            used: ByteCount::new(used),
            held: ByteCount::ZERO,
            free: free.map(ByteCount::new),
            versions: 0,
        };
        usage.usable().get()
    };
    assert_eq!((usable(0, Some(176)), usable(100, Some(76))), (176, 176), "its own bytes change nothing");
    assert_eq!(usable(100, Some(0)), 100, "others filled the file system");
    assert_eq!((usable(0, Some(5000)), usable(0, None)), (1000, 1000));
}
