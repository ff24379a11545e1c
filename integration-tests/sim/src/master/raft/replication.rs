//! Entries and snapshots on their way from a leader to the others, and what is committed of them.

use std::rc::Rc;
use std::time::Duration;

use super::super::Master;
use super::super::disk::{Entry, Snapshot};
use crate::limits::{ENTRIES_PER_MESSAGE, SNAPSHOT_PATIENCE};
use crate::plan::Planted;
use crate::world::World;

/// What a leader knows of another master.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) id: u64,
    /// The next entry to send.
    next: u64,
    /// Up to here its log is this one's, on its disk.
    pub(super) matched: u64,
    /// The last round that it answered.
    pub(super) round: u64,
    /// Until when an answer to what was sent is awaited.
    waits_until: Duration,
}

/// What a leader sends.
#[derive(Clone, Debug)]
struct Append {
    /// The slot and the id of the leader, and the id of whom it speaks to.
    from: (u8, u64),
    to: u64,
    term: u64,
    /// The index and the term of the entry before.
    before: (u64, u64),
    entries: Vec<Rc<Entry>>,
    committed: u64,
    round: u64,
}

/// What a master answers.
#[derive(Clone, Copy, Debug)]
struct Answer {
    from: (u8, u64),
    term: u64,
    round: u64,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// It follows; what was sent is on its way to the disk.
    Heard,
    /// Up to here its log is the leader's.
    Matches(u64),
    /// What was sent does not follow what it has; it has something up to here.
    Gap(u64),
}

impl Peer {
    pub(super) const fn new(id: u64, next: u64) -> Self {
        Self { id, next, matched: 0, round: 0, waits_until: Duration::ZERO }
    }

    /// The round that it is asked to answer; 0 where it has.
    const fn open_round(&self, round: u64) -> u64 {
        if self.round < round { round } else { 0 }
    }
}

impl Master {
    /// A leader begins: nothing is known of the others.
    pub(super) fn begin_replication(&self) {
        let log = self.disk.log.borrow();
        let next = log.last() + 1;
        let others = log.members().1.iter().filter(|(slot, _)| **slot != self.number);
        let peers = others.map(|(slot, id)| (*slot, Peer::new(*id, next))).collect();
        *self.raft.peers.borrow_mut() = peers;
    }

    /// Sends to all, whether there is something new or not.
    pub(super) fn send_to_all(self: &Rc<Self>, world: &Rc<World>) {
        let slots: Vec<u8> = self.raft.peers.borrow().keys().copied().collect();
        slots.into_iter().for_each(|slot| self.send(world, slot));
    }

    /// Sends entries to those who have answered what was sent before.
    pub(super) fn send_entries(self: &Rc<Self>, world: &Rc<World>) {
        let (last, now) = (self.disk.log.borrow().last(), world.now());
        let peers = self.raft.peers.borrow();
        let ready = peers.iter().filter(|(_, peer)| peer.next <= last && peer.waits_until <= now);
        let slots: Vec<u8> = ready.map(|(slot, _)| *slot).collect();
        drop(peers);
        slots.into_iter().for_each(|slot| self.send(world, slot));
    }

    fn send(self: &Rc<Self>, world: &Rc<World>, slot: u8) {
        let (raft, now) = (&self.raft, world.now());
        let mut peers = raft.peers.borrow_mut();
        let Some(peer) = peers.get_mut(&slot) else { return };
        let (from, to, term) = ((self.number, raft.id), peer.id, raft.term());
        let log = self.disk.log.borrow();
        if peer.next <= log.base() {
            // Between snapshots it is only told who leads.
            let is_due = peer.waits_until <= now;
            if is_due {
                peer.waits_until = now + SNAPSHOT_PATIENCE;
            }
            let snapshot = is_due.then(|| Rc::clone(&self.disk.snapshot.borrow()));
            let round = peer.open_round(raft.round.get());
            world.post((self.number, slot), move |world, master| {
                master.receive_snapshot(world, (from, to), (term, round), snapshot.as_ref());
            });
            return;
        }
        let before = peer.next - 1;
        let before = (before, log.term_at(before).expect("it was not purged"));
        let entries = log.from(peer.next, ENTRIES_PER_MESSAGE);
        if !entries.is_empty() {
            peer.waits_until = now + Self::resend_after();
        }
        let (committed, round) = (raft.committed.get(), peer.open_round(raft.round.get()));
        let append = Append { from, to, term, before, entries, committed, round };
        world.post((self.number, slot), move |world, master| master.receive(world, &append));
    }

    /// Whether what a leader says is to be listened to.
    fn follows(self: &Rc<Self>, world: &Rc<World>, from: (u8, u64), to: u64, term: u64) -> bool {
        if to != self.raft.id {
            return false;
        }
        self.see_term(world, term);
        let newest = self.raft.term();
        if newest > term {
            world.post((self.number, from.0), move |world, master| master.see_term(world, newest));
            return false;
        }
        self.hear_leader(world, from.0);
        true
    }

