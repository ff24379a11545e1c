//! The gRPC services, each in three steps: decode, propose or query, encode.

mod admin;
mod cluster;
mod directories;
mod jobs;
mod levels;
mod masters;
mod mounts;
mod namespace;
mod pins;

pub(crate) use admin::AdminService;
pub(crate) use cluster::ClusterService;
pub(crate) use jobs::JobsService;
pub(crate) use masters::MastersService;
pub(crate) use mounts::{
    MountsService, admission_length, entry as mount_entry, revision as mounts_revision, wire_mode,
};
pub(crate) use namespace::NamespaceService;

use forebay_metadata::SessionStamp;
use forebay_proto::{Stamp, WireDefect, v1};
use forebay_types::{EntryName, NamespacePath};

use crate::error::MasterError;

/// The stamp of a mutation; without one a retry after a lost answer would be a second mutation.
fn stamp(header: Option<v1::RequestHeader>) -> Result<SessionStamp, WireDefect> {
    let stamp = header.and_then(|header| header.stamp).ok_or(WireDefect::Missing("stamp"))?;
    let Stamp { session, sequence, lowest_unanswered } = stamp.try_into()?;
    Ok(SessionStamp { session, sequence, lowest_unanswered })
}

fn path(bytes: &[u8]) -> Result<NamespacePath, MasterError> {
    NamespacePath::parse(bytes).map_err(|error| MasterError::Invalid(error.to_string()))
}

fn name(bytes: &[u8]) -> Result<EntryName, MasterError> {
    EntryName::new(bytes).map_err(|error| MasterError::Invalid(error.to_string()))
}

#[cfg(test)]
mod tests;
