//! What a client is told, also when it comes late.

use super::*;
use forebay_types::EntryName;

const INCARNATION: Incarnation = Incarnation::new(3);

fn position(index: u64) -> FeedPosition {
    FeedPosition { incarnation: INCARNATION, index: LogIndex::new(index) }
}

fn names(names: &[(&str, u64)]) -> ChangedNames {
    let changed = names.iter().map(|(name, before)| forebay_metadata::ChangedName {
        name: EntryName::new(name.as_bytes()).expect("legal"),
        before: Some(InodeId::new(*before)),
    });
    ChangedNames::These(changed.collect())
}

fn told(directory: u64, names: &[(&str, u64)]) -> DirectoryChange {
    let changed = names.iter().map(|(name, before)| ChangedName {
        name: EntryName::new(name.as_bytes()).expect("legal"),
        before: Some(InodeId::new(*before)),
    });
    DirectoryChange {
        directory: InodeId::new(directory),
        names: forebay_proto::ChangedNames::These(changed.collect()),
    }
}

/// What one who knows the changes up to `after` is told.
fn since(feed: &Feed, after: Option<FeedPosition>) -> (FeedPosition, News) {
    let Followed { position, news, .. } = feed.since(after);
    (position, news)
}

/// A feed from index 10 on, in which an entry for each of `directories` changed one name of it.
fn feed(directories: &[u64]) -> Feed {
    let feed = Feed::new(INCARNATION, LogIndex::new(10));
    for (index, directory) in (11..).zip(directories) {
        changed(&feed, index, *directory, names(&[("n", index)]));
    }
    feed
}

fn changed(feed: &Feed, index: u64, directory: u64, names: ChangedNames) {
    let directories = [(InodeId::new(directory), names)].into();
    feed.note(LogIndex::new(index), &[Effect::JobsChanged, Effect::DirectoriesChanged(directories)]);
}

#[test]
fn a_client_gets_what_came_after_its_place_and_one_item_for_each_directory() {
    let feed = feed(&[5, 7, 5]);
    assert_eq!(since(&feed, None), (position(13), News::Changes(Vec::new())));
    let changes = vec![told(5, &[("n", 11), ("n", 13)]), told(7, &[("n", 12)])];
    assert_eq!(since(&feed, Some(position(10))), (position(13), News::Changes(changes)));
    assert_eq!(since(&feed, Some(position(12))).1, News::Changes(vec![told(5, &[("n", 13)])]));
    assert_eq!(since(&feed, Some(position(13))).1, News::Changes(Vec::new()));
}

#[test]
fn of_a_directory_all_of_which_changed_no_names_are_told() {
    let feed = feed(&[5]);
    changed(&feed, 12, 5, ChangedNames::All);
    changed(&feed, 13, 5, names(&[("m", 1)]));
    let all = DirectoryChange { directory: InodeId::new(5), names: forebay_proto::ChangedNames::All };
    assert_eq!(since(&feed, Some(position(10))).1, News::Changes(vec![all]));
}

#[test]
fn a_change_of_mounts_is_one_of_everything_until_it_was_told() {
    let feed = feed(&[5]);
    feed.note(LogIndex::new(12), &[Effect::MountsChanged]);
    assert_eq!(since(&feed, Some(position(11))), (position(12), News::Everything));
    assert_eq!(since(&feed, Some(position(12))).1, News::Changes(Vec::new()));
}

#[test]
fn a_place_that_is_not_on_the_list_is_told_everything() {
    let feed = feed(&[5]);
    let elsewhere = FeedPosition { incarnation: INCARNATION.next(), ..position(11) };
    for unknown in [position(9), position(12), elsewhere] {
        assert_eq!(since(&feed, Some(unknown)).1, News::Everything, "{unknown:?}");
    }
    feed.lost(LogIndex::new(12));
    assert_eq!(since(&feed, Some(position(11))), (position(12), News::Everything));
    changed(&feed, 13, 5, names(&[("n", 13)]));
    assert_eq!(since(&feed, Some(position(11))), (position(13), News::Everything));
    assert_eq!(since(&feed, Some(position(12))).1, News::Changes(vec![told(5, &[("n", 13)])]));
}

