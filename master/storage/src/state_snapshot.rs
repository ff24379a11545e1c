//! One moment of the state, to read from while entries are applied.

use std::fmt;

use forebay_metadata::store::Row;
use forebay_metadata::{StateReader, StoreError, Table};
use rocksdb::{ReadOptions, Snapshot};

use crate::state_store::StateStore;

/// The state as it was when [`StateStore::snapshot`] was called. It keeps old rows on disk, so it should not live long.
pub struct StateSnapshot<'s> {
    store: &'s StateStore,
    snapshot: Snapshot<'s>,
}

impl<'s> StateSnapshot<'s> {
    pub(crate) const fn new(store: &'s StateStore, snapshot: Snapshot<'s>) -> Self {
        Self { store, snapshot }
    }

    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.snapshot);
        options
    }
}

impl StateReader for StateSnapshot<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get_with(&self.options(), table, key)
    }

    fn scan(
        &self,
        table: Table,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.store.scan_with(self.options(), table, (start, end), limit)
    }
}

impl fmt::Debug for StateSnapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateSnapshot").field("store", &self.store).finish_non_exhaustive()
    }
}
