//! What is answered to whoever proposed, and its bytes.
//!
//! A reply is remembered with its session, so it is kept small. Format: one byte of [`REPLY_FORMAT`], then postcard;
//! variants are appended, never moved.

use forebay_types::{
    EntryName, ErrorKind, FileId, InodeId, JobId, JobState, LogIndex, MountId, NamespacePath, Sequence,
    SessionId, UnderStoreUri, WorkerId,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The format that this version writes and the newest that it reads.
pub const REPLY_FORMAT: u8 = 1;

/// The answer to one proposal.
pub type Reply = Result<Success, Rejection>;

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Success {
    /// The namespace has an identity and a root.
    Formatted {
        /// It had this very identity before.
        already: bool,
    },
    /// The mount is there.
    Mounted {
        /// Its id.
        mount: MountId,
        /// The same URI was mounted at the same path before; nothing was changed.
        already: bool,
        /// With `already`: the options asked for are not those that the mount has and keeps.
        options_differ: bool,
    },
    /// The mount is gone; its inodes go with the reaper.
    Unmounted {
        /// Its id, which is never used again.
        mount: MountId,
    },
    /// The listing was taken over.
    Listed {
        /// New names.
        created: u32,
        /// Files that got a new version, names that became something else, attributes that changed.
        changed: u32,
        /// Names that went.
        removed: u32,
        /// Names that were left as they are since they changed after the listing began.
        newer: u32,
        /// Names that were left as they are since a mount is there or below.
        mounts: u32,
    },
    /// The file's current version.
    Superseded {
        /// The version that the file has now; `None`: the file is gone.
        current: Option<FileId>,
    },
    /// Names were dropped from a directory, which must be listed again before it can answer.
    Forgotten {
        /// How many.
        dropped: u32,
        /// Whether more are left: send the command again.
        more: bool,
    },
    /// Sessions were ended.
    SessionsExpired {
        /// How many.
        ended: u32,
        /// Whether more are left: send the command again.
        more: bool,
    },
    /// Rows of detached subtrees were deleted.
    Reaped {
        /// How many inodes went.
        removed: u32,
        /// Whether more are left: send the command again.
        more: bool,
    },
    /// This very mutation succeeded before, and its reply was too large to be remembered: ask for the state.
    DoneBefore,
    /// A worker has an id.
    WorkerAdmitted {
        /// The id, which is never used again.
        worker: WorkerId,
    },
    /// A load is known, with the paths that came so far.
    LoadBegun {
        /// The job's id, which is never used again.
        job: JobId,
    },
    /// A job's progress was written down.
    JobAdvanced {
        /// The job.
        job: JobId,
    },
    /// A job is over.
    JobEnded {
        /// The job.
        job: JobId,
    },
    /// The mount has the options that were asked for.
    MountChanged {
        /// Its id.
        mount: MountId,
        /// It had others before.
        changed: bool,
    },
    /// Rows of the outbox are done with.
    OutboxTrimmed {
        /// How many rows went.
        rows: u32,
        /// Whether more are left to go: send the command again.
        more: bool,
    },
    /// The directory is there.
    DirectoryMade {
        /// The directory.
        inode: InodeId,
        /// It was there before.
        already: bool,
    },
    /// The directory is gone.
    DirectoryRemoved {
        /// What it was.
        inode: InodeId,
    },
    /// The directory has the path that was asked for.
    Renamed {
        /// How many mounts went with it.
        mounts: u32,
    },
    /// The directory has the attributes that were asked for.
    AttributesSet {
        /// It had others before.
        changed: bool,
    },
    /// What lies at the path stays known.
    Pinned {
        /// What it is.
        inode: InodeId,
        /// It was pinned before.
        already: bool,
    },
    /// What lies at the path is not pinned any more.
    Unpinned {
        /// What it is.
        inode: InodeId,
    },
    /// Commands up to this level may be logged.
    FeatureLevelSet {
        /// The level now.
        level: u32,
        /// The level before.
        before: u32,
    },
}

/// Why nothing was done. Its variants are kept small, since each reply carries room for the largest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum Rejection {
    /// The state has no identity yet.
    #[error("the namespace is not formatted")]
    NotFormatted,
    /// The state has another identity.
    #[error("the namespace belongs to another cluster or incarnation already")]
    AlreadyFormatted,
    /// No such inode, or it is detached from the tree.
    #[error("{inode} does not exist (any more)")]
    InodeMissing {
        /// The inode.
        inode: InodeId,
    },
    /// A directory was needed.
    #[error("{inode} is no directory")]
    NotADirectory {
        /// The inode.
        inode: InodeId,
    },
    /// A file was needed.
    #[error("{inode} is no file")]
    NotAFile {
        /// The inode.
        inode: InodeId,
    },
    /// A part of a path that had to be a directory is none.
    #[error("{path} is no directory")]
    PathNotADirectory {
        /// The part, with all above it.
        path: NamespacePath,
    },
    /// The root of the namespace was to be a mount point.
    #[error("{uri} cannot be mounted at /: choose a path below it, such as /data")]
    MountAtRoot {
        /// What was to be mounted.
        uri: Box<UnderStoreUri>,
    },
    /// Another under-store is mounted at the very path.
    #[error(
        "{uri} cannot be mounted at {path}: {mounted} is mounted there; unmount it first or choose another path"
    )]
    MountPointTaken {
        /// Where.
        path: NamespacePath,
        /// What was to be mounted.
        uri: Box<UnderStoreUri>,
        /// What is mounted.
        mounted: Box<UnderStoreUri>,
    },
    /// A mount lies below the path and would be hidden.
    #[error("{uri} cannot be mounted at {path}: it would hide the mount at {hidden}")]
    MountHidesMount {
        /// Where.
        path: NamespacePath,
        /// What was to be mounted.
        uri: Box<UnderStoreUri>,
        /// The path of the mount below.
        hidden: NamespacePath,
    },
    /// The path is content of another mount.
    #[error(
        "{uri} cannot be mounted at {path}: it would hide content of {mounted}; choose a path that does not exist"
    )]
    MountHidesContent {
        /// Where.
        path: NamespacePath,
        /// What was to be mounted.
        uri: Box<UnderStoreUri>,
        /// The under-store that has something there.
        mounted: Box<UnderStoreUri>,
    },
    /// The under-store path is mounted elsewhere, in whole or in part.
    #[error("{uri} cannot be mounted at {path}: it overlaps {other}, which is mounted at {other_path}")]
    MountOverlaps {
        /// Where.
        path: NamespacePath,
        /// What was to be mounted.
        uri: Box<UnderStoreUri>,
        /// The URI that it overlaps.
        other: Box<UnderStoreUri>,
        /// Where that is mounted.
        other_path: NamespacePath,
    },
    /// As many mounts as there can be.
    #[error("{path} cannot be mounted: there are {max} mounts already, which is the limit")]
    TooManyMounts {
        /// Where.
        path: NamespacePath,
        /// The limit.
        max: u32,
    },
    /// An option that makes no sense.
    #[error("the option {option} of the mount at {path} {problem}")]
    InvalidOption {
        /// Where.
        path: NamespacePath,
        /// The option's name.
        option: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nothing is mounted at the path.
    #[error("nothing is mounted at {path}")]
    NotMounted {
        /// The path.
        path: NamespacePath,
    },
    /// A mount that has mounts below it was to go.
    #[error("{path} cannot be unmounted: {nested} is mounted below it; unmount that first")]
    MountsBelow {
        /// The path.
        path: NamespacePath,
        /// The path of one mount below.
        nested: NamespacePath,
    },
    /// The directory was forgotten after the listing began, so differences to what it was mean nothing.
    #[error(
        "the listing of {directory} began at {begun_at}, before the directory was forgotten: list it again"
    )]
    StaleListing {
        /// The directory.
        directory: InodeId,
        /// When the listing began.
        begun_at: LogIndex,
    },
    /// The directory lies in no mount, so no under-store can have listed it.
    #[error("{directory} lies in no mount and cannot be listed")]
    NotInAMount {
        /// The directory.
        directory: InodeId,
    },
    /// An entry of a listing that makes no sense.
    #[error("the entry `{name}` of the listing of {directory} {problem}")]
    InvalidEntry {
        /// The directory.
        directory: InodeId,
        /// The entry.
        name: EntryName,
        /// What is wrong with it.
        problem: String,
    },
    /// More than one command may carry.
    #[error("a command with {count} of {what} is over the limit of {max}")]
    TooMany {
        /// What there is too much of.
        what: String,
        /// How many there are.
        count: u64,
        /// How many there may be.
        max: u64,
    },
    /// The directory is as deep as any path can reach.
    #[error("{directory} is too deep for entries of its own")]
    TooDeep {
        /// The directory.
        directory: InodeId,
    },
    /// What became of this mutation is no longer known.
    #[error("{session} is over: the outcome of {sequence} is unknown, check with stat")]
    SessionExpired {
        /// The session.
        session: SessionId,
        /// The mutation.
        sequence: Sequence,
    },
    /// More unanswered mutations than a session may have.
    #[error("{sequence} of {session} is too far ahead of {lowest_unanswered}: wait for answers first")]
    SessionWindow {
        /// The session.
        session: SessionId,
        /// The mutation.
        sequence: Sequence,
        /// The lowest one without an answer.
        lowest_unanswered: Sequence,
    },
    /// This very mutation was refused before, and the reason was too large to be remembered.
    #[error("this request was refused before, and only the kind of the reason is still known: {kind}")]
    RefusedBefore {
        /// The kind of the reason.
        kind: ErrorKind,
    },
    /// No such job, or it ended long ago.
    #[error("{job} does not exist (any more); `forebay job list` shows those that do")]
    JobMissing {
        /// The job.
        job: JobId,
    },
    /// What was asked of a job does not fit its state.
    #[error("{job} is {state}, so this can no longer be done to it")]
    JobNotOpen {
        /// The job.
        job: JobId,
        /// How far it is.
        state: JobState,
    },
    /// Paths of a load that do not follow those that came before.
    #[error("{job} has {expected} paths, and those that came say that there are {found} before them")]
    PathsOutOfOrder {
        /// The job.
        job: JobId,
        /// How many paths it has.
        expected: u64,
        /// How many were said to be before those that came.
        found: u64,
    },
    /// The directory of a mount was to be described, and it is none.
    #[error("nothing is mounted at {directory}")]
    NotAMountPoint {
        /// The directory.
        directory: InodeId,
    },
    /// What a mount shows was to be changed.
    #[error(
        "{path} is content of the mount at {mount}, and mounts are read-only: files and directories there come with the write \
         path, and until then only directories outside of mounts can be changed"
    )]
    InsideMount {
        /// What was to be changed.
        path: NamespacePath,
        /// Where the mount is shown.
        mount: NamespacePath,
    },
    /// A mount point was to go, to move or to be replaced.
    #[error("{path} is a mount point; it goes with `forebay unmount {path}`")]
    MountPoint {
        /// Where.
        path: NamespacePath,
    },
    /// Something was to be made that is there.
    #[error("{path} exists already")]
    EntryExists {
        /// Where.
        path: NamespacePath,
    },
    /// A directory that was needed is not there.
    #[error("there is no directory {path}")]
    NoDirectory {
        /// Where.
        path: NamespacePath,
    },
    /// A directory was to go or to be replaced that has something in it.
    #[error("{path} is not empty; `forebay fs ls {path}` shows what is in it")]
    DirectoryNotEmpty {
        /// Where.
        path: NamespacePath,
    },
    /// The root of the namespace was to go, to move or to be replaced.
    #[error("/ is the root of the namespace, which can neither be removed nor moved nor replaced")]
    RootStays,
    /// A directory was to move into itself.
    #[error("{from} cannot be moved to {to}, which lies in it")]
    IntoItself {
        /// What was to move.
        from: NamespacePath,
        /// Where to.
        to: NamespacePath,
    },
    /// Nobody could say the path of a directory, or of one below it.
    #[error("{path}, or a directory that would lie below it, has a longer path than any can be")]
    PathTooLong {
        /// The path.
        path: NamespacePath,
    },
    /// A directory was to get deeper with too much below it.
    #[error(
        "{path} has more than {max} names below it and would lie deeper than before: move what is in it part by part, or \
         to a place that is not deeper"
    )]
    TooManyBelow {
        /// What was to move.
        path: NamespacePath,
        /// How many there may be.
        max: u32,
    },
    /// An attribute that no directory can have.
    #[error("{path} cannot have that: {problem}")]
    InvalidAttribute {
        /// Whose.
        path: NamespacePath,
        /// What is wrong with it.
        problem: String,
    },
    /// Mounts below a directory that was to move came, went or moved while it was looked at.
    #[error("the mounts below {path} changed meanwhile; try again")]
    MountsChangedMeanwhile {
        /// What was to move.
        path: NamespacePath,
    },
    /// Nothing is known at a path.
    #[error("{path} does not exist, or was forgotten a moment ago; try again")]
    PathMissing {
        /// The path.
        path: NamespacePath,
    },
    /// A pin was to end that there is not.
    #[error("{path} is not pinned itself; `forebay fs pins` shows what is")]
    NotPinned {
        /// The path.
        path: NamespacePath,
    },
    /// A directory was to be forgotten that is pinned.
    #[error("{directory} is pinned, or lies below a pin, and stays known")]
    Pinned {
        /// The directory.
        directory: InodeId,
    },
    /// A level below the one that the state has.
    #[error(
        "the feature level is {current} and is never lowered, so not to {level}: versions that know less cannot read the log"
    )]
    FeatureLevelLower {
        /// The level of the state.
        current: u32,
        /// The level that was asked for.
        level: u32,
    },
}

