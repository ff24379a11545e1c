//! A master that has just started votes for nobody, itself included, for the time of a lease.
//!
//! It may have heard from a leader just before it ended, and that leader counts on it: for the time of a lease it was
//! not to help to elect another one. The log keeps its votes, and not when it heard from whom.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::node::NodeRaft;

/// Until when this master votes for nobody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VotingSilence(Option<Instant>);

impl VotingSilence {
    /// From now on for `lease`; `None` for a master that was never part of a cluster.
    pub(crate) fn of(lease: Option<Duration>) -> Self {
        Self(lease.map(|lease| Instant::now() + lease))
    }

    pub(crate) fn is_over(self) -> bool {
        self.0.is_none_or(|until| until <= Instant::now())
    }

    /// Has the node stand for election again once it is over.
    pub(crate) async fn end(self, raft: NodeRaft, stop: CancellationToken) {
        let Some(until) = self.0 else { return };
        if stop.run_until_cancelled(tokio::time::sleep_until(until)).await.is_some() {
            raft.runtime_config().elect(true);
        }
    }
}
