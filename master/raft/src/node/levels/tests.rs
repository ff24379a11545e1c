//! What may be logged at which level, and how a master that is too old says so.

use std::path::Path;

use forebay_metadata::golden::{self, Case};
use forebay_metadata::snapshot::dump;
use forebay_metadata::{Mutation, StateReader, Success, Table};
use forebay_storage::{LogStore, StateStore};
use forebay_types::{ErrorKind, Incarnation};

use super::*;
use crate::RaftSettings;
use crate::codec;
use crate::node::Role;
use crate::testing::{CLUSTER, ClosedNode, SECRET, encoded, formed, mount, set_clock, settings, soon, start};
use crate::types::{ProposalBatch, RaftEntry, log_id};

fn set(level: u32) -> Command {
    Command::SetFeatureLevel(SetFeatureLevel { level })
}

/// A cluster as a version from before there were levels formed it.
async fn old(settings: RaftSettings) -> ClosedNode {
    let (node, _) = start(settings).await;
    let members = BTreeMap::from([(1, node.this.clone())]);
    node.raft.initialize(members).await.unwrap();
    node.wait_until(soon(), |status| status.role == Role::Leader).await.unwrap();
    let format = Format { cluster: CLUSTER, incarnation: Incarnation::new(1), capability_secret: SECRET };
    node.propose(None, Command::Format(format), soon()).await.unwrap().reply.unwrap();
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_cluster_begins_at_the_highest_level_in_the_entry_of_its_identity() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = formed(settings(dir.path())).await;
    assert_eq!(node.feature_level().unwrap(), FEATURE_LEVEL);
    let formed_at = node.status().last_log.unwrap().get();
    node.shutdown(soon()).await.unwrap();
    let log = LogStore::open(&dir.path().join("log")).unwrap();
    let (index, last) = log.last().unwrap().unwrap();
    assert_eq!(index, formed_at);
    let entry = codec::decode_entry(index, &last).unwrap();
    let openraft::EntryPayload::Normal(batch) = entry.payload else { panic!("no proposals in {entry}") };
    let names: Vec<_> = batch.0.iter().map(|encoded| encoded.proposal.command.name()).collect();
    assert_eq!(names, ["format", "set_feature_level"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_above_the_level_is_refused_before_it_is_logged_until_the_level_is_raised() {
    let dir = tempfile::tempdir().unwrap();
    let node = old(settings(dir.path())).await;
    assert_eq!(node.feature_level().unwrap(), 1);
    // What was formed by an older version is not raised by a start, nor by forming it again.
    node.form(CLUSTER, Incarnation::new(1), SECRET, soon()).await.unwrap();
    let before = node.status().last_log;
    let refused = node.propose(None, set(2), soon()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    let said = refused.to_string();
    assert!(said.contains("set_feature_level") && said.contains("admin masters level --raise"), "{said}");
    assert_eq!(node.status().last_log, before, "nothing was logged");
    node.propose(None, mount(1), soon()).await.unwrap().reply.unwrap();

    let raised = node.raise_feature_level(2, &BTreeMap::new(), soon()).await.unwrap();
    assert_eq!(raised.reply, Ok(Success::FeatureLevelSet { level: 2, before: 1 }));
    assert_eq!(node.feature_level().unwrap(), 2);
    let again = node.raise_feature_level(2, &BTreeMap::new(), soon()).await.unwrap();
    assert_eq!(again.reply, Ok(Success::FeatureLevelSet { level: 2, before: 2 }));
    let lower = node.raise_feature_level(1, &BTreeMap::new(), soon()).await.unwrap();
    assert_eq!(lower.reply, Err(Rejection::FeatureLevelLower { current: 2, level: 1 }));
    node.shutdown(soon()).await.unwrap();
    let (node, _) = start(settings(dir.path())).await;
    assert_eq!(node.feature_level().unwrap(), 2, "it is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_level_is_raised_only_when_each_member_has_said_that_it_knows_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = old(settings(dir.path())).await;
    let learner = crate::types::NodeInfo { address: "master-9:1".to_owned(), slot: 9 };
    node.raft.add_learner(9, learner, false).await.unwrap();
    let before = node.status().last_log;
    for (known, words) in [
        (BTreeMap::new(), "the master in slot 9 (node 9) at master-9:1 did not say what it knows"),
        (BTreeMap::from([(9, 1)]), "at master-9:1 knows up to 1; upgrade it"),
    ] {
        let refused = node.raise_feature_level(2, &known, soon()).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
    // Nor to what this very version does not know, whatever others say.
    let refused = node.raise_feature_level(3, &BTreeMap::from([(1, 3), (9, 3)]), soon()).await.unwrap_err();
    assert!(matches!(&refused, RaftError::LevelNotKnown { known: Some(2), .. }), "{refused}");
    assert_eq!(node.status().last_log, before, "nothing was logged");
    let raised = node.raise_feature_level(2, &BTreeMap::from([(9, 2)]), soon()).await.unwrap();
    assert!(raised.reply.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_knows_less_than_the_cluster_has_is_not_taken_in() {
    let dir = tempfile::tempdir().unwrap();
    let node = old(settings(dir.path())).await;
    let joining = |slot, known| Joining { address: "master-9:1", slot, known };
    let taken_in = node.add_learner(&joining(8, 1), soon()).await.unwrap();
    node.remove_learner(taken_in, soon()).await.unwrap();
    node.raise_feature_level(2, &BTreeMap::new(), soon()).await.unwrap().reply.unwrap();
    let before = (node.status().last_log, node.members());
    let refused = node.add_learner(&joining(9, 1), soon()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    let said = refused.to_string();
    assert!(said.contains("feature level 2") && said.contains("in slot 9 at master-9:1"), "{said}");
    assert!(said.contains("knows up to 1: upgrade it"), "{said}");
    assert_eq!((node.status().last_log, node.members()), before, "nothing was logged");
    node.add_learner(&joining(9, 2), soon()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_above_what_is_known_is_refused_and_opens_again_when_it_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = formed(settings(dir.path())).await;
    node.propose(None, mount(1), soon()).await.unwrap().reply.unwrap();
    node.shutdown(soon()).await.unwrap();
    let level = |level: u8| {
        let state = StateStore::open(&dir.path().join("state/1")).unwrap();
        let mut row = state.get(Table::Counters, b"identity").unwrap().unwrap();
        *row.last_mut().unwrap() = level;
        let key = b"identity".to_vec();
        let row = Mutation { table: Table::Counters, key, value: Some(row) };
        state.commit(vec![row], &[]).unwrap();
    };
    level(99);
    let refused = crate::RaftNode::start(settings(dir.path()), soon()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    let said = refused.to_string();
    assert!(said.contains("feature level 99") && said.contains("upgrade this master"), "{said}");
    level(2);
    let (node, _) = start(settings(dir.path())).await;
    assert_eq!(query::mounts(&node.read(soon()).await.unwrap().moment()).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_with_a_command_of_a_later_version_is_named_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = formed(settings(dir.path())).await;
    node.propose(None, mount(1), soon()).await.unwrap().reply.unwrap();
    let (term, next) = (node.status().term, node.status().last_log.unwrap().get() + 1);
    node.shutdown(soon()).await.unwrap();
    let mut unknown = encoded(mount(2));
    // The number of the command follows the format, the time and the session, which there is none of.
    assert_eq!(unknown.bytes[..4], [1, 2, 0, 21]);
    unknown.bytes[3] = 99;
    let payload = openraft::EntryPayload::Normal(ProposalBatch(vec![unknown].into()));
    let entry = codec::encode_entry(&RaftEntry { log_id: log_id(term, next), payload });
    let log = || LogStore::open(&dir.path().join("log")).unwrap();
    let rows = || {
        let log = log();
        (log.read(0..u64::MAX, usize::MAX).unwrap(), log.meta("vote").unwrap())
    };
    log().append(vec![(next, entry)]).unwrap();
    let before = rows();
    let refused = crate::RaftNode::start(settings(dir.path()), soon()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    let said = refused.to_string();
    assert!(said.contains(&format!("the log entry {next} has the command number 99")), "{said}");
    assert!(said.contains("upgrade this master"), "{said}");
    assert_eq!(rows(), before);
    log().truncate_from(next).unwrap();
    let (node, _) = start(settings(dir.path())).await;
    assert_eq!(query::mounts(&node.read(soon()).await.unwrap().moment()).unwrap().len(), 1);
}

/// All that a stopped master's folder has, by names that say where it lies.
fn folder(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let log = LogStore::open(&dir.join("log")).unwrap();
    let entries = log.read(0..u64::MAX, usize::MAX).unwrap();
    let mut rows: Vec<_> =
        entries.into_iter().map(|(index, bytes)| (format!("log/{index}"), bytes)).collect();
    for name in ["node", "vote"] {
        rows.push((format!("log-meta/{name}"), log.meta(name).unwrap().unwrap()));
    }
    let state = StateStore::open(&dir.join("state/1")).unwrap();
    for name in ["log-id", "membership"] {
        rows.push((format!("applied/{name}"), state.applied(name).unwrap().unwrap()));
    }
    rows.extend(dump(&state).map(|row| row.unwrap()).map(|row| {
        let key: String = row.key.iter().map(|byte| format!("{byte:02x}")).collect();
        (format!("state/{}/{key}", row.table.name()), row.value)
    }));
    rows
}

/// Makes the folder that such rows are of.
fn make_folder(dir: &Path, rows: &BTreeMap<&str, Vec<u8>>) {
    let log = LogStore::open(&dir.join("log")).unwrap();
    let state = StateStore::open(&dir.join("state/1")).unwrap();
    for (name, bytes) in rows {
        let (place, rest) = name.split_once('/').unwrap();
        match place {
            "log" => log.append(vec![(rest.parse().unwrap(), bytes.clone())]).unwrap(),
            "log-meta" => log.put_meta(rest, bytes).unwrap(),
            "applied" => state.commit(Vec::new(), &[(rest, bytes.clone())]).unwrap(),
            _ => {
                let (table, key) = rest.split_once('/').unwrap();
                let table = Table::ALL.into_iter().find(|known| known.name() == table).unwrap();
                let byte = |at: usize| u8::from_str_radix(&key[at..at + 2], 16).unwrap();
                let key = (0..key.len()).step_by(2).map(byte).collect();
                state.commit(vec![Mutation { table, key, value: Some(bytes.clone()) }], &[]).unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_the_first_level_is_written_as_ever_and_taken_over() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), set_clock());
    clock.set(1000);
    let node = old(RaftSettings { clock, ..settings(dir.path()) }).await;
    for number in [1, 2] {
        node.propose(None, mount(number), soon()).await.unwrap().reply.unwrap();
    }
    node.shutdown(soon()).await.unwrap();
    let cases: Vec<_> =
        folder(dir.path()).into_iter().map(|(name, bytes)| Case::written(name, bytes, |_| Ok(()))).collect();
    let (file, text) = ("master/raft/golden/folder.txt", include_str!("../../../golden/folder.txt"));
    golden::check(file, text, &[], &cases);

    let made = tempfile::tempdir().unwrap();
    make_folder(made.path(), &golden::read(file, text));
    let (node, _) = start(settings(made.path())).await;
    let mounts = async || query::mounts(&node.read(soon()).await.unwrap().moment()).unwrap().len();
    assert_eq!((mounts().await, node.feature_level().unwrap()), (2, 1));
    node.propose(None, mount(3), soon()).await.unwrap().reply.unwrap();
    node.raise_feature_level(2, &BTreeMap::new(), soon()).await.unwrap().reply.unwrap();
    assert_eq!((mounts().await, node.feature_level().unwrap()), (3, 2));
}
