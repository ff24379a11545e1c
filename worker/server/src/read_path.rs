//! The way of a read: bytes from the cache where they are, from the under-store where they are not, in order.
//!
//! A long range is fetched ahead of the reader in groups of pages, several at once. A reader never waits for room in
//! the cache: where there is none it gets its bytes past it. Pieces of two versions are never mixed, since a version's
//! pages are stored under its id and fetched only with its fingerprint.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use forebay_block_store::{Demand, PageIndex, PageRange};
use forebay_types::{AdmissionRule, GRANULE_LENGTH, PAGE_LENGTH, crc32c};
use forebay_under_store::UnderStoreError;
use futures::{Stream, stream};

use crate::accounting::{FillLog, ReadCounts};
use crate::cache::{Cache, CacheRead};
use crate::error::ReadError;
use crate::fetches::{Fetches, Loss, LossNote, PageState};
use crate::limits::{
    BACKOFF, FETCH_PAGES_MAX, FETCHES_PER_READ_MAX, PAGE_ATTEMPTS_MAX, PAGE_DEADLINE, READ_PIECE_LEAST,
    READ_PIECE_MAX, UNCACHED_RUN_LENGTH_MAX,
};
use crate::metrics::{Metrics, ReadSource};
use crate::past_cache::{PastCache, Run, Stretch, Visit};
use crate::reading_order::ReadingOrder;
use crate::retry::Backoff;
use crate::version::Version;
use crate::working_memory::{Room, WorkingMemory};

const GROUP_LENGTH: u64 = PAGE_LENGTH * FETCH_PAGES_MAX as u64;

/// What all reads share.
#[derive(Debug)]
pub(crate) struct ReadPath {
    pub(crate) cache: Cache,
    pub(crate) fetches: Arc<Fetches>,
    pub(crate) past_cache: Arc<PastCache>,
    pub(crate) fills: Arc<FillLog>,
    pub(crate) order: ReadingOrder,
    pub(crate) counts: Arc<ReadCounts>,
    pub(crate) memory: WorkingMemory,
    pub(crate) metrics: Arc<Metrics>,
}

/// Bytes that follow each other, with their checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) data: Bytes,
    pub(crate) crc32c: u32,
}

impl Piece {
    /// A piece whose checksum is not known yet.
    fn new(offset: u64, data: Bytes) -> Self {
        let crc32c = crc32c::crc32c(&data);
        Self { offset, data, crc32c }
    }

    fn len(&self) -> u64 {
        self.data.len() as u64
    }
}

/// A way past the cache: what came of it and is not served yet, with its room, and what is to come.
struct Way {
    run: Run,
    stretch: Option<(Stretch, Arc<Room>)>,
}

/// One read under way.
struct Reader {
    path: Arc<ReadPath>,
    version: Arc<Version>,
    position: u64,
    end: u64,
    /// Whether the mount wants this cached, as it was when the read began.
    is_admitted: bool,
    /// Pages filled after this fill are misses.
    opened_at: u64,
    /// Up to here, missing pages were asked for.
    asked_until: u64,
    /// What becomes of the pages that were asked for and not reached yet, at most those of
    /// [`FETCHES_PER_READ_MAX`] requests: a fetch may have failed before its page is looked for.
    asked: BTreeMap<PageIndex, LossNote>,
    attempts: u32,
    backoff: Backoff,
    past_cache: Option<Way>,
    /// From the first time that it goes past the cache on, so that others find what it fetched.
    visit: Option<Arc<Visit>>,
    /// That of the last piece. When the next one is asked for, the connection has taken it.
    room: Option<Arc<Room>>,
}

