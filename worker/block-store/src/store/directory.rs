//! A tier's directory: made, locked against other processes, and checked for whose it is.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use forebay_types::ClusterId;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use tracing::warn;

use crate::error::StoreError;
use crate::io::open_for_writing;
use crate::layout::{
    BLOCKS_FOLDER, FOLDER_COUNT, FORMAT_FILE, FORMAT_FILE_LENGTH, FileKind, FormatFile, FormatFileError,
    GenerationKey, LOCK_FILE, relative_path,
};
use crate::settings::TierSettings;

/// Cached bytes may be secret.
const FOLDER_MODE: u32 = 0o700;

/// An open tier directory.
#[derive(Debug)]
pub(crate) struct TierDirectory {
    settings: TierSettings,
    root: OwnedFd,
    /// Locked while it is open; the kernel unlocks it when the process dies.
    _lock: OwnedFd,
}

impl TierDirectory {
    pub(crate) fn open(settings: TierSettings, cluster: ClusterId, format: bool) -> Result<Self, StoreError> {
        let path = settings.directory.clone();
        make_folder(&path)?;
        let root: OwnedFd = File::open(&path).map_err(failed("open", &path))?.into();
        let lock = open_for_writing(&root, LOCK_FILE).map_err(failed("write to", &path))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(StoreError::InUse { directory: path }),
            Err(error) => return Err(failed("lock", &path)(error.into())),
        }
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
        Ok(Self { settings, root, _lock: lock })
    }

    pub(crate) const fn settings(&self) -> &TierSettings {
        &self.settings
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Path of one of the 256 folders.
    pub(crate) fn folder_path(&self, folder: u32) -> PathBuf {
        self.settings.directory.join(BLOCKS_FOLDER).join(format!("{folder:02x}"))
    }

    /// Path of a file, for people.
    pub(crate) fn path_of(&self, key: GenerationKey, kind: FileKind) -> PathBuf {
        self.settings.directory.join(relative_path(key, kind))
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
    move |source| StoreError::Io { action, path: path.clone(), source }
}
