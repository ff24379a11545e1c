//! What a batch of entries has written so far, over a store that has not seen it: reads see both.
//!
//! A command that is refused leaves no trace: [`Overlay::undo`] takes its writes back. Rows that one entry read are
//! remembered for the next: entries that come together mostly read the same ones.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;

use super::{Mutation, Row, StateReader, StoreError, Table};
use crate::limits::{REMEMBERED_READS_MAX, REMEMBERED_ROW_LENGTH_MAX};

/// Rows written so far; `None` for a deleted one.
type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Fewest rows that a scan asks the store for, so that deleted ones do not cost a call each.
const SCAN_CHUNK_MIN: usize = 16;

/// A store and the writes that it has not seen.
pub(crate) struct Overlay<'r> {
    reader: &'r dyn StateReader,
    tables: [Writes; Table::ALL.len()],
    journal: Vec<Replaced>,
    /// Rows as the store has them, also those that it has not.
    read: RefCell<Remembered>,
}

/// What was read from the store, which stays the same while there is an overlay.
#[derive(Default)]
struct Remembered {
    tables: [Writes; Table::ALL.len()],
    count: usize,
}

impl Remembered {
    fn remember(&mut self, table: Table, key: &[u8], value: Option<&Vec<u8>>) {
        let length = key.len() + value.map_or(0, Vec::len);
        if self.count < REMEMBERED_READS_MAX && length <= REMEMBERED_ROW_LENGTH_MAX {
            self.tables[table as usize].insert(key.to_vec(), value.cloned());
            self.count += 1;
        }
    }
}

/// What a write replaced: enough to take it back.
struct Replaced {
    table: Table,
    key: Vec<u8>,
    /// The write before this one; the outer `None` when there was none.
    before: Option<Option<Vec<u8>>>,
}

impl<'r> Overlay<'r> {
    /// An overlay without writes.
    pub(crate) fn new(reader: &'r dyn StateReader) -> Self {
        Self { reader, tables: Default::default(), journal: Vec::new(), read: RefCell::default() }
    }

    /// Writes one row, or deletes it.
    pub(crate) fn set(&mut self, table: Table, key: Vec<u8>, value: Option<Vec<u8>>) {
        let before = self.tables[table as usize].insert(key.clone(), value);
        self.journal.push(Replaced { table, key, before });
    }

    /// Keeps the writes so far: they can no longer be taken back.
    pub(crate) fn keep(&mut self) {
        self.journal.clear();
    }

    /// Takes back each write since the last [`Overlay::keep`].
    pub(crate) fn undo(&mut self) {
        while let Some(Replaced { table, key, before }) = self.journal.pop() {
            match before {
                Some(write) => self.tables[table as usize].insert(key, write),
                None => self.tables[table as usize].remove(&key),
            };
        }
    }

    /// All writes, by table and key; one for each row.
    pub(crate) fn into_mutations(self) -> Vec<Mutation> {
        let tables = Table::ALL.into_iter().zip(self.tables);
        tables
            .flat_map(|(table, writes)| {
                writes.into_iter().map(move |(key, value)| Mutation { table, key, value })
            })
            .collect()
    }
}

impl StateReader for Overlay<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(write) = self.tables[table as usize].get(key) {
            return Ok(write.clone());
        }
        if let Some(row) = self.read.borrow().tables[table as usize].get(key) {
            return Ok(row.clone());
        }
        let row = self.reader.get(table, key)?;
        self.read.borrow_mut().remember(table, key, row.as_ref());
        Ok(row)
    }

    fn scan(
        &self,
        table: Table,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let writes = &self.tables[table as usize];
        let mut rows = Vec::new();
        let mut from = start.to_vec();
        while rows.len() < limit && end.is_none_or(|end| from.as_slice() < end) {
            let chunk = (limit - rows.len()).max(SCAN_CHUNK_MIN);
            let stored = self.reader.scan(table, &from, end, chunk)?;
            // Beyond the chunk's last row the store may have more, so writes count only up to there.
            let chunk_end = (stored.len() == chunk).then(|| successor(&stored[chunk - 1].0));
            let upper = chunk_end.as_deref().or(end);
            merge(stored, writes, (&from, upper), &mut rows);
            match chunk_end {
                Some(next) => from = next,
                None => break,
            }
        }
        rows.truncate(limit);
        Ok(rows)
    }
}

/// The smallest key after `key`.
fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}

