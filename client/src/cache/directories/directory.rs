//! What is remembered of one directory: answers by the place of their name in a listing, and how far it was listed.

use std::collections::BTreeMap;
use std::mem::size_of;
use std::ops::Bound;
use std::sync::Arc;

use forebay_types::{EntryKind, EntryName, InodeId, ListingPosition};

use super::{Place, Remembered, Term};

/// The place of a name, as [`ListingPosition`] has it. Shared by the two maps that have it.
pub(super) type Position = Arc<[u8]>;

/// An answer about a name.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) term: Term,
    /// What the name means; nothing if it is missing.
    pub(super) what: Option<Arc<T>>,
}

#[derive(Debug)]
pub(super) struct Directory<T> {
    /// That a name is missing stands where a file of that name would.
    answers: BTreeMap<Position, Answer<T>>,
    listing: Option<Listing>,
    /// It is content of an under-store, so no mount appears in it unheard of.
    pub(super) lies_in_mount: bool,
    /// It was found to be gone, which is for ever.
    pub(super) is_gone: bool,
    /// Its place among the directories by their last use.
    pub(super) used: u64,
    /// What its answers take.
    pub(super) bytes: usize,
    /// Up to where its answers were looked at for ones that are over.
    hand: Option<Position>,
}

/// All entries up to a place are remembered.
#[derive(Debug)]
struct Listing {
    /// Of all the pages.
    term: Term,
    passed: Position,
    /// There are none after it.
    is_complete: bool,
}

impl<T: Remembered> Answer<T> {
    /// About what it takes under its place, with what leads there: two counts for each shared thing, and slots that maps
    /// leave free.
    pub(super) fn bytes(&self, position: &Position) -> usize {
        const COUNTS: usize = 2 * size_of::<usize>();
        let slot = size_of::<(Position, Self)>() * 3 / 2;
        let what = self.what.as_ref().map_or(0, |entry| {
            COUNTS + size_of::<T>() + entry.heap_bytes() + 2 * size_of::<(InodeId, Place)>()
        });
        COUNTS + position.len() + slot + what
    }
}

impl<T: Remembered> Directory<T> {
    pub(super) const fn new(lies_in_mount: bool, used: u64) -> Self {
        let answers = BTreeMap::new();
        Self { answers, listing: None, lies_in_mount, is_gone: false, used, bytes: 0, hand: None }
    }

    /// The answer about a name, whatever it means.
    pub(super) fn find(&self, name: &EntryName) -> Option<&Answer<T>> {
        let at = |kind| self.answers.get(ListingPosition::of(name, kind).as_bytes());
        at(EntryKind::File).or_else(|| at(EntryKind::Directory))
    }

    pub(super) fn at(&self, position: &Position) -> Option<&Answer<T>> {
        self.answers.get(position)
    }

    /// Whether a later answer is remembered there.
    pub(super) fn is_newer_at(&self, position: &Position, term: Term) -> bool {
        self.answers.get(position).is_some_and(|answer| answer.term.asked > term.asked)
    }

    /// Since when all of it is known, if it is.
    pub(super) fn whole(&self) -> Option<Term> {
        self.listing.as_ref().filter(|listing| listing.is_complete).map(|listing| listing.term)
    }

    pub(super) fn insert(&mut self, position: Position, answer: Answer<T>, bytes: usize) {
        self.bytes += bytes;
        self.answers.insert(position, answer);
    }

    pub(super) fn remove(&mut self, position: &Position) -> Option<Answer<T>> {
        let answer = self.answers.remove(position)?;
        self.bytes -= answer.bytes(position);
        Some(answer)
    }

    /// Something of it was forgotten.
    pub(super) fn is_not_whole(&mut self) {
        self.listing = None;
    }

    /// The place of its last answer.
    pub(super) fn last(&self) -> Option<Position> {
        self.answers.last_key_value().map(|(position, _)| Arc::clone(position))
    }

