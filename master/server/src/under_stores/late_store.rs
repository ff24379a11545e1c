//! An under-store that is connected when it is first asked, since what its options refer to may be slow to read.
//!
//! Whoever asks waits for that under a deadline of its own. A connection never changes; where the references lead to
//! something else by now, [`LateStore::renewed`] gives another store to put in this one's place.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use forebay_types::{FileOffset, Fingerprint, UnderStoreKey, UnderStoreUri};
use forebay_under_store::{
    ListedPage, ObjectStatus, PageToken, ReadStream, UnderStore, UnderStoreError, UnderStoreStatistics,
    connect,
};
use tokio::sync::{Notify, OnceCell, Semaphore};

use super::references::{References, Values};

/// The under-store of one mount.
pub(super) struct LateStore {
    uri: UnderStoreUri,
    /// Options that are given as they are, secrets opened.
    fixed: Values,
    /// Options that refer to something.
    references: Values,
    source: Arc<References>,
    /// One reading at a time, so that files which hang keep one thread.
    reading: Arc<Semaphore>,
    connected: OnceCell<Connected>,
    /// What was asked of a store that is not connected: nothing.
    untouched: Arc<UnderStoreStatistics>,
    /// Whether it refused what it was given since the references were read.
    is_refused: AtomicBool,
    /// Told of each refusal.
    refusals: Arc<Notify>,
}

struct Connected {
    store: Arc<dyn UnderStore>,
    followed: Values,
}

impl LateStore {
    pub(super) fn new(
        uri: UnderStoreUri,
        (fixed, references): (Values, Values),
        source: Arc<References>,
        refusals: Arc<Notify>,
    ) -> Self {
        Self {
            uri,
            fixed,
            references,
            source,
            reading: Arc::new(Semaphore::new(1)),
            connected: OnceCell::new(),
            untouched: Arc::default(),
            is_refused: AtomicBool::new(false),
            refusals,
        }
    }

    /// Whether there is something to read anew.
    pub(super) fn has_references(&self) -> bool {
        !self.references.is_empty()
    }

    /// Whether it refused what it was given since the references were read.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed)
    }

    /// Reads the references anew. The store by what they lead to now; `None` when that is the same, when nobody has
    /// asked this one yet, and while an earlier reading hangs. Cancel safe.
    ///
    /// # Errors
    /// `BadOption`; this store can be used on.
    pub(super) async fn renewed(&self) -> Result<Option<Self>, UnderStoreError> {
        let Some(connected) = self.connected.get() else { return Ok(None) };
        let Ok(place) = Arc::clone(&self.reading).try_acquire_owned() else { return Ok(None) };
        self.is_refused.store(false, Ordering::Relaxed);
        let followed = self.source.follow(&self.references, place).await?;
        if followed == connected.followed {
            return Ok(None);
        }
        let connected = OnceCell::new_with(Some(self.connect(followed)?));
        let options = (self.fixed.clone(), self.references.clone());
        let fresh =
            Self::new(self.uri.clone(), options, Arc::clone(&self.source), Arc::clone(&self.refusals));
        Ok(Some(Self { reading: Arc::clone(&self.reading), connected, ..fresh }))
    }

    fn connect(&self, followed: Values) -> Result<Connected, UnderStoreError> {
        let mut options = self.fixed.clone();
        options.extend(followed.clone());
        // Whoever mounts has added its own environment already; that of this process must not mix in.
        let store = connect(&self.uri, &options, &Values::new())?;
        Ok(Connected { store, followed })
    }

    async fn store(&self) -> Result<&Arc<dyn UnderStore>, UnderStoreError> {
        let first = async || {
            let place = Arc::clone(&self.reading).acquire_owned().await.expect("never closed");
            self.connect(self.source.follow(&self.references, place).await?)
        };
        Ok(&self.connected.get_or_try_init(first).await?.store)
    }

    /// Remembers a refusal that other credentials may end.
    fn noted<T>(&self, answer: Result<T, UnderStoreError>) -> Result<T, UnderStoreError> {
        if self.has_references() && answer.as_ref().is_err_and(is_refusal) {
            self.is_refused.store(true, Ordering::Relaxed);
            self.refusals.notify_one();
        }
        answer
    }
}

/// Whether an under-store refused the credentials, or may have. S3 answers 400 to a token that is over, to a HEAD
/// without a word of why.
fn is_refusal(error: &UnderStoreError) -> bool {
    matches!(
        error,
        UnderStoreError::Denied { .. }
            | UnderStoreError::NoCredentials { .. }
            | UnderStoreError::Refused { status: 400, .. }
    )
}

#[tonic::async_trait]
impl UnderStore for LateStore {
    fn uri(&self) -> &UnderStoreUri {
        &self.uri
    }

    fn statistics(&self) -> &Arc<UnderStoreStatistics> {
        self.connected.get().map_or(&self.untouched, |connected| connected.store.statistics())
    }

    async fn check(&self) -> Result<(), UnderStoreError> {
        self.noted(self.store().await?.check().await)
    }

    async fn list(
        &self,
        directory: &UnderStoreKey,
        page_token: Option<PageToken>,
    ) -> Result<ListedPage, UnderStoreError> {
        self.noted(self.store().await?.list(directory, page_token).await)
    }

    async fn stat(&self, key: &UnderStoreKey) -> Result<Option<ObjectStatus>, UnderStoreError> {
        self.noted(self.store().await?.stat(key).await)
    }

    async fn fingerprint(&self, key: &UnderStoreKey) -> Result<Option<Fingerprint>, UnderStoreError> {
        self.noted(self.store().await?.fingerprint(key).await)
    }

    async fn read(
        &self,
        key: &UnderStoreKey,
        range: Range<FileOffset>,
        expected: &Fingerprint,
    ) -> Result<ReadStream, UnderStoreError> {
        self.noted(self.store().await?.read(key, range, expected).await)
    }
}

impl fmt::Debug for LateStore {
    /// Shows no options, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LateStore").field("uri", &self.uri).finish_non_exhaustive()
    }
}