#[test]
fn a_place_of_another_master_among_changes_that_were_lost_is_told_everything() {
    let feed = feed(&[5]);
    // As after a snapshot that was installed, or when the queue was full: another master has told clients of these.
    feed.lost(LogIndex::new(20));
    changed(&feed, 21, 5, names(&[("n", 21)]));
    for lost in [12, 15, 19] {
        assert_eq!(since(&feed, Some(position(lost))), (position(21), News::Everything), "{lost}");
    }
    assert_eq!(since(&feed, Some(position(20))).1, News::Changes(vec![told(5, &[("n", 21)])]));
    // What was in the queue when it was found to be too short comes later, and was told as everything.
    feed.lost(LogIndex::new(25));
    changed(&feed, 24, 5, names(&[("o", 24)]));
    assert_eq!(since(&feed, Some(position(25))), (position(25), News::Changes(Vec::new())));
    assert_eq!(since(&feed, Some(position(23))).1, News::Everything);
}

#[test]
fn the_list_is_bounded_and_who_is_far_behind_is_told_everything() {
    let feed = Feed::new(INCARNATION, LogIndex::new(0));
    let long = "n".repeat(255);
    let each = names(&[(&long, 1), (&long, 2)]);
    let many = 2 * limits::FEED_COST_MAX as u64 / 512;
    for index in 1..=many {
        changed(&feed, index, index, each.clone());
    }
    let ring = feed.ring.lock();
    assert!(ring.cost <= limits::FEED_COST_MAX && ring.cost > limits::FEED_COST_MAX / 2);
    assert_eq!(ring.cost, ring.changes.iter().map(|item| item.change.cost()).sum::<usize>());
    let floor = ring.floor;
    drop(ring);
    assert_eq!(since(&feed, Some(position(floor.get() - 1))).1, News::Everything);
    let News::Changes(changes) = since(&feed, Some(position(floor.get()))).1 else { panic!("it is known") };
    assert_eq!(changes.first().map(|change| change.directory), Some(InodeId::new(floor.get() + 1)));
    assert_eq!(changes.len() as u64, many - floor.get());
    let all = Followed { position: position(many), news: News::Changes(changes), age: Duration::ZERO };
    let answer = forebay_proto::v1::FollowChangesResponse::from(all);
    assert!(prost::Message::encoded_len(&answer) < forebay_types::limits::RPC_LENGTH_MAX);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_at_once_or_nothing_at_the_end() {
    let feed = std::sync::Arc::new(feed(&[]));
    let begun = Instant::now();
    let wait = Duration::from_secs(1);
    let nothing = feed.follow(Some(position(10)), begun + wait).await;
    let expected = Followed { position: position(10), news: News::Changes(Vec::new()), age: Duration::ZERO };
    assert_eq!(nothing, expected);
    assert_eq!(begun.elapsed(), wait);
    let follower = tokio::spawn({
        let feed = std::sync::Arc::clone(&feed);
        async move { feed.follow(Some(position(10)), Instant::now() + wait).await }
    });
    tokio::time::sleep(wait / 2).await;
    changed(&feed, 11, 5, names(&[("n", 1)]));
    let heard = follower.await.expect("told");
    assert_eq!((heard.position, heard.news), (position(11), News::Changes(vec![told(5, &[("n", 1)])])));
    assert_eq!(begun.elapsed(), wait + wait / 2);
    assert_eq!(feed.waiting.load(Ordering::Relaxed), 0);
    assert_eq!(feed.follow(Some(position(9)), Instant::now() + wait).await.news, News::Everything);
    tokio::time::sleep(wait).await;
    assert_eq!(feed.since(Some(position(10))).age, wait);
}

#[test]
fn the_more_wait_the_more_is_told_at_a_time() {
    assert_eq!(pause(0), Duration::ZERO);
    assert!(pause(10) < Duration::from_millis(1));
    assert_eq!(pause(10_000), Duration::from_millis(500));
    assert_eq!(pause(usize::MAX), limits::FEED_PAUSE_MAX);
}
