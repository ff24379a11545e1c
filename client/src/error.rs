//! What can go wrong in the client, in words for a person and with a kind for a program.

use std::io;
use std::time::Duration;

use forebay_proto::{WireDefect, WireError};
use forebay_types::{ErrorKind, FileId, UnderStoreKey};
use thiserror::Error;

/// An error of the client.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No master answered in time.
    #[error(
        "no master answered within {waited:?} at {addresses} ({last}); start one, or name the right addresses with \
         --masters or FOREBAY_MASTERS"
    )]
    NoMaster {
        /// Whom we asked.
        addresses: String,
        /// For how long.
        waited: Duration,
        /// What the last attempt met.
        last: String,
    },
    /// No worker gave the bytes in time.
    #[error(
        "no worker gave the bytes of {key} ({file}) from {offset} on within {waited:?} ({last}); see which workers \
         live with `forebay admin report workers`"
    )]
    NoWorker {
        /// What the under-store calls the file.
        key: UnderStoreKey,
        /// The version.
        file: FileId,
        /// The first byte that is missing.
        offset: u64,
        /// For how long.
        waited: Duration,
        /// What the last attempt met.
        last: String,
        /// The kind of that.
        kind: ErrorKind,
    },
    /// The other side answered with an error.
    #[error("{message}")]
    Answer {
        /// What kind of thing went wrong.
        kind: ErrorKind,
        /// The sentence for a person.
        message: String,
        /// With [`ErrorKind::NotLeader`]: who leads.
        leader: Option<String>,
    },
    /// The session ended before the answer came.
    #[error(
        "the outcome of {rpc} is unknown, since the session is over; check with `forebay fs stat` or `mounts`"
    )]
    OutcomeUnknown {
        /// What was asked for.
        rpc: &'static str,
    },
    /// The file has a new content, and the old one can no longer be read.
    #[error("version {file} is no longer the content of {key}; open the file again")]
    Stale {
        /// What the under-store calls the file.
        key: UnderStoreKey,
        /// The version.
        file: FileId,
    },
    /// Bytes came without their checksum, out of place, or too few.
    #[error("worker {worker} sent damaged bytes of {key} ({file}): {defect}")]
    Damaged {
        /// The worker.
        worker: String,
        /// What the under-store calls the file.
        key: UnderStoreKey,
        /// The version.
        file: FileId,
        /// What was wrong.
        defect: String,
    },
    /// A message that does not make sense.
    #[error("the answer to {rpc} makes no sense: {source}")]
    Wire {
        /// What was asked for.
        rpc: &'static str,
        /// What is wrong with it.
        source: WireDefect,
    },
    /// An address that is none.
    #[error("`{address}` is no address; write HOST:PORT")]
    Address {
        /// The address.
        address: String,
    },
    /// The caller asked for something that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// A named limit was met.
    #[error("{what} is limited to {max}")]
    LimitExceeded {
        /// What.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// A local file or socket failed.
    #[error("{what} failed: {source}")]
    Io {
        /// What was tried, with its path or id.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The client is being closed.
    #[error("the client is closed")]
    Closed,
}

impl ClientError {
    /// What kind of thing went wrong.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NoMaster { .. } | Self::Closed => ErrorKind::Unavailable,
            Self::NoWorker { kind, .. } | Self::Answer { kind, .. } => *kind,
            Self::OutcomeUnknown { .. } => ErrorKind::SessionExpired,
            Self::Stale { .. } => ErrorKind::Stale,
            Self::Damaged { .. } => ErrorKind::Corrupt,
            Self::Wire { .. } => ErrorKind::Internal,
            Self::Address { .. } | Self::Invalid(_) => ErrorKind::InvalidArgument,
            Self::LimitExceeded { .. } => ErrorKind::LimitExceeded,
            Self::Io { .. } => ErrorKind::Io,
        }
    }
}

impl From<WireError> for ClientError {
    fn from(error: WireError) -> Self {
        let WireError { kind, message, leader } = error;
        Self::Answer { kind, message, leader }
    }
}
