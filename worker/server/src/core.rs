//! What a worker has once it knows its cluster and its cache is open; shared by everything that serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use forebay_runtime::Clock;
use forebay_types::{BlockCapability, CapabilityError, Incarnation, VersionDescriptor, WorkerId};

use crate::accounting::MountShares;
use crate::disk::DiskPool;
use crate::error::ReadError;
use crate::keys::KeyTable;
use crate::limits::KEYS_PATIENCE;
use crate::load::Loads;
use crate::metrics::Metrics;
use crate::mounts::{ConnectedMount, MountTable};
use crate::read_path::ReadPath;
use crate::version::Version;

/// The open worker.
#[derive(Debug)]
pub(crate) struct WorkerCore {
    /// Another one after a move to a new cluster, see [`WorkerCore::worker`].
    pub(crate) id: AtomicU32,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: KeyTable,
    pub(crate) mounts: MountTable,
    pub(crate) path: Arc<ReadPath>,
    pub(crate) loads: Arc<Loads>,
    pub(crate) shares: Arc<MountShares>,
    pub(crate) disk: DiskPool,
    /// How long an open waits for a hold where it could have a lend.
    pub(crate) hold_patience: Duration,
    pub(crate) metrics: Arc<Metrics>,
}

impl WorkerCore {
    /// Who this worker is in the cluster that it belongs to now.
    pub(crate) fn worker(&self) -> WorkerId {
        WorkerId::new(self.id.load(Ordering::Relaxed))
    }

    /// Another life of the master's state begins: what was told of mounts and keys in the one before is void, since
    /// their ids may mean something else now. What is cached can be adopted.
    pub(crate) fn begin_life(&self, worker: WorkerId, life: Incarnation) {
        self.keys.forget();
        self.mounts.begin_anew();
        self.id.store(worker.get(), Ordering::Relaxed);
        self.path.cache.store().begin_life(life);
    }

    /// The version, if the capability gives the right to read it. If it is here under an id of another life, it is found
    /// from now on.
    pub(crate) async fn admit_and_adopt(
        &self,
        descriptor: VersionDescriptor,
        capability: &BlockCapability,
    ) -> Result<Arc<Version>, ReadError> {
        let mut lists = self.keys.lists();
        let admitted = match self.admit(&descriptor, capability) {
            Err(ReadError::Refused { reason, .. }) if reason != CapabilityError::Expired => {
                // The master's state may have begun another life, with other keys, of which the next heartbeat tells.
                self.mounts.want();
                let _ = tokio::time::timeout(KEYS_PATIENCE, lists.changed()).await;
                self.admit(&descriptor, capability)
            }
            admitted => admitted,
        };
        let mount = admitted?;
        let version = Arc::new(Version { descriptor, mount });
        let store = self.path.cache.store();
        if store.may_adopt(&version.source()) {
            let (store, of) = (store.clone(), Arc::clone(&version));
            self.disk.run(move || store.adopt(&of.source())).await?;
        }
        Ok(version)
    }

    /// The version's mount, if the capability gives the right to read it now.
    fn admit(
        &self,
        descriptor: &VersionDescriptor,
        capability: &BlockCapability,
    ) -> Result<Arc<ConnectedMount>, ReadError> {
        self.keys.verify(capability, descriptor, self.clock.now()).map_err(|reason| {
            // Keys come with the first heartbeat; until then nobody's capability can be judged.
            match reason {
                CapabilityError::UnknownKey(_) if self.keys.is_empty() => ReadError::Starting,
                reason => ReadError::Refused { file: descriptor.file, reason },
            }
        })?;
        let mount = self.mounts.get(descriptor.mount)?;
        self.shares.read_through(descriptor.file, mount.id);
        Ok(mount)
    }
}
