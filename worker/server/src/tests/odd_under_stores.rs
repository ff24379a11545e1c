//! Under-stores that cut streams short, send too much, change in the midst or hand out odd chunks: a reader gets right
//! bytes or an error, and nothing wrong is stored.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forebay_block_store::{Demand, PageIndex, PageRange};
use forebay_types::ErrorKind;
use futures::TryStreamExt;

use super::fixture::{MIB, content, eventually};
use super::trickster::{Room, Trick};

#[tokio::test]
async fn chunks_of_any_length_make_whole_pages() {
    for length in [1 << 10, 7_777, 1 << 20, (1 << 20) + 1, 3 << 20, 16 << 20] {
        let bytes = content(5 * MIB + 3, 1);
        let room = Room::new(bytes.clone(), &[Trick::Chunks(length)]);
        for _ in 0..2 {
            let (read, error) = room.read().await;
            assert!(read == bytes && error.is_none(), "chunks of {length}: {error:?}");
        }
        assert_eq!(room.reads(), 1);
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_short_goes_on_where_it_was() {
    let bytes = content(5 * MIB, 2);
    let cut = 2 * (1 << 20) + 5;
    let room = Room::new(bytes.clone(), &[Trick::CutShort(cut), Trick::EndsEarly(10)]);
    let (read, error) = room.read().await;
    assert!(read == bytes, "{error:?}");
    assert!(error.is_none());
    let reads = room.under_store.reads.lock().clone();
    assert_eq!(reads, [0..5 * MIB, 2 * MIB..5 * MIB, 2 * MIB..5 * MIB], "whole pages are not fetched again");
}

#[tokio::test]
async fn an_under_store_that_always_cuts_is_an_error_in_the_end() {
    let room = Room::new(content(MIB, 3), &[Trick::CutShort(7); 50]);
    let (read, error) = room.read().await;
    assert_eq!((read.len(), error.expect("no bytes came").kind()), (0, ErrorKind::UnderStore));
    assert!(room.reads() < 10);
}

#[tokio::test]
async fn a_page_after_which_too_much_came_is_neither_served_nor_stored() {
    let bytes = content(2 * MIB, 4);
    let room = Room::new(bytes.clone(), &[Trick::TooMuch; 9]);
    let (read, error) = room.read().await;
    assert!(read == bytes[..1 << 20]);
    assert_eq!(error.expect("too much").kind(), ErrorKind::UnderStore);
    let all = PageRange { first: PageIndex::new(0), count: 2 };
    assert_eq!(room.path.cache.missing(&room.version, all), [PageIndex::new(1)]);
    room.under_store.tricks.lock().clear();
    assert!(room.read().await.0 == bytes, "an honest answer heals it");
}

#[tokio::test]
async fn a_change_in_the_midst_ends_the_read_after_whole_pages_of_the_old_version() {
    let bytes = content(4 * MIB, 5);
    let room = Room::new(bytes.clone(), &[Trick::Changes((1 << 20) + 1000), Trick::Changes(1000)]);
    let (read, error) = room.read().await;
    assert!(read == bytes[..1 << 20]);
    assert_eq!(error.expect("changed").kind(), ErrorKind::Stale);
}

#[tokio::test]
async fn a_fetch_that_failed_before_its_reader_looked_is_told_as_it_was() {
    let bytes = content(4 * MIB, 9);
    let room = Room::new(bytes.clone(), &[Trick::Changes((1 << 20) + 1000)]);
    let mut pieces = Box::pin(Arc::clone(&room.path).read(Arc::clone(&room.version), 0..u64::MAX, 0));
    let first = pieces.try_next().await.expect("the first page came").expect("a piece");
    assert!(first.data == bytes[..1 << 20]);
    eventually("the fetch ends", || !(0..4).any(|page| room.is_coming(page))).await;
    let error = pieces.try_next().await.expect_err("the object was replaced");
    assert_eq!((error.kind(), room.reads()), (ErrorKind::Stale, 1));
}

#[tokio::test]
async fn a_load_that_is_cut_short_goes_on_where_it_was() {
    let bytes = content(5 * MIB, 6);
    let room = Room::new(bytes.clone(), &[Trick::CutShort(2 * (1 << 20) + 5), Trick::EndsEarly(10)]);
    let (loaded, error) = room.load().await;
    assert!(loaded.is_complete && error.is_none(), "{error:?}");
    assert_eq!((loaded.cached, loaded.fetched, loaded.missing), (5 * MIB, 5 * MIB, 5 * MIB));
    assert_eq!(room.reads(), 3);
    assert!(room.read().await.0 == bytes);
    assert_eq!(room.reads(), 3, "all of it was cached");
}

#[tokio::test]
async fn a_load_keeps_no_page_that_came_while_it_waits_for_another() {
    let room = Room::new(content(8 * MIB, 11), &[Trick::Silent, Trick::Chunks(1 << 20)]);
    // A request of somebody else for the first page, which does not come.
    let first = PageRange { first: PageIndex::new(0), count: 1 };
    let _awaited = room.path.fetches.begin(&room.version, first, Demand::Read);
    eventually("it is asked for", || room.reads() == 1).await;
    let others_are_stored_and_let_go = || {
        let all = PageRange { first: PageIndex::new(0), count: 8 };
        let missing = room.path.cache.missing(&room.version, all);
        missing == [PageIndex::new(0)] && room.under_store.kept.load(Ordering::Relaxed) == 0
    };
    tokio::select! {
        ended = room.load() => panic!("the first page did not come: {ended:?}"),
        () = eventually("the others are let go", others_are_stored_and_let_go) => {}
    }
}

#[tokio::test]
async fn a_load_that_is_cut_short_each_time_is_an_error_in_the_end() {
    let room = Room::new(content(MIB, 7), &[Trick::CutShort(7); 50]);
    let (loaded, error) = room.load().await;
    assert_eq!((loaded.is_complete, error.expect("nothing came").kind()), (false, ErrorKind::UnderStore));
    assert!(room.reads() < 10);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_brings_a_part_each_time_and_finds_it_evicted_is_an_error_in_the_end() {
    let room = Room::new(content(2 * MIB, 10), &[Trick::CutShort((1 << 20) + 5); 200]);
    let evicting = async {
        loop {
            // Time stands still while there is work, so the load has seen its page before it is evicted.
            tokio::time::sleep(Duration::from_millis(1)).await;
            if !room.is_coming(0) && !room.is_coming(1) {
                room.path.cache.store().drop_version(room.version.file());
            }
        }
    };
    let (loaded, error) = tokio::select! {
        ended = room.load() => ended,
        () = evicting => unreachable!("it goes on for ever"),
    };
    assert_eq!((loaded.is_complete, error.expect("never whole").kind()), (false, ErrorKind::NoSpace));
    assert!((10..100).contains(&room.reads()), "{} reads", room.reads());
}

#[tokio::test]
async fn a_change_in_the_midst_of_a_load_is_told_as_such() {
    let room = Room::new(content(4 * MIB, 8), &[Trick::Changes((1 << 20) + 1000)]);
    let (loaded, error) = room.load().await;
    assert_eq!((loaded.is_complete, error.expect("changed").kind()), (false, ErrorKind::Stale));
}
