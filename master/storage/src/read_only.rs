//! Stores as somebody looks at them who must change nothing, while a master may use them.
//!
//! The database is opened for reading: no lock is taken and no byte is written. All table files are opened at once, so that
//! those stay readable that a running master deletes meanwhile. Where one is damaged they are opened as they are needed
//! instead, and the rest can be read.

use std::fmt;
use std::path::{Path, PathBuf};

use forebay_metadata::store::Row;
use forebay_metadata::{StateReader, StoreError, Table};
use rocksdb::DB;

use crate::error::StorageError;
use crate::format::Format;
use crate::log_store::{self, LogStore};
use crate::rows::{APPLIED, family};
use crate::settings::{Durability, StoreSettings};
use crate::state_store::{self, StateStore};

/// How often the database is opened anew because files of it went while it was being opened.
const ATTEMPTS_MAX: usize = 5;

/// A log that is looked at.
pub struct LogView {
    store: LogStore,
    damage: Option<StorageError>,
}

/// A state that is looked at. Tables that an earlier version did not have are empty.
pub struct StateView {
    store: StateStore,
    damage: Option<StorageError>,
}

impl LogView {
    /// Opens the log in `dir`, which is as it was afterwards.
    ///
    /// # Errors
    /// [`StorageError`] when the folder holds something else, a later format or a database of which nothing can be read.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        let families = [log_store::ENTRIES, log_store::META];
        let (db, damage) = open(dir, log_store::FORMAT, Durability::Synced, &families)?;
        let store = LogStore { db, dir: dir.to_owned() };
        for family in families {
            if store.db.cf_handle(family).is_none() {
                let problem = format!("it has no `{family}`");
                return Err(StorageError::Log { dir: dir.to_owned(), problem });
            }
        }
        Ok(Self { store, damage })
    }

    /// What of it is damaged, where something is.
    #[must_use]
    pub const fn damage(&self) -> Option<&StorageError> {
        self.damage.as_ref()
    }

    /// As [`LogStore::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(
        &self,
        range: std::ops::Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StorageError> {
        self.store.read(range, bytes_max)
    }

    /// One entry; `None` where there is none. Looks into as few table files as the database can, so beside a damaged one
    /// more can be had than by [`LogView::read`].
    ///
    /// # Errors
    /// [`StorageError::Engine`].
    pub fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, StorageError> {
        let LogStore { db, dir } = &self.store;
        let entries = family(db, log_store::ENTRIES);
        db.get_cf(entries, index.to_be_bytes()).map_err(StorageError::engine("read", dir))
    }

    /// As [`LogStore::first`].
    ///
    /// # Errors
    /// As there.
    pub fn first(&self) -> Result<Option<(u64, Vec<u8>)>, StorageError> {
        self.store.first()
    }

    /// As [`LogStore::last`].
    ///
    /// # Errors
    /// As there.
    pub fn last(&self) -> Result<Option<(u64, Vec<u8>)>, StorageError> {
        self.store.last()
    }

    /// As [`LogStore::meta`].
    ///
    /// # Errors
    /// As there.
    pub fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.store.meta(name)
    }
}

impl StateView {
    /// Opens the state in `dir`, which is as it was afterwards.
    ///
    /// # Errors
    /// As [`LogView::open`].
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        let families: Vec<_> = Table::ALL.iter().map(|table| table.name()).chain([APPLIED]).collect();
        let (db, damage) = open(dir, state_store::FORMAT, Durability::Replayed, &families)?;
        if db.cf_handle(APPLIED).is_none() {
            let problem = format!("it has no `{APPLIED}`");
            return Err(StorageError::Format { path: dir.join("db"), problem });
        }
        Ok(Self { store: StateStore { db, dir: dir.to_owned() }, damage })
    }

    /// What of it is damaged, where something is.
    #[must_use]
    pub const fn damage(&self) -> Option<&StorageError> {
        self.damage.as_ref()
    }

    /// As [`StateStore::applied`].
    ///
    /// # Errors
    /// As there.
    pub fn applied(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.store.applied(name)
    }

    fn has(&self, table: Table) -> bool {
        self.store.db.cf_handle(table.name()).is_some()
    }
}

impl StateReader for StateView {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if self.has(table) { self.store.get(table, key) } else { Ok(None) }
    }

    fn scan(
        &self,
        table: Table,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if self.has(table) { self.store.scan(table, start, end, limit) } else { Ok(Vec::new()) }
    }
}

/// Opens those of `families` that are there; with what is damaged, if it was opened all the same.
fn open(
    dir: &Path,
    format: Format,
    durability: Durability,
    families: &[&str],
) -> Result<(DB, Option<StorageError>), StorageError> {
    let path = format.look(dir)?;
    let mut attempts = 1;
    let whole = loop {
        match open_once(&path, durability, families, true) {
            Ok(db) => return Ok((db, None)),
            Err(error) if error.kind() == rocksdb::ErrorKind::IOError && attempts < ATTEMPTS_MAX => {
                attempts += 1
            }
            Err(error) => break StorageError::engine("look at", dir)(error),
        }
    };
    match open_once(&path, durability, families, false) {
        Ok(db) => Ok((db, Some(whole))),
        Err(_) => Err(whole),
    }
}

fn open_once(
    path: &PathBuf,
    durability: Durability,
    families: &[&str],
    is_whole: bool,
) -> Result<DB, rocksdb::Error> {
    let mut options = StoreSettings::default().options(durability)?;
    options.create_if_missing(false);
    options.create_missing_column_families(false);
    if is_whole {
        options.set_max_open_files(-1);
    } else {
        options.set_paranoid_checks(false);
    }
    let there = DB::list_cf(&options, path)?;
    let names = there.into_iter().filter(|name| families.contains(&name.as_str()));
    let with_options = names.map(|name| (name, options.clone()));
    DB::open_cf_with_opts_for_read_only(&options, path, with_options, false)
}

impl fmt::Debug for LogView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogView").field("dir", &self.store.dir).finish_non_exhaustive()
    }
}

impl fmt::Debug for StateView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateView").field("dir", &self.store.dir).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
