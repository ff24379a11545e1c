//! A mount whose under-store nobody may ask.

use forebay_metadata::{ChangeMount, MountMode};

use super::bucket::Bucket;
use super::*;
use crate::mount_states::provenance;

impl World {
    async fn set_mode(&self, mode: MountMode) {
        let change = ChangeMount { mode: Some(mode), ..ChangeMount::of(path("/data")) };
        self.shared.propose(None, Command::ChangeMount(change)).await.expect("changed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_is_told_whatever_its_age_and_all_else_is_refused_at_once_without_a_request() {
    for freshness in [MountOptions::FRESHNESS_DEFAULT, Freshness::Bound(Duration::ZERO), Freshness::Immutable]
    {
        let world = World::new(freshness).await;
        world.write("f", "content");
        std::fs::create_dir_all(world.source.path().join("d/unseen")).expect("made");
        assert_eq!(world.names().await, ["d", "f"]);
        let inode = async |at: &str| tree::resolve(&world.shared, &path(at)).await.expect("known").0.inode;
        let (file, directory, data) = (inode("/data/f").await, inode("/data/d").await, world.data().await);
        world.set_mode(MountMode::NoAccess).await;
        world.replace("f", "other content");
        world.write("new", "content");
        let asked = world.requests();
        world.clock.advance(Duration::from_secs(1_000_000));
        let shared = &world.shared;

        assert_eq!(world.names().await, ["d", "f"]);
        assert!(tree::lookup(shared, data, &name("f")).await.expect("known").0.is_some());
        assert!(tree::lookup(shared, data, &name("new")).await.expect("known").0.is_none());
        assert_eq!(tree::attributes(shared, file).await.expect("known").0.inode, file);
        assert_eq!(tree::open(shared, file).await.expect("known").0.inode, file);
        let refused = [
            tree::list(shared, directory, None, 100).await.map(drop),
            tree::lookup(shared, directory, &name("unseen")).await.map(drop),
            tree::refresh(shared, data).await,
            tree::refresh(shared, file).await,
            tree::renew(shared, file).await.map(drop),
            tree::deviations(shared, data).await.map(drop),
        ];
        for answer in refused {
            let error = answer.expect_err("the under-store alone knows");
            assert_eq!(error.kind(), ErrorKind::Maintenance, "{freshness:?}: {error}");
            let (told, source) = (error.to_string(), world.source.path().display());
            assert!(told.contains(&format!("`forebay mount file://{source} /data --mode normal`")), "{told}");
        }
        world.wait_until_nothing_is_due().await;
        assert_eq!(world.requests(), asked, "{freshness:?}");
        assert_eq!(shared.under_stores.failure(MOUNT), None, "it is no outage");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_it_ends_what_has_aged_is_compared_again() {
    let world = World::bounded().await;
    world.write("f", "content");
    let old = tree::resolve(&world.shared, &path("/data/f")).await.expect("there").0;
    world.set_mode(MountMode::NoAccess).await;
    world.replace("f", "other content");
    world.clock.advance(Duration::from_secs(100));
    let (known, valid) = tree::resolve(&world.shared, &path("/data/f")).await.expect("known");
    assert_eq!(known.inode, old.inode);
    assert!(valid.alone <= limits::COHERENCE_BOUND, "clients hear of the end in time");
    let told = provenance(&world.shared, &known).await.expect("told").expect("mounted");
    assert_eq!((told.mount.state.as_str(), told.is_stale), ("MAINTENANCE", true));
    assert!(told.mount.read_only && told.stale_since.is_some());
    world.set_mode(MountMode::Normal).await;
    let new = tree::resolve(&world.shared, &path("/data/f")).await.expect("there").0;
    assert_ne!(new.version.expect("a file").0.file, old.version.expect("a file").0.file);
    let told = provenance(&world.shared, &known).await.expect("told");
    assert!(told.is_none_or(|told| !told.is_stale && told.mount.state == "READY"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_under_way_asks_for_no_further_page_and_what_it_has_shown_is_told() {
    let bucket = Bucket::new(1).await;
    let key = |number: usize| format!("f{number:04}");
    (0..30).for_each(|number| bucket.put(&key(number)));
    bucket.set_page_length(10);
    let world = World::over_bucket(&bucket, MountOptions::FRESHNESS_DEFAULT).await;
    let data = world.data().await;
    let (first, ..) = tree::list_by_key(&world.shared, data, None, 100).await.expect("the first page");
    let shared = Arc::clone(&world.shared);
    let listing = tokio::spawn(async move { tree::list(&shared, data, None, 100).await.map(drop) });
    world.waiting(data, 1).await;
    world.set_mode(MountMode::NoAccess).await;
    bucket.send(2);
    let error = listing.await.expect("no panic").expect_err("the rest is not listed");
    assert_eq!(error.kind(), ErrorKind::Maintenance, "{error}");
    assert!(world.requests() <= 2, "{} pages were asked for", world.requests());

    let found = tree::lookup(&world.shared, data, &name(&key(0))).await.expect("it was seen").0;
    assert_eq!(found.map(|entry| entry.inode), first.first().map(|named| named.entry.inode));
    let unseen = tree::lookup(&world.shared, data, &name(&key(29))).await.expect_err("nobody knows");
    assert_eq!(unseen.kind(), ErrorKind::Maintenance, "and not that it is missing: {unseen}");
    world.set_mode(MountMode::Normal).await;
    bucket.send(3);
    assert_eq!(world.names().await.len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_that_has_asked_before_asks_no_further_and_has_what_is_known() {
    let bucket = Bucket::new(1).await;
    bucket.put("f");
    let world = World::over_bucket(&bucket, Freshness::Bound(Duration::ZERO)).await;
    let (known, _) = tree::resolve(&world.shared, &path("/data/f")).await.expect("there");
    bucket.put_as("f", "u");
    bucket.hold_back(true);
    let shared = Arc::clone(&world.shared);
    let open = tokio::spawn(async move { tree::open(&shared, known.inode).await });
    bucket.asked(1).await;
    let asked = world.requests();
    world.set_mode(MountMode::NoAccess).await;
    bucket.hold_back(false);
    let opened = open.await.expect("no panic").expect("it is known").0;
    assert_eq!((opened.version, world.requests()), (known.version, asked));
}
