//! Brings the missing pages of a range into the cache without serving them, for whoever wants to read them later.
//!
//! Reads come first: loads may use a part of the places for fetches only, and take one before a page enters the table
//! of those on their way, so no reader ever waits behind a load that waits for its turn. What is not in the cache at
//! the end is an error, never a silent pass without it.

use std::collections::BTreeSet;
use std::sync::Arc;

use forebay_block_store::{Demand, PageIndex, PageRange};
use forebay_types::{AdmissionRule, PAGE_LENGTH};
use forebay_under_store::UnderStoreError;
use futures::stream::{self, BoxStream, FuturesUnordered};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::Semaphore;

use crate::cache::Cache;
use crate::error::ReadError;
use crate::fetches::{Awaited, Fetches, Loss, PageState};
use crate::limits::{
    BACKOFF, FETCH_PAGES_MAX, LOAD_FETCHES_PER_CALL_MAX, LOAD_ROUNDS_MAX, PAGE_ATTEMPTS_MAX, PAGE_DEADLINE,
};
use crate::metrics::Metrics;
use crate::retry::Backoff;
use crate::version::Version;

/// How far a load is; a later value replaces an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Bytes of the range that are known to be here.
    pub(crate) cached: u64,
    /// Bytes that this load fetched.
    pub(crate) fetched: u64,
    /// Bytes that were not here when they were asked for.
    pub(crate) missing: u64,
    /// All of the range is here.
    pub(crate) is_complete: bool,
}

/// The loads of a worker.
#[derive(Debug)]
pub(crate) struct Loads {
    cache: Cache,
    fetches: Arc<Fetches>,
    metrics: Arc<Metrics>,
    /// Fetches that all loads together may have under way.
    places: Semaphore,
}

/// Pages of one request to the under-store.
struct Group {
    first: u32,
    end: u32,
    attempts: u32,
    backoff: Backoff,
    loaded: Loaded,
}

impl Loads {
    /// No loads, of whose fetches `places` may be under way at once.
    pub(crate) fn new(
        cache: Cache,
        fetches: Arc<Fetches>,
        metrics: Arc<Metrics>,
        places: usize,
    ) -> Arc<Self> {
        Arc::new(Self { cache, fetches, metrics, places: Semaphore::new(places) })
    }

