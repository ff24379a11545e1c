//! Fetches missing pages from under-stores, each page once however many readers wait, and stores them on the way.
//!
//! A page that is being fetched stands in the table from before the first reader can ask for it until after it is
//! stored, so a reader finds it either there or in the store. A fetch goes on when its readers have gone: its pages
//! were asked for, and others may have joined. Lock order: the table, then the store's own lock.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use forebay_block_store::{Demand, PageIndex, PageRange};
use forebay_runtime::Stage;
use forebay_types::{ErrorKind, FileId, FileOffset, PAGE_LENGTH};
use forebay_under_store::{ReadStream, UnderStore, UnderStoreError};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tracing::Instrument;

use crate::accounting::{FillLog, MountShares};
use crate::cache::{Cache, Room};
use crate::error::ReadError;
use crate::limits::{FETCH_PAGES_MAX, PAGE_DEADLINE, READ_PIECE_MAX};
use crate::metrics::{FetchOutcome, Metrics};
use crate::version::Version;

/// A page on its way.
#[derive(Clone, Debug)]
pub(crate) enum PageState {
    /// It was asked for.
    Coming,
    /// Its bytes.
    Here(Bytes),
    /// It does not come.
    Lost(Loss),
}

/// Why a page does not come.
#[derive(Clone, Debug)]
pub(crate) enum Loss {
    /// The cache has no room for it: whoever needs it fetches it without storing it.
    NoRoom,
    /// The fetch failed.
    Failed(ReadError),
}

/// Says after a fetch why a page did not come; empty while it may, and when it did. Unlike the page itself it holds no
/// bytes, so whoever looks for the page later may keep it.
pub(crate) type LossNote = Arc<OnceLock<Loss>>;

/// A page that somebody waits for.
#[derive(Debug)]
pub(crate) struct Awaited {
    pub(crate) page: PageIndex,
    pub(crate) coming: watch::Receiver<PageState>,
    pub(crate) loss: LossNote,
    /// It was asked for just now, by this very call.
    pub(crate) is_own: bool,
}

type Table = HashMap<(FileId, PageIndex), (watch::Receiver<PageState>, LossNote)>;

/// The fetches of a worker.
#[derive(Debug)]
pub(crate) struct Fetches {
    cache: Cache,
    fills: Arc<FillLog>,
    shares: Arc<MountShares>,
    metrics: Arc<Metrics>,
    places: Semaphore,
    table: Mutex<Table>,
    stage: Stage,
}

/// The pages of one request to an under-store that did not come yet. Those that are left when it is dropped leave
/// the table; their readers see that nobody brings them any more.
#[derive(Debug)]
struct Flight {
    fetches: Arc<Fetches>,
    version: Arc<Version>,
    /// Of whoever asked first. A load that joins a read and finds that it was not stored asks again for itself.
    demand: Demand,
    pages: VecDeque<Expected>,
}

/// A page that a request will bring, and where its readers hear of it.
#[derive(Debug)]
struct Expected {
    page: PageIndex,
    sender: watch::Sender<PageState>,
    loss: LossNote,
}

/// The bytes of an under-store, cut anew.
struct Incoming {
    stream: ReadStream,
    rest: Bytes,
}

impl Fetches {
    /// No fetches, of which `places` may be under way at once; their tasks will belong to `stage`.
    pub(crate) fn new(
        cache: Cache,
        fills: Arc<FillLog>,
        shares: Arc<MountShares>,
        metrics: Arc<Metrics>,
        places: usize,
        stage: Stage,
    ) -> Arc<Self> {
        let places = Semaphore::new(places);
        Arc::new(Self { cache, fills, shares, metrics, places, table: Mutex::default(), stage })
    }

    /// The page, if it is on its way.
    pub(crate) fn coming(&self, file: FileId, page: PageIndex) -> Option<watch::Receiver<PageState>> {
        self.table.lock().get(&(file, page)).map(|(coming, _)| coming.clone())
    }

