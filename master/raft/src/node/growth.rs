//! Makes a snapshot when the log has grown by many bytes, however few entries they are: large listings are large entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::node::NodeRaft;

/// Counts what the log has taken since the last snapshot that was asked for because of it.
#[derive(Clone, Debug)]
pub(crate) struct Growth {
    length_max: u64,
    length: Arc<AtomicU64>,
    grown: Arc<Notify>,
}

impl Growth {
    pub(crate) fn new(length_max: u64) -> Self {
        Self { length_max, length: Arc::default(), grown: Arc::default() }
    }

    /// So many bytes were appended.
    pub(crate) fn add(&self, length: u64) {
        if self.length.fetch_add(length, Ordering::Relaxed).saturating_add(length) >= self.length_max {
            self.length.store(0, Ordering::Relaxed);
            self.grown.notify_one();
        }
    }

    /// Asks for a snapshot each time that the log has grown too much.
    pub(super) async fn watch(self, raft: NodeRaft, stop: CancellationToken) {
        let watching = async move {
            loop {
                self.grown.notified().await;
                if raft.trigger().snapshot().await.is_err() {
                    return;
                }
            }
        };
        let _ = stop.run_until_cancelled_owned(watching).await;
    }
}
