//! Makes a directory ready to be mounted on, or says what stands in the way and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use crate::errno;
use crate::error::FuseError;
use crate::kernel_mount::{Unmount, unmount};
use crate::limits::{DEAD_MOUNTS_MAX, MOUNT_POINT_DEADLINE};
use crate::mount_table::{mount_at, without_links};

/// Creates the directory if it is missing, takes dead mounts of ours off it, and checks that it is empty. Gives its
/// path without links. May wait for a file system that lies there; not for the async world.
pub(crate) fn prepare(wanted: &Path) -> Result<PathBuf, FuseError> {
    let refuse = |problem: &str, remedy: &str| FuseError::MountPoint {
        mount_point: wanted.to_owned(),
        problem: problem.to_owned(),
        remedy: remedy.to_owned(),
    };
    create(wanted)?;
    let target = without_links(wanted).map_err(FuseError::io("finding the mount point", wanted))?;
    for _ in 0..DEAD_MOUNTS_MAX {
        let line = mount_at(&target).map_err(FuseError::io("reading the mount table", wanted))?;
        let is_ours = line.as_ref().is_some_and(crate::mount_table::MountLine::is_forebay);
        match look(&target) {
            Ok(State::Empty) if !is_ours => return Ok(target),
            Ok(State::Empty | State::Filled | State::Other) if is_ours => {
                return Err(refuse(
                    "is a mount of Forebay already",
                    "unmount it with `forebay fuse umount DIR`, or choose another directory",
                ));
            }
            Ok(State::Empty | State::Filled) => {
                return Err(refuse(
                    "is not empty",
                    "choose an empty directory: the mount would hide what lies there",
                ));
            }
            Ok(State::Other) => {
                return Err(refuse(
                    "is no directory",
                    "choose a directory, or a path that does not exist yet",
                ));
            }
            Err(error) if errno::is_dead_mount(&error) && is_ours => {
                tracing::warn!(mount_point = %target.display(), "a mount whose process is gone is taken off");
                unmount(&target, Unmount::Lazily)
                    .map_err(FuseError::io("taking a dead mount off", wanted))?;
            }
            Err(error) if errno::is_dead_mount(&error) => {
                let kind = line.map_or_else(|| "another file system".to_owned(), |line| line.kind);
                return Err(refuse(
                    &format!("is a mount of {kind} whose process is gone"),
                    "unmount it with `umount -l DIR`",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(refuse(
                    "does not answer, since the process that serves it hangs",
                    "end that process, then `umount -f DIR` and `umount -l DIR`",
                ));
            }
            Err(error) => return Err(FuseError::io("looking at the mount point", wanted)(error)),
        }
    }
    Err(refuse("is under too many dead mounts", "unmount them with `umount -l DIR`"))
}

/// What lies at the mount point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Empty,
    Filled,
    Other,
}

fn create(wanted: &Path) -> Result<(), FuseError> {
    match std::fs::create_dir_all(wanted) {
        Ok(()) => Ok(()),
        // Something is there, perhaps a dead mount: that is looked at next.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists || errno::is_dead_mount(&error) => Ok(()),
        Err(error) => Err(FuseError::io("creating the mount point", wanted)(error)),
    }
}

/// Looks from a thread of its own, since a hanging file system there would keep us for ever.
fn look(target: &Path) -> io::Result<State> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let target = target.to_owned();
    thread::Builder::new().name("fuse-look".to_owned()).spawn(move || {
        // Nobody listens any more after the deadline.
        sender.send(state(&target)).ok();
    })?;
    receiver.recv_timeout(MOUNT_POINT_DEADLINE).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn state(target: &Path) -> io::Result<State> {
    if !std::fs::metadata(target)?.is_dir() {
        return Ok(State::Other);
    }
    match std::fs::read_dir(target)?.next() {
        None => Ok(State::Empty),
        Some(Ok(_)) => Ok(State::Filled),
        Some(Err(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_directory_is_created_and_an_empty_one_is_taken_as_it_is() {
        let folder = tempfile::tempdir().expect("made");
        let wanted = folder.path().join("a/b");
        let target = prepare(&wanted).expect("ready");
        assert!(target.is_dir() && target.is_absolute());
        assert_eq!(prepare(&wanted).expect("ready"), target);
    }

    #[test]
    fn what_cannot_be_mounted_on_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().expect("made");
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("written");
        for (path, words) in [(folder.path(), "not empty"), (&file, "no directory")] {
            let error = prepare(path).expect_err("refused").to_string();
            assert!(error.contains(words) && error.contains("choose"), "{error}");
        }
        assert!(prepare(&file.join("below")).is_err());
    }
}
