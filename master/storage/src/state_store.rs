//! The rows of the replicated state: a column family for each table, and one for how far the log was applied.
//!
//! Rows and the mark of how far they go are written as one, so after a crash the log is replayed from the mark. The
//! writes are not synced: [`StateStore::sync`] is, and must come before log entries are purged.

use std::path::{Path, PathBuf};

use forebay_metadata::store::Row;
use forebay_metadata::{Mutation, StateReader, StoreError, Table};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, FlushOptions, ReadOptions, WriteBatch};

use crate::error::StorageError;
use crate::format::Format;
use crate::rows::{self, APPLIED, family};
use crate::settings::{Durability, StoreSettings};
use crate::state_snapshot::StateSnapshot;

/// 1: without the table of the outbox. 2: with it, and without that of pins and directories that people made. 3: with them. So an
/// earlier version says that it cannot open this.
pub(crate) const FORMAT: Format = Format { magic: "forebay-state", version: 3 };

/// The state of one master on disk. Calls block on the disk.
pub struct StateStore {
    pub(crate) db: DB,
    pub(crate) dir: PathBuf,
}

impl StateStore {
    /// Opens the state in `dir`, or makes an empty one.
    ///
    /// # Errors
    /// [`StorageError`] when the folder holds something else, a later format or a damaged database, or is in use.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        Self::open_with(dir, StoreSettings::default())
    }

    /// Like [`StateStore::open`], with other bounds.
    ///
    /// # Errors
    /// As [`StateStore::open`].
    pub fn open_with(dir: &Path, settings: StoreSettings) -> Result<Self, StorageError> {
        let path = FORMAT.open(dir)?;
        let open = || {
            let options = settings.options(Durability::Replayed)?;
            let families = Table::ALL.iter().map(|table| table.name()).chain([APPLIED]);
            DB::open_cf_with_opts(&options, path, families.map(|name| (name, options.clone())))
        };
        let db = open().map_err(StorageError::engine("open", dir))?;
        Ok(Self { db, dir: dir.to_owned() })
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes all rows and marks, or none. The rows can be read when this returns, and are on disk some time later.
    ///
    /// # Errors
    /// [`StorageError::Engine`]; the state is as before.
    pub fn commit(&self, mutations: Vec<Mutation>, applied: &[(&str, Vec<u8>)]) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        for Mutation { table, key, value } in mutations {
            match value {
                Some(value) => batch.put_cf(family(&self.db, table.name()), key, value),
                None => batch.delete_cf(family(&self.db, table.name()), key),
            }
        }
        for (name, value) in applied {
            batch.put_cf(family(&self.db, APPLIED), name, value);
        }
        self.db.write(batch).map_err(StorageError::engine("write to", &self.dir))
    }

    /// A mark that was committed with the rows.
    ///
    /// # Errors
    /// [`StorageError::Engine`].
    pub fn applied(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.db.get_cf(family(&self.db, APPLIED), name).map_err(StorageError::engine("read", &self.dir))
    }

    /// Syncs all that was committed. To be called before log entries that led to it are purged.
    ///
    /// # Errors
    /// [`StorageError::Engine`].
    pub fn sync(&self) -> Result<(), StorageError> {
        self.db.flush_wal(true).map_err(StorageError::engine("sync", &self.dir))
    }

    /// Writes the rows that are only in memory to table files, while others read and write. A checkpoint that follows finds
    /// little left to do.
    ///
    /// # Errors
    /// [`StorageError::Engine`].
    pub fn flush(&self) -> Result<(), StorageError> {
        for name in Table::ALL.iter().map(|table| table.name()).chain([APPLIED]) {
            let flushed = self.db.flush_cf_opt(family(&self.db, name), &FlushOptions::default());
            flushed.map_err(StorageError::engine("write to", &self.dir))?;
        }
        Ok(())
    }

    /// The state of this moment, whatever is committed later.
    #[must_use]
    pub fn snapshot(&self) -> StateSnapshot<'_> {
        StateSnapshot::new(&self.db)
    }

    /// Copies the state of this moment into the new folder `dir`, which can then be opened as a state of its own. On
    /// the same file system it costs links, not copies.
    ///
    /// # Errors
    /// [`StorageError`] when `dir` exists, its parent does not, or the disk fails; `dir` may then be left in part.
    pub fn checkpoint(&self, dir: &Path) -> Result<(), StorageError> {
        let path = FORMAT.create(dir)?;
        let copy = || Checkpoint::new(&self.db)?.create_checkpoint(path);
        copy().map_err(StorageError::engine("copy", &self.dir))
    }
}

impl StateReader for StateStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        rows::get(&self.db, &ReadOptions::default(), table, key)
    }

    fn scan(
        &self,
        table: Table,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        rows::scan(&self.db, ReadOptions::default(), table, (start, end), limit)
    }
}

impl std::fmt::Debug for StateStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateStore").field("dir", &self.dir).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
