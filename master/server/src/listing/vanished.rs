//! A directory that is not there any more although the one that it lies in shows it: that one learns of it at once.
//!
//! A directory's listing is as old as its freshness allows. When one of its own directories turns out to be gone, what
//! it shows is known to be wrong: a path through it would lead to a name that cannot be entered, and not to none.

use std::sync::Arc;

use forebay_metadata::{ApplyListing, Command, Inode, MountRecord};
use forebay_types::ErrorKind;
use forebay_under_store::ListedObject;

use super::file::propose_seen;
use crate::difference::difference;
use crate::error::MasterError;
use crate::limits;
use crate::request_cap::Urgency;
use crate::shared::Shared;

/// Whether a failure to list a directory says that it is none (any more). That of a mount's own root is an outage.
pub(super) fn is_told_by(error: &MasterError, directory: &Inode) -> bool {
    let is_inside = !directory.key.as_bytes().is_empty();
    is_inside && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Takes over what stands where an entry did: nothing, or something of another kind. It may be there again, too.
pub(super) async fn correct(
    shared: &Arc<Shared>,
    entry: &Inode,
    mount: &MountRecord,
) -> Result<(), MasterError> {
    let Some(name) = entry.name.clone() else { return Ok(()) };
    let store = shared.under_store(mount)?;
    shared.may_ask_on(mount.id).await?;
    shared.turn(mount.id, Urgency::Foreground, limits::STAT_REQUESTS).await?;
    let look = shared.listings.look(entry.parent, shared.clock.boot_instant());
    let (begun_at, ()) = shared.begin(|_| Ok(())).await?;
    let asked = tokio::time::timeout(limits::UNDER_STORE_DEADLINE, store.stat(&entry.key));
    let found = asked.await.map_err(|_| MasterError::Silent { uri: mount.uri.to_string() })??;
    let (upserts, removals) = match found {
        Some(status) if status.kind == entry.kind() => return Ok(()),
        Some(status) => (difference(None, &ListedObject { name, status }).into_iter().collect(), Vec::new()),
        None => (Vec::new(), vec![name]),
    };
    let command = ApplyListing { directory: entry.parent, begun_at, upserts, removals, complete: false };
    propose_seen(shared, Command::ApplyListing(command), look).await
}