    /// Loads the pages of `range`, cut at the version's end, whatever the mount wants cached: the master leaves out what it
    /// does not. A guess brings no more than a read would store. Tells how far it is after each part. Ends with a value
    /// that is complete, or an error; what is stored is what `demand` has room for. Dropping the stream ends the load; what
    /// it asked for is still stored.
    pub(crate) fn load(
        self: Arc<Self>,
        version: Arc<Version>,
        range: std::ops::Range<u64>,
        demand: Demand,
    ) -> BoxStream<'static, Result<Loaded, ReadError>> {
        let end = range.end.min(version.length());
        if demand == Demand::Read
            && let Err(error) = may_guess(&version)
        {
            return stream::once(futures::future::ready(Err(error))).boxed();
        }
        if version.length() == 0 || range.start >= end {
            return stream::once(self.finish(version, range.start..end, Loaded::default())).boxed();
        }
        let groups = groups(range.start, end).map(Ok);
        let (loads, of) = (Arc::clone(&self), Arc::clone(&version));
        let parts = stream::iter(groups)
            .map_ok(move |group| Arc::clone(&loads).load_group(Arc::clone(&of), group, demand))
            .try_buffer_unordered(LOAD_FETCHES_PER_CALL_MAX)
            .scan(Loaded::default(), |sum, part| {
                let part = part.map(|part: Loaded| {
                    sum.cached += part.cached;
                    sum.fetched += part.fetched;
                    sum.missing += part.missing;
                    *sum
                });
                futures::future::ready(Some(part))
            });
        // The last part's sum is kept for the end, which looks once more whether all is here.
        let state = (parts.boxed(), Loaded::default(), false);
        stream::try_unfold(state, move |(mut parts, sum, is_over)| {
            let (loads, version) = (Arc::clone(&self), Arc::clone(&version));
            async move {
                if is_over {
                    return Ok(None);
                }
                match parts.try_next().await? {
                    Some(sum) => Ok(Some((sum, (parts, sum, false)))),
                    None => {
                        let whole = loads.finish(version, range.start..end, sum).await?;
                        Ok(Some((whole, (parts, sum, true))))
                    }
                }
            }
        })
        .boxed()
    }

    /// Looks whether all of the range is here. What was evicted since it came is an error: there is no room for it.
    async fn finish(
        self: Arc<Self>,
        version: Arc<Version>,
        range: std::ops::Range<u64>,
        sum: Loaded,
    ) -> Result<Loaded, ReadError> {
        if version.length() == 0 {
            self.cache.store_empty(&version).await?;
            let is_here =
                self.cache.store().presence(&version.source()).is_some_and(|presence| presence.is_complete);
            return match is_here {
                true => Ok(Loaded { is_complete: true, ..sum }),
                false => Err(ReadError::NotKept { file: version.file(), page: 0 }),
            };
        }
        let pages = page_number(range.start)..page_number(range.end.saturating_add(PAGE_LENGTH - 1));
        match self.missing(&version, pages).first() {
            None => {
                self.metrics.loaded(sum.cached - sum.fetched.min(sum.cached), sum.fetched);
                Ok(Loaded { is_complete: true, ..sum })
            }
            Some(page) => Err(ReadError::NotKept { file: version.file(), page: *page }),
        }
    }

    async fn load_group(
        self: Arc<Self>,
        version: Arc<Version>,
        mut group: Group,
        demand: Demand,
    ) -> Result<Loaded, ReadError> {
        let length = |page: u32| {
            let page = PageIndex::new(page);
            version.page_end(page) - page.offset().get()
        };
        for round in 0..=LOAD_ROUNDS_MAX {
            let missing = self.missing(&version, group.first..group.end);
            if round == 0 {
                group.loaded.missing = missing.iter().map(|page| length(*page)).sum();
            }
            let Some(run) = first_run(&missing) else {
                group.loaded.cached = (group.first..group.end).map(length).sum();
                return Ok(group.loaded);
            };
            let outcome = self.fetch(&version, run, demand, &mut group.loaded).await?;
            let still_missing = self.missing(&version, run.first.get()..run.first.get() + run.count);
            let Some(page) = still_missing.first() else { continue };
            // A request that brought something was no failure: the next one goes on where it ended.
            let is_progress = still_missing.len() < run.count as usize;
            group.attempts = if is_progress { 1 } else { group.attempts + 1 };
            match outcome {
                Some(error)
                    if demand == Demand::Read
                        || group.attempts >= PAGE_ATTEMPTS_MAX
                        || !is_worth_another_try(&error) =>
                {
                    // On a guess nothing is tried twice.
                    return Err(error);
                }
                None if group.attempts >= PAGE_ATTEMPTS_MAX => {
                    return Err(ReadError::NotKept { file: version.file(), page: *page });
                }
                _ => tokio::time::sleep(group.backoff.pause()).await,
            }
        }
        Err(ReadError::NotKept { file: version.file(), page: group.first })
    }

    /// Asks for a run of pages and waits for how they end: with an error, or all were brought. Lets go of each page as
    /// soon as it came, in whatever order, so that a load holds no bytes.
    async fn fetch(
        &self,
        version: &Arc<Version>,
        run: PageRange,
        demand: Demand,
        loaded: &mut Loaded,
    ) -> Result<Option<ReadError>, ReadError> {
        let file = version.file();
        let _place = self.places.acquire().await.map_err(|_| ReadError::Stopping)?;
        let mut open: BTreeSet<PageIndex> = BTreeSet::new();
        let mut coming = FuturesUnordered::new();
        for awaited in self.fetches.begin(version, run, demand) {
            open.insert(awaited.page);
            coming.push(ended(awaited));
        }
        while let Some(page) = open.first().map(|page| page.get()) {
            let Ok(next) = tokio::time::timeout(PAGE_DEADLINE, coming.next()).await else {
                let seconds = PAGE_DEADLINE.as_secs();
                return Ok(Some(ReadError::TimedOut { file, page, seconds }));
            };
            let (page, outcome) = next.expect("a page that is open is coming");
            open.remove(&page);
            match outcome? {
                Ok(fetched) => loaded.fetched += fetched,
                Err(Loss::NoRoom) => return Ok(Some(ReadError::NotKept { file, page: page.get() })),
                Err(Loss::Failed(error)) => return Ok(Some(error)),
            }
        }
        Ok(None)
    }

    /// Which of some pages are not here.
    fn missing(&self, version: &Version, pages: std::ops::Range<u32>) -> Vec<u32> {
        let pages =
            PageRange { first: PageIndex::new(pages.start), count: pages.end.saturating_sub(pages.start) };
        self.cache.missing(version, pages).into_iter().map(PageIndex::get).collect()
    }
}