    /// Begins to fetch those of `pages` that are neither here nor on their way. Gives all that are on their way now, so
    /// that nobody who waits for them misses how they end.
    pub(crate) fn begin(
        self: &Arc<Self>,
        version: &Arc<Version>,
        pages: PageRange,
        demand: Demand,
    ) -> Vec<Awaited> {
        let file = version.file();
        let mut table = self.table.lock();
        let missing = self.cache.missing(version, pages);
        let is_here = |page| !missing.contains(&page);
        let mut flights: Vec<Flight> = Vec::new();
        let mut run_goes_on = false;
        let mut awaited = Vec::new();
        for page in pages.iter() {
            let joined = table.get(&(file, page)).cloned();
            if joined.is_some() || is_here(page) {
                awaited.extend(joined.map(|(coming, loss)| Awaited { page, coming, loss, is_own: false }));
                run_goes_on = false;
                continue;
            }
            let (sender, receiver) = watch::channel(PageState::Coming);
            let loss = LossNote::default();
            awaited.push(Awaited { page, coming: receiver.clone(), loss: Arc::clone(&loss), is_own: true });
            table.insert((file, page), (receiver, Arc::clone(&loss)));
            let expected = Expected { page, sender, loss };
            match flights.last_mut() {
                Some(flight) if run_goes_on && flight.pages.len() < FETCH_PAGES_MAX as usize => {
                    flight.pages.push_back(expected);
                }
                _ => {
                    let (fetches, version) = (Arc::clone(self), Arc::clone(version));
                    flights.push(Flight { fetches, version, demand, pages: VecDeque::from([expected]) });
                }
            }
            run_goes_on = true;
        }
        drop(table);
        for flight in flights {
            // Its log lines belong to the request that asked first.
            self.spawn(flight.run().in_current_span());
        }
        awaited
    }

    /// Runs a task beside the fetches, which ends with them.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.stage.token();
        self.stage.spawn(async move { token.run_until_cancelled_owned(task).await });
    }

    /// Fetches `begin..end`, at most `UNCACHED_FETCH_LENGTH`, without storing it. In pieces of at most
    /// [`READ_PIECE_MAX`].
    pub(crate) async fn uncached(
        &self,
        version: &Version,
        begin: u64,
        end: u64,
    ) -> Result<Vec<Bytes>, ReadError> {
        let _place = self.places.acquire().await.map_err(|_| ReadError::Stopping)?;
        let fetch = async {
            version.mount.may_ask()?;
            let mut incoming = self.open(version, begin, end).await?;
            let mut pieces = Vec::new();
            let mut position = begin;
            while position < end {
                let length = READ_PIECE_MAX.min(end - position);
                pieces.push(incoming.take(version, position, length).await?);
                position += length;
            }
            incoming.finish(version, end).await?;
            Ok(pieces)
        };
        let fetched = fetch.await;
        self.metrics.fetch_ended(fetched.as_ref().err().map_or(FetchOutcome::Uncached, outcome_of));
        fetched
    }

    /// Asks the under-store for `begin..end`; a second time, with the options of the mount read anew, if it refuses the
    /// first and they have changed: a secret may have been rotated.
    async fn open(&self, version: &Version, begin: u64, end: u64) -> Result<Incoming, ReadError> {
        let mount = &version.mount;
        let under_store = mount.under_store();
        let opened = Incoming::open(&*under_store, version, begin, end).await;
        match opened {
            Err(ReadError::UnderStore(error))
                if is_of_credentials(&error) && mount.renew(&under_store, self.cache.disk()).await =>
            {
                Incoming::open(&*mount.under_store(), version, begin, end).await
            }
            opened => opened,
        }
    }
}

/// Whether other credentials may help.
fn is_of_credentials(error: &UnderStoreError) -> bool {
    error.kind() == ErrorKind::PermissionDenied
}

fn outcome_of(error: &ReadError) -> FetchOutcome {
    match error {
        ReadError::UnderStore(error) if matches!(**error, UnderStoreError::Changed { .. }) => {
            FetchOutcome::Changed
        }
        ReadError::InMaintenance { .. } => FetchOutcome::Refused,
        _ => FetchOutcome::Failed,
    }
}

impl Flight {
    async fn run(mut self) {
        let outcome = match self.fetch().await {
            Ok(true) => FetchOutcome::Stored,
            Ok(false) => {
                self.end_rest(&Loss::NoRoom);
                FetchOutcome::NoRoom
            }
            Err(error) => {
                let outcome = outcome_of(&error);
                let mount = self.version.mount.id;
                let first = self.pages.front().map(|expected| expected.page.offset().get());
                let block = first.and_then(|offset| self.version.block_at(offset));
                match outcome {
                    FetchOutcome::Changed => {
                        // Whoever reads tells the master.
                        tracing::debug!(block, %mount, %error, "a version was replaced before it was cached");
                    }
                    // Somebody wanted it so.
                    FetchOutcome::Refused => {
                        tracing::debug!(block, %mount, "nothing is fetched in maintenance")
                    }
                    _ => tracing::warn!(block, %mount, %error, "a fetch from the under-store failed"),
                }
                self.end_rest(&Loss::Failed(error));
                outcome
            }
        };
        self.fetches.metrics.fetch_ended(outcome);
    }

