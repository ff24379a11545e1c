//! The replicated log: what is proposed here is synced on a majority of the masters, applied on each, then answered.
//!
//! Only here is openraft named. The state machine is `forebay-metadata`, the disks are `forebay-storage`; this room
//! owns what lies between: batching, what masters say to each other, snapshots, reads that see what was acknowledged, who
//! leads and who votes.

#![deny(missing_docs)]

pub mod backup;
pub mod journal;
pub mod limits;

mod clock;
mod codec;
mod effects;
mod error;
mod log;
mod machine;
mod node;
mod peers;
mod restore;
mod settings;
mod snapshot;
mod state;
mod types;

#[cfg(test)]
mod suite;
#[cfg(test)]
mod testing;

pub use clock::{Clock, SystemClock};
pub use effects::{Effects, Wake};
pub use error::RaftError;
pub use node::membership::{Joining, Member};
pub use node::proposer::Committed;
pub use node::{RaftNode, RaftStatus, Role};
pub use peers::ClusterMark;
pub use peers::service::RaftService;
pub use restore::{RestoreError, RestoredNode, erase, has_state, restore};
pub use settings::{FIRST_NODE, RaftSettings, Reads, Tuning, UnknownReads};
pub use state::{ReadView, StateMoment};
pub use types::LeaderHint;
