//! This master's connections to workers, which it asks to load as any client would.

use std::collections::BTreeMap;

use forebay_proto::v1::blocks_client::BlocksClient;
use forebay_proto::{WireError, transport};
use forebay_types::ClusterMap;
use parking_lot::Mutex;
use tonic::transport::Channel;

/// Connections to workers, made when they are first needed.
#[derive(Debug, Default)]
pub(crate) struct WorkerChannels {
    channels: Mutex<BTreeMap<String, Channel>>,
}

impl WorkerChannels {
    /// The data path of the worker at an address. Connects when it is first used.
    pub(crate) fn blocks(&self, address: &str) -> Result<BlocksClient<Channel>, WireError> {
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(address) {
            return Ok(BlocksClient::new(channel.clone()));
        }
        let channel = transport::endpoint(address)?.connect_lazy();
        channels.insert(address.to_owned(), channel.clone());
        Ok(BlocksClient::new(channel))
    }

    /// Forgets workers that are not in the map.
    pub(crate) fn retain(&self, map: &ClusterMap) {
        self.channels.lock().retain(|address, _| map.workers.iter().any(|worker| worker.address == *address));
    }
}
