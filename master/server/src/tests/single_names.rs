//! Directories whose listing costs more than their freshness: a name is asked for alone.

use forebay_metadata::{ChangeMount, ForgetDirectory, MountMode, OnOutage};
use forebay_proto::Entry;
use forebay_types::EntryKind;

use super::bucket::Bucket;
use super::*;
use crate::error::MasterError;
use crate::mount_states::provenance;

const MINUTE: Duration = Duration::from_secs(60);
const AT_ONCE: Freshness = Freshness::Bound(Duration::ZERO);
/// Of one question to a bucket: for the object and for a directory.
const QUESTION: u64 = limits::STAT_REQUESTS as u64;

/// What a name is said to be: its kind, and the counter of its version.
type Told = Option<(EntryKind, Option<u64>)>;

fn told(entry: &Entry) -> (EntryKind, Option<u64>) {
    (entry.kind, entry.version.as_ref().map(|(version, _)| version.file.counter))
}

impl World {
    /// A bucket whose listing, which was over a minute ago, took longer than that.
    async fn dear(bucket: &Bucket) -> Self {
        let world = Self::over_bucket(bucket, Freshness::Bound(MINUTE)).await;
        let data = world.data().await;
        let shared = Arc::clone(&world.shared);
        let listing = tokio::spawn(async move { tree::list(&shared, data, None, 1000).await.map(drop) });
        bucket.settled(1).await;
        world.clock.advance(MINUTE * 2);
        bucket.send(1);
        listing.await.expect("no panic").expect("listed");
        world
    }

    /// A folder with a file, a directory and a link, whose listing took long by what is remembered of it.
    async fn dear_folder(on_outage: OnOutage) -> Self {
        let source = TempDir::new().expect("a folder");
        let uri = format!("file://{}", source.path().display());
        let options =
            MountOptions { freshness: Freshness::Bound(MINUTE), on_outage, ..MountOptions::default() };
        let world = Self::mounting(source, &uri, options).await;
        world.write("f", "content");
        std::fs::create_dir(world.source.path().join("d")).expect("made");
        std::os::unix::fs::symlink("f", world.source.path().join("l")).expect("made");
        assert_eq!(world.names().await, ["d", "f", "l"]);
        let data = world.data().await;
        world.shared.checks.lock().takes(data, MINUTE * 2);
        world.clock.advance(MINUTE);
        world
    }

    async fn find(&self, of: &str) -> (Option<Entry>, Validity) {
        let data = self.data().await;
        tree::lookup(&self.shared, data, &name(of)).await.expect("answered")
    }

    async fn tell(&self, of: &str) -> Told {
        self.find(of).await.0.as_ref().map(told)
    }

    async fn inode(&self, of: &str) -> InodeId {
        self.find(of).await.0.expect("there").inode
    }

    fn source_of(&self, of: &str) -> std::path::PathBuf {
        self.source.path().join(of)
    }

