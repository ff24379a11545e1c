//! Holds that rest: nobody reads the file for now, and the next reader need not ask the worker for it.
//!
//! The worker may want one back at any time, and with a connection all of its holds go. A resting hold has no descriptor
//! where the file can be found by its path, so that many of them can rest.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use forebay_types::Timestamp;
use rustix::fs::Stat;

use super::{Descriptor, Release};

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
    Open(Descriptor),
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
    pub(super) fn new(file: Descriptor, state: FileState, release: Release) -> Self {
        // Whoever may not rest is given back when its file is closed, so it need not be found again.
        let path = release.may_rest.get().then(|| path_of(&file.file)).flatten();
        let found =
            path.filter(|path| rustix::fs::stat(path).is_ok_and(|stat| FileState::of(&stat) == state));
        let file = found.map_or_else(|| Whereabouts::Open(file), Whereabouts::Path);
        Self { file, state, release }
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
            Whereabouts::Open(descriptor) => rustix::fs::fstat(descriptor.file.as_fd()),
        };
        stat.is_ok_and(|stat| FileState::of(&stat) == self.state)
    }

    #[cfg(test)]
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.file, Whereabouts::Open(_))
    }
}

/// Where the kernel says that an open file lies.
fn path_of(file: &OwnedFd) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}
