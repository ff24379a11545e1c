//! What `stat` shows of an entry, with the mount point's defaults where the under-store has no owner or mode.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forebay_client::Entry;
use forebay_types::{EntryKind, Timestamp};
use fuser::{FileAttr, FileType, INodeNo};

use crate::limits::PREFERRED_READ_LENGTH;
use crate::node_id::NodeId;
use crate::settings::FuseOptions;

/// How entries without owner or mode look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appearance {
    uid: u32,
    gid: u32,
    umask: u16,
}

/// What a node remembers for `stat`; small, since there may be millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) kind: EntryKind,
    mode: u16,
    uid: u32,
    gid: u32,
    pub(crate) length: u64,
    modified: Timestamp,
}

/// Permission, set-id and sticky bits.
const MODE_BITS: u32 = 0o7777;
/// Length of the units in which `stat` counts allocated space.
const SECTOR: u64 = 512;

impl Appearance {
    /// The options' choice, else the user who mounts.
    pub(crate) fn new(options: &FuseOptions) -> Self {
        Self {
            uid: options.uid.unwrap_or_else(|| rustix::process::geteuid().as_raw()),
            gid: options.gid.unwrap_or_else(|| rustix::process::getegid().as_raw()),
            umask: options.umask,
        }
    }

    pub(crate) fn attributes(&self, entry: &Entry) -> Attributes {
        let default = match entry.kind {
            EntryKind::File => 0o666 & !self.umask,
            EntryKind::Directory => 0o777 & !self.umask,
            EntryKind::Symlink => 0o777,
        };
        let mode = entry.mode.map_or(default, |mode| {
            #[allow(clippy::cast_possible_truncation, reason = "twelve bits are left")]
            {
                (mode & MODE_BITS) as u16
            }
        });
        Attributes {
            kind: entry.kind,
            mode,
            uid: entry.uid.unwrap_or(self.uid),
            gid: entry.gid.unwrap_or(self.gid),
            length: entry.length().get(),
            modified: entry.modified,
        }
    }
}

impl Attributes {
    /// The kernel's form. A count of 1 link for directories tells tools such as `find` that it says nothing of the
    /// number of subdirectories.
    pub(crate) fn of_node(&self, node: NodeId) -> FileAttr {
        let modified = system_time(self.modified);
        FileAttr {
            ino: INodeNo(node.get()),
            size: self.length,
            blocks: self.length.div_ceil(SECTOR),
            atime: modified,
            mtime: modified,
            ctime: modified,
            crtime: modified,
            kind: file_type(self.kind),
            perm: self.mode,
            nlink: 1,
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            blksize: PREFERRED_READ_LENGTH,
            flags: 0,
        }
    }
}

/// The kernel's word for a kind.
pub(crate) const fn file_type(kind: EntryKind) -> FileType {
    match kind {
        EntryKind::File => FileType::RegularFile,
        EntryKind::Directory => FileType::Directory,
        EntryKind::Symlink => FileType::Symlink,
    }
}

/// All attributes zero, with node id 0: how the kernel is told that a name does not exist and that it may remember it.
pub(crate) const fn nothing() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    let distance = Duration::from_nanos(time.nanos().unsigned_abs());
    if time.nanos() < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doubles::{directory, file, symlink};

    const APPEARANCE: Appearance = Appearance { uid: 7, gid: 8, umask: 0o022 };

    #[test]
    fn what_the_under_store_does_not_say_comes_from_the_options() {
        let seen = |entry: &Entry| {
            let attributes = APPEARANCE.attributes(entry).of_node(NodeId::ROOT);
            (attributes.perm, attributes.uid, attributes.gid)
        };
        assert_eq!(seen(&file(5, 6, 1)), (0o644, 7, 8));
        assert_eq!(seen(&directory(5)), (0o755, 7, 8));
        assert_eq!(seen(&symlink(5, b"target")), (0o777, 7, 8));
        let owned = Entry { mode: Some(0o100_640), uid: Some(1), gid: Some(2), ..file(5, 6, 1) };
        assert_eq!(seen(&owned), (0o640, 1, 2));
    }

    #[test]
    fn sizes_are_counted_in_sectors_and_links_have_the_length_of_their_target() {
        let of = |entry: &Entry| APPEARANCE.attributes(entry).of_node(NodeId::ROOT);
        assert_eq!((of(&file(5, 6, 0)).size, of(&file(5, 6, 0)).blocks), (0, 0));
        assert_eq!((of(&file(5, 6, 513)).size, of(&file(5, 6, 513)).blocks), (513, 2));
        assert_eq!(of(&symlink(5, b"target")).size, 6);
    }

    #[test]
    fn times_before_1970_are_kept() {
        let old = Entry { modified: Timestamp::from_parts(-2, 500_000_000), ..file(5, 6, 1) };
        let modified = APPEARANCE.attributes(&old).of_node(NodeId::ROOT).mtime;
        assert_eq!(UNIX_EPOCH.duration_since(modified).expect("before"), Duration::from_millis(1500));
    }
}
