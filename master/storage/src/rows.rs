//! How the rows of a table are read, now or as they were at a snapshot.

use forebay_metadata::store::Row;
use forebay_metadata::{StoreError, Table};
use rocksdb::{ColumnFamily, DB, ReadOptions};

/// The family of the marks that are committed with the rows.
pub(crate) const APPLIED: &str = "applied";

/// A column family that was opened with the database.
pub(crate) fn family<'d>(db: &'d DB, name: &str) -> &'d ColumnFamily {
    db.cf_handle(name).expect("each family was opened with the database")
}

/// One row. `options` may name a snapshot.
pub(crate) fn get(
    db: &DB,
    options: &ReadOptions,
    table: Table,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    db.get_cf_opt(family(db, table.name()), key, options).map_err(backend(table))
}

/// Up to `limit` rows from `start` on, before `end`. `options` may name a snapshot.
pub(crate) fn scan(
    db: &DB,
    mut options: ReadOptions,
    table: Table,
    (start, end): (&[u8], Option<&[u8]>),
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    if limit == 0 || end.is_some_and(|end| end <= start) {
        return Ok(Vec::new());
    }
    if let Some(end) = end {
        options.set_iterate_upper_bound(end);
    }
    let mut rows = Vec::new();
    let mut iterator = db.raw_iterator_cf_opt(family(db, table.name()), options);
    iterator.seek(start);
    while let Some((key, value)) = iterator.item() {
        rows.push((key.to_vec(), value.to_vec()));
        if rows.len() == limit {
            return Ok(rows);
        }
        iterator.next();
    }
    // An iterator ends at the last row, and where it meets an error.
    iterator.status().map_err(backend(table))?;
    Ok(rows)
}

fn backend(table: Table) -> impl FnOnce(rocksdb::Error) -> StoreError {
    move |source| StoreError::Backend { table: table.name(), source: Box::new(source) }
}
