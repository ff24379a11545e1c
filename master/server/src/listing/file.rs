//! One file compared with its under-store, where listing its directory would cost more.

use std::sync::Arc;

use forebay_metadata::{Command, Inode, MountRecord, SupersedeVersion};
use forebay_types::EntryKind;
use tokio::sync::oneshot;

use super::outage::{is_outage_of_file, note_outage, past_freshness, patience};
use super::vanished;
use crate::error::MasterError;
use crate::limits::STAT_REQUESTS;
use crate::listings::Look;
use crate::request_cap::Urgency;
use crate::shared::Shared;

/// Compares one file with its under-store by one request, and gives it a new version if it is another. For mounts
/// whose freshness is zero, where listing the whole directory at each open would cost more. An outage is not the file's:
/// what is known is served, where the mount says so, as for a listing.
pub(crate) async fn ensure_current(
    shared: &Arc<Shared>,
    mount: &MountRecord,
    file: &Inode,
) -> Result<(), MasterError> {
    match compare(shared, mount, file).await {
        Err(error) if is_outage_of_file(error.kind()) => {
            note_outage(shared, mount, error.to_string());
            past_freshness(shared, mount, Some(error)).map(drop)
        }
        outcome => outcome,
    }
}

/// The same; an outage is an error.
pub(crate) async fn compare(
    shared: &Arc<Shared>,
    mount: &MountRecord,
    file: &Inode,
) -> Result<(), MasterError> {
    let Some(version) = file.version() else {
        return Ok(());
    };
    let store = shared.under_store(mount)?;
    shared.turn(mount.id, Urgency::Foreground, 1).await?;
    let look = shared.listings.look(file.parent, shared.clock.boot_instant());
    let asked = tokio::time::timeout(patience(shared, mount), store.fingerprint(&version.key)).await;
    let found = asked.map_err(|_| MasterError::Silent { uri: mount.uri.to_string() })??;
    shared.under_stores.note_well(mount.id);
    if found.as_ref().is_some_and(|found| version.fingerprint.is_same_content(found)) {
        return Ok(());
    }
    // What was asked tells of files only; something else may have taken this one's place, or hides it.
    shared.may_ask_on(mount.id).await?;
    drop(look);
    shared.turn(mount.id, Urgency::Foreground, STAT_REQUESTS).await?;
    let look = shared.listings.look(file.parent, shared.clock.boot_instant());
    let asked = tokio::time::timeout(patience(shared, mount), store.stat(&version.key)).await;
    let stands = asked.map_err(|_| MasterError::Silent { uri: mount.uri.to_string() })??;
    if stands.as_ref().is_some_and(|stands| stands.kind != EntryKind::File) {
        return vanished::correct(shared, file, mount).await;
    }
    let fingerprint = stands.and_then(|stands| stands.fingerprint);
    let command =
        Command::SupersedeVersion(SupersedeVersion { inode: file.id, seen: version.file, fingerprint });
    propose_seen(shared, command, look).await
}

/// Brings into the state what a look saw. Whoever asked may go away meanwhile; the look ends when the log has it all the
/// same.
pub(super) async fn propose_seen(
    shared: &Arc<Shared>,
    command: Command,
    look: Look,
) -> Result<(), MasterError> {
    let (of, (sender, proposed)) = (Arc::clone(shared), oneshot::channel());
    shared.background.spawn(async move {
        let proposed = of.propose(None, command).await;
        drop(look);
        let _ = sender.send(proposed.map(drop));
    });
    // It ends early only with the process.
    proposed.await.unwrap_or(Err(MasterError::ListingGivenUp))
}
