//! What the state store promises: the port's duties, and what survives a restart or goes into a copy.

use super::*;
use forebay_metadata::StateWriter;
use forebay_metadata::store::conformance;

fn put(key: &[u8], value: &[u8]) -> Mutation {
    Mutation { table: Table::Inodes, key: key.to_vec(), value: Some(value.to_vec()) }
}

fn get(store: &dyn StateReader, key: &[u8]) -> Option<Vec<u8>> {
    store.get(Table::Inodes, key).unwrap()
}

/// A store in a folder of its own, for the suite.
struct Scratch {
    store: StateStore,
    _folder: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { store: StateStore::open(folder.path()).unwrap(), _folder: folder }
    }
}

impl StateReader for Scratch {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        self.store.scan(table, start, end, limit)
    }
}

impl StateWriter for Scratch {
    fn commit(&mut self, mutations: Vec<Mutation>) -> Result<(), StoreError> {
        self.store
            .commit(mutations, &[])
            .map_err(|error| StoreError::Backend { table: "all", source: Box::new(error) })
    }
}

#[test]
fn the_state_store_keeps_the_ports_duties() {
    conformance::run(Scratch::new);
}

#[test]
fn rows_and_marks_survive_a_restart_together() {
    let folder = tempfile::tempdir().unwrap();
    let store = StateStore::open(folder.path()).unwrap();
    assert_eq!(store.applied("log").unwrap(), None);
    store.commit(vec![put(b"a", b"1")], &[("log", b"7".to_vec()), ("members", b"x".to_vec())]).unwrap();
    store.commit(vec![put(b"b", b"2")], &[("log", b"8".to_vec())]).unwrap();
    drop(store);
    let store = StateStore::open(folder.path()).unwrap();
    assert_eq!((get(&store, b"a"), get(&store, b"b")), (Some(b"1".to_vec()), Some(b"2".to_vec())));
    assert_eq!(store.applied("log").unwrap().as_deref(), Some(&b"8"[..]));
    assert_eq!(store.applied("members").unwrap().as_deref(), Some(&b"x"[..]));
}

