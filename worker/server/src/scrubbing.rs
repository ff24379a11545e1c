//! Verifies what nobody reads, as fast as the settings say and after whoever reads.

use std::sync::Arc;
use std::time::Instant;

use forebay_block_store::BackgroundPace;
use forebay_types::ByteCount;
use tokio_util::sync::CancellationToken;

use crate::core::WorkerCore;
use crate::limits::SCRUB_IDLE;

/// Scrubs at `rate` bytes a second until `stop`.
pub(crate) async fn scrub(core: Arc<WorkerCore>, rate: ByteCount, stop: CancellationToken) {
    let _ = stop.run_until_cancelled(go_on(&core, rate)).await;
}

/// Ends when the disk pool does.
async fn go_on(core: &WorkerCore, rate: ByteCount) {
    let store = core.path.cache.store();
    let mut pace = BackgroundPace::new(rate.get(), Instant::now());
    let mut scrubber = store.scrubber(Instant::now());
    loop {
        let pause = pace.pause(Instant::now(), store.statistics().read_bytes);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
            continue;
        }
        let begun = Instant::now();
        let step = core.disk.run(move || {
            let bytes = scrubber.step(begun);
            (scrubber, bytes)
        });
        let Ok((same, bytes)) = step.await else { return };
        scrubber = same;
        match bytes {
            Some(bytes) => pace.spent(begun, bytes),
            None => tokio::time::sleep(SCRUB_IDLE).await,
        }
    }
}
