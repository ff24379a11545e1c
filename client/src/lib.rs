//! The Rust SDK of Forebay: how a program looks up names, reads files and mounts under-stores of a cluster.
//!
//! It finds the leading master and the owners of blocks, verifies what it receives, reads ahead, and asks elsewhere
//! when somebody is dead. Answers say since when and for how long they hold. Whoever follows the changes may use them
//! longer, and asks here which of them still stand; as far as the settings allow it, they are remembered here, and given
//! again without asking.

mod answer;
mod backup;
mod cache;
mod client;
mod counters;
mod directories;
mod error;
mod examination;
mod feed;
mod fetch;
mod hold;
mod jobs;
mod levels;
mod limits;
mod look_ahead;
mod master_channel;
mod masters;
mod mounts;
mod names;
mod outages;
mod pins;
mod prefetch;
mod reader;
mod remembered;
mod retry;
mod route;
mod session;
mod settings;
mod stale;
mod verify;
mod worker_channels;

#[cfg(test)]
mod doubles;

pub use backup::{Backup, BackupPlan, BackupSource};
pub use cache::{About, Standing};
/// For the simulator that drives them.
#[doc(hidden)]
pub use cache::{Directories, Grants, Remembered, RememberedPage, Term};
pub use client::Client;
pub use counters::{Counters, CountersSnapshot, MountCounters};
pub use directories::Access;
pub use error::ClientError;
pub use examination::{ClockReading, ClusterExamination, ExaminedMaster, MasterPresence, Told, examine};
pub use feed::{Change, Changes};
pub use hold::{AtHand, Hold, Lend, RestingHold};
pub use jobs::{Job, PathDefect, Submitted};
pub use masters::MasterChange;
pub use mounts::{MountEntry, MountRequest, Mounted, Provenance};
pub use names::{Attributes, Deviation, ListingPage, Location, Lookup, Presence, Statistics};
pub use reader::Reader;
pub use settings::ClientSettings;

pub use forebay_proto::{
    ChangedName, ChangedNames, Coherence, DirectoryChange, Entry, Freshness, MountMode, Named, OnOutage,
    OptionSource,
};
