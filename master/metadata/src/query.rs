//! Read-only views of the state. Each takes the reader, so that it shows the live state or a snapshot alike.
//!
//! An inode that was detached is still answered by its id until the reaper comes to it; [`path_of`] tells.

mod by_key;
mod edges_of;
mod pins;

use forebay_types::{
    EntryName, InodeId, JobFailure, JobId, MountId, NamespacePath, OutboxSequence, SessionId, Timestamp,
};

use crate::command::next_session;
use crate::level::FEATURE_LEVEL_FIRST;
use crate::state::{
    Clock, ClusterIdentity, Directory, Edge, Inode, JobCounts, JobPaths, JobRecord, KeptFailure, MountRecord,
    Orphan, OutboxCounts, OutboxRow, SessionRow, SessionView, Totals, TotalsScope, children_range, edge_key,
    edge_name, inode_id, inode_key, job_key, job_row_key, mount_key, outbox_range_after, outbox_sequence,
    range_end, read, read_page, session_key,
};
use crate::store::{StateReader, StoreError, Table};
use crate::tree;

pub use crate::command::check_mount;
pub use by_key::list_edges_by_key;
pub use edges_of::edges_of;
pub use pins::{Pins, pins};

/// How far a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The deepest inode of the path that exists here.
    pub inode: Inode,
    /// The names that follow it; empty when the whole path exists.
    pub rest: Vec<EntryName>,
}

/// Who the state belongs to; `None` before it is formatted.
///
/// # Errors
/// As all queries: [`StoreError`] when the state cannot be read.
pub fn identity(reader: &dyn StateReader) -> Result<Option<ClusterIdentity>, StoreError> {
    ClusterIdentity::read(reader)
}

/// Up to which level commands may be logged.
///
/// # Errors
/// As all queries.
pub fn feature_level(reader: &dyn StateReader) -> Result<u32, StoreError> {
    Ok(ClusterIdentity::read(reader)?.map_or(FEATURE_LEVEL_FIRST, |identity| identity.feature_level))
}

/// The highest time that an applied entry carried.
///
/// # Errors
/// As all queries.
pub fn clock(reader: &dyn StateReader) -> Result<Timestamp, StoreError> {
    Ok(Clock::read(reader)?.unwrap_or_default().now)
}

/// What `name` leads to in `parent`; `None` when the name is not there, or not yet loaded.
///
/// # Errors
/// As all queries.
pub fn lookup(
    reader: &dyn StateReader,
    parent: InodeId,
    name: &EntryName,
) -> Result<Option<Inode>, StoreError> {
    let edge: Option<Edge> = read(reader, &edge_key(parent, name))?;
    edge.map(|edge| target(reader, &edge)).transpose()
}

/// What an edge leads to.
///
/// # Errors
/// As all queries.
pub fn target(reader: &dyn StateReader, edge: &Edge) -> Result<Inode, StoreError> {
    tree::existing(reader, edge.target)
}

/// The edge of a name; `None` when the name is not there, or not yet loaded.
///
/// # Errors
/// As all queries.
pub fn edge(reader: &dyn StateReader, parent: InodeId, name: &EntryName) -> Result<Option<Edge>, StoreError> {
    read(reader, &edge_key(parent, name))
}

/// The inode `id`; `None` when it never was or is gone.
///
/// # Errors
/// As all queries.
pub fn attributes(reader: &dyn StateReader, id: InodeId) -> Result<Option<Inode>, StoreError> {
    read(reader, &inode_key(id))
}

/// Up to `limit` entries of a directory after the name `after`, in the order of the names' bytes.
///
/// # Errors
/// As all queries.
pub fn list(
    reader: &dyn StateReader,
    directory: InodeId,
    after: Option<&EntryName>,
    limit: usize,
) -> Result<Vec<Inode>, StoreError> {
    let edges = list_edges(reader, directory, after, limit)?;
    edges.into_iter().map(|(_, edge)| tree::existing(reader, edge.target)).collect()
}

/// What the edges of a page lead to.
///
/// # Errors
/// As all queries.
pub fn targets(reader: &dyn StateReader, edges: Vec<(EntryName, Edge)>) -> Result<Vec<Inode>, StoreError> {
    edges.into_iter().map(|(_, edge)| tree::existing(reader, edge.target)).collect()
}

