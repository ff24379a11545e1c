//! What is told of a mount past its freshness while its under-store is away, and what counts as that.

use std::time::Duration;

use forebay_metadata::{Inode, MountRecord, OnOutage};
use forebay_types::ErrorKind;

use super::Covered;
use crate::error::MasterError;
use crate::limits;
use crate::shared::Shared;
use crate::under_stores::Failure;

/// Whether a failure to list a directory is the under-store's. A mount's own root that is gone is an outage as well:
/// somebody took a disk away or mistyped a rename, and nobody deletes a data set so.
pub(super) fn is_outage_at(directory: &Inode, kind: ErrorKind) -> bool {
    is_outage(kind) || kind != ErrorKind::Busy && directory.key.as_bytes().is_empty()
}

pub(super) const fn is_outage(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UnderStore | ErrorKind::TimedOut | ErrorKind::Unavailable)
}

/// The same for a request for one file. A file that is gone is no error, so what is said to be missing is the root.
pub(super) const fn is_outage_of_file(kind: ErrorKind) -> bool {
    is_outage(kind) || matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// What is told of something that is known, after `error` if there was one just now: itself, for a moment, or an error,
/// as the mount wants it.
pub(super) fn past_freshness(
    shared: &Shared,
    mount: &MountRecord,
    error: Option<MasterError>,
) -> Result<Covered, MasterError> {
    match mount.options.on_outage {
        OnOutage::Serve => Ok(Covered::Whole(limits::OUTAGE_VALIDITY)),
        OnOutage::Fail => Err(away(shared, mount, error)),
    }
}

/// Whether that can be told without asking again, when a listing failed a moment ago: a failure that was no outage is
/// told in its own words, which only another listing has.
pub(super) fn may_tell_at_once(shared: &Shared, mount: &MountRecord) -> bool {
    mount.options.on_outage == OnOutage::Serve || shared.under_stores.failure(mount.id).is_some()
}

/// What is told of something that is not known, after `error`. That the root is missing says nothing of what is in it.
pub(super) fn unknown_in_outage(shared: &Shared, mount: &MountRecord, error: MasterError) -> MasterError {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => away(shared, mount, Some(error)),
        _ => error,
    }
}

fn away(shared: &Shared, mount: &MountRecord, error: Option<MasterError>) -> MasterError {
    let failure = match (shared.under_stores.failure(mount.id), error) {
        (Some(failure), _) => failure,
        // Somebody else failed, as a master that is stopping.
        (None, Some(error)) => return error,
        (None, None) => Failure { since: shared.clock.now(), reason: silence(mount) },
    };
    let Failure { since, reason } = failure;
    MasterError::Away { path: mount.path.clone(), uri: Box::new(mount.uri.clone()), since, reason }
}

/// How long an under-store may be silent before that is told: less once it was down.
pub(super) fn patience(shared: &Shared, mount: &MountRecord) -> Duration {
    match (shared.under_stores.failure(mount.id), mount.options.on_outage) {
        (Some(_), _) => limits::OUTAGE_PATIENCE,
        (None, OnOutage::Serve) => limits::SILENCE_PATIENCE,
        (None, OnOutage::Fail) => limits::SILENCE_PATIENCE_FAIL,
    }
}

pub(super) fn silence(mount: &MountRecord) -> String {
    format!("{} is silent", mount.uri)
}

/// Remembers that an under-store is away; logged when it begins.
pub(super) fn note_outage(shared: &Shared, mount: &MountRecord, reason: String) {
    if shared.under_stores.failure(mount.id).is_none() {
        tracing::warn!(mount = %mount.id, reason, "an under-store is away");
        shared.under_stores.note_failure(mount.id, shared.clock.now(), reason);
    }
}
