//! An open directory: which part of it is in memory, and how the kernel's offsets lead through it.
//!
//! Offsets count entries: 0 is `.`, 1 is `..`, 2 the first name; above the count stands the number of the walk, see
//! [`WalkNumber`]. A page is asked for by the last place of the one before, so entries that come and go elsewhere neither
//! repeat nor hide others. One page is kept, whatever the directory's size; going back beyond it walks again from the
//! begin. Where the kernel showed a listing up to some name by itself, the outline of that listing says how to go on.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use forebay_client::Named;
use forebay_types::limits::LISTING_PAGE_MAX;
use forebay_types::{ErrorKind, InodeId, ListingPosition};
use parking_lot::Mutex;

use crate::kernel_listings::KernelListings;
use crate::limits::FIRST_NAMES;
use crate::metrics::{Metrics, Question};
use crate::namespace::{Namespace, NamespaceError};
use crate::node_id::NodeId;
use crate::outline::{Full, Outline};
use crate::ttl::{TtlRule, Validity};
use crate::walk::{Unfinished, Walk, WalkNumber};

/// The offset of the first name, after `.` and `..`.
pub(crate) const FIRST_NAME: u64 = 2;

/// Who is asked for pages, and what is made of the answers.
#[derive(Debug)]
pub(crate) struct Asking<'a, N> {
    pub(crate) namespace: &'a N,
    pub(crate) rule: TtlRule,
    pub(crate) metrics: &'a Metrics,
    pub(crate) listings: &'a KernelListings,
}

/// A directory handle.
#[derive(Debug)]
pub(crate) struct OpenDirectory {
    pub(crate) node: NodeId,
    pub(crate) inode: InodeId,
    pub(crate) parent: NodeId,
    /// It was opened to be shown what the kernel has.
    pub(crate) is_shown: bool,
    kept: Mutex<Kept>,
}

/// What a handle keeps of its directory.
#[derive(Debug, Default)]
struct Kept {
    page: Option<Arc<Page>>,
    /// By which the page's entries are counted.
    walk: WalkNumber,
    /// The page is the first one and nobody has seen it.
    unseen: bool,
    part: Part,
    /// Of the walk, as long as all that the kernel has of it came of it in order.
    record: Option<Record>,
    /// The listing that the kernel shows to whoever reads this handle.
    shown: Option<Arc<Outline>>,
}

/// What part a handle has in the listing that the kernel keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// None.
    #[default]
    Plain,
    /// The kernel gathers a walk that is not told of yet.
    ToGather(Walk),
    /// The kernel has part of the walk.
    Gathers(WalkNumber),
    /// The kernel has all of it, or has shown what it had.
    Whole,
}

/// What is known of a walk that is told of.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) outline: Outline,
    /// That of the oldest page.
    pub(crate) validity: Option<Validity>,
    /// The kernel was told how each entry is.
    pub(crate) has_attributes: bool,
    /// What the kernel's pages with the listing take.
    packed: KernelPages,
}

/// How the kernel packs entries into pages: one never goes over the end of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KernelPages {
    /// What they take.
    length: usize,
    page_length: usize,
}

/// Where a listing goes on: an offset of the kernel, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offset {
    pub(crate) walk: WalkNumber,
    /// How many entries come before, with the dots.
    pub(crate) index: u64,
}

/// The page that a request is answered from.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) page: Arc<Page>,
    pub(crate) at: Offset,
}

/// Part of a directory.
#[derive(Debug)]
pub(crate) struct Page {
    /// The index of its first entry.
    first: u64,
    /// The index after its last one.
    end: u64,
    pub(crate) entries: Vec<Named>,
    complete: bool,
    pub(crate) validity: Validity,
}

impl Offset {
    const INDEX_BITS: u32 = 32;

    pub(crate) const fn new(raw: u64) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "the upper half of it")]
        let walk = WalkNumber::new((raw >> Self::INDEX_BITS) as u32);
        Self { walk, index: raw & ((1 << Self::INDEX_BITS) - 1) }
    }

    /// As the kernel has it.
    pub(crate) const fn get(self) -> u64 {
        (self.walk.get() as u64) << Self::INDEX_BITS | self.index
    }

    pub(crate) const fn with_index(self, index: u64) -> Self {
        Self { index, ..self }
    }
}

