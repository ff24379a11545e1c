//! What a job does next, as a pure engine: events in, actions out. Today there are loads, with data and of metadata only.
//!
//! Nothing here knows a clock, a disk or a network: a shell carries the actions out and brings their outcomes back with
//! the time. Memory is bounded by the limits and by the depth of the tree, not by how many files there are, save for a
//! few bits for each file.

#![deny(missing_docs)]

pub mod limits;

mod asking;
mod event;
mod file;
mod job;
mod load;
mod metadata_load;
mod report;
mod retry;
mod roots;
mod visited;
mod walk;

pub use event::{Action, Event, Fault, Found, Loaded, NamedFound, Page, RequestId, TaskId};
pub use job::Job;
pub use load::LoadJob;
pub use metadata_load::MetadataLoadJob;
