//! What a worker has once it knows its cluster and its cache is open; shared by everything that serves.

use std::sync::Arc;

use forebay_runtime::Clock;
use forebay_types::{BlockCapability, CapabilityError, VersionDescriptor, WorkerId};

use crate::accounting::MountShares;
use crate::disk::DiskPool;
use crate::error::ReadError;
use crate::keys::KeyTable;
use crate::load::Loads;
use crate::metrics::Metrics;
use crate::mounts::MountTable;
use crate::read_path::ReadPath;
use crate::version::Version;

/// The open worker.
#[derive(Debug)]
pub(crate) struct WorkerCore {
    pub(crate) worker: WorkerId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: KeyTable,
    pub(crate) mounts: MountTable,
    pub(crate) path: Arc<ReadPath>,
    pub(crate) loads: Arc<Loads>,
    pub(crate) shares: Arc<MountShares>,
    pub(crate) disk: DiskPool,
    pub(crate) metrics: Arc<Metrics>,
}

impl WorkerCore {
    /// The version, if the capability gives the right to read it now.
    pub(crate) fn admit(
        &self,
        descriptor: VersionDescriptor,
        capability: &BlockCapability,
    ) -> Result<Arc<Version>, ReadError> {
        self.keys.verify(capability, &descriptor, self.clock.now()).map_err(|reason| {
            // Keys come with the first heartbeat; until then nobody's capability can be judged.
            match reason {
                CapabilityError::UnknownKey(_) if self.keys.is_empty() => ReadError::Starting,
                reason => ReadError::Refused { file: descriptor.file, reason },
            }
        })?;
        let mount = self.mounts.get(descriptor.mount)?;
        self.shares.read_through(descriptor.file, mount.id);
        Ok(Arc::new(Version { descriptor, mount }))
    }
}
