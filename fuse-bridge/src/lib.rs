//! The FUSE bridge: shows a directory of a Forebay namespace to the Linux kernel as a read-only file system.
//!
//! It owns what the kernel knows: node ids, handles, how each file is read, and for how long answers may be
//! remembered. Names and bytes come through the port [`Namespace`], which the cluster's client implements. Invariants:
//! one node id names one version; the first live handle of a node fixes how it is read; each request is answered by a
//! deadline; nothing waits on a thread that reads requests. No other crate names `fuser`.

mod answers;
mod attributes;
mod bridge;
mod changes;
mod errno;
mod error;
mod handles;
mod kernel_listings;
mod kernel_mount;
mod listing;
mod metrics;
mod modes;
mod mount_point;
mod mount_table;
mod mounted;
mod namespace;
mod node_id;
mod nodes;
mod notices;
mod outline;
mod passthrough;
mod resting;
mod settings;
mod ttl;
mod walk;
mod xattr;

#[cfg(test)]
mod doubles;

pub mod limits;

pub use error::FuseError;
pub use mounted::{MountedFuse, mount, unmount_at};
pub use namespace::{
    AtHand, Changes, Described, Found, HeldFile, LentFile, Listed, Namespace, NamespaceError, ReadSource,
    RestingFile, Room, VersionReader,
};
pub use passthrough::ReadMode;
pub use settings::{FileRights, FuseOptions, MountSettings, Passthrough};
