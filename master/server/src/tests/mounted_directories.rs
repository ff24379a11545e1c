//! The directory that a mount is shown at: as its source is, and as fresh as what is in it.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use forebay_metadata::{ChangeMount, DescribeMount, MountMode, OnOutage};
use forebay_proto::Entry;

use super::bucket::Bucket;
use super::*;
use crate::mount_states::provenance;

const MINUTE: Duration = Duration::from_secs(60);
const AT_ONCE: Freshness = Freshness::Bound(Duration::ZERO);
/// What is shown of a source of which nothing is known.
const CLOSED: Looks = (Some(0o700), Some(0), Some(0));

/// Mode, owner and group.
type Looks = (Option<u32>, Option<u32>, Option<u32>);

fn looks(entry: &Entry) -> Looks {
    (entry.mode, entry.uid, entry.gid)
}

/// What a directory of the machine looks like.
fn of(source: &Path) -> Looks {
    let found = std::fs::metadata(source).expect("there");
    (Some(found.mode() & 0o7777), Some(found.uid()), Some(found.gid()))
}

fn set_mode(source: &Path, mode: u32) {
    std::fs::set_permissions(source, Permissions::from_mode(mode)).expect("our own");
}

impl World {
    async fn with(options: MountOptions) -> Self {
        let source = TempDir::new().expect("a folder");
        let uri = format!("file://{}", source.path().display());
        Self::mounting(source, &uri, options).await
    }

    fn chmod(&self, mode: u32) {
        set_mode(self.source.path(), mode);
    }

    async fn shown(&self) -> (Entry, Validity) {
        tree::resolve(&self.shared, &path("/data")).await.expect("a mount is there")
    }

    async fn mode(&self) -> Option<u32> {
        self.shown().await.0.mode
    }

    /// The mode by its inode, as who has it open asks.
    async fn mode_of_inode(&self) -> Option<u32> {
        tree::attributes(&self.shared, self.data().await).await.expect("there").0.mode
    }

    /// The mode as a listing of what it lies in shows it.
    async fn listed_mode(&self) -> Option<u32> {
        let (entries, ..) = tree::list(&self.shared, InodeId::ROOT, None, 10).await.expect("listed");
        entries[0].entry.mode
    }

    async fn applied(&self) -> forebay_types::LogIndex {
        self.shared.begin(|_| Ok(())).await.expect("read").0
    }

