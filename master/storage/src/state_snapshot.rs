//! One moment of the state, to read from while entries are applied.

use std::fmt;

use forebay_metadata::store::Row;
use forebay_metadata::{StateReader, StoreError, Table};
use rocksdb::{DB, ReadOptions, Snapshot};

use crate::error::StorageError;
use crate::rows::{self, APPLIED, family};

/// The state as it was when [`StateStore::snapshot`](crate::StateStore::snapshot) was called. It keeps old rows on disk, so it should not live long.
pub struct StateSnapshot<'s> {
    db: &'s DB,
    snapshot: Snapshot<'s>,
}

impl<'s> StateSnapshot<'s> {
    pub(crate) fn new(db: &'s DB) -> Self {
        Self { db, snapshot: db.snapshot() }
    }

    /// A mark that was committed with the rows.
    ///
    /// # Errors
    /// [`StorageError::Engine`].
    pub fn applied(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let read = self.db.get_cf_opt(family(self.db, APPLIED), name, &self.options());
        read.map_err(StorageError::engine("read", self.db.path()))
    }

    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.snapshot);
        options
    }
}

impl StateReader for StateSnapshot<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        rows::get(self.db, &self.options(), table, key)
    }

    fn scan(
        &self,
        table: Table,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        rows::scan(self.db, self.options(), table, (start, end), limit)
    }
}

impl fmt::Debug for StateSnapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateSnapshot").field("path", &self.db.path()).finish_non_exhaustive()
    }
}
