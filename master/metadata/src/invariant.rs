//! What must be true of the state after each entry, one file for each rule.
//!
//! The check reads the whole state into memory: it is for tests and for a doctor's visit, not for each day.

use std::collections::BTreeMap;

use forebay_types::{EntryName, InodeId, JobId, MountId, OutboxSequence};

use crate::query;
use crate::state::{
    ClusterIdentity, Directory, Edge, Inode, JobCounts, JobRecord, MountRecord, NextIds, Orphan,
    OutboxCounts, OutboxRow, Pin, Record, RememberedReply, SessionRow, Tombstone, Totals, TotalsScope,
    decode_record, edge_name, inode_id, job_id, job_row, outbox_sequence,
};
use crate::store::{StateReader, StoreError, Table};

mod directories_are_known;
mod edges_lead_home;
mod ids_are_below_counters;
mod inodes_are_reachable;
mod jobs_are_counted;
mod mounts_are_where_they_say;
mod outbox_is_counted;
mod pins_are_of_inodes;
mod sessions_are_bounded;
mod totals_are_counts;

#[cfg(test)]
mod tests;

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule's id.
    pub invariant: &'static str,
    /// What was found.
    pub what: String,
}

/// A rule: its id, and what does not fit it.
type Rule = (&'static str, fn(&Facts) -> Vec<String>);

const RULES: [Rule; 10] = [
    (edges_lead_home::ID, edges_lead_home::check),
    (inodes_are_reachable::ID, inodes_are_reachable::check),
    (ids_are_below_counters::ID, ids_are_below_counters::check),
    (totals_are_counts::ID, totals_are_counts::check),
    (mounts_are_where_they_say::ID, mounts_are_where_they_say::check),
    (directories_are_known::ID, directories_are_known::check),
    (sessions_are_bounded::ID, sessions_are_bounded::check),
    (jobs_are_counted::ID, jobs_are_counted::check),
    (outbox_is_counted::ID, outbox_is_counted::check),
    (pins_are_of_inodes::ID, pins_are_of_inodes::check),
];

/// Checks each rule. An empty list means that the state is sound. A state that was never formatted is.
///
/// # Errors
/// [`StoreError`] when the state cannot be read.
pub fn check_all(reader: &dyn StateReader) -> Result<Vec<Violation>, StoreError> {
    let Some(facts) = Facts::read(reader)? else {
        return Ok(Vec::new());
    };
    let violations = RULES
        .iter()
        .flat_map(|(invariant, check)| check(&facts).into_iter().map(|what| Violation { invariant, what }));
    Ok(violations.collect())
}

/// The whole state, decoded.
struct Facts {
    identity: ClusterIdentity,
    next_ids: NextIds,
    inodes: BTreeMap<InodeId, Inode>,
    edges: BTreeMap<(InodeId, EntryName), Edge>,
    mounts: BTreeMap<MountId, MountRecord>,
    totals: BTreeMap<TotalsScope, Totals>,
    directories: BTreeMap<InodeId, Directory>,
    orphans: BTreeMap<InodeId, Orphan>,
    tombstones: BTreeMap<(InodeId, EntryName), Tombstone>,
    sessions: BTreeMap<Vec<u8>, SessionRow>,
    replies: BTreeMap<Vec<u8>, RememberedReply>,
    jobs: BTreeMap<JobId, JobRecord>,
    job_paths: Vec<(JobId, u32)>,
    job_failures: Vec<(JobId, u32)>,
    job_counts: JobCounts,
    outbox: BTreeMap<OutboxSequence, OutboxRow>,
    outbox_counts: OutboxCounts,
    pins: BTreeMap<InodeId, Pin>,
}

impl Facts {
    fn read(reader: &dyn StateReader) -> Result<Option<Self>, StoreError> {
        let Some(identity) = ClusterIdentity::read(reader)? else {
            return Ok(None);
        };
        let (sessions, replies) = split_sessions(reader)?;
        Ok(Some(Self {
            identity,
            next_ids: NextIds::read(reader)?,
            inodes: rows(reader, |key| inode_id(Table::Inodes, key))?,
            edges: rows(reader, |key| edge_name(Table::Children, key))?,
            mounts: rows(reader, mount_id)?,
            totals: read_totals(reader)?,
            directories: rows(reader, |key| inode_id(Table::Directories, key))?,
            orphans: rows(reader, |key| inode_id(Table::Orphans, key))?,
            tombstones: rows(reader, |key| edge_name(Table::Tombstones, key))?,
            sessions,
            replies,
            jobs: rows(reader, |key| job_id(Table::Jobs, key))?,
            job_paths: job_rows(reader, Table::JobPaths)?,
            job_failures: job_rows(reader, Table::JobFailures)?,
            job_counts: JobCounts::read(reader)?,
            outbox: rows(reader, outbox_sequence)?,
            outbox_counts: OutboxCounts::read(reader)?,
            pins: rows(reader, |key| inode_id(Table::Pins, key))?,
        }))
    }
}

fn rows<K: Ord, R: Record>(
    reader: &dyn StateReader,
    read_key: impl Fn(&[u8]) -> Result<K, StoreError>,
) -> Result<BTreeMap<K, R>, StoreError> {
    let rows = reader.scan(R::TABLE, &[], None, usize::MAX)?;
    rows.into_iter().map(|(key, value)| Ok((read_key(&key)?, decode_record(&key, &value)?))).collect()
}

fn job_rows(reader: &dyn StateReader, table: Table) -> Result<Vec<(JobId, u32)>, StoreError> {
    reader.scan(table, &[], None, usize::MAX)?.iter().map(|(key, _)| job_row(table, key)).collect()
}

fn mount_id(key: &[u8]) -> Result<MountId, StoreError> {
    let id = <[u8; 4]>::try_from(key)
        .map_err(|_| StoreError::corrupt(Table::Mounts, key, "a key of other than 4 bytes"))?;
    Ok(MountId::new(u32::from_be_bytes(id)))
}

fn read_totals(reader: &dyn StateReader) -> Result<BTreeMap<TotalsScope, Totals>, StoreError> {
    let mut totals = BTreeMap::from([(TotalsScope::Namespace, query::totals(reader)?)]);
    let prefix = TotalsScope::MOUNT_PREFIX;
    for (key, value) in reader.scan(Table::Counters, prefix, None, usize::MAX)? {
        if let Some(id) = key.strip_prefix(prefix) {
            totals.insert(TotalsScope::Mount(mount_id(id)?), decode_record(&key, &value)?);
        }
    }
    Ok(totals)
}

type Sessions = (BTreeMap<Vec<u8>, SessionRow>, BTreeMap<Vec<u8>, RememberedReply>);

fn split_sessions(reader: &dyn StateReader) -> Result<Sessions, StoreError> {
    let mut sessions = Sessions::default();
    for (key, value) in reader.scan(Table::Sessions, &[], None, usize::MAX)? {
        match key.len() {
            8 => drop(sessions.0.insert(key.clone(), decode_record(&key, &value)?)),
            16 => drop(sessions.1.insert(key.clone(), decode_record(&key, &value)?)),
            _ => return Err(StoreError::corrupt(Table::Sessions, &key, "a key of other than 8 or 16 bytes")),
        }
    }
    Ok(sessions)
}
