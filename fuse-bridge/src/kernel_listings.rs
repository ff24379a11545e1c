//! The listings that the kernel keeps of directories: which, by which answers, and until when they may be shown.
//!
//! The kernel gathers a listing from the answers to READDIR that a handle gets, and has the whole of it once it is told
//! of the end. It never forgets it by itself: each OPENDIR says whether what it has may be shown, and a directory that
//! stays open is told of when it may not any more. Walks through a directory have a number, which stands in the offsets of
//! its names; the kernel adds an entry only after the one whose offset it was asked by, so what it gathers is all of one
//! number. A new number begins only after the kernel dropped what it had. It cannot be told to forget that it gathers,
//! only to go on: what was broken off is finished by the next walk under the same number, and what came of several walks
//! is dropped before the kernel hears of its end. Invariant: of a directory there is a listing or a number under way.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use forebay_client::About;
use parking_lot::Mutex;

use crate::limits::{KERNEL_LISTINGS_MAX, LOOKER_TRUST, LOOKERS_MAX, LOOKUPS_IN_SHOWN, READ_AT_ONCE};
use crate::node_id::NodeId;
use crate::outline::{Outline, OutlineMemory};
use crate::ttl::Validity;
use crate::walk::{Unfinished, Walk, WalkNumber};

/// A listing that the kernel has.
#[derive(Clone, Debug)]
pub(crate) struct KernelListing {
    /// What it says.
    pub(crate) names: About,
    /// That the directory is what it was.
    pub(crate) itself: About,
    /// That of its oldest part.
    pub(crate) validity: Validity,
    /// When what the kernel was told of its entries with it is over.
    pub(crate) end: Instant,
    pub(crate) outline: Arc<Outline>,
    /// The kernel was told how each entry is, and not only its name.
    pub(crate) has_attributes: bool,
}

/// Who opens a directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opener {
    pub(crate) directory: NodeId,
    /// Its thread.
    pub(crate) pid: u32,
    pub(crate) now: Instant,
}

/// What an OPENDIR is answered.
#[derive(Debug)]
pub(crate) enum Opening {
    /// The handle has no part in what the kernel keeps, which others have.
    Plain,
    /// The kernel gathers the listing anew.
    Gather(Walk),
    /// The kernel shows what it has.
    Show(Arc<Outline>),
}

/// The listings of one mount.
#[derive(Debug)]
pub(crate) struct KernelListings {
    /// Held for a few steps only; what says whether a listing stands takes its own locks within it.
    state: Mutex<State>,
    /// Open handles to which the kernel shows what it has, as the state knows them.
    shown: AtomicUsize,
    memory: OutlineMemory,
}

#[derive(Debug, Default)]
struct State {
    directories: HashMap<NodeId, Known>,
    /// Those with handles.
    open: HashSet<NodeId>,
    /// All by their last use.
    by_use: BTreeMap<u64, NodeId>,
    uses: u64,
    walks: u32,
    /// Threads that looked entries up one by one while they read a listing that the kernel showed, and when they last
    /// opened one. They get the next ones with attributes.
    lookers: HashMap<u32, Instant>,
}

/// What is known of the kernel's part of a directory.
#[derive(Debug, Default)]
struct Known {
    listing: Option<KernelListing>,
    gathered: Option<Gathered>,
    /// Open handles that have part in what the kernel keeps.
    handles: usize,
    /// Those of them that were opened to be shown what it has.
    shown: usize,
    /// Names that were looked up while there were some.
    lookups: usize,
    used: u64,
}

/// What the kernel has part of.
#[derive(Debug)]
struct Gathered {
    number: WalkNumber,
    /// Handles that are on their way; none if it was broken off.
    walks: usize,
    /// Not all of it is of one walk.
    is_mixed: bool,
}

impl KernelListings {
    pub(crate) fn new(memory: OutlineMemory) -> Self {
        Self { state: Mutex::default(), shown: AtomicUsize::new(0), memory }
    }

    pub(crate) const fn memory(&self) -> &OutlineMemory {
        &self.memory
    }

