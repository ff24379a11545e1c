//! What can go wrong in a worker: when it starts, and in a read.
//!
//! Errors are cheap to clone where many readers wait for one fetch.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use forebay_block_store::StoreError;
use forebay_local::LocalError;
use forebay_types::{CapabilityError, ErrorKind, FileId, MountId, NotAdmitted};
use forebay_under_store::UnderStoreError;
use thiserror::Error;

/// Why a worker does not start or cannot go on.
#[derive(Debug, Error)]
pub enum WorkerError {
    /// A setting that cannot work.
    #[error("{0}")]
    Settings(String),
    /// The folder or a file in it cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Folder {
        /// What was tried.
        action: &'static str,
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another worker lives there.
    #[error("{} is in use by another worker; stop it, or give this one its own folder", path.display())]
    FolderInUse {
        /// The folder.
        path: PathBuf,
    },
    /// The kept identity cannot be understood.
    #[error("{} cannot be used: {problem}; remove it to join the cluster as a new worker", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The unix socket for this host's processes.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The cache cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tmpfs of the RAM tier cannot be made.
    #[error(transparent)]
    RamTier(#[from] forebay_block_store::RamTierError),
    /// Two metrics of one name.
    #[error("metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The master will not have this worker.
    #[error("the master at {master} refuses this worker: {message}")]
    Refused {
        /// The master.
        master: String,
        /// What kind of refusal.
        kind: ErrorKind,
        /// The master's words.
        message: String,
    },
    /// The process is stopping.
    #[error("the worker is stopping")]
    Stopping,
}

impl WorkerError {
    /// What kind of thing went wrong.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Settings(_) => ErrorKind::InvalidArgument,
            Self::Folder { .. } | Self::Listen { .. } => ErrorKind::Io,
            Self::FolderInUse { .. } => ErrorKind::Busy,
            Self::Identity { .. } => ErrorKind::Corrupt,
            Self::Local(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::RamTier(error) => error.kind(),
            Self::Metrics(_) => ErrorKind::Internal,
            Self::Refused { kind, .. } => *kind,
            Self::Stopping => ErrorKind::Unavailable,
        }
    }
}

/// Why bytes are not served.
#[derive(Clone, Debug, Error)]
pub(crate) enum ReadError {
    /// The capability does not give the right.
    #[error("{file} cannot be read: {reason}")]
    Refused { file: FileId, reason: CapabilityError },
    /// The worker has not registered with a master yet.
    #[error("the worker is starting and serves no reads yet")]
    Starting,
    /// No master told of the mount.
    #[error("{0} is not known to this worker (yet, or any more)")]
    UnknownMount(MountId),
    /// Still none after the worker had time to hear of it.
    #[error("{0} is not mounted (any more); look at `forebay mounts` and open the file again")]
    NoMount(MountId),
    /// The mount's under-store cannot be set up here.
    #[error("{mount} cannot be read by this worker: {reason}")]
    BrokenMount { mount: MountId, kind: ErrorKind, reason: Arc<str> },
    /// Nobody may ask the mount's under-store, and what is to be read is not cached here.
    #[error(
        "{uri} ({mount}) is in maintenance and is not asked for what is not cached; `forebay mount {uri} NS_PATH --mode \
         normal` ends that, and `forebay mounts` shows NS_PATH"
    )]
    InMaintenance { mount: MountId, uri: Arc<str> },
    /// The under-store said no.
    #[error(transparent)]
    UnderStore(Arc<UnderStoreError>),
    /// The cache said no.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// Too long a wait.
    #[error("{file} page {page} did not come within {seconds} s")]
    TimedOut { file: FileId, page: u32, seconds: u64 },
    /// The deadline of the whole read passed.
    #[error("the read of {0} took longer than its caller allowed")]
    Deadline(FileId),
    /// A page came and was gone again each time: the cache is far too small for what is read.
    #[error("{file} page {page} was evicted again each time before it could be read")]
    Evicted { file: FileId, page: u32 },
    /// What came was not stored, or was evicted at once: there is no room for it.
    #[error("the cache has no room for page {page} of {file}: add a tier, or load less")]
    NotKept { file: FileId, page: u32 },
    /// Nobody asked for it, and a read of it would not be stored either.
    #[error("{file} is not brought on a guess: {reason}")]
    NotAdmitted { file: FileId, reason: NotAdmitted },
    /// The mount stores what is read at random alone.
    #[error("{0} is not brought on a guess: the mount caches what is read at random (--cache random)")]
    NotInOrder(FileId),
    /// The worker ends, and with it what this read waited for.
    #[error("the worker is stopping")]
    Stopping,
}

impl ReadError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { .. } => ErrorKind::Unauthenticated,
            Self::Starting | Self::UnknownMount(_) | Self::Stopping => ErrorKind::Unavailable,
            Self::NoMount(_) => ErrorKind::NotFound,
            Self::BrokenMount { kind, .. } => *kind,
            Self::InMaintenance { .. } => ErrorKind::Maintenance,
            Self::UnderStore(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::TimedOut { .. } | Self::Deadline(_) => ErrorKind::TimedOut,
            Self::Evicted { .. } => ErrorKind::Busy,
            Self::NotKept { .. } => ErrorKind::NoSpace,
            Self::NotAdmitted { .. } | Self::NotInOrder(_) => ErrorKind::InvalidArgument,
        }
    }
}

impl From<UnderStoreError> for ReadError {
    fn from(error: UnderStoreError) -> Self {
        Self::UnderStore(Arc::new(error))
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}
