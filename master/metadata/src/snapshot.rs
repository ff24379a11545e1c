//! The whole state in one order, to compare two masters.
//!
//! Snapshots that travel are the store's own checkpoints; this dump is logical: equal states give equal dumps,
//! whatever lies where on their disks. It is also what a backup has, from which another life of the state begins
//! (`life.rs`).

mod life;
mod row;

pub use life::{Life, backup_rows, begin_life, closed_mounts, next_incarnation, without_sealed_options};
pub use row::{check_row, describe_row};

use crate::store::{StateReader, StoreError, Table};

/// Rows that one call of the store brings.
const PAGE: usize = 1024;

/// One row of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpedRow {
    /// Its table.
    pub table: Table,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// All rows, by table and key.
pub fn dump(reader: &dyn StateReader) -> impl Iterator<Item = Result<DumpedRow, StoreError>> {
    Table::ALL.into_iter().flat_map(move |table| Rows::new(reader, table))
}

/// 128 bits that are equal for equal states: FNV-1a (Fowler, Noll and Vo) over each row of [`dump`]. It finds masters
/// that drifted apart, and is no protection from anybody who wants it to collide.
///
/// # Errors
/// [`StoreError`] when the state cannot be read.
pub fn dump_digest(reader: &dyn StateReader) -> Result<u128, StoreError> {
    let mut digest = Fnv::new();
    for row in dump(reader) {
        let DumpedRow { table, key, value } = row?;
        for part in [table.name().as_bytes(), &key, &value] {
            digest.add(&(part.len() as u64).to_le_bytes());
            digest.add(part);
        }
    }
    Ok(digest.0)
}

/// The rows of one table, page by page.
struct Rows<'r> {
    reader: &'r dyn StateReader,
    table: Table,
    page: std::vec::IntoIter<(Vec<u8>, Vec<u8>)>,
    /// Where the next page begins; `None` after the last one.
    next: Option<Vec<u8>>,
}

impl<'r> Rows<'r> {
    fn new(reader: &'r dyn StateReader, table: Table) -> Self {
        Self { reader, table, page: Vec::new().into_iter(), next: Some(Vec::new()) }
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<DumpedRow, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.as_slice().is_empty() {
            let page = match self.reader.scan(self.table, &self.next.take()?, None, PAGE) {
                Ok(page) => page,
                Err(error) => return Some(Err(error)),
            };
            self.next = page.last().filter(|_| page.len() == PAGE).map(|(key, _)| [key, &[0][..]].concat());
            self.page = page.into_iter();
        }
        self.page.next().map(|(key, value)| Ok(DumpedRow { table: self.table, key, value }))
    }
}

struct Fnv(u128);

impl Fnv {
    const fn new() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 ^= u128::from(*byte);
            self.0 = self.0.wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, Mutation, StateWriter};

    fn store(rows: impl IntoIterator<Item = (Table, u64)>) -> MemoryStore {
        let mut store = MemoryStore::new();
        let put = |(table, key): (Table, u64)| Mutation {
            table,
            key: key.to_be_bytes().to_vec(),
            value: Some(vec![1]),
        };
        store.commit(rows.into_iter().map(put).collect()).unwrap();
        store
    }

    #[test]
    fn the_digest_is_fnv_1a() {
        let mut digest = Fnv::new();
        digest.add(b"a");
        assert_eq!(digest.0, 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    #[test]
    fn a_dump_has_each_row_once_however_many_pages_there_are() {
        let rows = 2 * PAGE as u64;
        let store = store((0..rows).flat_map(|key| [(Table::Inodes, key), (Table::Tombstones, key)]));
        let dumped: Vec<_> = dump(&store).map(|row| row.unwrap()).map(|row| (row.table, row.key)).collect();
        assert_eq!(dumped.len() as u64, 2 * rows);
        assert!(dumped.is_sorted());
    }

    #[test]
    fn a_row_more_or_in_another_table_gives_another_digest() {
        let one = dump_digest(&store([(Table::Inodes, 1)])).unwrap();
        assert_ne!(one, dump_digest(&store([(Table::Inodes, 1), (Table::Inodes, 2)])).unwrap());
        assert_ne!(one, dump_digest(&store([(Table::Orphans, 1)])).unwrap());
        assert_eq!(one, dump_digest(&store([(Table::Inodes, 1)])).unwrap());
    }
}
