//! Connections to workers: a few to each, since one does not carry all that two machines can, used in turn.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use forebay_proto::v1::blocks_client::BlocksClient;
use forebay_types::ClusterMap;
use parking_lot::Mutex;
use tonic::transport::Channel;

use crate::error::ClientError;
use crate::limits::{CHUNK_MESSAGE_MAX, CONNECTIONS_PER_WORKER};
use crate::master_channel::endpoint;

/// The pool. A connection is made when it is first used and made again when it broke.
#[derive(Debug, Default)]
pub(crate) struct WorkerChannels {
    /// By address; only addresses of the newest map stay.
    channels: Mutex<BTreeMap<String, [Channel; CONNECTIONS_PER_WORKER]>>,
    turn: AtomicUsize,
}

impl WorkerChannels {
    /// A client for the worker at `address`. Needs a runtime.
    pub(crate) fn blocks(&self, address: &str) -> Result<BlocksClient<Channel>, ClientError> {
        let mut channels = self.channels.lock();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % CONNECTIONS_PER_WORKER;
        let channel = if let Some(known) = channels.get(address) {
            known[turn].clone()
        } else {
            let endpoint = endpoint(address)?;
            let made = std::array::from_fn(|_| endpoint.connect_lazy());
            channels.entry(address.to_owned()).or_insert(made)[turn].clone()
        };
        Ok(BlocksClient::new(channel).max_decoding_message_size(CHUNK_MESSAGE_MAX))
    }

    /// Forgets workers that are not in the map; streams under way go on.
    pub(crate) fn retain(&self, map: &ClusterMap) {
        self.channels.lock().retain(|address, _| map.workers.iter().any(|worker| worker.address == *address));
    }
}
