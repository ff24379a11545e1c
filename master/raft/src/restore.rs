//! Begins a life of a master's state from a backup, and ends one by emptying the folder.
//!
//! What a restore makes is what a follower has that was sent a snapshot: a state that says how far it goes, and no log.
//! It appears whole, by one renaming, so a restore that was cut off leaves a folder that can be restored into again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use forebay_metadata::snapshot::{Life, begin_life};
use forebay_metadata::{Mutation, StateReader, StoreError};
use forebay_storage::{LogStore, StateStore};
use forebay_types::{ClusterId, ErrorKind};
use thiserror::Error;

use crate::backup::{BackupDescription, BackupError, BackupReader};
use crate::codec;
use crate::error::RaftError;
use crate::limits::RESTORE_BATCH_LENGTH;
use crate::settings::FIRST_NODE;
use crate::snapshot::{remove, sync_dir};
use crate::state::{APPLIED_KEY, MEMBERSHIP_KEY, UNFINISHED};
use crate::types::{Membership, NodeInfo, StoredMembership, log_id};

pub(crate) const LOG: &str = "log";
pub(crate) const STATE: &str = "state";
const SNAPSHOTS: &str = "snapshots";
/// Before the first election. The entries of the new life's log follow with higher terms.
const TERM: u64 = 0;

/// Where a restored master is found; see [`RaftSettings`](crate::RaftSettings).
#[derive(Clone, Debug)]
pub struct RestoredNode {
    /// Host and port.
    pub address: String,
    /// Its place in the configuration.
    pub slot: u32,
}

