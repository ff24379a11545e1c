//! Directories as the master told them, so that what may still be used costs no message.
//!
//! Remembers answers about names, each with the moment at which it was asked for, and how far a directory was listed.
//! Whether an answer may be used is not decided here but by [`Grants`], each time anew; what is used has the age and the
//! validity that it had when it came. Bounded in bytes: the directory that was not used for longest makes room.
//! Invariants: an entry is remembered under one name; answers may overtake each other, and the newest stays; that a name
//! is missing, and a listing, are given only of directories of mounts, since in others a mount may appear at any time.

mod directory;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use forebay_proto::Validity;
use forebay_types::{EntryKind, EntryName, InodeId, ListingPosition};
use parking_lot::Mutex;

use self::directory::{Answer, Directory, Position, name_of, position_of, twin_of};
use crate::cache::{About, Grants, Standing};
use crate::limits::{ANSWERS_LOOKED_AT_MAX, DEPTH_MAX};

/// What is remembered of an entry.
pub trait Remembered {
    /// The entry's inode.
    fn inode(&self) -> InodeId;
    /// What it is.
    fn kind(&self) -> EntryKind;
    /// Whether it comes from an under-store. Only mounts appear in a directory that does not.
    fn is_of_under_store(&self) -> bool;
    /// Whether it has a grant of its own, so that nothing that is told of its directory says how it is.
    fn own_grant(&self) -> bool;
    /// What it takes in memory beside its own size.
    fn heap_bytes(&self) -> usize;
}

/// Since when an answer holds, and until when by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// When the master was asked: its answer cannot be older.
    pub asked: Instant,
    /// Until when it may be used without a grant.
    pub until: Instant,
}

/// Part of a directory: entries with their names, and whether no more follow.
pub type RememberedPage<T> = (Vec<(EntryName, Arc<T>)>, bool);

/// The memory of one client.
#[derive(Debug)]
pub struct Directories<T> {
    grants: Arc<Grants>,
    /// Held for a few steps only. That of the grants is taken within it, never the other way round.
    state: Mutex<State<T>>,
    bytes_max: usize,
    /// Answers are used no longer than this, whatever is granted.
    age_max: Duration,
    /// As the state has it, for whoever only shows it.
    bytes: AtomicUsize,
}

#[derive(Debug)]
struct State<T> {
    directories: HashMap<InodeId, Directory<T>>,
    /// Where each entry is remembered that is.
    places: HashMap<InodeId, Place>,
    /// The directories by their last use.
    by_use: BTreeMap<u64, InodeId>,
    uses: u64,
    bytes: usize,
    /// When something was last found to be gone: what was asked for before may lead there.
    gone_at: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Place {
    directory: InodeId,
    position: Position,
}

/// The grants as they are now, and how old an answer may be.
#[derive(Clone, Copy)]
struct Judge<'a> {
    grants: &'a Grants,
    now: Instant,
    age_max: Duration,
}

impl Term {
    /// That of an answer to a question of `asked`; `None` if it may not be remembered at all.
    #[must_use]
    pub fn new(asked: Instant, validity: Validity) -> Option<Self> {
        let is_for_once = validity.alone.is_zero() && validity.granted.is_zero();
        (!is_for_once).then(|| Self { asked, until: asked + validity.alone })
    }

    /// For how long it may be used without a grant, from `asked` on.
    #[must_use]
    pub fn valid(self) -> Duration {
        self.until - self.asked
    }

    /// That of two answers taken together.
    fn and(self, other: Self) -> Self {
        Self { asked: self.asked.min(other.asked), until: self.until.min(other.until) }
    }
}

impl Judge<'_> {
    /// Whether an answer about an entry of a directory may be used.
    fn allows_entry(self, entry: &impl Remembered, directory: InodeId, term: Term) -> bool {
        let about = About::entry(entry.inode(), directory).with_own_grant(entry.own_grant());
        self.allows(about, term)
    }

    /// Whether an answer may be used.
    fn allows(self, about: About, term: Term) -> bool {
        if self.now.saturating_duration_since(term.asked) >= self.age_max {
            return false;
        }
        match self.grants.standing(about, term.asked, self.now) {
            Standing::Void => false,
            Standing::Granted(_) => true,
            Standing::Unknown => self.now < term.until,
        }
    }
}

