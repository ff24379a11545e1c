//! Which jobs this master works on now, and how far each is at this moment. State only.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_runtime::BootInstant;
use forebay_types::{JobId, JobProgress};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::worker_channels::WorkerChannels;

/// The jobs that this master works on now.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    pub(crate) live: Mutex<BTreeMap<JobId, Arc<LiveJob>>>,
    pub(crate) wake: Notify,
    /// Since when this master has led; `None` while it does not.
    pub(crate) leads_since: Mutex<Option<BootInstant>>,
    pub(crate) channels: WorkerChannels,
}

/// One job that is worked on.
#[derive(Debug)]
pub(crate) struct LiveJob {
    pub(crate) figures: Mutex<Option<Figures>>,
    pub(crate) token: CancellationToken,
}

/// How far a job is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) progress: JobProgress,
    /// `None` where they are not counted.
    pub(crate) directories_done: Option<u64>,
}

impl Jobs {
    /// Has somebody look at the jobs soon.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// How far a job is at this moment, if it is worked on here: newer than what is written down.
    pub(crate) fn figures(&self, job: JobId) -> Option<Figures> {
        let live = self.live.lock().get(&job).cloned();
        live.and_then(|live| *live.figures.lock())
    }

    /// Stops to work on a job that is over.
    pub(crate) fn stop(&self, job: JobId) {
        if let Some(live) = self.live.lock().get(&job) {
            live.token.cancel();
        }
    }

    /// Whether workers had the time to make themselves known since this master leads.
    pub(crate) fn is_settled(&self, now: BootInstant) -> bool {
        let since = *self.leads_since.lock();
        since.is_some_and(|since| now.saturating_duration_since(since) >= limits::WORKER_LOST_AFTER)
    }

    pub(crate) fn stop_all(&self) {
        *self.leads_since.lock() = None;
        self.live.lock().values().for_each(|live| live.token.cancel());
    }
}
