//! What openraft is told about our types: what an entry carries, how a node is named, how an answer finds its way back.
//!
//! Standard Raft's leader ids are used (one leader a term), so that a term alone names a leader.

use std::fmt;
use std::sync::Arc;

use forebay_metadata::{Proposal, Reply};
use openraft::impls::{BoxedErrorSource, Entry, EntryPayload, InlineBatch, Vote, leader_id_std};
use openraft::raft::responder::Responder;
use openraft::vote::RaftLeaderId;
use openraft::{OptionalSend, RaftTypeConfig};
use serde::{Deserialize, Serialize};

/// Where a master is found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeInfo {
    /// Host and port of its gRPC service.
    pub(crate) address: String,
    /// Its place in the configuration. Only a name: the node id is what votes.
    pub(crate) slot: u32,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderHint {
    /// The node id.
    pub node: u64,
    /// Host and port of its gRPC service; empty where it is not known.
    pub address: String,
}

/// A master of the cluster, whether it votes or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node id.
    pub node: u64,
    /// Its place in the configuration.
    pub slot: u32,
    /// Host and port of its gRPC service.
    pub address: String,
}

/// A proposal with the bytes that the log keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EncodedProposal {
    pub(crate) proposal: Proposal,
    pub(crate) bytes: Vec<u8>,
}

/// What one entry carries: proposals that were waiting at the same time. Shared, since the log's memory, its writer
/// and the state machine hold the same entry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<u8>>", into = "Vec<Vec<u8>>")]
pub(crate) struct ProposalBatch(pub(crate) Arc<[EncodedProposal]>);

/// The answers to the proposals of one entry, in their order. Empty for an entry that carries none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BatchReply(pub(crate) Vec<Reply>);

impl TryFrom<Vec<Vec<u8>>> for ProposalBatch {
    type Error = forebay_metadata::CodecError;

    fn try_from(encoded: Vec<Vec<u8>>) -> Result<Self, Self::Error> {
        let proposals = encoded
            .into_iter()
            .map(|bytes| Proposal::decode(&bytes).map(|proposal| EncodedProposal { proposal, bytes }));
        Ok(Self(proposals.collect::<Result<_, _>>()?))
    }
}

impl From<ProposalBatch> for Vec<Vec<u8>> {
    fn from(batch: ProposalBatch) -> Self {
        batch.0.iter().map(|encoded| encoded.bytes.clone()).collect()
    }
}

impl ProposalBatch {
    /// Bytes of all its proposals.
    pub(crate) fn length(&self) -> usize {
        self.0.iter().map(|encoded| encoded.bytes.len()).sum()
    }
}

impl fmt::Debug for ProposalBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} proposals of {} bytes", self.0.len(), self.length())
    }
}

impl fmt::Display for ProposalBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeConfig;

#[allow(deprecated, reason = "the way without deprecation is to pin a second crate of openraft's")]
type Runtime = openraft::impls::TokioRuntime;

type LeaderId = leader_id_std::LeaderId<u64, u64>;

impl RaftTypeConfig for TypeConfig {
    type D = ProposalBatch;
    type R = BatchReply;
    type NodeId = u64;
    type Node = NodeInfo;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote<LeaderId>;
    type Payload = EntryPayload<ProposalBatch, u64, NodeInfo>;
    type Entry = Entry<CommittedLeader, Self::Payload>;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = Callback<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

pub(crate) type CommittedLeader = <LeaderId as RaftLeaderId>::Committed;
pub(crate) type LogId = openraft::LogId<CommittedLeader>;
pub(crate) type RaftEntry = <TypeConfig as RaftTypeConfig>::Entry;
pub(crate) type RaftVote = <TypeConfig as RaftTypeConfig>::Vote;
pub(crate) type Membership = openraft::Membership<u64, NodeInfo>;
pub(crate) type StoredMembership = openraft::StoredMembership<CommittedLeader, u64, NodeInfo>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<CommittedLeader, u64, NodeInfo>;
pub(crate) type Snapshot<D> = openraft::Snapshot<CommittedLeader, u64, NodeInfo, D>;

/// A log id of `term` and `index`.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

/// Hands the result of an entry to whoever waits, on the thread that has it: no task is woken only to pass it on.
pub(crate) struct Callback<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Callback<T> {
    pub(crate) fn new(call: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(call))
    }
}

impl<T> fmt::Debug for Callback<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

impl<T: OptionalSend + 'static> Responder<TypeConfig, T> for Callback<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}
