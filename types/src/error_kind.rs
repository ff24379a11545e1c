//! The closed list of what can go wrong, so that a retry, a status code and an errno are decided in one place each.
//!
//! Each crate's error has a `kind()`; the two bridges out of it are `proto/src/status.rs` (gRPC) and
//! `fuse-bridge/src/errno.rs` (the kernel).

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of thing went wrong. Closed: a `match` over it has no wildcard in the two bridges. Remembered replies have it
/// by its position: append, never move or remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// No such entry, mount, job or object.
    NotFound,
    /// Something is there already.
    AlreadyExists,
    /// The request itself is wrong; sending it again cannot help.
    InvalidArgument,
    /// A path part that had to be a directory is none.
    NotADirectory,
    /// A directory where a file was needed.
    IsADirectory,
    /// The mount or the whole tree cannot be written.
    ReadOnly,
    /// The caller is known and may not do this.
    PermissionDenied,
    /// The caller is not known, or its capability is forged or over.
    Unauthenticated,
    /// Somebody else has it now; later may be better.
    Busy,
    /// No room on a tier or in a quota.
    NoSpace,
    /// A named limit was met.
    LimitExceeded,
    /// The version asked for is no longer the file's, and can no longer be read.
    Stale,
    /// The request was made with an old cluster map.
    StaleEpoch,
    /// The session is over; the outcome of what was sent under it is unknown.
    SessionExpired,
    /// This master does not lead.
    NotLeader,
    /// The other side cannot be reached or is not ready.
    Unavailable,
    /// The deadline passed.
    TimedOut,
    /// The under-store cannot be reached or answers with an error of its own.
    UnderStore,
    /// Bytes did not have their checksum, or a format was not understood.
    Corrupt,
    /// A local disk failed.
    Io,
    /// What was asked for does not exist in this version.
    Unsupported,
    /// A defect of Forebay.
    Internal,
    /// What is asked for is known to the under-store alone, which nobody may ask while its mount is in maintenance.
    /// Asking again cannot help before somebody ends that.
    Maintenance,
    /// A directory that was to go or to be replaced has something in it.
    NotEmpty,
}

impl ErrorKind {
    /// Every kind, for the tests of the two bridges.
    pub const ALL: [Self; 24] = [
        Self::NotFound,
        Self::AlreadyExists,
        Self::InvalidArgument,
        Self::NotADirectory,
        Self::IsADirectory,
        Self::ReadOnly,
        Self::PermissionDenied,
        Self::Unauthenticated,
        Self::Busy,
        Self::NoSpace,
        Self::LimitExceeded,
        Self::Stale,
        Self::StaleEpoch,
        Self::SessionExpired,
        Self::NotLeader,
        Self::Unavailable,
        Self::TimedOut,
        Self::UnderStore,
        Self::Corrupt,
        Self::Io,
        Self::Unsupported,
        Self::Internal,
        Self::Maintenance,
        Self::NotEmpty,
    ];

    /// Whether the same request may succeed when it is sent again, here or elsewhere.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Busy
                | Self::StaleEpoch
                | Self::NotLeader
                | Self::Unavailable
                | Self::TimedOut
                | Self::UnderStore
        )
    }

    /// How much a refusal says of what is wrong, where several workers refused: that nobody may ask the under-store most,
    /// an under-store's own word more than that of a worker which cannot ask it, and that more than the rest.
    #[must_use]
    pub const fn telling(self) -> u8 {
        match self {
            Self::Maintenance => 4,
            Self::PermissionDenied => 3,
            Self::NotFound => 2,
            Self::InvalidArgument => 1,
            _ => 0,
        }
    }

    /// The kind's name on the wire and in logs: upper case, as JSON output has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::NotADirectory => "NOT_A_DIRECTORY",
            Self::IsADirectory => "IS_A_DIRECTORY",
            Self::ReadOnly => "READ_ONLY",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Busy => "BUSY",
            Self::NoSpace => "NO_SPACE",
            Self::LimitExceeded => "LIMIT_EXCEEDED",
            Self::Stale => "STALE",
            Self::StaleEpoch => "STALE_EPOCH",
            Self::SessionExpired => "SESSION_EXPIRED",
            Self::NotLeader => "NOT_LEADER",
            Self::Unavailable => "UNAVAILABLE",
            Self::TimedOut => "TIMED_OUT",
            Self::UnderStore => "UNDER_STORE",
            Self::Corrupt => "CORRUPT",
            Self::Io => "IO",
            Self::Unsupported => "UNSUPPORTED",
            Self::Internal => "INTERNAL",
            Self::Maintenance => "MAINTENANCE",
            Self::NotEmpty => "NOT_EMPTY",
        }
    }

    /// The kind with this name; `None` for a name from a newer version.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_name(kind.name()), Some(kind));
        }
    }
}
