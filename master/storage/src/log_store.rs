//! The replicated log: entries by index, and a few named values beside them. What they mean is the log's business.
//!
//! Each call that writes is synced before it returns. Keys are big-endian, so that entries lie in the order of their
//! indexes.

use std::ops::Range;
use std::path::{Path, PathBuf};

use rocksdb::{ColumnFamily, DB, ReadOptions, WriteBatch, WriteOptions};

use crate::error::StorageError;
use crate::format::Format;
use crate::settings::{Durability, StoreSettings};

pub(crate) const FORMAT: Format = Format { magic: "forebay-log", version: 1 };
pub(crate) const ENTRIES: &str = "entries";
pub(crate) const META: &str = "meta";
/// The key after that of any entry.
const AFTER_ALL: [u8; 9] = [u8::MAX; 9];

/// The log of one master on disk. Calls block on the disk.
pub struct LogStore {
    pub(crate) db: DB,
    pub(crate) dir: PathBuf,
}

impl LogStore {
    /// Opens the log in `dir`, or makes an empty one.
    ///
    /// # Errors
    /// [`StorageError`] when the folder holds something else, a later format or a damaged database, or is in use.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        Self::open_with(dir, StoreSettings::default())
    }

    /// Like [`LogStore::open`], with other bounds.
    ///
    /// # Errors
    /// As [`LogStore::open`].
    pub fn open_with(dir: &Path, settings: StoreSettings) -> Result<Self, StorageError> {
        let path = FORMAT.open(dir)?;
        let open = || {
            let options = settings.options(Durability::Synced)?;
            DB::open_cf_with_opts(&options, path, [ENTRIES, META].map(|name| (name, options.clone())))
        };
        let db = open().map_err(StorageError::engine("open", dir))?;
        Ok(Self { db, dir: dir.to_owned() })
    }

    /// Writes entries, all or none, and syncs. Concurrent calls share a sync. An entry that was there is replaced.
    ///
    /// # Errors
    /// [`StorageError::Engine`]; whether the entries are there is then unknown until the log is opened again.
    pub fn append(&self, entries: Vec<(u64, Vec<u8>)>) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        for (index, entry) in entries {
            batch.put_cf(self.family(ENTRIES), index.to_be_bytes(), entry);
        }
        self.write(batch)
    }

    /// The entries of `range`, in order, as long as they have no more than `bytes_max` bytes together; the first one
    /// always. Indexes without an entry are passed over.
    ///
    /// # Errors
    /// [`StorageError`] when the database fails or a row is no entry.
    pub fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<(u64, Vec<u8>)>, StorageError> {
        let mut entries = Vec::new();
        if range.is_empty() {
            return Ok(entries);
        }
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(range.end.to_be_bytes());
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(ENTRIES), options);
        iterator.seek(range.start.to_be_bytes());
        let mut bytes = 0_usize;
        while let Some((key, entry)) = iterator.item() {
            bytes = bytes.saturating_add(entry.len());
            if bytes > bytes_max && !entries.is_empty() {
                return Ok(entries);
            }
            entries.push((self.index(key)?, entry.to_vec()));
            iterator.next();
        }
        iterator.status().map_err(StorageError::engine("read", &self.dir))?;
        Ok(entries)
    }

    /// The entry with the lowest index; `None` when there is none.
    ///
    /// # Errors
    /// As [`LogStore::read`].
    pub fn first(&self) -> Result<Option<(u64, Vec<u8>)>, StorageError> {
        Ok(self.read(0..u64::MAX, 0)?.pop())
    }

    /// The entry with the highest index; `None` when there is none.
    ///
    /// # Errors
    /// As [`LogStore::read`].
    pub fn last(&self) -> Result<Option<(u64, Vec<u8>)>, StorageError> {
        let mut iterator = self.db.raw_iterator_cf(self.family(ENTRIES));
        iterator.seek_to_last();
        if let Some((key, entry)) = iterator.item() {
            return Ok(Some((self.index(key)?, entry.to_vec())));
        }
        iterator.status().map_err(StorageError::engine("read", &self.dir))?;
        Ok(None)
    }

    /// Deletes each entry from `index` on, and syncs.
    ///
    /// # Errors
    /// As [`LogStore::append`].
    pub fn truncate_from(&self, index: u64) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(self.family(ENTRIES), &index.to_be_bytes()[..], &AFTER_ALL[..]);
        self.write(batch)
    }

    /// Deletes each entry up to and including `index`, and syncs. What they led to must be synced before.
    ///
    /// # Errors
    /// As [`LogStore::append`].
    pub fn purge_to(&self, index: u64) -> Result<(), StorageError> {
        let mut end = index.to_be_bytes().to_vec();
        end.push(0);
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(self.family(ENTRIES), &0_u64.to_be_bytes()[..], &end[..]);
        self.write(batch)
    }

    /// Writes a named value, and syncs.
    ///
    /// # Errors
    /// As [`LogStore::append`].
    pub fn put_meta(&self, name: &str, value: &[u8]) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(META), name, value);
        self.write(batch)
    }

    /// A named value; `None` when it was never written.
    ///
    /// # Errors
    /// [`StorageError::Engine`].
    pub fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.db.get_cf(self.family(META), name).map_err(StorageError::engine("read", &self.dir))
    }

    fn write(&self, batch: WriteBatch) -> Result<(), StorageError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(batch, &options).map_err(StorageError::engine("write to", &self.dir))
    }

    fn index(&self, key: &[u8]) -> Result<u64, StorageError> {
        let bytes = <[u8; 8]>::try_from(key).map_err(|_| StorageError::Log {
            dir: self.dir.clone(),
            problem: format!("an entry has a key of {} bytes", key.len()),
        })?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("each family was opened with the database")
    }
}

impl std::fmt::Debug for LogStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStore").field("dir", &self.dir).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
