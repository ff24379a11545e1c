//! A backup is read as it was written, whatever happens meanwhile, and no damage to it goes unseen.

use forebay_metadata::snapshot::{DumpedRow, backup_rows};
use forebay_types::{Incarnation, crc32c};
use tempfile::TempDir;

use super::*;
use crate::limits::BACKUP_BLOCK_LENGTH;
use crate::testing::{CLUSTER, SECRET, formed, mount, settings, soon};

const NOW: Timestamp = Timestamp::from_nanos(77);

fn written(moment: &crate::StateMoment<'_>) -> Vec<u8> {
    let blocks = BackupBlocks::new(moment, NOW, "9.9").unwrap();
    blocks.map(|block| block.unwrap()).collect::<Vec<_>>().concat()
}

fn rows_of(bytes: &[u8]) -> Result<Vec<DumpedRow>, BackupError> {
    let mut reader = BackupReader::open(bytes)?;
    let mut all = Vec::new();
    loop {
        let rows = reader.next_rows()?;
        if rows.is_empty() {
            return Ok(all);
        }
        all.extend(rows);
    }
}

/// A backup of a master with some mounts.
async fn backup() -> Vec<u8> {
    let dir = TempDir::new().unwrap();
    let (node, _effects) = formed(settings(dir.path())).await;
    for number in 0..3 {
        node.propose(None, mount(number), soon()).await.unwrap().reply.unwrap();
    }
    let view = node.read(soon()).await.unwrap();
    written(&view.moment())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_one_moment_while_entries_are_applied() {
    let dir = TempDir::new().unwrap();
    let (node, _effects) = formed(settings(dir.path())).await;
    node.propose(None, mount(1), soon()).await.unwrap().reply.unwrap();
    let view = node.read(soon()).await.unwrap();
    let moment = view.moment();
    let mut blocks = BackupBlocks::new(&moment, NOW, "9.9").unwrap();
    let mut bytes = blocks.next().unwrap().unwrap();
    for number in 2..50 {
        node.propose(None, mount(number), soon()).await.unwrap().reply.unwrap();
    }
    blocks.for_each(|block| bytes.extend(block.unwrap()));
    let rows = rows_of(&bytes).unwrap();
    let expected: Vec<_> = backup_rows(&moment).map(|row| row.unwrap()).collect();
    assert_eq!(rows, expected);
    assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET));
    let summary = BackupReader::open(&bytes[..]).unwrap().check().unwrap();
    assert_eq!((summary.rows, summary.length), (rows.len() as u64, bytes.len() as u64));
    let BackupDescription { cluster, incarnation, index, taken_at, release } = summary.description;
    assert_eq!(
        (cluster, incarnation, taken_at, release.as_str()),
        (CLUSTER, Incarnation::new(1), NOW, "9.9")
    );
    assert_eq!(index, moment.last_applied().unwrap());
    assert!(index < view.moment().last_applied().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_are_many_blocks_of_a_bounded_length() {
    let dir = TempDir::new().unwrap();
    let (node, _effects) = formed(settings(dir.path())).await;
    for first in (0..1000).step_by(100) {
        let asked = (first..first + 100).map(|number| node.propose(None, mount(number), soon()));
        futures::future::join_all(asked).await.into_iter().for_each(|done| drop(done.unwrap()));
    }
    let view = node.read(soon()).await.unwrap();
    let moment = view.moment();
    let blocks: Vec<_> = BackupBlocks::new(&moment, NOW, "").unwrap().map(|block| block.unwrap()).collect();
    assert!(blocks.iter().all(|block| block.len() < BACKUP_BLOCK_LENGTH * 2));
    assert!(blocks.len() > 5, "one for each table at least");
    assert_eq!(rows_of(&blocks.concat()).unwrap().len(), backup_rows(&moment).count());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_flipped_byte_each_cut_and_each_addition_is_found() {
    let bytes = backup().await;
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x20;
        assert!(rows_of(&flipped).is_err(), "byte {at}");
        assert!(rows_of(&bytes[..at]).is_err(), "cut at {at}");
    }
    let longer = [&bytes[..], b"x"].concat();
    let error = rows_of(&longer).unwrap_err();
    assert!(error.to_string().contains(&format!("damaged at byte {}", bytes.len())), "{error}");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_changed_places_or_are_missing_are_found() {
    let dir = TempDir::new().unwrap();
    let (node, _effects) = formed(settings(dir.path())).await;
    let view = node.read(soon()).await.unwrap();
    let moment = view.moment();
    let blocks: Vec<_> = BackupBlocks::new(&moment, NOW, "").unwrap().map(|block| block.unwrap()).collect();
    let mut swapped = blocks.clone();
    swapped.swap(1, 2);
    assert!(
        matches!(rows_of(&swapped.concat()), Err(BackupError::Damaged { place, .. }) if place.block == 1)
    );
    let mut without = blocks.clone();
    without.remove(blocks.len() - 2);
    assert!(rows_of(&without.concat()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_format_and_another_file_are_told_from_damage() {
    let mut bytes = backup().await;
    assert!(matches!(rows_of(b"FORMAT 1\n and more than that"), Err(BackupError::Foreign)));
    assert!(matches!(rows_of(b""), Err(BackupError::Foreign)));
    bytes[8] = 9;
    let sum = crc32c::crc32c(&bytes[..12]);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    let error = rows_of(&bytes).unwrap_err();
    assert!(
        error.to_string().contains("format 9") && error.to_string().contains("upgrade Forebay"),
        "{error}"
    );
}
