//! Who belongs to the cluster, and who votes: asked of any node, changed on the one that leads.
//!
//! A node id is the index of a log entry of its own, so none is ever given twice. A new node follows first and gets its
//! vote once it has the log; whoever takes a vote away is told no where that would leave too few.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::LogIndex;
use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError as OpenraftError};
use tokio::time::{Instant, timeout_at};

use crate::error::RaftError;
use crate::node::{RaftNode, leader_hint, timed_out};
use crate::types::{NodeInfo, TypeConfig};

/// What a join that came too late is called.
const TAKING_IN: &str = "taking a master in";

/// One master of the cluster, as the log knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The id that it votes under.
    pub node: u64,
    /// Host and port.
    pub address: String,
    /// Its place in the configuration.
    pub slot: u32,
    /// Whether it votes, or is about to, or about to cease to.
    pub votes: bool,
    /// The last entry that it has like the leader; only the leader knows.
    pub matched: Option<LogIndex>,
}

/// A master that is to be taken in.
#[derive(Clone, Copy, Debug)]
pub struct Joining<'a> {
    /// Host and port.
    pub address: &'a str,
    /// Its place in the configuration.
    pub slot: u32,
    /// The highest feature level that its version knows.
    pub known: u32,
}

impl RaftNode {
    /// The id that this node votes under.
    #[must_use]
    pub fn node(&self) -> u64 {
        *self.raft.node_id()
    }

    /// The masters of the cluster, as far as this node knows, by node id.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let last = metrics.last_log_index;
        let matched = |node: &u64| match &metrics.replication {
            Some(_) if *node == metrics.id => last,
            Some(replication) => replication.get(node).and_then(|id| id.as_ref()).map(|id| id.index),
            None => None,
        };
        let member = |(node, info): (&u64, &NodeInfo)| Member {
            node: *node,
            address: info.address.clone(),
            slot: info.slot,
            votes: voters.contains(node),
            matched: matched(node).map(LogIndex::new),
        };
        membership.nodes().map(member).collect()
    }

    /// Takes a new node in, which follows and does not vote. Gives its id, which no node had before.
    ///
    /// Not cancel safe: it may have been taken in.
    ///
    /// # Errors
    /// [`RaftError::NotLeader`], [`RaftError::MembershipInTransit`], [`RaftError::TimedOut`], [`RaftError::Unavailable`], and
    /// [`RaftError::JoinsTooOld`] where it may not know what the log has.
    pub async fn add_learner(&self, joining: &Joining<'_>, deadline: Instant) -> Result<u64, RaftError> {
        let _alone = self.alone(deadline, TAKING_IN).await?;
        self.may_join(joining, deadline).await?;
        let Joining { address, slot, .. } = *joining;
        let added = timeout_at(deadline, async {
            // An entry that nobody else is part of.
            let blank = self.raft.write_blank().await.map_err(|error| self.refused(error))?;
            let node = blank.log_id.index;
            let info = NodeInfo { address: address.to_owned(), slot };
            self.raft.add_learner(node, info, false).await.map_err(|error| self.refused(error))?;
            Ok(node)
        });
        added.await.map_err(|_| timed_out(TAKING_IN))?
    }

    /// Takes a node that does not vote out.
    ///
    /// Not cancel safe.
    ///
    /// # Errors
    /// As [`RaftNode::add_learner`].
    pub async fn remove_learner(&self, node: u64, deadline: Instant) -> Result<(), RaftError> {
        self.change(ChangeMembers::RemoveNodes(BTreeSet::from([node])), deadline).await
    }

    /// Has exactly `voters` vote. Whoever voted and does no more leaves the cluster.
    ///
    /// Not cancel safe.
    ///
    /// # Errors
    /// As [`RaftNode::add_learner`].
    pub async fn set_voters(&self, voters: BTreeSet<u64>, deadline: Instant) -> Result<(), RaftError> {
        if !voters.contains(&self.node()) {
            // Those who are left may elect another leader at once.
            self.ceded.cede();
        }
        self.change(ChangeMembers::ReplaceAllVoters(voters), deadline).await
    }

    /// Notes where a node is found now.
    ///
    /// Not cancel safe.
    ///
    /// # Errors
    /// As [`RaftNode::add_learner`].
    pub async fn set_address(
        &self,
        node: u64,
        address: &str,
        slot: u32,
        deadline: Instant,
    ) -> Result<(), RaftError> {
        let info = NodeInfo { address: address.to_owned(), slot };
        self.change(ChangeMembers::SetNodes(BTreeMap::from([(node, info)])), deadline).await
    }

    async fn change(&self, change: ChangeMembers<u64, NodeInfo>, deadline: Instant) -> Result<(), RaftError> {
        let changed = timeout_at(deadline, self.raft.change_membership(change, false)).await;
        let changed = changed.map_err(|_| timed_out("a change of the masters"))?;
        changed.map(drop).map_err(|error| self.refused(error))
    }

    /// Asks `node` to lead, and waits until it does.
    ///
    /// Cancel safe in so far as it may lead all the same.
    ///
    /// # Errors
    /// [`RaftError::NotLeader`] where this node does not lead, [`RaftError::TimedOut`] where it leads still.
    pub async fn transfer_leader(&self, node: u64, deadline: Instant) -> Result<(), RaftError> {
        let leader = self.leader();
        if leader.as_ref().is_none_or(|leader| leader.node != self.node()) {
            return Err(RaftError::NotLeader { leader });
        }
        self.ceded.cede();
        self.raft.trigger().transfer_leader(node).await.map_err(|_| self.stopped())?;
        self.wait_until(deadline, |status| status.leader.as_ref().is_some_and(|leader| leader.node == node))
            .await
            .map(drop)
    }

    fn refused(&self, error: OpenraftError<TypeConfig, ClientWriteError<TypeConfig>>) -> RaftError {
        match error.into_api_error() {
            Some(ClientWriteError::ForwardToLeader(forward)) => {
                RaftError::NotLeader { leader: leader_hint(&forward) }
            }
            Some(ClientWriteError::ChangeMembershipError(error)) => {
                RaftError::MembershipInTransit { reason: error.to_string() }
            }
            Some(ClientWriteError::LogEntryDiscarded(_)) => RaftError::OutcomeUnknown,
            Some(error) => RaftError::Unavailable { reason: error.to_string() },
            None => self.stopped(),
        }
    }
}
