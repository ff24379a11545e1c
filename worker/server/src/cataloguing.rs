//! Writes the catalogues of the cache, so that the next start finds it quickly: slowly while the worker runs, and what
//! they lack when it stops.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::core::WorkerCore;
use crate::limits::{CATALOGUE_IDLE, CATALOGUE_PATIENCE, CATALOGUE_RATE};

/// Writes until `stop`, and then what is left.
pub(crate) async fn write(core: Arc<WorkerCore>, stop: CancellationToken) {
    let _ = stop.run_until_cancelled(go_on(&core)).await;
    let store = core.path.cache.store().clone();
    // A pool that is over has no store any more to be found quickly.
    let _ = core.disk.run(move || store.write_catalogues(Instant::now() + CATALOGUE_PATIENCE)).await;
}

/// Ends when the disk pool does.
async fn go_on(core: &WorkerCore) {
    let mut writer = core.path.cache.store().catalogue_writer(Instant::now());
    loop {
        let step = core.disk.run_with(writer, |writer| writer.step(Instant::now()));
        let Ok((same, bytes)) = step.await else { return };
        writer = same;
        tokio::time::sleep(bytes.map_or(CATALOGUE_IDLE, time_for)).await;
    }
}

/// What `bytes` cost at the rate of the writer.
fn time_for(bytes: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000_000) / CATALOGUE_RATE.get())
}
