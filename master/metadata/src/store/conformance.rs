//! The duties of a store, as a suite that each adapter runs: it panics where a duty is not kept.

use super::{Mutation, StateWriter, Table};

/// Runs the suite. `factory` gives an empty store each time.
///
/// # Panics
/// When the store does not keep a duty of the port.
pub fn run<S: StateWriter>(mut factory: impl FnMut() -> S) {
    an_empty_store_has_no_rows(&factory());
    rows_are_read_back_and_deleted(&mut factory());
    tables_are_apart(&mut factory());
    scans_are_in_the_order_of_bytes_within_their_bounds(&mut factory());
    the_last_mutation_of_a_row_counts(&mut factory());
    values_may_be_empty_and_large(&mut factory());
}

fn put(table: Table, key: &[u8], value: &[u8]) -> Mutation {
    Mutation { table, key: key.to_vec(), value: Some(value.to_vec()) }
}

fn delete(table: Table, key: &[u8]) -> Mutation {
    Mutation { table, key: key.to_vec(), value: None }
}

fn commit<S: StateWriter>(store: &mut S, mutations: Vec<Mutation>) {
    store.commit(mutations).expect("a healthy store commits");
}

fn get<S: StateWriter>(store: &S, table: Table, key: &[u8]) -> Option<Vec<u8>> {
    store.get(table, key).expect("a healthy store answers")
}

fn keys<S: StateWriter>(store: &S, start: &[u8], end: Option<&[u8]>, limit: usize) -> Vec<Vec<u8>> {
    let rows = store.scan(Table::Children, start, end, limit).expect("a healthy store answers");
    rows.into_iter().map(|(key, _)| key).collect()
}

fn an_empty_store_has_no_rows<S: StateWriter>(store: &S) {
    for table in Table::ALL {
        assert_eq!(get(store, table, b"a"), None, "{}", table.name());
        let rows = store.scan(table, b"", None, 10).expect("a healthy store answers");
        assert!(rows.is_empty(), "{}", table.name());
    }
}

fn rows_are_read_back_and_deleted<S: StateWriter>(store: &mut S) {
    commit(store, vec![put(Table::Inodes, b"a", b"1"), put(Table::Inodes, b"b", b"2")]);
    assert_eq!(get(store, Table::Inodes, b"a").as_deref(), Some(&b"1"[..]));
    commit(
        store,
        vec![put(Table::Inodes, b"a", b"3"), delete(Table::Inodes, b"b"), delete(Table::Inodes, b"none")],
    );
    assert_eq!(get(store, Table::Inodes, b"a").as_deref(), Some(&b"3"[..]));
    assert_eq!(get(store, Table::Inodes, b"b"), None);
    let rows = store.scan(Table::Inodes, b"", None, 10).expect("a healthy store answers");
    assert_eq!(rows, [(b"a".to_vec(), b"3".to_vec())], "a deleted row must not be scanned");
}

fn tables_are_apart<S: StateWriter>(store: &mut S) {
    commit(store, Table::ALL.iter().map(|table| put(*table, b"key", table.name().as_bytes())).collect());
    for table in Table::ALL {
        assert_eq!(get(store, table, b"key").as_deref(), Some(table.name().as_bytes()));
    }
    commit(store, vec![delete(Table::Inodes, b"key")]);
    for table in &Table::ALL[1..] {
        assert!(get(store, *table, b"key").is_some(), "{} lost a row of another table", table.name());
    }
}

fn scans_are_in_the_order_of_bytes_within_their_bounds<S: StateWriter>(store: &mut S) {
    let all: [&[u8]; 7] = [b"", b"\x00", b"\x00\x00", b"a", b"a\xff", b"b", b"\xff\xff"];
    commit(store, all.iter().rev().map(|key| put(Table::Children, key, b"v")).collect());
    assert_eq!(keys(store, b"", None, 99), all);
    assert_eq!(keys(store, b"", None, 3), all[..3]);
    assert_eq!(keys(store, b"", None, 0), all[..0]);
    assert_eq!(keys(store, b"a", None, 99), all[3..], "the start is inclusive");
    assert_eq!(keys(store, b"a\x00", Some(b"b"), 99), all[4..5], "the end is exclusive");
    assert_eq!(keys(store, b"\xff\xff", None, 99), all[6..]);
    assert_eq!(keys(store, b"b", Some(b"a"), 99), all[..0], "a range turned around is empty");
    assert_eq!(keys(store, b"a", Some(b"a"), 99), all[..0]);
}

fn the_last_mutation_of_a_row_counts<S: StateWriter>(store: &mut S) {
    let row = |value| put(Table::Mounts, b"a", value);
    commit(store, vec![row(b"1"), delete(Table::Mounts, b"a"), row(b"2")]);
    assert_eq!(get(store, Table::Mounts, b"a").as_deref(), Some(&b"2"[..]));
    commit(store, vec![row(b"3"), delete(Table::Mounts, b"a")]);
    assert_eq!(get(store, Table::Mounts, b"a"), None);
}

fn values_may_be_empty_and_large<S: StateWriter>(store: &mut S) {
    let large = vec![7; 1 << 20];
    commit(store, vec![put(Table::Sessions, b"empty", b""), put(Table::Sessions, b"large", &large)]);
    assert_eq!(get(store, Table::Sessions, b"empty").as_deref(), Some(&b""[..]));
    assert_eq!(get(store, Table::Sessions, b"large"), Some(large));
}
