//! What the log promises, also over a restart.

use super::*;

const ALL: Range<u64> = 0..u64::MAX;

fn entry(index: u64) -> (u64, Vec<u8>) {
    (index, format!("entry {index}").into_bytes())
}

fn filled(dir: &Path, indexes: Range<u64>) -> LogStore {
    let log = LogStore::open(dir).unwrap();
    log.append(indexes.map(entry).collect()).unwrap();
    log
}

fn indexes(log: &LogStore) -> Vec<u64> {
    log.read(ALL, usize::MAX).unwrap().into_iter().map(|(index, _)| index).collect()
}

#[test]
fn entries_and_values_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(folder.path(), 1..4);
    log.put_meta("vote", b"1").unwrap();
    log.put_meta("vote", b"2").unwrap();
    drop(log);
    let log = LogStore::open(folder.path()).unwrap();
    assert_eq!(log.read(ALL, usize::MAX).unwrap(), [entry(1), entry(2), entry(3)]);
    assert_eq!(log.meta("vote").unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(log.meta("other").unwrap(), None);
}

#[test]
fn an_empty_log_has_no_first_and_no_last_entry() {
    let folder = tempfile::tempdir().unwrap();
    let log = LogStore::open(folder.path()).unwrap();
    assert_eq!((log.first().unwrap(), log.last().unwrap()), (None, None));
    assert_eq!(log.read(ALL, usize::MAX).unwrap(), []);
}

#[test]
fn a_read_ends_at_its_range_and_at_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(folder.path(), 1..10);
    assert_eq!(log.read(3..5, usize::MAX).unwrap(), [entry(3), entry(4)]);
    assert_eq!(log.read(3..9, 14).unwrap(), [entry(3), entry(4)]);
    assert_eq!(log.read(3..9, 13).unwrap(), [entry(3)]);
    assert_eq!(log.read(3..9, 0).unwrap(), [entry(3)], "else one large entry would stop the log for ever");
    assert_eq!(log.read(5..5, usize::MAX).unwrap(), []);
    assert_eq!(log.read(10..20, usize::MAX).unwrap(), []);
}

#[test]
fn indexes_are_in_the_order_of_numbers_not_of_digits() {
    let folder = tempfile::tempdir().unwrap();
    let log = LogStore::open(folder.path()).unwrap();
    log.append([256, 9, 1 << 40, 10].map(entry).to_vec()).unwrap();
    assert_eq!(indexes(&log), [9, 10, 256, 1 << 40]);
    assert_eq!(log.first().unwrap(), Some(entry(9)));
    assert_eq!(log.last().unwrap(), Some(entry(1 << 40)));
}

#[test]
fn truncated_entries_are_gone_after_a_restart_and_can_be_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(folder.path(), 1..10);
    log.truncate_from(4).unwrap();
    assert_eq!(log.last().unwrap(), Some(entry(3)));
    drop(log);
    let log = LogStore::open(folder.path()).unwrap();
    assert_eq!(indexes(&log), [1, 2, 3]);
    log.append(vec![(4, b"another".to_vec())]).unwrap();
    assert_eq!(log.last().unwrap(), Some((4, b"another".to_vec())));
    assert_eq!(indexes(&log), [1, 2, 3, 4]);
}

#[test]
fn purged_entries_are_gone_and_the_named_one_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(folder.path(), 1..10);
    log.put_meta("purged", b"4").unwrap();
    log.purge_to(4).unwrap();
    drop(log);
    let log = LogStore::open(folder.path()).unwrap();
    assert_eq!(indexes(&log), [5, 6, 7, 8, 9]);
    log.purge_to(9).unwrap();
    assert_eq!((log.first().unwrap(), log.last().unwrap()), (None, None));
    assert!(log.meta("purged").unwrap().is_some());
}

#[test]
fn a_folder_of_the_state_is_not_taken_for_a_log() {
    let folder = tempfile::tempdir().unwrap();
    drop(crate::StateStore::open(folder.path()).unwrap());
    let refused = LogStore::open(folder.path()).unwrap_err().to_string();
    assert!(refused.contains("says `forebay-state`, where `forebay-log` is needed"), "{refused}");
}

/// The write-ahead file that holds entries which are in no table file yet.
fn write_ahead_file(dir: &Path) -> PathBuf {
    let files = std::fs::read_dir(dir.join("db")).unwrap().map(|file| file.unwrap().path());
    let logs = files.filter(|path| path.extension().is_some_and(|end| end == "log"));
    logs.max_by_key(|path| path.metadata().unwrap().len()).expect("a log that was not flushed has one")
}

#[test]
fn an_append_that_the_power_cut_short_is_gone_and_those_before_it_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(folder.path(), 1..100);
    log.append(vec![(100, vec![7; 5000])]).unwrap();
    drop(log);
    let file = write_ahead_file(folder.path());
    let length = file.metadata().unwrap().len();
    std::fs::File::options().write(true).open(&file).unwrap().set_len(length - 1000).unwrap();
    let log = LogStore::open(folder.path()).unwrap();
    assert_eq!(log.last().unwrap(), Some(entry(99)));
    log.append(vec![entry(100)]).unwrap();
    assert_eq!(log.last().unwrap(), Some(entry(100)));
}

#[test]
fn damage_before_the_end_of_the_log_is_an_error_not_a_shorter_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = filled(folder.path(), 1..1000);
    log.append(vec![entry(1000)]).unwrap();
    drop(log);
    let file = write_ahead_file(folder.path());
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let opened = LogStore::open(folder.path());
    assert_eq!(opened.unwrap_err().kind(), forebay_types::ErrorKind::Corrupt);
}
