//! What lies on a master's disk: its vote, its log, and the state as of the last snapshot.
//!
//! Entries count as lost with the machine until they were synced. Invariant: what was taken off the end of the log never
//! counts as synced, also not by a sync that was under way.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use forebay_metadata::Proposal;
use forebay_metadata::store::MemoryStore;

use super::state::Evidence;

/// The masters that vote: the id of the one in each slot.
pub(crate) type Members = BTreeMap<u8, u64>;

/// One entry of the log.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) term: u64,
    pub(crate) payload: Payload,
}

/// What an entry says.
#[derive(Debug)]
pub(crate) enum Payload {
    /// A leader has begun.
    Blank,
    /// These vote from this entry on.
    Members(Members),
    /// What the state machine is to do, and what its proposer had seen in under-stores.
    Change(Box<Proposal>, Vec<Evidence>),
}

/// The newest term that a master knows, and for whom it has voted in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vote {
    pub(crate) term: u64,
    pub(crate) candidate: Option<u64>,
}

/// The state after an entry.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) members: Members,
    pub(crate) store: MemoryStore,
}

/// What outlives the process.
#[derive(Debug)]
pub(crate) struct MasterDisk {
    /// Whose disk it is: an empty one belongs to a master that never was.
    pub(crate) id: u64,
    pub(crate) vote: Cell<Vote>,
    pub(crate) log: RefCell<MasterLog>,
    pub(crate) snapshot: RefCell<Rc<Snapshot>>,
}

/// The log.
#[derive(Debug, Default)]
pub(crate) struct MasterLog {
    /// The last entry that was purged, and its term.
    base: (u64, u64),
    entries: VecDeque<Rc<Entry>>,
    /// Up to here it would survive the machine.
    synced: u64,
    /// What a sync that is under way may reach at most.
    sync_end: u64,
    /// Who votes since which entry, oldest first.
    members: Vec<(u64, Members)>,
}

impl MasterDisk {
    /// The disk of a master that has a snapshot and nothing else.
    pub(crate) fn new(id: u64, snapshot: Rc<Snapshot>) -> Self {
        let mut log = MasterLog::default();
        log.begin_at(&snapshot);
        Self { id, vote: Cell::default(), log: RefCell::new(log), snapshot: RefCell::new(snapshot) }
    }

    /// The disk of a master that knows nothing.
    pub(crate) fn empty(id: u64) -> Self {
        let nothing = Snapshot { index: 0, term: 0, members: Members::new(), store: MemoryStore::default() };
        Self::new(id, Rc::new(nothing))
    }
}

impl MasterLog {
    /// The index of the last entry.
    pub(crate) fn last(&self) -> u64 {
        self.base.0 + self.entries.len() as u64
    }

    /// The last entry that was purged.
    pub(crate) const fn base(&self) -> u64 {
        self.base.0
    }

    pub(crate) const fn synced(&self) -> u64 {
        self.synced
    }

    /// The term of an entry, and of the last that was purged; `None` of what is not there.
    pub(crate) fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.base.0 { Some(self.base.1) } else { self.get(index).map(|entry| entry.term) }
    }

    pub(crate) fn get(&self, index: u64) -> Option<&Rc<Entry>> {
        let place = index.checked_sub(self.base.0 + 1)?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// Up to `most` entries from an index on.
    pub(crate) fn from(&self, index: u64, most: u64) -> Vec<Rc<Entry>> {
        (index..index + most).map_while(|index| self.get(index).cloned()).collect()
    }

    /// Who votes, and since which entry.
    pub(crate) fn members(&self) -> (u64, &Members) {
        let (since, members) = self.members.last().expect("there is one at least");
        (*since, members)
    }

    /// Who voted after the entry at `index`.
    pub(crate) fn members_at(&self, index: u64) -> Members {
        let at = self.members.iter().rev().find(|(since, _)| *since <= index);
        at.map(|(_, members)| members.clone()).unwrap_or_default()
    }

    pub(crate) fn push(&mut self, entry: Rc<Entry>) {
        if let Payload::Members(members) = &entry.payload {
            self.members.push((self.last() + 1, members.clone()));
        }
        self.entries.push_back(entry);
    }

    /// Takes off all entries after one.
    pub(crate) fn truncate(&mut self, last: u64) {
        while self.last() > last {
            self.entries.pop_back();
        }
        self.members.retain(|(since, _)| *since <= last);
        (self.synced, self.sync_end) = (self.synced.min(last), self.sync_end.min(last));
    }

    /// Up to where a sync reaches that begins now.
    pub(crate) fn begin_sync(&mut self) {
        self.sync_end = self.last();
    }

    pub(crate) fn end_sync(&mut self) {
        self.synced = self.synced.max(self.sync_end);
    }

    /// Lets go of entries up to one that a snapshot has.
    pub(crate) fn purge(&mut self, up_to: u64) {
        while self.base.0 < up_to
            && let Some(entry) = self.entries.pop_front()
        {
            self.base = (self.base.0 + 1, entry.term);
        }
        let members = self.members_at(self.base.0);
        self.members.retain(|(since, _)| *since > self.base.0);
        self.members.insert(0, (self.base.0, members));
    }

    /// The log of a master that has a snapshot: what follows it stays, if it does.
    pub(crate) fn begin_at(&mut self, snapshot: &Snapshot) {
        if snapshot.index > 0 && self.term_at(snapshot.index) == Some(snapshot.term) {
            return self.purge(snapshot.index);
        }
        self.base = (snapshot.index, snapshot.term);
        self.entries.clear();
        self.members = vec![(snapshot.index, snapshot.members.clone())];
        (self.synced, self.sync_end) = (snapshot.index, snapshot.index);
    }

    /// The machine stops.
    pub(crate) fn lose_power(&mut self) {
        self.truncate(self.synced);
    }
}
