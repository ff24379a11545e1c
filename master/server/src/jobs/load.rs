//! One load at a worker: the master asks as any client would, with a capability that it signs itself.

use std::error::Error;

use forebay_jobs::{Fault, Loaded};
use forebay_proto::{WireError, header, v1};
use forebay_types::{ErrorKind, Principal, VersionDescriptor, WorkerId};
use tonic::Status;

use crate::limits;
use crate::shared::Shared;

/// Has a worker load a range, and tells how many bytes of it are there as they come.
pub(super) async fn load(
    shared: &Shared,
    worker: WorkerId,
    version: &VersionDescriptor,
    (offset, length): (u64, u64),
    tell: impl Fn(u64) + Send,
) -> Result<Loaded, Fault> {
    let (address, epoch) = {
        let registry = shared.registry.lock();
        let address = registry
            .workers()
            .find(|known| known.entry.id == worker)
            .map(|known| known.entry.address.clone());
        (address, registry.epoch())
    };
    let away = |what: String| Fault::new(ErrorKind::Unavailable, what);
    let address = address.ok_or_else(|| away(format!("{worker} is gone")))?;
    let principal = Principal { name: "forebay".to_owned(), uid: 0, gids: Vec::new() };
    let request = v1::LoadRequest {
        header: Some(header(&principal, epoch, None)),
        version: Some(version.into()),
        capability: Some((&shared.capabilities.sign(version, shared.clock.now())).into()),
        offset,
        length,
        guess: false,
    };
    let mut blocks = shared.jobs.channels.blocks(&address).map_err(wire_fault)?;
    let silence =
        |_| away(format!("{worker} at {address} said nothing for {} s", limits::LOAD_SILENCE_MAX.as_secs()));
    let begun =
        tokio::time::timeout(limits::LOAD_SILENCE_MAX, blocks.load(request)).await.map_err(silence)?;
    let mut messages = begun.map_err(|status| fault_of(worker, &address, status))?.into_inner();
    loop {
        let message =
            tokio::time::timeout(limits::LOAD_SILENCE_MAX, messages.message()).await.map_err(silence)?;
        match message.map_err(|status| fault_of(worker, &address, status))? {
            Some(progress) if progress.complete => {
                shared.metrics.count_loaded(length, progress.under_store_bytes);
                return Ok(Loaded {
                    under_store_bytes: progress.under_store_bytes,
                    missing_bytes: progress.missing_bytes,
                });
            }
            Some(progress) => tell(progress.cached_bytes),
            None => return Err(away(format!("{worker} at {address} ended a load without its outcome"))),
        }
    }
}

fn wire_fault(error: WireError) -> Fault {
    Fault::new(error.kind, error.message)
}

/// A status that was made on our side has a source: the connection broke, whatever its code says.
fn fault_of(worker: WorkerId, address: &str, status: Status) -> Fault {
    match status.source() {
        Some(source) => {
            Fault::new(ErrorKind::Unavailable, format!("{worker} at {address} cannot be reached: {source}"))
        }
        None => wire_fault(status.into()),
    }
}
