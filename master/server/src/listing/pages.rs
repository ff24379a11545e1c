//! One listing of one directory, compared with what is known page by page.
//!
//! Only differences are proposed; each carries the log's index at the listing's begin, so that the state machine leaves
//! alone what changed since. Names are removed only after a complete listing. What a listing in the order of keys has
//! passed may be shown before its end, without the names that it did not show. It goes on only as far as somebody
//! wants it to, and keeps no more than a page of names, whatever the directory's size: of an under-store that lists in
//! no order, the inodes that were seen.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use forebay_metadata::{
    ApplyListing, Command, Edge, EdgeOrigin, Inode, ListedEntry, MountRecord, StateReader, query,
};
use forebay_runtime::BootInstant;
use forebay_types::limits::LISTING_PAGE_MAX;
use forebay_types::{EntryName, InodeId, ListingPosition, LogIndex};
use forebay_under_store::{ListedObject, ListedPage};
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;

use crate::difference::difference;
use crate::error::MasterError;
use crate::limits;
use crate::listing::fetching::{Fetched, Pages};
use crate::listing::root;
use crate::shared::Shared;

/// How a listing ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    Whole,
    /// Nobody wanted more of it.
    GivenUp,
}

/// One listing of one directory.
pub(super) struct Listing<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) directory: &'a Inode,
    pub(super) mount: &'a MountRecord,
}

/// A page on its way into the state.
type Settling = AbortOnDropHandle<Result<(), MasterError>>;

/// What is remembered of the pages so far.
struct Comparison {
    begun_at: LogIndex,
    /// What is known up to here is compared.
    passed: Option<ListingPosition>,
    /// What was known and listed beyond.
    ahead: HashSet<InodeId>,
    /// Names that are known and were not listed where they would stand.
    gone: Arc<Mutex<BTreeSet<EntryName>>>,
    /// There were more of those than are kept: the directory is to be listed again.
    is_truncated: bool,
}

/// What one page says that the state does not.
#[derive(Default)]
struct PageNews {
    upserts: Vec<ListedEntry>,
    known: HashSet<InodeId>,
    /// What is known of the part that the page passed.
    resolved: Vec<InodeId>,
    gone: Vec<EntryName>,
}

