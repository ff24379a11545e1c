//! A model of the log that the masters share: terms, votes, a leader, a quorum, snapshots for whoever is far behind, and
//! masters that join in the place of one that lost its disk.
//!
//! It stands for openraft, which has tests of its own and is not what is looked at here: what is, is all that is built on
//! it. So it has no more than what that can see: who leads, who thinks so, what is committed when, and what a crash takes.
//! Two things are left out on purpose, pre-votes and steps down of leaders that hear nobody: both make trouble rarer.

mod election;
mod joining;
mod reading;
mod replication;

pub(crate) use self::joining::may_lose_disk;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use forebay_metadata::Reply;
use futures::channel::oneshot;

use self::replication::Peer;
use super::Master;
use super::disk::{Entry, Payload, Vote};
use crate::executor::Signal;
use crate::plan::Fault;
use crate::world::World;

/// What a master is, as far as it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Follower,
    Candidate,
    Leader,
}

/// What one life of a master knows of the log beside what is on its disk.
pub(crate) struct Raft {
    pub(crate) id: u64,
    /// As it will be on the disk with the next sync.
    vote: Cell<Vote>,
    role: Cell<Role>,
    /// Who leads, as far as it knows.
    leader: Cell<Option<u8>>,
    /// When it last heard of a leader, or gave its vote.
    heard_at: Cell<Duration>,
    pub(super) committed: Cell<u64>,
    /// Who has voted for it.
    votes: RefCell<BTreeSet<u64>>,
    /// A leader's.
    peers: RefCell<BTreeMap<u8, Peer>>,
    /// The last time that a leader asked whether it leads.
    round: Cell<u64>,
    /// Who waits for which entry, and the term that it must have.
    pub(super) waiting: RefCell<BTreeMap<u64, (u64, oneshot::Sender<Reply>)>>,
    /// Raised with each change of the role.
    pub(super) roles: Signal,
    /// Raised when more is committed.
    pub(super) commits: Signal,
    /// Raised when a peer has answered.
    answers: Signal,
    /// What was given to the disk, as numbers, and what is to be done when a number has come there.
    writes: Cell<u64>,
    to_write: Signal,
    due: RefCell<Vec<(u64, Due)>>,
}

type Due = Box<dyn FnOnce(&Rc<World>, &Rc<Master>)>;

impl fmt::Debug for Raft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raft").field("id", &self.id).field("role", &self.role).finish_non_exhaustive()
    }
}

impl Raft {
    /// What a master knows that has just read its disk.
    pub(crate) fn new(id: u64, vote: Vote, now: Duration, applied: u64) -> Self {
        Self {
            id,
            vote: Cell::new(vote),
            role: Cell::new(Role::Follower),
            leader: Cell::default(),
            heard_at: Cell::new(now),
            committed: Cell::new(applied),
            votes: RefCell::default(),
            peers: RefCell::default(),
            round: Cell::default(),
            waiting: RefCell::default(),
            roles: Signal::default(),
            commits: Signal::default(),
            answers: Signal::default(),
            writes: Cell::default(),
            to_write: Signal::default(),
            due: RefCell::default(),
        }
    }

    /// Whether it thinks that it leads.
    pub(crate) fn leads(&self) -> bool {
        self.role.get() == Role::Leader
    }

    /// Who leads, as far as it knows.
    pub(crate) fn leader(&self) -> Option<u8> {
        self.leader.get()
    }

    pub(crate) fn term(&self) -> u64 {
        self.vote.get().term
    }
}

impl Master {
    /// Has what was written synced, and does something then.
    fn write_then(&self, then: impl FnOnce(&Rc<World>, &Rc<Self>) + 'static) {
        let raft = &self.raft;
        raft.writes.set(raft.writes.get() + 1);
        raft.due.borrow_mut().push((raft.writes.get(), Box::new(then)));
        raft.to_write.raise();
    }

    /// Syncs what was written, for as long as the master lives. What comes meanwhile shares the next sync.
    pub(super) async fn write(self: &Rc<Self>, world: &Rc<World>) {
        let (raft, mut written) = (&self.raft, 0);
        loop {
            let seen = raft.to_write.count();
            let up_to = raft.writes.get();
            if up_to == written {
                raft.to_write.beyond(seen).await;
                continue;
            }
            let vote = raft.vote.get();
            self.disk.log.borrow_mut().begin_sync();
            let is_slow = world.plan.has(Fault::LogSlow) && world.dice("log", |random| random.chance(1, 15));
            let time = world.dice("log", |random| random.millis(if is_slow { 3000 } else { 8 }));
            world.sleep(time).await;
            self.disk.vote.set(vote);
            self.disk.log.borrow_mut().end_sync();
            written = up_to;
            let mut due = raft.due.borrow_mut();
            let later = due.partition_point(|(number, _)| *number <= written);
            let done: Vec<_> = due.drain(..later).collect();
            drop(due);
            for (_, then) in done {
                then(world, self);
            }
            self.advance(world);
        }
    }

    /// Adds an entry to the log of a leader, and has it sent to all.
    fn append(self: &Rc<Self>, world: &Rc<World>, payload: Payload) -> u64 {
        let mut log = self.disk.log.borrow_mut();
        log.push(Rc::new(Entry { term: self.raft.term(), payload }));
        let index = log.last();
        drop(log);
        self.write_then(|_, _| {});
        self.send_entries(world);
        index
    }

    /// The id of the master in a slot, if it votes.
    fn voter(&self, slot: u8) -> Option<u64> {
        self.disk.log.borrow().members().1.get(&slot).copied()
    }

    /// Whether it may vote itself.
    pub(super) fn votes(&self) -> bool {
        self.voter(self.number) == Some(self.raft.id)
    }

    /// Whether those for whom something holds are a quorum.
    fn is_quorum(&self, holds: impl Fn(u8, u64) -> bool) -> bool {
        let log = self.disk.log.borrow();
        let members = log.members().1;
        let count = members.iter().filter(|(slot, id)| holds(**slot, **id)).count();
        count * 2 > members.len()
    }
}
