//! Looking whether a tier's disk works: its directory is where it was, and a block can be written and read again.
//!
//! Past the page cache where the file system allows that, so that it is the disk that answers.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;

use super::TierDirectory;
use crate::health::Probed;
use crate::io::{AlignedBuffer, is_full, open_direct, write_all_at};
use crate::layout::{BLOCKS_FOLDER, PROBE_FILE};

const BLOCK_LENGTH: usize = 4096;

/// So that no probe reads what an earlier one wrote.
static COUNT: AtomicU64 = AtomicU64::new(1);

impl TierDirectory {
    /// Looks whether the disk works. Blocks for as long as the disk takes.
    pub(crate) fn probe(&self) -> Probed {
        match self.is_in_place() {
            Ok(true) => {}
            Ok(false) => return Probed::Gone,
            Err(_) => return Probed::Failed,
        }
        match self.write_and_read() {
            Ok(true) => Probed::Well,
            // A full disk works.
            Err(error) if is_full(&error) => Probed::Well,
            Ok(false) | Err(_) => Probed::Failed,
        }
    }

    /// Whether the path still leads to the open directory, and what is to be in it is.
    fn is_in_place(&self) -> io::Result<bool> {
        let open = rustix::fs::fstat(&self.root)?;
        let there = rustix::fs::stat(&self.settings.directory);
        let blocks = rustix::fs::statat(&self.root, BLOCKS_FOLDER, AtFlags::SYMLINK_NOFOLLOW);
        match (there, blocks) {
            (Ok(there), Ok(_)) => Ok((there.st_dev, there.st_ino) == (open.st_dev, open.st_ino)),
            (Err(Errno::NOENT | Errno::NOTDIR), _) | (_, Err(Errno::NOENT)) => Ok(false),
            (Err(error), _) | (_, Err(error)) => Err(error.into()),
        }
    }

    fn write_and_read(&self) -> io::Result<bool> {
        let file = open_direct(&self.root, PROBE_FILE, OFlags::RDWR | OFlags::CREATE)?;
        let mut buffer = AlignedBuffer::default();
        let block = buffer.slice(BLOCK_LENGTH);
        let mark = COUNT.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        block[..mark.len()].copy_from_slice(&mark);
        write_all_at(file.file(), block, 0)?;
        block.fill(0);
        let read = file.read(&mut buffer, 0..BLOCK_LENGTH as u64)?;
        Ok(read.len() == BLOCK_LENGTH && read.starts_with(&mark))
    }
}

/// Where the file system that `directory` lies on is mounted; `None` when it is the machine's first one, or cannot be
/// asked.
pub(crate) fn mount_point(directory: &Path) -> Option<PathBuf> {
    let mut path = fs::canonicalize(directory).ok()?;
    let device = fs::metadata(&path).ok()?.dev();
    loop {
        let parent = path.parent()?;
        if fs::metadata(parent).ok()?.dev() != device {
            return Some(path);
        }
        path = parent.to_owned();
    }
}

/// Whether something is mounted at `path`.
pub(crate) fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    device(path).is_some_and(|own| path.parent().and_then(device).is_some_and(|above| above != own))
}