impl OpenDirectory {
    pub(crate) fn new(node: NodeId, inode: InodeId, parent: NodeId) -> Self {
        Self { node, inode, parent, is_shown: false, kept: Mutex::default() }
    }

    /// One of which the kernel shows what it has.
    pub(crate) fn shown(node: NodeId, inode: InodeId, parent: NodeId, outline: Arc<Outline>) -> Self {
        let kept = Kept { part: Part::Whole, shown: Some(outline), ..Kept::default() };
        Self { node, inode, parent, is_shown: true, kept: Mutex::new(kept) }
    }

    /// Fetches the first page: only so it is known whether the directory still is there. An error of a later request
    /// could not lead the kernel to what has taken its place.
    pub(crate) async fn begin<N: Namespace>(&self, asking: &Asking<'_, N>) -> Result<(), NamespaceError> {
        self.fetch(asking, FIRST_NAME, None).await?;
        self.kept.lock().unseen = true;
        Ok(())
    }

    /// The validity of the page that was read last.
    pub(crate) fn validity(&self) -> Option<Validity> {
        self.kept.lock().page.as_ref().map(|page| page.validity)
    }

    /// The kernel gathers what is read from the begin now.
    pub(crate) fn gather(&self, walk: Walk, listings: &KernelListings) {
        let mut kept = self.kept.lock();
        if !kept.unseen {
            kept.page = None;
        }
        kept.walk = walk.number;
        kept.part = Part::ToGather(walk);
        kept.shown = None;
        kept.record = None;
        if !walk.is_mixed {
            kept.record = Some(Record::new(Outline::new(walk.number, listings.memory().clone())));
        }
        if let Some(page) = kept.page.clone() {
            kept.record(&page, listings);
        }
    }

    /// Whether a handle that has part in what the kernel keeps begins again; with the walk that it leaves.
    pub(crate) fn begun_again(&self, offset: u64) -> Option<Unfinished> {
        let part = self.kept.lock().part;
        match part {
            Part::Whole if offset == 0 => Some(Unfinished::Nothing),
            Part::Gathers(number) if offset == 0 => Some(Unfinished::BrokenOff(number)),
            Part::Whole | Part::Gathers(_) | Part::ToGather(_) | Part::Plain => None,
        }
    }

    /// The page in which the listing goes on at `offset`; without entries from there on if it is over. An offset of 0
    /// begins anew, unless it is the first one. A reader keeps no lock while it waits; the kernel lets only one at a
    /// time read a handle anyway.
    pub(crate) async fn page_at<N: Namespace>(
        &self,
        asking: &Asking<'_, N>,
        offset: u64,
    ) -> Result<Reading, NamespaceError> {
        let (page, at) = self.kept.lock().take_for(Offset::new(offset));
        let wanted = at.index.max(FIRST_NAME);
        let is_usable = |page: &Page| page.first <= wanted && (page.holds(wanted) || page.end <= wanted);
        let mut current = match page.filter(|page| is_usable(page)) {
            Some(page) => page,
            None => self.go_to(asking, wanted).await?,
        };
        while !current.holds(wanted) && !current.complete {
            let last = current.entries.last().map(position);
            current = self.fetch(asking, current.end, last.as_ref()).await?;
        }
        if !current.holds(wanted) {
            self.let_go(&current);
        }
        Ok(Reading { page: current, at })
    }

    /// Goes on where the kernel's own listing left off, or else begins anew.
    async fn go_to<N: Namespace>(
        &self,
        asking: &Asking<'_, N>,
        wanted: u64,
    ) -> Result<Arc<Page>, NamespaceError> {
        let place = self.kept.lock().shown_before(wanted);
        match place {
            Some(place) => self.fetch(asking, wanted, Some(&place)).await,
            None => self.fetch(asking, FIRST_NAME, None).await,
        }
    }

