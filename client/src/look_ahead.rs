//! Has the files that follow brought into the cache while somebody goes through a directory in its order.
//!
//! Only their owners get them, so nothing is read here that may not be used; and only of what is remembered of
//! the directory, so it costs no question to the master. What has changed since, and what fails, is left for whoever
//! opens the file.

mod bringing;
mod walks;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use forebay_types::{BlockCapability, VersionDescriptor};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use self::walks::Walks;
use crate::limits::{LOOK_AHEAD_LOADS_MAX, LOOK_AHEAD_QUEUED_MAX};

/// What it takes to have a file brought.
#[derive(Clone, Debug)]
struct Ahead {
    version: VersionDescriptor,
    capability: BlockCapability,
}

/// The walks of a client.
#[derive(Debug)]
pub(crate) struct LookAhead {
    /// That of the remembered directories is taken within it, never the other way round.
    walks: Mutex<Walks<Option<Ahead>>>,
    /// Whether there are any, for opens that must cost nothing.
    is_walking: AtomicBool,
    /// For files that are being brought, and for those that wait for their turn as well.
    places: Semaphore,
    queue: Arc<Semaphore>,
}

impl LookAhead {
    /// Brings at most `window` files ahead of a walk; none with 0.
    pub(crate) fn new(window: usize) -> Self {
        Self {
            walks: Mutex::new(Walks::new(window)),
            is_walking: AtomicBool::new(false),
            places: Semaphore::new(LOOK_AHEAD_LOADS_MAX),
            queue: Arc::new(Semaphore::new(LOOK_AHEAD_QUEUED_MAX)),
        }
    }
}
