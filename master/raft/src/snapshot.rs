//! Snapshots of the state: what the log before them can be forgotten for, and what a follower far behind is sent.
//!
//! On disk a snapshot is a directory `<index>-<term>` with a `meta` file and, in `state`, a checkpoint of the store:
//! mostly hard links, so it costs little. It has that name only once it is complete and synced. Only the newest is
//! kept; one that is still being read goes when its reader does. [`archive`] is its form as a stream.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::codec;
use crate::error::RaftError;
use crate::types::{Snapshot, SnapshotMeta};

pub(crate) mod archive;

#[cfg(test)]
mod tests;

const META_FILE: &str = "meta";
const STATE_DIR: &str = "state";
const UNFINISHED: &str = "unfinished";
/// Where one that a peer sends is taken in.
const INCOMING: &str = "incoming";

/// Where the state of a snapshot comes from.
pub(crate) enum SnapshotSource {
    /// A stream of bytes, as [`archive`] says.
    Stream(Box<dyn Read + Send>),
    /// A peer has sent it.
    Received(ReceivedSnapshot),
}

/// A snapshot that a peer sent, complete and checked. Goes from the disk unless it is installed.
#[derive(Debug)]
pub(crate) struct ReceivedSnapshot {
    path: PathBuf,
    meta: SnapshotMeta,
}

impl fmt::Debug for SnapshotSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SnapshotSource")
    }
}

/// One complete snapshot on disk. Goes from the disk when it is retired and nobody holds it any more.
#[derive(Debug)]
pub(crate) struct SnapshotDir {
    path: PathBuf,
    meta: SnapshotMeta,
    retired: AtomicBool,
}

/// The directory of snapshots, and the newest of them.
#[derive(Debug)]
pub(crate) struct SnapshotShelf {
    dir: PathBuf,
    newest: Mutex<Option<Arc<SnapshotDir>>>,
}

impl SnapshotShelf {
    /// Opens the shelf, makes it where there is none, and clears what a crash left behind.
    pub(crate) fn open(dir: PathBuf) -> Result<Self, RaftError> {
        fs::create_dir_all(&dir).map_err(|error| RaftError::io("create", &dir, error))?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&dir).map_err(|error| RaftError::io("list", &dir, error))? {
            let entry = entry.map_err(|error| RaftError::io("list", &dir, error))?;
            match entry.file_name().into_string() {
                Ok(name) if name.split_once('-').is_some() => names.push(name),
                _ => remove(&entry.path())?,
            }
        }
        // Names begin with the index in twenty digits, so their order is that of the log.
        names.sort_unstable();
        let newest = match names.pop() {
            Some(name) => Some(Arc::new(SnapshotDir::open(dir.join(name))?)),
            None => None,
        };
        for name in names {
            remove(&dir.join(name))?;
        }
        Ok(Self { dir, newest: Mutex::new(newest) })
    }

    /// The newest snapshot.
    pub(crate) fn newest(&self) -> Option<Arc<SnapshotDir>> {
        self.newest.lock().clone()
    }

    /// Makes a snapshot whose state `fill` writes into the path that it is given, where nothing is yet.
    ///
    /// One at a time: openraft never builds two, nor builds one while it installs another.
    pub(crate) fn make(
        &self,
        fill: impl FnOnce(&Path) -> Result<SnapshotMeta, RaftError>,
    ) -> Result<Arc<SnapshotDir>, RaftError> {
        let unfinished = self.dir.join(UNFINISHED);
        remove(&unfinished)?;
        fs::create_dir(&unfinished).map_err(|error| RaftError::io("create", &unfinished, error))?;
        let meta = fill(&unfinished.join(STATE_DIR))?;
        write_synced(&unfinished.join(META_FILE), &codec::encode_snapshot_meta(&meta))?;
        sync_dirs(&unfinished)?;
        self.put(&unfinished, meta)
    }

    /// Takes in what a peer sends. One at a time.
    pub(crate) fn receive(&self, stream: impl Read) -> Result<ReceivedSnapshot, RaftError> {
        let path = self.dir.join(INCOMING);
        remove(&path)?;
        fs::create_dir(&path).map_err(|error| RaftError::io("create", &path, error))?;
        let meta = match archive::unpack(stream, &path.join(STATE_DIR)) {
            Ok(meta) => meta,
            Err(error) => {
                // A disk that refuses this too has said so before, and the next start clears it.
                let _ = remove(&path);
                return Err(error);
            }
        };
        let received = ReceivedSnapshot { path, meta };
        write_synced(&received.path.join(META_FILE), &codec::encode_snapshot_meta(&received.meta))?;
        sync_dirs(&received.path)?;
        Ok(received)
    }

    /// Makes one that was received the newest.
    pub(crate) fn adopt(&self, received: &ReceivedSnapshot) -> Result<Arc<SnapshotDir>, RaftError> {
        self.put(&received.path, received.meta.clone())
    }

    /// Gives the finished directory its name and makes it the newest.
    fn put(&self, unfinished: &Path, meta: SnapshotMeta) -> Result<Arc<SnapshotDir>, RaftError> {
        let path = self.dir.join(name_of(&meta));
        let mut newest = self.newest.lock();
        if let Some(same) = newest.as_ref().filter(|newest| newest.path == path) {
            // The same log id is the same state: keep the one that somebody may be reading.
            remove(unfinished)?;
            return Ok(Arc::clone(same));
        }
        remove(&path)?;
        fs::rename(unfinished, &path).map_err(|error| RaftError::io("rename", unfinished, error))?;
        sync_dir(&self.dir)?;
        let made = Arc::new(SnapshotDir { path, meta, retired: AtomicBool::new(false) });
        if let Some(old) = newest.replace(Arc::clone(&made)) {
            old.retired.store(true, Ordering::Release);
        }
        Ok(made)
    }
}