impl<T: Remembered> Directories<T> {
    /// A memory under these grants that takes up to `bytes_max`, nothing with 0, and gives no answer that is older than
    /// `age_max`.
    #[must_use]
    pub fn new(grants: Arc<Grants>, bytes_max: usize, age_max: Duration) -> Self {
        Self { grants, state: Mutex::default(), bytes_max, age_max, bytes: AtomicUsize::new(0) }
    }

    /// Whether anything is ever remembered.
    pub fn is_in_use(&self) -> bool {
        self.bytes_max > 0 && !self.age_max.is_zero()
    }

    /// What it takes now, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What a name means in a directory: an entry, or nothing where there is no such name; `None` if the master is to be
    /// asked.
    pub fn lookup(
        &self,
        directory: InodeId,
        name: &EntryName,
        now: Instant,
    ) -> Option<(Option<Arc<T>>, Term)> {
        let judge = self.judge(now)?;
        let mut state = self.state.lock();
        if state.is_another(directory, judge) {
            return None;
        }
        let known = state.known(directory)?;
        let found = known.find(name);
        if let Some(Answer { term, what: Some(entry) }) = found {
            let is_good = judge.allows_entry(&**entry, directory, *term);
            return is_good.then(|| (Some(Arc::clone(entry)), *term));
        }
        let mut missing = [found.map(|answer| answer.term), known.whole()].into_iter().flatten();
        let is_good = |term: &Term| known.lies_in_mount && judge.allows(About::names(directory), *term);
        missing.find(is_good).map(|term| (None, term))
    }

    /// What an inode is; `None` if the master is to be asked.
    pub fn attributes(&self, inode: InodeId, now: Instant) -> Option<(Arc<T>, Term)> {
        let judge = self.judge(now)?;
        let mut state = self.state.lock();
        let place = state.places.get(&inode)?.clone();
        let known = state.known(place.directory)?;
        let Answer { term, what: Some(entry) } = known.at(&place.position)? else { return None };
        judge.allows_entry(&**entry, place.directory, *term).then(|| (Arc::clone(entry), *term))
    }

    /// Where an entry is remembered: in which directory, and its place there.
    pub fn place_of(&self, inode: InodeId) -> Option<(InodeId, ListingPosition)> {
        let state = self.state.lock();
        let place = state.places.get(&inode)?;
        Some((place.directory, ListingPosition::of_key(&*place.position)?))
    }

    /// The entries of a directory that stand after `after`, up to `limit` of them; `None` if the master is to be asked.
    pub fn list(
        &self,
        directory: InodeId,
        after: Option<&ListingPosition>,
        limit: usize,
        now: Instant,
    ) -> Option<(RememberedPage<T>, Term)> {
        let judge = self.judge(now)?;
        let mut state = self.state.lock();
        if state.is_another(directory, judge) {
            return None;
        }
        let known = state.known(directory)?;
        let term = known.whole().filter(|_| known.lies_in_mount)?;
        if !judge.allows(About::names(directory), term) {
            return None;
        }
        let (page, complete) = known.page(after, limit);
        drop(state);
        Some((
            (page.into_iter().map(|(position, entry)| (name_of(&position), entry)).collect(), complete),
            term,
        ))
    }

    /// Entries of a directory that stand after `after`, up to `limit` of them, as far as they are remembered, whether or not
    /// they may still be used: for whoever only guesses what comes next. Between them there may be others.
    pub fn guess_after(
        &self,
        directory: InodeId,
        after: &ListingPosition,
        limit: usize,
        now: Instant,
    ) -> Vec<(ListingPosition, Arc<T>)> {
        let mut state = self.state.lock();
        let Some(known) = state.known(directory) else { return Vec::new() };
        let is_recent = |answer: &Answer<T>| now.saturating_duration_since(answer.term.asked) < self.age_max;
        let recent = known.after(after).take(limit).filter(|(_, answer, _)| is_recent(answer));
        let placed = |(position, _, entry): (&Position, _, &Arc<T>)| {
            Some((ListingPosition::of_key(&**position)?, Arc::clone(entry)))
        };
        recent.filter_map(placed).collect()
    }

