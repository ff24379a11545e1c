//! The master: answers about the namespace, keeps it within its freshness, and knows which worker holds what.
//!
//! Replicated state lives behind `forebay-raft`; what is here is soft and rebuilt from heartbeats and listings. The
//! two never share a struct.

mod answer_room;
mod capabilities;
mod difference;
mod error;
mod feed;
mod freshness;
mod jobs;
mod limits;
mod listing;
mod listings;
mod live_jobs;
mod metrics;
mod registry;
mod renewal;
mod report;
mod sealing;
mod server;
mod service;
mod shared;
mod tree;
mod under_stores;
mod worker_channels;

#[cfg(test)]
mod tests;

pub use error::MasterError;
pub use sealing::SealingError;
pub use server::{Master, MasterSettings, StartError};
pub use under_stores::ConnectError;
