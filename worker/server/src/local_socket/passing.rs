//! Finding what a process of this host asks for: a hold of a complete version, or the files of one that is here in part.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use forebay_block_store::{Hold, HoldId, Lend, PageIndex, PageRange, RestingHold, RestingLend};
use forebay_local::{NotHeldReason, Reply};
use forebay_types::{BlockCapability, PAGE_LENGTH, VersionDescriptor};
use futures::FutureExt;

use crate::core::WorkerCore;
use crate::error::ReadError;
use crate::version::Version;

/// What is passed to a process.
#[derive(Debug)]
pub(super) enum Passed {
    Hold(Hold),
    Lend(Lend),
}

/// The same once it was passed.
#[derive(Debug)]
pub(super) enum Given {
    Hold(RestingHold),
    Lend(RestingLend),
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Hold,
    Lend,
    HoldOrLend,
}

impl Passed {
    pub(super) const fn id(&self) -> HoldId {
        match self {
            Self::Hold(hold) => hold.id(),
            Self::Lend(lend) => lend.id(),
        }
    }

    /// Whether it may stay while nobody reads the files, until the process is told otherwise.
    pub(super) fn may_rest(&self) -> bool {
        match self {
            Self::Hold(hold) => hold.may_rest(),
            Self::Lend(_) => true,
        }
    }

    /// The answer to a process that knows the messages of `level`.
    pub(super) fn reply(&self, request: u64, level: u8) -> Reply {
        let id = self.id().get();
        match self {
            Self::Hold(hold) if level > 1 => {
                Reply::HeldAt { request, hold: id, changed: hold.changed(), may_rest: hold.may_rest() }
            }
            Self::Hold(_) => Reply::Held { request, hold: id },
            Self::Lend(lend) => {
                Reply::Lent { request, lend: id, records: lend.records(), seed: lend.seed().number() }
            }
        }
    }

    /// What goes with the answer.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Hold(hold) => vec![hold.as_fd()],
            Self::Lend(lend) => vec![lend.data(), lend.index()],
        }
    }

    pub(super) fn rest(self) -> Given {
        match self {
            Self::Hold(hold) => Given::Hold(hold.rest()),
            Self::Lend(lend) => Given::Lend(lend.rest()),
        }
    }
}

impl Given {
    pub(super) fn may_rest(&self) -> bool {
        match self {
            Self::Hold(hold) => hold.may_rest(),
            Self::Lend(lend) => lend.is_current(),
        }
    }
}

/// Finds it for whoever may read the version.
pub(super) async fn find(
    core: &Arc<WorkerCore>,
    asked: Asked,
    version: VersionDescriptor,
    capability: &BlockCapability,
) -> Result<Result<Passed, NotHeldReason>, ReadError> {
    let version = core.admit_and_adopt(version, capability).await?;
    let mut reason = NotHeldReason::Incomplete;
    if asked != Asked::Lend {
        let hold = hold(core, &version);
        // What is begun is verified to its end, and held by a later open.
        let held = match core.hold_patience {
            _ if asked == Asked::Hold => Some(hold.await),
            // A timer is no finer than a millisecond.
            Duration::ZERO => hold.now_or_never(),
            patience => tokio::time::timeout(patience, hold).await.ok(),
        };
        match held.unwrap_or(Ok(Err(reason)))? {
            Ok(hold) => return Ok(Ok(Passed::Hold(hold))),
            Err(why) => reason = why,
        }
    }
    if asked != Asked::Hold
        && let Some(lend) = lend(core, &version).await?
    {
        return Ok(Ok(Passed::Lend(lend)));
    }
    Ok(Err(reason))
}

async fn hold(
    core: &Arc<WorkerCore>,
    version: &Arc<Version>,
) -> Result<Result<Hold, NotHeldReason>, ReadError> {
    let cache = &core.path.cache;
    let mut presence = cache.store().presence(&version.source());
    if version.length() == 0 && presence.is_none() && version.judge(&version.mount.admission()).is_ok() {
        cache.store_empty(version).await?;
        presence = cache.store().presence(&version.source());
    }
    // One in segments has no file that could be held.
    if !presence.is_some_and(|presence| presence.is_complete && presence.is_whole) {
        // Whoever has it lent asks for a hold now and then: that is all that is seen of the reads.
        cache.store().used_unseen(&version.source());
        return Ok(Err(NotHeldReason::Incomplete));
    }
    // A page at most in memory is verified, if need be, in less time than a thread takes to be woken.
    let first = PageRange { first: PageIndex::new(0), count: 1 };
    let held = if version.length() <= PAGE_LENGTH && cache.is_in_memory(version, first) {
        cache.store().hold(&version.source())
    } else {
        let (store, version) = (cache.store().clone(), Arc::clone(version));
        core.disk.run(move || store.hold(&version.source())).await?
    };
    match held? {
        Some(hold) => Ok(Ok(hold)),
        None => {
            let presence = cache.store().presence(&version.source());
            let is_complete = presence.is_some_and(|presence| presence.is_complete);
            Ok(Err(if is_complete { NotHeldReason::OverBudget } else { NotHeldReason::Incomplete }))
        }
    }
}

/// Lends what is here of a version that is kept whole; `None` where there is nothing.
async fn lend(core: &Arc<WorkerCore>, version: &Arc<Version>) -> Result<Option<Lend>, ReadError> {
    let cache = &core.path.cache;
    // Most often nothing is here, or what is here is in segments: that is known without a visit to the disk.
    if !cache.store().can_lend(&version.source()) {
        return Ok(None);
    }
    let (store, of) = (cache.store().clone(), Arc::clone(version));
    Ok(core.disk.run(move || store.lend(&of.source())).await??)
}
