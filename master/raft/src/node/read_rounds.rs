//! Confirms that this master still leads, once for all reads that wait at the same time.
//!
//! A read joins a round that begins after it arrived, so it sees every entry that was acknowledged before. An entry is
//! acknowledged by the master that leads once that one has applied it, so what this one has applied is enough as soon as
//! it has applied all of its predecessors, which its own first entry ends. Entries that are still being applied are
//! nobody's yet, and a read does not wait for them, however large they are.
//!
//! By option a round is over at once while the lease of the leader counts; see [`lease`](super::lease).

use std::sync::Arc;
use std::time::Duration;

use openraft::errors::LinearizableReadError;
use openraft::raft::linearizable_read::LinearizerOption;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::error::{FirstFailure, RaftError};
use crate::limits::QUEUED_READS_MAX;
use crate::node::lease::Lease;
use crate::node::{NodeRaft, leader_hint};
use crate::state::{NodeState, ReadView};
use crate::types::LeaderHint;

pub(super) type ReadAnswer = oneshot::Sender<Result<ReadView, RaftError>>;

pub(super) struct ReadRounds {
    pub(super) raft: NodeRaft,
    pub(super) state: Arc<NodeState>,
    pub(super) failure: FirstFailure,
    pub(super) queue: mpsc::Receiver<ReadAnswer>,
    /// `None`: each round asks a majority.
    pub(super) lease: Option<Lease>,
}

/// Why a round failed, to be told to several callers.
enum RoundError {
    NotLeader(Option<LeaderHint>),
    NoMajority(String),
    Stopped,
}

impl ReadRounds {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let rounds = async move {
            let mut waiting = Vec::new();
            while self.queue.recv_many(&mut waiting, QUEUED_READS_MAX).await > 0 {
                let round = self.round().await;
                for answer in waiting.drain(..) {
                    // Whoever asked may have given up.
                    let _ = answer.send(self.outcome(&round));
                }
            }
        };
        let _ = stop.run_until_cancelled_owned(rounds).await;
    }

    async fn round(&mut self) -> Result<ReadView, RoundError> {
        let age_max = self.lease.as_ref().map_or(Duration::ZERO, Lease::age_max);
        let began = self.lease.as_ref().map(Lease::ask);
        let option = LinearizerOption::new(Some(age_max), true);
        let confirmed =
            self.raft.get_read_linearizer(option).await.map_err(|error| match error.into_api_error() {
                Some(LinearizableReadError::ForwardToLeader(forward)) => {
                    RoundError::NotLeader(leader_hint(&forward))
                }
                Some(LinearizableReadError::QuorumNotEnough(error)) => {
                    RoundError::NoMajority(error.to_string())
                }
                None => RoundError::Stopped,
            });
        if let (Some(lease), Some(began)) = (&mut self.lease, began) {
            match &confirmed {
                Ok(_) if age_max.is_zero() => lease.confirmed(began),
                Err(RoundError::NotLeader(_)) => lease.lost(),
                Ok(_) | Err(_) => {}
            }
        }
        let confirmed = confirmed?;
        let own = confirmed.read_log_id().committed_leader_id();
        let is_beyond_predecessors =
            confirmed.applied().is_some_and(|applied| applied.committed_leader_id() == own);
        if !is_beyond_predecessors {
            confirmed.await_ready(&self.raft).await.map_err(|_| RoundError::Stopped)?;
        }
        self.state.view().map_err(|_| RoundError::Stopped)
    }

    fn outcome(&self, round: &Result<ReadView, RoundError>) -> Result<ReadView, RaftError> {
        match round {
            Ok(view) => Ok(view.clone()),
            Err(RoundError::NotLeader(leader)) => Err(RaftError::NotLeader { leader: leader.clone() }),
            Err(RoundError::NoMajority(reason)) => Err(RaftError::Unavailable { reason: reason.clone() }),
            Err(RoundError::Stopped) => Err(self.failure.explain(RaftError::stopped)),
        }
    }
}
