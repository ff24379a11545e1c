//! What a follower does with what it hears, and without a word.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use forebay_proto::ChangedName;
use forebay_types::{EntryName, Incarnation, LogIndex};

use super::*;
use crate::About;
use crate::Standing;
use crate::doubles::{Master, Nobody, Serving, connect};

const DIRECTORY: InodeId = InodeId::ROOT;
/// The entry that the master of these tests opens.
const FILE: InodeId = InodeId::new(9);

fn position(index: u64) -> FeedPosition {
    FeedPosition { incarnation: Incarnation::new(1), index: LogIndex::new(index) }
}

fn followed(index: u64, news: News) -> Followed {
    Followed { position: position(index), news, age: Duration::ZERO }
}

fn nothing(index: u64) -> Followed {
    followed(index, News::Changes(Vec::new()))
}

fn changed(directory: u64, names: &[(&str, Option<InodeId>)]) -> DirectoryChange {
    let names = names.iter().map(|(name, before)| ChangedName {
        name: EntryName::new(name.as_bytes()).unwrap(),
        before: *before,
    });
    DirectoryChange { directory: InodeId::new(directory), names: ChangedNames::These(names.collect()) }
}

/// A master that gives these answers to questions for changes, and then none until a test adds some.
fn serve(answers: impl IntoIterator<Item = Followed>) -> (Arc<Master>, Serving) {
    let master = Arc::new(Master::default());
    master.tell(answers);
    let serving = master.serve();
    (master, serving)
}

async fn follow(master: SocketAddr) -> (Client, Changes) {
    let client = connect(&[master]).await;
    let changes = client.follow_changes();
    while client.0.grants.vouched_until().is_none() {
        tokio::task::yield_now().await;
    }
    (client, changes)
}

/// Opens the file; what may be done with the answer, as a caller knows it.
async fn open(client: &Client) -> impl Fn() -> Standing {
    let asked = std::time::Instant::now();
    client.open(FILE).await.unwrap();
    let client = client.clone();
    move || client.standing(About::entry(FILE, DIRECTORY), asked)
}

/// The same, once it was heard that nothing changed before the answer came.
async fn open_granted(master: &Master, index: u64, client: &Client) -> impl Fn() -> Standing {
    let standing = open(client).await;
    // The first of them may answer a question from before.
    master.tell([nothing(index), nothing(index)]);
    while !matches!(standing(), Standing::Granted(_)) {
        tokio::task::yield_now().await;
    }
    standing
}

#[tokio::test]
async fn an_open_is_granted_until_its_name_is_heard_to_have_changed() {
    let (master, serving) = serve([nothing(5)]);
    let (client, mut changes) = follow(serving.address).await;
    let standing = open_granted(&master, 5, &client).await;
    let change = changed(1, &[("f", Some(FILE))]);
    master.tell([followed(6, News::Changes(vec![change.clone()]))]);
    assert_eq!(changes.next().await.0, [Change::Directory(change)]);
    assert_eq!(standing(), Standing::Void);
    assert!(matches!((open_granted(&master, 6, &client).await)(), Standing::Granted(_)));
    let asked_after = || master.followed_after.lock().iter().copied().collect::<BTreeSet<_>>();
    while asked_after() != [None, Some(5), Some(6)].into() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn without_a_word_in_time_nobody_is_relied_on_until_the_next() {
    let (master, serving) = serve([nothing(5)]);
    let (client, mut changes) = follow(serving.address).await;
    let standing = open_granted(&master, 5, &client).await;
    let begun = Instant::now();
    assert_eq!(changes.next().await.0, [Change::Everything]);
    assert!(begun.elapsed() <= FOLLOW_VOUCHES + Duration::from_millis(500));
    assert_eq!(standing(), Standing::Unknown);
    // Nothing changed meanwhile: what was granted before is again.
    master.tell([nothing(5), nothing(5)]);
    while !matches!(standing(), Standing::Granted(_)) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_master_that_begins_anew_voids_everything() {
    let (master, serving) = serve([nothing(5)]);
    let (client, mut changes) = follow(serving.address).await;
    let standing = open_granted(&master, 5, &client).await;
    master.tell([followed(2, News::Everything)]);
    assert_eq!(changes.next().await.0, [Change::Everything]);
    assert_eq!(standing(), Standing::Void);
}

#[tokio::test]
async fn an_older_master_grants_nothing_and_is_no_error() {
    let (master, serving) = serve([]);
    let unsupported = forebay_proto::WireError::new(ErrorKind::Unsupported, "not known here");
    master.tell_error(unsupported);
    let client = connect(&[serving.address]).await;
    let _changes = client.follow_changes();
    while master.followed_after.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!((open(&client).await)(), Standing::Unknown);
}

#[tokio::test]
async fn a_master_that_is_of_an_older_release_from_now_on_voids_what_was_granted_before() {
    let (master, serving) = serve([nothing(5)]);
    let (client, mut changes) = follow(serving.address).await;
    let standing = open_granted(&master, 5, &client).await;
    master.tell_error(forebay_proto::WireError::new(ErrorKind::Unsupported, "not known here"));
    let told = tokio::time::timeout(FOLLOW_UNSUPPORTED_PAUSE / 2, changes.next());
    assert_eq!(told.await.expect("in time").0, [Change::Everything]);
    assert_eq!(standing(), Standing::Unknown);
}

#[tokio::test]
async fn when_nobody_follows_any_more_nothing_is_granted() {
    let (master, serving) = serve([nothing(5)]);
    let (client, changes) = follow(serving.address).await;
    let standing = open_granted(&master, 5, &client).await;
    drop(changes);
    while client.0.grants.vouched_until().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(standing(), Standing::Unknown);
}

#[tokio::test]
async fn a_master_that_is_away_is_followed_from_where_it_was_left() {
    let nobody = Nobody::new();
    let address = nobody.address;
    let client = {
        let (_master, serving) = serve([]);
        connect(&[serving.address, address]).await
    };
    let mut changes = client.follow_changes();
    let master = Arc::new(Master::default());
    master.tell([nothing(3), followed(4, News::Changes(vec![changed(1, &[("n", None)])]))]);
    let _serving = master.serve_at(nobody);
    assert_eq!(changes.next().await.0, [Change::Directory(changed(1, &[("n", None)]))]);
}

#[test]
fn changes_that_nobody_takes_are_gathered_by_directory_and_too_many_are_everything() {
    let pending = Pending::default();
    let since = Instant::now();
    pending.add(News::Changes(Vec::new()), since);
    assert_eq!(pending.take(), None);
    for name in ["a", "b"] {
        pending.add(News::Changes(vec![changed(1, &[(name, None)])]), since);
    }
    let both = changed(1, &[("a", None), ("b", None)]);
    assert_eq!(pending.take().unwrap().0, [Change::Directory(both)]);
    for directory in 0..=CHANGES_PENDING_MAX as u64 {
        pending.add(News::Changes(vec![changed(directory, &[("a", None)])]), since);
    }
    assert_eq!(pending.take().unwrap().0, [Change::Everything]);
    assert_eq!(pending.take(), None);
    let names: Vec<_> = (0..=CHANGES_PENDING_MAX).map(|_| ("a", None)).collect();
    pending.add(News::Changes(vec![changed(1, &names)]), since);
    let all = DirectoryChange { directory: InodeId::new(1), names: ChangedNames::All };
    assert_eq!(pending.take().unwrap().0, [Change::Directory(all)]);
}
