//! Asks another master who it is, and what a master says of itself.

use forebay_metadata::FEATURE_LEVEL_FIRST;
use forebay_proto::v1::masters_client::MastersClient;
use forebay_proto::{WireError, v1};
use forebay_raft::ClusterMark;
use forebay_types::{ClusterId, ErrorKind, Incarnation};
use tonic::transport::Channel;

use crate::limits::HELLO_TIMEOUT;
use crate::server::PeerList;

/// What another master says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Greeting {
    pub(crate) slot: u32,
    pub(crate) peers: PeerList,
    pub(crate) process: u64,
    /// The highest feature level that its version knows.
    pub(crate) feature_level: u32,
    /// Of the cluster that it belongs to.
    pub(crate) membership: Option<Membership>,
}

/// A master's part of its cluster.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) mark: ClusterMark,
    /// The id that it votes under.
    pub(crate) node: u64,
    /// Where it knows the leader; may be empty.
    pub(crate) leader: String,
    pub(crate) role: String,
    pub(crate) term: u64,
    pub(crate) last_applied: u64,
}

/// The masters' service at `address`.
///
/// # Errors
/// [`WireError`] if that is no address.
pub(crate) fn client(address: &str) -> Result<MastersClient<Channel>, WireError> {
    let endpoint = forebay_proto::transport::endpoint(address)?.connect_timeout(HELLO_TIMEOUT);
    Ok(MastersClient::new(endpoint.connect_lazy()))
}

/// Asks the master at `address` once. Cancel safe.
///
/// # Errors
/// [`WireError`] if nobody answers in time, or not as a master does.
pub(crate) async fn greet(address: &str, slot: u32, peers: &PeerList) -> Result<Greeting, WireError> {
    let mut client = client(address)?;
    let asked = client.hello(v1::HelloRequest { slot, peers: peers.to_wire() });
    let late = || WireError::new(ErrorKind::TimedOut, "no answer in time");
    let answer = tokio::time::timeout(HELLO_TIMEOUT, asked).await.map_err(|_| late())??.into_inner();
    let membership = answer.membership.map(|membership| {
        let mark = mark(&membership.cluster_id, membership.incarnation)?;
        let v1::Membership { node, leader, role, term, last_applied, .. } = membership;
        Ok::<_, WireError>(Membership { mark, node, leader, role, term, last_applied })
    });
    Ok(Greeting {
        slot: answer.slot,
        peers: PeerList::of_wire(answer.peers),
        process: answer.process,
        feature_level: level(answer.feature_level_known),
        membership: membership.transpose()?,
    })
}

/// The feature level that a master says it knows. Versions from before there were levels say nothing.
pub(crate) const fn level(said: u32) -> u32 {
    if said > FEATURE_LEVEL_FIRST { said } else { FEATURE_LEVEL_FIRST }
}

/// The cluster that a message names.
///
/// # Errors
/// [`WireError`] if it names none.
pub(crate) fn mark(cluster: &[u8], incarnation: u32) -> Result<ClusterMark, WireError> {
    let bytes = <[u8; 16]>::try_from(cluster);
    let bytes = bytes.map_err(|_| WireError::new(ErrorKind::Internal, "the answer names no cluster"))?;
    Ok(ClusterMark { cluster: ClusterId::new(bytes), incarnation: Incarnation::new(incarnation) })
}
