//! The worker: serves cached pages, fetches missing ones once, passes descriptors to its own host, reports to the
//! master.
//!
//! What is cached and where is the block store's; what an under-store is, is its adapter's. Invariants: nobody reads a
//! version without a capability for it; a page is fetched once however many wait for it; a reader never waits for room
//! in the cache; bytes of two versions are never mixed.

mod accounting;
mod background;
mod cache;
mod carried;
mod cataloguing;
mod checksum;
mod contents;
mod core;
mod disk;
mod disk_watch;
mod error;
mod fetches;
mod forgetting;
mod identity;
mod keys;
mod life;
mod load;
mod local_socket;
mod log_pace;
mod master_link;
mod metrics;
mod mount_intake;
mod mounts;
mod moving;
mod past_cache;
mod read_path;
mod reading_order;
mod registration;
mod reports;
mod retry;
mod scrubbing;
mod service;
mod settings;
mod version;
mod worker;
mod working_memory;

#[cfg(test)]
mod tests;

pub mod limits;

pub use error::WorkerError;
pub use forebay_block_store::{Eviction, TierKind, TierSettings, UnknownEviction};
pub use settings::{WorkerSettings, WorkerStages};
pub use worker::{RunningWorker, Worker};