    /// Takes an answer about a name up: what it means, or that it is missing.
    pub fn learn(
        &self,
        directory: InodeId,
        name: &EntryName,
        what: Option<T>,
        term: Option<Term>,
        now: Instant,
    ) {
        let Some(judge) = self.judge(now) else { return };
        let mut state = self.state.lock();
        let kind = what.as_ref().map_or(EntryKind::File, Remembered::kind);
        let position = position_of(name, kind);
        match term {
            Some(term) => {
                state.put(
                    directory,
                    &position,
                    Answer { term, what: what.map(Arc::new) },
                    self.bytes_max,
                    judge,
                );
            }
            None => {
                state.drop_at(directory, &position);
                state.drop_at(directory, &twin_of(&position));
            }
        }
        self.bytes.store(state.bytes, Ordering::Relaxed);
    }

    /// Takes an answer about an entry up whose name was not told, if it is known by name already.
    pub fn learn_entry(&self, directory: InodeId, what: T, term: Option<Term>, now: Instant) {
        let Some(judge) = self.judge(now) else { return };
        let mut state = self.state.lock();
        state.note_kind(&what);
        let Some(place) = state.places.get(&what.inode()).cloned() else { return };
        match term {
            Some(term) if place.directory == directory => {
                let answer = Answer { term, what: Some(Arc::new(what)) };
                state.put(directory, &place.position, answer, self.bytes_max, judge);
            }
            _ => state.drop_at(place.directory, &place.position),
        }
        self.bytes.store(state.bytes, Ordering::Relaxed);
    }

    /// Takes a page of a listing up: the entries that stand after `after`, and no others up to the last of them, or at
    /// all if it is `complete`.
    pub fn learn_page(
        &self,
        directory: InodeId,
        after: Option<&ListingPosition>,
        (entries, complete): (Vec<(EntryName, T)>, bool),
        term: Option<Term>,
        now: Instant,
    ) {
        let (Some(judge), Some(term)) = (self.judge(now), term) else { return };
        let entries: Vec<_> = entries
            .into_iter()
            .map(|(name, entry)| (position_of(&name, entry.kind()), Arc::new(entry)))
            .collect();
        let after: Option<Position> = after.map(|after| after.as_bytes().into());
        let places = after.iter().chain(entries.iter().map(|(position, _)| position));
        // Who tells them out of order does not say what there is not.
        if !places.is_sorted_by(|left, right| left < right) {
            return;
        }
        let mut state = self.state.lock();
        if state.is_from_before(term) {
            return;
        }
        state.drop_gone(directory, after.as_ref(), &entries, complete, term);
        let last = entries.last().map(|(position, _)| Arc::clone(position));
        let mut is_whole = true;
        for (position, entry) in entries {
            // Of how it is now a listing of its directory says nothing.
            let until = if entry.own_grant() { term.asked } else { term.until };
            let answer = Answer { term: Term { until, ..term }, what: Some(entry) };
            is_whole &= state.put(directory, &position, answer, self.bytes_max, judge);
        }
        state.meet(directory).listed(after, last, complete, term, is_whole);
        state.evict(directory, self.bytes_max);
        self.bytes.store(state.bytes, Ordering::Relaxed);
    }

    /// An inode was found to be gone. What leads to it may be gone as well, up to the root: all of that is asked for
    /// again, so that a path through it is walked anew from its begin.
    pub fn forget(&self, inode: InodeId, now: Instant) {
        if !self.is_in_use() {
            return;
        }
        let mut state = self.state.lock();
        state.gone_at = Some(now);
        if !state.places.contains_key(&inode) {
            // Nobody knows any more what leads there.
            drop(state);
            return self.forget_all(now);
        }
        if let Some(known) = state.directories.get_mut(&inode) {
            known.is_gone = true;
        }
        let mut next = Some(inode);
        for _ in 0..DEPTH_MAX {
            let Some(place) = next.and_then(|inode| state.places.get(&inode).cloned()) else { break };
            state.drop_at(place.directory, &place.position);
            next = Some(place.directory);
        }
        self.bytes.store(state.bytes, Ordering::Relaxed);
    }

