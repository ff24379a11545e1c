//! What people are shown of a log and a state, whole, damaged, of a later version, or none.

use std::fs;

use forebay_metadata::snapshot;
use forebay_storage::LogStore;
use forebay_types::ErrorKind;

use super::*;
use crate::testing::{batch, encoded, formed, mount, settings, soon};
use crate::types::{ProposalBatch, RaftEntry, log_id};
use openraft::EntryPayload;

/// A master's folder with a few mounts in it, and the index of the last entry.
async fn folder(dir: &Path) -> u64 {
    let (node, _) = formed(settings(dir)).await;
    for number in 0..6 {
        node.propose(None, mount(number), soon()).await.unwrap().reply.unwrap();
    }
    let last = node.status().last_log.unwrap().get();
    node.shutdown(soon()).await.unwrap();
    last
}

fn shown(dir: &Path, from: Option<u64>, to: Option<u64>) -> Vec<String> {
    let journal = Journal::open(dir).unwrap();
    journal.lines(from, to).map(|line| line.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_shown_entry_by_entry_while_the_master_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = formed(settings(dir.path())).await;
    node.propose(None, mount(7), soon()).await.unwrap().reply.unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let heading = journal.heading();
    assert_eq!((heading.node.as_str(), heading.purged.as_str(), heading.damage), ("1", "none", None));
    assert!(heading.vote.ends_with("node 1 in term 1"), "{}", heading.vote);
    let lines = shown(dir.path(), None, None);
    assert_eq!(lines[0], "0  term 0  -  -  members  voters 1 (master 0 at master-0:1)");
    assert_eq!(lines[1], "1  term 1  -  -  new_leader");
    let format: Vec<_> = lines[2].lines().collect();
    assert!(
        format[0].starts_with("2.1  term 1  ") && format[0].contains("format  cluster 0707"),
        "{lines:?}"
    );
    assert!(format[1].starts_with("2.2  ") && format[1].ends_with("set_feature_level  to 2"), "{lines:?}");
    assert!(!lines.concat().contains("0909"), "the secret is not shown");
    assert!(lines[3].contains("  -  mount  file:///under/m7 at \"/m7\""), "{lines:?}");
    assert_eq!(shown(dir.path(), Some(2), Some(2)), lines[2..3]);
    assert_eq!(shown(dir.path(), Some(3), Some(99)), lines[3..]);
    assert_eq!(shown(dir.path(), Some(99), None), [""; 0]);
    node.propose(None, mount(8), soon()).await.unwrap().reply.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_missing_and_later_entries_are_named_and_the_rest_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let last = folder(dir.path()).await;
    let before = shown(dir.path(), None, None);
    let log = LogStore::open(&dir.path().join("log")).unwrap();
    log.append(vec![(4, b"\x01torn".to_vec())]).unwrap();
    let entry =
        |index, payload| (index, codec::encode_entry(&RaftEntry { log_id: log_id(1, index), payload }));
    let mut unknown = encoded(mount(2));
    unknown.bytes[3] = 99;
    let two = ProposalBatch(vec![unknown, encoded(mount(3))].into());
    let (index, mut newer) = entry(last + 4, EntryPayload::Normal(batch([])));
    newer[0] = 2;
    log.append(vec![entry(last + 3, EntryPayload::Normal(two)), (index, newer)]).unwrap();
    drop(log);
    let (lines, at) = (shown(dir.path(), None, None), before.len());
    assert_eq!(lines[..4], before[..4]);
    assert!(lines[4].starts_with("4  UNREADABLE  the log entry 4 is corrupt"), "{lines:?}");
    assert_eq!(lines[5..at], before[5..]);
    assert_eq!(lines[at], format!("{}-{}  UNREADABLE  missing", last + 1, last + 2));
    let two: Vec<_> = lines[at + 1].lines().collect();
    assert!(two[0].contains(".1  term 1  UNREADABLE  the command number 99 is not known"), "{two:?}");
    assert!(two[1].contains("mount  file:///under/m3"), "{two:?}");
    assert!(lines[at + 2].contains("UNREADABLE") && lines[at + 2].contains("upgrade"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_is_shown_in_one_order_and_has_the_rows_that_the_dump_has() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let last = folder(dir.path()).await;
    crate::testing::copy_dir(dir.path(), other.path());
    let told = |dir: &Path| {
        let state = StateJournal::open(dir).unwrap();
        assert!(state.applied().unwrap().starts_with(&format!("{last} of term")));
        assert!(state.members().unwrap().contains("master-0:1"));
        state.rows().map(|row| row.unwrap()).collect::<Vec<_>>()
    };
    let rows = told(dir.path());
    assert_eq!(rows, told(other.path()));
    assert!(rows.iter().all(|row| row.value.is_ok()), "{rows:?}");
    let state = forebay_storage::StateStore::open(&dir.path().join("state/1")).unwrap();
    assert_eq!(rows.len(), snapshot::dump(&state).count());
    assert!(rows.iter().any(|row| row.table == "mounts" && row.value.as_ref().unwrap().contains("m5")));
}

#[test]
fn what_is_no_masters_folder_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    for refused in [Journal::open(dir.path()).map(drop), StateJournal::open(dir.path()).map(drop)] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("is missing"), "{error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_whose_tables_nothing_can_be_read_is_told_in_few_lines() {
    let dir = tempfile::tempdir().unwrap();
    folder(dir.path()).await;
    // An opening writes what the write-ahead log has into a table file.
    drop(LogStore::open(&dir.path().join("log")).unwrap());
    let files = fs::read_dir(dir.path().join("log/db")).unwrap().map(|file| file.unwrap().path());
    for table in files.filter(|path| path.extension().is_some_and(|end| end == "sst")) {
        let bytes = fs::read(&table).unwrap();
        fs::write(&table, &bytes[..bytes.len() * 2 / 3]).unwrap();
    }
    let journal = Journal::open(dir.path()).unwrap();
    assert!(journal.heading().damage.is_some());
    let lines: Vec<_> = journal.lines(None, None).take(100).collect();
    assert!(lines.len() < 100, "{lines:?}");
    assert!(matches!(&lines[0], JournalLine::Unreadable { first: 0, .. }), "{lines:?}");
}
