//! What can go wrong on a local socket, with the path or the reason in each message.

use std::io;
use std::path::PathBuf;

use forebay_types::ErrorKind;
use thiserror::Error;

/// Why a local socket could not be opened or used.
#[derive(Debug, Error)]
pub enum LocalError {
    /// Nothing to read, or no room to write, now: wait until the descriptor is ready.
    #[error("the local socket is not ready")]
    WouldBlock,
    /// The other process closed the connection or died.
    #[error("the other side of the local socket is gone")]
    Closed,
    /// A live process listens at the path.
    #[error("{} is served by a running process", path.display())]
    InUse {
        /// The socket's path.
        path: PathBuf,
    },
    /// The path is taken by something that is no socket, so it is left alone.
    #[error("{} exists and is no socket; remove it or choose another path", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The last part of the path is too long even when its folder is reached another way.
    #[error("{} is too long for a unix socket; choose a shorter name", path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
    },
    /// The kernel refused an operation on the path.
    #[error("cannot {action} {}: {source}", path.display())]
    Path {
        /// What was tried.
        action: &'static str,
        /// The socket's path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused an operation on an open socket.
    #[error("cannot {action} on the local socket: {source}")]
    Socket {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A packet of another version of the protocol.
    #[error(
        "the other side speaks version {theirs} of the local protocol, this one {ours}: use one release on a host"
    )]
    Protocol {
        /// The packet's version.
        theirs: u8,
        /// Ours.
        ours: u8,
    },
    /// A message longer than the longest packet, met on either side.
    #[error("a message of {length} bytes is too long for the local socket")]
    TooLong {
        /// The packet's length; for a received one, as far as it is known.
        length: usize,
    },
    /// Bytes that are no message.
    #[error("a packet is no message: {0}")]
    Garbage(&'static str),
}

impl LocalError {
    /// What kind of thing went wrong.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::WouldBlock => ErrorKind::Busy,
            Self::Closed => ErrorKind::Unavailable,
            Self::InUse { .. } | Self::NotASocket { .. } => ErrorKind::AlreadyExists,
            Self::PathTooLong { .. } | Self::TooLong { .. } => ErrorKind::LimitExceeded,
            Self::Path { .. } => ErrorKind::Unavailable,
            Self::Socket { .. } => ErrorKind::Io,
            Self::Protocol { .. } => ErrorKind::Unsupported,
            Self::Garbage(_) => ErrorKind::Corrupt,
        }
    }

    /// Whether the connection is of no more use after this error: true for all but [`WouldBlock`](Self::WouldBlock)
    /// and a message of our own that is too long.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        !matches!(self, Self::WouldBlock | Self::TooLong { .. })
    }
}
