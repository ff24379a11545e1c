//! Moves what is cached between memory and the disks, at a bounded pace and after whoever waits for a disk.

use std::sync::Arc;
use std::time::Instant;

use forebay_block_store::BackgroundPace;
use tokio_util::sync::CancellationToken;

use crate::core::WorkerCore;
use crate::limits::{MOVE_IDLE, MOVE_RATE};

/// Moves until `stop`.
pub(crate) async fn keep_in_place(core: Arc<WorkerCore>, stop: CancellationToken) {
    let _ = stop.run_until_cancelled(go_on(&core)).await;
}

/// Ends when the disk pool does.
async fn go_on(core: &WorkerCore) {
    let mut pace = BackgroundPace::new(MOVE_RATE.get(), Instant::now());
    let mut mover = core.path.cache.store().mover();
    let mut waited = 0_u64;
    loop {
        waited += u64::from(core.disk.is_busy());
        let pause = pace.pause(Instant::now(), waited);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
            continue;
        }
        let begun = Instant::now();
        let step = core.disk.run(move || {
            let bytes = mover.step();
            (mover, bytes)
        });
        let Ok((same, bytes)) = step.await else { return };
        mover = same;
        match bytes {
            Some(bytes) => pace.spent(begun, bytes),
            None => tokio::time::sleep(MOVE_IDLE).await,
        }
    }
}
