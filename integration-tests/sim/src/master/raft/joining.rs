//! A master that lost its disk comes back as another one: it follows without a vote, and gets that of the one before when it
//! has the log.
//!
//! The real change is one of two quorums at once. Here the old one loses its vote, and the new one gets its own with another
//! entry once that is committed, which is as safe and as slow.

use std::rc::Rc;
use std::time::Duration;

use super::super::Master;
use super::super::disk::{Members, Payload};
use super::replication::Peer;
use crate::limits::{JOIN_PAUSE, JOINED_WITHIN};
use crate::world::World;

impl Master {
    /// Asks to be taken in until it is.
    pub(in crate::master) async fn join(self: &Rc<Self>, world: &Rc<World>) {
        while !self.votes() {
            let (slot, id) = (self.number, self.raft.id);
            for other in (0..world.plan.masters).filter(|other| *other != slot) {
                world.post((slot, other), move |world, master| master.asked_to_take_in(world, slot, id));
            }
            let pause = world.dice("join", |random| random.time(JOIN_PAUSE, JOIN_PAUSE * 2));
            world.sleep(pause).await;
        }
        world.note(format_args!("master {} votes as {}", self.number, self.raft.id));
    }

    fn asked_to_take_in(self: &Rc<Self>, world: &Rc<World>, slot: u8, id: u64) {
        let raft = &self.raft;
        if !raft.leads() {
            return;
        }
        let log = self.disk.log.borrow();
        let (since, members) = log.members();
        let (members, last): (Members, u64) = (members.clone(), log.last());
        let has_begun = log.term_at(raft.committed.get()) == Some(raft.term());
        let is_settled = since <= raft.committed.get() && has_begun;
        drop(log);
        let voter = members.get(&slot).copied();
        // One that was replaced since, whose message took long, is not to come back.
        if voter == Some(id) || voter.is_some_and(|voter| voter > id) || !is_settled {
            return;
        }
        let mut peers = raft.peers.borrow_mut();
        let peer = peers.entry(slot).or_insert_with(|| Peer::new(id, last + 1));
        if peer.id > id {
            return;
        }
        if peer.id != id {
            *peer = Peer::new(id, last + 1);
        }
        let has_log = peer.matched + JOINED_WITHIN >= last;
        drop(peers);
        if !has_log {
            return self.send_entries(world);
        }
        let mut members = members;
        if voter.is_some() {
            members.remove(&slot);
        } else {
            members.insert(slot, id);
        }
        world.note(format_args!("master {} has {members:?} vote", self.number));
        self.append(world, Payload::Members(members));
    }
}

/// Whether a state of the masters is whole enough for one of them to lose its disk: all of them vote.
pub(crate) fn may_lose_disk(world: &Rc<World>) -> bool {
    let Some(leader) = world.leader() else { return false };
    let log = leader.disk.log.borrow();
    let (since, members) = log.members();
    let is_settled = since <= leader.raft.committed.get() && world.now() > Duration::ZERO;
    is_settled && (0..world.plan.masters).all(|slot| members.get(&slot) == Some(&world.disk_of(slot).id))
}