/// Why bytes are no proposal or reply, or cannot become one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    /// There are no bytes.
    #[error("an encoded value of no bytes")]
    Empty,
    /// It was written by a later version.
    #[error("an encoded value has format {found}; this version knows up to {known}: upgrade this master")]
    NewerFormat {
        /// The format of the value.
        found: u8,
        /// The newest format that is known.
        known: u8,
    },
    /// It is a proposal of a command that a later version brought.
    #[error(
        "the command number {number} is not known; this version knows up to {known}: upgrade this master"
    )]
    UnknownCommand {
        /// The command's number.
        number: u32,
        /// The highest number that is known.
        known: u32,
    },
    /// It is not what its format says.
    #[error("an encoded value is malformed: {0}")]
    Malformed(String),
    /// It would be longer than a log entry may be.
    #[error("an encoded proposal of {0} bytes is too long")]
    TooLong(usize),
}

impl Rejection {
    /// What kind of error it is for those above.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFormatted => ErrorKind::Unavailable,
            Self::AlreadyFormatted | Self::MountPointTaken { .. } | Self::EntryExists { .. } => {
                ErrorKind::AlreadyExists
            }
            Self::InodeMissing { .. }
            | Self::NotMounted { .. }
            | Self::JobMissing { .. }
            | Self::PathMissing { .. }
            | Self::NotPinned { .. }
            | Self::NoDirectory { .. } => ErrorKind::NotFound,
            Self::NotADirectory { .. } | Self::PathNotADirectory { .. } => ErrorKind::NotADirectory,
            Self::NotAFile { .. }
            | Self::MountAtRoot { .. }
            | Self::MountHidesMount { .. }
            | Self::MountHidesContent { .. }
            | Self::MountOverlaps { .. }
            | Self::InvalidOption { .. }
            | Self::NotInAMount { .. }
            | Self::NotAMountPoint { .. }
            | Self::FeatureLevelLower { .. }
            | Self::InvalidEntry { .. }
            | Self::JobNotOpen { .. }
            | Self::RootStays
            | Self::IntoItself { .. }
            | Self::InvalidAttribute { .. }
            | Self::PathsOutOfOrder { .. } => ErrorKind::InvalidArgument,
            Self::TooManyMounts { .. }
            | Self::TooMany { .. }
            | Self::TooDeep { .. }
            | Self::PathTooLong { .. }
            | Self::TooManyBelow { .. }
            | Self::SessionWindow { .. } => ErrorKind::LimitExceeded,
            Self::MountsBelow { .. }
            | Self::MountPoint { .. }
            | Self::MountsChangedMeanwhile { .. }
            | Self::Pinned { .. } => ErrorKind::Busy,
            Self::InsideMount { .. } => ErrorKind::ReadOnly,
            Self::DirectoryNotEmpty { .. } => ErrorKind::NotEmpty,
            Self::StaleListing { .. } => ErrorKind::Stale,
            Self::SessionExpired { .. } => ErrorKind::SessionExpired,
            Self::RefusedBefore { kind } => *kind,
        }
    }
}