/// Whether what nobody has asked for may be brought.
fn may_guess(version: &Version) -> Result<(), ReadError> {
    let (file, admission) = (version.file(), version.mount.admission());
    version.judge(&admission).map_err(|reason| ReadError::NotAdmitted { file, reason })?;
    // Whoever is ahead of a reader reads in order.
    (admission.rule != AdmissionRule::Random).then_some(()).ok_or(ReadError::NotInOrder(file))
}

/// Waits for how a page ends. Its bytes, where this load asked for it: what others had asked for is theirs to count.
async fn ended(awaited: Awaited) -> (PageIndex, Result<Result<u64, Loss>, ReadError>) {
    let Awaited { page, mut coming, is_own, .. } = awaited;
    let state = coming.wait_for(|state| !matches!(state, PageState::Coming)).await;
    let outcome = match state.as_deref() {
        Ok(PageState::Here(bytes)) if is_own => Ok(Ok(bytes.len() as u64)),
        Ok(PageState::Here(_) | PageState::Coming) => Ok(Ok(0)),
        Ok(PageState::Lost(loss)) => Ok(Err(loss.clone())),
        Err(_) => Err(ReadError::Stopping),
    };
    (page, outcome)
}

/// The groups of pages that requests are made for, aligned, so that two loads of one file ask for the same groups.
fn groups(begin: u64, end: u64) -> impl Iterator<Item = Group> + Send {
    let (first, last) = (page_number(begin), page_number(end.saturating_add(PAGE_LENGTH - 1)));
    let starts = (first / FETCH_PAGES_MAX * FETCH_PAGES_MAX..last).step_by(FETCH_PAGES_MAX as usize);
    starts.map(move |start| Group {
        first: start.max(first),
        end: (start + FETCH_PAGES_MAX).min(last),
        attempts: 0,
        backoff: Backoff::new(BACKOFF),
        loaded: Loaded::default(),
    })
}

fn page_number(offset: u64) -> u32 {
    u32::try_from(offset / PAGE_LENGTH).expect("a file has fewer pages than 2^32")
}

/// The pages from the first one on that follow each other.
fn first_run(missing: &[u32]) -> Option<PageRange> {
    let first = *missing.first()?;
    let count = (first..).zip(missing).take_while(|(expected, page)| expected == *page).count();
    Some(PageRange { first: PageIndex::new(first), count: u32::try_from(count).expect("at most a group") })
}

/// Whether only this one request broke, or room may come free, so that the next one may well fare better.
fn is_worth_another_try(error: &ReadError) -> bool {
    match error {
        ReadError::UnderStore(error) => matches!(**error, UnderStoreError::CutShort { .. }),
        ReadError::NotKept { .. } => true,
        _ => false,
    }
}
