//! Disk work that nobody waits for: step by step, at a bounded pace and after those whom somebody waits for.

use std::time::{Duration, Instant};

use forebay_block_store::BackgroundPace;

use crate::disk::DiskPool;

/// Takes steps with `worker` for as long as the disk pool lasts, at most `rate` bytes a second. `step` says what it cost in
/// bytes, or that there is nothing to do, and then it rests for `idle`. `others` grows whenever somebody else wants the
/// disks.
pub(crate) async fn go_on<W: Send + 'static>(
    disk: &DiskPool,
    rate: u64,
    idle: Duration,
    mut worker: W,
    step: fn(&mut W, Instant) -> Option<u64>,
    mut others: impl FnMut() -> u64,
) {
    let mut pace = BackgroundPace::new(rate, Instant::now());
    loop {
        let pause = pace.pause(Instant::now(), others());
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
            continue;
        }
        let begun = Instant::now();
        let Ok((same, bytes)) = disk.run_with(worker, move |worker| step(worker, begun)).await else {
            return;
        };
        worker = same;
        match bytes {
            Some(bytes) => pace.spent(begun, bytes),
            None => tokio::time::sleep(idle).await,
        }
    }
}