impl CodecError {
    /// What kind of error it is for those above.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLong(_) => ErrorKind::LimitExceeded,
            Self::Empty | Self::NewerFormat { .. } | Self::Malformed(_) => ErrorKind::Corrupt,
            Self::UnknownCommand { .. } => ErrorKind::Unsupported,
        }
    }
}

/// The bytes of a reply.
///
/// # Errors
/// [`CodecError::Malformed`] when serialization fails, which no reply does.
pub fn encode_reply(reply: &Reply) -> Result<Vec<u8>, CodecError> {
    encode(REPLY_FORMAT, reply)
}

/// Reads what [`encode_reply`] wrote.
///
/// # Errors
/// [`CodecError`] when the format is newer or the bytes are no reply.
pub fn decode_reply(bytes: &[u8]) -> Result<Reply, CodecError> {
    decode(REPLY_FORMAT, bytes)
}

/// One byte of format, then postcard.
pub(crate) fn encode<T: Serialize>(format: u8, value: &T) -> Result<Vec<u8>, CodecError> {
    postcard::to_extend(value, vec![format]).map_err(|error| CodecError::Malformed(error.to_string()))
}

/// Reads what [`encode`] wrote, to its last byte, where all formats up to the one that is `known` have the same fields.
pub(crate) fn decode<T: DeserializeOwned>(known: u8, bytes: &[u8]) -> Result<T, CodecError> {
    format_of(known, bytes).and_then(|(_, content)| decode_content(content))
}

/// The format of encoded bytes, and what follows it.
pub(crate) fn format_of(known: u8, bytes: &[u8]) -> Result<(u8, &[u8]), CodecError> {
    let (found, content) = bytes.split_first().ok_or(CodecError::Empty)?;
    if *found > known {
        return Err(CodecError::NewerFormat { found: *found, known });
    }
    if *found == 0 {
        return Err(CodecError::Malformed("there is no format 0".to_owned()));
    }
    Ok((*found, content))
}

/// Reads the content of encoded bytes, to its last byte.
pub(crate) fn decode_content<T: DeserializeOwned>(content: &[u8]) -> Result<T, CodecError> {
    match postcard::take_from_bytes(content) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(CodecError::Malformed(format!("{} bytes follow its end", rest.len()))),
        Err(error) => Err(CodecError::Malformed(error.to_string())),
    }
}
