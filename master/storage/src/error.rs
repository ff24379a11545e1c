//! Why a store could not be opened, read or written. Each message names the folder.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use forebay_types::ErrorKind;
use thiserror::Error;

/// What went wrong with a store.
#[derive(Debug, Error)]
pub enum StorageError {
    /// A file or folder of the store.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder holds something else, or its format file is damaged.
    #[error("{path} {problem}")]
    Format {
        /// The format file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The folder was written by a later version.
    #[error(
        "{path} says format {found}; this version knows up to {known}: upgrade Forebay, or use another folder"
    )]
    NewerFormat {
        /// The format file.
        path: PathBuf,
        /// The format of the folder.
        found: u32,
        /// The newest format that is known.
        known: u32,
    },
    /// The database failed.
    #[error("cannot {action} the database in {dir}: {source}")]
    Engine {
        /// What was tried.
        action: &'static str,
        /// The store's folder.
        dir: PathBuf,
        /// Whether stored bytes are damaged, rather than the disk at fault.
        corrupt: bool,
        /// What the database said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A row of the log that is not what it must be.
    #[error("the log in {dir} is damaged: {problem}")]
    Log {
        /// The store's folder.
        dir: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl StorageError {
    /// What kind of error it is for those above.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::File { .. } | Self::Engine { corrupt: false, .. } => ErrorKind::Io,
            Self::Format { .. }
            | Self::NewerFormat { .. }
            | Self::Log { .. }
            | Self::Engine { corrupt: true, .. } => ErrorKind::Corrupt,
        }
    }

    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    pub(crate) fn engine(action: &'static str, dir: &Path) -> impl FnOnce(rocksdb::Error) -> Self {
        let dir = dir.to_owned();
        move |source| {
            let corrupt = source.kind() == rocksdb::ErrorKind::Corruption;
            Self::Engine { action, dir, corrupt, source: Box::new(source) }
        }
    }
}
