//! Mounts of Forebay itself below a local under-store: never part of it, since a tree that holds itself has no end.
//!
//! The mounts are told apart without a request to the process that serves them, which may be this one or hang.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, StatxAttributes, StatxFlags, statx};

const FILE_SYSTEM_TYPE: &str = "fuse.forebay";
const MOUNT_TABLE: &str = "/proc/self/mountinfo";

/// What begins at a name of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MountRoot {
    /// Nothing: the name belongs to the directory's own file system, or the kernel cannot tell.
    None,
    /// A mount of Forebay.
    Forebay,
    /// Another file system.
    Other,
}

/// Which mount begins at `name` in `directory`.
pub(super) fn root_at(directory: impl AsFd, name: &CStr) -> MountRoot {
    kind_of(look(directory, name, AtFlags::SYMLINK_NOFOLLOW))
}

/// Which mount begins at what was opened.
pub(super) fn root_of(opened: impl AsFd) -> MountRoot {
    kind_of(look(opened, c"", AtFlags::EMPTY_PATH))
}

fn kind_of(found: Option<(bool, String)>) -> MountRoot {
    match found {
        Some((true, device)) if is_forebay(&device) => MountRoot::Forebay,
        Some((true, _)) => MountRoot::Other,
        _ => MountRoot::None,
    }
}

/// Whether what was opened lies within a mount of Forebay.
pub(super) fn holds(opened: impl AsFd) -> bool {
    look(opened, c"", AtFlags::EMPTY_PATH).is_some_and(|(_, device)| is_forebay(&device))
}

/// Whether it is the root of a mount, and its device as the mount table writes it. Asks for no attribute and no
/// synchronising, to which FUSE answers in the kernel.
fn look(directory: impl AsFd, name: &CStr, flags: AtFlags) -> Option<(bool, String)> {
    let flags = flags | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let found = statx(directory, name, flags, StatxFlags::empty()).ok()?;
    let is_mount_root = found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    Some((is_mount_root, format!("{}:{}", found.stx_dev_major, found.stx_dev_minor)))
}

fn is_forebay(device: &str) -> bool {
    let table = std::fs::read(MOUNT_TABLE);
    table.is_ok_and(|table| has_forebay(&table, device))
}

/// Whether `table` has a mount of Forebay with this device. A line is `ID PARENT MAJOR:MINOR ROOT MOUNT_POINT OPTIONS
/// [TAGS...] - TYPE SOURCE OPTIONS`, as proc(5) has it.
fn has_forebay(table: &[u8], device: &str) -> bool {
    table.split(|byte| *byte == b'\n').any(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        fields.nth(2) == Some(device.as_bytes())
            && fields.skip_while(|field| *field != b"-").nth(1) == Some(FILE_SYSTEM_TYPE.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_type_of_the_device_counts() {
        let table = b"29 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
            91 29 0:52 / /mnt/fuse.forebay ro,nosuid - fuse.sshfs fuse.forebay rw\n\
            92 29 0:53 / /mnt/a\\040b ro shared:7 master:2 - fuse.forebay forebay rw\n";
        assert!(has_forebay(table, "0:53"));
        for other in ["254:0", "0:52", "0:5", "53", ""] {
            assert!(!has_forebay(table, other), "{other}");
        }
    }

    #[test]
    fn a_plain_folder_is_no_mount_root() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("plain")).expect("made");
        let opened = std::fs::File::open(folder.path()).expect("opened");
        assert_eq!(root_at(&opened, c"plain"), MountRoot::None);
        assert_eq!(root_at(&opened, c"missing"), MountRoot::None);
        assert!(!holds(&opened));
        let root = std::fs::File::open("/").expect("opened");
        assert_eq!(root_at(&root, c"proc"), MountRoot::Other);
        let proc = std::fs::File::open("/proc").expect("opened");
        assert_eq!((root_of(&proc), root_of(&opened)), (MountRoot::Other, MountRoot::None));
    }
}
