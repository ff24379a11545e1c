//! Why a request to the master fails.

use forebay_metadata::{MountRecord, Rejection, StoreError};
use forebay_proto::WireError;
use forebay_raft::RaftError;
use forebay_types::{EntryName, ErrorKind, InodeId, MountId, NamespacePath, Timestamp, UnderStoreUri};
use forebay_under_store::UnderStoreError;
use thiserror::Error;

use crate::membership::MembershipError;
use crate::sealing::SealingError;
use crate::under_stores::ConnectError;

/// Why a request fails. Cheap to clone where many wait for one listing.
#[derive(Debug, Error)]
pub enum MasterError {
    /// The log did not take the change.
    #[error(transparent)]
    Raft(#[from] RaftError),
    /// The masters cannot be changed as was asked.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The state machine refused it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The state cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A mount's under-store cannot be connected.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A credential cannot be sealed.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// The under-store answered with an error.
    #[error(transparent)]
    UnderStore(#[from] UnderStoreError),
    /// A listing that this request waited for failed.
    #[error("{message}")]
    Listing {
        /// What kind of thing went wrong.
        kind: ErrorKind,
        /// The sentence for a person.
        message: String,
    },
    /// An under-store that did not answer in time.
    #[error(
        "the under-store of {mount} did not answer within {seconds} s; try again, or look at `forebay mounts`"
    )]
    UnderStoreTimedOut {
        /// The mount.
        mount: MountId,
        /// How long it was waited for.
        seconds: u64,
    },
    /// More is asked of an under-store than it may be asked.
    #[error(
        "the under-store of {mount} is asked as often as it may be, and this would have to wait {seconds} s for its turn; try again later, or \
         raise under_store.requests_per_second_max of the master"
    )]
    TooManyRequests {
        /// The mount.
        mount: MountId,
        /// For how long its turn would be waited for.
        seconds: u64,
    },
    /// A listing ended since nobody wanted more of it.
    #[error("the listing was given up since nobody read on; read it again")]
    ListingGivenUp,
    /// An under-store says nothing.
    #[error("{uri} is silent; try again, or look at `forebay mounts`")]
    Silent {
        /// The under-store.
        uri: String,
    },
    /// An under-store that is away, where nothing is known of what was asked for that may be told.
    #[error(
        "{path} is not answered: {uri} is away since {since} ({reason}), and nothing is known within the mount's \
         freshness; try again, or look at `forebay mounts`"
    )]
    Away {
        /// The mount.
        path: NamespacePath,
        /// The under-store.
        uri: Box<UnderStoreUri>,
        /// When it was first found to be away.
        since: Timestamp,
        /// What was said last.
        reason: String,
    },
    /// An under-store that nobody may ask, where it alone knows what was asked for.
    #[error(
        "{path} is in maintenance, and {uri} is not asked for what is not known; `forebay mount {uri} {path} --mode \
         normal` ends that"
    )]
    InMaintenance {
        /// The mount.
        path: NamespacePath,
        /// The under-store.
        uri: Box<UnderStoreUri>,
    },
    /// The feed of changes does not know yet of all that can be read.
    #[error("the changes are behind what can be read; ask again")]
    FeedBehind,
    /// This master lacks entries that whoever asks must have.
    #[error(
        "this master has applied the entry {applied} and not yet {wanted}; ask another one, or again when it has caught up"
    )]
    Behind {
        /// The last entry that it has applied.
        applied: u64,
        /// The entry that is wanted.
        wanted: u64,
    },
    /// What was listed of a directory was dropped before it could be answered from.
    #[error("what was known of {0} was forgotten meanwhile; try again")]
    Forgotten(InodeId),
    /// No such inode.
    #[error("{0} does not exist (any more); look the path up again")]
    NoInode(InodeId),
    /// No such path.
    #[error("{path} does not exist: there is no `{missing}` in {directory}")]
    NoPath {
        /// The whole path.
        path: NamespacePath,
        /// The first part that is missing.
        missing: EntryName,
        /// Where it is missing.
        directory: NamespacePath,
    },
    /// Something other than a directory where one is needed.
    #[error("{0} is no directory")]
    NotADirectory(InodeId),
    /// Something other than a file where one is needed.
    #[error("{0} is no file")]
    NotAFile(InodeId),
    /// A request that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A mount that would hide what the under-store above it has.
    #[error(
        "{path} cannot be a mount point: it exists in {uri} and would be hidden; choose a path that does not exist"
    )]
    HidesContent {
        /// The path.
        path: NamespacePath,
        /// The under-store that has it.
        uri: String,
    },
    /// More than a cluster can have.
    #[error("{0}")]
    TooMany(String),
    /// What this version cannot do.
    #[error("{0}")]
    Unsupported(String),
    /// The state machine answered another question than was asked.
    #[error("the state machine gave the wrong answer to {0}; this is a defect of Forebay")]
    WrongAnswer(&'static str),
}

impl MasterError {
    /// The mount's under-store may not be asked.
    pub(crate) fn in_maintenance(mount: &MountRecord) -> Self {
        Self::InMaintenance { path: mount.path.clone(), uri: Box::new(mount.uri.clone()) }
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            // Whatever stopped this master: another one may go on.
            Self::Raft(RaftError::Failed { .. }) => ErrorKind::Unavailable,
            Self::Raft(error) => error.kind(),
            Self::Membership(error) => error.kind(),
            Self::Rejected(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Connect(error) => error.kind(),
            Self::Sealing(error) => error.kind(),
            Self::UnderStore(error) => error.kind(),
            Self::Listing { kind, .. } => *kind,
            Self::UnderStoreTimedOut { .. } | Self::Silent { .. } | Self::Away { .. } => {
                ErrorKind::UnderStore
            }
            Self::InMaintenance { .. } => ErrorKind::Maintenance,
            Self::ListingGivenUp | Self::TooManyRequests { .. } | Self::Behind { .. } => ErrorKind::Busy,
            Self::Forgotten(_) | Self::FeedBehind => ErrorKind::Unavailable,
            Self::NoInode(_) | Self::NoPath { .. } => ErrorKind::NotFound,
            Self::NotADirectory(_) => ErrorKind::NotADirectory,
            Self::NotAFile(_) => ErrorKind::IsADirectory,
            Self::Invalid(_) | Self::HidesContent { .. } => ErrorKind::InvalidArgument,
            Self::TooMany(_) => ErrorKind::LimitExceeded,
            Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::WrongAnswer(_) => ErrorKind::Internal,
        }
    }
}

impl From<MasterError> for tonic::Status {
    fn from(error: MasterError) -> Self {
        let leader = match &error {
            MasterError::Raft(RaftError::NotLeader { leader: Some(leader) }) => Some(leader.address.clone()),
            _ => None,
        };
        let leader = leader.filter(|address| !address.is_empty());
        WireError { leader, ..WireError::new(error.kind(), error.to_string()) }.into()
    }
}

#[cfg(test)]
mod tests {
    use forebay_raft::LeaderHint;

    use super::*;

    #[test]
    fn who_does_not_lead_says_in_its_status_who_does() {
        let of = |leader| {
            let error = MasterError::from(RaftError::NotLeader { leader });
            WireError::from(tonic::Status::from(error)).leader
        };
        let hint = |address: &str| Some(LeaderHint { node: 5, address: address.to_owned() });
        assert_eq!(of(hint("10.0.0.3:7411")), Some("10.0.0.3:7411".to_owned()));
        assert_eq!((of(hint("")), of(None)), (None, None));
    }
}
