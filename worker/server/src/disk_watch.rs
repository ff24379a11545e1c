//! Looks each second which tiers' disks are to be probed, and has it done.
//!
//! Probes do not wait for a place among the disk calls: those may all be taken by calls of a disk that does not answer.

use std::time::Instant;

use forebay_block_store::BlockStore;
use forebay_runtime::Stage;

use crate::limits::DISK_WATCH_INTERVAL;

/// Watches the disks of `store` until `stage` stops.
pub(crate) async fn watch(store: BlockStore, stage: Stage) {
    let stop = stage.token();
    loop {
        // Quick but for a tier that goes down: what it held is forgotten then.
        for probe in store.due_probes(Instant::now()) {
            stage.tracker().spawn_blocking(move || probe.run(Instant::now));
        }
        if stop.run_until_cancelled(tokio::time::sleep(DISK_WATCH_INTERVAL)).await.is_none() {
            return;
        }
    }
}
