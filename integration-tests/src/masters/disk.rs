//! The disk of a master: a small file system in memory, so that it can be filled up, and so that no master waits for another
//! one's syncs.

use std::fs::File;
use std::path::PathBuf;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// Room for a master that is used for a few minutes, which takes some 140 MiB at its start.
const SIZE: &str = "size=512m";
/// What takes all of the room.
const FOREIGN: &str = "foreign";

/// A mounted disk, which is unmounted when this is dropped.
#[derive(Debug)]
pub(super) struct Disk {
    at: PathBuf,
}

impl Disk {
    pub(super) fn mount(at: PathBuf) -> Self {
        std::fs::create_dir(&at).expect("a new folder");
        let disk = Self { at };
        disk.mount_empty();
        disk
    }

    fn mount_empty(&self) {
        let options = std::ffi::CString::new(SIZE).expect("no zero byte");
        mount("tmpfs", &self.at, "tmpfs", MountFlags::empty(), Some(options.as_c_str())).expect("as root");
    }

    /// The folder of the master on it.
    pub(super) fn folder(&self) -> PathBuf {
        self.at.join("state")
    }

    /// Another disk in its place, with nothing on it.
    pub(super) fn replace(&self) {
        unmount(&self.at, UnmountFlags::DETACH).expect("it was mounted");
        self.mount_empty();
    }

    /// Lets somebody else take all of its room.
    pub(super) fn fill(&self) {
        let file = File::create(self.at.join(FOREIGN)).expect("there is room for a name");
        let (mut length, mut piece) = (0, 1_u64 << 30);
        while piece >= 4096 {
            match fallocate(&file, FallocateFlags::empty(), length, piece) {
                Ok(()) => length += piece,
                Err(_) => piece /= 2,
            }
        }
    }

    /// Gives back what [`fill`](Self::fill) took, unless the disk was replaced meanwhile.
    pub(super) fn make_room(&self) {
        let _ = std::fs::remove_file(self.at.join(FOREIGN));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(&self.at, UnmountFlags::DETACH);
    }
}
