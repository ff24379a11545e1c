//! The port between the kernel's requests and whoever knows names and bytes: the cluster's client, or a tree in tests.
//!
//! Everything here may be called from any thread, many times at once. A future may be dropped at any await: then its
//! request had no effect on what later ones answer.

mod client;

use std::fmt::Debug;
use std::future::Future;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use bytes::Bytes;
use forebay_client::{About, Change, Entry, Named, Standing};
use forebay_types::{
    BlockCapability, ByteCount, EntryName, ErrorKind, FileOffset, InodeId, ListingPosition, VersionDescriptor,
};
use thiserror::Error;

/// Why a question was not answered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct NamespaceError {
    /// What kind of thing went wrong.
    pub kind: ErrorKind,
    /// The sentence for a person.
    pub message: String,
}

/// The answer for one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The entry; `None` where there is no such name.
    pub entry: Option<Entry>,
    /// When the master was asked, which may be a while ago.
    pub asked: Instant,
    /// For how long that holds from then on.
    pub valid: Duration,
}

/// What an inode is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The entry.
    pub entry: Entry,
    /// When the master was asked, which may be a while ago.
    pub asked: Instant,
    /// For how long that holds from then on.
    pub valid: Duration,
}

/// Part of a directory, in the order of [`ListingPosition`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The entries, at most as many as were asked for.
    pub entries: Vec<Named>,
    /// No entries follow.
    pub complete: bool,
    /// When the master was asked, which may be a while ago.
    pub asked: Instant,
    /// For how long the entries hold from then on.
    pub valid: Duration,
}

/// Room and counts, for `df`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Room of all workers' tiers.
    pub capacity: ByteCount,
    /// What of it is used.
    pub used: ByteCount,
    /// Files known to the namespace.
    pub files: u64,
    /// Directories known to the namespace.
    pub directories: u64,
}

/// Where the bytes of a version would come from if they were read now and not by passthrough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReadSource {
    /// From a worker's file on this machine.
    ShortCircuit,
    /// From a worker, over the network.
    Remote,
    /// From the under-store, through a worker.
    UnderStore,
}

/// Names, attributes and bytes.
pub trait Namespace: Send + Sync + Debug + 'static {
    /// Reads one version.
    type Reader: VersionReader;
    /// A complete, verified file of this machine's cache that stays as it is while this lives.
    type Hold: HeldFile;
    /// What is in this machine's cache of a version, for a reader.
    type Lend: LentFile;
    /// Tells what changes.
    type Changes: Changes;

    /// Follows the changes from now on. While what is returned lives, answers may be granted for longer than they hold
    /// by themselves.
    fn follow_changes(&self) -> Self::Changes;

    /// What may be done with an answer that was asked for at `asked`.
    fn standing(&self, about: About, asked: Instant) -> Standing;

    /// What is remembered of directories, in bytes.
    fn remembered(&self) -> ByteCount;

    /// The entry of a name in a directory; remembered, or asked for.
    fn lookup(
        &self,
        parent: InodeId,
        name: &EntryName,
    ) -> impl Future<Output = Result<Found, NamespaceError>> + Send;

    /// The entry of an inode; remembered, or asked for.
    fn attributes(&self, inode: InodeId) -> impl Future<Output = Result<Described, NamespaceError>> + Send;

    /// The entry of an inode as it is now, whatever is remembered.
    fn ask_attributes(
        &self,
        inode: InodeId,
    ) -> impl Future<Output = Result<Described, NamespaceError>> + Send;

    /// Up to `limit` entries of a directory that stand after `after`; remembered, or asked for.
    fn list(
        &self,
        directory: InodeId,
        after: Option<&ListingPosition>,
        limit: usize,
    ) -> impl Future<Output = Result<Listed, NamespaceError>> + Send;

    /// The current version of a file with the right to read it, as fresh as an open must be.
    fn open(&self, inode: InodeId) -> impl Future<Output = Result<Described, NamespaceError>> + Send;

    /// Room and counts.
    fn room(&self) -> impl Future<Output = Result<Room, NamespaceError>> + Send;

    /// Reads one version of the file `inode`; made for each open handle. What of that version is at hand already
    /// is put to use.
    fn reader(
        &self,
        inode: InodeId,
        version: &VersionDescriptor,
        capability: &BlockCapability,
        at_hand: AtHand<Self::Hold, Self::Lend>,
    ) -> Self::Reader;

    /// Holds the version's file of this machine's cache; `None` where there is none that is complete, or where it may
    /// not be held now. An error: somebody else, or a newer capability, might get it.
    fn hold(
        &self,
        version: &VersionDescriptor,
        capability: &BlockCapability,
    ) -> impl Future<Output = Result<Option<Self::Hold>, NamespaceError>> + Send;

    /// What this machine's cache has of a version: a [`hold`](Self::hold), or else what is there of it. Errors as there.
    fn at_hand(
        &self,
        version: &VersionDescriptor,
        capability: &BlockCapability,
    ) -> impl Future<Output = Result<AtHand<Self::Hold, Self::Lend>, NamespaceError>> + Send;

    /// Waits until [`RestingFile::may_rest`] has become false for some.
    fn resting_wanted_back(&self) -> impl Future<Output = ()> + Send;

    /// Where the bytes of a file's current version would come from now, passthrough aside.
    fn source(&self, entry: &Entry) -> impl Future<Output = Result<ReadSource, NamespaceError>> + Send;

    /// Takes note that a file is opened, however it will be read. Waits for nothing.
    fn note_open(&self, inode: InodeId);

    /// Counts an open of a file of this length whose reads will not be seen.
    fn count_passthrough_open(&self, length: ByteCount);
}

/// What is known of a version's local files.
#[derive(Debug)]
pub enum AtHand<H, L> {
    /// All of it is here, held.
    Hold(H),
    /// Some of it is here, or all where it may not be held.
    Lend(L),
    /// Nothing is here.
    Nothing,
    /// Nobody was asked.
    Unasked,
}

/// Files of a version that is not complete, or may not be held.
pub trait LentFile: Send + Sync + Debug + 'static {
    /// How much of the version is in them.
    fn cached(&self) -> ByteCount;
}

/// A held file, open.
pub trait HeldFile: AsFd + Send + Sync + Debug + 'static {
    /// The same without the need of a descriptor.
    type Resting: RestingFile;

    /// Goes on holding for the kernel, which has the file open itself, or for the next open.
    fn rest(self) -> Self::Resting;
}

/// A held file that nobody reads through us. It may be dropped on any thread.
pub trait RestingFile: Send + Sync + Debug + 'static {
    /// Whether it may be kept while nobody has it open. Quick.
    fn may_rest(&self) -> bool;

    /// Whether nobody changed the file since it was known to be right. Asks the file system.
    fn is_unchanged(&self) -> bool;
}

/// Tells what changes in the namespace.
pub trait Changes: Send + 'static {
    /// What changed, and how long ago the first of it came about; waits until there is something.
    fn next(&mut self) -> impl Future<Output = (Vec<Change>, Duration)> + Send;
}

/// Reads one version.
pub trait VersionReader: Send + Sync + Debug + 'static {
    /// The bytes from `offset` on: exactly `length` of them, which the caller keeps within the version.
    fn read_at(
        &self,
        offset: FileOffset,
        length: ByteCount,
    ) -> impl Future<Output = Result<Bytes, NamespaceError>> + Send;
}
