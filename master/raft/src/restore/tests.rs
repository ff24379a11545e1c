//! A life from a backup goes on where the backup ends, as a life of its own.

use std::convert::Infallible;

use forebay_metadata::query;
use forebay_types::{Incarnation, LogIndex, MountId};
use tempfile::TempDir;

use super::*;
use crate::RaftNode;
use crate::backup::BackupBlocks;
use crate::testing::{CLUSTER, ClosedNode, formed, mount, settings, soon, start};

const LIFE: Life = Life { incarnation: Incarnation::new(40), capability_secret: [5; 32] };

fn any(_: &dyn StateReader) -> Result<Vec<Mutation>, Infallible> {
    Ok(Vec::new())
}

fn there() -> RestoredNode {
    RestoredNode { address: "elsewhere:9".to_owned(), slot: 3 }
}

async fn backup_of(node: &RaftNode) -> Vec<u8> {
    let view = node.read(soon()).await.unwrap();
    let moment = view.moment();
    let blocks = BackupBlocks::new(&moment, moment_time(), "test").unwrap();
    blocks.map(|block| block.unwrap()).collect::<Vec<_>>().concat()
}

const fn moment_time() -> forebay_types::Timestamp {
    forebay_types::Timestamp::from_nanos(1)
}

/// A backup with one mount, taken before a second one was made. Its last entry.
async fn old_backup() -> (Vec<u8>, LogIndex) {
    let dir = TempDir::new().unwrap();
    let (node, _effects) = formed(settings(dir.path())).await;
    node.propose(None, mount(1), soon()).await.unwrap().reply.unwrap();
    let bytes = backup_of(&node).await;
    let index = BackupReader::open(&bytes[..]).unwrap().description().index;
    node.propose(None, mount(2), soon()).await.unwrap().reply.unwrap();
    (bytes, index)
}

fn restored(dir: &Path, bytes: &[u8]) -> Result<BackupDescription, RestoreError<Infallible>> {
    restore(dir, BackupReader::open(bytes)?, &LIFE, there(), any)
}

async fn mounts(node: &ClosedNode) -> Vec<String> {
    let view = node.read(soon()).await.unwrap();
    query::mounts(&view.moment()).unwrap().iter().map(|mount| mount.path.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_master_leads_has_what_the_backup_has_and_goes_on_behind_its_last_entry() {
    let (bytes, index) = old_backup().await;
    let dir = TempDir::new().unwrap();
    assert_eq!(restored(dir.path(), &bytes).unwrap().cluster, CLUSTER);
    let (node, _effects) = start(settings(dir.path())).await;
    assert!(node.has_cluster(soon()).await.unwrap());
    assert_eq!(mounts(&node).await, ["/m1"]);
    let committed = node.propose(None, mount(3), soon()).await.unwrap();
    assert!(committed.reply.is_ok());
    let view = node.read(soon()).await.unwrap();
    assert!(view.moment().last_applied().unwrap() > index.next(), "the election has an entry too");
    let identity = query::identity(&view.moment()).unwrap().unwrap();
    assert_eq!((identity.cluster, identity.incarnation), (CLUSTER, LIFE.incarnation));
    assert_eq!(identity.capability_secret, [5; 32]);
    drop(view);
    drop(node);

    let (node, _effects) = start(settings(dir.path())).await;
    assert_eq!(mounts(&node).await, ["/m1", "/m3"], "a second start goes on");
    let error = restored(dir.path(), &bytes).unwrap_err();
    assert!(matches!(error, RestoreError::NotEmpty), "{error}");
    assert_eq!(error.kind(|never| match *never {}), ErrorKind::AlreadyExists);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_restored_master_begins_a_third_life() {
    let (bytes, _) = old_backup().await;
    let (second, third) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    restored(second.path(), &bytes).unwrap();
    let (node, _effects) = start(settings(second.path())).await;
    node.propose(None, mount(4), soon()).await.unwrap().reply.unwrap();
    let bytes = backup_of(&node).await;
    let error = restored(third.path(), &bytes).unwrap_err();
    assert!(matches!(error, RestoreError::State(_)), "the same incarnation again: {error}");
    let life = Life { incarnation: LIFE.incarnation.next(), ..LIFE };
    restore(third.path(), BackupReader::open(&bytes[..]).unwrap(), &life, there(), any).unwrap();
    let (node, _effects) = start(settings(third.path())).await;
    assert_eq!(mounts(&node).await, ["/m1", "/m4"]);
    let view = node.read(soon()).await.unwrap();
    let ids: Vec<_> = query::mounts(&view.moment()).unwrap().iter().map(|mount| mount.id).collect();
    assert_eq!(ids, [MountId::new(1), MountId::new(40)], "no id of an earlier life is given again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_failed_or_was_cut_off_leaves_a_folder_that_can_be_restored_into() {
    let (bytes, _) = old_backup().await;
    let dir = TempDir::new().unwrap();
    let mut damaged = bytes.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    assert!(matches!(restored(dir.path(), &damaged).unwrap_err(), RestoreError::Backup(_)));
    assert!(!has_state(dir.path()).unwrap());
    let unwanted =
        restore(dir.path(), BackupReader::open(&bytes[..]).unwrap(), &LIFE, there(), |_| Err("no"));
    assert!(matches!(unwanted, Err(RestoreError::Unwanted("no"))));
    assert!(!has_state(dir.path()).unwrap());

    // What a process leaves that died before the renaming.
    restored(dir.path(), &bytes).unwrap();
    fs::rename(dir.path().join("state/1"), dir.path().join("state").join(UNFINISHED)).unwrap();
    assert!(!has_state(dir.path()).unwrap());
    let (node, _effects) = start(settings(dir.path())).await;
    assert!(!node.has_cluster(soon()).await.unwrap(), "half a state is none");
    drop(node);
    erase(dir.path()).unwrap();
    restored(dir.path(), &bytes).unwrap();
    let (node, _effects) = start(settings(dir.path())).await;
    assert_eq!(mounts(&node).await, ["/m1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_emptied_unless_a_master_runs_in_it() {
    let dir = TempDir::new().unwrap();
    assert_eq!(erase(dir.path()).unwrap(), None);
    let (node, _effects) = formed(settings(dir.path())).await;
    fs::write(dir.path().join("cluster.key"), "kept").unwrap();
    let in_use = erase(dir.path()).unwrap_err();
    assert!(in_use.to_string().contains("log"), "{in_use}");
    assert!(has_state(dir.path()).unwrap());
    drop(node);
    assert_eq!(erase(dir.path()).unwrap(), Some(CLUSTER));
    assert!(!has_state(dir.path()).unwrap());
    assert!(dir.path().join("cluster.key").exists(), "what is not the state stays");
    let (node, _effects) = start(settings(dir.path())).await;
    assert!(!node.has_cluster(soon()).await.unwrap());
}