    async fn change(&self, change: ChangeMount) {
        self.shared.propose(None, Command::ChangeMount(change)).await.expect("changed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_asked_for_alone_and_the_answer_is_good_for_it_until_its_own_freshness_is_over() {
    let bucket = Bucket::new(0).await;
    ["a", "b"].iter().for_each(|key| bucket.put(key));
    let world = World::dear(&bucket).await;
    for of in ["a", "missing"] {
        let before = world.requests();
        let (entry, valid) = world.find(of).await;
        assert_eq!((entry.is_some(), world.requests()), (of == "a", before + QUESTION));
        let alone = limits::COHERENCE_BOUND;
        assert_eq!(valid, Validity { alone, granted: Duration::ZERO }, "no answer about all of it");
        world.clock.advance(MINUTE - Duration::from_secs(1));
        let (_, valid) = world.find(of).await;
        assert_eq!(valid, Validity { alone: Duration::from_secs(1), granted: Duration::ZERO });
        assert_eq!(world.requests(), before + QUESTION, "compared within the bound");
        world.clock.advance(Duration::from_secs(1));
        world.find(of).await;
        assert_eq!(world.requests(), before + 2 * QUESTION);
        world.clock.advance(MINUTE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_change_is_told_and_becomes_known_to_all() {
    let world = World::dear_folder(OnOutage::Serve).await;
    let soon = || tokio::time::Instant::now() + Duration::from_secs(20);
    let after = world.shared.feed.follow(None, soon()).await.position;
    let (file, directory) = (world.tell("f").await, world.tell("d").await);
    assert_eq!(world.tell("l").await, Some((EntryKind::Symlink, None)), "a link is not followed");
    world.replace("f", "other");
    world.write("new", "content");
    world.clock.advance(MINUTE);
    let (changed, new) = (world.tell("f").await, world.tell("new").await);
    assert!(changed != file && changed.is_some_and(|(kind, _)| kind == EntryKind::File), "{changed:?}");
    assert!(new.is_some_and(|(kind, _)| kind == EntryKind::File));
    assert_eq!(world.tell("d").await, directory);

    std::fs::remove_file(world.source_of("f")).expect("removed");
    std::fs::create_dir(world.source_of("f")).expect("made");
    std::fs::remove_dir(world.source_of("d")).expect("removed");
    std::fs::remove_file(world.source_of("l")).expect("removed");
    world.write("l", "content");
    world.clock.advance(MINUTE);
    assert_eq!(world.tell("f").await, Some((EntryKind::Directory, None)));
    assert_eq!(world.tell("d").await, None);
    assert!(world.tell("l").await.is_some_and(|(kind, _)| kind == EntryKind::File));

    let (mut names, mut position) = (std::collections::BTreeSet::new(), after);
    while names.len() < 4 {
        let followed = world.shared.feed.follow(Some(position), soon()).await;
        let News::Changes(changes) = followed.news else { panic!("nothing was lost") };
        for DirectoryChange { names: changed, .. } in changes {
            let ChangedNames::These(these) = changed else { panic!("single names changed") };
            names.extend(these.iter().map(|changed| changed.name.to_string()));
        }
        position = followed.position;
    }
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["d", "f", "l", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_and_opens_ask_for_their_name_alone_and_what_took_its_place_is_not_it() {
    let world = World::dear_folder(OnOutage::Serve).await;
    let (file, link) = (world.inode("f").await, world.inode("l").await);
    world.clock.advance(MINUTE);
    let before = world.requests();
    let (entry, valid) = tree::open(&world.shared, file).await.expect("there");
    assert_eq!((entry.inode, valid.granted, world.requests()), (file, Duration::ZERO, before + 1));
    tree::attributes(&world.shared, file).await.expect("there");
    assert_eq!(world.requests(), before + 1);
    world.replace("f", "other");
    std::fs::remove_file(world.source_of("l")).expect("removed");
    world.clock.advance(MINUTE);
    let again = tree::open(&world.shared, file).await.expect("there").0;
    assert_ne!(told(&again), told(&entry), "another version of the same file");
    for _ in 0..2 {
        let gone = tree::attributes(&world.shared, link).await.expect_err("gone");
        assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
    }
    std::fs::remove_file(world.source_of("f")).expect("removed");
    std::fs::create_dir(world.source_of("f")).expect("made");
    world.clock.advance(MINUTE);
    let gone = tree::open(&world.shared, file).await.expect_err("no file any more");
    assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_hides_the_file_of_its_name() {
    let bucket = Bucket::new(0).await;
    ["a", "b"].iter().for_each(|key| bucket.put(key));
    let world = World::dear(&bucket).await;
    bucket.put("a/below");
    assert_eq!(world.tell("a").await, Some((EntryKind::Directory, None)));
    bucket.remove("a/below");
    world.clock.advance(MINUTE);
    assert!(world.tell("a").await.is_some_and(|(kind, _)| kind == EntryKind::File));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_for_one_name_cost_one_question_and_whoever_may_not_share_it_the_next() {
    let bucket = Bucket::new(0).await;
    bucket.put("a");
    let world = World::dear(&bucket).await;
    let (data, before) = (world.data().await, world.requests());
    let ask = || {
        let shared = Arc::clone(&world.shared);
        tokio::spawn(async move { tree::lookup(&shared, data, &name("a")).await.map(|found| found.0) })
    };
    bucket.hold_back(true);
    let first: Vec<_> = (0..20).map(|_| ask()).collect();
    bucket.asked(2).await;
    world.clock.advance(MINUTE);
    bucket.put_as("a", "u");
    let late: Vec<_> = (0..20).map(|_| ask()).collect();
    while world.shared.single_names.waiting(&(data, name("a"))) < 40 {
        tokio::task::yield_now().await;
    }
    bucket.hold_back(false);
    for asked in first {
        assert!(asked.await.expect("no panic").expect("answered").is_some());
    }
    let mut versions = std::collections::BTreeSet::new();
    for asked in late {
        versions.insert(told(&asked.await.expect("no panic").expect("answered").expect("there")).1);
    }
    assert_eq!((versions.len(), world.requests()), (1, before + 2 * QUESTION));
    let known = told(&world.find("a").await.0.expect("there")).1;
    assert!(versions.contains(&known), "all who came later have the new version");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_as_the_mount_wants_it_and_what_was_compared_stays_fresh() {
    for on_outage in [OnOutage::Serve, OnOutage::Fail] {
        let world = World::dear_folder(on_outage).await;
        assert!(world.tell("f").await.is_some());
        let away = world.source.path().with_extension("away");
        std::fs::rename(world.source.path(), &away).expect("renamed");
        assert!(world.tell("f").await.is_some(), "compared a moment ago");
        let data = world.data().await;
        for of in ["d", "missing"] {
            let answer = tree::lookup(&world.shared, data, &name(of)).await;
            match on_outage {
                OnOutage::Serve => {
                    let (entry, valid) = answer.expect("what is known is served");
                    assert_eq!(entry.is_some(), of == "d");
                    assert!(valid.alone <= limits::OUTAGE_VALIDITY);
                }
                OnOutage::Fail => {
                    let error = answer.expect_err("nothing is told");
                    assert_eq!(error.kind(), ErrorKind::UnderStore, "{error}");
                    assert!(error.to_string().starts_with("/data is not answered: "), "{error}");
                }
            }
        }
        assert!(world.shared.under_stores.failure(MOUNT).is_some());
        let asked = world.requests();
        drop(tree::lookup(&world.shared, data, &name("l")).await);
        assert_eq!(world.requests(), asked, "it failed a moment ago");
        std::fs::rename(&away, world.source.path()).expect("renamed");
        world.clock.advance(limits::OUTAGE_RETRY_AFTER);
        assert!(world.tell("d").await.is_some() && world.tell("missing").await.is_none());
        assert!(world.shared.under_stores.failure(MOUNT).is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_under_store_that_is_away_it_is_told_what_was_compared_alone_within_the_freshness() {
    let world = World::dear_folder(OnOutage::Serve).await;
    let (compared, _) = world.find("f").await;
    let away = world.source.path().with_extension("away");
    std::fs::rename(world.source.path(), &away).expect("renamed");
    let (old, _) = world.find("l").await;
    for (entry, is_stale) in [(compared, false), (old, true)] {
        let told = provenance(&world.shared, &entry.expect("known")).await.expect("told").expect("mounted");
        assert_eq!(told.is_stale, is_stale);
    }
    std::fs::rename(&away, world.source.path()).expect("renamed");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_maintenance_nobody_is_asked() {
    let world = World::dear_folder(OnOutage::Serve).await;
    let file = world.inode("f").await;
    let mode = |mode| ChangeMount { mode: Some(mode), ..ChangeMount::of(path("/data")) };
    world.change(mode(MountMode::NoAccess)).await;
    world.replace("f", "other");
    world.clock.advance(MINUTE);
    let asked = world.requests();
    assert!(world.tell("d").await.is_some() && world.tell("missing").await.is_none());
    tree::attributes(&world.shared, file).await.expect("known");
    assert_eq!(world.requests(), asked);
    world.change(mode(MountMode::Normal)).await;
    let new = tree::open(&world.shared, file).await.expect("there").0;
    assert_eq!((new.inode, world.requests()), (file, asked + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dear_directory_is_not_renewed_but_for_learning_once_in_a_while_whether_it_still_is() {
    let bucket = Bucket::new(0).await;
    bucket.put("a");
    let world = World::dear(&bucket).await;
    let listed = world.requests();
    for questions in 1..10 {
        world.find("a").await;
        world.wait_until_nothing_is_due().await;
        assert_eq!(world.requests(), listed + questions * QUESTION);
        world.clock.advance(MINUTE);
    }
    bucket.send(1);
    world.clock.advance(limits::LISTING_COST_MEMORY.max(MINUTE * 2 * limits::LISTING_COST_PART));
    assert!(world.find("a").await.0.is_some());
    // A listing of a moment: it is no dear directory any more.
    world.wait_for_requests(listed + 10 * QUESTION + 1).await;
    while world.shared.listings.is_under_way(world.data().await) {
        tokio::task::yield_now().await;
    }
    assert!(world.find("a").await.1.granted > Duration::ZERO);
    assert_eq!(world.requests(), listed + 10 * QUESTION + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_forgotten_is_listed_and_never_said_to_be_missing() {
    let world = World::dear_folder(OnOutage::Serve).await;
    assert!(world.tell("f").await.is_some());
    let command = ForgetDirectory { directory: world.data().await, limit: limits::FORGET_PER_ENTRY };
    world.shared.propose(None, Command::ForgetDirectory(command)).await.expect("forgotten");
    assert!(world.tell("f").await.is_some());
    let command = ForgetDirectory { directory: world.data().await, limit: limits::FORGET_PER_ENTRY };
    world.shared.propose(None, Command::ForgetDirectory(command)).await.expect("forgotten");
    world.clock.advance(MINUTE);
    assert!(world.tell("l").await.is_some() && world.tell("f").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_question_cannot_tell_a_listing_does_and_it_is_no_outage() {
    let bucket = Bucket::new(0).await;
    bucket.put("a");
    let world = World::dear(&bucket).await;
    bucket.be_odd(true);
    bucket.send(1);
    let before = world.requests();
    assert!(world.tell("a").await.is_some(), "as the listing has it");
    assert_eq!(world.requests(), before + QUESTION + 1);
    assert!(world.shared.under_stores.failure(MOUNT).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn older_news_of_a_listing_that_goes_on_does_not_take_the_place_of_what_was_compared_since() {
    let bucket = Bucket::new(0).await;
    bucket.put("a");
    let world = World::dear(&bucket).await;
    let first = world.tell("a").await;
    // The listing sees another version, which is gone again when the name is compared.
    bucket.put_as("a", "u");
    let (data, shared) = (world.data().await, Arc::clone(&world.shared));
    world.clock.advance(MINUTE);
    let listing = tokio::spawn(async move { tree::list(&shared, data, None, 1000).await.map(drop) });
    bucket.settled(2).await;
    bucket.put("a");
    world.clock.advance(MINUTE * 2);
    assert_eq!(world.tell("a").await, first, "nothing to change");
    bucket.send(1);
    listing.await.expect("no panic").expect("listed");
    let before = world.requests();
    world.tell("a").await.expect("there");
    assert_eq!(world.requests(), before + QUESTION, "the listing is older than the comparison");
    let tag = |state: &dyn forebay_metadata::StateReader| {
        let version = query::lookup(state, data, &name("a"))?.and_then(|inode| inode.version());
        Ok(version.and_then(|version| version.fingerprint.tag))
    };
    assert_eq!(world.shared.query(tag).await.expect("read").as_deref(), Some("t"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_young_listing_under_way_has_passed_is_not_asked_for() {
    const PAGE: usize = 10;
    let key = |number: usize| format!("f{number:04}");
    let bucket = Bucket::new(0).await;
    (0..3 * PAGE).for_each(|number| bucket.put(&key(number)));
    let world = World::dear(&bucket).await;
    bucket.set_page_length(PAGE);
    bucket.send(1);
    world.clock.advance(MINUTE);
    let data = world.data().await;
    let part = tree::list_by_key(&world.shared, data, None, 5).await.expect("the first page");
    assert_eq!(part.0.len(), 5);
    bucket.settled(3).await;
    let before = world.requests();
    assert!(world.tell(&key(0)).await.is_some());
    assert_eq!(world.requests(), before);
    assert!(world.tell(&key(3 * PAGE - 1)).await.is_some());
    assert_eq!(world.requests(), before + QUESTION, "it would take a while to come there");
    bucket.send(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_freshness_of_zero_each_question_about_a_known_directory_asks_for_its_name() {
    let bucket = Bucket::new(1).await;
    ["a", "b"].iter().for_each(|key| bucket.put(key));
    let world = World::over_bucket(&bucket, AT_ONCE).await;
    assert_eq!((world.names().await.len(), world.requests()), (2, 1));
    let first = world.tell("a").await;
    assert_eq!(world.requests(), 1 + QUESTION);
    for question in 2..5 {
        world.clock.advance(Duration::from_secs(1));
        let (entry, valid) = world.find("a").await;
        assert_eq!((entry.as_ref().map(told), valid), (first, Validity::default()));
        assert_eq!(world.requests(), 1 + question * QUESTION);
    }
    bucket.put("c");
    bucket.remove("b");
    assert!(world.tell("c").await.is_some() && world.tell("b").await.is_none());
    let inode = world.inode("a").await;
    let before = world.requests();
    tree::attributes(&world.shared, inode).await.expect("there");
    assert_eq!(world.requests(), before + QUESTION);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_listed_is_listed_first() {
    let bucket = Bucket::new(1).await;
    bucket.put("a");
    let world = World::over_bucket(&bucket, AT_ONCE).await;
    assert!(world.tell("a").await.is_some());
    assert_eq!(world.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_looks_up_very_many_names_has_their_directory_listed() {
    let bucket = Bucket::new(0).await;
    ["a", "b"].iter().for_each(|key| bucket.put(key));
    let world = World::dear(&bucket).await;
    let (data, before) = (world.data().await, world.requests());
    bucket.send(1);
    for of in ["a", "b", "c"] {
        let found = tree::lookup_of_many(&world.shared, data, &name(of)).await.expect("answered").0;
        assert_eq!(found.is_some(), of != "c");
    }
    assert_eq!(world.requests(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_point_is_nothing_that_the_under_store_is_asked_for() {
    let world = World::dear_folder(OnOutage::Serve).await;
    let other = TempDir::new().expect("a folder");
    let uri = format!("file://{}", other.path().display()).parse().expect("legal");
    let mount = Mount { path: path("/data/other"), uri, options: MountOptions::default() };
    world.shared.propose(None, Command::Mount(mount)).await.expect("mounted");
    let before = world.requests();
    assert_eq!(world.tell("other").await, Some((EntryKind::Directory, None)));
    assert_eq!(world.requests(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_whose_turn_would_come_too_late_is_refused_and_is_no_outage() {
    let bucket = Bucket::new(1).await;
    bucket.put("f");
    let world = World::over_capped_bucket(&bucket, AT_ONCE, 1).await;
    assert_eq!(world.names().await, ["f"]);
    world.shared.under_stores.turns(MOUNT).expect("connected").crowd(300);
    let data = world.data().await;
    let refused: MasterError =
        tree::lookup(&world.shared, data, &name("f")).await.map(drop).expect_err("too many ask");
    assert_eq!(refused.kind(), ErrorKind::Busy, "{refused}");
    assert!(world.shared.under_stores.failure(MOUNT).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_ends_while_a_question_waits_for_a_silent_store() {
    let bucket = Bucket::new(0).await;
    bucket.put("a");
    let world = World::dear(&bucket).await;
    let data = world.data().await;
    bucket.hold_back(true);
    let shared = Arc::clone(&world.shared);
    let asked = tokio::spawn(async move { tree::lookup(&shared, data, &name("a")).await.map(drop) });
    bucket.asked(1).await;
    assert_eq!(world.shutdown.finish(Duration::from_secs(10)).await, Ok(()));
    let error = asked.await.expect("no panic").expect_err("nobody asks any more");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_leads_out_of_the_folder_is_told_and_not_followed() {
    let world = World::dear_folder(OnOutage::Serve).await;
    std::os::unix::fs::symlink("/proc", world.source_of("away")).expect("made");
    assert_eq!(world.tell("away").await, Some((EntryKind::Symlink, None)));
    let (entry, _) = world.find("away").await;
    assert_eq!(entry.expect("a link").symlink_target, b"/proc");
}