    /// Whether all pages came; false when there was no room for the first.
    async fn fetch(&mut self) -> Result<bool, ReadError> {
        let (fetches, version) = (Arc::clone(&self.fetches), Arc::clone(&self.version));
        let _place = fetches.places.acquire().await.map_err(|_| ReadError::Stopping)?;
        version.mount.may_ask()?;
        let (Some(first), Some(last)) = (self.pages.front(), self.pages.back()) else { return Ok(true) };
        let (first, last) = (first.page, last.page);
        let mut room = fetches.cache.reserve(&version, first, self.demand).await?;
        if matches!(room, Room::None) {
            return Ok(false);
        }
        fetches.shares.filled_through(version.file(), version.mount.id);
        let end = version.page_end(last);
        let mut incoming = fetches.open(&version, first.offset().get(), end).await?;
        while let Some(Expected { page, sender, .. }) = self.pages.front() {
            let page = *page;
            let begin = page.offset().get();
            let length = version.page_end(page) - begin;
            let bytes = incoming.take(&version, begin, length).await?;
            if page == last {
                incoming.finish(&version, end).await?;
            }
            // Before anybody finds the page in the cache and asks whether it is a hit.
            fetches.fills.record(version.file(), page);
            let next = (page != last).then(|| (PageIndex::new(page.get() + 1), self.demand));
            room = fetches.cache.store_page(&version, room, bytes.clone(), next).await?;
            // Only now: whoever was served can count on what is cached.
            fetches.table.lock().remove(&(version.file(), page));
            sender.send_replace(PageState::Here(bytes));
            self.pages.pop_front();
        }
        Ok(true)
    }

    /// Tells the readers of all pages that did not come what became of them.
    fn end_rest(&mut self, loss: &Loss) {
        let mut table = self.fetches.table.lock();
        for Expected { page, sender, loss: note } in self.pages.drain(..) {
            // Before the page leaves the table: whoever does not find it there any more finds the note.
            note.set(loss.clone()).expect("a page is lost once");
            table.remove(&(self.version.file(), page));
            sender.send_replace(PageState::Lost(loss.clone()));
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.end_rest(&Loss::Failed(ReadError::Stopping));
    }
}

impl Incoming {
    async fn open(
        under_store: &dyn UnderStore,
        version: &Version,
        begin: u64,
        end: u64,
    ) -> Result<Self, ReadError> {
        let range = FileOffset::new(begin)..FileOffset::new(end);
        let (key, fingerprint) = (&version.descriptor.key, &version.descriptor.fingerprint);
        let asked = under_store.read(key, range, fingerprint);
        let stream = within(version, begin, asked).await??;
        Ok(Self { stream, rest: Bytes::new() })
    }

    /// The next `length` bytes, which are those at `position`.
    async fn take(&mut self, version: &Version, position: u64, length: u64) -> Result<Bytes, ReadError> {
        let length = usize::try_from(length).expect("at most a page");
        let mut gathered = BytesMut::new();
        loop {
            let missing = length - gathered.len();
            if self.rest.len() >= missing {
                let part = self.rest.split_to(missing);
                if gathered.is_empty() {
                    return Ok(part);
                }
                gathered.extend_from_slice(&part);
                return Ok(gathered.freeze());
            }
            if !self.rest.is_empty() {
                gathered.reserve(missing);
                gathered.extend_from_slice(&self.rest);
            }
            self.rest = within(version, position, self.stream.next())
                .await?
                .ok_or_else(|| cut_short(version, position))??;
        }
    }

    /// Sees the stream to its end: only then is it known that no more and nothing else came.
    async fn finish(&mut self, version: &Version, end: u64) -> Result<(), ReadError> {
        match within(version, end.saturating_sub(1), self.stream.next()).await? {
            None if self.rest.is_empty() => Ok(()),
            Some(Err(error)) => Err(error.into()),
            _ => Err(UnderStoreError::TooLong {
                object: version.object(),
                expected: version.descriptor.fingerprint.length,
            }
            .into()),
        }
    }
}

/// The port promises an error where a stream ends early; this is for an adapter that breaks the promise.
fn cut_short(version: &Version, position: u64) -> ReadError {
    UnderStoreError::CutShort {
        object: version.object(),
        expected: version.descriptor.fingerprint.length,
        received: forebay_types::ByteCount::new(position),
        reason: "the stream ended without a word".to_owned(),
    }
    .into()
}

async fn within<T>(version: &Version, position: u64, wait: impl Future<Output = T>) -> Result<T, ReadError> {
    const DEADLINE: Duration = PAGE_DEADLINE;
    tokio::time::timeout(DEADLINE, wait).await.map_err(|_| ReadError::TimedOut {
        file: version.file(),
        page: u32::try_from(position / PAGE_LENGTH).unwrap_or(u32::MAX),
        seconds: DEADLINE.as_secs(),
    })
}
