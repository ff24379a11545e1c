//! The port to an under-store: what every adapter does, and what its caller may rely on.
//!
//! Reading only: the calls that change an under-store come with the write path. Every call is cancel safe: dropping
//! its future or stream ends the request and changes nothing.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use forebay_types::{
    EntryKind, EntryName, FileOffset, Fingerprint, ListingPosition, UnderStoreKey, UnderStoreUri,
};
use futures::stream::BoxStream;

use crate::error::UnderStoreError;
use crate::statistics::UnderStoreStatistics;

/// The bytes of one range as they arrive, in chunks of any length.
///
/// It yields exactly the range's length and then ends, or it yields an error and ends. Bytes that came before an error
/// belong to the version asked for as far as its tag (or, for a local file, its times) can tell.
pub type ReadStream = BoxStream<'static, Result<Bytes, UnderStoreError>>;

/// A directory of an under-store as a mount shows it. Keys are relative to the mount's URI.
#[async_trait]
pub trait UnderStore: fmt::Debug + Send + Sync + 'static {
    /// Where this under-store is.
    fn uri(&self) -> &UnderStoreUri;

    /// Its counters, which the owner may keep and turn into metrics.
    fn statistics(&self) -> &Arc<UnderStoreStatistics>;

    /// Whether it can be mounted: it is reached, exists, is a directory and may be listed.
    ///
    /// # Errors
    /// [`UnderStoreError`] that says what a person has to do.
    async fn check(&self) -> Result<(), UnderStoreError>;

    /// One page of the entries of one directory, at most
    /// [`LISTING_PAGE_MAX`](crate::limits::LISTING_PAGE_MAX) of them, in no promised order; possibly none although
    /// more follow. `page_token` is the previous page's `next`, `None` to begin.
    ///
    /// Where an object `a` and objects below `a/` both exist, the directory `a` is shown and the object is counted as
    /// skipped, as is each entry whose name is no legal [`EntryName`] and each that is neither file, directory nor
    /// symbolic link.
    ///
    /// # Errors
    /// `NotFound` or `NotADirectory`, and what a request can meet. A listing that fails begins anew; one that does not
    /// is complete when `next` is `None`.
    async fn list(
        &self,
        directory: &UnderStoreKey,
        page_token: Option<PageToken>,
    ) -> Result<ListedPage, UnderStoreError>;

    /// What is at `key`: a directory when there is one, even if there is an object of that name too. `None` when there
    /// is nothing. On S3 this costs a listing of one key beside the HEAD.
    ///
    /// # Errors
    /// What a request can meet.
    async fn stat(&self, key: &UnderStoreKey) -> Result<Option<ObjectStatus>, UnderStoreError>;

    /// The fingerprint of the file at this very key, by the cheapest request there is (one HEAD); `None` when there is
    /// no file. For a name that is known to be a file, and to see whether it is still the same version.
    ///
    /// # Errors
    /// What a request can meet.
    async fn fingerprint(&self, key: &UnderStoreKey) -> Result<Option<Fingerprint>, UnderStoreError>;

    /// Streams `range` of the version `expected` of the file at `key`. A range of no bytes still checks the version.
    ///
    /// The stream may keep one of the under-store's places for requests until it ended or is dropped: do not wait for
    /// another request while holding many streams.
    ///
    /// # Errors
    /// `Changed` when the file is another version now, or gone; later, in the stream, `Changed`, `CutShort` and
    /// `TooLong`. `IllegalRange` beyond the version's length.
    async fn read(
        &self,
        key: &UnderStoreKey,
        range: Range<FileOffset>,
        expected: &Fingerprint,
    ) -> Result<ReadStream, UnderStoreError>;
}

/// What an under-store says of one file, directory or symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectStatus {
    /// What it is.
    pub kind: EntryKind,
    /// Its identity. Always there for a file; for a directory or symbolic link where it has times of its own.
    pub fingerprint: Option<Fingerprint>,
    /// Permission bits (at most `0o7777`), where it has some.
    pub mode: Option<u32>,
    /// Numeric owner, where it has one.
    pub uid: Option<u32>,
    /// Numeric group, where it has one.
    pub gid: Option<u32>,
    /// Where a symbolic link leads, as it was written; never followed here.
    pub symlink_target: Option<Vec<u8>>,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// Its name in the directory.
    pub name: EntryName,
    /// What it is.
    pub status: ObjectStatus,
}

/// One page of a listing.
#[derive(Debug)]
pub struct ListedPage {
    /// The entries; each name at most once in a listing.
    pub entries: Vec<ListedObject>,
    /// What to ask the next page with; `None` on the last.
    pub next: Option<PageToken>,
    /// Entries of this page that cannot be shown: names that are not legal, files hidden by a directory of their name,
    /// sockets and the like.
    pub skipped: u64,
    /// Every entry up to here was in this page or in an earlier one. `None` where that is not known, as of an under-store
    /// that lists in no order.
    pub passed: Option<ListingPosition>,
    /// Of the first page: what the listed directory itself is, where the under-store
    /// [has owners](crate::has_owners).
    pub directory: Option<ObjectStatus>,
}

/// The place in a listing where its next page begins. It belongs to the under-store and directory that gave it, is used
/// once, and may hold an open directory: drop it when the listing is given up.
pub struct PageToken(Box<dyn Any + Send>);

impl ObjectStatus {
    /// A directory of which nothing more is known.
    #[must_use]
    pub const fn plain_directory() -> Self {
        Self {
            kind: EntryKind::Directory,
            fingerprint: None,
            mode: None,
            uid: None,
            gid: None,
            symlink_target: None,
        }
    }

    /// A file of which only the identity is known.
    #[must_use]
    pub const fn plain_file(fingerprint: Fingerprint) -> Self {
        Self {
            kind: EntryKind::File,
            fingerprint: Some(fingerprint),
            mode: None,
            uid: None,
            gid: None,
            symlink_target: None,
        }
    }
}

impl PageToken {
    /// Wraps an adapter's own place in a listing.
    pub fn new<T: Any + Send>(place: T) -> Self {
        Self(Box::new(place))
    }

    /// The adapter's own place again; `None` when another adapter made it.
    #[must_use]
    pub fn into_place<T: Any>(self) -> Option<T> {
        self.0.downcast().ok().map(|place| *place)
    }
}

impl fmt::Debug for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageToken").finish_non_exhaustive()
    }
}
