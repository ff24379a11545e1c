//! What the kernel is answered as handles of a directory come and go.

use std::time::Duration;

use forebay_types::{InodeId, ListingPosition};

use super::*;
use crate::ttl::TtlRule;

const DIRECTORY: NodeId = NodeId::new(5);

fn opener(directory: NodeId) -> Opener {
    Opener { directory, pid: 7, now: Instant::now() }
}

fn listing(listings: &KernelListings, walk: WalkNumber) -> KernelListing {
    let now = Instant::now();
    let mut outline = Outline::new(walk, listings.memory().clone());
    outline.push(&ListingPosition::of_key(*b"a name").expect("legal")).expect("room");
    KernelListing {
        names: About::names(InodeId::new(5)),
        itself: About::entry(InodeId::new(5), InodeId::new(1)),
        validity: TtlRule::default().validity(now, Duration::from_secs(60)),
        end: now + Duration::from_secs(60),
        outline: outline.into(),
        has_attributes: true,
    }
}

fn listings() -> KernelListings {
    KernelListings::new(OutlineMemory::new(1 << 10))
}

fn gather(listings: &KernelListings, directory: NodeId) -> Walk {
    let Opening::Gather(walk) = listings.open(opener(directory), |_| true) else {
        panic!("nothing is gathered")
    };
    walk
}

/// Has a handle gather all of a directory and closes it.
fn gather_all(listings: &KernelListings, directory: NodeId) -> WalkNumber {
    let walk = gather(listings, directory).number;
    assert!(listings.end(directory, walk, Some(listing(listings, walk)), |_| true));
    listings.close(directory, false, Unfinished::Nothing);
    walk
}

#[test]
fn one_handle_gathers_at_a_time_and_the_next_ones_are_shown_what_came_of_it() {
    let listings = listings();
    let walk = gather(&listings, DIRECTORY);
    assert!(!walk.is_mixed);
    assert!(matches!(listings.open(opener(DIRECTORY), |_| true), Opening::Plain));
    assert!(listings.open_to_show(opener(DIRECTORY), |_| true).is_none());
    let whole = listing(&listings, walk.number);
    assert!(listings.end(DIRECTORY, walk.number, Some(whole), |_| true));
    let shown = listings.open_to_show(opener(DIRECTORY), |_| true).expect("shown");
    assert_eq!(shown.walk, walk.number);
    // What does not stand is gathered anew, under another number.
    assert!(listings.open_to_show(opener(DIRECTORY), |_| false).is_none());
    let Opening::Gather(next) = listings.open(opener(DIRECTORY), |_| false) else { panic!("not gathered") };
    assert!(next.number != walk.number && !next.is_mixed);
}

#[test]
fn what_does_not_stand_at_its_end_is_not_kept() {
    let listings = listings();
    let walk = gather(&listings, DIRECTORY).number;
    assert!(!listings.end(DIRECTORY, walk, Some(listing(&listings, walk)), |_| false));
    assert_eq!(listings.walk(DIRECTORY, false), None, "it is to be dropped first");
    let walk = listings.walk(DIRECTORY, true).expect("dropped").number;
    assert!(!listings.end(DIRECTORY, walk, None, |_| true));
}

#[test]
fn of_two_that_were_gathered_at_once_none_is_kept() {
    let listings = listings();
    let one = gather(&listings, DIRECTORY).number;
    // A handle that was opened before, and begins anew.
    let other = listings.walk(DIRECTORY, false).expect("nothing to drop");
    assert_eq!(other, Walk { number: one, is_mixed: true });
    assert!(!listings.end(DIRECTORY, one, Some(listing(&listings, one)), |_| true));
    assert!(!listings.end(DIRECTORY, one, None, |_| true));
    assert!(listings.open_to_show(opener(DIRECTORY), |_| true).is_none());
}