/// Like [`list`], without a read of each inode.
///
/// # Errors
/// As all queries.
pub fn list_edges(
    reader: &dyn StateReader,
    directory: InodeId,
    after: Option<&EntryName>,
    limit: usize,
) -> Result<Vec<(EntryName, Edge)>, StoreError> {
    let (start, end) = children_range(directory, after);
    let page = read_page::<Edge>(reader, &start, end.as_deref(), limit)?;
    page.into_iter().map(|(key, edge)| Ok((edge_name(Table::Children, &key)?.1, edge))).collect()
}

/// Whether a name that is not in the directory is known not to exist. Directories in no mount always know.
///
/// # Errors
/// As all queries.
pub fn is_loaded(reader: &dyn StateReader, directory: InodeId) -> Result<bool, StoreError> {
    let Some(inode) = attributes(reader, directory)? else {
        return Ok(false);
    };
    Ok(inode.mount.is_none() || listing(reader, directory)?.loaded_at.is_some())
}

/// Whether a directory in a mount was listed completely and nothing of that was forgotten.
///
/// # Errors
/// As all queries.
pub fn is_listed(reader: &dyn StateReader, directory: InodeId) -> Result<bool, StoreError> {
    Ok(listing(reader, directory)?.loaded_at.is_some())
}

/// Up to `limit` directories after `after` that were ever listed, with what is known of them, by id.
///
/// # Errors
/// As all queries.
pub fn listed_directories(
    reader: &dyn StateReader,
    after: Option<InodeId>,
    limit: usize,
) -> Result<Vec<(InodeId, Directory)>, StoreError> {
    let start = match after.map(|after| after.get().checked_add(1)) {
        None => Vec::new(),
        Some(Some(next)) => inode_key(InodeId::new(next)),
        Some(None) => return Ok(Vec::new()),
    };
    let page = read_page::<Directory>(reader, &start, None, limit)?;
    page.into_iter().map(|(key, row)| Ok((inode_id(Table::Directories, &key)?, row))).collect()
}

/// What is known of a directory's listing.
///
/// # Errors
/// As all queries.
pub fn listing(reader: &dyn StateReader, directory: InodeId) -> Result<Directory, StoreError> {
    Ok(read(reader, &inode_key(directory))?.unwrap_or_default())
}

/// All mounts, by id.
///
/// # Errors
/// As all queries.
pub fn mounts(reader: &dyn StateReader) -> Result<Vec<MountRecord>, StoreError> {
    let page = read_page::<MountRecord>(reader, &[], None, forebay_types::limits::MOUNTS_MAX)?;
    Ok(page.into_iter().map(|(_, mount)| mount).collect())
}

/// The mount `id`; `None` when it never was or is gone.
///
/// # Errors
/// As all queries.
pub fn mount(reader: &dyn StateReader, id: MountId) -> Result<Option<MountRecord>, StoreError> {
    read(reader, &mount_key(id))
}

/// Follows a path from the root as far as it leads.
///
/// # Errors
/// As all queries, and when the state is not formatted.
pub fn resolve(reader: &dyn StateReader, path: &NamespacePath) -> Result<Resolved, StoreError> {
    let walk = tree::walk(reader, path)?;
    Ok(Resolved { inode: walk.inode, rest: path.names()[walk.found..].to_vec() })
}

/// The path of an inode; `None` when it is gone or detached.
///
/// # Errors
/// As all queries.
pub fn path_of(reader: &dyn StateReader, id: InodeId) -> Result<Option<NamespacePath>, StoreError> {
    let lineage = tree::lineage(reader, id)?;
    let path = |lineage: Vec<Inode>| {
        let names = lineage.into_iter().rev().filter_map(|inode| inode.name);
        names.fold(NamespacePath::root(), |path, name| path.join(name))
    };
    Ok(lineage.map(path))
}

/// How many inodes the namespace has, those that wait to be reaped included.
///
/// # Errors
/// As all queries.
pub fn totals(reader: &dyn StateReader) -> Result<Totals, StoreError> {
    Totals::read(reader, TotalsScope::Namespace)
}

/// How many inodes a mount has, its own root included.
///
/// # Errors
/// As all queries.
pub fn mount_totals(reader: &dyn StateReader, id: MountId) -> Result<Totals, StoreError> {
    Totals::read(reader, TotalsScope::Mount(id))
}

