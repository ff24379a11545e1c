//! What survives a crash of the master: the log, and the state that was committed of it.
//!
//! A second replica applies the same log in steps of its own, and must come to the same rows.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use forebay_metadata::store::MemoryStore;
use forebay_metadata::{
    Command, Effect, Proposal, Reply, StateReader, StateWriter, apply, apply_all, invariant, query, snapshot,
};
use forebay_types::{InodeId, LogIndex, Timestamp};
use futures::channel::oneshot;

use crate::executor::Signal;
use crate::store::{Seen, entry_name};
use crate::world::World;

/// A name that an entry speaks of, and when the under-store was as the entry says.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    /// The number of the mount.
    pub(crate) mount: usize,
    /// The path in the under-store.
    pub(crate) path: String,
    /// The directory.
    pub(crate) directory: InodeId,
    /// The name in it.
    pub(crate) name: String,
    /// When it was so.
    pub(crate) at: Duration,
}

#[derive(Debug)]
struct Entry {
    proposal: Proposal,
    evidence: Vec<Evidence>,
}

/// The log and the replicas of its state.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: RefCell<Vec<Entry>>,
    /// The leader's rows.
    pub(crate) store: RefCell<MemoryStore>,
    applied: Cell<usize>,
    replica: RefCell<MemoryStore>,
    replica_applied: Cell<usize>,
    waiting: RefCell<BTreeMap<usize, oneshot::Sender<Reply>>>,
    /// Raised with each entry.
    pub(crate) appended: Signal,
}

impl Log {
    /// The index of the last entry that was applied.
    pub(crate) fn applied(&self) -> LogIndex {
        LogIndex::new(self.applied.get() as u64)
    }

    /// Makes an entry durable; its reply comes when it was applied.
    pub(crate) fn append(&self, proposal: &Proposal, evidence: Vec<Evidence>) -> oneshot::Receiver<Reply> {
        let bytes = proposal.encode().expect("a proposal of this size fits the log");
        // What is applied is what the log would give back.
        let proposal = Proposal::decode(&bytes).expect("the log gives back what it was given");
        let mut entries = self.entries.borrow_mut();
        entries.push(Entry { proposal, evidence });
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().insert(entries.len(), sender);
        drop(entries);
        self.appended.raise();
        receiver
    }

    /// Those who waited are gone with the master that they asked.
    pub(crate) fn crash(&self) {
        self.waiting.borrow_mut().clear();
    }

    /// Applies all entries that were not, as one batch. Gives the effects, and the index that they came with.
    pub(crate) fn apply_rest(&self, world: &Rc<World>) -> Option<(LogIndex, Vec<Effect>)> {
        let entries = self.entries.borrow();
        let (first, last) = (self.applied.get(), entries.len());
        if first == last {
            return None;
        }
        let rest = &entries[first..];
        let evidence = || rest.iter().flat_map(|entry| &entry.evidence);
        let before: Vec<Option<Seen>> = evidence().map(|of| self.seen(of)).collect();
        let numbered = rest
            .iter()
            .enumerate()
            .map(|(offset, entry)| (LogIndex::new((first + offset + 1) as u64), &entry.proposal));
        let batch = apply_all(&*self.store.borrow(), numbered).expect("memory can be read");
        self.store.borrow_mut().commit(batch.mutations).expect("memory can be written");
        self.applied.set(last);
        for (of, before) in evidence().zip(before) {
            if self.seen(of) != before {
                world.oracle.learned(of, world.now());
            }
        }
        let mut effects = Vec::new();
        for (offset, outcome) in batch.outcomes.into_iter().enumerate() {
            let index = first + offset + 1;
            let name = entries[index - 1].proposal.command.name();
            world.note(format_args!("log:{index} {name} {:?}", outcome.reply));
            for effect in &outcome.effects {
                if let Effect::ForgetVersions(files) = effect {
                    world.oracle.freed(files, world.now());
                }
            }
            effects.extend(outcome.effects);
            if let Some(sender) = self.waiting.borrow_mut().remove(&index) {
                // Whoever proposed may have given up.
                let _ = sender.send(outcome.reply);
            }
        }
        Some((LogIndex::new(last as u64), effects))
    }

    /// What the leader's rows say of a name.
    fn seen(&self, of: &Evidence) -> Option<Seen> {
        let found = query::lookup(&*self.store.borrow(), of.directory, &entry_name(&of.name));
        found.expect("memory can be read").as_ref().map(Seen::of)
    }

    /// Brings the second replica as far as the leader is, and compares them.
    pub(crate) fn compare_replicas(&self, world: &World) {
        let entries = self.entries.borrow();
        let mut replica = self.replica.borrow_mut();
        for number in self.replica_applied.get()..self.applied.get() {
            let index = LogIndex::new((number + 1) as u64);
            let applied = apply(&*replica, index, &entries[number].proposal).expect("memory can be read");
            replica.commit(applied.mutations).expect("memory can be written");
        }
        self.replica_applied.set(self.applied.get());
        let digest = |store: &dyn StateReader| snapshot::dump_digest(store).expect("memory can be read");
        if digest(&*replica) != digest(&*self.store.borrow()) {
            let what = format!("the replicas differ after the entry {}", self.applied.get());
            world.oracle.report(world, "replicas-are-equal", what, &["log:".to_owned()]);
        }
        let violations = invariant::check_all(&*replica).expect("memory can be read");
        if let Some(violation) = violations.first() {
            let what = format!("{}: {}", violation.invariant, violation.what);
            world.oracle.report(world, "the-state-is-sound", what, &["log:".to_owned()]);
        }
    }

    /// Applies the entries that format the state and mount, before anybody is there.
    pub(crate) fn begin(&self, issued_at: Timestamp, commands: Vec<Command>) {
        for command in commands {
            drop(self.append(&Proposal { issued_at, session: None, command }, Vec::new()));
        }
        let entries = self.entries.borrow();
        let numbered = (1..).map(LogIndex::new).zip(entries.iter().map(|entry| &entry.proposal));
        let batch = apply_all(&*self.store.borrow(), numbered).expect("memory can be read");
        self.store.borrow_mut().commit(batch.mutations).expect("memory can be written");
        self.applied.set(entries.len());
        self.waiting.borrow_mut().clear();
    }
}