    /// Everything may be another from now on, and whoever knows that does not wait until it is heard of.
    pub fn forget_all(&self, now: Instant) {
        let mut state = self.state.lock();
        let forgotten = std::mem::take(&mut *state);
        state.gone_at = Some(now);
        self.bytes.store(0, Ordering::Relaxed);
        drop(state);
        // It may be much: not under the lock.
        drop(forgotten);
    }

    /// `None` where nothing is ever remembered.
    fn judge(&self, now: Instant) -> Option<Judge<'_>> {
        self.is_in_use().then_some(Judge { grants: &self.grants, now, age_max: self.age_max })
    }
}

impl<T: Remembered> State<T> {
    /// About what a directory takes without its answers: maps leave slots free.
    const DIRECTORY_BYTES: usize = 2 * size_of::<(InodeId, Directory<T>)>() + 2 * size_of::<(u64, InodeId)>();

    /// Whether an answer was asked for before something was last found to be gone.
    fn is_from_before(&self, term: Term) -> bool {
        self.gone_at.is_some_and(|gone_at| term.asked <= gone_at)
    }

    /// Whether a directory was itself heard to be another since it was told of: gone, most often.
    fn is_another(&self, directory: InodeId, judge: Judge<'_>) -> bool {
        let Some(place) = self.places.get(&directory) else { return false };
        let known = self.directories.get(&place.directory).and_then(|known| known.at(&place.position));
        known.is_some_and(|answer| {
            let standing =
                judge.grants.standing(About::entry(directory, place.directory), answer.term.asked, judge.now);
            standing == Standing::Void
        })
    }

    /// A directory of which something may be known, as the one that was used last.
    fn known(&mut self, directory: InodeId) -> Option<&Directory<T>> {
        self.touch(directory).filter(|known| !known.is_gone).map(|known| &*known)
    }

    fn touch(&mut self, directory: InodeId) -> Option<&mut Directory<T>> {
        let known = self.directories.get_mut(&directory)?;
        if known.used != self.uses {
            self.by_use.remove(&known.used);
            self.uses += 1;
            known.used = self.uses;
            self.by_use.insert(self.uses, directory);
        }
        Some(known)
    }

    /// The same of whatever directory.
    fn meet(&mut self, directory: InodeId) -> &mut Directory<T> {
        if !self.directories.contains_key(&directory) {
            let place = self.places.get(&directory);
            let known = place.and_then(|place| self.directories.get(&place.directory)?.at(&place.position));
            let entry = known.and_then(|answer| answer.what.as_ref());
            let lies_in_mount = entry.is_some_and(|entry| entry.is_of_under_store());
            self.uses += 1;
            self.directories.insert(directory, Directory::new(lies_in_mount, self.uses));
            self.by_use.insert(self.uses, directory);
            self.bytes += Self::DIRECTORY_BYTES;
        }
        self.touch(directory).expect("it is known by now")
    }

    /// Remembers an answer; `false` if there is no room for it.
    fn put(
        &mut self,
        directory: InodeId,
        position: &Position,
        answer: Answer<T>,
        bytes_max: usize,
        judge: Judge<'_>,
    ) -> bool {
        if self.is_from_before(answer.term) {
            return false;
        }
        let twin = twin_of(position);
        let known = self.meet(directory);
        if known.is_gone {
            return false;
        }
        if known.is_newer_at(position, answer.term) || known.is_newer_at(&twin, answer.term) {
            return true;
        }
        // What is not a directory comes from an under-store, and so does all that lies beside it.
        known.lies_in_mount |= answer.what.as_ref().is_some_and(|entry| entry.kind() != EntryKind::Directory);
        for stale in [position, &twin] {
            self.remove(directory, stale);
        }
        let bytes = answer.bytes(position);
        if !self.make_room(directory, bytes, bytes_max, judge) {
            self.evict(directory, bytes_max);
            return false;
        }
        if let Some(entry) = &answer.what {
            self.note_kind(&**entry);
            let place = Place { directory, position: Arc::clone(position) };
            if let Some(before) = self.places.insert(entry.inode(), place) {
                self.drop_elsewhere(&before, entry.inode());
            }
        }
        self.bytes += bytes;
        self.meet(directory).insert(Arc::clone(position), answer, bytes);
        self.evict(directory, bytes_max);
        true
    }

