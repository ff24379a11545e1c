//! Which directories are being compared with their under-stores now, and who waits for it. State only.

use std::collections::HashMap;

use forebay_types::{ErrorKind, InodeId};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};

use crate::limits;

/// The listings under way.
#[derive(Debug)]
pub(crate) struct Listings {
    /// Held only to look up, insert or remove.
    pub(crate) under_way: Mutex<HashMap<InodeId, Waiting>>,
    pub(crate) places: Semaphore,
    pub(crate) reaper: Notify,
}

/// Tells those who wait how a listing goes.
pub(crate) type Waiting = watch::Receiver<Course>;

/// How a listing goes: pages that came so far, and how it ended; `None` until then.
#[derive(Debug, Default)]
pub(crate) struct Course {
    pub(crate) pages: u64,
    pub(crate) ended: Option<Result<(), (ErrorKind, String)>>,
}

impl Default for Listings {
    fn default() -> Self {
        Self {
            under_way: Mutex::default(),
            places: Semaphore::new(limits::LISTINGS_IN_FLIGHT_MAX),
            reaper: Notify::new(),
        }
    }
}

impl Listings {
    pub(crate) fn wake_reaper(&self) {
        self.reaper.notify_one();
    }
}
