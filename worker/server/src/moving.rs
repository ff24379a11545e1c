//! Moves what is cached between memory and the disks, at a bounded pace and after whoever waits for a disk.

use std::sync::Arc;

use forebay_block_store::Mover;
use tokio_util::sync::CancellationToken;

use crate::background;
use crate::core::WorkerCore;
use crate::limits::{MOVE_IDLE, MOVE_RATE};

/// Moves until `stop`.
pub(crate) async fn keep_in_place(core: Arc<WorkerCore>, stop: CancellationToken) {
    let mover = core.path.cache.store().mover();
    let step = |mover: &mut Mover, _| mover.step();
    let mut waited = 0;
    let others = || {
        waited += u64::from(core.disk.is_busy());
        waited
    };
    let work = background::go_on(&core.disk, MOVE_RATE.get(), MOVE_IDLE, mover, step, others);
    let _ = stop.run_until_cancelled(work).await;
}
