//! Directories that take many pages: what was seen is shown, and no more is listed than somebody reads.

use super::bucket::Bucket;
use super::*;
use forebay_proto::Entry;
use forebay_types::{EntryKind, ListingPosition};

/// Keys of one page of these buckets.
const PAGE: usize = 10;

/// A bucket of so many pages that sends `sent` of them until it is told to send more.
async fn bucket(pages: usize, sent: usize) -> Bucket {
    let bucket = Bucket::new(sent).await;
    (0..pages * PAGE).for_each(|number| bucket.put(&key(number)));
    bucket.set_page_length(PAGE);
    bucket
}

fn key(number: usize) -> String {
    format!("f{number:04}")
}

impl World {
    /// The names of one page that follows a name.
    async fn part(&self, after: Option<&str>, limit: usize) -> (Vec<String>, bool) {
        let data = self.data().await;
        let after = after.map(|after| ListingPosition::of(&name(after), EntryKind::File));
        let listed = tree::list_by_key(&self.shared, data, after.as_ref(), limit).await;
        let (entries, complete, _) = listed.expect("listed");
        (entries.iter().map(|named| named.name.to_string()).collect(), complete)
    }

    /// All names, part after part.
    async fn all(&self, limit: usize) -> Vec<String> {
        let (mut all, mut complete) = (Vec::new(), false);
        while !complete {
            let after: Option<String> = all.last().cloned();
            let (part, is_last) = self.part(after.as_deref(), limit).await;
            all.extend(part);
            complete = is_last;
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_names_are_shown_before_the_last_ones_are_listed() {
    let bucket = bucket(3, 1).await;
    let world = World::over_bucket(&bucket, MountOptions::FRESHNESS_DEFAULT).await;
    // Of the last key of a page it is not known yet whether a directory hides it.
    let (first, complete) = world.part(None, 1000).await;
    assert_eq!((first, complete), ((0..PAGE - 1).map(key).collect(), false));
    bucket.send(2);
    assert_eq!(world.all(7).await, (0..3 * PAGE).map(key).collect::<Vec<_>>());
    assert_eq!(world.requests(), 3, "they are all of one listing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_looked_up_as_soon_as_its_place_was_passed() {
    let bucket = bucket(3, 2).await;
    let world = World::over_bucket(&bucket, MountOptions::FRESHNESS_DEFAULT).await;
    let data = world.data().await;
    for (of, is_there) in [(key(PAGE), true), ("f0010-".to_owned(), false), (key(0), true)] {
        let found = tree::lookup(&world.shared, data, &name(&of)).await.expect("looked up").0;
        assert_eq!(found.is_some(), is_there, "{of}");
    }
    bucket.send(1);
    let missing = tree::lookup(&world.shared, data, &name("g")).await.expect("looked up");
    assert!(missing.0.is_none() && missing.1.granted > Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_shown_is_opened_before_its_directory_is_listed_to_its_end() {
    let bucket = bucket(3, 1).await;
    let world = World::over_bucket(&bucket, MountOptions::FRESHNESS_DEFAULT).await;
    let data = world.data().await;
    let inode = async |of: &str| {
        let found = tree::lookup(&world.shared, data, &name(of)).await.expect("looked up").0;
        found.expect("its place was passed").inode
    };
    let (kept, gone) = (inode(&key(0)).await, inode(&key(1)).await);
    let version = |entry: Entry| entry.version.expect("a file").0.file;
    let (opened, valid) = tree::open(&world.shared, kept).await.expect("opened");
    let (seen, _) = tree::attributes(&world.shared, kept).await.expect("seen");
    let opened = version(opened);
    assert_eq!(version(seen), opened);
    assert!(valid.alone > Duration::ZERO && world.requests() <= 2, "no page came since");

    bucket.send(2);
    assert_eq!(world.all(1000).await.len(), 3 * PAGE);
    bucket.remove(&key(1));
    world.clock.advance(Duration::from_secs(200));
    // Of three pages.
    bucket.send(1);
    assert_eq!(version(tree::open(&world.shared, kept).await.expect("opened").0), opened);
    let missing = tree::open(&world.shared, gone).await.expect_err("the listing has shown that it is gone");
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_listed_than_somebody_reads_and_a_reader_that_comes_back_gets_the_rest() {
    let bucket = bucket(20, usize::MAX >> 4).await;
    let world = World::over_bucket(&bucket, MountOptions::FRESHNESS_DEFAULT).await;
    let first = world.part(None, 1000).await.0;
    let most = usize::try_from(1 + limits::LISTING_PAGES_AHEAD).expect("a few");
    world.wait_for_requests(most as u64).await;
    assert!(first.len() < most * PAGE, "{first:?}");
    assert_eq!(world.all(1000).await, (0..20 * PAGE).map(key).collect::<Vec<_>>());
    assert_eq!(world.requests(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_nobody_reads_does_not_hold_up_the_next_one() {
    let bucket = bucket(20, usize::MAX >> 4).await;
    let world = World::over_bucket(&bucket, MountOptions::FRESHNESS_DEFAULT).await;
    world.part(None, 1000).await;
    let most = 1 + limits::LISTING_PAGES_AHEAD;
    world.wait_for_requests(most).await;
    world.clock.advance(Duration::from_secs(200));
    let found = tokio::time::timeout(limits::LISTING_UNWANTED_MAX / 2, world.all(1000));
    assert_eq!(found.await.expect("at once").len(), 20 * PAGE);
    assert_eq!(world.requests(), most + 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_under_way_shows_no_name_that_it_missed_and_names_go_at_its_end() {
    let bucket = bucket(3, 3).await;
    let world = World::over_bucket(&bucket, MountOptions::FRESHNESS_DEFAULT).await;
    assert_eq!(world.all(1000).await.len(), 3 * PAGE);
    for gone in [0, 5, PAGE + 1, 3 * PAGE - 1] {
        bucket.remove(&key(gone));
    }
    world.clock.advance(Duration::from_secs(200));
    bucket.send(1);
    let part = world.part(None, 1000).await.0;
    assert!(part.len() < PAGE && !part.contains(&key(0)) && !part.contains(&key(5)), "{part:?}");
    let data = world.data().await;
    let gone = tree::lookup(&world.shared, data, &name(&key(0))).await.expect("looked up");
    assert!(gone.0.is_none());
    let last = part.last().expect("not empty");
    let rest = world.part(Some(last), 1000);
    tokio::pin!(rest);
    let (rest, _) = tokio::select! {
        rest = &mut rest => rest,
        () = world.waiting(data, 1) => {
            bucket.send(2);
            rest.await
        }
    };
    let gone = [PAGE + 1, 3 * PAGE - 1].map(key);
    assert!(!rest.is_empty() && !gone.iter().any(|gone| rest.contains(gone)), "{rest:?}");
    let expected: Vec<_> =
        (0..3 * PAGE).filter(|at| ![0, 5, PAGE + 1, 3 * PAGE - 1].contains(at)).map(key).collect();
    assert_eq!(world.all(1000).await, expected);
    let known = world.shared.query(|state| Ok(query::list(state, data, None, 1000)?)).await.expect("read");
    assert_eq!(known.len(), expected.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_is_cut_short_removes_nothing_and_the_next_whole_one_does() {
    let bucket = bucket(3, 3).await;
    let world = World::over_bucket(&bucket, MountOptions::FRESHNESS_DEFAULT).await;
    assert_eq!(world.all(1000).await.len(), 3 * PAGE);
    let gone = [5, PAGE + 1, 3 * PAGE - 1];
    gone.iter().for_each(|gone| bucket.remove(&key(*gone)));
    world.clock.advance(Duration::from_secs(200));
    let data = world.data().await;
    let shared = Arc::clone(&world.shared);
    let refreshing = tokio::spawn(async move { tree::refresh(&shared, data).await });
    bucket.settled(4).await;
    bucket.send(1);
    bucket.settled(5).await;
    bucket.refuse(true);
    bucket.send(1);
    assert!(refreshing.await.expect("no panic").is_err(), "its second page was refused");
    let known = async || {
        world.shared.query(move |state| Ok(query::list(state, data, None, 1000)?)).await.expect("read").len()
    };
    assert_eq!(known().await, 3 * PAGE);
    bucket.refuse(false);
    bucket.send(3);
    world.clock.advance(Duration::from_secs(200));
    assert_eq!(world.all(1000).await.len(), 3 * PAGE - gone.len());
    assert_eq!(known().await, 3 * PAGE - gone.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_on_after_the_freshness_waits_for_what_it_reads_and_for_no_more() {
    let bucket = bucket(3, 3).await;
    let world = World::over_bucket(&bucket, MountOptions::FRESHNESS_DEFAULT).await;
    assert_eq!(world.all(1000).await.len(), 3 * PAGE);
    bucket.remove(&key(PAGE + 2));
    world.clock.advance(Duration::from_secs(200));
    // Of three pages.
    bucket.send(2);
    let (rest, complete) = world.part(Some(&key(PAGE)), 1000).await;
    assert_eq!((rest.first(), complete), (Some(&key(PAGE + 1)), false));
    assert!(!rest.contains(&key(PAGE + 2)), "{rest:?}");
}

impl World {
    /// A reader that goes through the directory to its end, part after part; `between` is done after each.
    async fn through(&self, limit: usize, between: impl Fn()) -> Vec<String> {
        let (data, begun) = (self.data().await, self.shared.clock.boot_instant());
        let (mut all, mut after, mut is_last) = (Vec::new(), None, false);
        while !is_last {
            let part = tree::go_through(&self.shared, data, after.as_ref(), limit, begun).await;
            let (entries, complete) = part.expect("listed");
            after = entries.last().map(|last| ListingPosition::of(&last.name, last.entry.kind));
            all.extend(entries.iter().map(|named| named.name.to_string()));
            is_last = complete;
            between();
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_through_to_the_end_has_the_first_names_at_once_and_the_listing_does_not_wait_for_it() {
    let bucket = bucket(20, 1).await;
    let world = World::over_bucket(&bucket, MountOptions::FRESHNESS_DEFAULT).await;
    let (data, begun) = (world.data().await, world.shared.clock.boot_instant());
    let (first, complete) = tree::go_through(&world.shared, data, None, 1000, begun).await.expect("listed");
    assert_eq!((first.len(), complete), (PAGE - 1, false));
    bucket.send(19);
    world.wait_for_requests(20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_longer_than_the_freshness_has_a_directory_listed_once() {
    let bucket = bucket(5, usize::MAX >> 4).await;
    let world = World::over_bucket(&bucket, MountOptions::FRESHNESS_DEFAULT).await;
    let slow = || {
        world.clock.advance(Duration::from_secs(200));
        // What was taken after that does not count as read.
        bucket.put("f0000-");
    };
    assert_eq!(world.through(PAGE / 2, slow).await, (0..5 * PAGE).map(key).collect::<Vec<_>>());
    assert!(world.requests() <= 5 + 6, "once, and perhaps a second time in the background");
    assert_eq!(
        world.through(1000, || ()).await.len(),
        5 * PAGE + 1,
        "another reader begins with what is there now"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_at_each_open_still_has_a_directory_listed_once_by_a_reader() {
    let bucket = bucket(5, usize::MAX >> 4).await;
    let world = World::over_bucket(&bucket, Freshness::Bound(Duration::ZERO)).await;
    let names = world.through(PAGE / 2, || world.clock.advance(Duration::from_secs(1))).await;
    assert_eq!(names, (0..5 * PAGE).map(key).collect::<Vec<_>>());
    assert_eq!(world.requests(), 5);
}
