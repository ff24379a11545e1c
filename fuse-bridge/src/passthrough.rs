//! Whether the kernel may read complete files without us, and why not.
//!
//! The kernel must know passthrough, we must have CAP_SYS_ADMIN, and the cache must not lie on more stacked file
//! systems than the kernel was told of. What an attempt taught is remembered, so that it is made and logged once.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};

use fuser::BackingId;
use rustix::fs::{MemfdFlags, memfd_create, statfs};

use crate::errno;
use crate::settings::Passthrough;

/// How complete files are read, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ReadMode {
    /// By passthrough.
    Allowed,
    /// Through the page cache, since the user wants it so.
    Off,
    /// Through the page cache: the kernel has no passthrough (it came with Linux 6.9).
    KernelTooOld,
    /// Through the page cache: the process lacks CAP_SYS_ADMIN.
    NotPermitted,
    /// Through the page cache: the cache lies on overlayfs, and the kernel was not told so at the mount.
    StackedCache,
}

/// What is known of passthrough at one mount.
#[derive(Debug)]
pub(crate) struct PassthroughState(AtomicU8);

/// A file that the kernel reads by passthrough, or could. The fields go in this order: the kernel lets go before we do.
#[derive(Debug)]
pub(crate) struct Backing<H> {
    pub(crate) id: BackingId,
    /// Keeps the file as it is.
    pub(crate) hold: H,
}

const MODES: [ReadMode; 5] = [
    ReadMode::Allowed,
    ReadMode::Off,
    ReadMode::KernelTooOld,
    ReadMode::NotPermitted,
    ReadMode::StackedCache,
];
/// `f_type` of overlayfs.
const OVERLAYFS: u64 = 0x794c_7630;

impl<H> Backing<H> {
    pub(crate) const fn new(id: BackingId, hold: H) -> Self {
        Self { id, hold }
    }
}

impl PassthroughState {
    pub(crate) const fn new(chosen: Passthrough) -> Self {
        Self(AtomicU8::new(match chosen {
            Passthrough::Auto => ReadMode::Allowed as u8,
            Passthrough::Off => ReadMode::Off as u8,
        }))
    }

    pub(crate) fn mode(&self) -> ReadMode {
        MODES[usize::from(self.0.load(Ordering::Relaxed))]
    }

    pub(crate) fn is_allowed(&self) -> bool {
        self.mode() == ReadMode::Allowed
    }

    /// The kernel did not offer it.
    pub(crate) fn set_kernel_too_old(&self) {
        self.settle(ReadMode::KernelTooOld);
    }

    /// Takes note of why the kernel refused a file. Other reasons than rights and stacking are of that file alone.
    pub(crate) fn refused(&self, error: &io::Error, path: &dyn fmt::Display) {
        if errno::is_not_permitted(error) {
            self.settle(ReadMode::NotPermitted);
        } else if errno::is_stacked_too_deep(error) {
            self.settle(ReadMode::StackedCache);
        } else {
            tracing::warn!(%error, %path, "the kernel refused to pass a file through; it is read through the bridge");
        }
    }

    /// Only the first reason is kept and logged.
    fn settle(&self, mode: ReadMode) {
        let allowed = ReadMode::Allowed as u8;
        if self.0.compare_exchange(allowed, mode as u8, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!(reason = %mode, remedy = mode.remedy(), "passthrough is not used; reads go through the bridge");
        }
    }

    /// Tries a file in memory on the new connection, so that the answer is known before the first open. The kernel
    /// keeps that empty file until the connection ends.
    pub(crate) fn probe(&self, device: impl AsFd) {
        if !self.is_allowed() {
            return;
        }
        let tried = probe_file().and_then(|file| BackingId::create_raw(device, file));
        if let Err(error) = tried {
            self.refused(&error, &"a file in memory");
        }
    }
}

impl ReadMode {
    /// What a user can do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Allowed => "nothing to do",
            Self::Off => "mount with passthrough=auto",
            Self::KernelTooOld => "use Linux 6.9 or newer, built with CONFIG_FUSE_PASSTHROUGH",
            Self::NotPermitted => "mount as root; in a container add --cap-add SYS_ADMIN",
            Self::StackedCache => "put the cache on a volume that is not overlayfs",
        }
    }
}

impl fmt::Display for ReadMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allowed => "allowed",
            Self::Off => "off",
            Self::KernelTooOld => "kernel too old",
            Self::NotPermitted => "no CAP_SYS_ADMIN",
            Self::StackedCache => "cache on overlayfs",
        })
    }
}

/// How many file systems may be stacked below ours: 2 only where the cache lies on overlayfs, since it forbids to use
/// our mount as the lower layer of an overlay.
pub(crate) fn stack_depth(cache_directories: &[PathBuf]) -> u32 {
    let on_overlay = |directory: &PathBuf| {
        statfs(directory).is_ok_and(|stat| u64::try_from(stat.f_type).is_ok_and(|kind| kind == OVERLAYFS))
    };
    if cache_directories.iter().any(on_overlay) { 2 } else { 1 }
}

fn probe_file() -> io::Result<OwnedFd> {
    Ok(memfd_create("forebay-passthrough-probe", MemfdFlags::CLOEXEC)?)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn the_first_reason_is_kept() {
        let error = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        let state = PassthroughState::new(Passthrough::Auto);
        state.refused(&error(Errno::IO), &"/a");
        assert!(state.is_allowed(), "one bad file says nothing of the others");
        state.refused(&error(Errno::PERM), &"/a");
        state.refused(&error(Errno::LOOP), &"/a");
        assert_eq!(state.mode().to_string(), "no CAP_SYS_ADMIN");
    }

    #[test]
    fn each_mode_is_stored_as_itself() {
        for mode in MODES {
            let state = PassthroughState::new(Passthrough::Auto);
            state.settle(mode);
            assert_eq!(state.mode(), mode);
        }
        let off = PassthroughState::new(Passthrough::Off);
        off.set_kernel_too_old();
        assert_eq!(off.mode(), ReadMode::Off);
    }

    #[test]
    fn a_cache_on_an_ordinary_file_system_needs_one_level() {
        assert_eq!(stack_depth(&[]), 1);
        assert_eq!(stack_depth(&["/proc".into(), "/nowhere".into()]), 1);
    }
}
