//! The way to the other masters and from them: entries, votes and snapshots over gRPC.
//!
//! Every message says which master of which cluster, and of which life of it, it is for: at an address that another
//! master took over nothing is believed. [`Peer`](peer::Peer) sends, [`RaftService`](service::RaftService) receives.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use forebay_proto::v1;
use forebay_proto::v1::raft_client::RaftClient;
use forebay_types::{ClusterId, Incarnation};
use openraft::network::RaftNetworkFactory;
use parking_lot::Mutex;
use tonic::transport::Channel;

use crate::error::RaftError;
use crate::limits::{PEER_CONNECT_TIMEOUT, PEER_KEEP_ALIVE, PEER_MESSAGE_LENGTH_MAX};
use crate::peers::peer::Peer;
use crate::types::{NodeInfo, TypeConfig};

mod incoming;
mod owed;
mod peer;
pub(crate) mod service;
pub(crate) mod silence;
mod wire;

#[cfg(test)]
mod tests;

/// Which cluster, and which life of its state, a master belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterMark {
    /// The cluster.
    pub cluster: ClusterId,
    /// The life of its state.
    pub incarnation: Incarnation,
}

/// The connections of one master to the others. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Peers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    node: u64,
    /// Known from the state, from whoever took this master in, or once it has formed a cluster.
    mark: OnceLock<ClusterMark>,
    /// By address, so that all that is said to a master shares one connection.
    channels: Mutex<BTreeMap<String, Channel>>,
}

impl Peers {
    pub(crate) fn new(node: u64) -> Self {
        Self(Arc::new(Shared { node, mark: OnceLock::new(), channels: Mutex::default() }))
    }

    /// Says which cluster this master belongs to. Until then it says nothing to others, and believes nobody.
    pub(crate) fn belongs_to(&self, mark: ClusterMark) {
        // It never changes in the life of a process.
        let _ = self.0.mark.set(mark);
    }

    pub(crate) fn mark(&self) -> Option<ClusterMark> {
        self.0.mark.get().copied()
    }

    /// What each message to `to` begins with; `None` before there is a cluster.
    fn envelope(&self, to: u64) -> Option<v1::RaftEnvelope> {
        let mark = self.mark()?;
        Some(v1::RaftEnvelope {
            cluster_id: mark.cluster.bytes().to_vec().into(),
            incarnation: mark.incarnation.get(),
            from: self.0.node,
            to,
        })
    }

    /// Why a message is not for this master, if it is not.
    fn refuses(&self, envelope: Option<&v1::RaftEnvelope>) -> Option<String> {
        let Some(envelope) = envelope else { return Some("the message has no envelope".to_owned()) };
        let Some(mark) = self.mark() else {
            return Some("this master belongs to no cluster yet".to_owned());
        };
        if envelope.cluster_id[..] != mark.cluster.bytes()[..]
            || envelope.incarnation != mark.incarnation.get()
        {
            return Some(format!(
                "this master belongs to the cluster {} in its life {}, the message to another",
                mark.cluster, mark.incarnation
            ));
        }
        (envelope.to != self.0.node)
            .then(|| format!("this master is node {}, the message is for node {}", self.0.node, envelope.to))
    }

    /// The connection to `address`, which is made when it is first used.
    fn client(&self, address: &str) -> Result<RaftClient<Channel>, RaftError> {
        let mut channels = self.0.channels.lock();
        let channel = match channels.get(address) {
            Some(channel) => channel.clone(),
            None => {
                let endpoint = forebay_proto::transport::endpoint(address)
                    .map_err(|error| RaftError::Unavailable { reason: error.to_string() })?;
                let channel = endpoint
                    .connect_timeout(PEER_CONNECT_TIMEOUT)
                    .http2_keep_alive_interval(PEER_KEEP_ALIVE)
                    .keep_alive_timeout(PEER_KEEP_ALIVE)
                    .connect_lazy();
                channels.insert(address.to_owned(), channel.clone());
                channel
            }
        };
        Ok(RaftClient::new(channel)
            .max_decoding_message_size(PEER_MESSAGE_LENGTH_MAX)
            .max_encoding_message_size(PEER_MESSAGE_LENGTH_MAX))
    }
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &NodeInfo) -> Peer {
        Peer { peers: self.clone(), target, address: node.address.clone() }
    }
}
