//! One listing, compared with what is known page by page, as master/server/src/listing/pages.rs does.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use forebay_master::{Finish, difference};
use forebay_metadata::{
    ApplyListing, Command, Edge, EdgeOrigin, ListedEntry, StateReader, StoreError, query,
};
use forebay_runtime::BootInstant;
use forebay_types::limits::LISTING_PAGE_MAX;
use forebay_types::{EntryKind, EntryName, ErrorKind, InodeId, ListingPosition, LogIndex};
use futures::channel::mpsc;
use futures::future::LocalBoxFuture;
use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;

use super::{Place, may_ask_on};
use crate::limits::{
    DIFFERENCES_PER_ENTRY, LISTING_PAGES_WAITING_MAX, LISTING_UNWANTED_MAX, LOOKS_PATIENCE,
    UNDER_STORE_DEADLINE,
};
use crate::master::Master;
use crate::master::state::Evidence;
use crate::plan::Planted;
use crate::store::{Page, StoreFault, entry_name};
use crate::world::World;

/// One listing of one directory.
pub(super) struct Listing<'a> {
    pub(super) world: &'a Rc<World>,
    pub(super) master: &'a Rc<Master>,
    pub(super) place: &'a Place,
}

/// What is remembered of the pages so far.
struct Comparison {
    begun_at: LogIndex,
    passed: Option<ListingPosition>,
    ahead: BTreeSet<InodeId>,
    /// As the real table of listings keeps them.
    gone: Arc<Mutex<BTreeSet<EntryName>>>,
    /// Up to where each page went, and when it was so.
    pages: Vec<(Option<ListingPosition>, Duration)>,
}

/// What one page says that the state does not.
struct News {
    upserts: Vec<ListedEntry>,
    evidence: Vec<Evidence>,
    /// Up to where what is known may be shown, if that is further than before.
    passed: Option<ListingPosition>,
}

