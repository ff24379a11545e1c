//! Snapshots on disk and as streams, and what becomes of damaged ones.

use std::fs;
use std::io::Read;
use std::path::Path;

use forebay_types::ErrorKind;
use tempfile::TempDir;

use super::archive::{ArchiveReader, unpack};
use super::*;
use crate::types::{StoredMembership, log_id};

const FILES: [(&str, &[u8]); 3] =
    [("FORMAT", b"a word"), ("db/000007.sst", b"some table"), ("db/CURRENT", b"")];

fn meta(index: u64) -> SnapshotMeta {
    SnapshotMeta { last_log_id: Some(log_id(2, index)), last_membership: StoredMembership::default() }
}

fn make(shelf: &SnapshotShelf, index: u64) -> Arc<SnapshotDir> {
    let fill = |dir: &Path| {
        fs::create_dir_all(dir.join("db")).unwrap();
        FILES.iter().for_each(|(name, bytes)| fs::write(dir.join(name), bytes).unwrap());
        Ok(meta(index))
    };
    shelf.make(fill).unwrap()
}

fn shelf() -> (TempDir, SnapshotShelf) {
    let dir = tempfile::tempdir().unwrap();
    let shelf = SnapshotShelf::open(dir.path().join("snapshots")).unwrap();
    (dir, shelf)
}

fn stream() -> Vec<u8> {
    let (_dir, shelf) = shelf();
    let mut bytes = Vec::new();
    ArchiveReader::new(make(&shelf, 5)).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// A directory in memory where there is one, since many syncs of a disk take long.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_stream_brings_the_files_and_their_description() {
    let target = scratch();
    let dir = target.path().join("state");
    assert_eq!(unpack(stream().as_slice(), &dir).unwrap(), meta(5));
    assert_eq!(names(&dir), ["FORMAT", "db"]);
    assert_eq!(names(&dir.join("db")), ["000007.sst", "CURRENT"]);
    for (name, bytes) in FILES {
        assert_eq!(fs::read(dir.join(name)).unwrap(), bytes);
    }
}

#[test]
fn a_stream_that_ends_early_is_refused() {
    let whole = stream();
    for length in 0..whole.len() {
        let target = scratch();
        let error = unpack(&whole[..length], &target.path().join("state")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}: {error}");
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_stream_is_refused() {
    let whole = stream();
    for position in 0..whole.len() {
        let target = scratch();
        let mut bytes = whole.clone();
        bytes[position] ^= 0x10;
        let error = unpack(bytes.as_slice(), &target.path().join("state")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {position}: {error}");
    }
}

#[test]
fn bytes_behind_the_end_of_a_stream_are_refused() {
    let target = scratch();
    let bytes = [stream(), vec![0]].concat();
    let error = unpack(bytes.as_slice(), &target.path().join("state")).unwrap_err();
    assert!(error.to_string().contains("bytes follow its end"), "{error}");
}

#[test]
fn a_name_that_leads_out_of_the_directory_is_refused() {
    let whole = stream();
    let position = whole.windows(10).position(|bytes| bytes == b"db/000007.").unwrap();
    for name in [*b"../evil.ss", *b"/etc/passw", *b"db/../../e", *b"db//000007", *b"db/\x00000007"] {
        let target = scratch();
        let mut bytes = whole.clone();
        bytes[position..position + 10].copy_from_slice(&name);
        let error = unpack(bytes.as_slice(), &target.path().join("state")).unwrap_err();
        assert!(error.to_string().contains("is no path of a file"), "{error}");
    }
}

#[test]
fn only_the_newest_complete_snapshot_survives_a_restart() {
    let (dir, shelf) = shelf();
    let path = dir.path().join("snapshots");
    make(&shelf, 9);
    make(&shelf, 10);
    drop(shelf);
    // A crash while one was made, and one before the old one was removed.
    fs::create_dir_all(path.join(UNFINISHED).join(STATE_DIR)).unwrap();
    fs::create_dir(path.join("00000000000000000003-1")).unwrap();
    let shelf = SnapshotShelf::open(path.clone()).unwrap();
    assert_eq!(shelf.newest().unwrap().meta(), &meta(10));
    assert_eq!(names(&path), ["00000000000000000010-2"]);
}

#[test]
fn a_snapshot_that_is_being_read_stays_until_it_was() {
    let (dir, shelf) = shelf();
    let path = dir.path().join("snapshots");
    let mut reading = ArchiveReader::new(make(&shelf, 9)).unwrap();
    make(&shelf, 10);
    assert_eq!(names(&path).len(), 2);
    reading.read_to_end(&mut Vec::new()).unwrap();
    drop(reading);
    assert_eq!(names(&path), ["00000000000000000010-2"]);
}

#[test]
fn a_snapshot_of_the_same_entry_is_the_one_that_is_there() {
    let (dir, shelf) = shelf();
    let first = make(&shelf, 9);
    assert!(Arc::ptr_eq(&first, &make(&shelf, 9)));
    assert_eq!(names(&dir.path().join("snapshots")), ["00000000000000000009-2"]);
}

#[test]
fn a_damaged_description_is_an_error_at_the_start() {
    let (dir, shelf) = shelf();
    let path = dir.path().join("snapshots");
    let made = make(&shelf, 9);
    fs::write(made.path.join(META_FILE), b"\x01nonsense").unwrap();
    drop((shelf, made));
    let error = SnapshotShelf::open(path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}
