//! What is known of a mount stays within its budget, and what was forgotten is never taken for missing.

use forebay_metadata::{ForgetDirectory, MountOptions, Success};

use super::*;
use crate::budget::{TooLarge, keep_all};

/// Files in each of the directories.
const FILES: u64 = 10;

/// A mount of directories with files and one link each, within a budget.
async fn world(budget: u64, directories: u64) -> World {
    let source = TempDir::new().expect("a folder");
    for directory in 0..directories {
        let folder = source.path().join(format!("d{directory}"));
        std::fs::create_dir(&folder).expect("made");
        (1..FILES).for_each(|file| std::fs::write(folder.join(format!("f{file}")), "x").expect("written"));
        std::os::unix::fs::symlink("f1", folder.join("link")).expect("made");
    }
    let uri = format!("file://{}", source.path().display());
    World::within(budget, source, &uri, MountOptions::default()).await
}

impl World {
    async fn directory(&self, number: u64) -> InodeId {
        tree::resolve(&self.shared, &path(&format!("/data/d{number}"))).await.expect("there").0.inode
    }

    /// Lists a directory; gives how many names it has.
    async fn list_directory(&self, number: u64) -> usize {
        let directory = self.directory(number).await;
        let listed = tree::list(&self.shared, directory, None, 100).await.expect("listed");
        listed.0.len()
    }

    async fn known(&self) -> u64 {
        let totals = |state: &dyn forebay_metadata::StateReader| Ok(query::mount_totals(state, MOUNT)?);
        let totals = self.shared.query(totals).await.expect("read");
        totals.files + totals.symlinks
    }

    async fn is_listed(&self, directory: InodeId) -> bool {
        self.shared.query(move |state| Ok(query::is_listed(state, directory)?)).await.expect("read")
    }

    async fn keep_within_budget(&self) {
        keep_all(&self.shared, &mut TooLarge::new()).await.expect("kept");
    }

    async fn forget(&self, directory: InodeId) {
        let command = ForgetDirectory { directory, limit: limits::FORGET_PER_ENTRY };
        let forgotten = self.shared.propose(None, Command::ForgetDirectory(command)).await;
        assert!(matches!(forgotten, Ok(Success::Forgotten { .. })), "{forgotten:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directories_that_nobody_asked_about_for_longest_are_forgotten_first() {
    let world = world(3 * FILES, 4).await;
    for directory in [2, 0, 3, 1] {
        assert_eq!(world.list_directory(directory).await, 10);
        world.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(world.list_directory(2).await, 10, "it is used again");
    assert_eq!(world.known().await, 4 * FILES);
    world.clock.advance(limits::USE_MEMORY_MIN);
    world.keep_within_budget().await;
    // Some room more than it takes, so that the next file does not cost another look.
    assert_eq!(world.known().await, 2 * FILES);
    let listed = [0, 1, 2, 3].map(|number| world.directory(number));
    let listed = futures::future::join_all(listed).await;
    let listed: Vec<_> = futures::future::join_all(listed.into_iter().map(|id| world.is_listed(id))).await;
    assert_eq!(listed, [false, true, true, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_forgotten_is_listed_again_when_it_is_asked_for() {
    let world = world(FILES / 2, 2).await;
    for directory in [0, 1] {
        world.list_directory(directory).await;
    }
    let directory = world.directory(0).await;
    world.clock.advance(limits::USE_MEMORY_MIN);
    world.keep_within_budget().await;
    assert_eq!(world.known().await, 0);
    assert_eq!(world.directory(0).await, directory, "whoever stands in it is not moved");
    let requests = world.requests();
    let found = tree::lookup(&world.shared, directory, &name("f3")).await.expect("looked up").0;
    assert!(found.is_some() && world.requests() > requests);
    std::fs::remove_file(world.source.path().join("d1/f1")).expect("removed");
    assert_eq!(world.list_directory(1).await, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_forgotten_a_moment_ago_is_never_said_to_be_missing() {
    let world = world(0, 1).await;
    let directory = world.directory(0).await;
    for _ in 0..20 {
        assert_eq!(world.list_directory(0).await, 10);
        let (asked, ()) = tokio::join!(
            async {
                let mut found = Vec::new();
                for number in 1..FILES {
                    let name = name(&format!("f{number}"));
                    found.push(
                        tree::lookup(&world.shared, directory, &name).await.expect("asked").0.is_some(),
                    );
                }
                found
            },
            world.forget(directory),
        );
        assert!(asked.iter().all(|found| *found), "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_use_is_not_forgotten_whatever_the_budget() {
    let world = world(5, 2).await;
    let mut too_large = TooLarge::new();
    for _ in 0..3 {
        for directory in [0, 1] {
            world.list_directory(directory).await;
        }
        keep_all(&world.shared, &mut too_large).await.expect("kept");
        assert_eq!(world.known().await, 2 * FILES);
        world.clock.advance(limits::BUDGET_RETRY_AFTER_MAX);
    }
    keep_all(&world.shared, &mut too_large).await.expect("kept");
    assert_eq!(world.known().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_of_which_nothing_can_be_forgotten_is_looked_through_less_and_less_often() {
    let world = world(5, 2).await;
    let mut too_large = TooLarge::new();
    let use_all = async || {
        for directory in [0, 1] {
            world.list_directory(directory).await;
        }
    };
    let mut known_after = async |wait| {
        world.clock.advance(wait);
        keep_all(&world.shared, &mut too_large).await.expect("kept");
        world.known().await
    };
    let first = limits::BUDGET_RETRY_AFTER;
    use_all().await;
    assert_eq!(known_after(Duration::ZERO).await, 2 * FILES);
    world.clock.advance(first);
    use_all().await;
    assert_eq!(known_after(Duration::ZERO).await, 2 * FILES);
    assert_eq!(
        known_after(first).await,
        2 * FILES,
        "nothing is used any more, but the second pause is longer"
    );
    assert_eq!(known_after(first).await, 0);
    use_all().await;
    assert_eq!(known_after(Duration::ZERO).await, 2 * FILES);
    assert_eq!(
        known_after(first).await,
        0,
        "below its budget once, it is left alone for no longer than at first"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_budget_nothing_is_forgotten() {
    let world = world(0, 1).await;
    world.list_directory(0).await;
    world.clock.advance(Duration::from_secs(1_000_000));
    world.keep_within_budget().await;
    assert_eq!(world.known().await, FILES);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pinned_stays_known_whatever_the_budget_until_it_is_not_pinned_any_more() {
    let world = world(FILES, 4).await;
    for directory in [0, 1, 2, 3] {
        world.list_directory(directory).await;
    }
    for at in ["/data/d0", "/data/d1/f1"] {
        let pin = Command::Pin(forebay_metadata::Pin { path: path(at) });
        world.shared.propose(None, pin).await.expect("pinned");
    }
    let kept = [0, 1, 2, 3].map(|number| world.directory(number));
    let directories = futures::future::join_all(kept).await;
    let are_listed = async || {
        let listed = directories.iter().map(|directory| world.is_listed(*directory));
        futures::future::join_all(listed).await
    };
    world.clock.advance(limits::USE_MEMORY_MIN);
    world.keep_within_budget().await;
    assert_eq!(are_listed().await, [true, true, false, false]);
    assert_eq!(world.known().await, 2 * FILES);
    let unpin = Command::Unpin(forebay_metadata::Unpin { path: path("/data/d1/f1") });
    world.shared.propose(None, unpin).await.expect("unpinned");
    world.keep_within_budget().await;
    assert_eq!(are_listed().await, [true, false, false, false]);
}
