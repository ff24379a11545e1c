//! From `stat` to what the port says of a file, directory or symbolic link.
//!
//! A device number that the kernel made up for one mount (NFS, overlay, tmpfs: major 0) differs from machine to machine
//! and from boot to boot, so it is no part of an identity and is kept as 0.

use forebay_types::{ByteCount, EntryKind, Fingerprint, LocalIdentity, Timestamp};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::port::ObjectStatus;

/// The status for `found`; `None` for a socket, pipe or device. `target` is asked for a symbolic link only.
pub(super) fn of(
    found: &Stat,
    target: impl FnOnce() -> Result<Vec<u8>, Errno>,
) -> Result<Option<ObjectStatus>, Errno> {
    let kind = match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        _ => return Ok(None),
    };
    let symlink_target = if kind == EntryKind::Symlink { Some(target()?) } else { None };
    Ok(Some(ObjectStatus {
        kind,
        fingerprint: Some(fingerprint(found)),
        mode: Some(found.st_mode & 0o7777),
        uid: Some(found.st_uid),
        gid: Some(found.st_gid),
        symlink_target,
    }))
}

/// The identity of what `found` tells of.
#[allow(
    clippy::unnecessary_fallible_conversions,
    clippy::useless_conversion,
    reason = "widths differ by machine"
)]
pub(super) fn fingerprint(found: &Stat) -> Fingerprint {
    let time = |seconds, nanos| Timestamp::from_parts(seconds, u32::try_from(nanos).unwrap_or(0));
    let device = if rustix::fs::major(found.st_dev) == 0 { 0 } else { found.st_dev };
    Fingerprint {
        tag: None,
        version_id: None,
        length: ByteCount::new(u64::try_from(found.st_size).unwrap_or(0)),
        modified: time(found.st_mtime, found.st_mtime_nsec),
        local: Some(LocalIdentity {
            device,
            inode: found.st_ino,
            changed: time(found.st_ctime, found.st_ctime_nsec),
        }),
    }
}
