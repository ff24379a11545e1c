//! Many readers of what is not stored: each byte is asked for once, and none of them depends on another.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use forebay_types::{ByteCount, ErrorKind};
use futures::future::{join, join_all};
use futures::{FutureExt, TryStreamExt};

use super::fixture::{House, MIB, capability, content, eventually};
use super::trickster::{Room, Trick};
use crate::limits::{
    UNCACHED_FETCH_LENGTH, UNCACHED_FETCHES_PER_READ_MAX, WORKING_MEMORY_DEFAULT, WORKING_MEMORY_MIN,
};

const ANY: usize = 1 << 20;

/// A worker that caches nothing, and whose under-store answers only when it is let.
fn closed(memory: ByteCount, content: &[u8], tricks: &[Trick]) -> Room {
    let room = Room::without_cache(memory, content.to_vec(), tricks);
    room.let_begin(0);
    room
}

/// The requests, which must not overlap, in the order of their begins.
fn requests(room: &Room) -> Vec<Range<u64>> {
    let mut reads = room.under_store.reads.lock().clone();
    reads.sort_by_key(|range| range.start);
    assert!(reads.windows(2).all(|pair| pair[0].end <= pair[1].start), "asked for twice: {reads:?}");
    reads
}

#[tokio::test]
async fn sixteen_readers_of_a_large_file_ask_for_each_byte_once() {
    let bytes = content(24 * MIB + 5, 1);
    let room = closed(WORKING_MEMORY_DEFAULT, &bytes, &[]);
    let reads = join_all((0..16).map(|_| room.read()));
    let opened = async {
        eventually("somebody asks", || room.reads() > 0).await;
        room.let_begin(ANY);
    };
    for (read, error) in join(reads, opened).await.0 {
        assert!(read == bytes && error.is_none(), "{error:?}");
    }
    assert_eq!(requests(&room).len(), 13);
    assert_eq!(room.under_store.kept.load(Ordering::Relaxed), 0, "nothing is kept when all are done");
}

#[tokio::test]
async fn readers_that_begin_anywhere_come_to_ask_for_the_same() {
    let bytes = content(12 * MIB + 7, 2);
    let room = closed(WORKING_MEMORY_DEFAULT, &bytes, &[]);
    let begins: Vec<u64> = (0..9).map(|number| number * 4 * MIB / 3 + number).collect();
    let reads = join_all(begins.iter().map(|begin| room.read_of(&room.version, *begin..u64::MAX)));
    let opened = async {
        eventually("somebody asks", || room.reads() > 0).await;
        room.let_begin(ANY);
    };
    for ((read, error), begin) in join(reads, opened).await.0.into_iter().zip(begins) {
        let begin = usize::try_from(begin).expect("short");
        assert!(read == bytes[begin..] && error.is_none(), "from {begin}: {error:?}");
    }
    let asked: u64 = requests(&room).iter().map(|range| range.end - range.start).sum();
    assert_eq!(asked, bytes.len() as u64);
}

#[tokio::test]
async fn readers_of_many_small_files_ask_for_each_file_once() {
    const FILES: usize = 200;
    let bytes = content(5000, 3);
    let room = closed(WORKING_MEMORY_MIN, &bytes, &[]);
    let versions: Vec<_> = (0..FILES as u64).map(|number| room.another(100 + number)).collect();
    let all = versions.iter().flat_map(|version| (0..8).map(move |_| version));
    let reads = join_all(all.map(|version| room.read_of(version, 0..u64::MAX)));
    let opened = async {
        // Some wait for a place, so not all are asked for at once.
        eventually("somebody asks", || room.reads() > 0).await;
        room.let_begin(ANY);
    };
    for (read, error) in join(reads, opened).await.0 {
        assert!(read == bytes && error.is_none(), "{error:?}");
    }
    assert_eq!(room.reads(), FILES);
}

#[tokio::test]
async fn no_more_is_asked_for_than_is_read() {
    let bytes = content(8 * MIB, 4);
    let room = Room::without_cache(WORKING_MEMORY_MIN, bytes.clone(), &[]);
    let (read, error) = room.read_of(&room.version, 12_345..12_355).await;
    assert!(read == bytes[12_345..12_355] && error.is_none(), "{error:?}");
    assert_eq!(requests(&room).first(), Some(&(12_345..12_355)));
    assert_eq!(room.reads(), 1);
}

#[tokio::test]
async fn what_is_kept_cuts_nobody_elses_reads_into_small_requests() {
    let bytes = content(64 * MIB, 12);
    let room = Room::without_cache(WORKING_MEMORY_DEFAULT, bytes.clone(), &[]);
    let mut first = Box::pin(Arc::clone(&room.path).read(Arc::clone(&room.version), 0..u64::MAX, 0));
    first.try_next().await.expect("served").expect("a piece");
    eventually("it has asked ahead", || room.reads() == 1 + UNCACHED_FETCHES_PER_READ_MAX).await;
    // Somebody is on the way, so what others read is kept if it is long enough.
    for (length, asked) in [(4096, 2), (1 << 20, 1)] {
        let before = room.reads();
        for _ in 0..2 {
            let begin = 40 * MIB + 5;
            let (read, _) = room.read_of(&room.version, begin..begin + length).await;
            assert_eq!(read.len() as u64, length);
        }
        assert_eq!(room.reads() - before, asked, "{length} bytes");
    }
}

