//! Why a mount could not be made or taken down, in words that name the way out.

use std::io;
use std::path::PathBuf;

use forebay_types::{ErrorKind, InodeId};
use thiserror::Error;

/// An error of mounting or unmounting.
#[derive(Debug, Error)]
pub enum FuseError {
    /// The kernel has no FUSE, or the container was not given it.
    #[error(
        "there is no /dev/fuse ({source}); load the module with `modprobe fuse`, or start the container with \
         `--device /dev/fuse --cap-add SYS_ADMIN`"
    )]
    NoDevice {
        /// What the kernel said.
        source: io::Error,
    },
    /// This user may not mount.
    #[error(
        "{} cannot be mounted ({reason}); run as root, or install fuse3 for fusermount3; in a container add \
         `--device /dev/fuse --cap-add SYS_ADMIN`",
        mount_point.display()
    )]
    NotPermitted {
        /// Where.
        mount_point: PathBuf,
        /// What was tried and what came of it.
        reason: String,
    },
    /// The mount point cannot be used as it is.
    #[error("{} {problem}; {remedy}", mount_point.display())]
    MountPoint {
        /// Where.
        mount_point: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// A word of `-o` is not understood, or asks for what there is not.
    #[error("the mount option `{option}` cannot be used: {reason}")]
    Option {
        /// The word.
        option: String,
        /// What to write.
        reason: String,
    },
    /// The directory that was to become the root cannot be had.
    #[error("the root {inode} of the mount cannot be had: {reason}")]
    Root {
        /// The directory.
        inode: InodeId,
        /// What kind of thing went wrong.
        kind: ErrorKind,
        /// Why.
        reason: String,
    },
    /// The kernel or a thread failed.
    #[error("{what} failed for {}: {source}", mount_point.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        mount_point: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The metrics are registered already, by the process's own mistake.
    #[error("the metrics of the mount could not be registered: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl FuseError {
    /// What kind of thing went wrong.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NoDevice { .. } => ErrorKind::Unsupported,
            Self::NotPermitted { .. } => ErrorKind::PermissionDenied,
            Self::MountPoint { .. } | Self::Option { .. } => ErrorKind::InvalidArgument,
            Self::Root { kind, .. } => *kind,
            Self::Io { .. } => ErrorKind::Io,
            Self::Metrics(_) => ErrorKind::Internal,
        }
    }

    /// Makes an I/O error of something that was tried on a mount point.
    pub(crate) fn io(what: &'static str, mount_point: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let mount_point = mount_point.to_owned();
        move |source| Self::Io { what, mount_point, source }
    }
}