impl ReadPath {
    /// Streams `range` of a version, cut at its end, in pieces of at most [`READ_PIECE_MAX`]. Dropping the stream ends
    /// the read; what it made fetch is still stored.
    pub(crate) fn read(
        self: Arc<Self>,
        version: Arc<Version>,
        range: Range<u64>,
        opened_at: u64,
    ) -> impl Stream<Item = Result<Piece, ReadError>> + Send + 'static {
        let end = range.end.min(version.length());
        let is_admitted = self.is_admitted(&version, range.start..end);
        let reader = Reader {
            path: self,
            version,
            position: range.start,
            end,
            is_admitted,
            opened_at,
            asked_until: range.start,
            asked: BTreeMap::new(),
            attempts: 0,
            backoff: Backoff::new(BACKOFF),
            past_cache: None,
            visit: None,
            room: None,
        };
        stream::try_unfold(reader, async |mut reader| Ok(reader.next().await?.map(|piece| (piece, reader))))
    }

    /// Whether what is missing of a range is to be stored.
    fn is_admitted(&self, version: &Version, range: Range<u64>) -> bool {
        let admission = version.mount.admission();
        let block_length = version.descriptor.block_length.get();
        version.judge(&admission).is_ok()
            && (admission.rule != AdmissionRule::Random
                || self.order.is_random(version.file(), block_length, &range))
    }
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Piece>, ReadError> {
        while self.position < self.end {
            self.room = None;
            let (piece, source, is_hit) = if let Some(piece) = self.next_past_cache().await? {
                let source = if self.is_admitted { ReadSource::Uncached } else { ReadSource::NotAdmitted };
                (piece, source, false)
            } else {
                let page =
                    PageIndex::new(u32::try_from(self.position / PAGE_LENGTH).expect("below the file's end"));
                self.ask_ahead();
                if let Some(coming) = self.path.fetches.coming(self.version.file(), page) {
                    match self.wait_for(page, coming).await? {
                        Some(piece) => (piece, ReadSource::Fetch, false),
                        None => continue,
                    }
                } else if !self.is_admitted && self.is_missing(page) {
                    self.go_past_cache(page);
                    continue;
                } else if let Some(piece) = self.cached_piece(page).await? {
                    let is_later = self.path.fills.is_later(self.version.file(), page, self.opened_at);
                    (piece, ReadSource::Cache, !is_later)
                } else if let Some(loss) = self.asked.get(&page).and_then(|note| note.get().cloned()) {
                    self.bear(page, loss).await?;
                    continue;
                } else {
                    // Neither here nor coming: it was evicted, or found corrupt, since it was asked for.
                    self.count_attempt(page)?;
                    if self.is_admitted {
                        self.ask_again(page);
                    } else {
                        self.go_past_cache(page);
                    }
                    continue;
                }
            };
            self.position += piece.len();
            self.forget_reached();
            self.attempts = 0;
            self.path.counts.count(&self.version.mount, piece.len(), is_hit);
            self.path.metrics.read(source, piece.len());
            return Ok(Some(piece));
        }
        Ok(None)
    }

    /// Finds room for the next piece once it can be made: who waits for an under-store takes no room from others.
    async fn find_room(&mut self) {
        let wanted = READ_PIECE_MAX.min(self.end - self.position);
        self.room = Some(Arc::new(self.path.memory.room(wanted, READ_PIECE_LEAST.min(wanted)).await));
    }

    /// Where the next piece ends. With its page, so that it is a hit or a miss as a whole; and, where there is no room for
    /// all of that, with a granule, whose checksum is known.
    fn piece_end(&self, page: PageIndex) -> u64 {
        let whole = self.version.page_end(page).min(self.end);
        let room = self.position + self.room.as_ref().map_or(READ_PIECE_MAX, |room| room.length());
        if room >= whole { whole } else { room / GRANULE_LENGTH * GRANULE_LENGTH }
    }

    /// Asks for the missing pages of the next groups, each group once: asking page by page as the reader moves would
    /// make many small requests.
    fn ask_ahead(&mut self) {
        if !self.is_admitted {
            return;
        }
        let group_of = |position: u64| position / GROUP_LENGTH * GROUP_LENGTH;
        let window_end = (group_of(self.position) + GROUP_LENGTH * FETCHES_PER_READ_MAX).min(self.end);
        while self.asked_until < window_end {
            let group_end = (group_of(self.asked_until) + GROUP_LENGTH).min(self.end);
            self.ask(pages_of(self.asked_until..group_end));
            self.asked_until = group_end;
        }
    }

    fn ask(&mut self, pages: PageRange) {
        // What became of a page the last time says nothing of this time.
        pages.iter().for_each(|page| drop(self.asked.remove(&page)));
        let awaited = self.path.fetches.begin(&self.version, pages, Demand::Read);
        self.asked.extend(awaited.into_iter().map(|awaited| (awaited.page, awaited.loss)));
    }

    /// Pages that lie behind the reader are of no interest any more.
    fn forget_reached(&mut self) {
        while let Some(first) = self.asked.first_entry()
            && first.key().offset().get() + PAGE_LENGTH <= self.position
        {
            first.remove();
        }
    }

    /// Asks for a page that did not come or was lost, together with the rest of its group, which may have been with it.
    fn ask_again(&mut self, page: PageIndex) {
        let group_end = page.get() / FETCH_PAGES_MAX * FETCH_PAGES_MAX + FETCH_PAGES_MAX;
        let end = u64::from(group_end).min(self.end.div_ceil(PAGE_LENGTH));
        let count = u32::try_from(end).unwrap_or(u32::MAX).saturating_sub(page.get());
        self.ask(PageRange { first: page, count });
    }

    /// The rest of a page that is on its way; `None`: look again.
    async fn wait_for(
        &mut self,
        page: PageIndex,
        mut coming: tokio::sync::watch::Receiver<PageState>,
    ) -> Result<Option<Piece>, ReadError> {
        let arrived = coming.wait_for(|state| !matches!(state, PageState::Coming));
        let timed_out = || ReadError::TimedOut {
            file: self.version.file(),
            page: page.get(),
            seconds: PAGE_DEADLINE.as_secs(),
        };
        let state = match tokio::time::timeout(PAGE_DEADLINE, arrived).await.map_err(|_| timed_out())? {
            Ok(state) => state.clone(),
            Err(_) => return Err(ReadError::Stopping),
        };
        match state {
            PageState::Here(bytes) => {
                self.find_room().await;
                let begin = usize::try_from(self.position % PAGE_LENGTH).expect("below a page");
                let end = self.piece_end(page) - page.offset().get();
                let end = usize::try_from(end).unwrap_or(usize::MAX).min(bytes.len());
                Ok(Some(Piece::new(self.position, bytes.slice(begin..end))))
            }
            PageState::Lost(loss) => self.bear(page, loss).await.map(|()| None),
            PageState::Coming => Ok(None),
        }
    }

    /// Finds another way to a page that did not come, or ends with what kept it from coming.
    async fn bear(&mut self, page: PageIndex, loss: Loss) -> Result<(), ReadError> {
        match loss {
            Loss::NoRoom => self.go_past_cache(page),
            Loss::Failed(error) if is_worth_another_try(&error) && self.count_attempt(page).is_ok() => {
                tokio::time::sleep(self.backoff.pause()).await;
                if self.is_admitted {
                    self.ask_again(page);
                }
            }
            Loss::Failed(error) => return Err(error),
        }
        Ok(())
    }

    async fn cached_piece(&mut self, page: PageIndex) -> Result<Option<Piece>, ReadError> {
        self.find_room().await;
        let end = self.piece_end(page);
        let cache = &self.path.cache;
        // Asked for each piece: what lies in memory may be moved to a disk while it is read.
        let is_in_memory = cache.is_in_memory(&self.version, pages_of(self.position..end));
        let read = cache.read(&self.version, is_in_memory, self.position, end - self.position).await?;
        Ok(match read {
            CacheRead::Bytes { data, crc32c } => Some(Piece { offset: self.position, data, crc32c }),
            CacheRead::Missing => None,
        })
    }

    fn count_attempt(&mut self, page: PageIndex) -> Result<(), ReadError> {
        self.attempts += 1;
        if self.attempts > PAGE_ATTEMPTS_MAX {
            return Err(ReadError::Evicted { file: self.version.file(), page: page.get() });
        }
        Ok(())
    }

    /// The next piece on the way past the cache; `None` when this read is not, or no longer, on it.
    async fn next_past_cache(&mut self) -> Result<Option<Piece>, ReadError> {
        let Some(way) = &mut self.past_cache else { return Ok(None) };
        loop {
            if let Some((stretch, room)) = &mut way.stretch
                && let Some(data) = stretch.pieces.pop_front()
            {
                self.room = Some(Arc::clone(room));
                return Ok(Some(Piece::new(self.position, data)));
            }
            way.stretch = None;
            let Some(stretch) = way.run.next().await? else {
                self.past_cache = None;
                return Ok(None);
            };
            let length = stretch.end - stretch.begin;
            let room = self.path.memory.room(length, length).await;
            way.stretch = Some((stretch, Arc::new(room)));
        }
    }

    fn is_missing(&self, page: PageIndex) -> bool {
        !self.path.cache.missing(&self.version, PageRange { first: page, count: 1 }).is_empty()
    }

    /// Fetches from here to the next page that is in the cache without storing; at most [`UNCACHED_RUN_LENGTH_MAX`].
    fn go_past_cache(&mut self, page: PageIndex) {
        let next = self.version.page_end(page);
        let rest = pages_of(next..self.end.min(next.saturating_add(UNCACHED_RUN_LENGTH_MAX)));
        let missing = self.path.cache.missing(&self.version, rest);
        let run = rest.iter().zip(missing).take_while(|(expected, page)| expected == page).count();
        let end = (next + run as u64 * PAGE_LENGTH).min(self.end);
        // Not asked for again on the way: the answer would be the same.
        self.asked_until = self.asked_until.max(end);
        let visit = self.visit.get_or_insert_with(|| self.path.past_cache.enter(self.version.file()));
        self.past_cache = Some(Way { run: visit.run(&self.version, self.position, end), stretch: None });
    }
}

/// The pages that a range of a version touches.
fn pages_of(range: Range<u64>) -> PageRange {
    let number = |pages: u64| u32::try_from(pages).expect("a file has fewer pages than 2^32");
    let (first, end) = (range.start / PAGE_LENGTH, range.end.div_ceil(PAGE_LENGTH));
    PageRange { first: PageIndex::new(number(first)), count: number(end.saturating_sub(first)) }
}

/// Whether only this one stream broke, so that the next may well not.
fn is_worth_another_try(error: &ReadError) -> bool {
    matches!(error, ReadError::UnderStore(error) if matches!(**error, UnderStoreError::CutShort { .. }))
}