impl Listing<'_> {
    pub(super) async fn run(&self) -> Result<Finish, MasterError> {
        let (id, mut began) = (self.directory.id, self.shared.clock.boot_instant());
        let gone = self.shared.listings.began(id, began);
        let older_looks = self.shared.listings.older_looks_ended(id, began);
        if tokio::time::timeout(limits::LOOKS_PATIENCE, older_looks).await.is_err() {
            began = self.shared.listings.goes_on_beside_looks(id, began);
        }
        let (begun_at, was_loaded) = self.shared.begin(move |state| Ok(query::is_loaded(state, id)?)).await?;
        self.shared.listings.compares_since(id, begun_at);
        let mut pages = Pages::ask(self.shared, self.directory, self.mount)?;
        let mut comparison =
            Comparison { begun_at, passed: None, ahead: HashSet::new(), gone, is_truncated: false };
        let mut settling = None;
        let (mut is_whole, mut whole_cost) = (false, Duration::ZERO);
        while let Some(Fetched { asked, mut page, is_last, cost }) = pages.next().await? {
            (is_whole, whole_cost) = (is_last, cost);
            // Before what is in it: nobody is to see that as long as an older mode lets them in.
            if let Some(status) = page.directory.take()
                && root::is_root_with_owner(self.directory, self.mount)
            {
                root::take_from_listing(self.shared, self.directory, &status, (begun_at, began)).await?;
            }
            if comparison.passed.is_none()
                && let Some(first) = split_off_first(&mut page)
            {
                settling = Some(self.compare(&mut comparison, first, asked, settling).await?);
            }
            settling = Some(self.compare(&mut comparison, page, asked, settling).await?);
        }
        settle(settling).await?;
        if !is_whole {
            return Ok(Finish::GivenUp);
        }
        self.sweep(&mut comparison).await?;
        self.propose_removals(&comparison, was_loaded).await?;
        if !comparison.is_truncated {
            self.shared.checks.lock().listed(id, self.mount.options.freshness, began, whole_cost);
        }
        Ok(Finish::Whole)
    }

    /// Looks what differs in one page, and once the page before it is in the state begins to bring this one there and
    /// to tell how far the listing has come.
    async fn compare(
        &self,
        comparison: &mut Comparison,
        page: ListedPage,
        asked: BootInstant,
        before: Option<Settling>,
    ) -> Result<Settling, MasterError> {
        let ListedPage { entries, skipped, passed, .. } = page;
        // An entry that the state machine would refuse must not take its neighbours with it.
        let (entries, odd): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|listed| difference(None, listed).is_some_and(|entry| entry.check().is_ok()));
        self.shared.metrics.count_listed(entries.len(), skipped + odd.len() as u64);
        let news = self.shared.query(|state| self.look(state, comparison, &entries, passed.as_ref())).await?;
        let passed = comparison.take(&news, passed);
        settle(before).await?;
        let (shared, directory, begun_at) = (Arc::clone(self.shared), self.directory.id, comparison.begun_at);
        let gone = Arc::clone(&comparison.gone);
        Ok(AbortOnDropHandle::new(tokio::spawn(async move {
            if !news.upserts.is_empty() {
                propose(&shared, directory, begun_at, news.upserts, Vec::new(), false).await?;
            }
            forgive(&gone, &entries);
            shared.listings.passed(directory, passed, asked);
            Ok(())
        })))
    }

    fn look(
        &self,
        state: &dyn StateReader,
        comparison: &Comparison,
        entries: &[ListedObject],
        passed: Option<&ListingPosition>,
    ) -> Result<PageNews, MasterError> {
        let mut news = PageNews::default();
        let names = entries.iter().map(|listed| &listed.name).collect();
        let edges = query::edges_of(state, self.directory.id, &names)?;
        for listed in entries {
            let known = edges.get(&listed.name).map(|edge| query::target(state, edge)).transpose()?;
            news.upserts.extend(difference(known.as_ref(), listed));
            news.known.extend(known.map(|known| known.id));
        }
        let mut after = comparison.passed.clone();
        while let Some(up_to) = passed {
            let page = query::list_edges_by_key(
                state,
                self.directory.id,
                after.as_ref(),
                Some(up_to),
                LISTING_PAGE_MAX,
            )?;
            let is_last = page.len() < LISTING_PAGE_MAX;
            after = page.last().map(|(name, edge)| ListingPosition::of(name, edge.kind));
            for (name, edge) in page {
                news.resolved.push(edge.target);
                if comparison.is_gone(&edge, &news.known) {
                    news.gone.push(name);
                }
            }
            if is_last {
                break;
            }
        }
        Ok(news)
    }

    /// What is known and stands beyond all that was compared so far.
    async fn sweep(&self, comparison: &mut Comparison) -> Result<(), MasterError> {
        let (directory, mut after) = (self.directory.id, comparison.passed.clone());
        loop {
            let edges = |state: &dyn StateReader| {
                let after = after.as_ref();
                Ok(query::list_edges_by_key(state, directory, after, None, LISTING_PAGE_MAX)?)
            };
            let page = self.shared.query(edges).await?;
            let is_last = page.len() < LISTING_PAGE_MAX;
            after = page.last().map(|(name, edge)| ListingPosition::of(name, edge.kind));
            let known = HashSet::new();
            let gone = page.into_iter().filter(|(_, edge)| comparison.is_gone(edge, &known));
            let gone = gone.map(|(name, _)| name).collect();
            comparison.add_gone(gone);
            if is_last {
                return Ok(());
            }
        }
    }

    async fn propose_removals(&self, comparison: &Comparison, was_loaded: bool) -> Result<(), MasterError> {
        let id = self.directory.id;
        let mut removals: Vec<_> = comparison.gone.lock().iter().cloned().collect();
        while removals.len() > limits::DIFFERENCES_PER_ENTRY {
            let rest = removals.split_off(limits::DIFFERENCES_PER_ENTRY);
            let part = std::mem::replace(&mut removals, rest);
            propose(self.shared, id, comparison.begun_at, Vec::new(), part, false).await?;
        }
        if !removals.is_empty() || !was_loaded {
            propose(self.shared, id, comparison.begun_at, Vec::new(), removals, true).await?;
        }
        Ok(())
    }
}

