//! Masters that do not lead, are dead, die under a call or forget a session, and what the client does about it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forebay_proto::{Stamp, WireError};
use forebay_types::{EntryName, ErrorKind, InodeId, NamespacePath};

use super::*;
use crate::doubles::{Master, Nobody, Turn, connect, not_leader, settings};
use crate::{Client, MountRequest};

async fn look_up(client: &Client) -> Result<crate::Lookup, ClientError> {
    client.lookup(InodeId::ROOT, &EntryName::new(*b"a").unwrap()).await
}

fn mount_request() -> MountRequest {
    MountRequest {
        path: NamespacePath::parse(b"/data").unwrap(),
        uri: "file:///data".into(),
        writable: false,
        freshness: None,
        coherence: None,
        on_outage: None,
        mode: None,
        admission: None,
        block_length: None,
        options: BTreeMap::new(),
        check_only: false,
    }
}

fn stamps(master: &Master) -> Vec<Stamp> {
    let stamp = |request: &forebay_proto::v1::MountRequest| {
        request.header.as_ref().unwrap().stamp.unwrap().try_into().unwrap()
    };
    master.mounts.lock().iter().map(stamp).collect()
}

#[tokio::test]
async fn a_hint_to_the_leader_is_followed_and_remembered() {
    let (follower, leader) = (Arc::new(Master::default()), Arc::new(Master::default()));
    let (at_follower, at_leader) = (follower.serve(), leader.serve());
    let client = connect(&[at_follower.address]).await;
    follower.turns.lock().push(not_leader(Some(at_leader.address)));
    for _ in 0..3 {
        assert_eq!(look_up(&client).await.unwrap().valid, Duration::from_secs(3));
    }
    assert_eq!(follower.lookups.load(Ordering::Relaxed), 1);
    assert_eq!(leader.lookups.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn without_a_hint_the_masters_are_asked_in_turn() {
    let (first, second) = (Arc::new(Master::default()), Arc::new(Master::default()));
    let (at_first, at_second) = (first.serve(), second.serve());
    let nobody = Nobody::new();
    let client = connect(&[at_first.address, nobody.address, at_second.address]).await;
    first.turns.lock().push(not_leader(None));
    look_up(&client).await.unwrap();
    assert_eq!(second.lookups.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_hint_that_is_no_address_is_passed_over() {
    let master = Arc::new(Master::default());
    let serving = master.serve();
    let client = connect(&[serving.address]).await;
    let nonsense =
        WireError { leader: Some("no address".into()), ..WireError::new(ErrorKind::NotLeader, "no") };
    master.turns.lock().push(Turn::Fail(nonsense));
    look_up(&client).await.unwrap();
}

#[tokio::test]
async fn a_master_that_dies_under_a_call_is_replaced_by_the_next_one() {
    let (dying, other) = (Arc::new(Master::default()), Arc::new(Master::default()));
    let (at_dying, at_other) = (dying.serve(), other.serve());
    let client = connect(&[at_dying.address, at_other.address]).await;
    dying.turns.lock().push(Turn::Silent);
    let call = tokio::spawn(async move { look_up(&client).await });
    while dying.lookups.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    drop(at_dying);
    call.await.unwrap().unwrap();
    assert_eq!(other.lookups.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn while_a_master_is_silent_another_one_that_leads_answers_and_is_asked_from_then_on() {
    let (stopped, leader) = (Arc::new(Master::default()), Arc::new(Master::default()));
    let (at_stopped, at_leader) = (stopped.serve(), leader.serve());
    let client = connect(&[at_stopped.address, at_leader.address]).await;
    stopped.turns.lock().push(Turn::Silent);
    let begun = Instant::now();
    look_up(&client).await.unwrap();
    assert!(begun.elapsed() >= MASTER_SILENCE, "it is waited for first");
    look_up(&client).await.unwrap();
    assert_eq!(stopped.lookups.load(Ordering::Relaxed), 1);
    assert_eq!(leader.lookups.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_mutation_that_two_masters_get_has_one_stamp() {
    let (stopped, leader) = (Arc::new(Master::default()), Arc::new(Master::default()));
    let (at_stopped, at_leader) = (stopped.serve(), leader.serve());
    let client = connect(&[at_stopped.address, at_leader.address]).await;
    stopped.turns.lock().push(Turn::Silent);
    client.mount(mount_request()).await.unwrap();
    assert_eq!(stamps(&leader).len(), 1);
    assert_eq!(stamps(&stopped), stamps(&leader));
}

#[tokio::test]
async fn a_slow_leader_is_waited_for_while_the_others_name_it() {
    let (leader, follower) = (Arc::new(Master::default()), Arc::new(Master::default()));
    let (at_leader, at_follower) = (leader.serve(), follower.serve());
    let timeout = Duration::from_millis(2200);
    let settings = crate::ClientSettings { timeout, ..settings(&[at_leader.address, at_follower.address]) };
    let client = Client::connect(settings).await.unwrap();
    leader.turns.lock().push(Turn::Silent);
    let hint = || not_leader(Some(at_leader.address));
    follower.turns.lock().extend([hint(), hint(), hint(), hint()]);
    let error = look_up(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains(&at_leader.address.to_string()), "{error}");
    assert_eq!(leader.lookups.load(Ordering::Relaxed), 1, "it is not asked twice");
    let asked = follower.lookups.load(Ordering::Relaxed);
    assert!((1..=3).contains(&asked), "now and then: {asked}");
}

#[tokio::test]
async fn a_cluster_without_masters_is_named_after_the_timeout() {
    let nobody = Nobody::new();
    let settings =
        crate::ClientSettings { timeout: Duration::from_millis(300), ..settings(&[nobody.address]) };
    let begun = Instant::now();
    let error = Client::connect(settings).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let message = error.to_string();
    assert!(
        message.contains(&nobody.address.to_string()) && message.contains("FOREBAY_MASTERS"),
        "{message}"
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_master_that_never_answers_is_not_waited_for_beyond_the_timeout() {
    let master = Arc::new(Master::default());
    let serving = master.serve();
    let settings =
        crate::ClientSettings { timeout: Duration::from_millis(300), ..settings(&[serving.address]) };
    let client = Client::connect(settings).await.unwrap();
    master.turns.lock().push(Turn::Silent);
    assert_eq!(look_up(&client).await.unwrap_err().kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_final_answer_is_given_as_it_came() {
    let master = Arc::new(Master::default());
    let serving = master.serve();
    let client = connect(&[serving.address]).await;
    master.turns.lock().push(Turn::Fail(WireError::new(ErrorKind::PermissionDenied, "`/a` is not yours")));
    let error = look_up(&client).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::PermissionDenied, "`/a` is not yours".into()));
}

#[tokio::test]
async fn the_retry_of_a_mutation_keeps_its_stamp() {
    let master = Arc::new(Master::default());
    let serving = master.serve();
    let client = connect(&[serving.address]).await;
    let unavailable = || Turn::Fail(WireError::new(ErrorKind::Unavailable, "an election is under way"));
    master.turns.lock().extend([unavailable(), unavailable()]);
    client.mount(mount_request()).await.unwrap();
    client.mount(mount_request()).await.unwrap();
    let stamps = stamps(&master);
    assert_eq!(stamps.len(), 4);
    assert!(stamps[0] == stamps[1] && stamps[1] == stamps[2], "{stamps:?}");
    assert_eq!((stamps[3].session, stamps[3].sequence), (stamps[0].session, stamps[0].sequence.next()));
    assert_eq!(stamps[3].lowest_unanswered, stamps[3].sequence);
}

#[tokio::test]
async fn a_session_that_ended_before_a_mutation_is_replaced_without_a_word() {
    let master = Arc::new(Master::default());
    let serving = master.serve();
    let client = connect(&[serving.address]).await;
    master.turns.lock().push(Turn::Fail(WireError::new(ErrorKind::SessionExpired, "the session is over")));
    client.mount(mount_request()).await.unwrap();
    let stamps = stamps(&master);
    assert_ne!(stamps[0].session, stamps[1].session);
}

#[tokio::test]
async fn a_session_that_ended_between_two_attempts_leaves_the_outcome_unknown() {
    let master = Arc::new(Master::default());
    let serving = master.serve();
    let client = connect(&[serving.address]).await;
    let fail = |kind| Turn::Fail(WireError::new(kind, "no"));
    master.turns.lock().extend([fail(ErrorKind::Unavailable), fail(ErrorKind::SessionExpired)]);
    let error = client.mount(mount_request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionExpired);
    assert!(error.to_string().contains("outcome of Mount is unknown"), "{error}");
    client.mount(mount_request()).await.unwrap();
}

#[test]
fn addresses_with_names_and_of_both_families_are_taken() {
    for address in ["127.0.0.1:7411", "[::1]:7411", "master-0.forebay:7411"] {
        assert!(endpoint(address).is_ok(), "{address}");
    }
    for address in ["", "7411", ":7411", "host", "host:", "host:70000", "a b:7411", "http://host:7411/x:1"] {
        assert!(endpoint(address).is_err(), "{address}");
    }
}

#[tokio::test]
async fn counters_are_reported_while_they_change_and_at_the_end() {
    let master = Arc::new(Master::default());
    let serving = master.serve();
    let client = connect(&[serving.address]).await;
    client.counters().add_passthrough_open(forebay_types::ByteCount::new(10));
    client.close().await;
    let reports = master.reports.lock();
    let last = reports.last().expect("reported").reads.expect("present");
    assert_eq!((last.passthrough_opens, last.passthrough_open_bytes), (1, 10));
}

#[tokio::test]
async fn hints_are_followed_however_many_there_were_and_few_are_kept() {
    let configured = ["one.example:1".to_owned(), "two.example:1".to_owned()];
    let channel = MasterChannel::new(configured.to_vec(), Duration::from_secs(1)).unwrap();
    for number in 0..3 * MASTERS_MAX {
        let asked = channel.current().0;
        let leader = format!("m{number}.example:1");
        let hint =
            WireError { leader: Some(leader.clone()), ..WireError::new(ErrorKind::NotLeader, "moved") };
        channel.turn(&asked, &hint);
        assert_eq!(channel.current().0, leader);
        let state = channel.state.lock();
        assert!(state.channels.len() <= MASTERS_MAX);
        assert!(configured.iter().all(|address| state.channels.contains_key(address)));
    }
}