    /// The listing that the kernel has and may show, if it `stands`. Counts a handle then.
    pub(crate) fn open_to_show(
        &self,
        opener: Opener,
        stands: impl Fn(&KernelListing) -> bool,
    ) -> Option<Arc<Outline>> {
        let mut state = self.state.lock();
        state.note_looker(opener);
        let listing = state.directories.get(&opener.directory)?.listing.as_ref()?;
        if !stands(listing) || (!listing.has_attributes && state.is_looker(opener)) {
            return None;
        }
        let outline = Arc::clone(&listing.outline);
        self.show(&mut state, opener.directory);
        Some(outline)
    }

    /// What to answer where [`open_to_show`](Self::open_to_show) had nothing when it was asked. Counts a handle unless
    /// it is a plain one.
    pub(crate) fn open(&self, opener: Opener, stands: impl Fn(&KernelListing) -> bool) -> Opening {
        if let Some(outline) = self.open_to_show(opener, stands) {
            return Opening::Show(outline);
        }
        let mut state = self.state.lock();
        let known = state.known(opener.directory);
        // The kernel would mix it with what another handle gathers.
        if known.gathered.as_ref().is_some_and(|gathered| gathered.walks > 0) {
            return Opening::Plain;
        }
        // It is dropped with this OPENDIR.
        known.listing = None;
        let walk = state.begin(opener.directory);
        state.enter(opener.directory);
        Opening::Gather(walk)
    }

    /// A name of a directory is looked up. Whether the kernel is to be told to drop the listing that it shows, so that it
    /// asks for the rest with attributes.
    pub(crate) fn looked_up(&self, looker: Opener) -> bool {
        if self.shown.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut state = self.state.lock();
        let Some(known) = state.directories.get_mut(&looker.directory).filter(|known| known.shown > 0) else {
            return false;
        };
        known.lookups += 1;
        if known.lookups != LOOKUPS_IN_SHOWN {
            return false;
        }
        // A program has read a shorter one to its end by now.
        let is_long = |listing: &KernelListing| listing.outline.count() > READ_AT_ONCE;
        let is_dropped = known.listing.take_if(|listing| is_long(listing)).is_some();
        if state.lookers.len() >= LOOKERS_MAX {
            state.lookers.retain(|_, opened| looker.now.saturating_duration_since(*opened) < LOOKER_TRUST);
        }
        if state.lookers.len() < LOOKERS_MAX {
            state.lookers.insert(looker.pid, looker.now);
        }
        is_dropped
    }

    fn show(&self, state: &mut State, directory: NodeId) {
        state.enter(directory);
        let known = state.known(directory);
        if known.shown == 0 {
            known.lookups = 0;
        }
        known.shown += 1;
        self.shown.fetch_add(1, Ordering::Relaxed);
    }

    /// A handle that has part in what the kernel keeps is read from the begin: the kernel has nothing to show. `None` if
    /// the kernel is to be told to drop what it has, before this is asked again; `is_dropped` says that it just did.
    pub(crate) fn walk(&self, directory: NodeId, is_dropped: bool) -> Option<Walk> {
        let mut state = self.state.lock();
        let known = state.known(directory);
        let is_to_be_dropped = known.listing.take().is_some() || (known.gathered.is_none() && !is_dropped);
        (!is_to_be_dropped).then(|| state.begin(directory))
    }

    /// A walk begins again before its end. Whether it may go on under its number.
    pub(crate) fn again(&self, directory: NodeId, number: WalkNumber) -> bool {
        let mut state = self.state.lock();
        let gathered = state.known(directory).gathered.as_mut().filter(|gathered| gathered.number == number);
        gathered.map(|gathered| gathered.is_mixed = true).is_some()
    }

    /// The kernel is about to hear of the end of a walk. Whether it may keep what it gathered; if not, it is to be told
    /// to drop it before it hears.
    pub(crate) fn end(
        &self,
        directory: NodeId,
        number: WalkNumber,
        listing: Option<KernelListing>,
        stands: impl Fn(&KernelListing) -> bool,
    ) -> bool {
        let mut state = self.state.lock();
        let known = state.known(directory);
        let Some(gathered) = known.gathered.take_if(|gathered| gathered.number == number) else {
            // The kernel may have it still, and nothing else with it.
            known.listing = None;
            return false;
        };
        known.listing = listing.filter(|listing| !gathered.is_mixed && stands(listing));
        known.listing.is_some()
    }