#[test]
fn a_snapshot_shows_one_moment() {
    let scratch = Scratch::new();
    scratch.store.commit(vec![put(b"a", b"1"), put(b"b", b"1")], &[]).unwrap();
    let snapshot = scratch.store.snapshot();
    let delete = Mutation { table: Table::Inodes, key: b"b".to_vec(), value: None };
    scratch.store.commit(vec![put(b"a", b"2"), put(b"c", b"2"), delete], &[]).unwrap();
    assert_eq!(get(&snapshot, b"a").as_deref(), Some(&b"1"[..]));
    let keys = |reader: &dyn StateReader| {
        let rows = reader.scan(Table::Inodes, b"", None, 9).unwrap();
        rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(keys(&snapshot), [b"a", b"b"]);
    assert_eq!(keys(&scratch.store), [b"a", b"c"]);
}

#[test]
fn a_checkpoint_can_be_opened_again_and_goes_its_own_way() {
    let scratch = Scratch::new();
    let copies = tempfile::tempdir().unwrap();
    let dir = copies.path().join("copy");
    scratch.store.commit(vec![put(b"a", b"1")], &[("log", b"7".to_vec())]).unwrap();
    scratch.store.checkpoint(&dir).unwrap();
    scratch.store.commit(vec![put(b"a", b"2")], &[("log", b"8".to_vec())]).unwrap();
    let copy = StateStore::open(&dir).unwrap();
    assert_eq!(get(&copy, b"a").as_deref(), Some(&b"1"[..]));
    assert_eq!(copy.applied("log").unwrap().as_deref(), Some(&b"7"[..]));
    copy.commit(vec![put(b"a", b"3")], &[]).unwrap();
    assert_eq!(get(&scratch.store, b"a").as_deref(), Some(&b"2"[..]));
    assert!(scratch.store.checkpoint(&dir).is_err(), "a copy must not be written over another");
}

#[test]
fn after_a_flush_rows_are_in_tables_and_not_in_memory() {
    let scratch = Scratch::new();
    let in_memory = || {
        let inodes = family(&scratch.store.db, Table::Inodes.name());
        let entries = scratch.store.db.property_int_value_cf(inodes, "rocksdb.num-entries-active-mem-table");
        entries.unwrap()
    };
    scratch.store.commit(vec![put(b"a", b"1")], &[("log", b"7".to_vec())]).unwrap();
    assert_eq!(in_memory(), Some(1));
    scratch.store.flush().unwrap();
    assert_eq!(in_memory(), Some(0));
    assert_eq!(get(&scratch.store, b"a").as_deref(), Some(&b"1"[..]));
    assert_eq!(scratch.store.applied("log").unwrap().as_deref(), Some(&b"7"[..]));
}

#[test]
fn a_folder_in_use_is_not_opened_twice() {
    let folder = tempfile::tempdir().unwrap();
    let _store = StateStore::open(folder.path()).unwrap();
    let refused = StateStore::open(folder.path()).unwrap_err();
    assert!(refused.to_string().contains(&*folder.path().to_string_lossy()), "{refused}");
}

#[test]
fn a_damaged_format_file_keeps_the_state_shut() {
    let folder = tempfile::tempdir().unwrap();
    drop(StateStore::open(folder.path()).unwrap());
    std::fs::write(folder.path().join("FORMAT"), "forebay-state 4\n").unwrap();
    let newer = StateStore::open(folder.path()).unwrap_err();
    assert!(matches!(newer, StorageError::NewerFormat { found: 4, known: 3, .. }), "{newer}");
    std::fs::write(folder.path().join("FORMAT"), "forebay-stat").unwrap();
    let damaged = StateStore::open(folder.path()).unwrap_err();
    assert_eq!(damaged.kind(), forebay_types::ErrorKind::Corrupt);
    std::fs::write(folder.path().join("FORMAT"), "forebay-state 1\n").unwrap();
    StateStore::open(folder.path()).unwrap();
}

#[test]
fn a_state_of_an_earlier_version_is_taken_over_with_an_empty_table_for_each_that_it_lacks() {
    for (version, lacks) in [(1, &[Table::Outbox, Table::Pins][..]), (2, &[Table::Pins])] {
        let folder = tempfile::tempdir().unwrap();
        let earlier = Format { version, ..FORMAT };
        let path = earlier.open(folder.path()).unwrap();
        let options = StoreSettings::default().options(Durability::Replayed).unwrap();
        let tables = Table::ALL.iter().filter(|table| !lacks.contains(table)).map(|table| table.name());
        let families = tables.chain([APPLIED]).map(|name| (name, options.clone()));
        let db = DB::open_cf_with_opts(&options, path, families).unwrap();
        db.put_cf(family(&db, Table::Inodes.name()), b"a", b"1").unwrap();
        drop(db);
        let store = StateStore::open(folder.path()).unwrap();
        assert_eq!(get(&store, b"a").as_deref(), Some(&b"1"[..]));
        let row = |table: &Table| Mutation { table: *table, key: b"b".to_vec(), value: Some(b"2".to_vec()) };
        for table in lacks {
            assert_eq!(store.scan(*table, b"", None, 9).unwrap(), []);
        }
        store.commit(lacks.iter().map(row).collect(), &[]).unwrap();
        drop(store);
        let refused = earlier.open(folder.path()).unwrap_err().to_string();
        assert!(
            refused.contains("upgrade Forebay"),
            "an earlier version says why it cannot go on: {refused}"
        );
        let store = StateStore::open(folder.path()).unwrap();
        for table in lacks {
            assert_eq!(store.get(*table, b"b").unwrap().as_deref(), Some(&b"2"[..]));
        }
    }
}

#[test]
fn a_damaged_table_file_is_an_error_not_a_wrong_row() {
    let folder = tempfile::tempdir().unwrap();
    let store = StateStore::open(folder.path()).unwrap();
    let rows = (0..2000_u32).map(|key| put(&key.to_be_bytes(), &key.to_le_bytes().repeat(8)));
    store.commit(rows.collect(), &[]).unwrap();
    store.db.flush_cf(family(&store.db, Table::Inodes.name())).unwrap();
    drop(store);
    let files = std::fs::read_dir(folder.path().join("db")).unwrap().map(|file| file.unwrap().path());
    let table = files
        .filter(|path| path.extension().is_some_and(|end| end == "sst"))
        .max_by_key(|path| path.metadata().unwrap().len());
    let table = table.expect("flushed rows lie in a table file");
    let mut bytes = std::fs::read(&table).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&table, bytes).unwrap();
    let store = StateStore::open(folder.path()).unwrap();
    let read = store.get(Table::Inodes, &0_u32.to_be_bytes());
    assert!(read.is_err(), "{read:?}");
    assert!(store.scan(Table::Inodes, b"", None, 9).is_err());
}