impl Listing<'_> {
    pub(super) async fn run(&self) -> Result<Finish, ErrorKind> {
        let (id, mut began) = (self.place.directory.id, self.master.now(self.world));
        self.world.note(format_args!("listing of {}:{:?} {id} begins", self.place.mount, self.place.path()));
        let gone = self.master.listings.began(id, began);
        let older_looks = self.master.listings.older_looks_ended(id, began);
        if self.world.executor.within(LOOKS_PATIENCE, older_looks).await.is_none() {
            began = self.master.listings.goes_on_beside_looks(id, began);
        }
        self.master.confirm(self.world).await?;
        let (begun_at, was_loaded) =
            (self.master.applied_index(), self.state(|state| query::is_loaded(state, id)));
        self.master.begun.borrow_mut().insert(id, begun_at);
        let mut comparison =
            Comparison { begun_at, passed: None, ahead: BTreeSet::new(), gone, pages: Vec::new() };
        let (pages, fetched) = mpsc::channel(LISTING_PAGES_WAITING_MAX);
        let compared = self.compare_all(&mut comparison, fetched);
        let (cost, is_whole) = futures::try_join!(self.fetch(pages), compared)?;
        if !is_whole {
            return Ok(Finish::GivenUp);
        }
        self.sweep(&mut comparison).await?;
        self.propose_removals(&comparison, was_loaded).await?;
        let freshness = self.world.mounts[self.place.mount].freshness();
        self.master.checks.borrow_mut().listed(id, freshness, began, cost);
        Ok(Finish::Whole)
    }

    fn state<T>(&self, question: impl FnOnce(&dyn StateReader) -> Result<T, StoreError>) -> T {
        question(&*self.master.store.borrow()).expect("memory can be read")
    }

    /// Fetches pages ahead of the comparison; gives how long the under-store took to answer.
    async fn fetch(&self, mut pages: mpsc::Sender<(BootInstant, Page, bool)>) -> Result<Duration, ErrorKind> {
        let (id, mut token, mut cost) = (self.place.directory.id, None, Duration::ZERO);
        loop {
            let (asked, mut page) = self.page(token.as_ref()).await?;
            token = page.next.take();
            cost += self.master.now(self.world).saturating_duration_since(asked);
            self.master.checks.borrow_mut().takes(id, cost);
            let sent = pages.send((asked, page, token.is_none())).await;
            let more = self.master.listings.more_wanted(id);
            if sent.is_err()
                || token.is_none()
                || !self.world.executor.within(LISTING_UNWANTED_MAX, more).await.unwrap_or(false)
            {
                return Ok(cost);
            }
        }
    }

    /// Compares each page while the one before it is on its way into the state; whether the last one came.
    async fn compare_all(
        &self,
        comparison: &mut Comparison,
        mut pages: mpsc::Receiver<(BootInstant, Page, bool)>,
    ) -> Result<bool, ErrorKind> {
        let mut settling: LocalBoxFuture<'_, Result<(), ErrorKind>> = Box::pin(async { Ok(()) });
        let mut is_whole = false;
        loop {
            let look = async {
                let (asked, page, is_last) = pages.next().await?;
                let news = self.look(comparison, &page).await;
                Some(news.map(|news| (asked, page, is_last, news)))
            };
            let (settled, looked) = futures::join!(settling, look);
            settled?;
            let Some(looked) = looked else { return Ok(is_whole) };
            let (asked, page, is_last, news) = looked?;
            is_whole = is_last;
            let (begun_at, gone) = (comparison.begun_at, Arc::clone(&comparison.gone));
            settling = Box::pin(self.settle(begun_at, gone, page, asked, news));
        }
    }

    async fn page(&self, after: Option<&ListingPosition>) -> Result<(BootInstant, Page), ErrorKind> {
        let of = (self.world, self.master, self.place.mount);
        let leave = match self.world.plan.planted {
            Some(Planted::ListsInMaintenance) => self.world.now(),
            _ => may_ask_on(of.0, of.1, of.2).await?,
        };
        let (asked, path) = (self.master.now(self.world), self.place.path());
        let store = &self.world.mounts[self.place.mount].store;
        let listed = store.list(self.world, leave, &path, after);
        let page = match self.world.executor.within(UNDER_STORE_DEADLINE, listed).await {
            Some(Ok(page)) => page,
            Some(Err(StoreFault::Cut(page)))
                if self.world.plan.planted == Some(Planted::CutListingRemoves) =>
            {
                page
            }
            Some(Err(_)) => return Err(ErrorKind::UnderStore),
            None => return Err(ErrorKind::TimedOut),
        };
        self.master.listings.page_came(self.place.directory.id);
        Ok((asked, page))
    }

    /// What a page says that the state does not.
    async fn look(&self, comparison: &mut Comparison, page: &Page) -> Result<News, ErrorKind> {
        self.master.confirm(self.world).await?;
        let id = self.place.directory.id;
        let (mut upserts, mut evidence, mut known) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (name, seen) in &page.entries {
            let Some(listed) = seen.listed(name) else { continue };
            let inode = self.state(|state| query::lookup(state, id, &entry_name(name)));
            if let Some(entry) = difference(inode.as_ref(), &listed) {
                upserts.push(entry);
                evidence.push(self.place.evidence(name, page.at));
            }
            known.extend(inode.map(|inode| inode.id));
        }
        let (mut resolved, mut gone) = (Vec::new(), Vec::new());
        if page.passed.is_some() {
            let (after, up_to) = (comparison.passed.as_ref(), page.passed.as_ref());
            let edges =
                self.state(|state| query::list_edges_by_key(state, id, after, up_to, LISTING_PAGE_MAX));
            for (name, edge) in edges {
                resolved.push(edge.target);
                if comparison.is_gone(&edge, &known) {
                    gone.push(name);
                }
            }
        }
        let passed = comparison.take(page, known, &resolved, gone);
        Ok(News { upserts, evidence, passed })
    }

    /// Brings a page into the state, and tells how far the listing has come.
    async fn settle(
        &self,
        begun_at: LogIndex,
        missed: Arc<Mutex<BTreeSet<EntryName>>>,
        page: Page,
        asked: BootInstant,
        news: News,
    ) -> Result<(), ErrorKind> {
        let News { mut upserts, mut evidence, passed } = news;
        while !upserts.is_empty() {
            let count = upserts.len().min(DIFFERENCES_PER_ENTRY);
            let (part, seen) = (upserts.drain(..count).collect(), evidence.drain(..count).collect());
            self.propose(begun_at, part, Vec::new(), false, seen).await?;
        }
        // Not before they are in the state as the under-store has them.
        for (name, _) in &page.entries {
            missed.lock().remove(&entry_name(name));
        }
        self.master.listings.passed(self.place.directory.id, passed, asked);
        Ok(())
    }

    /// What is known and stands beyond all that was compared so far.
    async fn sweep(&self, comparison: &mut Comparison) -> Result<(), ErrorKind> {
        self.master.confirm(self.world).await?;
        let (id, after) = (self.place.directory.id, comparison.passed.as_ref());
        let edges = self.state(|state| query::list_edges_by_key(state, id, after, None, LISTING_PAGE_MAX));
        let known = BTreeSet::new();
        let gone = edges.into_iter().filter(|(_, edge)| comparison.is_gone(edge, &known));
        let gone = gone.map(|(name, _)| name).collect();
        comparison.add_gone(gone);
        Ok(())
    }

    async fn propose_removals(&self, comparison: &Comparison, was_loaded: bool) -> Result<(), ErrorKind> {
        let mut removals: Vec<EntryName> = comparison.gone.lock().iter().cloned().collect();
        while removals.len() > DIFFERENCES_PER_ENTRY {
            let rest = removals.split_off(DIFFERENCES_PER_ENTRY);
            let part = std::mem::replace(&mut removals, rest);
            let seen = self.evidence_of(comparison, &part);
            self.propose(comparison.begun_at, Vec::new(), part, false, seen).await?;
        }
        if !removals.is_empty() || !was_loaded {
            let seen = self.evidence_of(comparison, &removals);
            self.propose(comparison.begun_at, Vec::new(), removals, true, seen).await?;
        }
        Ok(())
    }

    fn evidence_of(&self, comparison: &Comparison, names: &[EntryName]) -> Vec<Evidence> {
        let named = |name: &EntryName| self.place.evidence(&name.to_string(), comparison.missing_at(name));
        names.iter().map(named).collect()
    }

    async fn propose(
        &self,
        begun_at: LogIndex,
        upserts: Vec<ListedEntry>,
        removals: Vec<EntryName>,
        complete: bool,
        evidence: Vec<Evidence>,
    ) -> Result<(), ErrorKind> {
        let is_young = self.world.plan.planted == Some(Planted::ListingIsYoung);
        let begun_at = if is_young { self.master.applied_index() } else { begun_at };
        let directory = self.place.directory.id;
        let command = ApplyListing { directory, begun_at, upserts, removals, complete };
        self.master.propose(self.world, Command::ApplyListing(command), evidence).await.map(drop)
    }
}

