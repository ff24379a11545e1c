//! A tier's directory: made, locked against other processes, checked for whose it is, and probed.

mod probe;

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use forebay_types::{ByteCount, ClusterId};
use parking_lot::Mutex;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use tracing::warn;

use crate::error::StoreError;
use crate::io::{file_system_size, free_space, is_disk_failure, open_for_writing, write_all_at};
use crate::layout::{
    BLOCKS_FOLDER, CATALOGUE_FOLDER, FOLDER_COUNT, FORMAT_FILE, FORMAT_FILE_LENGTH, FileKind, FormatFile,
    FormatFileError, GenerationKey, LOCK_FILE, relative_path,
};
use crate::settings::TierSettings;

pub(crate) use self::probe::{is_mount_point, mount_point};

/// What becomes the format file once it is written.
const NEW_FORMAT_FILE: &str = "format.new";
/// Cached bytes may be secret.
const FOLDER_MODE: u32 = 0o700;

/// An open tier directory.
#[derive(Debug)]
pub(crate) struct TierDirectory {
    settings: TierSettings,
    cluster: ClusterId,
    /// Whether its format says that there may be segments. Held while that is written.
    has_segments: Mutex<bool>,
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
        let found = if format { None } else { read_format_file(&path, cluster)? };
        let has_segments = found.is_some_and(|found| found.has_segments);
        if found.is_none() {
            let written = write_format_file(&root, FormatFile { cluster, has_segments });
            written.map_err(failed("write", &path.join(FORMAT_FILE)))?;
        }
        make_folder(&blocks)?;
        for folder in 0..FOLDER_COUNT {
            make_folder(&blocks.join(format!("{folder:02x}")))?;
        }
        if let Err(error) = make_folder(&blocks.join(CATALOGUE_FOLDER)) {
            warn!(%error, "a tier has no folder for catalogues: each start reads every index file");
        }
        let has_segments = Mutex::new(has_segments);
        let directory = Self { settings, cluster, has_segments, floor, root, _lock: lock };
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

    /// Says in the directory's format that there are segments, unless it says so. To be called before the first is made.
    pub(crate) fn expect_segments(&self) -> io::Result<()> {
        let mut has_segments = self.has_segments.lock();
        if !*has_segments {
            let format = FormatFile { cluster: self.cluster, has_segments: true };
            write_format_file(&self.root, format)?;
            *has_segments = true;
        }
        Ok(())
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

/// The format of a directory of this cluster. A damaged format file is as none: each index file names its cluster too.
fn read_format_file(directory: &Path, cluster: ClusterId) -> Result<Option<FormatFile>, StoreError> {
    let path = directory.join(FORMAT_FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", &path)(error)),
    };
    match FormatFile::decode(&bytes) {
        Ok(found) if found.cluster == cluster => Ok(Some(found)),
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
            Ok(None)
        }
    }
}

fn write_format_file(root: &OwnedFd, format: FormatFile) -> io::Result<()> {
    let file = open_for_writing(root, NEW_FORMAT_FILE)?;
    write_all_at(&file, &format.encode(), 0)?;
    rustix::fs::fsync(&file)?;
    Ok(rustix::fs::renameat(root, NEW_FORMAT_FILE, root, FORMAT_FILE)?)
}

fn make_folder(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(failed("make", path))
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Directory { action, path: path.clone(), source }
}
