//! The disk calls of the store, each one or a few system calls on a directory's descriptor. Blocking.
//!
//! Nothing is synced: a cache file that a power loss tore does not have its checksums, and is fetched again. A kill
//! of the process loses nothing that was written.

mod direct;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use forebay_types::Timestamp;
use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

pub(crate) use self::direct::{AlignedBuffer, DirectFile, open_direct};

/// Cached bytes may be secret: only the worker's user reads them by path.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// What the file system says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileState {
    pub(crate) length: u64,
    /// `st_ctim`: moves with every change of content or inode.
    pub(crate) changed: Timestamp,
    pub(crate) modified: Timestamp,
    /// Bytes that it takes.
    pub(crate) allocated: u64,
}

/// What a file system has free for an unprivileged user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FreeSpace {
    pub(crate) bytes: u64,
    /// `None` where the file system makes inodes as they are needed.
    pub(crate) inodes: Option<u64>,
}

/// Opens a file for reading, without following a link in its last part.
pub(crate) fn open_for_reading(directory: impl AsFd, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat(directory, path, flags, Mode::empty())?)
}

/// Opens a directory.
pub(crate) fn open_directory(directory: impl AsFd, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat(directory, path, flags, Mode::empty())?)
}

/// Opens a file for writing, and makes it if it is missing.
pub(crate) fn open_for_writing(directory: impl AsFd, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat(directory, path, flags, FILE_MODE)?)
}

/// Opens a file that exists for writing.
pub(crate) fn open_for_changing(directory: impl AsFd, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat(directory, path, flags, Mode::empty())?)
}

/// Gives a file its full length, without room for it.
pub(crate) fn set_length(file: impl AsFd, length: u64) -> io::Result<()> {
    Ok(rustix::fs::ftruncate(file, length)?)
}

/// Writes all of `bytes` at `offset`.
pub(crate) fn write_all_at(file: impl AsFd, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(&file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads up to `length` bytes at `offset` into `buffer`, which is emptied first; fewer only at the end of the file.
pub(crate) fn read_at(file: impl AsFd, buffer: &mut Vec<u8>, length: usize, offset: u64) -> io::Result<()> {
    buffer.clear();
    buffer.reserve_exact(length);
    while buffer.len() < length {
        let position = offset + buffer.len() as u64;
        // The buffer may have more room than was asked for.
        let wanted = length - buffer.len();
        let read = if buffer.capacity() - buffer.len() == wanted {
            rustix::io::pread(&file, spare_capacity(buffer), position)
        } else {
            read_exactly_into(&file, buffer, wanted, position)
        };
        match read {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads up to `length` bytes at the begin into `buffer`, which is emptied first, with one call: what is not there then is
/// behind the end of the file, or to be read again.
pub(crate) fn read_once(file: impl AsFd, buffer: &mut Vec<u8>, length: usize) -> io::Result<()> {
    buffer.clear();
    buffer.reserve(length);
    while let Err(error) = read_exactly_into(&file, buffer, length, 0) {
        if error != Errno::INTR {
            return Err(error.into());
        }
    }
    Ok(())
}

fn read_exactly_into(
    file: impl AsFd,
    buffer: &mut Vec<u8>,
    wanted: usize,
    offset: u64,
) -> Result<usize, Errno> {
    let begin = buffer.len();
    buffer.resize(begin + wanted, 0);
    let read = rustix::io::pread(file, &mut buffer[begin..], offset);
    buffer.truncate(begin + read.unwrap_or(0));
    read
}

/// What the file system says of an open file.
pub(crate) fn state_of(file: impl AsFd) -> io::Result<FileState> {
    Ok(state_in(&rustix::fs::fstat(file)?))
}

/// What the file system says of the regular file `name`; `None` when it is something else.
pub(crate) fn state_at(directory: impl AsFd, name: &str) -> io::Result<Option<FileState>> {
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Ok(is_file.then(|| state_in(&stat)))
}

fn state_in(stat: &Stat) -> FileState {
    // Some architectures have these fields signed or shorter.
    let time = |seconds, nanos| Timestamp::from_parts(seconds, u32::try_from(nanos).unwrap_or(0));
    FileState {
        length: u64::try_from(stat.st_size).unwrap_or(0),
        changed: time(stat.st_ctime, stat.st_ctime_nsec),
        modified: time(stat.st_mtime, stat.st_mtime_nsec),
        allocated: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
    }
}

/// Deletes a file; one that is not there is fine.
pub(crate) fn remove(directory: impl AsFd, path: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(directory, path, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What the file system that `directory` lies on has free.
pub(crate) fn free_space(directory: impl AsFd) -> io::Result<FreeSpace> {
    let stat = rustix::fs::fstatvfs(directory)?;
    Ok(FreeSpace {
        bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        inodes: (stat.f_files > 0).then_some(stat.f_favail),
    })
}

/// How large a file system is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileSystemSize {
    pub(crate) bytes: u64,
    /// 0 where it makes them as they are needed.
    pub(crate) inodes: u64,
}

/// The size of the file system that `directory` lies on.
pub(crate) fn file_system_size(directory: impl AsFd) -> io::Result<FileSystemSize> {
    let stat = rustix::fs::fstatvfs(directory)?;
    Ok(FileSystemSize { bytes: stat.f_blocks.saturating_mul(stat.f_frsize), inodes: stat.f_files })
}

/// Whether the error says that the disk or a quota of the system is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether the error says that the disk, or what leads to it, fails; not that a file is missing, may not be opened, or
/// that there is no room.
pub(crate) fn is_disk_failure(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(
        errno,
        Some(
            Errno::IO
                | Errno::ROFS
                | Errno::NODEV
                | Errno::NXIO
                | Errno::STALE
                | Errno::NOMEDIUM
                | Errno::REMOTEIO
                | Errno::NOTCONN
                | Errno::SHUTDOWN
                | Errno::TIMEDOUT
                // What ext4, XFS and btrfs say of a structure or a checksum on the disk that is wrong.
                | Errno::UCLEAN
                | Errno::BADMSG
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stop_at_the_end_and_never_exceed_what_was_asked() {
        let folder = tempfile::tempdir().unwrap();
        let directory = std::fs::File::open(folder.path()).unwrap();
        let file = open_for_writing(&directory, "file").unwrap();
        write_all_at(&file, b"0123456789", 5).unwrap();
        let mut buffer = Vec::with_capacity(100);
        read_at(&file, &mut buffer, 4, 6).unwrap();
        assert_eq!(buffer, b"1234");
        read_at(&file, &mut buffer, 40, 11).unwrap();
        assert_eq!(buffer, b"6789");
        assert_eq!(state_of(&file).unwrap().length, 15);
        remove(&directory, "file").unwrap();
        remove(&directory, "file").unwrap();
        assert!(open_for_reading(&directory, "file").is_err());
    }
}
