//! The log over a real store: restarts, damage, and what memory keeps.

use std::time::Duration;

use forebay_types::ErrorKind;
use openraft::EntryPayload;
use openraft::storage::RaftLogStorageExt;
use openraft::type_config::TypeConfigExt;
use tempfile::TempDir;

use super::*;
use crate::limits::TAIL_ENTRIES_MAX;
use crate::testing::{Joined, batch, mount};
use crate::types::log_id;

fn entry(index: u64) -> RaftEntry {
    RaftEntry { log_id: log_id(1, index), payload: EntryPayload::Normal(batch([mount(1)])) }
}

fn blank(index: u64) -> RaftEntry {
    RaftEntry { log_id: log_id(1, index), payload: EntryPayload::Blank }
}

/// A log and its writer, in the order in which they must not go: what is bound last is dropped first.
fn open(dir: &TempDir) -> (Joined, NodeLog) {
    let (log, writer, _) =
        NodeLog::open(dir.path(), Some(1), Growth::new(u64::MAX), FirstFailure::default()).unwrap();
    (Joined::new(writer), log)
}

/// Closes a log and waits until its directory is free.
fn close((writer, log): (Joined, NodeLog)) {
    drop(log);
    drop(writer);
}

async fn indexes(log: &NodeLog) -> Vec<u64> {
    let entries = log.reader.clone().try_get_log_entries(..).await.unwrap();
    entries.iter().map(|entry| entry.log_id.index).collect()
}

fn stored(log: &NodeLog) -> usize {
    log.reader.0.with_store(|store| Ok(store.read(0..u64::MAX, usize::MAX)?.len())).unwrap()
}

async fn filled(dir: &TempDir, last: u64) -> (Joined, NodeLog) {
    let (writer, mut log) = open(dir);
    log.blocking_append((0..=last).map(entry)).await.unwrap();
    (writer, log)
}

#[tokio::test]
async fn entries_votes_and_ends_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, mut log) = filled(&dir, 9).await;
    log.save_vote(&RaftVote::new_committed(3, 1)).await.unwrap();
    log.purge(log_id(1, 2)).await.unwrap();
    log.truncate_after(Some(log_id(1, 7))).await.unwrap();
    close((writer, log));

    let (_writer, mut log) = open(&dir);
    assert_eq!(indexes(&log).await, [3, 4, 5, 6, 7]);
    assert_eq!(log.reader.read(5..6, 1, 1).await.unwrap(), [entry(5)]);
    assert_eq!(log.reader.read_vote().await.unwrap(), Some(RaftVote::new_committed(3, 1)));
    let ends = log.get_log_state().await.unwrap();
    assert_eq!((ends.last_purged_log_id, ends.last_log_id), (Some(log_id(1, 2)), Some(log_id(1, 7))));
}

#[tokio::test]
async fn a_log_of_another_node_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    close(open(&dir));
    let error =
        NodeLog::open(dir.path(), Some(2), Growth::new(u64::MAX), FirstFailure::default()).unwrap_err();
    assert!(matches!(error, RaftError::OtherNode { found: 1, asked: 2, .. }), "{error}");
}

#[tokio::test]
async fn a_purge_that_a_crash_cut_short_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    close(filled(&dir, 5).await);
    let store = LogStore::open(dir.path()).unwrap();
    store.put_meta(PURGED_KEY, &codec::encode_log_id(&log_id(1, 3))).unwrap();
    drop(store);

    let (_writer, log) = open(&dir);
    assert_eq!(indexes(&log).await, [4, 5]);
    assert_eq!(stored(&log), 2);
}

#[tokio::test]
async fn a_torn_entry_is_an_error_and_its_kind_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    close(filled(&dir, 5).await);
    let store = LogStore::open(dir.path()).unwrap();
    let whole = codec::encode_entry(&entry(3));
    store.append(vec![(3, whole[..whole.len() - 1].to_vec())]).unwrap();
    drop(store);

    let (_writer, log) = open(&dir);
    let error = log.reader.clone().try_get_log_entries(2..5).await.unwrap_err();
    assert!(error.to_string().contains("the log entry 3 is corrupt"), "{error}");
    let cause = log.reader.0.failure.explain(RaftError::stopped);
    assert_eq!(cause.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_torn_last_entry_is_an_error_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    close(filled(&dir, 5).await);
    let store = LogStore::open(dir.path()).unwrap();
    store.append(vec![(5, b"\x01torn".to_vec())]).unwrap();
    drop(store);
    let error =
        NodeLog::open(dir.path(), Some(1), Growth::new(u64::MAX), FirstFailure::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[tokio::test]
async fn a_missing_entry_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    close(filled(&dir, 2).await);
    let store = LogStore::open(dir.path()).unwrap();
    store.append(vec![(4, codec::encode_entry(&entry(4)))]).unwrap();
    drop(store);
    let (_writer, log) = open(&dir);
    let error = log.reader.clone().try_get_log_entries(..).await.unwrap_err();
    assert!(error.to_string().contains("the entry 3 is missing"), "{error}");
}

#[tokio::test]
async fn entries_that_memory_forgot_are_read_from_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, mut log) = open(&dir);
    let count = u64::try_from(TAIL_ENTRIES_MAX).unwrap() + 300;
    log.blocking_append((0..count).map(blank)).await.unwrap();
    let last = count - 1;
    // Told to memory by the writer before it told us.
    let forgotten = log.reader.0.tail.lock().read(0..count, u64::MAX, usize::MAX).stored;
    assert_eq!(forgotten, 0..300);
    let streamed: Vec<_> = log.reader.entries_stream(250..count).await.collect().await;
    let streamed: Vec<_> = streamed.into_iter().map(|entry| entry.unwrap().log_id.index).collect();
    assert_eq!(streamed, (250..=last).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_entry_that_would_leave_a_hole_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, mut log) = filled(&dir, 2).await;
    let error = log.append([entry(4)], IOFlushed::noop()).await.unwrap_err();
    assert!(error.to_string().contains("the entry 4 was to follow 2"), "{error}");
}

#[tokio::test]
async fn an_entry_can_be_read_before_it_is_synced() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, mut log) = open(&dir);
    let (synced, wait) = TypeConfig::oneshot();
    log.append([entry(0)], IOFlushed::signal(synced)).await.unwrap();
    assert_eq!(indexes(&log).await, [0]);
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap().unwrap().unwrap();
    assert_eq!(stored(&log), 1);
}