#[test]
fn a_walk_that_was_broken_off_is_finished_under_its_number_and_not_kept() {
    let listings = listings();
    let walk = gather(&listings, DIRECTORY).number;
    listings.close(DIRECTORY, false, Unfinished::BrokenOff(walk));
    assert_eq!(gather(&listings, DIRECTORY), Walk { number: walk, is_mixed: true });
    assert!(!listings.end(DIRECTORY, walk, None, |_| true));
    listings.close(DIRECTORY, false, Unfinished::Nothing);
    let next = gather(&listings, DIRECTORY);
    assert!(next.number != walk && !next.is_mixed);
    // Of one that was not begun there is nothing to finish.
    listings.close(DIRECTORY, false, Unfinished::NotBegun(next.number));
    assert!(!gather(&listings, DIRECTORY).is_mixed);
}

#[test]
fn a_walk_that_begins_again_is_not_kept_and_one_whose_number_is_over_gets_another() {
    let listings = listings();
    let walk = gather(&listings, DIRECTORY).number;
    assert!(listings.again(DIRECTORY, walk));
    assert!(!listings.end(DIRECTORY, walk, Some(listing(&listings, walk)), |_| true));
    assert!(!listings.again(DIRECTORY, walk));
}

#[test]
fn what_the_kernel_asks_for_though_it_was_to_have_it_is_dropped_first() {
    let listings = listings();
    gather_all(&listings, DIRECTORY);
    assert!(listings.open_to_show(opener(DIRECTORY), |_| true).is_some());
    assert_eq!(listings.walk(DIRECTORY, false), None);
    assert!(listings.walk(DIRECTORY, true).is_some_and(|walk| !walk.is_mixed));
}

#[test]
fn only_listings_of_open_directories_are_given_up() {
    let listings = listings();
    let (open, closed) = (DIRECTORY, NodeId::new(6));
    gather_all(&listings, open);
    gather_all(&listings, closed);
    assert!(listings.open_to_show(opener(open), |_| true).is_some());
    assert!(listings.give_up(|_| true).is_empty());
    assert_eq!(listings.give_up(|_| false), [open]);
    assert!(listings.give_up(|_| false).is_empty());
    assert!(listings.open_to_show(opener(closed), |_| true).is_some(), "its next OPENDIR decides");
}

#[test]
fn the_memory_is_bounded_and_what_was_used_last_stays() {
    let listings = listings();
    let directories = KERNEL_LISTINGS_MAX as u64 + 10;
    for id in 0..directories {
        let walk = gather(&listings, NodeId::new(id)).number;
        assert!(!listings.end(NodeId::new(id), walk, None, |_| true));
        listings.close(NodeId::new(id), false, Unfinished::Nothing);
    }
    assert_eq!(listings.state.lock().directories.len(), KERNEL_LISTINGS_MAX);
    assert_eq!(listings.state.lock().by_use.len(), KERNEL_LISTINGS_MAX);
    let last = NodeId::new(directories - 1);
    gather_all(&listings, last);
    assert!(listings.open_to_show(opener(last), |_| true).is_some());
    // What is open makes no room.
    assert!(!listings.make_room());
    listings.close(last, true, Unfinished::Nothing);
    assert!(listings.make_room() && !listings.make_room());
    assert_eq!(listings.memory().taken(), 0);
}

#[test]
fn what_the_kernel_forgot_is_forgotten_unless_it_is_open() {
    let listings = listings();
    gather_all(&listings, DIRECTORY);
    assert!(listings.open_to_show(opener(DIRECTORY), |_| true).is_some());
    listings.forget(DIRECTORY);
    assert!(listings.open_to_show(opener(DIRECTORY), |_| true).is_some());
    (0..2).for_each(|_| listings.close(DIRECTORY, true, Unfinished::Nothing));
    listings.forget(DIRECTORY);
    assert!(listings.open_to_show(opener(DIRECTORY), |_| true).is_none());
    assert!(listings.state.lock().by_use.is_empty());
}
