//! Who waits for which listing, and how far one goes.

use super::*;
use std::time::Duration;

const DIRECTORY: InodeId = InodeId::new(7);
const BEGAN: BootInstant = BootInstant::from_boot(Duration::from_secs(5));

fn begun() -> (Listings, Waiting) {
    let listings = Listings::default();
    let Joined::ToBegin(first) = listings.join(DIRECTORY, |_| false, Wanted::All) else {
        panic!("nobody runs one")
    };
    (listings, first)
}

fn join(listings: &Listings, is_young_enough: bool) -> Waiting {
    match listings.join(DIRECTORY, |_| is_young_enough, Wanted::All) {
        Joined::UnderWay(waiting) => waiting,
        Joined::ToBegin(_) => panic!("one is under way"),
    }
}

#[test]
fn who_asks_before_a_listing_has_begun_shares_it_whatever_age_is_allowed() {
    let (listings, first) = begun();
    assert!(join(&listings, false).same_channel(&first));
    listings.began(DIRECTORY, BEGAN);
    assert!(join(&listings, true).same_channel(&first));
    let next = join(&listings, false);
    assert!(!next.same_channel(&first) && join(&listings, false).same_channel(&next));
}

#[test]
fn the_next_listing_follows_and_its_wait_sees_the_pages_of_the_one_before() {
    let (listings, first) = begun();
    listings.began(DIRECTORY, BEGAN);
    let next = join(&listings, false);
    listings.page_came(DIRECTORY);
    assert_eq!((first.borrow().pages, next.borrow().pages), (1, 1));
    assert!(listings.ended(DIRECTORY, Ok(Finish::Whole), false));
    assert!(first.borrow().ended.is_some() && next.borrow().ended.is_none());
    assert!(next.borrow().began.is_none() && join(&listings, false).same_channel(&next));
    assert!(!listings.ended(DIRECTORY, Ok(Finish::Whole), false));
    assert!(next.borrow().ended.is_some());
}

#[test]
fn who_waits_for_the_next_listing_knows_that_the_under_store_is_asked_for_the_one_before() {
    let (listings, first) = begun();
    listings.began(DIRECTORY, BEGAN);
    listings.asks(DIRECTORY);
    let next = join(&listings, false);
    assert!(first.borrow().is_asking && next.borrow().is_asking);
    listings.page_came(DIRECTORY);
    assert!(!first.borrow().is_asking && !next.borrow().is_asking);
    listings.asks(DIRECTORY);
    assert!(next.borrow().is_asking);
    listings.ended(DIRECTORY, Ok(Finish::Whole), false);
    assert!(!next.borrow().is_asking, "it has not asked yet");
}

#[tokio::test]
async fn who_waits_for_the_next_listing_does_not_wait_for_readers_of_the_one_before() {
    let listings = Listings::default();
    let first_names = Wanted::Beyond(None);
    drop(listings.join(DIRECTORY, |_| true, first_names.clone()));
    listings.began(DIRECTORY, BEGAN);
    for number in 0..=limits::LISTING_PAGES_AHEAD {
        assert!(listings.more_wanted(DIRECTORY).await);
        listings.page_came(DIRECTORY);
        listings.passed(DIRECTORY, Some(place(&number.to_string())), BEGAN);
    }
    let more = listings.more_wanted(DIRECTORY);
    tokio::pin!(more);
    assert!(futures::poll!(&mut more).is_pending());
    let next = join(&listings, false);
    assert_eq!(futures::poll!(&mut more), std::task::Poll::Ready(false));
    drop(listings.join(DIRECTORY, |_| true, first_names));
    assert!(listings.more_wanted(DIRECTORY).await, "whoever reads on is served first");
    assert!(listings.ended(DIRECTORY, Ok(Finish::GivenUp), false) && next.borrow().ended.is_none());
}

#[tokio::test]
async fn a_listing_in_no_order_goes_on_to_its_end_for_whoever_waits_for_its_first_names() {
    let listings = Listings::default();
    let Joined::ToBegin(first) = listings.join(DIRECTORY, |_| true, Wanted::Beyond(None)) else {
        panic!("nobody lists it")
    };
    listings.began(DIRECTORY, BEGAN);
    for _ in 0..10 * limits::LISTING_PAGES_AHEAD {
        listings.page_came(DIRECTORY);
        listings.passed(DIRECTORY, None, BEGAN);
        assert!(listings.more_wanted(DIRECTORY).await, "what comes first is not known yet");
    }
    drop(first);
}

fn place(name: &str) -> ListingPosition {
    let name = EntryName::new(name.as_bytes().to_vec()).expect("legal");
    ListingPosition::of(&name, forebay_types::EntryKind::File)
}

#[test]
fn a_page_is_as_old_as_the_oldest_look_that_began_since_the_listing_did() {
    let (listings, first) = begun();
    let at = |seconds| BootInstant::from_boot(Duration::from_secs(seconds));
    drop(listings.look(DIRECTORY, at(4)));
    listings.began(DIRECTORY, BEGAN);
    listings.passed(DIRECTORY, Some(place("a")), at(5));
    drop(listings.look(InodeId::new(9), at(6)));
    let _look = listings.look(DIRECTORY, at(7));
    listings.passed(DIRECTORY, Some(place("b")), at(6));
    listings.passed(DIRECTORY, Some(place("c")), at(8));
    let ages = first.borrow().recent.iter().map(|(_, asked)| *asked).collect::<Vec<_>>();
    assert_eq!(ages, [5, 6, 7].map(at));
    assert_eq!(listings.goes_on_beside_looks(DIRECTORY, at(7)), at(7), "it is not older");
    assert_eq!(listings.goes_on_beside_looks(DIRECTORY, at(9)), at(7));
    assert_eq!(first.borrow().began, Some(at(7)));
}

#[test]
fn an_outage_ends_the_next_listing_too() {
    let (listings, _first) = begun();
    listings.began(DIRECTORY, BEGAN);
    let next = join(&listings, false);
    assert!(!listings.ended(DIRECTORY, Err((ErrorKind::UnderStore, "down".to_owned())), true));
    assert!(matches!(next.borrow().ended, Some(Err((ErrorKind::UnderStore, _)))));
    assert!(matches!(listings.join(DIRECTORY, |_| true, Wanted::All), Joined::ToBegin(_)));
}
