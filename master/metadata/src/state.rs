//! The rows of the replicated state as typed records, one file for each table.
//!
//! Each value begins with a byte that tells its format, then postcard. Ids in keys are big-endian, so that the order
//! of keys is the order of ids. Writing goes through [`Transition`] only.

mod counters;
mod directory;
mod edge;
mod identity;
mod inode;
mod job_rows;
mod mount_record;
mod orphan;
mod outbox;
mod pin;
mod record;
mod session_rows;
mod transition;

pub use counters::Totals;
pub use directory::Directory;
pub use edge::{Edge, EdgeOrigin};
pub use identity::ClusterIdentity;
pub use inode::{Inode, InodeBody, Version};
pub use job_rows::{JobCounts, JobKind, JobRecord};
pub use mount_record::MountRecord;
pub use outbox::{OutboxCounts, OutboxRow, Task};
pub use session_rows::SessionView;

pub(crate) use counters::{Clock, NextIds, TotalsScope};
pub(crate) use directory::{Tombstone, tombstone_key};
pub(crate) use edge::{children_range, children_range_after, edge_key, edge_name};
pub(crate) use inode::{NOWHERE, inode_id, inode_key};
pub(crate) use job_rows::{JobPaths, KeptFailure, job_id, job_key, job_row, job_row_key};
pub(crate) use mount_record::mount_key;
pub(crate) use orphan::Orphan;
#[cfg(test)]
pub(crate) use outbox::outbox_key;
pub(crate) use outbox::{outbox_range_after, outbox_sequence, trim};
pub(crate) use pin::Pin;
pub(crate) use record::{Record, decode_record, encode_record, range_end, read, read_page};
pub(crate) use session_rows::{RememberedReply, SessionRow, reply_key, session_key};
pub(crate) use transition::Transition;
