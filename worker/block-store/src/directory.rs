//! A tier's directory: made, locked against other processes, checked for whose it is, and probed.

mod probe;

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use forebay_types::{ByteCount, ClusterId};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use tracing::warn;

use crate::error::StoreError;
use crate::io::{file_system_size, free_space, is_disk_failure, open_for_writing};
use crate::layout::{
    BLOCKS_FOLDER, FOLDER_COUNT, FORMAT_FILE, FORMAT_FILE_LENGTH, FileKind, FormatFile, FormatFileError,
    GenerationKey, LOCK_FILE, relative_path,
};
use crate::settings::TierSettings;

pub(crate) use self::probe::{is_mount_point, mount_point};

/// Cached bytes may be secret.
const FOLDER_MODE: u32 = 0o700;

/// An open tier directory.
#[derive(Debug)]
pub(crate) struct TierDirectory {
    settings: TierSettings,
    /// Bytes and inodes that stay free.
    floor: (ByteCount, u64),
    root: OwnedFd,
    /// Locked while it is open; the kernel unlocks it when the process dies.
    _lock: OwnedFd,
}

/// What the file system of a tier lacks, so that the tier takes nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    Bytes { free: ByteCount, floor: ByteCount },
    Inodes { free: u64, floor: u64 },
}

impl TierDirectory {
    pub(crate) fn open(settings: TierSettings, cluster: ClusterId, format: bool) -> Result<Self, StoreError> {
        let path = settings.directory.clone();
        let (root, lock) = lock(&path)?;
        let size = file_system_size(&root).map_err(failed("ask for the size of", &path))?;
        let floor = settings.free_floor.on(size);
        let blocks = path.join(BLOCKS_FOLDER);
        if format {
            match fs::remove_dir_all(&blocks) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("delete", &blocks)(error));
                }
                _ => {}
            }
        }
        if format || !is_formatted(&path, cluster)? {
            write_format_file(&path, cluster)?;
        }
        make_folder(&blocks)?;
        for folder in 0..FOLDER_COUNT {
            make_folder(&blocks.join(format!("{folder:02x}")))?;
        }
        let directory = Self { settings, floor, root, _lock: lock };
        if let Some(shortage) = directory.shortage() {
            let tier = &directory.settings.name;
            warn!(tier, directory = %path.display(), %shortage,
                "a tier can hold no more than it does now: its file system is too full; delete other files there, or \
                 give the worker another directory");
        }
        Ok(directory)
    }

    /// Looks whether a directory could be opened, and makes it if it is missing. Whose it is, is not looked at.
    pub(crate) fn check(settings: &TierSettings) -> Result<(), StoreError> {
        lock(&settings.directory)?;
        make_folder(&settings.directory.join(BLOCKS_FOLDER))
    }

    /// Bytes and inodes that stay free on the file system.
    pub(crate) const fn floor(&self) -> (ByteCount, u64) {
        self.floor
    }

    /// What keeps the tier from taking anything new now. A file system that cannot be asked is taken to have room.
    pub(crate) fn shortage(&self) -> Option<Shortage> {
        let free = free_space(&self.root).ok()?;
        let (bytes_floor, inodes_floor) = self.floor;
        let bytes = ByteCount::new(free.bytes);
        if bytes <= bytes_floor {
            return Some(Shortage::Bytes { free: bytes, floor: bytes_floor });
        }
        let inodes = free.inodes.filter(|inodes| *inodes <= inodes_floor)?;
        Some(Shortage::Inodes { free: inodes, floor: inodes_floor })
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// Whether the directory cannot be opened because its disk fails: another one would do. A file system that is read-only
/// is a wrong setting, unless it holds a tier already.
pub(crate) fn is_broken(directory: &Path, error: &StoreError) -> bool {
    let (StoreError::Directory { source, .. } | StoreError::Io { source, .. }) = error else { return false };
    let is_read_only = source.kind() == io::ErrorKind::ReadOnlyFilesystem;
    is_disk_failure(source) && (!is_read_only || directory.join(FORMAT_FILE).exists())
}

/// Path of a file of the tier in `directory`, for people.
pub(crate) fn path_of(directory: &Path, key: GenerationKey, kind: FileKind) -> PathBuf {
    directory.join(relative_path(key, kind))
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes { free, floor } => write!(f, "{free} are free, {floor} must stay free"),
            Self::Inodes { free, floor } => write!(f, "{free} inodes are free, {floor} must stay free"),
        }
    }
}

/// Makes a directory if it is missing, and locks it. Gives it and its lock.
fn lock(path: &Path) -> Result<(OwnedFd, OwnedFd), StoreError> {
    make_folder(path)?;
    let root: OwnedFd = File::open(path).map_err(failed("open", path))?.into();
    let lock = open_for_writing(&root, LOCK_FILE).map_err(failed("write to", path))?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok((root, lock)),
        Err(Errno::WOULDBLOCK) => Err(StoreError::InUse { directory: path.to_owned() }),
        Err(error) => Err(failed("lock", path)(error.into())),
    }
}

/// Whether the directory is this cluster's. A damaged format file is as none: each index file names its cluster too.
fn is_formatted(directory: &Path, cluster: ClusterId) -> Result<bool, StoreError> {
    let path = directory.join(FORMAT_FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed("read", &path)(error)),
    };
    match FormatFile::decode(&bytes) {
        Ok(found) if found.cluster == cluster => Ok(true),
        Ok(found) => Err(StoreError::WrongCluster {
            directory: directory.to_owned(),
            found: found.cluster,
            expected: cluster,
        }),
        Err(FormatFileError::UnknownVersion(version)) => {
            Err(StoreError::UnknownFormat { directory: directory.to_owned(), version })
        }
        Err(FormatFileError::Damaged) => {
            warn!(path = %path.display(), length = bytes.len(), expected = FORMAT_FILE_LENGTH,
                "the format file of a tier is damaged and was written anew");
            Ok(false)
        }
    }
}

fn write_format_file(directory: &Path, cluster: ClusterId) -> Result<(), StoreError> {
    let path = directory.join(FORMAT_FILE);
    let new = directory.join("format.new");
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(&FormatFile { cluster }.encode())?;
        file.sync_all()?;
        fs::rename(&new, &path)
    };
    write().map_err(failed("write", &path))
}

fn make_folder(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(failed("make", path))
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Directory { action, path: path.clone(), source }
}