    /// The entries that are known to stand after a place, with the answers that told of them.
    pub(super) fn after(
        &self,
        after: &ListingPosition,
    ) -> impl Iterator<Item = (&Position, &Answer<T>, &Arc<T>)> {
        let behind = (Bound::Excluded(after.as_bytes()), Bound::Unbounded);
        let answers = self.answers.range::<[u8], _>(behind);
        answers.filter_map(|(position, answer)| Some((position, answer, answer.what.as_ref()?)))
    }

    /// The entries after a place, as far as they are wanted, and whether no more follow.
    pub(super) fn page(
        &self,
        after: Option<&ListingPosition>,
        limit: usize,
    ) -> (Vec<(Position, Arc<T>)>, bool) {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_bytes()));
        let answers = self.answers.range::<[u8], _>((from, Bound::Unbounded));
        let mut entries = answers.filter_map(|(position, answer)| Some((position, answer.what.as_ref()?)));
        let shared = |(position, entry): (&Position, &Arc<T>)| (Arc::clone(position), Arc::clone(entry));
        let page = entries.by_ref().take(limit).map(shared).collect();
        (page, entries.next().is_none())
    }

    /// The answer that comes next in turn: its place, and what it is about.
    pub(super) fn next_by_hand(&mut self) -> Option<(Position, Option<Arc<T>>, Term)> {
        let from = self.hand.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.answers.range::<[u8], _>((from, Bound::Unbounded)).next();
        let (position, answer) = next.or_else(|| self.answers.first_key_value())?;
        let what = answer.what.clone();
        let (position, term) = (Arc::clone(position), answer.term);
        self.hand = Some(Arc::clone(&position));
        Some((position, what, term))
    }

    /// The entries that a page should show, and does not.
    pub(super) fn not_in(
        &self,
        after: Option<&Position>,
        page: &[(Position, Arc<T>)],
        complete: bool,
        term: Term,
    ) -> Vec<Position> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(&**after));
        let to = match page.last() {
            _ if complete => Bound::Unbounded,
            Some((last, _)) => Bound::Included(&**last),
            None => return Vec::new(),
        };
        let covered = self.answers.range::<[u8], _>((from, to));
        let is_gone = |(position, answer): &(&Position, &Answer<T>)| {
            let is_shown = || page.binary_search_by(|(shown, _)| shown.cmp(position)).is_ok();
            answer.what.is_some() && answer.term.asked <= term.asked && !is_shown()
        };
        covered.filter(is_gone).map(|(position, _)| Arc::clone(position)).collect()
    }

    /// A page was told of what stands after `after`, up to `last`. Pages that follow on each other are one listing,
    /// whoever asked for them: what changed between them is heard of, and voids it.
    pub(super) fn listed(
        &mut self,
        after: Option<Position>,
        last: Option<Position>,
        complete: bool,
        term: Term,
        is_whole: bool,
    ) {
        let begun = match (self.listing.take(), after) {
            _ if !is_whole => return,
            // A page that was long on its way takes nothing away.
            (Some(known), None) if known.is_complete && known.term.asked >= term.asked => Some(known),
            (_, None) => last.or_else(|| complete.then(|| Arc::from([]))).map(|passed| Listing {
                term,
                passed,
                is_complete: complete,
            }),
            (Some(known), Some(after)) if !known.is_complete && after <= known.passed => Some(Listing {
                term: known.term.and(term),
                passed: last
                    .map_or_else(|| Arc::clone(&known.passed), |last| last.max(Arc::clone(&known.passed))),
                is_complete: complete,
            }),
            (known, Some(_)) => known,
        };
        self.listing = begun;
    }
}

/// Where a name stands as an entry of this kind.
pub(super) fn position_of(name: &EntryName, kind: EntryKind) -> Position {
    ListingPosition::of(name, kind).as_bytes().into()
}

/// Where the same name stands as the other kind: as a directory, or as something else.
pub(super) fn twin_of(position: &Position) -> Position {
    match position.strip_suffix(b"/") {
        Some(name) => name.into(),
        None => [position, b"/".as_slice()].concat().into(),
    }
}

/// The name that stands there.
pub(super) fn name_of(position: &Position) -> EntryName {
    let name = position.strip_suffix(b"/").unwrap_or(position);
    EntryName::new(name.to_vec()).expect("only names are remembered")
}
