//! A look changes nothing, whatever lies there and whoever uses it.

use std::collections::BTreeMap;
use std::fs;

use forebay_metadata::Mutation;
use rocksdb::DB;

use super::*;

/// Every file below `dir` with its bytes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            drop(found.insert(path.clone(), fs::read(path).unwrap()))
        }
    }
    found
}

fn entry(index: u64) -> (u64, Vec<u8>) {
    (index, index.to_le_bytes().repeat(100))
}

/// A log with entries in table files and some only in the write-ahead log.
fn log(dir: &Path) -> LogStore {
    let log = LogStore::open(dir).unwrap();
    for range in [1..50, 50..100] {
        log.append(range.map(entry).collect()).unwrap();
        log.db.flush_cf(log.db.cf_handle(log_store::ENTRIES).unwrap()).unwrap();
    }
    log.append((100..110).map(entry).collect()).unwrap();
    log.put_meta("node", b"1").unwrap();
    log
}

fn tables(dir: &Path) -> Vec<PathBuf> {
    let is_table = |path: &PathBuf| path.extension().is_some_and(|end| end == "sst");
    let mut tables: Vec<_> = files(dir).into_keys().filter(is_table).collect();
    tables.sort_by_key(|path| std::cmp::Reverse(path.metadata().unwrap().len()));
    tables
}

#[test]
fn a_log_is_seen_whole_while_it_is_used_and_is_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let used = log(dir.path());
    let before = files(dir.path());
    let view = LogView::open(dir.path()).unwrap();
    assert_eq!(view.read(0..u64::MAX, usize::MAX).unwrap(), (1..110).map(entry).collect::<Vec<_>>());
    assert_eq!((view.first().unwrap(), view.last().unwrap()), (Some(entry(1)), Some(entry(109))));
    assert_eq!(view.meta("node").unwrap().as_deref(), Some(&b"1"[..]));
    assert!(view.damage().is_none());
    assert_eq!(files(dir.path()), before, "a look wrote something");
    // What the user of the log deletes meanwhile is still seen.
    used.purge_to(108).unwrap();
    used.db.compact_range_cf(used.db.cf_handle(log_store::ENTRIES).unwrap(), None::<&[u8]>, None::<&[u8]>);
    assert_eq!(view.read(0..u64::MAX, usize::MAX).unwrap().len(), 109);
    used.append(vec![entry(110)]).unwrap();
    assert_eq!(LogView::open(dir.path()).unwrap().last().unwrap(), Some(entry(110)));
}

#[test]
fn of_a_log_with_a_damaged_table_the_rest_is_seen_and_it_is_as_before() {
    for damage in ["flipped", "cut", "gone"] {
        let dir = tempfile::tempdir().unwrap();
        drop(log(dir.path()));
        let table = tables(dir.path()).remove(0);
        let mut bytes = fs::read(&table).unwrap();
        match damage {
            "flipped" => bytes[200] ^= 1,
            "cut" => bytes.truncate(bytes.len() / 2),
            _ => {}
        }
        if damage == "gone" {
            fs::remove_file(&table).unwrap()
        } else {
            fs::write(&table, bytes).unwrap()
        }
        let before = files(dir.path());
        let view = LogView::open(dir.path()).unwrap();
        let failed = (1..110).filter(|index| view.entry(*index).is_err()).count();
        let seen =
            (1..110).filter(|index| view.entry(*index).ok().flatten() == Some(entry(*index).1)).count();
        assert!(failed > 0 || view.damage().is_some(), "{damage}");
        // Of few table files RocksDB opens all for each entry; what no table has is seen in any case.
        let least = if damage == "flipped" { 50 } else { 10 };
        assert!(seen >= least, "{damage}: {seen} entries are seen, {failed} are not");
        assert_eq!(files(dir.path()), before, "{damage}: a look wrote something");
    }
}

#[test]
fn what_is_no_log_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |path: &Path| LogView::open(path).unwrap_err().to_string();
    assert!(refused(dir.path()).contains("is missing"), "{}", refused(dir.path()));
    assert_eq!(files(dir.path()).len(), 0);
    fs::write(dir.path().join("FORMAT"), "forebay-log 2\n").unwrap();
    assert!(refused(dir.path()).contains("upgrade Forebay"));
    fs::write(dir.path().join("FORMAT"), "forebay-log 1\n").unwrap();
    let before = files(dir.path());
    assert!(refused(dir.path()).contains("cannot look at the database"), "{}", refused(dir.path()));
    assert_eq!(files(dir.path()), before);
    assert!(!dir.path().join("db").exists());
    let state = tempfile::tempdir().unwrap();
    drop(StateStore::open(state.path()).unwrap());
    assert!(refused(state.path()).contains("`forebay-log` is needed"));
}

#[test]
fn a_state_is_seen_with_its_marks_and_without_tables_that_it_never_had() {
    let dir = tempfile::tempdir().unwrap();
    let used = StateStore::open(dir.path()).unwrap();
    let row = |table| Mutation { table, key: b"k".to_vec(), value: Some(b"v".to_vec()) };
    used.commit(vec![row(Table::Inodes), row(Table::Outbox)], &[("log-id", b"7".to_vec())]).unwrap();
    let before = files(dir.path());
    let view = StateView::open(dir.path()).unwrap();
    assert_eq!(view.get(Table::Outbox, b"k").unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(view.applied("log-id").unwrap().as_deref(), Some(&b"7"[..]));
    assert_eq!(files(dir.path()), before, "a look wrote something");
    drop((view, used));

    let families = [Table::Inodes.name(), Table::Outbox.name(), APPLIED];
    let options = StoreSettings::default().options(Durability::Replayed).unwrap();
    let all = DB::list_cf(&options, dir.path().join("db")).unwrap();
    let mut db = DB::open_cf(&options, dir.path().join("db"), all).unwrap();
    assert!(families.iter().all(|family| db.cf_handle(family).is_some()));
    db.drop_cf(Table::Outbox.name()).unwrap();
    drop(db);
    fs::write(dir.path().join("FORMAT"), "forebay-state 1\n").unwrap();
    let before = files(dir.path());
    let view = StateView::open(dir.path()).unwrap();
    assert_eq!(view.scan(Table::Outbox, b"", None, 9).unwrap(), []);
    assert_eq!(view.scan(Table::Inodes, b"", None, 9).unwrap().len(), 1);
    assert_eq!(files(dir.path()), before, "a look wrote something");
}
