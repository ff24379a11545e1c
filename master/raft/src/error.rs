//! What can go wrong with the replicated log, and the memory of the first failure of its disks.
//!
//! openraft stops a node at the first error of its storage and passes on only a text; [`FirstFailure`] keeps the kind.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use forebay_metadata::{CodecError, StoreError};
use forebay_storage::StorageError;
use forebay_types::{ClusterId, ErrorKind};
use thiserror::Error;

use crate::node::membership::Member;
use crate::types::LeaderHint;

/// Why a proposal or a read was not answered, or why a master could not start.
#[derive(Debug, Error)]
pub enum RaftError {
    /// Another master leads, or none does at present.
    #[error("this master does not lead; {}", Self::show_hint(.leader.as_ref()))]
    NotLeader {
        /// Who leads, as far as this master knows.
        leader: Option<LeaderHint>,
    },
    /// This master has stopped, or no majority answers.
    #[error("the replicated log is not available: {reason}")]
    Unavailable {
        /// What is missing.
        reason: String,
    },
    /// The entry was in the log when this master ceased to lead. Another leader may commit it or not.
    #[error("the leader changed: whether the proposal was carried out is not known")]
    OutcomeUnknown,
    /// The masters of the cluster cannot be changed like this, or not now.
    #[error("the masters cannot be changed: {reason}")]
    MembershipInTransit {
        /// Why.
        reason: String,
    },
    /// The deadline passed. Whether a proposal will be carried out is not known.
    #[error("{operation} was not done before its deadline")]
    TimedOut {
        /// What was waited for.
        operation: &'static str,
    },
    /// The proposal cannot be written to the log.
    #[error(transparent)]
    Proposal(#[from] CodecError),
    /// There is a cluster already.
    #[error("this master already belongs to the cluster {cluster}")]
    AlreadyFormed {
        /// Its id.
        cluster: ClusterId,
    },
    /// The state machine refused to begin.
    #[error("the new namespace was refused: {reason}")]
    FormationRefused {
        /// Why.
        reason: String,
    },
    /// The directory is another master's.
    #[error("{} belongs to the master node {found}, not {asked}", .dir.display())]
    OtherNode {
        /// The directory.
        dir: PathBuf,
        /// The node that it belongs to.
        found: u64,
        /// The node that was to start.
        asked: u64,
    },
    /// A setting makes no sense.
    #[error("the replicated log cannot be set up: {0}")]
    Settings(String),
    /// A disk failed.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes on a disk are not what was written.
    #[error("{what} is corrupt: {problem}")]
    Corrupt {
        /// Which bytes.
        what: String,
        /// What is wrong with them.
        problem: String,
    },
    /// Something was written by a later version.
    #[error("{what} has format {found}; this version knows up to {known}: upgrade this master")]
    NewerFormat {
        /// What was written.
        what: String,
        /// The format of it.
        found: u8,
        /// The newest format that is known.
        known: u8,
    },
    /// An entry of the log has a command that a later version brought.
    #[error(
        "{what} has the command number {number}; this version knows up to {known}: upgrade this master, nothing was \
         changed"
    )]
    UnknownCommand {
        /// Which entry.
        what: String,
        /// The command's number.
        number: u32,
        /// The highest number that is known.
        known: u32,
    },
    /// The command may not be logged yet, since some master may not know it.
    #[error(
        "the command {command} needs the feature level {needed}, and the cluster has {current}: once all masters run \
         this version, raise it with `forebay admin masters level --raise`"
    )]
    LevelTooLow {
        /// The command's name.
        command: &'static str,
        /// The level that it needs.
        needed: u32,
        /// The level of the state.
        current: u32,
    },
    /// A master does not know the level, or did not say that it does.
    #[error(
        "the feature level cannot be raised to {level}: {} {}", Self::show_member(.member), Self::show_known(*.known)
    )]
    LevelNotKnown {
        /// The level.
        level: u32,
        /// The master.
        member: Member,
        /// What it knows, if it said so.
        known: Option<u32>,
    },
    /// A master that was to be taken in does not know the level of the state.
    #[error(
        "the cluster has the feature level {level}, and the master in slot {slot} at {address} knows up to {known}: upgrade \
         it, then start it again"
    )]
    JoinsTooOld {
        /// Its slot.
        slot: u32,
        /// Where it is.
        address: String,
        /// What it knows.
        known: u32,
        /// The level of the state.
        level: u32,
    },
    /// The store below failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StoreError),
    /// This master stopped for good after an earlier failure.
    #[error("this master has stopped: {reason}")]
    Failed {
        /// The kind of the failure.
        kind: ErrorKind,
        /// What it was.
        reason: String,
    },
}

impl RaftError {
    /// What kind of error it is for those above.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotLeader { .. } => ErrorKind::NotLeader,
            Self::Unavailable { .. } | Self::OutcomeUnknown => ErrorKind::Unavailable,
            Self::MembershipInTransit { .. } => ErrorKind::Busy,
            Self::TimedOut { .. } => ErrorKind::TimedOut,
            Self::Proposal(error) => error.kind(),
            Self::AlreadyFormed { .. } => ErrorKind::AlreadyExists,
            Self::FormationRefused { .. } | Self::OtherNode { .. } | Self::Settings(_) => {
                ErrorKind::InvalidArgument
            }
            Self::Io { .. } => ErrorKind::Io,
            Self::Corrupt { .. } | Self::NewerFormat { .. } => ErrorKind::Corrupt,
            Self::UnknownCommand { .. }
            | Self::LevelTooLow { .. }
            | Self::LevelNotKnown { .. }
            | Self::JoinsTooOld { .. } => ErrorKind::Unsupported,
            Self::Storage(error) => error.kind(),
            Self::State(error) => error.kind(),
            Self::Failed { kind, .. } => *kind,
        }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { action, path: path.into(), source }
    }

    pub(crate) fn corrupt(what: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self::Corrupt { what: what.to_string(), problem: problem.to_string() }
    }

    pub(crate) fn stopped() -> Self {
        Self::Unavailable { reason: "this master is stopping".to_owned() }
    }

    fn show_member(member: &Member) -> String {
        format!("the master in slot {} (node {}) at {}", member.slot, member.node, member.address)
    }

    fn show_known(known: Option<u32>) -> String {
        match known {
            Some(known) => format!("knows up to {known}; upgrade it, then raise again"),
            None => "did not say what it knows; start it, or remove it from the cluster, then raise again"
                .to_owned(),
        }
    }

    fn show_hint(leader: Option<&LeaderHint>) -> String {
        leader.map_or_else(
            || "no leader is known".to_owned(),
            |hint| format!("node {} at {} does", hint.node, hint.address),
        )
    }
}

/// Remembers the first failure of this node's disks, which is the one to report: it is what made the node stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct FirstFailure(Arc<OnceLock<(ErrorKind, String)>>);

impl FirstFailure {
    /// Remembers `error` if it is the first one, and makes of it what openraft takes.
    pub(crate) fn note(&self, error: &RaftError) -> io::Error {
        let message = error.to_string();
        let _ = self.0.set((error.kind(), message.clone()));
        io::Error::other(message)
    }

    /// The failure that stopped this node; `otherwise` where no disk failed.
    pub(crate) fn explain(&self, otherwise: impl FnOnce() -> RaftError) -> RaftError {
        match self.0.get() {
            Some((kind, reason)) => RaftError::Failed { kind: *kind, reason: reason.clone() },
            None => otherwise(),
        }
    }
}