/// Appends to `rows` what the store and the writes together hold in the range from (inclusive) to (exclusive).
fn merge(stored: Vec<Row>, writes: &Writes, (from, to): (&Vec<u8>, Option<&[u8]>), rows: &mut Vec<Row>) {
    let bounds = (Bound::Included(from.as_slice()), to.map_or(Bound::Unbounded, Bound::Excluded));
    let mut written = writes.range::<[u8], _>(bounds).peekable();
    let append = |key: &Vec<u8>, write: &Option<Vec<u8>>, rows: &mut Vec<Row>| {
        if let Some(value) = write {
            rows.push((key.clone(), value.clone()));
        }
    };
    for (key, value) in stored {
        while let Some((earlier, write)) = written.next_if(|(written, _)| **written < key) {
            append(earlier, write, rows);
        }
        match written.next_if(|(written, _)| **written == key) {
            Some((_, write)) => append(&key, write, rows),
            None => rows.push((key, value)),
        }
    }
    for (key, write) in written {
        append(key, write, rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, StateWriter};
    use proptest::prelude::*;

    const TABLE: Table = Table::Children;

    fn store(rows: &[(u8, u8)]) -> MemoryStore {
        let mut store = MemoryStore::new();
        let put =
            |(key, value): &(u8, u8)| Mutation { table: TABLE, key: vec![*key], value: Some(vec![*value]) };
        store.commit(rows.iter().map(put).collect()).unwrap();
        store
    }

    #[test]
    fn a_refused_commands_writes_are_taken_back_and_earlier_ones_stay() {
        let store = store(&[(1, 1), (2, 2)]);
        let mut overlay = Overlay::new(&store);
        overlay.set(TABLE, vec![1], Some(vec![10]));
        overlay.keep();
        overlay.set(TABLE, vec![1], None);
        overlay.set(TABLE, vec![1], Some(vec![11]));
        overlay.set(TABLE, vec![3], Some(vec![30]));
        overlay.undo();
        assert_eq!(overlay.scan(TABLE, &[], None, 9).unwrap(), [(vec![1], vec![10]), (vec![2], vec![2])]);
        assert_eq!(overlay.into_mutations().len(), 1);
    }

    /// Counts what is asked of a store.
    struct Counting(MemoryStore, std::cell::Cell<usize>);

    impl StateReader for Counting {
        fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
            self.1.set(self.1.get() + 1);
            self.0.get(table, key)
        }

        fn scan(
            &self,
            table: Table,
            start: &[u8],
            end: Option<&[u8]>,
            limit: usize,
        ) -> Result<Vec<Row>, StoreError> {
            self.0.scan(table, start, end, limit)
        }
    }

    #[test]
    fn a_row_is_read_from_the_store_once_whether_it_is_there_or_not() {
        let store = Counting(store(&[(1, 1)]), std::cell::Cell::default());
        let mut overlay = Overlay::new(&store);
        for _ in 0..3 {
            assert_eq!(overlay.get(TABLE, &[1]).unwrap(), Some(vec![1]));
            assert_eq!(overlay.get(TABLE, &[2]).unwrap(), None);
        }
        assert_eq!(store.1.get(), 2);
        overlay.set(TABLE, vec![2], Some(vec![20]));
        assert_eq!(overlay.get(TABLE, &[2]).unwrap(), Some(vec![20]), "what was written counts");
        overlay.undo();
        assert_eq!(overlay.get(TABLE, &[2]).unwrap(), None, "and what was there before counts again");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_rest_is_read_again() {
        let store = Counting(store(&[]), std::cell::Cell::default());
        let overlay = Overlay::new(&store);
        let keys: Vec<_> = (0..=REMEMBERED_READS_MAX as u64).map(u64::to_be_bytes).collect();
        for key in keys.iter().chain(&keys) {
            assert_eq!(overlay.get(TABLE, key).unwrap(), None);
        }
        assert_eq!(store.1.get(), REMEMBERED_READS_MAX + 2);
        let long = vec![0; REMEMBERED_ROW_LENGTH_MAX + 1];
        let overlay = Overlay::new(&store);
        for _ in 0..2 {
            assert_eq!(overlay.get(TABLE, &long).unwrap(), None);
        }
        assert_eq!(store.1.get(), REMEMBERED_READS_MAX + 4);
    }

    proptest! {
        #[test]
        fn a_scan_of_the_overlay_equals_a_scan_after_commit(
            stored in proptest::collection::vec((any::<u8>(), any::<u8>()), 0..60),
            writes in proptest::collection::vec((any::<u8>(), any::<Option<u8>>()), 0..60),
            start in any::<u8>(), end in any::<Option<u8>>(), limit in 0_usize..80,
        ) {
            let mut store = store(&stored);
            let before = store.clone();
            let mut overlay = Overlay::new(&before);
            for (key, value) in writes {
                overlay.set(TABLE, vec![key], value.map(|value| vec![value]));
            }
            let end = end.map(|end| vec![end]);
            let seen = overlay.scan(TABLE, &[start], end.as_deref(), limit).unwrap();
            store.commit(overlay.into_mutations()).unwrap();
            prop_assert_eq!(seen, store.scan(TABLE, &[start], end.as_deref(), limit).unwrap());
        }
    }
}