    /// Uncounts a handle that has part in what the kernel keeps.
    pub(crate) fn close(&self, directory: NodeId, was_shown: bool, unfinished: Unfinished) {
        let mut state = self.state.lock();
        let Some(known) = state.directories.get_mut(&directory) else { return };
        known.handles = known.handles.saturating_sub(1);
        if was_shown {
            known.shown = known.shown.saturating_sub(1);
            self.shown.fetch_sub(1, Ordering::Relaxed);
        }
        if let Unfinished::NotBegun(number) | Unfinished::BrokenOff(number) = unfinished
            && let Some(gathered) = known.gathered.as_mut().filter(|gathered| gathered.number == number)
        {
            gathered.walks -= 1;
            gathered.is_mixed |= unfinished == Unfinished::BrokenOff(number);
            known.gathered.take_if(|gathered| gathered.walks == 0 && !gathered.is_mixed);
        }
        if known.handles == 0 {
            state.open.remove(&directory);
            state.evict();
        }
    }

    /// The kernel forgot the directory, and so what it had of it.
    pub(crate) fn forget(&self, directory: NodeId) {
        let mut state = self.state.lock();
        if state.directories.get(&directory).is_some_and(|known| known.handles == 0) {
            state.remove(directory);
        }
    }

    /// Gives up listings of open directories that do not stand any more. The kernel is to be told of these.
    pub(crate) fn give_up(&self, stands: impl Fn(&KernelListing) -> bool) -> Vec<NodeId> {
        let mut state = self.state.lock();
        let State { directories, open, .. } = &mut *state;
        let mut given_up = Vec::new();
        for directory in &*open {
            let Some(known) = directories.get_mut(directory) else { continue };
            if known.listing.take_if(|listing| !stands(listing)).is_some() {
                given_up.push(*directory);
            }
        }
        given_up
    }

    /// Makes room for outlines by forgetting one listing that nobody has open; `false` if there is none. The next
    /// OPENDIR has the kernel drop it.
    pub(crate) fn make_room(&self) -> bool {
        let mut state = self.state.lock();
        let is_idle = |known: &Known| known.handles == 0 && known.listing.is_some();
        let idle = state.by_use.values().copied().find(|of| state.directories.get(of).is_some_and(is_idle));
        idle.map(|directory| state.remove(directory)).is_some()
    }
}

impl State {
    /// The directory, as the one that was used last.
    fn known(&mut self, directory: NodeId) -> &mut Known {
        self.uses += 1;
        let known = self.directories.entry(directory).or_default();
        self.by_use.remove(&known.used);
        known.used = self.uses;
        self.by_use.insert(self.uses, directory);
        known
    }

    fn is_looker(&self, opener: Opener) -> bool {
        let opened = self.lookers.get(&opener.pid);
        opened.is_some_and(|opened| opener.now.saturating_duration_since(*opened) < LOOKER_TRUST)
    }

    /// A looker is one for as long as it goes on opening directories.
    fn note_looker(&mut self, opener: Opener) {
        if self.is_looker(opener) {
            self.lookers.insert(opener.pid, opener.now);
        }
    }

    fn enter(&mut self, directory: NodeId) {
        self.known(directory).handles += 1;
        self.open.insert(directory);
        self.evict();
    }

    fn begin(&mut self, directory: NodeId) -> Walk {
        self.walks = self.walks % WalkNumber::MAX + 1;
        let fresh = WalkNumber::new(self.walks);
        let known = self.known(directory);
        let begun = known.gathered.is_some();
        let gathered = known.gathered.get_or_insert(Gathered { number: fresh, walks: 0, is_mixed: false });
        gathered.walks += 1;
        gathered.is_mixed |= begun;
        Walk { number: gathered.number, is_mixed: begun }
    }

    /// Forgets of the directories without handles that were not used for longest. What the kernel has of them it drops
    /// with their next OPENDIR.
    fn evict(&mut self) {
        while self.directories.len() - self.open.len() > KERNEL_LISTINGS_MAX {
            let idle = self.by_use.values().copied().find(|of| !self.open.contains(of));
            let Some(idle) = idle else { return };
            self.remove(idle);
        }
    }

    fn remove(&mut self, directory: NodeId) {
        if let Some(known) = self.directories.remove(&directory) {
            self.by_use.remove(&known.used);
        }
    }
}

#[cfg(test)]
mod tests;
