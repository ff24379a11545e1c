//! Many threads at one small store: no wrong byte, no broken quota, nothing left behind.

use super::*;
use crate::unit::UnitId;
use std::sync::atomic::AtomicBool;
use std::thread;

/// A small generator of numbers, so that a run can be repeated by its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// Moves units about for as long as others play, beside what the store itself would move.
fn shift(store: &BlockStore, contents: &[Content], is_over: &AtomicBool) {
    let (mut dice, mut mover) = (Dice(77), store.mover());
    while !is_over.load(Ordering::Relaxed) {
        let content = &contents[usize::try_from(dice.roll(contents.len() as u64)).unwrap()];
        let tier = TierIndex(usize::from(dice.roll(2) == 0));
        let plan = store.inner.state.lock().index.begin_move(UnitId::whole(content.file()), tier, 0);
        plan.into_iter().for_each(|plan| mover.begin(plan));
        while mover.step().is_some() {}
    }
}

fn play(store: &BlockStore, contents: &[Content], seed: u64) {
    let mut dice = Dice(seed);
    let mut holds: Vec<(usize, Hold)> = Vec::new();
    for _ in 0..400 {
        let which = usize::try_from(dice.roll(contents.len() as u64)).unwrap();
        let content = &contents[which];
        match dice.roll(10) {
            0..=4 => {
                let page = u32::try_from(dice.roll(u64::from(content.page_count()))).unwrap();
                match store.put_page(&content.source(), PageIndex::new(page), &content.page(page)) {
                    Ok(_) | Err(StoreError::NoSpace { .. }) => {}
                    Err(error) => panic!("seed {seed}: {error}"),
                }
            }
            5..=7 => {
                let offset = dice.roll(content.length());
                content.read(store, offset, dice.roll(300_000));
            }
            8 => {
                if holds.len() < 3
                    && let Some(hold) = store.hold(&content.source()).unwrap()
                {
                    holds.push((which, hold));
                }
            }
            _ => {
                if dice.roll(4) == 0 {
                    store.drop_version(content.file());
                } else if !holds.is_empty() {
                    let (which, hold) = holds.swap_remove(0);
                    let held = &contents[which];
                    assert!(held.held_bytes(&hold) == held.bytes(0, held.length()), "seed {seed}");
                }
            }
        }
        for tier in store.usage() {
            assert!(tier.used <= tier.capacity, "seed {seed}: {tier:?}");
        }
    }
}

#[test]
fn many_threads_see_right_bytes_and_leave_nothing_behind() {
    let fixture = Fixture::with_tiers(&[(TierKind::Ram, 3 * MIB), (TierKind::Disk, 5 * MIB)]);
    let store = fixture.open();
    let lengths = [1, 70_000, 110_000, MIB, MIB + 5, 2 * MIB, 2 * MIB + 1, 3 * MIB];
    let contents: Vec<Content> =
        (1..).zip(lengths).map(|(counter, length)| Content::new(counter, length)).collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (store, contents, is_over) = (&store, &contents, &is_over);
        scope.spawn(move || shift(store, contents, is_over));
        let players: Vec<_> = (1..=6)
            .map(|seed| scope.spawn(move || play(store, contents, 0x9e37_79b9_7f4a_7c15 ^ seed)))
            .collect();
        let ended: Vec<_> = players.into_iter().map(|player| player.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok));
    });
    let statistics = store.statistics();
    assert_eq!((statistics.corrupt_pages, statistics.vanished_versions, statistics.io_errors), (0, 0, 0));
    assert!(statistics.evictions > 0 && statistics.holds_granted > 0);
    assert!(statistics.promotions > 0 && statistics.demotions > 0 && statistics.aborted_moves > 0);
    for content in &contents {
        store.drop_version(content.file());
    }
    assert_eq!((used(&store), fixture.files("data").len(), fixture.files("index").len()), (0, 0, 0));
}