/// Waits until a page is in the state.
async fn settle(settling: Option<Settling>) -> Result<(), MasterError> {
    match settling {
        // It ends early only with the process.
        Some(settling) => settling.await.unwrap_or(Err(MasterError::ListingGivenUp)),
        None => Ok(()),
    }
}

async fn propose(
    shared: &Shared,
    directory: InodeId,
    begun_at: LogIndex,
    upserts: Vec<ListedEntry>,
    removals: Vec<EntryName>,
    complete: bool,
) -> Result<(), MasterError> {
    let command = ApplyListing { directory, begun_at, upserts, removals, complete };
    shared.propose(None, Command::ApplyListing(command)).await.map(drop)
}

/// Names that came after their place was passed are not gone: some servers keep to no order. They are shown once the
/// state has them as they are now.
fn forgive(gone: &Mutex<BTreeSet<EntryName>>, entries: &[ListedObject]) {
    let mut gone = gone.lock();
    if !gone.is_empty() {
        entries.iter().for_each(|listed| drop(gone.take(&listed.name)));
    }
}

/// The first entries of a first page, so that whoever waits for them need not wait for all of it; `None` if it is short
/// or in no order.
fn split_off_first(page: &mut ListedPage) -> Option<ListedPage> {
    let passed = page.passed.as_ref()?;
    let position = |of: &ListedObject| ListingPosition::of(&of.name, of.status.kind);
    page.entries.sort_by_cached_key(position);
    let last = position(page.entries.get(limits::FIRST_ENTRIES - 1)?);
    if last >= *passed {
        return None;
    }
    let rest = page.entries.split_off(limits::FIRST_ENTRIES);
    let entries = std::mem::replace(&mut page.entries, rest);
    Some(ListedPage { entries, next: None, skipped: 0, passed: Some(last), directory: None })
}

impl Comparison {
    /// Whether a name that would stand in what was listed is not there. Mount points are not the under-store's to
    /// remove, and of what changed since the begin the listing says nothing.
    fn is_gone(&self, edge: &Edge, known: &HashSet<InodeId>) -> bool {
        let is_listed = known.contains(&edge.target) || self.ahead.contains(&edge.target);
        edge.origin == EdgeOrigin::Loaded && edge.changed_at <= self.begun_at && !is_listed
    }

    /// Takes note of a page; gives up to where what is known may be shown now, if that is further than before.
    fn take(&mut self, news: &PageNews, passed: Option<ListingPosition>) -> Option<ListingPosition> {
        self.add_gone(news.gone.clone());
        self.ahead.extend(&news.known);
        let passed = passed.filter(|passed| self.passed.as_ref().is_none_or(|before| before < passed))?;
        self.passed = Some(passed.clone());
        for resolved in &news.resolved {
            self.ahead.remove(resolved);
        }
        (!self.is_truncated).then_some(passed)
    }

    fn add_gone(&mut self, names: Vec<EntryName>) {
        let mut gone = self.gone.lock();
        for name in names {
            if gone.len() >= limits::REMOVALS_PENDING_MAX {
                self.is_truncated = true;
                return;
            }
            gone.insert(name);
        }
    }
}