    /// The kernel is told of names alone.
    pub(crate) fn without_attributes(&self) {
        if let Some(record) = &mut self.kept.lock().record {
            record.has_attributes = false;
        }
    }

    /// The walk that ends with this answer, if it is one of which the kernel may not have heard the end yet; and what is
    /// known of it if all of it was told in order.
    pub(crate) fn end(&self, at: Offset) -> Option<(WalkNumber, Option<Record>)> {
        let mut kept = self.kept.lock();
        let is_shown = kept.shown.as_ref().is_some_and(|shown| shown.walk == at.walk);
        if kept.part == Part::Plain || is_shown {
            return None;
        }
        let record = kept.record.take().filter(|record| record.outline.walk == at.walk);
        Some((at.walk, record))
    }

    /// The kernel has all of a walk: as this outline says, or nothing of it any more.
    pub(crate) fn ended(&self, outline: Option<Arc<Outline>>) {
        let mut kept = self.kept.lock();
        kept.part = Part::Whole;
        kept.shown = outline;
    }

    /// What the handle leaves when it is closed; `None` if it never had part in what the kernel keeps.
    pub(crate) fn unfinished(&self) -> Option<Unfinished> {
        match self.kept.lock().part {
            Part::Plain => None,
            Part::ToGather(Walk { number, is_mixed: false }) => Some(Unfinished::NotBegun(number)),
            Part::ToGather(Walk { number, .. }) | Part::Gathers(number) => {
                Some(Unfinished::BrokenOff(number))
            }
            Part::Whole => Some(Unfinished::Nothing),
        }
    }

    async fn fetch<N: Namespace>(
        &self,
        asking: &Asking<'_, N>,
        first: u64,
        after: Option<&ListingPosition>,
    ) -> Result<Arc<Page>, NamespaceError> {
        // Few programs that look at a directory wait for all of it, and many take the first names only.
        let limit = if after.is_none() { FIRST_NAMES } else { LISTING_PAGE_MAX };
        let begun = Instant::now();
        let listed = asking.namespace.list(self.inode, after, limit).await?;
        asking.metrics.answered(Question::List, listed.asked < begun);
        check_order(self.inode, after, &listed.entries)?;
        let page = Arc::new(Page {
            first,
            end: first + listed.entries.len() as u64,
            // A page without entries could never be gone on from.
            complete: listed.complete || listed.entries.is_empty(),
            entries: listed.entries,
            validity: asking.rule.validity(listed.asked, listed.valid),
        });
        let mut kept = self.kept.lock();
        kept.record(&page, asking.listings);
        kept.page = Some(Arc::clone(&page));
        kept.unseen = false;
        Ok(page)
    }

    /// At the end of a listing the page is of no use any more, and a program may keep its handle for long.
    fn let_go(&self, page: &Page) {
        let rest = Page { entries: Vec::new(), ..*page };
        self.kept.lock().page = Some(Arc::new(rest));
    }
}

impl Kept {
    /// The page, if a request at `offset` may use it, and by which walk the answer counts.
    fn take_for(&mut self, offset: Offset) -> (Option<Arc<Page>>, Offset) {
        let unseen = std::mem::take(&mut self.unseen);
        if let Part::ToGather(walk) = self.part {
            self.part = Part::Gathers(walk.number);
        }
        if offset.get() == 0 {
            if let Part::Gathers(walk) = self.part {
                self.walk = walk;
            }
            let page = if unseen { self.page.clone() } else { None };
            return (page, Offset { walk: self.walk, index: 0 });
        }
        let page = if offset.walk == self.walk { self.page.clone() } else { None };
        self.walk = offset.walk;
        (page, offset)
    }

    /// The place before the entry at `index`, if the kernel shows a listing by which this one is counted.
    fn shown_before(&self, index: u64) -> Option<ListingPosition> {
        let shown = self.shown.as_ref().filter(|shown| shown.walk == self.walk)?;
        let before = usize::try_from(index.checked_sub(FIRST_NAME + 1)?).ok()?;
        shown.place(before)
    }

