//! The vocabulary between the engine and its shell.

use std::fmt;
use std::time::Duration;

use forebay_types::{
    ClusterMap, EntryKind, EntryName, ErrorKind, InodeId, JobFailure, JobProgress, JobState, ListingPosition,
    NamespacePath, NotAdmitted, VersionDescriptor, WorkerId,
};

/// Names a question, so that its answer finds back. Never used twice by one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) u64);

/// Names a load at a worker. Never used twice by one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub(crate) u64);

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Decides whether it is worth another attempt.
    pub kind: ErrorKind,
    /// The sentence for a person.
    pub reason: String,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The inode.
    pub inode: InodeId,
    /// What it is.
    pub kind: EntryKind,
    /// Of a file: its current version.
    pub version: Option<VersionDescriptor>,
    /// Of a file that its mount does not want cached: why.
    pub refused: Option<NotAdmitted>,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFound {
    /// Its name.
    pub name: EntryName,
    /// What it is.
    pub found: Found,
}

/// A part of a directory, in the order of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<NamedFound>,
    /// No entries follow.
    pub is_last: bool,
}

/// What a load at a worker did; the worker has seen that all of the range is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Bytes that it fetched.
    pub under_store_bytes: u64,
    /// Bytes that were not there when they were asked for, whoever fetched them.
    pub missing_bytes: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passed. Comes a few times a second.
    Tick,
    /// Which workers there are. Comes once at the begin and with each change.
    Workers {
        /// The map to place blocks by.
        map: ClusterMap,
        /// Whether all workers had the time to make themselves known.
        is_settled: bool,
        /// Bytes that those who live can hold, where file systems have less than the quotas too.
        room_bytes: u64,
    },
    /// The same workers can hold more or less than before.
    Room {
        /// Bytes that those who live can hold.
        room_bytes: u64,
    },
    /// The answer to [`Action::ReadPaths`].
    Paths {
        /// The question.
        request: RequestId,
        /// The row's paths; `None` when there is no such row.
        paths: Result<Option<Vec<NamespacePath>>, Fault>,
    },
    /// The answer to [`Action::Resolve`] and [`Action::Renew`].
    Found {
        /// The question.
        request: RequestId,
        /// What is there.
        found: Result<Found, Fault>,
    },
    /// The answer to [`Action::List`].
    Listed {
        /// The question.
        request: RequestId,
        /// The entries.
        page: Result<Page, Fault>,
    },
    /// The answer to [`Action::ListWhole`].
    ListedWhole {
        /// The question.
        request: RequestId,
        /// Whether it was. `NotFound` and `NotADirectory`: what it lies in does not have it any more.
        outcome: Result<(), Fault>,
    },
    /// A load at a worker goes on.
    Loading {
        /// Which.
        task: TaskId,
        /// Bytes of it that are there.
        cached_bytes: u64,
    },
    /// A load at a worker ended.
    Loaded {
        /// Which.
        task: TaskId,
        /// How.
        outcome: Result<Loaded, Fault>,
    },
    /// The answer to [`Action::Look`].
    Looked {
        /// The question.
        request: RequestId,
        /// Whether all of the version is cached.
        is_whole: bool,
    },
    /// The answer to [`Action::Persist`].
    Persisted {
        /// Whether it is written down.
        is_durable: bool,
    },
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read a row of the job's paths, counted from 0.
    ReadPaths {
        /// The question.
        request: RequestId,
        /// The row.
        row: u32,
    },
    /// Look what is at a path.
    Resolve {
        /// The question.
        request: RequestId,
        /// The path.
        path: NamespacePath,
    },
    /// Read a part of a directory, in the order of keys; of one that is being listed in its under-store what was seen so
    /// far. What was fresh when its first part was asked for is good for all that follow: a directory that takes longer
    /// to be gone through than its freshness is not listed again for each part.
    List {
        /// The question.
        request: RequestId,
        /// The directory.
        directory: InodeId,
        /// The part that stands after this place.
        after: Option<ListingPosition>,
        /// When the directory's first part was asked for.
        begun: Duration,
        /// Most entries.
        limit: usize,
    },
    /// See to it that a directory was listed in its under-store to the end, within its freshness; one that cannot be
    /// reached is an error, also where older names are known.
    ListWhole {
        /// The question.
        request: RequestId,
        /// The directory.
        directory: InodeId,
    },
    /// Compare a file with its under-store now, and give what it is.
    Renew {
        /// The question.
        request: RequestId,
        /// The file.
        inode: InodeId,
    },
    /// Have a worker bring a range into its cache and verify that it is there.
    Load {
        /// The load.
        task: TaskId,
        /// The worker.
        worker: WorkerId,
        /// The version.
        version: VersionDescriptor,
        /// Begin of the range.
        offset: u64,
        /// Its length.
        length: u64,
    },
    /// Look whether all of a version is cached by workers that live, as they told last. Nothing is loaded for it.
    Look {
        /// The question.
        request: RequestId,
        /// The version.
        version: VersionDescriptor,
    },
    /// Write down how far the job is.
    Persist {
        /// The work begins, perhaps anew: what was written down before is void.
        begins: bool,
        /// All that was done.
        progress: JobProgress,
        /// Directories that were gone through, by a job that counts them.
        directories_done: u64,
        /// What was given up since the last time.
        failures: Vec<JobFailure>,
    },
    /// Write down that the job is over. No action follows.
    End {
        /// How it ended.
        state: JobState,
        /// All that was done.
        progress: JobProgress,
        /// Directories that were gone through, by a job that counts them.
        directories_done: u64,
        /// What was given up since the last time.
        failures: Vec<JobFailure>,
        /// Why it ended so, where the failures do not say it.
        reason: Option<String>,
    },
}

impl NamedFound {
    /// Where it stands in its directory.
    pub(crate) fn position(&self) -> ListingPosition {
        ListingPosition::of(&self.name, self.found.kind)
    }
}

impl Fault {
    /// A fault of this kind.
    #[must_use]
    pub fn new(kind: ErrorKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