/// Why no life began.
#[derive(Debug, Error)]
pub enum RestoreError<E> {
    /// The folder has a state.
    #[error("it holds the state of a master already")]
    NotEmpty,
    /// The backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The folder.
    #[error(transparent)]
    Folder(#[from] RaftError),
    /// What the backup has is no state of which a life could begin.
    #[error(transparent)]
    State(#[from] StoreError),
    /// Whoever restores does not want this state.
    #[error(transparent)]
    Unwanted(E),
}

/// Whether a master's state lies in `dir`. A restore that was cut off leaves none.
///
/// # Errors
/// [`RaftError::Io`].
pub fn has_state(dir: &Path) -> Result<bool, RaftError> {
    let is_there = |path: &Path| path.try_exists().map_err(|error| RaftError::io("look for", path, error));
    if is_there(&dir.join(LOG))? || is_there(&dir.join(SNAPSHOTS))? {
        return Ok(true);
    }
    let state = dir.join(STATE);
    if !is_there(&state)? {
        return Ok(false);
    }
    for entry in fs::read_dir(&state).map_err(|error| RaftError::io("list", &state, error))? {
        let name = entry.map_err(|error| RaftError::io("list", &state, error))?.file_name();
        if name != UNFINISHED {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes of `backup` the state of a master that is its cluster's only voter, and of it the life `life`. `finish` sees
/// the state before it counts, and says what else to write. Blocks on the disk.
///
/// # Errors
/// [`RestoreError`]; the folder is as before, or has remains that the next restore clears.
pub fn restore<E>(
    dir: &Path,
    mut backup: BackupReader<impl Read>,
    life: &Life,
    node: RestoredNode,
    finish: impl FnOnce(&dyn StateReader) -> Result<Vec<Mutation>, E>,
) -> Result<BackupDescription, RestoreError<E>> {
    if has_state(dir)? {
        return Err(RestoreError::NotEmpty);
    }
    let parent = dir.join(STATE);
    let unfinished = parent.join(UNFINISHED);
    fs::create_dir_all(&parent).map_err(|error| RaftError::io("create", &parent, error))?;
    remove(&unfinished)?;
    let description = backup.description().clone();
    let filled = fill(&unfinished, &mut backup, life, node, finish);
    if let Err(error) = filled {
        // What is left is of no use to anybody; a disk that refuses this too has said so before.
        let _ = remove(&unfinished);
        return Err(error);
    }
    let first = parent.join("1");
    fs::rename(&unfinished, &first).map_err(|error| RaftError::io("rename", &unfinished, error))?;
    sync_dir(&parent)?;
    sync_dir(dir)?;
    Ok(description)
}

fn fill<E>(
    dir: &Path,
    backup: &mut BackupReader<impl Read>,
    life: &Life,
    node: RestoredNode,
    finish: impl FnOnce(&dyn StateReader) -> Result<Vec<Mutation>, E>,
) -> Result<(), RestoreError<E>> {
    let store = StateStore::open(dir).map_err(RaftError::from)?;
    let commit = |rows: Vec<Mutation>| store.commit(rows, &[]).map_err(RaftError::from);
    let (mut rows, mut length) = (Vec::new(), 0);
    loop {
        let more = backup.next_rows()?;
        if more.is_empty() {
            break;
        }
        length += more.iter().map(|row| row.key.len() + row.value.len()).sum::<usize>();
        rows.extend(more.into_iter().map(|row| Mutation {
            table: row.table,
            key: row.key,
            value: Some(row.value),
        }));
        if length >= RESTORE_BATCH_LENGTH {
            commit(std::mem::take(&mut rows))?;
            length = 0;
        }
    }
    commit(rows)?;
    commit(begin_life(&store, life)?)?;
    commit(finish(&store).map_err(RestoreError::Unwanted)?)?;
    // The log goes on behind the backup's last entry, since rows say by which entry they were written.
    let last = log_id(TERM, backup.description().index.get());
    let node = NodeInfo { address: node.address, slot: node.slot };
    let voters = vec![BTreeSet::from([FIRST_NODE])];
    let members = Membership::new(voters, BTreeMap::from([(FIRST_NODE, node)]))
        .map_err(|error| RaftError::Settings(error.to_string()))?;
    let members = StoredMembership::new(Some(last), members);
    let marks =
        [(APPLIED_KEY, codec::encode_log_id(&last)), (MEMBERSHIP_KEY, codec::encode_membership(&members))];
    store.commit(Vec::new(), &marks).map_err(RaftError::from)?;
    store.sync().map_err(RaftError::from)?;
    Ok(())
}

/// Deletes the state of a master in `dir`, unless one runs there. What else lies in the folder stays. The cluster that
/// it was the state of; `None` when it had none.
///
/// # Errors
/// [`RaftError`], among them that of a database that is in use.
pub fn erase(dir: &Path) -> Result<Option<ClusterId>, RaftError> {
    if !has_state(dir)? {
        return Ok(None);
    }
    // Whoever has the log open is a running master.
    let log = LogStore::open(&dir.join(LOG))?;
    let cluster = newest_state(dir)?.and_then(|state| cluster_of(&state));
    remove(&dir.join(SNAPSHOTS))?;
    remove(&dir.join(STATE))?;
    drop(log);
    remove(&dir.join(LOG))?;
    sync_dir(dir)?;
    Ok(cluster)
}

/// Whose state this is. One that cannot be read is deleted all the same: that is what the caller wants.
fn cluster_of(state: &Path) -> Option<ClusterId> {
    let store = StateStore::open(state).ok()?;
    forebay_metadata::query::identity(&store).ok()?.map(|identity| identity.cluster)
}

pub(crate) fn newest_state(dir: &Path) -> Result<Option<PathBuf>, RaftError> {
    let state = dir.join(STATE);
    let listed = match fs::read_dir(&state) {
        Ok(listed) => listed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RaftError::io("list", &state, error)),
    };
    let names = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok());
    Ok(names.max().map(|number| state.join(number.to_string())))
}

impl<E> RestoreError<E> {
    /// What kind of error it is for those above; `of` says it of what was not wanted.
    pub fn kind(&self, of: impl FnOnce(&E) -> ErrorKind) -> ErrorKind {
        match self {
            Self::NotEmpty => ErrorKind::AlreadyExists,
            Self::Backup(error) => error.kind(),
            Self::Folder(error) => error.kind(),
            Self::State(error) => error.kind(),
            Self::Unwanted(error) => of(error),
        }
    }
}

#[cfg(test)]
mod tests;