/// Whether detached subtrees wait for [`Reap`](crate::Reap).
///
/// # Errors
/// As all queries.
pub fn needs_reaping(reader: &dyn StateReader) -> Result<bool, StoreError> {
    Ok(!read_page::<Orphan>(reader, &[], None, 1)?.is_empty())
}

/// The session `id`; `None` when it never was or is over.
///
/// # Errors
/// As all queries.
pub fn session(reader: &dyn StateReader, id: SessionId) -> Result<Option<SessionView>, StoreError> {
    let row: Option<SessionRow> = read(reader, &session_key(id))?;
    Ok(row.map(|row| view(id, row)))
}

/// Up to `limit` sessions after the id `after`.
///
/// # Errors
/// As all queries.
pub fn sessions(
    reader: &dyn StateReader,
    after: Option<SessionId>,
    limit: usize,
) -> Result<Vec<SessionView>, StoreError> {
    let mut views = Vec::new();
    let mut start = after.map(|id| id.get().checked_add(1));
    while views.len() < limit {
        let key = match start {
            None => Vec::new(),
            Some(Some(id)) => session_key(SessionId::new(id)),
            Some(None) => break,
        };
        let Some((id, row)) = next_session(reader, &key)? else { break };
        views.push(view(id, row));
        start = Some(id.get().checked_add(1));
    }
    Ok(views)
}

/// The job `id`; `None` when it never was or is no longer kept.
///
/// # Errors
/// As all queries.
pub fn job(reader: &dyn StateReader, id: JobId) -> Result<Option<JobRecord>, StoreError> {
    read(reader, &job_key(id))
}

/// All jobs that are known, by id: those that are not over, and the last ones that are.
///
/// # Errors
/// As all queries.
pub fn jobs(reader: &dyn StateReader) -> Result<Vec<JobRecord>, StoreError> {
    let most = crate::limits::JOBS_ACTIVE_MAX + crate::limits::JOBS_KEPT_MAX;
    let page = read_page(reader, &[], None, usize::try_from(most).unwrap_or(usize::MAX))?;
    Ok(page.into_iter().map(|(_, job)| job).collect())
}

/// One row of a job's paths, counted from 0; `None` after the last.
///
/// # Errors
/// As all queries.
pub fn job_paths(
    reader: &dyn StateReader,
    job: JobId,
    row: u32,
) -> Result<Option<Vec<NamespacePath>>, StoreError> {
    Ok(read::<JobPaths>(reader, &job_row_key(job, row))?.map(|row| row.paths))
}

/// What is kept of a job's failures, in the order in which they came.
///
/// # Errors
/// As all queries.
pub fn job_failures(reader: &dyn StateReader, job: JobId) -> Result<Vec<JobFailure>, StoreError> {
    let start = job_key(job);
    let end = range_end(&start);
    let most = forebay_types::limits::JOB_FAILURES_KEPT_MAX;
    let page = read_page::<KeptFailure>(reader, &start, end.as_deref(), most)?;
    Ok(page.into_iter().map(|(_, kept)| kept.failure).collect())
}

/// How many jobs there are and were.
///
/// # Errors
/// As all queries.
pub fn job_counts(reader: &dyn StateReader) -> Result<JobCounts, StoreError> {
    JobCounts::read(reader)
}

/// How many rows wait in the outbox, and which.
///
/// # Errors
/// As all queries.
pub fn outbox_counts(reader: &dyn StateReader) -> Result<OutboxCounts, StoreError> {
    OutboxCounts::read(reader)
}

/// Up to `limit` rows of the outbox after `after`, by sequence: the oldest first.
///
/// # Errors
/// As all queries.
pub fn outbox(
    reader: &dyn StateReader,
    after: OutboxSequence,
    limit: usize,
) -> Result<Vec<(OutboxSequence, OutboxRow)>, StoreError> {
    // Where the first one is known, the store need not pass over those that were trimmed.
    let first = OutboxCounts::read(reader)?.first;
    let Some(start) = outbox_range_after(after, first) else {
        return Ok(Vec::new());
    };
    let page = read_page::<OutboxRow>(reader, &start, None, limit)?;
    page.into_iter().map(|(key, row)| Ok((outbox_sequence(&key)?, row))).collect()
}

fn view(session: SessionId, row: SessionRow) -> SessionView {
    SessionView { session, last_used: row.last_used, lowest_unanswered: row.lowest_unanswered }
}
