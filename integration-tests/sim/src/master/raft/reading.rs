//! Changes and reads of whoever asks this master: both only while it leads, which a read has confirmed by a quorum.

use std::rc::Rc;
use std::time::Duration;

use forebay_metadata::{Command, Proposal, SessionStamp, Success};
use forebay_types::ErrorKind;
use futures::channel::oneshot;

use super::super::Master;
use super::super::disk::Payload;
use super::super::state::Evidence;
use crate::limits::{PROPOSE_DEADLINE, READ_DEADLINE, SLOW_LOG_AFTER};
use crate::plan::Planted;
use crate::world::World;

impl Master {
    /// Waits until the state has all that was acknowledged before, by whatever master. Gives the moment before which that
    /// was.
    ///
    /// # Errors
    /// `NotLeader` or `TimedOut`
    pub(crate) async fn confirm(self: &Rc<Self>, world: &Rc<World>) -> Result<Duration, ErrorKind> {
        let (begun, confirmed) = (world.now(), self.confirm_once(world));
        let confirmed = self.noted_if_slow(world, READ_DEADLINE, confirmed).await;
        confirmed.unwrap_or(Err(ErrorKind::TimedOut)).map(|()| begun)
    }

    async fn confirm_once(self: &Rc<Self>, world: &Rc<World>) -> Result<(), ErrorKind> {
        let (raft, term) = (&self.raft, self.raft.term());
        if raft.peers.borrow().is_empty() {
            let time = world.dice("read", |random| random.millis(2));
            world.sleep(time).await;
        }
        let still_leads = || match raft.leads() && raft.term() == term {
            true => Ok(()),
            false => Err(ErrorKind::NotLeader),
        };
        // What the leaders before committed is known once something of this one's term is.
        loop {
            still_leads()?;
            let (seen, roles) = (raft.commits.count(), raft.roles.count());
            if self.disk.log.borrow().term_at(raft.committed.get()) == Some(term) {
                break;
            }
            futures::future::select(
                std::pin::pin!(raft.commits.beyond(seen)),
                std::pin::pin!(raft.roles.beyond(roles)),
            )
            .await;
        }
        let committed = raft.committed.get();
        if self.planted != Some(Planted::ReadsAreNotConfirmed) {
            let round = raft.round.get() + 1;
            raft.round.set(round);
            self.send_to_all(world);
            loop {
                still_leads()?;
                let seen = raft.answers.count();
                let peers = || raft.peers.borrow();
                let agrees = |slot: u8, id: u64| {
                    id == raft.id
                        || peers().get(&slot).is_some_and(|peer| peer.id == id && peer.round >= round)
                };
                if self.is_quorum(agrees) {
                    break;
                }
                raft.answers.beyond(seen).await;
            }
        }
        loop {
            let seen = self.applies.count();
            if self.applied.get() >= committed {
                return Ok(());
            }
            self.applies.beyond(seen).await;
        }
    }

    /// Changes the namespace, on this master's own behalf. `evidence` is what the under-stores were seen to be.
    ///
    /// # Errors
    /// Those of a master that does not lead, of a log that is slow, and refusals.
    pub(crate) async fn propose(
        self: &Rc<Self>,
        world: &Rc<World>,
        command: Command,
        evidence: Vec<Evidence>,
    ) -> Result<Success, ErrorKind> {
        self.propose_for(world, None, command, evidence).await
    }

    /// The same for a client, whose change is made once, however often it is proposed.
    ///
    /// # Errors
    /// Those of [`Master::propose`].
    pub(crate) async fn propose_for(
        self: &Rc<Self>,
        world: &Rc<World>,
        session: Option<SessionStamp>,
        command: Command,
        evidence: Vec<Evidence>,
    ) -> Result<Success, ErrorKind> {
        if !self.raft.leads() {
            return Err(ErrorKind::NotLeader);
        }
        let session = session.filter(|_| self.planted != Some(Planted::RetryIsNew));
        let proposal = Proposal { issued_at: world.time_of_day(self.number), session, command };
        let bytes = proposal.encode().expect("a proposal of this size fits the log");
        // What is applied is what the log would give back.
        let proposal = Proposal::decode(&bytes).expect("the log gives back what it was given");
        let index = self.append(world, Payload::Change(Box::new(proposal), evidence));
        let (sender, reply) = oneshot::channel();
        self.raft.waiting.borrow_mut().insert(index, (self.raft.term(), sender));
        match self.noted_if_slow(world, PROPOSE_DEADLINE, reply).await {
            Some(Ok(reply)) => reply.map_err(|rejection| rejection.kind()),
            // Another leader's entry has its place, or may have: the outcome is unknown.
            Some(Err(_)) => Err(ErrorKind::Unavailable),
            None => Err(ErrorKind::TimedOut),
        }
    }

    /// Whoever waits for a listing cannot tell a slow log from a silent under-store.
    async fn noted_if_slow<T>(
        &self,
        world: &Rc<World>,
        deadline: Duration,
        of: impl Future<Output = T>,
    ) -> Option<T> {
        let mut of = std::pin::pin!(of);
        if let Some(outcome) = world.executor.within(SLOW_LOG_AFTER, &mut of).await {
            return Some(outcome);
        }
        let note = || world.mounts.iter().for_each(|mount| mount.store.note_trouble(world.now()));
        note();
        let outcome = world.executor.within(deadline.saturating_sub(SLOW_LOG_AFTER), of).await;
        note();
        outcome
    }
}