#[tokio::test]
async fn who_reads_after_all_others_asks_again() {
    let bytes = content(MIB, 5);
    let room = Room::without_cache(WORKING_MEMORY_DEFAULT, bytes.clone(), &[]);
    for round in 1..=2 {
        assert!(room.read().await.0 == bytes);
        assert_eq!(room.reads(), round, "this is no cache");
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_takes_nothing_from_those_who_joined_it() {
    let bytes = content(3 * MIB, 6);
    let room = closed(WORKING_MEMORY_MIN, &bytes, &[]);
    let mut first = Box::pin(room.read());
    assert!(first.as_mut().now_or_never().is_none());
    eventually("it asks", || {
        // The reservation ends in another thread.
        assert!(first.as_mut().now_or_never().is_none());
        room.reads() == 2
    })
    .await;
    let mut second = Box::pin(room.read());
    for _ in 0..100 {
        assert!(second.as_mut().now_or_never().is_none());
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    drop(first);
    room.let_begin(ANY);
    let (read, error) = second.await;
    assert!(read == bytes && error.is_none(), "{error:?}");
    assert_eq!(requests(&room).len(), 2, "what the first asked for came");
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_any_more_ends() {
    let bytes = content(MIB, 7);
    let room = closed(WORKING_MEMORY_MIN, &bytes, &[]);
    // Many more than there are places: each that did not end would keep one.
    for round in 1..=50 {
        let mut read = Box::pin(room.read());
        eventually("it asks", || {
            assert!(read.as_mut().now_or_never().is_none());
            room.reads() == round
        })
        .await;
    }
    room.let_begin(ANY);
    assert!(room.read().await.0 == bytes);
}

#[tokio::test]
async fn an_error_is_told_to_all_who_waited_and_to_nobody_who_comes_later() {
    let bytes = content(4 * MIB, 8);
    // The second step finds another object.
    let room = closed(WORKING_MEMORY_DEFAULT, &bytes, &[Trick::Chunks(1 << 20), Trick::Changes(1000)]);
    let reads = join_all((0..8).map(|_| room.read()));
    let opened = async {
        eventually("they ask", || room.reads() == 2).await;
        room.let_begin(ANY);
    };
    for (read, error) in join(reads, opened).await.0 {
        assert_eq!(error.expect("replaced").kind(), ErrorKind::Stale);
        assert!(read == bytes[..2 << 20], "only whole steps of the old version");
    }
    assert_eq!(room.reads(), 2);
    assert!(room.read().await.0 == bytes);
}

#[tokio::test]
async fn a_reader_that_stands_still_holds_up_nobody_and_keeps_little() {
    let bytes = content(64 * MIB, 9);
    let room = Room::without_cache(WORKING_MEMORY_MIN, bytes.clone(), &[Trick::Chunks(1 << 20); 200]);
    let mut slow: Vec<_> = (0..40)
        .map(|_| Box::pin(Arc::clone(&room.path).read(Arc::clone(&room.version), 0..u64::MAX, 0)))
        .collect();
    for pieces in &mut slow {
        assert!(pieces.try_next().await.expect("served").is_some());
    }
    assert!(room.read().await.0 == bytes);
    // What each gives, and what it needs next; what all have ahead, and what is kept for those behind, both of which have
    // a maximum for all together.
    let kept = room.under_store.kept.load(Ordering::Relaxed) as u64 * MIB;
    let ahead = WORKING_MEMORY_MIN.get() / 8;
    let behind = WORKING_MEMORY_MIN.get() / 16;
    assert!(kept <= 2 * 40 * UNCACHED_FETCH_LENGTH + ahead + behind, "{} MiB", kept / MIB);
    for pieces in slow {
        let rest: Vec<_> = pieces.try_collect().await.expect("it goes on");
        assert_eq!(rest.iter().map(|piece| piece.data.len() as u64).sum::<u64>(), 63 * MIB);
    }
    assert_eq!(room.under_store.kept.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_replaced_among_its_readers_gives_each_of_them_one_version_or_an_error() {
    let mut house = House::new().await;
    house.capacity = 256 << 10;
    let worker = house.start().await;
    let (old, new) = (content(40 * MIB, 10), content(40 * MIB, 11));
    house.write("f", &old);
    let version = house.version("f", 1).await;
    let right = capability(&version);
    let reads = join_all((0..6).map(|_| worker.read_as(&version, &right, 0, u64::MAX, 0)));
    let replaced = async {
        eventually("they read", || worker.requests() > 3).await;
        house.write("f", &new);
    };
    for (bytes, _, error) in join(reads, replaced).await.0 {
        assert!(bytes == old[..bytes.len()], "not a byte of the new version");
        assert!(bytes.len() == old.len() || error.expect("cut").kind == ErrorKind::Stale);
    }
    let version = house.version("f", 2).await;
    assert!(worker.read(&version, 0, u64::MAX).await.expect("served") == new);
    worker.stop().await;
}
