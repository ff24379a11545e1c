//! What was committed, as nobody in the cluster knows it: each master that applies an entry must apply this one, and its rows
//! must be those of a replica that applies the same entries one by one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use forebay_metadata::store::MemoryStore;
use forebay_metadata::{StateReader, StateWriter, apply, invariant, snapshot};
use forebay_types::LogIndex;

use crate::executor::Node;
use crate::master::disk::{Entry, Payload, Snapshot};
use crate::world::World;

/// The committed entries, and the replica.
#[derive(Debug)]
pub(crate) struct History {
    /// Those up to here were there before anybody was.
    begin: u64,
    entries: RefCell<Vec<Rc<Entry>>>,
    replica: RefCell<MemoryStore>,
    applied: Cell<u64>,
}

impl History {
    /// Nothing has happened but for what the snapshot has.
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        let replica = RefCell::new(snapshot.store.clone());
        let applied = Cell::new(snapshot.index);
        Self { begin: snapshot.index, entries: RefCell::default(), replica, applied }
    }

    /// The last entry that some master has applied.
    pub(crate) fn last(&self) -> u64 {
        self.begin + self.entries.borrow().len() as u64
    }

    /// A master applies an entry; whether it is the first that does.
    pub(crate) fn note(&self, world: &World, master: u8, index: u64, entry: &Rc<Entry>) -> bool {
        let mut entries = self.entries.borrow_mut();
        let place = usize::try_from(index - self.begin - 1).expect("few entries");
        match entries.get(place) {
            None => {
                entries.push(Rc::clone(entry));
                true
            }
            Some(known) => {
                if !Rc::ptr_eq(known, entry) {
                    let (term, before) = (entry.term, known.term);
                    let what = format!(
                        "master {master} applies {index} of term {term}, and it was one of term {before}"
                    );
                    world.oracle.report(world, "logs-agree", what, &["log:".to_owned(), "leads".to_owned()]);
                }
                false
            }
        }
    }

    /// Brings the replica on, and compares each master with it that it passes.
    pub(crate) fn compare(&self, world: &World) {
        let masters = (0..world.plan.masters).filter_map(|number| world.master(Node::Master(number)));
        let mut masters: Vec<_> = masters.collect();
        masters.sort_by_key(|master| master.applied.get());
        for master in masters {
            let applied = master.applied.get();
            if applied < self.applied.get() {
                continue;
            }
            self.bring_to(applied);
            let digest = |store: &dyn StateReader| snapshot::dump_digest(store).expect("memory can be read");
            if digest(&*self.replica.borrow()) != digest(&*master.store.borrow()) {
                let what = format!("master {} has other rows after the entry {applied}", master.number);
                world.oracle.report(world, "replicas-are-equal", what, &["log:".to_owned()]);
            }
        }
        let violations = invariant::check_all(&*self.replica.borrow()).expect("memory can be read");
        if let Some(violation) = violations.first() {
            let what = format!("{}: {}", violation.invariant, violation.what);
            world.oracle.report(world, "the-state-is-sound", what, &["log:".to_owned()]);
        }
    }

    /// After the end of all trouble each master must have come to the last entry.
    pub(crate) fn compare_at_the_end(&self, world: &World, by: u64) {
        for number in 0..world.plan.masters {
            let applied = world.master(Node::Master(number)).map_or(0, |master| master.applied.get());
            if applied < by {
                let what =
                    format!("master {number} has applied {applied} entries of {by}, long after all trouble");
                world.oracle.report(world, "replicas-are-equal", what, &["master".to_owned()]);
            }
        }
        self.compare(world);
    }

    fn bring_to(&self, applied: u64) {
        let (entries, mut replica) = (self.entries.borrow(), self.replica.borrow_mut());
        for index in self.applied.get() + 1..=applied {
            let entry = &entries[usize::try_from(index - self.begin - 1).expect("few entries")];
            if let Payload::Change(proposal, _) = &entry.payload {
                let applied = apply(&*replica, LogIndex::new(index), proposal).expect("memory can be read");
                replica.commit(applied.mutations).expect("memory can be written");
            }
        }
        self.applied.set(applied);
    }
}
