//! The store that holds the applied state, and how an installed snapshot takes its place.
//!
//! The directory has one generation, named by a number; a snapshot is installed as the next one and counts once it has
//! its name, so a crash leaves the old one or the new one. What was written is not synced here: the log is, and it is
//! only purged up to a snapshot, whose making writes the state through to the disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use forebay_metadata::store::Row;
use forebay_metadata::{ClusterIdentity, Mutation, StateReader, StoreError, Table, query};
use forebay_storage::{StateSnapshot, StateStore};
use forebay_types::LogIndex;
use parking_lot::Mutex;

use crate::codec;
use crate::error::RaftError;
use crate::snapshot::{remove, sync_dir};
use crate::types::{LogId, SnapshotMeta, StoredMembership};

pub(crate) const APPLIED_KEY: &str = "log-id";
pub(crate) const MEMBERSHIP_KEY: &str = "membership";
pub(crate) const UNFINISHED: &str = "unfinished";

/// The state of this node.
#[derive(Debug)]
pub(crate) struct NodeState {
    dir: PathBuf,
    /// `None` once the node has stopped.
    current: Mutex<Option<Arc<Generation>>>,
    /// Held while [`NodeState::flush`] uses the store, so that a closed one can be waited for. Taken before `current`.
    flushing: Mutex<()>,
}

/// One opened store. Goes from the disk when another took its place and nobody reads it any more.
#[derive(Debug)]
pub(crate) struct Generation {
    /// `None` only while it is dropped, since the store must be closed before its files go.
    store: Option<StateStore>,
    number: u64,
    dir: PathBuf,
    /// The last applied index. Behind the store while a commit is on its way, never ahead.
    applied: AtomicU64,
    /// Up to which level commands may be logged. Behind the store while a commit is on its way, never ahead.
    level: AtomicU32,
    retired: AtomicBool,
}

/// Leave to read the state. Cheap to clone; held for long it keeps a replaced state on the disk.
#[derive(Clone, Debug)]
pub struct ReadView(Arc<Generation>);

/// The state at one point in time. It keeps old rows on the disk, so it should not live long.
#[derive(Debug)]
pub struct StateMoment<'v> {
    snapshot: StateSnapshot<'v>,
    applied: LogIndex,
}