    fn answer(&self, world: &Rc<World>, leader: (u8, u64), term: u64, round: u64, outcome: Outcome) {
        let answer = Answer { from: (self.number, self.raft.id), term, round, outcome };
        world.post((self.number, leader.0), move |world, master| {
            if master.raft.id == leader.1 {
                master.take_answer(world, answer);
            }
        });
    }

    fn receive(self: &Rc<Self>, world: &Rc<World>, append: &Append) {
        let Append { from, to, term, before, ref entries, committed, round } = *append;
        if !self.follows(world, from, to, term) {
            return;
        }
        let mut log = self.disk.log.borrow_mut();
        let gap = match log.term_at(before.0) {
            Some(known) if known != before.1 => Some(before.0 - 1),
            None if before.0 > log.last() => Some(log.last()),
            // What was purged was committed, and is the leader's, too.
            _ => None,
        };
        if let Some(last) = gap {
            drop(log);
            return self.answer(world, from, term, round, Outcome::Gap(last));
        }
        let mut is_new = false;
        for (index, entry) in (before.0 + 1..).zip(entries) {
            if index <= log.base() || log.term_at(index) == Some(entry.term) {
                continue;
            }
            if index <= self.raft.committed.get() {
                let what =
                    format!("master {} has another entry {index} than {from:?} in {term}", self.number);
                world.oracle.report(world, "logs-agree", what, &["log:".to_owned()]);
                return;
            }
            log.truncate(index - 1);
            log.push(Rc::clone(entry));
            is_new = true;
        }
        let end = before.0 + entries.len() as u64;
        let is_synced = log.synced() >= end;
        drop(log);
        self.commit(committed.min(end));
        if is_synced && !is_new {
            return self.answer(world, from, term, round, Outcome::Matches(end));
        }
        if round > 0 {
            self.answer(world, from, term, round, Outcome::Heard);
        }
        self.write_then(move |world, master| {
            // What a newer leader took off is not there any more.
            if master.raft.term() == term {
                master.answer(world, from, term, round, Outcome::Matches(end));
            }
        });
    }

    fn receive_snapshot(
        self: &Rc<Self>,
        world: &Rc<World>,
        (from, to): ((u8, u64), u64),
        (term, round): (u64, u64),
        snapshot: Option<&Rc<Snapshot>>,
    ) {
        if !self.follows(world, from, to, term) {
            return;
        }
        self.answer(world, from, term, round, Outcome::Heard);
        let Some(snapshot) = snapshot else { return };
        let end = snapshot.index;
        if end > self.raft.committed.get() {
            self.install(world, snapshot);
        }
        self.write_then(move |world, master| {
            if master.raft.term() == term {
                master.answer(world, from, term, round, Outcome::Matches(end));
            }
        });
    }

    fn take_answer(self: &Rc<Self>, world: &Rc<World>, answer: Answer) {
        let raft = &self.raft;
        self.see_term(world, answer.term);
        if !raft.leads() || answer.term != raft.term() {
            return;
        }
        let mut peers = raft.peers.borrow_mut();
        let Some(peer) = peers.get_mut(&answer.from.0).filter(|peer| peer.id == answer.from.1) else {
            return;
        };
        let has_agreed = answer.round > peer.round;
        peer.round = peer.round.max(answer.round);
        match answer.outcome {
            Outcome::Heard => {}
            Outcome::Matches(end) => {
                peer.matched = peer.matched.max(end);
                (peer.next, peer.waits_until) = (peer.next.max(end + 1), world.now());
            }
            Outcome::Gap(last) => {
                (peer.next, peer.waits_until) =
                    ((last + 1).min(peer.next).max(peer.matched + 1), world.now());
            }
        }
        drop(peers);
        if has_agreed {
            raft.answers.raise();
        }
        self.advance(world);
        self.send_entries(world);
    }

    /// Commits what a quorum has on its disks, if the last of it is of this leader's term.
    pub(super) fn advance(self: &Rc<Self>, _world: &Rc<World>) {
        let raft = &self.raft;
        if !raft.leads() {
            return;
        }
        let synced = self.disk.log.borrow().synced();
        let has = |slot: u8, id: u64, index: u64| match id == raft.id {
            true => synced >= index,
            false => {
                raft.peers.borrow().get(&slot).is_some_and(|peer| peer.id == id && peer.matched >= index)
            }
        };
        let is_one = self.planted == Some(Planted::QuorumIsOne);
        let mut index = self.disk.log.borrow().last();
        while index > raft.committed.get() {
            if is_one && synced >= index || self.is_quorum(|slot, id| has(slot, id, index)) {
                let term = self.disk.log.borrow().term_at(index);
                if term == Some(raft.term()) {
                    self.commit(index);
                }
                return;
            }
            index -= 1;
        }
    }

    fn commit(&self, index: u64) {
        if index > self.raft.committed.get() {
            self.raft.committed.set(index);
            self.raft.commits.raise();
        }
    }
}
