//! Who leads: votes, terms, and the pace at which a leader makes itself heard.

use std::rc::Rc;
use std::time::Duration;

use super::super::Master;
use super::super::disk::{Payload, Vote};
use super::Role;
use crate::limits::{ELECTION_TIMEOUT, LEADER_PACE};
use crate::world::World;

impl Master {
    /// Leads, follows, and stands for election where nobody is heard of.
    pub(in crate::master) async fn stand(self: &Rc<Self>, world: &Rc<World>) {
        let raft = &self.raft;
        loop {
            let seen = raft.roles.count();
            if raft.leads() {
                self.send_to_all(world);
                world.executor.within(LEADER_PACE, raft.roles.beyond(seen)).await;
                continue;
            }
            if !self.votes() {
                world.executor.within(ELECTION_TIMEOUT, raft.roles.beyond(seen)).await;
                continue;
            }
            let is_alone = self.disk.log.borrow().members().1.len() == 1;
            let timeout = match is_alone {
                true => world.dice("election", |random| random.millis(50)),
                false => world.dice("election", |random| random.time(ELECTION_TIMEOUT, ELECTION_TIMEOUT * 2)),
            };
            let left = (raft.heard_at.get() + timeout).saturating_sub(world.now());
            world.executor.within(left, raft.roles.beyond(seen)).await;
            let is_silent = world.now() >= raft.heard_at.get() + timeout;
            if !raft.leads() && is_silent {
                self.campaign(world);
            }
        }
    }

    fn campaign(self: &Rc<Self>, world: &Rc<World>) {
        let raft = &self.raft;
        let term = raft.term() + 1;
        raft.vote.set(Vote { term, candidate: Some(raft.id) });
        raft.role.set(Role::Candidate);
        raft.leader.set(None);
        raft.heard_at.set(world.now());
        raft.votes.borrow_mut().clear();
        world.note(format_args!("master {} stands in term {term}", self.number));
        self.write_then(move |world, master| {
            let raft = &master.raft;
            if raft.role.get() != Role::Candidate || raft.term() != term {
                return;
            }
            let log = master.disk.log.borrow();
            let last = log.last();
            let end = (log.term_at(last).expect("the last is there"), last);
            let members = log.members().1.clone();
            drop(log);
            for (slot, id) in members.into_iter().filter(|(slot, _)| *slot != master.number) {
                let (from, candidate) = (master.number, raft.id);
                world.post((from, slot), move |world, master| {
                    master.asked_for_vote(world, (from, candidate), id, term, end);
                });
            }
            master.take_vote(world, raft.id, term);
        });
    }

    fn asked_for_vote(
        self: &Rc<Self>,
        world: &Rc<World>,
        (from, candidate): (u8, u64),
        to: u64,
        term: u64,
        end: (u64, u64),
    ) {
        let raft = &self.raft;
        let hears_leader = raft.leader.get().is_some_and(|leader| leader != from)
            && world.now() < raft.heard_at.get() + ELECTION_TIMEOUT;
        if to != raft.id || hears_leader || raft.leads() && term <= raft.term() {
            return;
        }
        self.see_term(world, term);
        let vote = raft.vote.get();
        let log = self.disk.log.borrow();
        let own_end = (log.term_at(log.last()).expect("the last is there"), log.last());
        drop(log);
        let is_free = vote.candidate.is_none_or(|other| other == candidate);
        let number = self.number;
        if vote.term > term {
            let term = vote.term;
            world.post((number, from), move |world, master| master.see_term(world, term));
        } else if is_free && end >= own_end {
            raft.vote.set(Vote { term, candidate: Some(candidate) });
            raft.heard_at.set(world.now());
            let voter = raft.id;
            self.write_then(move |world, _| {
                world.post((number, from), move |world, master| master.take_vote(world, voter, term));
            });
        }
    }

    fn take_vote(self: &Rc<Self>, world: &Rc<World>, voter: u64, term: u64) {
        let raft = &self.raft;
        if raft.role.get() != Role::Candidate || raft.term() != term {
            return;
        }
        raft.votes.borrow_mut().insert(voter);
        if !self.is_quorum(|_, id| raft.votes.borrow().contains(&id)) {
            return;
        }
        world.note(format_args!("master {} leads in term {term}", self.number));
        world.oracle.leads(world, self.number, term);
        raft.role.set(Role::Leader);
        raft.leader.set(Some(self.number));
        self.begin_replication();
        self.append(world, Payload::Blank);
        raft.roles.raise();
    }

    /// A newer term ends whatever a master is in its own.
    pub(super) fn see_term(&self, world: &World, term: u64) {
        let raft = &self.raft;
        if term <= raft.term() {
            return;
        }
        raft.vote.set(Vote { term, candidate: None });
        self.write_then(|_, _| {});
        self.step_down(world);
    }

    pub(super) fn step_down(&self, world: &World) {
        let raft = &self.raft;
        raft.leader.set(None);
        if raft.role.replace(Role::Follower) != Role::Follower {
            world.note(format_args!("master {} leads no more, nor stands", self.number));
            raft.heard_at.set(world.now());
            raft.roles.raise();
            raft.answers.raise();
        }
    }

    /// Somebody leads in this master's term.
    pub(super) fn hear_leader(&self, world: &World, slot: u8) {
        if self.raft.role.get() != Role::Follower {
            self.step_down(world);
        }
        self.raft.leader.set(Some(slot));
        self.raft.heard_at.set(world.now());
    }

    /// For how long a message that says nothing new is awaited before it is sent again.
    pub(super) const fn resend_after() -> Duration {
        LEADER_PACE
    }
}