    /// What an entry says of a directory that is known by its content.
    fn note_kind(&mut self, entry: &T) {
        if entry.kind() == EntryKind::Directory
            && let Some(known) = self.directories.get_mut(&entry.inode())
        {
            known.lies_in_mount = entry.is_of_under_store();
        }
    }

    /// An entry that is remembered under a new name is not under the one before.
    fn drop_elsewhere(&mut self, before: &Place, inode: InodeId) {
        let Some(known) = self.directories.get_mut(&before.directory) else { return };
        let is_it = |entry: &Arc<T>| entry.inode() == inode;
        if known.at(&before.position).and_then(|answer| answer.what.as_ref()).is_some_and(is_it) {
            self.bytes -= known.remove(&before.position).map_or(0, |answer| answer.bytes(&before.position));
            known.is_not_whole();
        }
    }

    /// Whether a directory has room for so much more. No one takes all of the memory; in one that has its part, answers
    /// that may not be used any more make room.
    fn make_room(&mut self, directory: InodeId, bytes: usize, bytes_max: usize, judge: Judge<'_>) -> bool {
        let part = bytes_max.saturating_sub(Self::DIRECTORY_BYTES.max(bytes_max / 4));
        for _ in 0..ANSWERS_LOOKED_AT_MAX {
            let known = self.meet(directory);
            if known.bytes + bytes <= part {
                return true;
            }
            let Some((position, entry, term)) = known.next_by_hand() else { break };
            let is_good = match entry {
                Some(entry) => judge.allows_entry(&*entry, directory, term),
                None => judge.allows(About::names(directory), term),
            };
            if !is_good {
                self.drop_at(directory, &position);
            }
        }
        self.meet(directory).bytes + bytes <= part
    }

    /// Forgets of the directories that were not used for longest, until all that is left has room.
    fn evict(&mut self, except: InodeId, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some((used, victim)) = self.by_use.first_key_value().map(|(used, of)| (*used, *of)) else {
                return;
            };
            match self.directories.get(&victim).and_then(Directory::last) {
                Some(_) if victim == except => return,
                Some(last) => self.drop_at(victim, &last),
                None => {
                    self.by_use.remove(&used);
                    self.directories.remove(&victim);
                    self.bytes -= Self::DIRECTORY_BYTES;
                }
            }
        }
    }

    /// What a page does not show of the part that it covers is gone.
    fn drop_gone(
        &mut self,
        directory: InodeId,
        after: Option<&Position>,
        entries: &[(Position, Arc<T>)],
        complete: bool,
        term: Term,
    ) {
        let Some(known) = self.directories.get(&directory) else { return };
        for position in known.not_in(after, entries, complete, term) {
            self.remove(directory, &position);
        }
    }

    /// Forgets an answer that is not known to be replaced: the directory is not known wholly any more.
    fn drop_at(&mut self, directory: InodeId, position: &Position) {
        if self.remove(directory, position)
            && let Some(known) = self.directories.get_mut(&directory)
        {
            known.is_not_whole();
        }
    }

    /// Forgets an answer; whether there was one.
    fn remove(&mut self, directory: InodeId, position: &Position) -> bool {
        let Some(known) = self.directories.get_mut(&directory) else { return false };
        let Some(answer) = known.remove(position) else { return false };
        self.bytes -= answer.bytes(position);
        if let Some(entry) = answer.what {
            self.places.remove(&entry.inode());
        }
        true
    }
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self {
            directories: HashMap::new(),
            places: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            bytes: 0,
            gone_at: None,
        }
    }
}
