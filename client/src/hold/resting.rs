//! Holds that rest: nobody reads the file for now, and the next reader need not ask the worker for it.
//!
//! The worker may want one back at any time, and with a connection all of its holds go. A resting hold has no descriptor
//! where the file can be found by its path, so that many of them can rest.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use forebay_types::Timestamp;
use parking_lot::Mutex;
use rustix::fs::{AtFlags, Stat, StatxFlags, statx};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Descriptor, Release};
use crate::limits::MOUNTS_READ_PAUSE;

/// What a file is while nobody changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileState {
    device: u64,
    inode: u64,
    changed: Timestamp,
}

/// Whether a hold may rest; the connection takes that back when the worker wants it.
#[derive(Clone, Debug)]
pub(super) struct MayRest(Arc<AtomicBool>);

/// A hold whose file somebody else has open, or nobody. Dropping it gives the hold back.
#[derive(Debug)]
pub struct RestingHold {
    file: Whereabouts,
    state: FileState,
    release: Release,
}

/// How a file is found again.
#[derive(Debug)]
enum Whereabouts {
    Path(PathBuf),
    /// Its path leads elsewhere or nowhere, as with a worker in another container.
    Open {
        descriptor: Descriptor,
        _place: OwnedSemaphorePermit,
    },
    /// It need not be found: the hold may not rest.
    Nowhere,
}

/// What a process has for holds that rest.
#[derive(Debug)]
pub(super) struct Shelf {
    /// How many of them may have a descriptor.
    open: Arc<Semaphore>,
    mounts: Mutex<Mounts>,
}

/// The mounts that this process sees, by their ids. A path in another one's may lead anywhere here.
#[derive(Debug, Default)]
struct Mounts {
    ids: BTreeSet<u64>,
    read: Option<Instant>,
}

impl Shelf {
    pub(super) fn new(open: usize) -> Self {
        Self { open: Arc::new(Semaphore::new(open)), mounts: Mutex::default() }
    }

    /// Where an open file lies, if that is a place of ours.
    fn path_of(&self, file: &OwnedFd) -> Option<PathBuf> {
        let stat = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
        if stat.stx_mask & StatxFlags::MNT_ID.bits() == 0 || !self.mounts.lock().has(stat.stx_mnt_id) {
            return None;
        }
        std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
    }
}

impl Mounts {
    /// Mounts come rarely, so the table is read when one is not known, and not again soon.
    fn has(&mut self, id: u64) -> bool {
        let is_recent = |read: Instant| read.elapsed() < MOUNTS_READ_PAUSE;
        if !self.ids.contains(&id) && !self.read.is_some_and(is_recent) {
            let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            let ids = table.lines().filter_map(|line| line.split(' ').next()?.parse().ok());
            *self = Self { ids: ids.collect(), read: Some(Instant::now()) };
        }
        self.ids.contains(&id)
    }
}

impl FileState {
    pub(super) fn of(stat: &Stat) -> Self {
        // Some architectures have these fields signed or shorter.
        let changed = Timestamp::from_parts(stat.st_ctime, u32::try_from(stat.st_ctime_nsec).unwrap_or(0));
        Self { device: stat.st_dev, inode: stat.st_ino, changed }
    }

    pub(super) const fn changed(&self) -> Timestamp {
        self.changed
    }
}

impl MayRest {
    pub(super) fn new(may_rest: bool) -> Self {
        Self(Arc::new(AtomicBool::new(may_rest)))
    }

    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn take_back(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl RestingHold {
    pub(super) fn new(file: Descriptor, state: FileState, release: Release, shelf: &Shelf) -> Self {
        let file = Self::shelve(file, state, &release.may_rest, shelf);
        Self { file, state, release }
    }

    fn shelve(file: Descriptor, state: FileState, may_rest: &MayRest, shelf: &Shelf) -> Whereabouts {
        // Whoever may not rest is given back when its file is closed.
        if !may_rest.get() {
            return Whereabouts::Nowhere;
        }
        let path = shelf.path_of(&file.file);
        let found =
            path.filter(|path| rustix::fs::stat(path).is_ok_and(|stat| FileState::of(&stat) == state));
        if let Some(path) = found {
            return Whereabouts::Path(path);
        }
        match Arc::clone(&shelf.open).try_acquire_owned() {
            Ok(place) => Whereabouts::Open { descriptor: file, _place: place },
            Err(_) => {
                may_rest.take_back();
                Whereabouts::Nowhere
            }
        }
    }

    /// Whether the hold may stay while nobody reads its file: the worker lives and does not want it back. Quick.
    #[must_use]
    pub fn may_rest(&self) -> bool {
        self.release.may_rest.get()
    }

    /// Whether the file may be read on as it is: nobody changed it since the worker knew it to be right. Asks the file
    /// system.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        let stat = match &self.file {
            Whereabouts::Path(path) => rustix::fs::stat(path),
            Whereabouts::Open { descriptor, .. } => rustix::fs::fstat(descriptor.file.as_fd()),
            Whereabouts::Nowhere => return false,
        };
        stat.is_ok_and(|stat| FileState::of(&stat) == self.state)
    }

    #[cfg(test)]
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.file, Whereabouts::Open { .. })
    }
}
