//! The directory of the RAM tier: a tmpfs that the worker mounts itself when it may, else a folder of `/dev/shm`.
//!
//! A tmpfs outlives the process, so a restarted worker finds its bytes again; it is not unmounted here. It does not
//! outlive the machine.

use std::ffi::CString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use forebay_types::{ByteCount, ErrorKind, crc32c};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_remount};
use thiserror::Error;
use tracing::{info, warn};

/// `TMPFS_MAGIC` of `linux/magic.h`.
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// Where every Linux has a tmpfs that anybody may write to.
const SHARED_MEMORY: &str = "/dev/shm";
/// What a tmpfs gets beyond the capacity: room for pages that are in flight, and for those of deleted files that
/// somebody reads to the end.
const SLACK_MIN: u64 = 64 << 20;
const SLACK_DIVISOR: u64 = 16;

/// A directory in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RamTier {
    /// The directory to give to the store.
    pub directory: PathBuf,
    /// Whether it is a mount of its own, whose size is bounded by the kernel as well.
    pub is_mounted: bool,
}

/// Why there is no directory in memory.
#[derive(Debug, Error)]
pub enum RamTierError {
    /// A directory cannot be made or looked at.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// No tmpfs could be mounted, and there is none for everybody either.
    #[error("cannot mount a tmpfs at {} ({mount}), and {} is none; run as root, or set the RAM tier to 0",
        directory.display(), SHARED_MEMORY)]
    NoTmpfs {
        /// Where it was to be.
        directory: PathBuf,
        /// Why it could not be mounted.
        mount: io::Error,
    },
    /// The folder in `/dev/shm` belongs to another user or is a link: its bytes could not be trusted.
    #[error("{} is not a folder of this user; delete it", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
}

impl RamTierError {
    /// What kind of error it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } => ErrorKind::Io,
            Self::NoTmpfs { .. } => ErrorKind::Unsupported,
            Self::Foreign { .. } => ErrorKind::PermissionDenied,
        }
    }
}

/// Makes `directory` a tmpfs with room for `capacity`, or finds it mounted already; without the right to mount, makes a
/// folder in `/dev/shm` whose name follows from `directory`.
///
/// # Errors
/// When neither works, or the folder in `/dev/shm` is somebody else's.
pub fn prepare_ram_tier(directory: &Path, capacity: ByteCount) -> Result<RamTier, RamTierError> {
    let failed = |action| move |source| RamTierError::Io { action, path: directory.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed("make"))?;
    let here = || RamTier { directory: directory.to_owned(), is_mounted: true };
    if is_tmpfs(directory).map_err(failed("look at"))?
        && is_mount_point(directory).map_err(failed("look at"))?
    {
        resize(directory, capacity);
        return Ok(here());
    }
    match mount_tmpfs(directory, capacity) {
        Ok(()) => {
            info!(directory = %directory.display(), %capacity, "mounted a tmpfs for the RAM tier");
            Ok(here())
        }
        Err(mount) => shared_memory_folder(directory, mount.into()),
    }
}

fn options(capacity: ByteCount) -> String {
    let bytes = capacity.get();
    let size = bytes.saturating_add((bytes / SLACK_DIVISOR).max(SLACK_MIN));
    format!("size={size},mode=0700")
}

/// Huge pages within a file's length make large reads half as fast again, and cost small files nothing.
fn mount_tmpfs(directory: &Path, capacity: ByteCount) -> Result<(), Errno> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let plain = options(capacity);
    let try_mount = |options: &str| {
        let options = CString::new(options).map_err(|_| Errno::INVAL)?;
        mount("forebay", directory, "tmpfs", flags, options.as_c_str())
    };
    match try_mount(&format!("{plain},huge=within_size")) {
        // A kernel without huge pages does not know the option.
        Err(Errno::INVAL) => try_mount(&plain),
        done => done,
    }
}

/// The capacity may have changed since the tmpfs was mounted. When the kernel refuses, the store's quota still holds.
fn resize(directory: &Path, capacity: ByteCount) {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if let Err(error) = mount_remount(directory, flags, options(capacity)) {
        warn!(directory = %directory.display(), %capacity, %error, "the tmpfs of the RAM tier keeps its size");
    }
}

fn shared_memory_folder(directory: &Path, mount: io::Error) -> Result<RamTier, RamTierError> {
    let shared = Path::new(SHARED_MEMORY);
    if !is_tmpfs(shared).unwrap_or(false) {
        return Err(RamTierError::NoTmpfs { directory: directory.to_owned(), mount });
    }
    let absolute = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let user = rustix::process::geteuid().as_raw();
    let name = crc32c::crc32c(absolute.as_os_str().as_encoded_bytes());
    let path = shared.join(format!("forebay-{user}-{name:08x}"));
    let failed = |action| {
        let path = path.clone();
        move |source| RamTierError::Io { action, path, source }
    };
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("make")(error)),
        _ => {}
    }
    let found = fs::symlink_metadata(&path).map_err(failed("look at"))?;
    if !found.is_dir() || found.uid() != user || found.mode() & 0o077 != 0 {
        return Err(RamTierError::Foreign { path });
    }
    info!(directory = %path.display(), reason = %mount, "the RAM tier lies in shared memory: a tmpfs cannot be mounted");
    Ok(RamTier { directory: path, is_mounted: false })
}

fn is_tmpfs(directory: &Path) -> io::Result<bool> {
    Ok(u64::try_from(rustix::fs::statfs(directory)?.f_type).is_ok_and(|magic| magic == TMPFS_MAGIC))
}

fn is_mount_point(directory: &Path) -> io::Result<bool> {
    let parent = directory.join("..");
    Ok(fs::metadata(directory)?.dev() != fs::metadata(parent)?.dev())
}

#[cfg(test)]
mod tests {
    use rustix::mount::{UnmountFlags, unmount};

    use super::*;

    #[test]
    fn a_tmpfs_is_mounted_once_and_found_again_or_shared_memory_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("ram");
        let first = prepare_ram_tier(&directory, ByteCount::new(1 << 20)).unwrap();
        assert!(is_tmpfs(&first.directory).unwrap());
        fs::write(first.directory.join("file"), "kept").unwrap();
        let second = prepare_ram_tier(&directory, ByteCount::new(2 << 20)).unwrap();
        assert_eq!(first, second);
        assert_eq!(fs::read(second.directory.join("file")).unwrap(), b"kept");
        if second.is_mounted {
            let room = rustix::fs::statvfs(&second.directory).unwrap();
            assert_eq!(room.f_blocks * room.f_frsize, (2 << 20) + SLACK_MIN, "it was resized");
            unmount(&second.directory, UnmountFlags::DETACH).unwrap();
        } else {
            fs::remove_dir_all(&second.directory).unwrap();
        }
    }

    #[test]
    fn without_the_right_to_mount_the_folder_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let tier = shared_memory_folder(folder.path(), io::ErrorKind::PermissionDenied.into()).unwrap();
        assert!(tier.directory.starts_with(SHARED_MEMORY) && !tier.is_mounted);
        assert_eq!(fs::metadata(&tier.directory).unwrap().mode() & 0o777, 0o700);
        fs::remove_dir(&tier.directory).unwrap();
        std::os::unix::fs::symlink(folder.path(), &tier.directory).unwrap();
        let planted = shared_memory_folder(folder.path(), io::ErrorKind::PermissionDenied.into());
        fs::remove_file(&tier.directory).unwrap();
        assert!(matches!(planted, Err(RamTierError::Foreign { .. })));
    }
}
