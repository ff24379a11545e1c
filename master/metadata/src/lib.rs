//! The namespace as a pure state machine: what the replicated log does to it, and how to read it.
//!
//! [`apply()`] is the only door for changes, [`query`] the only one for reads, [`store`] the port to what keeps the
//! rows. Nothing here knows a clock, a disk, a network or the log's protocol: the same entries give the same rows, the
//! same replies and the same effects on each master.

#![deny(missing_docs)]

pub mod command;
pub mod golden;
pub mod invariant;
pub mod limits;
pub mod query;
pub mod snapshot;
pub mod store;

mod apply;
mod effect;
mod level;
mod mount;
mod mount_before;
mod proposal;
mod reply;
mod session;
mod state;
mod tree;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use apply::{Applied, AppliedBatch, Outcome, apply, apply_all};
pub use command::{
    AdmitWorker, AdvanceJob, AdvanceMetadataLoad, ApplyListing, BeginLoad, BeginMetadataLoad, ChangeMount,
    Command, DescribeMount, EndJob, EndMetadataLoad, ExpireSessions, ExtendLoad, ForgetDirectory, Format,
    ListedEntry, MakeDirectory, Mount, Pin, Reap, RemoveDirectory, Rename, ResealedMount, SetAttributes,
    SetFeatureLevel, SupersedeVersion, TrimOutbox, Unmount, Unpin,
};
pub use effect::{ChangedName, ChangedNames, Effect};
pub use level::{FEATURE_LEVEL, FEATURE_LEVEL_FIRST};
pub use mount::{Coherence, Freshness, MountMode, MountOptions, OnOutage, OptionValue};
pub use proposal::{PROPOSAL_FORMAT, Proposal, SessionStamp};
pub use reply::{CodecError, REPLY_FORMAT, Rejection, Reply, Success, decode_reply, encode_reply};
pub use state::{
    ClusterIdentity, Directory, Edge, EdgeOrigin, Inode, InodeBody, JobCounts, JobKind, JobRecord,
    MountRecord, OutboxCounts, OutboxRow, SessionView, Task, Totals, Version,
};
pub use store::{Mutation, StateReader, StateWriter, StoreError, Table};
