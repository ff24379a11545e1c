//! What can go wrong in the block store, in words for the person who must act.
//!
//! Bad cache contents are no error: they are dropped, counted and fetched again.

use std::path::PathBuf;

use forebay_types::{ByteCount, ClusterId, ErrorKind, FileId};
use thiserror::Error;

use crate::page::PageIndex;

/// Why the store does not open, or does not take or give bytes.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A setting that cannot work.
    #[error("tier `{tier}`: {problem}")]
    Settings {
        /// The tier's name; empty when the list of tiers itself is wrong.
        tier: String,
        /// What is wrong, and what to write instead.
        problem: &'static str,
    },
    /// The directory belongs to another cluster.
    #[error(
        "{} holds the cache of cluster {found}, not of {expected}; give another directory, or format this one to \
         delete that cache", directory.display()
    )]
    WrongCluster {
        /// The tier's directory.
        directory: PathBuf,
        /// Whose it is.
        found: ClusterId,
        /// Whose it was to be.
        expected: ClusterId,
    },
    /// The directory was written by a version of Forebay that this one does not understand.
    #[error(
        "{} has cache format {version}, which this version does not know; run the version that wrote it, or format \
         the directory to delete that cache", directory.display()
    )]
    UnknownFormat {
        /// The tier's directory.
        directory: PathBuf,
        /// The format's number.
        version: u32,
    },
    /// Another process has the directory open.
    #[error("{} is in use by another process; stop it, or give another directory", directory.display())]
    InUse {
        /// The tier's directory.
        directory: PathBuf,
    },
    /// Nothing more can be evicted, or the file system is full.
    #[error("no room for {file}")]
    NoSpace {
        /// The version that was being filled.
        file: FileId,
    },
    /// The eviction policy lets nothing leave for a read of the version; it is served without being cached.
    #[error("{file} is not worth that anything leaves for it")]
    Declined {
        /// The version.
        file: FileId,
    },
    /// The version is longer than any tier keeps whole; it is served without being cached.
    #[error("{file} has {length}, more than any tier keeps of one file ({max})")]
    TooLarge {
        /// The version.
        file: FileId,
        /// Its length.
        length: ByteCount,
        /// The largest `whole_file_max` of the tiers.
        max: ByteCount,
    },
    /// The URI, key or tag is too long for the index file.
    #[error("{file} has an under-store identity of {length} bytes, which is too long to be cached")]
    IdentityTooLong {
        /// The version.
        file: FileId,
        /// Length of the header that it would need.
        length: usize,
    },
    /// The version has no such page.
    #[error("{file} has no page {page}")]
    NoSuchPage {
        /// The version.
        file: FileId,
        /// The page that was asked for.
        page: PageIndex,
    },
    /// A fill brought more or fewer bytes than the page has.
    #[error("{file} page {page} has {expected} bytes, not {given}")]
    PageLength {
        /// The version.
        file: FileId,
        /// The page.
        page: PageIndex,
        /// How many bytes came.
        given: u64,
        /// How many the page has.
        expected: u64,
    },
    /// A tier's directory cannot be used.
    #[error(
        "cannot {action} {}: {source}; let the user that runs the worker read and write there, or give another \
         directory with --tier", path.display()
    )]
    Directory {
        /// What was tried: `make`, `open`.
        action: &'static str,
        /// The directory, or what is in it.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A local disk failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `open`, `write`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl StoreError {
    /// What kind of error it is, for the wire and for retries.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Settings { .. }
            | Self::WrongCluster { .. }
            | Self::NoSuchPage { .. }
            | Self::PageLength { .. } => ErrorKind::InvalidArgument,
            Self::UnknownFormat { .. } => ErrorKind::Unsupported,
            Self::InUse { .. } => ErrorKind::Busy,
            Self::NoSpace { .. } | Self::Declined { .. } => ErrorKind::NoSpace,
            Self::TooLarge { .. } | Self::IdentityTooLong { .. } => ErrorKind::LimitExceeded,
            Self::Directory { .. } | Self::Io { .. } => ErrorKind::Io,
        }
    }
}
