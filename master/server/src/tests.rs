//! The master over a real log and a real folder, with clocks that the test moves.

mod bucket;
mod budget;
mod large_listings;
mod late_looks;
mod long_answers;
mod maintenance;
mod metadata_loads;
mod mounted_directories;
mod outage;
mod outbox;
mod request_caps;
mod single_names;
mod slow_listings;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use forebay_metadata::{Command, Freshness, Mount, MountOptions, OptionValue, query};
use forebay_proto::{ChangedName, ChangedNames, DirectoryChange, News, Validity};
use forebay_runtime::{ManualClock, Shutdown};
use forebay_types::{EntryName, ErrorKind, InodeId, MountId, NamespacePath, Timestamp};
use tempfile::TempDir;

use crate::server::{Master, MasterSettings};
use crate::shared::Shared;
use crate::{limits, tree};

/// A master with one mount, `/data`, of a folder.
struct World {
    shared: Arc<Shared>,
    clock: Arc<ManualClock>,
    source: TempDir,
    _dir: TempDir,
    shutdown: Shutdown,
}

const MOUNT: MountId = MountId::new(1);

impl World {
    async fn new(freshness: Freshness) -> Self {
        Self::over(TempDir::new().expect("a folder"), freshness).await
    }

    async fn over(source: TempDir, freshness: Freshness) -> Self {
        let uri = format!("file://{}", source.path().display());
        Self::mounting(source, &uri, MountOptions { freshness, ..MountOptions::default() }).await
    }

    /// The mount is a bucket; the folder is of no use.
    async fn over_bucket(bucket: &bucket::Bucket, freshness: Freshness) -> Self {
        Self::over_capped_bucket(bucket, freshness, 0).await
    }

    /// The same, which is asked so often in a second at most.
    async fn over_capped_bucket(bucket: &bucket::Bucket, freshness: Freshness, per_second: u32) -> Self {
        let plain = |(name, value): (&str, String)| (name.to_owned(), OptionValue::Plain(value));
        let options =
            [("endpoint", format!("http://{}", bucket.address)), ("skip_signature", "true".to_owned())];
        let options = options.into_iter().map(plain).collect();
        let options = MountOptions { freshness, options, ..MountOptions::default() };
        Self::capped(TempDir::new().expect("a folder"), "s3://bucket", options, per_second).await
    }

    async fn mounting(source: TempDir, uri: &str, options: MountOptions) -> Self {
        Self::bounded_by(source, uri, options, (0, 0)).await
    }

    /// The under-store is asked so often in a second at most; 0 for as often as it comes.
    async fn capped(source: TempDir, uri: &str, options: MountOptions, requests_per_second_max: u32) -> Self {
        Self::bounded_by(source, uri, options, (requests_per_second_max, 0)).await
    }

    /// So many files and links are known at most; 0 for as many as there are.
    async fn within(budget: u64, source: TempDir, uri: &str, options: MountOptions) -> Self {
        Self::bounded_by(source, uri, options, (0, budget)).await
    }

    async fn bounded_by(
        source: TempDir,
        uri: &str,
        options: MountOptions,
        (requests_per_second_max, loaded_entries_max): (u32, u64),
    ) -> Self {
        let dir = TempDir::new().expect("a folder");
        let clock = Arc::new(ManualClock::new(Timestamp::from_parts(1_800_000_000, 0)));
        let shutdown = Shutdown::new();
        let settings = MasterSettings {
            dir: dir.path().to_owned(),
            private_folders: Vec::new(),
            slot: 1,
            address: "127.0.0.1:1".to_owned(),
            peers: crate::PeerList::default(),
            election_timeout: std::time::Duration::from_secs(1),
            reads: forebay_raft::Reads::default(),
            clock: Arc::clone(&clock) as _,
            environment: BTreeMap::new(),
            requests_per_second_max,
            loaded_entries_max,
            registry: prometheus::Registry::new(),
        };
        let master = Master::new(settings).expect("settings");
        master.start(&shutdown).await.expect("started");
        let shared = master.shared();
        let mount = Mount { path: path("/data"), uri: uri.parse().expect("legal"), options };
        shared.propose(None, Command::Mount(mount)).await.expect("mounted");
        Self { shared, clock, source, _dir: dir, shutdown }
    }

