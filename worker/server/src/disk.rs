//! The one place where blocking disk work leaves the async threads.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::error::ReadError;
use crate::limits::{DISK_CALLS_MAX, FREE_CALLS_TO_MOVE_PERCENT};

/// Runs blocking calls, a bounded number at once. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct DiskPool {
    permits: Arc<Semaphore>,
    tracker: TaskTracker,
}

impl DiskPool {
    /// A pool whose calls `tracker` waits for at the end.
    pub(crate) fn new(tracker: TaskTracker) -> Self {
        Self { permits: Arc::new(Semaphore::new(DISK_CALLS_MAX)), tracker }
    }

    /// Whether so many calls are under way that what nobody waits for should not add one.
    pub(crate) fn is_busy(&self) -> bool {
        self.permits.available_permits() < DISK_CALLS_MAX * FREE_CALLS_TO_MOVE_PERCENT / 100
    }

    /// How many more calls may begin now.
    #[cfg(test)]
    pub(crate) fn free_calls(&self) -> usize {
        self.permits.available_permits()
    }

    /// As [`run`](Self::run), for work on something that is wanted back.
    pub(crate) async fn run_with<S: Send + 'static, T: Send + 'static>(
        &self,
        mut state: S,
        work: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<(S, T), ReadError> {
        self.run(move || {
            let result = work(&mut state);
            (state, result)
        })
        .await
    }

    /// Runs `work` on a blocking thread. When the caller gives up, the work still ends, and with it its place.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ReadError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| ReadError::Stopping)?;
        let task = self.tracker.spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        match task.await {
            Ok(result) => Ok(result),
            Err(failure) if failure.is_panic() => std::panic::resume_unwind(failure.into_panic()),
            Err(_) => Err(ReadError::Stopping),
        }
    }
}
