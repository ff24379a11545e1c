//! The bytes of a backup and of a snapshot that travels, against the lines of `golden/files.txt`, which are never changed.

use std::io::Read;

use forebay_metadata::golden::{self, Case};
use forebay_metadata::snapshot::dump;
use forebay_metadata::store::MemoryStore;
use forebay_metadata::{Command, Format, Proposal, SetFeatureLevel, StateReader, StateWriter, apply_all};
use forebay_types::Incarnation;

use super::*;
use crate::snapshot::SnapshotShelf;
use crate::snapshot::archive::{ArchiveReader, unpack};
use crate::testing::{CLUSTER, SECRET, mount};
use crate::types::{SnapshotMeta, StoredMembership, log_id};

/// A state of the level 2 with a mount.
fn state() -> MemoryStore {
    let format = Format { cluster: CLUSTER, incarnation: Incarnation::new(1), capability_secret: SECRET };
    let commands =
        [Command::Format(format), Command::SetFeatureLevel(SetFeatureLevel { level: 2 }), mount(1)];
    let proposals =
        commands.map(|command| Proposal { issued_at: Timestamp::from_nanos(300), session: None, command });
    let mut store = MemoryStore::new();
    let log = proposals.iter().zip(1..).map(|(proposal, index)| (LogIndex::new(index), proposal));
    let applied = apply_all(&store, log).unwrap();
    assert!(applied.outcomes.iter().all(|outcome| outcome.reply.is_ok()));
    store.commit(applied.mutations).unwrap();
    store
}

fn description() -> BackupDescription {
    BackupDescription {
        cluster: CLUSTER,
        incarnation: Incarnation::new(1),
        index: LogIndex::new(301),
        taken_at: Timestamp::from_nanos(302),
        release: "9.9".to_owned(),
    }
}

fn backup_of(reader: &dyn StateReader) -> Vec<u8> {
    BackupBlocks::of(description(), reader).map(|block| block.unwrap()).collect::<Vec<_>>().concat()
}

fn read_backup(bytes: &[u8], rows: usize) -> Result<(), String> {
    let reader = BackupReader::open(bytes).map_err(|error| error.to_string())?;
    let summary = reader.check().map_err(|error| error.to_string())?;
    let expected =
        BackupSummary { description: description(), rows: rows as u64, length: bytes.len() as u64 };
    golden::expect::<_, String>(Ok(summary), &expected)
}

fn meta() -> SnapshotMeta {
    SnapshotMeta { last_log_id: Some(log_id(2, 303)), last_membership: StoredMembership::default() }
}

const FILES: [(&str, &[u8]); 2] = [("FORMAT", b"a word"), ("db/000007.sst", b"some table")];

fn snapshot() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let shelf = SnapshotShelf::open(dir.path().join("snapshots")).unwrap();
    let fill = |dir: &std::path::Path| {
        std::fs::create_dir_all(dir.join("db")).unwrap();
        FILES.iter().for_each(|(name, bytes)| std::fs::write(dir.join(name), bytes).unwrap());
        Ok(meta())
    };
    let mut bytes = Vec::new();
    ArchiveReader::new(shelf.make(fill).unwrap()).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn read_snapshot(bytes: &[u8]) -> Result<(), String> {
    let target = tempfile::tempdir().unwrap();
    let dir = target.path().join("state");
    golden::expect(unpack(bytes, &dir), &meta())?;
    for (name, bytes) in FILES {
        golden::expect::<_, String>(Ok(std::fs::read(dir.join(name)).unwrap()), &bytes.to_vec())?;
    }
    Ok(())
}

#[test]
fn the_bytes_of_backups_and_of_snapshots_that_travel_are_formats_and_never_change() {
    let state = state();
    let rows = dump(&state).count();
    let cases = [
        Case::written("backup/of-level-2", backup_of(&state), move |bytes| read_backup(bytes, rows)),
        Case::written("backup/of-nothing", backup_of(&MemoryStore::new()), |bytes| read_backup(bytes, 0)),
        Case::written("snapshot", snapshot(), read_snapshot),
    ];
    let text = include_str!("../../golden/files.txt");
    golden::check("master/raft/golden/files.txt", text, &["backup", "snapshot"], &cases);
}
