//! The state of one master: it applies what is committed, answers who proposed it, and takes snapshots.

use std::rc::Rc;

use forebay_metadata::{Effect, Proposal, Reply, StateWriter, apply_all, query};
use forebay_types::{InodeId, LogIndex};

use std::time::Duration;

use super::Master;
use super::disk::{Entry, Payload, Snapshot};
use crate::limits::{ENTRIES_KEPT, SNAPSHOT_EVERY};
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

impl Master {
    /// Applies what is committed, for as long as the master lives.
    pub(super) async fn apply(self: &Rc<Self>, world: &Rc<World>) {
        loop {
            let seen = self.raft.commits.count();
            if self.raft.committed.get() > self.applied.get() {
                self.apply_rest(world);
                self.take_snapshot_if_due();
                continue;
            }
            self.raft.commits.beyond(seen).await;
            // Entries that come meanwhile are one batch.
            let time = world.dice("apply", |random| random.millis(4));
            world.sleep(time).await;
        }
    }

    /// Applies all that is committed and was not applied, as one batch.
    fn apply_rest(self: &Rc<Self>, world: &Rc<World>) {
        let (first, last) = (self.applied.get() + 1, self.raft.committed.get());
        let entries = self.disk.log.borrow().from(first, last + 1 - first);
        assert_eq!(entries.len() as u64, last + 1 - first, "what is committed is in the log");
        let numbered: Vec<(u64, &Rc<Entry>)> = (first..).zip(&entries).collect();
        let is_new = |index: u64| index > world.history.last();
        let evidence = || {
            let new = numbered.iter().filter(|(index, _)| is_new(*index));
            new.flat_map(|(_, entry)| evidence_of(entry)).collect::<Vec<_>>()
        };
        let evidence = evidence();
        let before: Vec<Option<Seen>> = evidence.iter().map(|of| self.seen(of)).collect();
        let changes = numbered.iter().filter_map(|(index, entry)| Some((*index, change_of(entry)?)));
        let proposals = changes.clone().map(|(index, proposal)| (LogIndex::new(index), proposal));
        let batch = apply_all(&*self.store.borrow(), proposals).expect("memory can be read");
        self.store.borrow_mut().commit(batch.mutations).expect("memory can be written");
        self.applied.set(last);
        let mut outcomes = changes.map(|(index, _)| index).zip(batch.outcomes).peekable();
        let mut effects = Vec::new();
        for (index, entry) in &numbered {
            let outcome = outcomes.next_if(|(of, _)| of == index).map(|(_, outcome)| outcome);
            let is_first = world.history.note(world, self.number, *index, entry);
            if let Some(outcome) = outcome {
                if is_first {
                    note_first(world, *index, entry, &outcome.effects, &outcome.reply);
                }
                effects.extend(outcome.effects);
                self.reply(*index, entry.term, Some(outcome.reply));
            } else {
                self.reply(*index, entry.term, None);
            }
        }
        for (of, before) in evidence.into_iter().zip(before) {
            if self.seen(of) != before {
                world.oracle.learned(of, world.now());
            }
        }
        self.send_effects(world, LogIndex::new(last), effects);
        self.applies.raise();
    }

    /// Answers who waits for an entry, if it is theirs; whoever's place another one has learns that nothing is known.
    fn reply(&self, index: u64, term: u64, reply: Option<Reply>) {
        let waiting = self.raft.waiting.borrow_mut().remove(&index);
        if let (Some((of, sender)), Some(reply)) = (waiting, reply)
            && of == term
        {
            // Whoever proposed may have given up.
            let _ = sender.send(reply);
        }
    }

    /// What this master's rows say of a name.
    fn seen(&self, of: &Evidence) -> Option<Seen> {
        let found = query::lookup(&*self.store.borrow(), of.directory, &entry_name(&of.name));
        found.expect("memory can be read").as_ref().map(Seen::of)
    }

    fn take_snapshot_if_due(&self) {
        let applied = self.applied.get();
        if applied < self.disk.snapshot.borrow().index + SNAPSHOT_EVERY {
            return;
        }
        let mut log = self.disk.log.borrow_mut();
        let snapshot = Snapshot {
            index: applied,
            term: log.term_at(applied).expect("what was just applied is there"),
            members: log.members_at(applied),
            store: self.store.borrow().clone(),
        };
        *self.disk.snapshot.borrow_mut() = Rc::new(snapshot);
        log.purge(applied.saturating_sub(ENTRIES_KEPT));
    }

    /// Takes the state of a leader over, whose log has lost what this one would need.
    pub(super) fn install(&self, world: &World, snapshot: &Rc<Snapshot>) {
        let index = snapshot.index;
        world.note(format_args!("master {} takes over the state after {index}", self.number));
        *self.disk.snapshot.borrow_mut() = Rc::clone(snapshot);
        self.disk.log.borrow_mut().begin_at(snapshot);
        *self.store.borrow_mut() = snapshot.store.clone();
        self.applied.set(index);
        self.raft.committed.set(index);
        // Who waited for what is in it does not learn what came of it.
        self.raft.waiting.borrow_mut().retain(|waited, _| *waited > index);
        self.lose_effects(LogIndex::new(index));
        self.applies.raise();
    }
}

fn change_of(entry: &Entry) -> Option<&Proposal> {
    match &entry.payload {
        Payload::Change(proposal, _) => Some(proposal),
        Payload::Blank | Payload::Members(_) => None,
    }
}

fn evidence_of(entry: &Entry) -> &[Evidence] {
    match &entry.payload {
        Payload::Change(_, evidence) => evidence,
        Payload::Blank | Payload::Members(_) => &[],
    }
}

/// The first master has applied an entry.
fn note_first(world: &World, index: u64, entry: &Entry, effects: &[Effect], reply: &Reply) {
    let name = change_of(entry).map_or("nothing", |proposal| proposal.command.name());
    world.note(format_args!("log:{index} {name} {reply:?}"));
    for effect in effects {
        if let Effect::ForgetVersions(files) = effect {
            world.oracle.freed(files, world.now());
        }
    }
}
