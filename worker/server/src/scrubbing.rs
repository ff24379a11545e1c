//! Verifies what nobody reads, as fast as the settings say and after whoever reads.

use std::sync::Arc;
use std::time::Instant;

use forebay_block_store::Scrubber;
use forebay_types::ByteCount;
use tokio_util::sync::CancellationToken;

use crate::background;
use crate::core::WorkerCore;
use crate::limits::SCRUB_IDLE;

/// Scrubs at `rate` bytes a second until `stop`.
pub(crate) async fn scrub(core: Arc<WorkerCore>, rate: ByteCount, stop: CancellationToken) {
    let store = core.path.cache.store();
    let scrubber = store.scrubber(Instant::now());
    let others = || store.statistics().read_bytes;
    let work = background::go_on(&core.disk, rate.get(), SCRUB_IDLE, scrubber, Scrubber::step, others);
    let _ = stop.run_until_cancelled(work).await;
}
