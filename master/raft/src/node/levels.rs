//! Which commands may be logged: none that some master may not know (docs/adr/0028-feature-levels.md).
//!
//! The leader refuses a command above the level of the state before it is logged. A new cluster gets its level in the very
//! entry that gives it its identity, so that no crash comes between; later the level is raised only when each member has
//! said that it knows it.

use std::collections::BTreeMap;

use forebay_metadata::{
    ClusterIdentity, Command, FEATURE_LEVEL, Format, Proposal, Rejection, SetFeatureLevel, query,
};
use tokio::sync::MutexGuard;
use tokio::time::{Instant, timeout_at};

use super::membership::Joining;
use super::proposer::{Committed, propose_as_one};
use super::{PROPOSAL, RaftNode, timed_out};
use crate::error::RaftError;
use crate::types::EncodedProposal;

#[cfg(test)]
mod tests;

impl RaftNode {
    /// Up to which level commands may be logged, as far as this master has applied the log.
    ///
    /// # Errors
    /// [`RaftError::Unavailable`] when the node has stopped.
    pub fn feature_level(&self) -> Result<u32, RaftError> {
        Ok(self.state.current()?.level())
    }

    /// Raises the level up to which commands may be logged. `known` has for each member the level that it says it knows.
    ///
    /// Cancel safe as [`RaftNode::propose`] is. Repeated it changes nothing.
    ///
    /// # Errors
    /// [`RaftError::LevelNotKnown`], before anything is logged; those of [`RaftNode::propose`]. A level below that of the
    /// state is refused by the reply.
    pub async fn raise_feature_level(
        &self,
        level: u32,
        known: &BTreeMap<u64, u32>,
        deadline: Instant,
    ) -> Result<Committed, RaftError> {
        let command = Command::SetFeatureLevel(SetFeatureLevel { level });
        let _alone = self.alone(deadline, "the raise of the feature level").await?;
        // Behind this the membership is one that this master leads.
        self.read(deadline).await?;
        for member in self.members() {
            let said = known.get(&member.node).copied();
            let own = (member.node == self.node()).then_some(FEATURE_LEVEL);
            let knows = own.or(said);
            if knows.is_none_or(|knows| knows < command.level()) {
                return Err(RaftError::LevelNotKnown { level, member, known: knows });
            }
        }
        self.submit(None, command, deadline).await
    }

    /// Refuses a master that is to be taken in and may not know what the log has.
    ///
    /// # Errors
    /// [`RaftError::JoinsTooOld`]; those of [`RaftNode::read`].
    pub async fn may_join(&self, joining: &Joining<'_>, deadline: Instant) -> Result<(), RaftError> {
        // A new leader may not have applied a raise yet.
        self.read(deadline).await?;
        let (level, known) = (self.feature_level()?, joining.known);
        if known >= level {
            return Ok(());
        }
        let (slot, address) = (joining.slot, joining.address.to_owned());
        Err(RaftError::JoinsTooOld { slot, address, known, level })
    }

    /// What keeps joins and raises of the level apart on the master that leads.
    pub(super) async fn alone(
        &self,
        deadline: Instant,
        what: &'static str,
    ) -> Result<MutexGuard<'_, ()>, RaftError> {
        timeout_at(deadline, self.joins_and_levels.lock()).await.map_err(|_| timed_out(what))
    }

    /// Refuses a command that some master may not know.
    pub(super) async fn admit(&self, command: &Command, deadline: Instant) -> Result<(), RaftError> {
        let needed = command.level();
        if needed <= self.feature_level()? {
            return Ok(());
        }
        // Only a state with all that was acknowledged can tell: a new leader may not have applied a raise yet.
        self.read(deadline).await?;
        let current = self.feature_level()?;
        if needed <= current {
            return Ok(());
        }
        Err(RaftError::LevelTooLow { command: command.name(), needed, current })
    }

    /// Gives a new namespace its identity and its level, as one entry.
    pub(super) async fn format(&self, format: Format, deadline: Instant) -> Result<(), RaftError> {
        let (cluster, incarnation) = (format.cluster, format.incarnation);
        if let Some(identity) = self.identity(deadline).await? {
            let is_same = identity.cluster == cluster && identity.incarnation == incarnation;
            return if is_same {
                Ok(())
            } else {
                Err(RaftError::AlreadyFormed { cluster: identity.cluster })
            };
        }
        let level = Command::SetFeatureLevel(SetFeatureLevel { level: FEATURE_LEVEL });
        let mut proposals = Vec::new();
        for command in [Command::Format(format), level] {
            let proposal = Proposal { issued_at: self.clock.now(), session: None, command };
            let bytes = proposal.encode()?;
            proposals.push(EncodedProposal { proposal, bytes });
        }
        let done = timeout_at(deadline, propose_as_one(&self.raft, proposals)).await;
        let done = done.map_err(|_| timed_out(PROPOSAL))?.unwrap_or_else(|| Err(self.stopped()))?;
        match done.into_iter().find_map(|committed| committed.reply.err()) {
            None => Ok(()),
            // Somebody else was faster.
            Some(Rejection::AlreadyFormatted) => {
                let identity = self.identity(deadline).await?;
                Err(RaftError::AlreadyFormed { cluster: identity.map_or(cluster, |found| found.cluster) })
            }
            Some(rejection) => Err(RaftError::FormationRefused { reason: rejection.to_string() }),
        }
    }

    async fn identity(&self, deadline: Instant) -> Result<Option<ClusterIdentity>, RaftError> {
        let view = self.read(deadline).await?;
        Ok(query::identity(&view.moment())?)
    }
}
