//! An under-store that is away, where the mount says that nothing is told past its freshness.

use std::path::PathBuf;

use forebay_metadata::{ChangeMount, OnOutage};
use forebay_proto::Entry;

use super::*;
use crate::error::MasterError;
use crate::mount_states::{MountState, provenance};

/// A folder with `f` and the directory `d`, of which `f` and what is in `d` are known.
async fn failing(freshness: Freshness) -> World {
    let source = TempDir::new().expect("a folder");
    let uri = format!("file://{}", source.path().display());
    let options = MountOptions { freshness, on_outage: OnOutage::Fail, ..MountOptions::default() };
    let world = World::mounting(source, &uri, options).await;
    world.write("f", "content");
    std::fs::create_dir_all(world.source.path().join("d/unseen")).expect("made");
    assert_eq!(world.names().await, ["d", "f"]);
    world
}

impl World {
    /// Takes the folder away; gives where it is.
    fn take_away(&self) -> PathBuf {
        let away = self.source.path().with_extension("away");
        std::fs::rename(self.source.path(), &away).expect("renamed");
        away
    }

    fn bring_back(&self, away: PathBuf) {
        std::fs::rename(away, self.source.path()).expect("renamed");
    }

    async fn entry(&self, at: &str) -> Entry {
        tree::resolve(&self.shared, &path(at)).await.expect("known").0
    }

    /// How each kind of question about `f` and its directory is answered.
    async fn answers(&self, file: InodeId, data: InodeId) -> Vec<Result<(), MasterError>> {
        let shared = &self.shared;
        vec![
            tree::lookup(shared, data, &name("f")).await.map(drop),
            tree::lookup(shared, data, &name("missing")).await.map(drop),
            tree::attributes(shared, file).await.map(drop),
            tree::open(shared, file).await.map(drop),
            tree::list(shared, data, None, 100).await.map(drop),
            tree::list_by_key(shared, data, None, 100).await.map(drop),
        ]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn past_its_freshness_nothing_is_told_and_when_the_under_store_is_back_all_goes_on() {
    let world = failing(MountOptions::FRESHNESS_DEFAULT).await;
    let (file, data) = (world.entry("/data/f").await.inode, world.data().await);
    let away = world.take_away();
    world.clock.advance(Duration::from_secs(30));
    assert!(world.answers(file, data).await.iter().all(Result::is_ok), "within the freshness");
    world.clock.advance(Duration::from_secs(31));
    for answer in world.answers(file, data).await {
        let error = answer.expect_err("past the freshness");
        assert_eq!(error.kind(), ErrorKind::UnderStore, "{error}");
        let (told, uri) = (error.to_string(), format!("file://{}", world.source.path().display()));
        assert!(told.starts_with("/data is not answered: ") && told.contains(&uri), "{told}");
        assert!(told.contains("is away since 2027-01-15T08:0"), "{told}");
    }
    let failure = world.shared.under_stores.failure(MOUNT).expect("it is away");
    world.clock.advance(limits::OUTAGE_RETRY_AFTER);
    assert!(world.answers(file, data).await.iter().all(Result::is_err));
    let later = world.shared.under_stores.failure(MOUNT).expect("it is away");
    assert_eq!(later.since, failure.since, "it is one outage");

    world.bring_back(away);
    world.write("g", "content");
    world.clock.advance(limits::OUTAGE_RETRY_AFTER);
    assert_eq!(world.names().await, ["d", "f", "g"]);
    assert!(world.answers(file, data).await.iter().all(Result::is_ok));
    assert_eq!(world.shared.under_stores.failure(MOUNT), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_freshness_of_zero_an_open_fails_with_the_under_store() {
    let world = failing(Freshness::Bound(Duration::ZERO)).await;
    let file = world.entry("/data/f").await.inode;
    world.take_away();
    let error = tree::open(&world.shared, file).await.expect_err("nobody can tell");
    assert_eq!(error.kind(), ErrorKind::UnderStore, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_never_changes_is_never_past_its_freshness() {
    let world = failing(Freshness::Immutable).await;
    let (file, data) = (world.entry("/data/f").await.inode, world.data().await);
    world.take_away();
    world.clock.advance(Duration::from_secs(1_000_000));
    assert!(tree::refresh(&world.shared, data).await.is_err());
    // What a new master finds when it knows nothing of earlier listings.
    for _ in 0..2 {
        assert!(world.answers(file, data).await.iter().all(Result::is_ok));
        *world.shared.checks.lock() = crate::freshness::Checks::default();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_listed_is_an_error_and_neither_missing_nor_empty() {
    for on_outage in [OnOutage::Serve, OnOutage::Fail] {
        let world = failing(MountOptions::FRESHNESS_DEFAULT).await;
        let change = ChangeMount { on_outage: Some(on_outage), ..ChangeMount::of(path("/data")) };
        world.shared.propose(None, Command::ChangeMount(change)).await.expect("changed");
        let directory = world.entry("/data/d").await.inode;
        world.take_away();
        for _ in 0..2 {
            let listed = tree::list(&world.shared, directory, None, 100).await.map(drop);
            let found = tree::lookup(&world.shared, directory, &name("unseen")).await.map(drop);
            for answer in [listed, found] {
                let error = answer.expect_err("nobody knows");
                assert_eq!(error.kind(), ErrorKind::UnderStore, "{on_outage:?}: {error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_whose_root_was_never_seen_is_an_error_too() {
    let source = TempDir::new().expect("a folder");
    let world = World::over(source, MountOptions::FRESHNESS_DEFAULT).await;
    let data = world.data().await;
    world.take_away();
    let error = tree::list(&world.shared, data, None, 100).await.expect_err("nobody knows");
    assert_eq!(error.kind(), ErrorKind::UnderStore, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_past_its_freshness_says_so_and_since_when() {
    let world = World::bounded().await;
    world.write("f", "content");
    let begun = world.shared.clock.now();
    let entry = world.entry("/data/f").await;
    let of = async |entry: &Entry| provenance(&world.shared, entry).await.expect("told").expect("mounted");
    let fresh = of(&entry).await;
    assert_eq!((fresh.mount.state.as_str(), fresh.is_stale), ("READY", false));
    world.take_away();
    world.clock.advance(Duration::from_secs(100));
    for at in ["/data/f", "/data"] {
        let entry = world.entry(at).await;
        assert_eq!(world.names().await, ["f"], "served");
        let stale = of(&entry).await;
        assert_eq!((stale.mount.state.as_str(), stale.is_stale), ("UNREACHABLE", true));
        let since = Timestamp::from_nanos(begun.nanos() + 60_000_000_000);
        assert_eq!(stale.stale_since, Some(since), "since its minute was over");
        assert_eq!(stale.mount.unreachable_since_nanos, Some(world.shared.clock.now().nanos()));
        assert!(!stale.mount.reason.is_empty() && stale.mount.path == "/data");
    }
    let mount = world.shared.query(|state| Ok(query::mount(state, MOUNT)?)).await.expect("read");
    assert_eq!(MountState::of(&world.shared, &mount.expect("mounted")).name(), "UNREACHABLE");
}