impl Comparison {
    fn is_gone(&self, edge: &Edge, known: &BTreeSet<InodeId>) -> bool {
        let is_listed = known.contains(&edge.target) || self.ahead.contains(&edge.target);
        edge.origin == EdgeOrigin::Loaded && edge.changed_at <= self.begun_at && !is_listed
    }

    /// Takes note of a page; gives up to where what is known may be shown now, if that is further than before.
    fn take(
        &mut self,
        page: &Page,
        known: BTreeSet<InodeId>,
        resolved: &[InodeId],
        gone: Vec<EntryName>,
    ) -> Option<ListingPosition> {
        self.pages.push((page.passed.clone(), page.at));
        self.add_gone(gone);
        self.ahead.extend(known);
        let passed =
            page.passed.clone().filter(|passed| self.passed.as_ref().is_none_or(|before| before < passed))?;
        self.passed = Some(passed.clone());
        for inode in resolved {
            self.ahead.remove(inode);
        }
        Some(passed)
    }

    fn add_gone(&mut self, names: Vec<EntryName>) {
        self.gone.lock().extend(names);
    }

    /// When it was seen that a name is missing: since then it may have come as another kind, at a place that was passed.
    fn missing_at(&self, name: &EntryName) -> Duration {
        let place = ListingPosition::of(name, EntryKind::File);
        let covers = |(passed, _): &&(Option<ListingPosition>, Duration)| {
            passed.as_ref().is_none_or(|passed| place <= *passed)
        };
        let page = self.pages.iter().find(covers).or(self.pages.last());
        page.map_or(Duration::ZERO, |(_, at)| *at)
    }
}
