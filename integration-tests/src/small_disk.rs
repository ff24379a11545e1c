//! A disk of its own that can be filled up and broken: an ext4 file system in a sparse image, which takes next to nothing.

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
        std::fs::create_dir(disk.path()).expect("made");
        run("mkfs.ext4", &["-q", "-F", "-m", "0", "-N", FILES], &[&disk.image()], &[SIZE]);
        disk.mount_again();
        disk
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    /// Mounts it after [`try_unmount`](Self::try_unmount).
    ///
    /// # Panics
    /// When that does not work.
    pub fn mount_again(&self) {
        run("mount", &["-o", "loop,errors=remount-ro"], &[&self.image(), &self.path()], &[]);
    }

    /// Unmounts it unless somebody uses it. Whether it was.
    #[must_use]
    pub fn try_unmount(&self) -> bool {
        unmount(self.path(), UnmountFlags::empty()).is_ok()
    }

    /// Lets the kernel meet an error that makes it stop writing to the disk: it is read-only then, whoever writes there.
    ///
    /// # Panics
    /// When the kernel does not.
    pub fn abort(&self) {
        run("mount", &["-o", "remount,abort"], &[&self.path()], &[]);
        assert!(File::create(self.path().join("refused")).is_err(), "it is read-only");
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

    /// From now on the disk gives errors: what lies behind its first MiB is no more. What the kernel knows of it is
    /// forgotten, as far as nobody uses it.
    ///
    /// # Panics
    /// When the image cannot be cut.
    pub fn cut_short(&self) {
        rustix::fs::sync();
        let image = File::options().write(true).open(self.image()).expect("there");
        image.set_len(1 << 20).expect("cut");
        crate::page_cache::drop_page_cache();
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
