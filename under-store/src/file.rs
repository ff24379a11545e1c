//! The adapter for a directory of the machine: `file:///dir`, at the same path on every master and worker.
//!
//! It never follows a symbolic link below the root and never leaves it; a link is shown as a link. All system calls
//! run on tokio's blocking threads, at most `concurrency` at once. The root is opened anew for each call, so that a
//! file system mounted over it later is seen; when the root itself is missing, that is an error, never an empty mount.

mod listing;
mod own_mounts;
mod place;
mod reading;
mod status;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use forebay_types::{EntryKind, FileOffset, Fingerprint, UnderStoreKey, UnderStoreUri};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;

use crate::error::UnderStoreError;
use crate::key::{check_key, check_range};
use crate::limits::CHECK_BUDGET;
use crate::options;
use crate::port::{ListedPage, ObjectStatus, PageToken, ReadStream, UnderStore};
use crate::statistics::{RequestKind, UnderStoreStatistics};

use listing::OpenListing;
use place::Place;
use reading::OpenRead;

/// A directory as an under-store.
#[derive(Debug)]
pub(crate) struct FileUnderStore {
    uri: UnderStoreUri,
    pool: BlockingPool,
}

/// The right to run system calls, shared by the under-store and its streams.
#[derive(Clone, Debug)]
struct BlockingPool {
    permits: Arc<Semaphore>,
    statistics: Arc<UnderStoreStatistics>,
}

impl FileUnderStore {
    pub(crate) fn new(
        uri: &UnderStoreUri,
        options: &BTreeMap<String, String>,
    ) -> Result<Self, UnderStoreError> {
        let permits = Arc::new(Semaphore::new(options::concurrency(options)?));
        Ok(Self { uri: uri.clone(), pool: BlockingPool { permits, statistics: Arc::default() } })
    }

    fn place(&self, key: &UnderStoreKey) -> Result<Place, UnderStoreError> {
        check_key(&self.uri, key)?;
        Ok(Place::new(&self.uri, key))
    }
}

impl BlockingPool {
    /// Runs `work` on a blocking thread. When the caller gives up, the work still ends, and with it its place.
    async fn run<T: Send + 'static>(
        &self,
        object: &str,
        work: impl FnOnce() -> Result<T, UnderStoreError> + Send + 'static,
    ) -> Result<T, UnderStoreError> {
        let stopping = || UnderStoreError::Stopping { object: object.to_owned() };
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| stopping())?;
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        let result = match task.await {
            Ok(result) => result,
            Err(failure) if failure.is_panic() => std::panic::resume_unwind(failure.into_panic()),
            Err(_) => Err(stopping()),
        };
        if result.as_ref().is_err_and(|error| !matches!(error, UnderStoreError::Changed { .. })) {
            self.statistics.count_error();
        }
        result
    }

    /// As [`Self::run`], but waits only so long: a file system whose server is away may hold a call for ever.
    async fn run_within<T: Send + 'static>(
        &self,
        budget: Duration,
        object: &str,
        work: impl FnOnce() -> Result<T, UnderStoreError> + Send + 'static,
    ) -> Result<T, UnderStoreError> {
        tokio::time::timeout(budget, self.run(object, work)).await.unwrap_or_else(|_| {
            self.statistics.count_error();
            Err(UnderStoreError::TimedOut { object: object.to_owned(), after: budget })
        })
    }
}

#[async_trait]
impl UnderStore for FileUnderStore {
    fn uri(&self) -> &UnderStoreUri {
        &self.uri
    }

    fn statistics(&self) -> &Arc<UnderStoreStatistics> {
        &self.pool.statistics
    }

    async fn check(&self) -> Result<(), UnderStoreError> {
        self.pool.statistics.count_request(RequestKind::List);
        let place = self.place(&UnderStoreKey::default())?;
        let object = place.object().to_owned();
        let look = move || {
            let listing = OpenListing::begin(place)?;
            listing.refuse_own_mount()?;
            listing.page_of(1).map(drop)
        };
        self.pool.run_within(CHECK_BUDGET, &object, look).await
    }

    async fn list(
        &self,
        directory: &UnderStoreKey,
        page_token: Option<PageToken>,
    ) -> Result<ListedPage, UnderStoreError> {
        self.pool.statistics.count_request(RequestKind::List);
        let place = self.place(directory)?;
        let object = place.object().to_owned();
        let open = match page_token.map(PageToken::into_place::<OpenListing>) {
            None => None,
            Some(Some(open)) if open.is_of(&place) => Some(open),
            Some(_) => return Err(UnderStoreError::ForeignPageToken { object }),
        };
        let work = move || {
            if let Some(open) = open {
                return open.page();
            }
            let open = OpenListing::begin(place)?;
            let directory = open.status()?;
            Ok(ListedPage { directory, ..open.page()? })
        };
        self.pool.run(&object, work).await
    }

    async fn stat(&self, key: &UnderStoreKey) -> Result<Option<ObjectStatus>, UnderStoreError> {
        self.pool.statistics.count_request(RequestKind::Head);
        let place = self.place(key)?;
        let object = place.object().to_owned();
        self.pool.run(&object, move || place.status()).await
    }

    async fn fingerprint(&self, key: &UnderStoreKey) -> Result<Option<Fingerprint>, UnderStoreError> {
        let status = self.stat(key).await?.filter(|status| status.kind == EntryKind::File);
        Ok(status.and_then(|status| status.fingerprint))
    }

    async fn read(
        &self,
        key: &UnderStoreKey,
        range: Range<FileOffset>,
        expected: &Fingerprint,
    ) -> Result<ReadStream, UnderStoreError> {
        self.pool.statistics.count_request(RequestKind::Get);
        let place = self.place(key)?;
        let range = check_range(place.object(), &range, expected)?;
        let (object, expected) = (place.object().to_owned(), expected.clone());
        // The first chunk is read in the same visit to a blocking thread as the open: a small file costs one.
        let work = move || OpenRead::begin(place, range, expected)?.next_chunk();
        let (first, open) = self.pool.run(&object, work).await?;
        let statistics = Arc::clone(&self.pool.statistics);
        let first = stream::iter((!first.is_empty()).then_some(Ok(first)));
        let rest = stream::try_unfold((open, self.pool.clone()), async |(open, pool)| {
            if open.is_at_end() {
                return Ok(None);
            }
            let object = open.object().to_owned();
            let (chunk, open) = pool.run(&object, move || open.next_chunk()).await?;
            Ok(Some((chunk, (open, pool))))
        });
        let counted = first.chain(rest).inspect_ok(move |chunk| statistics.count_read_bytes(chunk.len()));
        Ok(Box::pin(counted))
    }
}