    fn move_away(&self) -> std::path::PathBuf {
        let away = self.source.path().with_extension("away");
        std::fs::rename(self.source.path(), &away).expect("renamed");
        away
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_has_owner_mode_and_time_of_its_source_and_is_asked_for_once_in_its_freshness() {
    let world = World::bounded().await;
    world.chmod(0o750);
    assert_eq!(world.listed_mode().await, Some(0o700), "nothing is known of it, so it is closed");
    let (entry, valid) = world.shown().await;
    assert_eq!(looks(&entry), of(world.source.path()));
    assert_eq!(entry.mode, Some(0o750));
    let modified = std::fs::metadata(world.source.path()).expect("there");
    let modified =
        Timestamp::from_parts(modified.mtime(), u32::try_from(modified.mtime_nsec()).expect("nanos"));
    assert_eq!(entry.modified, modified);
    assert!(entry.own_grant && valid.granted == MINUTE && valid.alone == limits::SYNTHETIC_VALIDITY);
    assert_eq!((world.listed_mode().await, world.requests()), (Some(0o750), 1));

    world.chmod(0o700);
    world.clock.advance(Duration::from_secs(59));
    assert_eq!((world.mode().await, world.requests()), (Some(0o750), 1), "within the bound nobody asks");
    assert_eq!(world.shown().await.1.granted, Duration::from_secs(1));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!((world.mode_of_inode().await, world.requests()), (Some(0o700), 2));
    assert_eq!((world.mode().await, world.requests()), (Some(0o700), 2));
    let last = world.applied().await;
    world.clock.advance(MINUTE);
    assert_eq!((world.mode().await, world.requests()), (Some(0o700), 3));
    assert_eq!(world.applied().await, last, "what did not change costs no entry of the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_it_says_how_it_is_too_before_it_shows_what_is_in_it() {
    let world = World::bounded().await;
    world.write("f", "content");
    assert_eq!((world.names().await, world.requests()), (vec!["f".to_owned()], 1));
    assert_eq!((world.mode().await, world.requests()), (of(world.source.path()).0, 1));
    let soon = || tokio::time::Instant::now() + Duration::from_secs(20);
    let begin = world.shared.feed.follow(None, soon()).await.position;
    world.chmod(0o711);
    tree::refresh(&world.shared, world.data().await).await.expect("compared");
    assert_eq!((world.listed_mode().await, world.requests()), (Some(0o711), 2));
    // Its name is void where it lies.
    let News::Changes(changes) = world.shared.feed.follow(Some(begin), soon()).await.news else {
        panic!("nothing was lost")
    };
    let changed = ChangedName { name: name("data"), before: Some(world.data().await) };
    let names = ChangedNames::These(vec![changed]);
    assert_eq!(changes, [DirectoryChange { directory: InodeId::ROOT, names }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_look_brings_after_a_newer_one_is_not_believed() {
    let world = World::bounded().await;
    world.chmod(0o700);
    let (entry, _) = world.shown().await;
    // As a page of a listing does that began before the question and reaches the log after it.
    let old = DescribeMount {
        root: entry.inode,
        begun_at: world.applied().await,
        mode: Some(0o755),
        uid: entry.uid,
        gid: entry.gid,
        modified: entry.modified,
    };
    world.shared.propose(None, Command::DescribeMount(old)).await.expect("taken over");
    assert_eq!((world.mode().await, world.requests()), (Some(0o700), 2));
    assert_eq!((world.mode().await, world.requests()), (Some(0o700), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_freshness_of_zero_each_question_asks_and_of_what_never_changes_one() {
    let world = World::new(AT_ONCE).await;
    for (mode, requests) in [(0o700, 1), (0o755, 2), (0o700, 3)] {
        world.chmod(mode);
        let (entry, valid) = world.shown().await;
        assert_eq!((entry.mode, valid, world.requests()), (Some(mode), Validity::default(), requests));
    }
    let world = World::new(Freshness::Immutable).await;
    world.chmod(0o750);
    assert_eq!(world.mode().await, Some(0o750));
    world.chmod(0o700);
    world.clock.advance(Duration::from_secs(1_000_000));
    let (entry, valid) = world.shown().await;
    assert_eq!((entry.mode, world.requests()), (Some(0o750), 1));
    assert!(valid.alone <= limits::SYNTHETIC_VALIDITY, "an unmount is to be seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_for_it_at_once_cost_one_question() {
    let world = World::bounded().await;
    let asked = (0..50).map(|_| {
        let shared = Arc::clone(&world.shared);
        tokio::spawn(async move { tree::resolve(&shared, &path("/data")).await.map(drop) })
    });
    for answer in asked.collect::<Vec<_>>() {
        answer.await.expect("no panic").expect("there");
    }
    assert_eq!(world.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_its_source_is_away_it_is_as_it_was_or_an_error_as_the_mount_says() {
    for on_outage in [OnOutage::Serve, OnOutage::Fail] {
        let world = World::with(MountOptions { on_outage, ..MountOptions::default() }).await;
        world.chmod(0o750);
        assert_eq!(world.mode().await, Some(0o750));
        let away = world.move_away();
        world.clock.advance(MINUTE);
        for _ in 0..2 {
            let answer = tree::resolve(&world.shared, &path("/data")).await;
            assert!(world.shared.under_stores.failure(MOUNT).is_some());
            match on_outage {
                OnOutage::Serve => {
                    let (entry, valid) = answer.expect("what is known");
                    assert_eq!(entry.mode, Some(0o750));
                    assert!(valid.granted <= limits::OUTAGE_VALIDITY);
                }
                OnOutage::Fail => {
                    let error = answer.expect_err("it may be another by now");
                    assert_eq!(error.kind(), ErrorKind::UnderStore);
                    assert!(error.to_string().contains("/data"), "{error}");
                }
            }
        }
        assert_eq!(world.requests(), 2, "not asked again at once");
        assert_eq!(world.listed_mode().await, Some(0o750), "what it lies in is listed all the same");
        set_mode(&away, 0o700);
        std::fs::rename(&away, world.source.path()).expect("renamed");
        world.clock.advance(limits::OUTAGE_RETRY_AFTER);
        assert_eq!(world.mode().await, Some(0o700));
        assert!(world.shared.under_stores.failure(MOUNT).is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_that_nobody_may_ask_is_closed_until_it_was_looked_at_and_then_as_it_was() {
    let world = World::with(MountOptions { mode: MountMode::NoAccess, ..MountOptions::default() }).await;
    world.chmod(0o755);
    let (entry, valid) = world.shown().await;
    assert_eq!((looks(&entry), world.requests()), (CLOSED, 0));
    assert!(valid.granted <= limits::MAINTENANCE_VALIDITY);
    let to = async |mode| {
        let change = ChangeMount { mode: Some(mode), ..ChangeMount::of(path("/data")) };
        world.shared.propose(None, Command::ChangeMount(change)).await.expect("changed");
    };
    to(MountMode::Normal).await;
    assert_eq!(looks(&world.shown().await.0), of(world.source.path()));
    world.chmod(0o700);
    to(MountMode::NoAccess).await;
    world.clock.advance(MINUTE * 10);
    let (entry, _) = world.shown().await;
    assert_eq!((entry.mode, world.requests()), (Some(0o755), 1));
    assert!(provenance(&world.shared, &entry).await.expect("told").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_never_seen_is_closed_while_it_is_away() {
    let world = World::bounded().await;
    let away = world.move_away();
    assert_eq!(looks(&world.shown().await.0), CLOSED);
    std::fs::rename(&away, world.source.path()).expect("renamed");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_directory_in_its_place_is_told_and_something_else_is_an_outage() {
    let world = World::new(AT_ONCE).await;
    world.chmod(0o755);
    assert_eq!(world.mode().await, Some(0o755));
    std::fs::remove_dir_all(world.move_away()).expect("removed");
    std::fs::create_dir(world.source.path()).expect("made");
    world.chmod(0o700);
    assert_eq!(world.mode().await, Some(0o700));
    std::fs::remove_dir(world.source.path()).expect("removed");
    std::fs::write(world.source.path(), "no directory").expect("written");
    assert_eq!(world.mode().await, Some(0o700), "as it was");
    assert!(world.shared.under_stores.failure(MOUNT).is_some());
    std::fs::remove_file(world.source.path()).expect("removed");
    std::fs::create_dir(world.source.path()).expect("made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_within_another_is_as_its_own_source_whatever_is_known_of_the_outer_one() {
    let world = World::bounded().await;
    let inner = TempDir::new().expect("a folder");
    set_mode(inner.path(), 0o700);
    let uri = format!("file://{}", inner.path().display()).parse().expect("legal");
    let options = MountOptions { freshness: AT_ONCE, ..MountOptions::default() };
    let mount = Mount { path: path("/data/inner"), uri, options };
    world.shared.propose(None, Command::Mount(mount)).await.expect("mounted");
    let shown = async || tree::resolve(&world.shared, &path("/data/inner")).await.expect("there");
    assert_eq!((shown().await.0.mode, shown().await.1), (Some(0o700), Validity::default()));
    set_mode(inner.path(), 0o755);
    assert_eq!(shown().await.0.mode, Some(0o755), "the outer one is fresh, and says nothing of it");
    assert_eq!(world.names().await, ["inner"]);
    let inner = shown().await.0.inode;
    assert_eq!(tree::attributes(&world.shared, inner).await.expect("there").0.mode, Some(0o755));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_are_no_owners_nothing_is_asked_and_nothing_is_said() {
    let bucket = Bucket::new(0).await;
    let world = World::over_bucket(&bucket, MountOptions::FRESHNESS_DEFAULT).await;
    let (entry, valid) = world.shown().await;
    assert_eq!((looks(&entry), entry.own_grant), ((None, None, None), false));
    assert_eq!(valid, crate::freshness::SYNTHETIC);
    assert_eq!(world.requests(), 0);
}
