//! The way to the other masters. There is none yet: this version forms clusters of one voter only.
//!
//! openraft never calls a peer of a membership of one; should it hold more (a directory of a later version), each call
//! says so and openraft goes on trying, as it does with a peer that is down.

use std::future::Future;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};

use crate::snapshot::SnapshotSource;
use crate::types::{NodeInfo, RaftVote, Snapshot, TypeConfig};

#[derive(Clone, Copy, Debug)]
pub(crate) struct NoPeers;

/// A peer that cannot be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnreachablePeer(u64);

impl UnreachablePeer {
    fn error(self) -> Unreachable<TypeConfig> {
        Unreachable::from_string(format!(
            "node {} cannot be reached: this version runs one master only",
            self.0
        ))
    }
}

impl RaftNetworkFactory<TypeConfig> for NoPeers {
    type Network = UnreachablePeer;

    async fn new_client(&mut self, target: u64, _node: &NodeInfo) -> UnreachablePeer {
        UnreachablePeer(target)
    }
}

impl RaftNetworkV2<TypeConfig> for UnreachablePeer {
    type SnapshotData = SnapshotSource;

    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.error().into())
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.error().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: RaftVote,
        _snapshot: Snapshot<SnapshotSource>,
        _cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(self.error().into())
    }
}
