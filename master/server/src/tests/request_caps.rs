//! An under-store that may be asked so often and no more: whoever is waited for goes first.

use super::bucket::Bucket;
use super::*;
use crate::request_cap::Urgency;

/// Waits and refusals of one urgency.
fn waits(world: &World, urgency: &str) -> u64 {
    world.shared.metrics.turns(urgency, "waited") + world.shared.metrics.turns(urgency, "refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_in_the_background_that_somebody_begins_to_wait_for_goes_first() {
    let bucket = Bucket::new(usize::MAX >> 4).await;
    bucket.put("f");
    let world = World::over_capped_bucket(&bucket, MountOptions::FRESHNESS_DEFAULT, 1).await;
    assert_eq!(world.names().await, ["f"]);
    let behind = (0..60).map(|_| {
        let shared = Arc::clone(&world.shared);
        tokio::spawn(async move { shared.turn(MOUNT, Urgency::Background, 1).await })
    });
    let behind: Vec<_> = behind.collect();
    while waits(&world, "background") == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.clock.advance(Duration::from_secs(200));
    let data = world.data().await;
    let shared = Arc::clone(&world.shared);
    let job = tokio::spawn(async move { tree::list_whole(&shared, data).await });
    world.waiting(data, 1).await;
    // Somebody asks for it while it waits for a turn of the background, behind all those.
    assert_eq!(world.names().await, ["f"]);
    assert!(job.await.expect("no panic").is_ok(), "it is the same listing");
    assert_eq!(world.requests(), 2);
    assert!(behind.iter().any(|behind| !behind.is_finished()), "it did not wait for them");
    behind.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_whose_turn_would_come_too_late_is_refused_and_is_no_outage() {
    let bucket = Bucket::new(usize::MAX >> 4).await;
    bucket.put("f");
    let world = World::over_capped_bucket(&bucket, MountOptions::FRESHNESS_DEFAULT, 1).await;
    assert_eq!(world.names().await, ["f"]);
    world.shared.under_stores.turns(MOUNT).expect("connected").crowd(300);
    world.clock.advance(Duration::from_secs(200));
    let data = world.data().await;
    let refused = tree::list(&world.shared, data, None, 100).await.expect_err("too many ask");
    assert_eq!(refused.kind(), ErrorKind::Busy, "{refused}");
    assert!(refused.to_string().contains("requests_per_second_max"), "{refused}");
    assert!(world.shared.under_stores.failure(MOUNT).is_none());
    assert_eq!((world.requests(), world.shared.metrics.turns("foreground", "refused")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_the_machine_has_no_cap() {
    let source = TempDir::new().expect("a folder");
    let uri = format!("file://{}", source.path().display());
    let world = World::capped(source, &uri, MountOptions::default(), 1).await;
    world.write("f", "content");
    for _ in 0..20 {
        let data = world.data().await;
        tree::refresh(&world.shared, data).await.expect("listed");
    }
    assert_eq!((world.requests(), waits(&world, "foreground")), (20, 0));
}
