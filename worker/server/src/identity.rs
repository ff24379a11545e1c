//! Who this worker is: the id and the cluster that its folder belongs to, kept in `DIR/worker-id`.
//!
//! The file is written whole or not at all (a new file, renamed over the old one). The folder is locked for as long
//! as the worker lives, so that no two workers have one id.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use forebay_types::{ClusterId, WorkerId, crc32c};

use crate::error::WorkerError;

const FILE: &str = "worker-id";
const LOCK: &str = "lock";
const MAGIC: &[u8; 8] = b"FORBWKID";
/// Magic, format 1, worker, cluster, and the CRC-32C of all that.
const FORMAT: u32 = 1;
const LENGTH: usize = 8 + 4 + 4 + 16 + 4;
/// The same with the cache's cluster behind the worker's, where they differ.
const MOVED_FORMAT: u32 = 2;
const MOVED_LENGTH: usize = LENGTH + 16;

/// Who this worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// What the master gave it.
    pub(crate) worker: WorkerId,
    /// The master's cluster.
    pub(crate) cluster: ClusterId,
    /// The cluster for which the tiers were made, whose name their files bear. Another one after the worker has moved
    /// to a new cluster with what it holds.
    pub(crate) cache: ClusterId,
}

/// The worker's folder, locked.
#[derive(Debug)]
pub(crate) struct WorkerFolder {
    path: PathBuf,
    _lock: File,
}

impl WorkerFolder {
    /// Makes the folder where it is missing, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, WorkerError> {
        let failed = |action, path: PathBuf| move |source| WorkerError::Folder { action, path, source };
        fs::create_dir_all(path).map_err(failed("make", path.to_owned()))?;
        let lock_path = path.join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(failed("open", lock_path.clone()))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => WorkerError::FolderInUse { path: path.to_owned() },
            TryLockError::Error(source) => failed("lock", lock_path)(source),
        })?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The identity that was kept; `None` before the first registration.
    pub(crate) fn identity(&self) -> Result<Option<Identity>, WorkerError> {
        let path = self.path.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => decode(&bytes).map(Some).map_err(|problem| WorkerError::Identity { path, problem }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(WorkerError::Folder { action: "read", path, source }),
        }
    }

    /// Keeps the identity; it is on the disk when this returns.
    pub(crate) fn keep(&self, identity: Identity) -> Result<(), WorkerError> {
        let (path, new) = (self.path.join(FILE), self.path.join("worker-id.new"));
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&encode(identity))?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|source| WorkerError::Folder { action: "write", path: path.clone(), source })
    }

    /// Where the processes of this host reach the worker.
    pub(crate) fn local_socket(&self) -> PathBuf {
        self.path.join("worker.sock")
    }

    /// Where the tmpfs of the RAM tier is mounted.
    pub(crate) fn ram_tier(&self) -> PathBuf {
        self.path.join("ram")
    }
}

fn encode(identity: Identity) -> Vec<u8> {
    let is_moved = identity.cache != identity.cluster;
    let mut bytes = Vec::with_capacity(MOVED_LENGTH);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(if is_moved { MOVED_FORMAT } else { FORMAT }).to_le_bytes());
    bytes.extend_from_slice(&identity.worker.get().to_le_bytes());
    bytes.extend_from_slice(identity.cluster.bytes());
    if is_moved {
        bytes.extend_from_slice(identity.cache.bytes());
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Result<Identity, &'static str> {
    const DAMAGED: &str = "it is damaged";
    let number =
        |at: usize| bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes);
    if bytes.get(..8) != Some(MAGIC) {
        return Err("it is not one of Forebay's");
    }
    let length = match number(8) {
        Some(FORMAT) => LENGTH,
        Some(MOVED_FORMAT) => MOVED_LENGTH,
        _ => return Err("it was written by another version of Forebay"),
    };
    if bytes.len() != length || number(length - 4) != Some(crc32c::crc32c(&bytes[..length - 4])) {
        return Err(DAMAGED);
    }
    let cluster = |at: usize| bytes.get(at..at + 16)?.try_into().ok().map(ClusterId::new);
    let own = cluster(16).ok_or(DAMAGED)?;
    Ok(Identity {
        worker: WorkerId::new(number(12).ok_or(DAMAGED)?),
        cluster: own,
        cache: if length == MOVED_LENGTH { cluster(32).ok_or(DAMAGED)? } else { own },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId::new([9; 16]);
    const IDENTITY: Identity = Identity { worker: WorkerId::new(7), cluster: CLUSTER, cache: CLUSTER };
    const MOVED: Identity = Identity { cache: ClusterId::new([4; 16]), ..IDENTITY };

    #[test]
    fn the_identity_is_kept_and_its_bytes_are_a_format() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("worker");
        let worker = WorkerFolder::open(&path).expect("opens");
        assert_eq!(worker.identity().expect("readable"), None);
        worker.keep(IDENTITY).expect("kept");
        assert_eq!(worker.identity().expect("readable"), Some(IDENTITY));
        let bytes = fs::read(path.join(FILE)).expect("there");
        assert_eq!(bytes[..16], *b"FORBWKID\x01\0\0\0\x07\0\0\0");
        worker.keep(MOVED).expect("kept");
        assert_eq!(worker.identity().expect("readable"), Some(MOVED));
    }

    #[test]
    fn each_changed_byte_of_the_file_is_found() {
        for bytes in [encode(IDENTITY), encode(MOVED)] {
            for at in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[at] ^= 0x10;
                assert!(decode(&flipped).is_err(), "byte {at}");
                assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
            }
        }
    }

    #[test]
    fn a_folder_belongs_to_one_worker_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = WorkerFolder::open(folder.path()).expect("opens");
        let error = WorkerFolder::open(folder.path()).expect_err("in use");
        assert!(matches!(error, WorkerError::FolderInUse { .. }));
        drop(first);
        WorkerFolder::open(folder.path()).expect("free again");
    }
}
