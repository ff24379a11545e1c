//! The Rust SDK of Forebay: how a program looks up names, reads files and mounts under-stores of a cluster.
//!
//! It finds the leading master and the owners of blocks, verifies what it receives, reads ahead, and asks elsewhere
//! when somebody is dead. It keeps no metadata: answers say for how long they hold, and the caller remembers them.

mod answer;
mod client;
mod counters;
mod error;
mod fetch;
mod hold;
mod jobs;
mod limits;
mod master_channel;
mod mounts;
mod names;
mod outages;
mod prefetch;
mod reader;
mod retry;
mod route;
mod session;
mod settings;
mod verify;
mod worker_channels;

#[cfg(test)]
mod doubles;

pub use client::Client;
pub use counters::{Counters, CountersSnapshot, MountCounters};
pub use error::ClientError;
pub use hold::Hold;
pub use jobs::{Job, PathDefect, Submitted};
pub use mounts::{MountEntry, MountRequest};
pub use names::{ListingPage, Location, Lookup, Presence, Statistics};
pub use reader::Reader;
pub use settings::ClientSettings;

pub use forebay_proto::{Coherence, Entry, Freshness, Named, OptionSource};
