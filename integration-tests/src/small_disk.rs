//! A disk of its own that can be filled up: an ext4 file system in a sparse image, which takes next to nothing.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;

/// What a disk tier leaves free on its file system: 1 GiB and 10,000 files. A smaller disk would never cache a byte.
const SIZE: &str = "1400M";
const FILES: &str = "40000";

/// A mounted disk. It is unmounted when this is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// Makes and mounts one.
    ///
    /// # Panics
    /// Without root, loop devices or `mkfs.ext4`.
    #[must_use]
    pub fn mount() -> Self {
        let disk = Self { dir: tempfile::tempdir().expect("a folder") };
        let image = disk.dir.path().join("image");
        std::fs::create_dir(disk.path()).expect("made");
        run("mkfs.ext4", &["-q", "-F", "-m", "0", "-N", FILES], &[&image], &[SIZE]);
        run("mount", &["-o", "loop"], &[&image, &disk.path()], &[]);
        disk
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    /// Lets somebody else take all of its room.
    ///
    /// # Panics
    /// When that does not fill it.
    pub fn fill(&self) {
        let mut file = File::create(self.path().join("foreign")).expect("made");
        let (mut length, mut piece) = (0, 1_u64 << 30);
        while piece >= 4096 {
            match fallocate(&file, FallocateFlags::empty(), length, piece) {
                Ok(()) => length += piece,
                Err(_) => piece /= 2,
            }
        }
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(length)).expect("there");
        while file.write_all(&[1; 4096]).is_ok() {}
        assert_eq!(self.free_bytes(), 0, "the disk is full");
    }

    /// Gives back what [`fill`](Self::fill) took.
    ///
    /// # Panics
    /// When nothing was taken.
    pub fn make_room(&self) {
        std::fs::remove_file(self.path().join("foreign")).expect("it was filled");
    }

    /// Bytes that are free on it.
    ///
    /// # Panics
    /// When it is not mounted.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        let space = statvfs(self.path()).expect("mounted");
        space.f_bavail * space.f_frsize
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

fn run(program: &str, options: &[&str], paths: &[&Path], rest: &[&str]) {
    let output = Command::new(program).args(options).args(paths).args(rest).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}
