//! Listings that take their time: who may share one, what an outage does meanwhile, and the end of the process.

use forebay_metadata::{ChangeMount, OnOutage};

use super::bucket::Bucket;
use super::*;
use crate::error::MasterError;

const AT_ONCE: Freshness = Freshness::Bound(Duration::ZERO);

type Answer = tokio::task::JoinHandle<Result<bool, MasterError>>;

impl World {
    /// Asks whether the mount has a name, as an own task.
    fn has(&self, data: InodeId, of: &str) -> Answer {
        let (shared, of) = (Arc::clone(&self.shared), name(of));
        tokio::spawn(async move { Ok(tree::lookup(&shared, data, &of).await?.0.is_some()) })
    }

    /// Opens a file until that ends the outage: a busy machine may be silent for longer than an open waits in one.
    async fn open_until_there(&self, inode: InodeId) {
        while self.shared.under_stores.failure(MOUNT).is_some() {
            tree::open(&self.shared, inode).await.expect("open");
        }
    }

    /// Waits until so many wait for a listing, this one or the next.
    pub(super) async fn waiting(&self, data: InodeId, wanted: usize) {
        loop {
            let (now, next) = self.shared.listings.waiting(data);
            if now + next >= wanted {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_freshness_of_zero_a_file_made_after_the_page_was_read_is_seen_by_the_next_question() {
    let bucket = Bucket::new(0).await;
    bucket.put("a");
    let world = World::over_bucket(&bucket, AT_ONCE).await;
    let data = world.data().await;
    let first = world.has(data, "a");
    bucket.settled(1).await;
    bucket.put("b");
    let others = [world.has(data, "b"), world.has(data, "b"), world.has(data, "b")];
    world.waiting(data, 4).await;
    bucket.send(2);
    assert!(first.await.expect("no panic").expect("answered"));
    for other in others {
        assert!(other.await.expect("no panic").expect("answered"), "made before it was asked for");
    }
    assert_eq!(world.requests(), 2, "those who came later share the next listing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_began_within_the_bound_is_shared_and_an_older_one_is_not() {
    let bucket = Bucket::new(0).await;
    let world = World::over_bucket(&bucket, Freshness::Bound(Duration::from_secs(2))).await;
    let data = world.data().await;
    let first = world.has(data, "b");
    bucket.settled(1).await;
    bucket.put("b");
    world.clock.advance(Duration::from_secs(1));
    let young = world.has(data, "b");
    world.waiting(data, 2).await;
    world.clock.advance(Duration::from_secs(1));
    let old = world.has(data, "b");
    world.waiting(data, 3).await;
    bucket.send(2);
    let answers = [first, young, old];
    let mut seen = Vec::new();
    for answer in answers {
        seen.push(answer.await.expect("no panic").expect("answered"));
    }
    assert!(seen[2], "two seconds are over: the listing was too old for this question");
    assert_eq!(world.requests(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_ends_while_a_listing_waits_for_a_silent_store() {
    let bucket = Bucket::new(0).await;
    let world = World::over_bucket(&bucket, AT_ONCE).await;
    let data = world.data().await;
    let first = world.has(data, "a");
    bucket.settled(1).await;
    let next = world.has(data, "a");
    world.waiting(data, 2).await;
    // Far less than a request to an under-store may take.
    assert_eq!(world.shutdown.finish(Duration::from_secs(10)).await, Ok(()));
    for asked in [first, next] {
        let error = asked.await.expect("no panic").expect_err("nobody lists any more");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}

/// How long two questions wait one after the other while the store says nothing, and whether they are answered.
async fn questions_in_silence(on_outage: OnOutage) -> [(Duration, bool); 2] {
    let bucket = Bucket::new(1).await;
    bucket.put("a");
    let world = World::over_bucket(&bucket, MountOptions::FRESHNESS_DEFAULT).await;
    let change = ChangeMount { on_outage: Some(on_outage), ..ChangeMount::of(path("/data")) };
    world.shared.propose(None, Command::ChangeMount(change)).await.expect("changed");
    let data = world.data().await;
    assert!(world.has(data, "a").await.expect("no panic").expect("answered"));
    let mut questions = [(Duration::ZERO, false); 2];
    for question in &mut questions {
        world.clock.advance(Duration::from_secs(61));
        let begun = std::time::Instant::now();
        let answer = world.has(data, "a").await.expect("no panic");
        *question = (begun.elapsed(), answer.is_ok_and(|is_there| is_there));
    }
    questions
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_store_is_waited_for_for_a_named_time_and_for_less_once_it_is_away() {
    let (served, failed) =
        tokio::join!(questions_in_silence(OnOutage::Serve), questions_in_silence(OnOutage::Fail));
    // A busy machine adds to each, but not up to the next longer one.
    let [short, long] = [limits::SILENCE_PATIENCE, limits::SILENCE_PATIENCE_FAIL];
    let again = limits::OUTAGE_PATIENCE..short;
    for (questions, first, is_served) in [(served, short..long, true), (failed, long..2 * long, false)] {
        for ((waited, was_served), named) in questions.into_iter().zip([first, again.clone()]) {
            assert!(named.contains(&waited), "{waited:?} is not in {named:?}");
            assert_eq!(was_served, is_served);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_an_open_meets_is_shown_and_so_is_its_end() {
    let bucket = Bucket::new(usize::MAX >> 4).await;
    bucket.put("a");
    let world = World::over_bucket(&bucket, AT_ONCE).await;
    let (entry, _) = tree::resolve(&world.shared, &path("/data/a")).await.expect("there");
    bucket.be_odd(true);
    let served = tree::open(&world.shared, entry.inode).await.expect("what is known is served").0;
    assert_eq!(served.version, entry.version);
    assert!(world.shared.under_stores.failure(MOUNT).is_some());
    bucket.be_odd(false);
    world.open_until_there(entry.inode).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_is_gone_is_an_outage_for_opens_as_for_listings() {
    let world = World::new(AT_ONCE).await;
    world.write("f", "content");
    let (entry, _) = tree::resolve(&world.shared, &path("/data/f")).await.expect("there");
    let away = world.source.path().with_extension("away");
    std::fs::rename(world.source.path(), &away).expect("renamed");
    let served = tree::open(&world.shared, entry.inode).await.expect("what is known is served").0;
    assert_eq!(served.version, entry.version);
    assert!(world.shared.under_stores.failure(MOUNT).is_some());
    std::fs::rename(&away, world.source.path()).expect("renamed");
    world.open_until_there(entry.inode).await;
}