    /// Notes what is told in a page, if it follows on what was told before.
    fn record(&mut self, page: &Page, listings: &KernelListings) {
        let Some(record) = self.record.take() else { return };
        self.record = record.with(page, listings);
    }
}

impl KernelPages {
    /// What `struct fuse_dirent` takes without its name, and to a multiple of what it is padded.
    const ENTRY: (usize, usize) = (24, 8);

    const fn new(page_length: usize) -> Self {
        Self { length: 0, page_length }
    }

    const fn with(self, name_length: usize) -> Self {
        let (head, unit) = Self::ENTRY;
        let entry = (head + name_length).next_multiple_of(unit);
        let fits = self.length % self.page_length + entry <= self.page_length;
        let begin = if fits { self.length } else { self.length.next_multiple_of(self.page_length) };
        Self { length: begin + entry, ..self }
    }

    /// Whether the last page is full. Then the kernel takes an offset that is not in its listing for the end, as that of
    /// a reader of the listing before is not.
    const fn is_full(self) -> bool {
        self.length.is_multiple_of(self.page_length)
    }
}

impl Record {
    fn new(outline: Outline) -> Self {
        let dots = KernelPages::new(rustix::param::page_size()).with(1).with(2);
        Self { outline, validity: None, has_attributes: true, packed: dots }
    }

    /// Whether the kernel shows the listing right in every case.
    pub(crate) const fn can_be_kept(&self) -> bool {
        !self.packed.is_full()
    }

    /// Adds a page; nothing is left if the listing cannot be kept with it.
    fn with(mut self, page: &Page, listings: &KernelListings) -> Option<Self> {
        let is_next = page.first == FIRST_NAME + self.outline.count() as u64;
        // What must not be remembered has no validity at all.
        if !is_next || page.validity.until <= page.validity.asked {
            return None;
        }
        for named in &page.entries {
            self.packed = self.packed.with(named.name.as_bytes().len());
            let place = position(named);
            while let Err(full) = self.outline.push(&place) {
                if full == Full::ThisOne || !listings.make_room() {
                    return None;
                }
            }
        }
        let validity = self.validity.map_or(page.validity, |oldest| oldest.and(page.validity));
        Some(Self { validity: Some(validity), ..self })
    }
}

impl Reading {
    /// Nothing follows.
    pub(crate) fn is_end(&self) -> bool {
        !self.page.holds(self.at.index.max(FIRST_NAME)) && self.at.index >= FIRST_NAME
    }

    /// The entries from where it goes on, each with the offset after it.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, &Named)> {
        self.page.from(self.at.index).map(|(next, named)| (self.at.with_index(next).get(), named))
    }
}

impl Page {
    fn holds(&self, offset: u64) -> bool {
        usize::try_from(offset.wrapping_sub(self.first)).is_ok_and(|index| index < self.entries.len())
    }

    /// For how long an entry holds as the page has it. Of the directory of a mount a listing of what it lies in does not say
    /// how it is now.
    pub(crate) fn validity_of(&self, named: &Named) -> Validity {
        if named.entry.own_grant { Validity::already_over(self.validity.asked) } else { self.validity }
    }

    /// The entries from an index on, each with the index after it.
    fn from(&self, index: u64) -> impl Iterator<Item = (u64, &Named)> {
        let skipped = index.max(FIRST_NAME).saturating_sub(self.first);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(self.entries.len());
        (self.first + skipped as u64 + 1..).zip(&self.entries[skipped..])
    }
}

fn position(named: &Named) -> ListingPosition {
    ListingPosition::of(&named.name, named.entry.kind)
}

/// Places that do not rise would make a listing endless.
fn check_order(
    directory: InodeId,
    after: Option<&ListingPosition>,
    entries: &[Named],
) -> Result<(), NamespaceError> {
    let positions = after.cloned().into_iter().chain(entries.iter().map(position));
    if positions.is_sorted_by(|left, right| left < right) {
        return Ok(());
    }
    let message = format!("the listing of {directory} is out of order");
    Err(NamespaceError { kind: ErrorKind::Internal, message })
}
