//! Takes in the master's lists of mounts. One that takes long is taken in beside the heartbeats: a reference may name a
//! file on a file system that hangs.
//!
//! One list at a time. The master sends the list with each answer until the worker asks with its revision.

use std::sync::Arc;

use forebay_proto::v1;
use forebay_runtime::BootInstant;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::core::WorkerCore;
use crate::error::ReadError;
use crate::limits::{MOUNT_RETRY_AFTER, MOUNTS_PATIENCE};

/// How far the worker's mounts follow the master's.
pub(crate) struct MountIntake {
    /// The list that was taken in last; 0 before the first.
    revision: u64,
    /// When the mounts that cannot be set up are tried again.
    retry_at: Option<BootInstant>,
    /// The list that is being taken in; whether all of its mounts could be set up.
    under_way: Option<(u64, BoxFuture<'static, Result<bool, ReadError>>)>,
}

impl MountIntake {
    pub(crate) fn new() -> Self {
        Self { revision: 0, retry_at: None, under_way: None }
    }

    /// The revision to ask with; 0 asks for the whole list, also where a mount is to be tried again.
    pub(crate) fn known(&self, now: BootInstant) -> u64 {
        if self.retry_at.is_some_and(|at| at <= now) { 0 } else { self.revision }
    }

    /// Whether a list was taken in ever.
    pub(crate) const fn has_any(&self) -> bool {
        self.revision != 0
    }

    /// Takes in the list that came as an answer to `asked`, and waits for that, but not for long.
    pub(crate) async fn take(
        &mut self,
        core: &Arc<WorkerCore>,
        asked: u64,
        revision: u64,
        mounts: Vec<v1::MountCredentials>,
    ) {
        if revision == asked || self.under_way.is_some() {
            return;
        }
        let (disk, table) = (core.disk.clone(), Arc::clone(core));
        // Connecting needs the runtime, which a blocking thread of it has.
        let taking = async move { disk.run(move || table.mounts.replace(mounts)).await };
        self.under_way = Some((revision, taking.boxed()));
        if tokio::time::timeout(MOUNTS_PATIENCE, self.taken_in(core)).await.is_err() {
            tracing::warn!(
                seconds = MOUNTS_PATIENCE.as_secs(),
                "the list of mounts is not taken in yet; a file that an option refers to cannot be read for so long"
            );
        }
    }

    /// Ends when the list under way is taken in; never when there is none. Cancel safe.
    pub(crate) async fn taken_in(&mut self, core: &WorkerCore) {
        let Some((revision, taking)) = &mut self.under_way else { return std::future::pending().await };
        let all_work = taking.await.unwrap_or(false);
        self.revision = *revision;
        self.retry_at = (!all_work).then(|| core.clock.boot_instant().saturating_add(MOUNT_RETRY_AFTER));
        self.under_way = None;
    }
}
