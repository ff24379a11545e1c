//! How mounts are: ready, away or in maintenance, and what of them is answered past its freshness. Shown to people and
//! counted for the metrics; whoever asks changes nothing.

use std::sync::Arc;
use std::time::Duration;

use forebay_metadata::{Freshness, MountRecord, StateReader, query};
use forebay_proto::{Entry, v1};
use forebay_types::{EntryKind, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::error::MasterError;
use crate::limits;
use crate::service::mount_entry;
use crate::shared::Shared;
use crate::under_stores::Failure;

/// How a mount is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MountState {
    /// Its under-store answered when it was last asked, or was not asked yet.
    Ready,
    /// It did not.
    Unreachable(Failure),
    /// It may not be asked.
    Maintenance,
}

/// Where an answer comes from, for people.
#[derive(Debug)]
pub(crate) struct Provenance {
    pub(crate) mount: v1::MountEntry,
    /// It is past its freshness.
    pub(crate) is_stale: bool,
    /// Since when, where that is known.
    pub(crate) stale_since: Option<Timestamp>,
}

impl MountState {
    pub(crate) fn of(shared: &Shared, mount: &MountRecord) -> Self {
        match shared.under_stores.failure(mount.id) {
            _ if mount.options.is_in_maintenance() => Self::Maintenance,
            Some(failure) => Self::Unreachable(failure),
            None => Self::Ready,
        }
    }

    /// As scripts know it.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::Unreachable(_) => "UNREACHABLE",
            Self::Maintenance => "MAINTENANCE",
        }
    }
}

/// Where the answer about an entry comes from that was given just now; of a directory, what is in it. `None` where it
/// lies in no mount.
pub(crate) async fn provenance(shared: &Shared, entry: &Entry) -> Result<Option<Provenance>, MasterError> {
    if entry.under_store_uri.is_empty() {
        return Ok(None);
    }
    let look = |state: &dyn StateReader| {
        let inode = query::attributes(state, entry.inode)?;
        let id = inode.as_ref().and_then(|inode| inode.mount);
        let Some(mount) = id.map(|id| query::mount(state, id)).transpose()?.flatten() else {
            return Ok(None);
        };
        let directory = match entry.kind {
            EntryKind::Directory => entry.inode,
            EntryKind::File | EntryKind::Symlink => entry.directory,
        };
        let is_known = entry.kind != EntryKind::Directory || query::is_loaded(state, directory)?;
        let now = shared.clock.boot_instant();
        let listed = shared.checks.lock().age(directory, now);
        // What is no directory may have been asked for alone since.
        let name = inode.and_then(|inode| inode.name).filter(|_| entry.kind != EntryKind::Directory);
        let alone = name.and_then(|name| shared.single_names.compared(&(directory, name)));
        let alone = alone.map(|compared| now.saturating_duration_since(compared.began));
        let age = listed.into_iter().chain(alone).min();
        let (is_over, over_for) = match (mount.options.freshness, age) {
            (Freshness::Immutable, _) => (false, None),
            // Of what an earlier master listed only that is known.
            (Freshness::Bound(_), None) => (true, None),
            (Freshness::Bound(bound), Some(age)) => (age >= bound, age.checked_sub(bound)),
        };
        // Where the under-store can be asked, that was done before this was answered.
        let is_stale = is_over && is_known && MountState::of(shared, &mount) != MountState::Ready;
        let stale_since = over_for.filter(|_| is_stale).map(|over| before(shared.clock.now(), over));
        Ok(Some(Provenance { mount: mount_entry(shared, state, &mount)?, is_stale, stale_since }))
    };
    shared.query(look).await
}

/// To the second: two clocks are behind it, which do not go alike.
fn before(now: Timestamp, span: Duration) -> Timestamp {
    let nanos = now.nanos().saturating_sub(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX));
    Timestamp::from_parts(Timestamp::from_nanos(nanos).seconds(), 0)
}

/// Counts the mounts that are away or in maintenance, until `cancelled`.
pub(crate) async fn watch(shared: Arc<Shared>, cancelled: CancellationToken) {
    loop {
        let states = |state: &dyn StateReader| {
            let mounts = query::mounts(state)?;
            Ok(mounts.iter().map(|mount| MountState::of(&shared, mount)).collect::<Vec<_>>())
        };
        // A master that does not lead knows nothing of that.
        let states = shared.query(states).await.unwrap_or_default();
        let (mut unreachable, mut maintenance) = (0, 0);
        for state in states {
            match state {
                MountState::Ready => {}
                MountState::Unreachable(_) => unreachable += 1,
                MountState::Maintenance => maintenance += 1,
            }
        }
        shared.metrics.mounts_unreachable.set(unreachable);
        shared.metrics.mounts_maintenance.set(maintenance);
        tokio::select! {
            () = cancelled.cancelled() => return,
            () = tokio::time::sleep(limits::MOUNT_STATES_INTERVAL) => {}
        }
    }
}