    async fn bounded() -> Self {
        Self::new(MountOptions::FRESHNESS_DEFAULT).await
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.source.path().join(name), content).expect("written");
    }

    /// Replaces a file as careful programs do: the new content gets an inode of its own.
    fn replace(&self, name: &str, content: &str) {
        self.write("new", content);
        std::fs::rename(self.source.path().join("new"), self.source.path().join(name)).expect("renamed");
    }

    /// The mount's root directory, of which nothing is asked.
    async fn data(&self) -> InodeId {
        let root = self.shared.query(|state| Ok(query::resolve(state, &path("/data"))?.inode.id));
        root.await.expect("mounted")
    }

    async fn names(&self) -> Vec<String> {
        let data = self.data().await;
        let (entries, complete, _) = tree::list(&self.shared, data, None, 100).await.expect("listed");
        assert!(complete);
        entries.iter().map(|named| named.name.to_string()).collect()
    }

    fn requests(&self) -> u64 {
        self.shared.under_stores.requests(MOUNT)
    }

    /// Waits until each directory that is due was listed or passed over.
    async fn wait_until_nothing_is_due(&self) {
        while self.shared.checks.lock().is_any_due(self.shared.clock.boot_instant()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the under-store was asked so often, and no more.
    async fn wait_for_requests(&self, requests: u64) {
        while self.requests() < requests {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(self.requests(), requests);
    }
}

impl Drop for World {
    /// Closes the log: a process that ends under the threads of its database may crash.
    fn drop(&mut self) {
        let finish = self.shutdown.finish(Duration::from_secs(10));
        let stopped = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(finish));
        assert!(stopped.is_ok() || std::thread::panicking(), "{stopped:?}");
    }
}

fn path(text: &str) -> NamespacePath {
    text.parse().expect("a legal path")
}

fn name(text: &str) -> EntryName {
    EntryName::new(text.as_bytes()).expect("a legal name")
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_at_once_share_one_listing() {
    let world = World::bounded().await;
    world.write("f", "content");
    let data = world.data().await;
    let asked = (0..50).map(|_| {
        let shared = Arc::clone(&world.shared);
        tokio::spawn(async move { tree::lookup(&shared, data, &name("f")).await })
    });
    for answer in asked.collect::<Vec<_>>() {
        assert!(answer.await.expect("no panic").expect("answered").0.is_some());
    }
    assert_eq!(world.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_directory_is_listed_again_after_its_bound_and_costs_no_entry_of_the_log() {
    let world = World::bounded().await;
    world.write("f", "content");
    assert_eq!(world.names().await, ["f"]);
    let applied = async || world.shared.begin(|_| Ok(())).await.expect("read").0;
    let last = applied().await;
    world.clock.advance(Duration::from_secs(20));
    assert_eq!((world.names().await, world.requests()), (vec!["f".to_owned()], 1));
    world.clock.advance(Duration::from_secs(41));
    assert_eq!((world.names().await, world.requests()), (vec!["f".to_owned()], 2));
    assert_eq!(applied().await, last);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_gone_and_replaced_files_are_seen_after_the_bound() {
    let world = World::bounded().await;
    world.write("gone", "x");
    world.write("kept", "x");
    world.write("replaced", "old");
    let data = world.data().await;
    let version = async |of: &str| {
        let (entry, _) = tree::lookup(&world.shared, data, &name(of)).await.expect("answered");
        entry.and_then(|entry| entry.version).map(|(version, _)| version.file)
    };
    let (kept, replaced) = (version("kept").await, version("replaced").await);
    std::fs::remove_file(world.source.path().join("gone")).expect("removed");
    world.replace("replaced", "new");
    world.write("added", "x");
    assert_eq!(version("replaced").await, replaced, "within the bound nobody asks");
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(world.names().await, ["added", "kept", "replaced"]);
    assert_eq!(version("kept").await, kept);
    assert_ne!(version("replaced").await, replaced);
    assert_eq!(version("gone").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_makes_nothing_fresh() {
    let world = World::bounded().await;
    assert!(world.names().await.is_empty());
    world.write("f", "content");
    world.clock.advance(Duration::from_secs(61));
    world.clock.set_time_of_day(Timestamp::from_parts(1_000_000_000, 0));
    assert_eq!(world.names().await, ["f"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_is_served_while_the_under_store_is_away_and_renewed_when_it_is_back() {
    let world = World::bounded().await;
    world.write("f", "content");
    assert_eq!(world.names().await, ["f"]);
    let away = world.source.path().with_extension("away");
    std::fs::rename(world.source.path(), &away).expect("renamed");
    world.clock.advance(Duration::from_secs(61));
    let data = world.data().await;
    let (_, _, valid) = tree::list(&world.shared, data, None, 100).await.expect("served");
    assert!(valid.alone <= limits::OUTAGE_VALIDITY && valid.granted <= limits::OUTAGE_VALIDITY);
    assert!(world.shared.under_stores.failure(MOUNT).is_some());
    std::fs::rename(&away, world.source.path()).expect("renamed");
    world.write("g", "content");
    world.clock.advance(limits::OUTAGE_RETRY_AFTER);
    assert_eq!(world.names().await, ["f", "g"]);
    assert!(world.shared.under_stores.failure(MOUNT).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_is_told_which_names_changed_and_may_use_all_else_until_its_freshness_ends() {
    let world = World::bounded().await;
    for name in ["changed", "gone", "same"] {
        world.write(name, "content");
    }
    let data = world.data().await;
    let soon = || tokio::time::Instant::now() + Duration::from_secs(20);
    let begin = world.shared.feed.follow(None, soon()).await;
    world.clock.advance(Duration::from_secs(10));
    let (_, _, valid) = tree::list(&world.shared, data, None, 100).await.expect("listed");
    let granted = Duration::from_secs(60);
    assert_eq!(valid, Validity { alone: limits::COHERENCE_BOUND, granted });
    let inode = async |name: &str| {
        let path = path(&format!("/data/{name}"));
        tree::resolve(&world.shared, &path).await.expect("there").0.inode
    };
    let (changed, gone) = (inode("changed").await, inode("gone").await);
    world.replace("changed", "other content");
    std::fs::remove_file(world.source.path().join("gone")).expect("removed");
    world.write("added", "content");
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(world.names().await, ["added", "changed", "same"]);
    let name = |text: &str, before| ChangedName { name: name(text), before };
    let expected = vec![name("added", None), name("changed", Some(changed)), name("gone", Some(gone))];
    let (mut names, mut after) = (Vec::new(), begin.position);
    while names.len() < expected.len() {
        let followed = world.shared.feed.follow(Some(after), soon()).await;
        let News::Changes(changes) = followed.news else { panic!("nothing was lost") };
        for DirectoryChange { directory, names: of } in changes {
            let ChangedNames::These(more) = of else { panic!("{of:?}") };
            // With what is in it the time of the mount's own directory changes, where that lies.
            match directory {
                InodeId::ROOT => assert!(more.iter().all(|changed| changed.before == Some(data)), "{more:?}"),
                _ => {
                    assert_eq!(directory, data);
                    names.extend(more);
                }
            }
        }
        after = followed.position;
    }
    assert_eq!(names, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_that_comes_or_goes_is_told_as_everything() {
    let world = World::bounded().await;
    let soon = || tokio::time::Instant::now() + Duration::from_secs(20);
    let mut after = world.shared.feed.follow(None, soon()).await.position;
    let other = TempDir::new().expect("a folder");
    let uri = format!("file://{}", other.path().display()).parse().expect("legal");
    let mount = Mount { path: path("/other"), uri, options: MountOptions::default() };
    let mounted = world.shared.raft.propose(None, Command::Mount(mount), soon()).await.expect("mounted");
    // The mount of the world itself may not have been taken up yet.
    while after.index < mounted.index {
        let followed = world.shared.feed.follow(Some(after), soon()).await;
        assert_eq!(followed.news, News::Everything);
        after = followed.position;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_freshness_of_zero_each_open_asks_for_the_file_itself() {
    let world = World::new(Freshness::Bound(Duration::ZERO)).await;
    world.write("f", "old");
    let (entry, valid) = tree::resolve(&world.shared, &path("/data/f")).await.expect("there");
    assert_eq!(valid, Validity::default());
    let seen = entry.version.expect("a file").0.file;
    let same = tree::open(&world.shared, entry.inode).await.expect("open").0.version.expect("a file").0.file;
    assert_eq!(same, seen);
    world.replace("f", "new");
    let next = tree::open(&world.shared, entry.inode).await.expect("open").0.version.expect("a file").0.file;
    assert_ne!(next, seen);
    std::fs::remove_file(world.source.path().join("f")).expect("removed");
    let gone = tree::open(&world.shared, entry.inode).await.expect_err("gone");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_is_listed_in_the_background_until_nobody_asks_about_it_for_long() {
    let world = World::bounded().await;
    world.write("f", "content");
    assert_eq!((world.names().await, world.requests()), (vec!["f".to_owned()], 1));
    for listings in 2..5 {
        world.clock.advance(Duration::from_secs(38));
        world.wait_for_requests(listings).await;
    }
    // Nearly two minutes after its only question: it was listed a moment ago.
    assert_eq!((world.names().await, world.requests()), (vec!["f".to_owned()], 4));
    world.clock.advance(Duration::from_secs(200));
    world.wait_until_nothing_is_due().await;
    assert_eq!(world.requests(), 4, "nobody asks any more");
    assert_eq!((world.names().await, world.requests()), (vec!["f".to_owned()], 5));
    world.clock.advance(Duration::from_secs(38));
    world.wait_for_requests(6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_mount_is_listed_once_for_ever() {
    let world = World::new(Freshness::Immutable).await;
    world.write("f", "content");
    assert_eq!(world.names().await, ["f"]);
    world.clock.advance(Duration::from_secs(1_000_000));
    assert_eq!((world.names().await, world.requests()), (vec!["f".to_owned()], 1));
    // What a new master finds when it knows nothing of earlier listings.
    *world.shared.checks.lock() = crate::freshness::Checks::default();
    assert_eq!((world.names().await, world.requests()), (vec!["f".to_owned()], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_path_is_named_up_to_its_first_missing_part() {
    let world = World::bounded().await;
    let error = tree::resolve(&world.shared, &path("/data/no/such")).await.expect_err("missing");
    assert_eq!(error.to_string(), "/data/no/such does not exist: there is no `no` in /data");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_found_to_be_gone_goes_from_its_own_directory_at_once() {
    let world = World::bounded().await;
    for directory in ["come/gone", "come/turned"] {
        std::fs::create_dir_all(world.source.path().join(directory)).expect("made");
    }
    let inode = async |at: &str| tree::resolve(&world.shared, &path(at)).await.expect("there").0.inode;
    let (gone, turned) = (inode("/data/come/gone").await, inode("/data/come/turned").await);
    std::fs::remove_dir(world.source.path().join("come/gone")).expect("removed");
    std::fs::remove_dir(world.source.path().join("come/turned")).expect("removed");
    world.write("come/turned", "a file");
    for directory in [gone, turned] {
        let error = tree::list_by_key(&world.shared, directory, None, 10).await.expect_err("gone");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    let error = tree::resolve(&world.shared, &path("/data/come/gone")).await.expect_err("gone");
    assert_eq!(error.to_string(), "/data/come/gone does not exist: there is no `gone` in /data/come");
    let entry = tree::resolve(&world.shared, &path("/data/come/turned")).await.expect("there").0;
    assert_eq!(entry.length().get(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_place_a_directory_took_is_that_directory_also_where_each_open_asks() {
    let world = World::new(Freshness::Bound(Duration::ZERO)).await;
    world.write("f", "content");
    let file = tree::resolve(&world.shared, &path("/data/f")).await.expect("there").0;
    std::fs::remove_file(world.source.path().join("f")).expect("removed");
    std::fs::create_dir(world.source.path().join("f")).expect("made");
    let error = tree::open(&world.shared, file.inode).await.expect_err("no file any more");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let parent = world.data().await;
    let known =
        world.shared.query(|state| Ok(query::lookup(state, parent, &name("f"))?)).await.expect("read");
    assert_eq!(known.map(|known| known.kind()), Some(forebay_types::EntryKind::Directory));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_through_a_directory_that_is_gone_names_what_is_missing() {
    let world = World::bounded().await;
    std::fs::create_dir_all(world.source.path().join("come/gone")).expect("made");
    tree::resolve(&world.shared, &path("/data/come/gone")).await.expect("there");
    std::fs::remove_dir(world.source.path().join("come/gone")).expect("removed");
    let error = tree::resolve(&world.shared, &path("/data/come/gone/f")).await.expect_err("gone");
    assert_eq!(error.to_string(), "/data/come/gone/f does not exist: there is no `gone` in /data/come");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_are_loaded_in_pages_and_an_unmount_reaps_them() {
    let world = World::bounded().await;
    (0..2500).for_each(|number| world.write(&format!("f{number:04}"), ""));
    let data = world.data().await;
    let (first, complete, _) = tree::list(&world.shared, data, None, 1000).await.expect("listed");
    assert_eq!((first.len(), complete), (1000, false));
    let after = first.last().map(|named| named.name.clone());
    let (second, ..) = tree::list(&world.shared, data, after.as_ref(), 1000).await.expect("listed");
    assert_eq!(second[0].name, name("f1000"));
    let unmount = forebay_metadata::Unmount { path: path("/data") };
    world.shared.propose(None, Command::Unmount(unmount)).await.expect("unmounted");
    loop {
        let left = world.shared.query(|state| Ok(query::totals(state)?.files)).await.expect("answered");
        if left == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_taken_over_does_not_hide_its_neighbours() {
    // A tmpfs has room for sparse files that are longer than any object store's.
    let source = TempDir::new_in("/dev/shm").expect("a tmpfs");
    let world = World::over(source, MountOptions::FRESHNESS_DEFAULT).await;
    world.write("f", "content");
    let huge = std::fs::File::create(world.source.path().join("huge")).expect("created");
    huge.set_len(forebay_types::limits::FILE_LENGTH_MAX + 1).expect("sparse");
    assert_eq!(world.names().await, ["f"]);
    huge.set_len(1).expect("cut");
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(world.names().await, ["f", "huge"]);
}
