//! The master: answers about the namespace, keeps it within its freshness, and knows which worker holds what.
//!
//! Replicated state lives behind `forebay-raft`; what is here is soft and rebuilt from heartbeats and listings. The
//! two never share a struct.

mod answer_room;
mod budget;
mod capabilities;
mod difference;
mod disk_probe;
mod door;
mod durable;
mod error;
mod examination;
mod feed;
mod freshness;
mod hello;
mod jobs;
mod limits;
mod listing;
mod listings;
mod live_jobs;
mod membership;
mod metrics;
mod mount_states;
mod outbox;
mod registry;
mod renewal;
mod report;
mod request_cap;
mod sealing;
mod server;
mod service;
mod shared;
mod single_names;
mod tree;
mod under_stores;
mod worker_channels;

#[cfg(test)]
mod tests;

pub use error::MasterError;
pub use forebay_raft::{Reads, backup, journal};
pub use limits::REQUESTS_PER_SECOND_MAX;
pub use membership::MembershipError;
pub use sealing::SealingError;
pub use server::{
    BackupContent, BeginError, Master, MasterSettings, PeerList, PeerListError, RestoreSettings, Restored,
    StartError, format, restore,
};
pub use under_stores::ConnectError;
/// Pure parts, for the simulator that drives them.
#[doc(hidden)]
pub use {
    difference::difference,
    feed::Feed,
    freshness::{Checks, Verdict, validity},
    listing::Finish,
    listings::{Course, Joined, Listings, Waiting, Wanted},
    registry::{ForgetList, Forgetting, OutboxProgress},
    single_names::{Asking, Compared, Ended, Failure, Question, SingleName, SingleNames, Wished},
};
