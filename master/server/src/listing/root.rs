//! The directory that a mount is shown at: it has owner, mode and time of its source, as fresh as what is in it.
//!
//! Each listing of it says how it is, and once that is longer ago than the freshness its under-store is asked for it alone.
//! Not where the under-store has no owners, as S3: then there is nothing to ask for.

use std::sync::Arc;

use forebay_metadata::{
    Command, DescribeMount, Edge, Freshness, Inode, MountRecord, StateReader, Success, query,
};
use forebay_runtime::BootInstant;
use forebay_types::{EntryKind, InodeId, LogIndex};
use forebay_under_store::{ObjectStatus, UnderStoreError, has_owners};

use super::outage::{may_tell_at_once, past_freshness};
use super::single::{Asked, Asker, Single, known, wish};
use super::{Place, in_maintenance};
use crate::error::MasterError;
use crate::freshness::is_within;
use crate::limits;
use crate::request_cap::Urgency;
use crate::shared::Shared;
use crate::single_names::{Compared, SingleName};

/// Whether an inode is the directory that a mount is shown at, and is as its source is.
pub(crate) fn is_root_with_owner(inode: &Inode, mount: &MountRecord) -> bool {
    mount.root == inode.id && has_owners(&mount.uri)
}

/// Has the directory of a mount compared with its source, unless that was done within the freshness. Outages and
/// maintenance are told as by [`ensure`](super::ensure), also where nothing is known of it: it is there as long as the mount
/// is, and shown closed.
///
/// Cancel safe: the question itself goes on.
pub(crate) async fn ask_root(shared: &Arc<Shared>, place: &Place) -> Result<Single, MasterError> {
    let Some(mount) = &place.mount else { return Ok(Single::Listing) };
    let Some(of) = of(&place.directory) else { return Ok(Single::Listing) };
    let freshness = mount.options.freshness;
    if freshness == Freshness::Immutable && place.directory.mode.is_some() {
        return Ok(Single::Known(limits::IMMUTABLE_VALIDITY));
    }
    if place.is_in_maintenance() {
        return known(in_maintenance(mount, true)?);
    }
    let asked = shared.clock.boot_instant();
    let is_young_enough = |began: BootInstant| began > asked || is_within(freshness, began, asked);
    let is_known = shared.roots.compared(&of).is_some_and(|compared| is_young_enough(compared.began));
    let is_failing = shared.checks.lock().is_failing(place.directory.id, asked);
    if !is_known && is_failing && may_tell_at_once(shared, mount) {
        return known(past_freshness(shared, mount, None)?);
    }
    wish(shared, place, mount, &of, Asked::Root, is_young_enough).await
}

/// Takes what a listing of a mount's directory says of the directory itself.
pub(super) async fn take_from_listing(
    shared: &Shared,
    root: &Inode,
    status: &ObjectStatus,
    (begun_at, began): (LogIndex, BootInstant),
) -> Result<(), MasterError> {
    if let Some(of) = of(root)
        && let Some(compared) = describe(shared, root.id, status, (begun_at, began)).await?
    {
        shared.roots.note(&of, compared);
    }
    Ok(())
}

impl Asker {
    /// One question for the directory of a mount and what it changes; `None` if it changed meanwhile, by news that may be
    /// older.
    pub(super) async fn compare_root(&self) -> Result<Option<Compared>, MasterError> {
        let (shared, mount) = (&self.shared, self.mount.id);
        shared.may_ask_on(mount).await?;
        let store = shared.under_store(&self.mount)?;
        shared.turn(mount, Urgency::Foreground, 1).await?;
        shared.roots.asks(&self.of);
        let _place = shared.roots.places.acquire().await.expect("never closed");
        let began = shared.clock.boot_instant();
        shared.roots.began(&self.of, began);
        let (begun_at, ()) = shared.begin(|_| Ok(())).await?;
        let asked = tokio::time::timeout(limits::UNDER_STORE_DEADLINE, store.stat(&self.directory.key)).await;
        shared.roots.answered(&self.of);
        let seconds = limits::UNDER_STORE_DEADLINE.as_secs();
        let found = asked.map_err(|_| MasterError::UnderStoreTimedOut { mount, seconds })??;
        let object = || self.mount.uri.to_string();
        let status = found.ok_or_else(|| UnderStoreError::NotFound { object: object() })?;
        if status.kind != EntryKind::Directory {
            return Err(UnderStoreError::NotADirectory { object: object() }.into());
        }
        describe(shared, self.directory.id, &status, (begun_at, began)).await
    }
}

/// Takes over what an under-store says of a mount's directory, of a look that began then; `None` if the directory changed
/// since, by news that may be older.
async fn describe(
    shared: &Shared,
    root: InodeId,
    status: &ObjectStatus,
    (begun_at, began): (LogIndex, BootInstant),
) -> Result<Option<Compared>, MasterError> {
    let compared = |edge: Option<Edge>| Compared { began, changed_at: edge.map(|edge| edge.changed_at) };
    let (inode, edge) = shared.query(|state| root_of(state, root)).await?;
    let modified = status.fingerprint.as_ref().map_or(inode.modified, |found| found.modified);
    let (mode, uid, gid) = (status.mode, status.uid, status.gid);
    if (inode.mode, inode.uid, inode.gid, inode.modified) == (mode, uid, gid, modified) {
        return Ok(Some(compared(edge)));
    }
    let command = DescribeMount { root, begun_at, mode, uid, gid, modified };
    match shared.propose(None, Command::DescribeMount(command)).await? {
        Success::Listed { newer: 0, .. } => {
            let (_, edge) = shared.query(|state| root_of(state, root)).await?;
            Ok(Some(compared(edge)))
        }
        Success::Listed { .. } => Ok(None),
        _ => Err(MasterError::WrongAnswer("describe the directory of a mount")),
    }
}

/// The directory of a mount, and its name where it lies.
pub(crate) fn root_of(state: &dyn StateReader, root: InodeId) -> Result<(Inode, Option<Edge>), MasterError> {
    let inode = query::attributes(state, root)?.ok_or(MasterError::NoInode(root))?;
    let edge = match &inode.name {
        Some(name) => query::edge(state, inode.parent, name)?,
        None => None,
    };
    Ok((inode, edge))
}

/// How the directory of a mount is known among those that are asked for.
pub(crate) fn of(root: &Inode) -> Option<SingleName> {
    root.name.clone().map(|name| (root.id, name))
}