impl ReceivedSnapshot {
    /// What it covers.
    pub(crate) fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }
}

impl Drop for ReceivedSnapshot {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a snapshot that was not installed stays");
        }
    }
}

impl SnapshotDir {
    fn open(path: PathBuf) -> Result<Self, RaftError> {
        let file = path.join(META_FILE);
        let bytes = fs::read(&file).map_err(|error| RaftError::io("read", &file, error))?;
        Ok(Self { meta: codec::decode_snapshot_meta(&bytes)?, path, retired: AtomicBool::new(false) })
    }

    /// What it covers.
    pub(crate) fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Where its checkpoint lies.
    pub(crate) fn state(&self) -> PathBuf {
        self.path.join(STATE_DIR)
    }

    /// It as openraft takes it.
    pub(crate) fn to_openraft(self: &Arc<Self>) -> Result<Snapshot<SnapshotSource>, RaftError> {
        let stream = archive::ArchiveReader::new(Arc::clone(self))?;
        Ok(Snapshot { meta: self.meta.clone(), snapshot: SnapshotSource::Stream(Box::new(stream)) })
    }
}

impl Drop for SnapshotDir {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Acquire)
            && let Err(error) = remove(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "an old snapshot stays until the next start");
        }
    }
}

fn name_of(meta: &SnapshotMeta) -> String {
    let (index, term) = meta.last_log_id.as_ref().map_or((0, 0), |id| (id.index, id.leader_id.term));
    format!("{index:020}-{term}")
}

/// Removes a file or a directory with all that is in it; what is not there is no error.
pub(crate) fn remove(path: &Path) -> Result<(), RaftError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RaftError::io("remove", path, error)),
        _ => Ok(()),
    }
}

pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), RaftError> {
    let write = || {
        fs::write(path, bytes)?;
        File::open(path)?.sync_all()
    };
    write().map_err(|error| RaftError::io("write", path, error))
}

pub(crate) fn sync_dir(path: &Path) -> Result<(), RaftError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|error| RaftError::io("sync", path, error))
}

/// Syncs a directory and those in it, so that the names in them stay.
pub(crate) fn sync_dirs(path: &Path) -> Result<(), RaftError> {
    for entry in fs::read_dir(path).map_err(|error| RaftError::io("list", path, error))? {
        let below = entry.map_err(|error| RaftError::io("list", path, error))?.path();
        if below.is_dir() {
            sync_dirs(&below)?;
        }
    }
    sync_dir(path)
}