impl NodeState {
    /// Opens the state in `dir`, or begins an empty one.
    pub(crate) fn open(dir: PathBuf) -> Result<Self, RaftError> {
        fs::create_dir_all(&dir).map_err(|error| RaftError::io("create", &dir, error))?;
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&dir).map_err(|error| RaftError::io("list", &dir, error))? {
            let path = entry.map_err(|error| RaftError::io("list", &dir, error))?.path();
            match path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u64>().ok()) {
                Some(number) => numbers.push(number),
                None => remove(&path)?,
            }
        }
        numbers.sort_unstable();
        let number = numbers.pop().unwrap_or(1);
        for old in numbers {
            remove(&dir.join(old.to_string()))?;
        }
        let generation = Generation::open(dir.join(number.to_string()), number)?;
        Ok(Self { dir, current: Mutex::new(Some(Arc::new(generation))), flushing: Mutex::new(()) })
    }

    /// The store.
    pub(crate) fn current(&self) -> Result<Arc<Generation>, RaftError> {
        self.current.lock().clone().ok_or_else(RaftError::stopped)
    }

    /// Leave to read the state from now on.
    pub(crate) fn view(&self) -> Result<ReadView, RaftError> {
        Ok(ReadView(self.current()?))
    }

    /// Puts the checkpoint in `checkpoint` in the place of the state.
    pub(crate) fn replace(&self, checkpoint: &Path, meta: &SnapshotMeta) -> Result<(), RaftError> {
        let unfinished = self.dir.join(UNFINISHED);
        remove(&unfinished)?;
        link_all(checkpoint, &unfinished)?;
        let number = self.current()?.number + 1;
        let dir = self.dir.join(number.to_string());
        fs::rename(&unfinished, &dir).map_err(|error| RaftError::io("rename", &unfinished, error))?;
        sync_dir(&self.dir)?;
        let generation = Generation::open(dir, number)?;
        if generation.applied()? != meta.last_log_id {
            return Err(RaftError::corrupt("a snapshot", "its state is not that of its description"));
        }
        let old = self.current.lock().replace(Arc::new(generation));
        if let Some(old) = old {
            old.retired.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Writes what is only in memory to the disk, while others read and write. Blocks.
    pub(crate) fn flush(&self) -> Result<(), RaftError> {
        let _flushing = self.flushing.lock();
        Ok(self.current()?.store().flush()?)
    }

    /// Closes the store as soon as nobody reads it.
    pub(crate) fn close(&self) {
        self.current.lock().take();
        drop(self.flushing.lock());
    }
}

impl Generation {
    fn open(dir: PathBuf, number: u64) -> Result<Self, RaftError> {
        let store = Some(StateStore::open(&dir)?);
        let (applied, level, retired) = (AtomicU64::new(0), AtomicU32::new(0), AtomicBool::new(false));
        let opened = Self { store, number, dir, applied, level, retired };
        let applied = opened.applied()?.map_or(0, |id| id.index);
        opened.applied.store(applied, Ordering::Release);
        opened.read_level()?;
        Ok(opened)
    }

    /// Up to which level commands may be logged, as far as this master has applied the log.
    pub(crate) fn level(&self) -> u32 {
        self.level.load(Ordering::Acquire)
    }

    /// An error where this version does not know what the state may have.
    fn read_level(&self) -> Result<(), RaftError> {
        self.level.store(query::feature_level(self.store())?, Ordering::Release);
        Ok(())
    }

    /// Writes what entries up to `applied` did, as one.
    pub(crate) fn commit(
        &self,
        mutations: Vec<Mutation>,
        applied: &LogId,
        membership: Option<&StoredMembership>,
    ) -> Result<(), RaftError> {
        let mut notes = vec![(APPLIED_KEY, codec::encode_log_id(applied))];
        notes.extend(membership.map(|membership| (MEMBERSHIP_KEY, codec::encode_membership(membership))));
        let is_identity_changed = mutations.iter().any(ClusterIdentity::is_changed_by);
        self.store().commit(mutations, &notes)?;
        self.applied.store(applied.index, Ordering::Release);
        if is_identity_changed { self.read_level() } else { Ok(()) }
    }

    /// The store.
    pub(crate) fn store(&self) -> &StateStore {
        self.store.as_ref().expect("only drop takes the store")
    }

    /// The last entry that was applied to it.
    pub(crate) fn applied(&self) -> Result<Option<LogId>, RaftError> {
        let bytes = self.store().applied(APPLIED_KEY)?;
        bytes.map(|bytes| codec::decode_log_id("the last applied log id", &bytes)).transpose()
    }

    /// The membership that was applied last.
    pub(crate) fn membership(&self) -> Result<StoredMembership, RaftError> {
        let bytes = self.store().applied(MEMBERSHIP_KEY)?;
        bytes.map_or_else(|| Ok(StoredMembership::default()), |bytes| codec::decode_membership(&bytes))
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.store.take();
        if self.retired.load(Ordering::Acquire)
            && let Err(error) = remove(&self.dir)
        {
            tracing::warn!(dir = %self.dir.display(), %error, "an old state stays until the next start");
        }
    }
}

impl ReadView {
    /// The state of this moment, which has at least what it had when the view was given.
    #[must_use]
    pub fn moment(&self) -> StateMoment<'_> {
        // Asked before the snapshot is taken, so that the snapshot has at least what it says.
        let applied = LogIndex::new(self.0.applied.load(Ordering::Acquire));
        StateMoment { applied, snapshot: self.0.store().snapshot() }
    }
}

impl StateMoment<'_> {
    /// An index whose entry, and all before it, this state has. It may have some more.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// The index of the last entry that this very state has; 0 before the first.
    ///
    /// # Errors
    /// [`RaftError`] when the disk fails.
    pub fn last_applied(&self) -> Result<LogIndex, RaftError> {
        let bytes = self.snapshot.applied(APPLIED_KEY)?;
        let id = bytes.map(|bytes| codec::decode_log_id("the last applied log id", &bytes)).transpose()?;
        Ok(LogIndex::new(id.map_or(0, |id| id.index)))
    }
}

impl StateReader for StateMoment<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.snapshot.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.snapshot.scan(table, start, end, limit)
    }
}

/// Makes `to` with the files of `from`: tables, which are never changed, as hard links, the rest as copies.
fn link_all(from: &Path, to: &Path) -> Result<(), RaftError> {
    fs::create_dir(to).map_err(|error| RaftError::io("create", to, error))?;
    for entry in fs::read_dir(from).map_err(|error| RaftError::io("list", from, error))? {
        let source = entry.map_err(|error| RaftError::io("list", from, error))?.path();
        let Some(name) = source.file_name() else { continue };
        let target = to.join(name);
        if source.is_dir() {
            link_all(&source, &target)?;
        } else if source.extension().is_some_and(|extension| extension == "sst") {
            fs::hard_link(&source, &target).map_err(|error| RaftError::io("link", &source, error))?;
        } else {
            fs::copy(&source, &target)
                .and_then(|_| fs::File::open(&target)?.sync_all())
                .map_err(|error| RaftError::io("copy", &source, error))?;
        }
    }
    sync_dir(to)
}
