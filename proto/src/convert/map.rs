//! Twins of the cluster map and of the keys that capabilities are signed with.

use forebay_types::{
    ByteCount, CapabilityKey, ClusterId, ClusterMap, Epoch, HostId, WorkerEntry, WorkerId, WorkerState,
    limits,
};

use super::WireDefect;
use crate::v1;

impl From<&WorkerEntry> for v1::WorkerEntry {
    fn from(worker: &WorkerEntry) -> Self {
        let state = match worker.state {
            WorkerState::Live => v1::WorkerState::Live,
            WorkerState::Lost => v1::WorkerState::Lost,
        };
        Self {
            id: worker.id.get(),
            address: worker.address.clone(),
            host: worker.host.as_str().to_owned(),
            local_socket: worker.local_socket.clone(),
            group: worker.group.clone(),
            capacity_bytes: worker.capacity.get(),
            state: state.into(),
        }
    }
}

impl TryFrom<v1::WorkerEntry> for WorkerEntry {
    type Error = WireDefect;

    fn try_from(worker: v1::WorkerEntry) -> Result<Self, WireDefect> {
        let state = match worker.state() {
            v1::WorkerState::Live => WorkerState::Live,
            v1::WorkerState::Lost => WorkerState::Lost,
            v1::WorkerState::Unspecified => return Err(WireDefect::Missing("state")),
        };
        Ok(Self {
            id: WorkerId::new(worker.id),
            address: worker.address,
            host: HostId::new(worker.host),
            local_socket: worker.local_socket,
            group: worker.group,
            capacity: ByteCount::new(worker.capacity_bytes),
            state,
        })
    }
}

impl From<&ClusterMap> for v1::ClusterMap {
    fn from(map: &ClusterMap) -> Self {
        Self { epoch: map.epoch.get(), workers: map.workers.iter().map(Into::into).collect() }
    }
}

impl TryFrom<v1::ClusterMap> for ClusterMap {
    type Error = WireDefect;

    fn try_from(map: v1::ClusterMap) -> Result<Self, WireDefect> {
        if map.workers.len() > limits::WORKERS_MAX {
            return Err(WireDefect::invalid("workers")(&"more than a cluster can have"));
        }
        let workers = map.workers.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        Ok(Self { epoch: Epoch::new(map.epoch), workers })
    }
}

impl From<&CapabilityKey> for v1::CapabilityKey {
    fn from(key: &CapabilityKey) -> Self {
        Self { id: key.id, secret: key.secret().to_vec().into() }
    }
}

impl TryFrom<v1::CapabilityKey> for CapabilityKey {
    type Error = WireDefect;

    fn try_from(key: v1::CapabilityKey) -> Result<Self, WireDefect> {
        let secret = key.secret[..].try_into().map_err(|error| WireDefect::invalid("secret")(&error))?;
        Ok(Self::new(key.id, secret))
    }
}

/// Reads the 16 bytes of a cluster's id.
impl v1::RegisterResponse {
    /// The cluster's id.
    ///
    /// # Errors
    /// [`WireDefect`] when it has not 16 bytes.
    pub fn cluster(&self) -> Result<ClusterId, WireDefect> {
        self.cluster_id[..]
            .try_into()
            .map(ClusterId::new)
            .map_err(|error| WireDefect::invalid("cluster_id")(&error))
    }
}
