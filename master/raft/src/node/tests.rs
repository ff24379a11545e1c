//! A node from its callers' side: what was acknowledged is there, once, whatever happens to the process.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use forebay_metadata::{Effect, Success, query};
use forebay_types::{ErrorKind, Sequence, SessionId, Timestamp};
use futures::future::join_all;

use super::*;
use crate::effects::Wake;
use crate::limits;
use crate::settings::Tuning;
use crate::testing::{
    CLUSTER, ClosedNode, SECRET, copy_dir, formed, mount, set_clock, settings, soon, start,
};

fn stamp(sequence: u64) -> Option<SessionStamp> {
    Some(SessionStamp {
        session: SessionId::new(5),
        sequence: Sequence::new(sequence),
        lowest_unanswered: Sequence::new(1),
    })
}

async fn mounts(node: &RaftNode) -> usize {
    query::mounts(&node.read(soon()).await.unwrap().moment()).unwrap().len()
}

/// Snapshots after ten entries, and keeps two.
fn eager(dir: &Path) -> RaftSettings {
    let tuning =
        Tuning { snapshot_every_entries: 10, kept_entries: 2, purged_entries_min: 1, ..Tuning::default() };
    RaftSettings { tuning, ..settings(dir) }
}

/// A node that mounted `count` under-stores one after the other and purged most of that.
async fn purged(dir: &Path, count: usize) -> ClosedNode {
    let (node, _) = formed(eager(dir)).await;
    for number in 0..count {
        node.propose(None, mount(number), soon()).await.unwrap().reply.unwrap();
    }
    node.wait_until(soon(), |status| status.purged.is_some()).await.unwrap();
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_kill() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (node, _) = formed(settings(dir.path())).await;
    for number in 0..20 {
        node.propose(None, mount(number), soon()).await.unwrap().reply.unwrap();
    }
    copy_dir(dir.path(), copy.path());
    let (killed, _) = start(settings(copy.path())).await;
    assert_eq!(mounts(&killed).await, 20);
    assert_eq!(killed.status().role, Role::Leader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_node_frees_its_directory_and_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = formed(settings(dir.path())).await;
    node.propose(None, mount(1), soon()).await.unwrap().reply.unwrap();
    let term = node.status().term;
    node.shutdown(soon()).await.unwrap();
    assert_eq!(node.propose(None, mount(2), soon()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(node.read(soon()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(node.status().role, Role::Stopped);

    let (node, _) = start(settings(dir.path())).await;
    assert_eq!(mounts(&node).await, 1);
    assert!(node.status().term > term);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_dropped_frees_its_directory_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = RaftNode::start(settings(dir.path()), soon()).await.unwrap();
    node.form(CLUSTER, Incarnation::new(1), SECRET, soon()).await.unwrap();
    node.propose(None, mount(1), soon()).await.unwrap().reply.unwrap();
    drop(node);
    let deadline = soon();
    let again = loop {
        match RaftNode::start(settings(dir.path()), deadline).await {
            Ok((node, _)) => break ClosedNode(node),
            Err(error) => assert!(error.kind() == ErrorKind::Io && Instant::now() < deadline, "{error}"),
        }
    };
    assert_eq!(mounts(&again).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_was_lost_is_rebuilt_from_snapshot_and_log() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = purged(dir.path(), 35).await;
    node.shutdown(soon()).await.unwrap();
    copy_dir(dir.path(), copy.path());
    // As after a power cut that took all of the state that no snapshot had written through.
    fs::remove_dir_all(copy.path().join("state")).unwrap();
    for path in [dir.path(), copy.path()] {
        let (node, _) = start(eager(path)).await;
        assert_eq!(node.mark().map(|mark| mark.cluster), Some(CLUSTER));
        assert_eq!(mounts(&node).await, 35);
        node.propose(None, mount(100), soon()).await.unwrap().reply.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_state_before_any_snapshot_still_knows_its_cluster() {
    let dir = tempfile::tempdir().unwrap();
    formed(settings(dir.path())).await.0.shutdown(soon()).await.unwrap();
    fs::remove_dir_all(dir.path().join("state")).unwrap();
    let (node, _) = start(settings(dir.path())).await;
    assert_eq!(node.mark().map(|mark| mark.cluster), Some(CLUSTER));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purged_log_without_its_snapshot_and_state_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    purged(dir.path(), 35).await.shutdown(soon()).await.unwrap();
    fs::remove_dir_all(dir.path().join("state")).unwrap();
    fs::remove_dir_all(dir.path().join("snapshots")).unwrap();
    let error = RaftNode::start(eager(dir.path()), soon()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grew_by_many_bytes_is_purged() {
    let dir = tempfile::tempdir().unwrap();
    let tuning =
        Tuning { snapshot_every_length: 1_000, kept_entries: 2, purged_entries_min: 1, ..Tuning::default() };
    let (node, _) = formed(RaftSettings { tuning, ..settings(dir.path()) }).await;
    for number in 0..20 {
        node.propose(None, mount(number), soon()).await.unwrap().reply.unwrap();
    }
    let status = node.wait_until(soon(), |status| status.purged.is_some()).await.unwrap();
    assert!(status.last_applied < Some(LogIndex::new(limits::SNAPSHOT_EVERY_ENTRIES)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_entry_stops_the_node_with_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = formed(settings(dir.path())).await;
    for number in 0..5 {
        node.propose(None, mount(number), soon()).await.unwrap().reply.unwrap();
    }
    node.shutdown(soon()).await.unwrap();
    // All of the log has to be applied again, and one entry of it is not what it was.
    fs::remove_dir_all(dir.path().join("state")).unwrap();
    let log = forebay_storage::LogStore::open(&dir.path().join("log")).unwrap();
    let (_, whole) = log.read(4..5, usize::MAX).unwrap().pop().unwrap();
    log.append(vec![(4, whole[..whole.len() / 2].to_vec())]).unwrap();
    drop(log);
    let error = match RaftNode::start(settings(dir.path()), soon()).await {
        Ok((node, _)) => ClosedNode(node).read(soon()).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("the log entry 4"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_proposals_at_once_are_each_answered_with_their_own_reply() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = formed(settings(dir.path())).await;
    let committed = join_all((0..500).map(|number| node.propose(None, mount(number), soon()))).await;
    let mut ids = BTreeSet::new();
    let mut indexes = BTreeSet::new();
    for committed in committed {
        let Committed { reply, index } = committed.unwrap();
        let Ok(Success::Mounted { mount, already: false, .. }) = reply else { panic!("{reply:?}") };
        ids.insert(mount);
        indexes.insert(index);
    }
    assert_eq!(ids.len(), 500);
    assert!(indexes.len() < 500, "proposals that waited at the same time share entries");
    assert_eq!(mounts(&node).await, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_with_the_same_session_and_sequence_is_carried_out_once() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = formed(settings(dir.path())).await;
    let first = node.propose(stamp(1), mount(1), soon()).await.unwrap();
    let again = node.propose(stamp(1), mount(1), soon()).await.unwrap();
    // Carried out twice, the second one would find the mount there.
    assert!(matches!(first.reply, Ok(Success::Mounted { already: false, .. })), "{first:?}");
    assert_eq!(first.reply, again.reply);
    assert!(first.index < again.index);
    node.shutdown(soon()).await.unwrap();
    let (node, _) = start(settings(dir.path())).await;
    assert_eq!(node.propose(stamp(1), mount(1), soon()).await.unwrap().reply, first.reply);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_sees_what_was_acknowledged_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = formed(settings(dir.path())).await;
    let writers = (0..8).map(|writer| {
        let node = &node;
        async move {
            for turn in 0..20 {
                let index = node.propose(None, mount(writer * 100 + turn), soon()).await.unwrap().index;
                let view = node.read(soon()).await.unwrap();
                let moment = view.moment();
                assert!(moment.applied() >= index);
                let path =
                    forebay_types::NamespacePath::parse(format!("/m{}", writer * 100 + turn).as_bytes());
                let mounts = query::mounts(&moment).unwrap();
                assert!(mounts.iter().any(|mount| Ok(&mount.path) == path.as_ref()));
            }
        }
    });
    join_all(writers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_node_leads_nobody_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = start(settings(dir.path())).await;
    assert!(!node.has_cluster(soon()).await.unwrap());
    let error = node.propose(None, mount(1), soon()).await.unwrap_err();
    assert!(matches!(error, RaftError::NotLeader { leader: None }), "{error}");
    assert_eq!(node.read(soon()).await.unwrap_err().kind(), ErrorKind::NotLeader);
    assert_eq!(node.leader(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forming_again_is_harmless_and_another_identity_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = formed(settings(dir.path())).await;
    assert!(node.has_cluster(soon()).await.unwrap());
    assert_eq!(node.leader(), Some(LeaderHint { node: 1, address: "master-0:1".to_owned() }));
    node.form(CLUSTER, Incarnation::new(1), SECRET, soon()).await.unwrap();
    let error = node.form(ClusterId::new([8; 16]), Incarnation::new(1), SECRET, soon()).await.unwrap_err();
    assert!(matches!(error, RaftError::AlreadyFormed { cluster: CLUSTER }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_carry_the_time_of_the_given_clock() {
    let dir = tempfile::tempdir().unwrap();
    let clock = set_clock();
    clock.set(1_000);
    let settings =
        RaftSettings { clock: Arc::<crate::testing::SetClock>::clone(&clock), ..settings(dir.path()) };
    let (node, _) = formed(settings).await;
    let now = |view: ReadView| query::clock(&view.moment()).unwrap();
    assert_eq!(now(node.read(soon()).await.unwrap()), Timestamp::from_nanos(1_000));
    clock.set(500);
    node.propose(None, mount(1), soon()).await.unwrap();
    assert_eq!(now(node.read(soon()).await.unwrap()), Timestamp::from_nanos(1_000));
    clock.set(2_000);
    node.propose(None, mount(2), soon()).await.unwrap();
    assert_eq!(now(node.read(soon()).await.unwrap()), Timestamp::from_nanos(2_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_has_passed_is_met() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = formed(settings(dir.path())).await;
    let past = Instant::now();
    assert_eq!(node.propose(None, mount(1), past).await.unwrap_err().kind(), ErrorKind::TimedOut);
    let never = node.wait_until(Instant::now() + Duration::from_millis(1), |_| false).await;
    assert_eq!(never.unwrap_err().kind(), ErrorKind::TimedOut);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn effects_reach_the_receiver() {
    let dir = tempfile::tempdir().unwrap();
    let (node, mut effects) = formed(settings(dir.path())).await;
    let index = node.propose(None, mount(1), soon()).await.unwrap().index;
    loop {
        match effects.next().await.expect("the node runs") {
            Wake::Effects(at, effects) if effects.contains(&Effect::MountsChanged) => {
                assert_eq!(at, index);
                break;
            }
            _ => {}
        }
    }
    node.shutdown(soon()).await.unwrap();
    assert_eq!(effects.next().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_another_node_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = formed(settings(dir.path())).await;
    node.shutdown(soon()).await.unwrap();
    let other = RaftSettings { node: Some(2), ..settings(dir.path()) };
    let error = RaftNode::start(other, soon()).await.unwrap_err();
    assert!(matches!(error, RaftError::OtherNode { found: 1, asked: 2, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_whose_log_is_gone_is_refused_since_its_votes_are_gone_too() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = formed(settings(dir.path())).await;
    node.shutdown(soon()).await.unwrap();
    std::fs::remove_dir_all(dir.path().join("log")).unwrap();
    let error = RaftNode::start(settings(dir.path()), soon()).await.unwrap_err();
    assert!(matches!(error, RaftError::Corrupt { .. }) && error.to_string().contains("no vote"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_beyond_the_length_of_an_entry_take_several() {
    let dir = tempfile::tempdir().unwrap();
    let tuning = Tuning { entry_proposals_max: 1, entries_in_flight_max: 3, ..Tuning::default() };
    let (node, _) = formed(RaftSettings { tuning, ..settings(dir.path()) }).await;
    let committed = join_all((0..30).map(|number| node.propose(None, mount(number), soon()))).await;
    let indexes: BTreeSet<_> = committed.into_iter().map(|committed| committed.unwrap().index).collect();
    assert_eq!(indexes.len(), 30);
}
