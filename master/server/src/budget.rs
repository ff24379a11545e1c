//! Keeps what is known of each mount within a budget: what nobody asked about for longest is forgotten, and listed again
//! when somebody asks.
//!
//! Files and links count. Directories stay known, since somebody may stand in one; so does what is pinned, what is being
//! listed, and what somebody asked about a moment ago. When a directory was last asked about is soft: after a fail-over the order is
//! that of the last first listings. What workers hold of forgotten files is kept, see [`Effect::DisownVersions`].
//!
//! [`Effect::DisownVersions`]: forebay_metadata::Effect::DisownVersions

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use forebay_metadata::{
    Command, Directory, EdgeOrigin, ForgetDirectory, MountRecord, StateReader, Success, query,
};
use forebay_runtime::BootInstant;
use forebay_types::{EntryKind, InodeId, LogIndex, MountId};
use tokio_util::sync::CancellationToken;

use crate::error::MasterError;
use crate::limits;
use crate::shared::Shared;

/// Works until `cancelled`.
pub(crate) async fn keep(shared: Arc<Shared>, cancelled: CancellationToken) {
    let mut ticks = tokio::time::interval(limits::BUDGET_LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut too_large = TooLarge::new();
    loop {
        tokio::select! {
            () = cancelled.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let kept = tokio::select! {
            () = cancelled.cancelled() => return,
            kept = keep_all(&shared, &mut too_large) => kept,
        };
        if let Err(error) = kept {
            tracing::debug!(%error, "what is known was not compared with its budget; it is tried again");
        }
    }
}

/// Mounts of which not enough could be forgotten.
pub(crate) type TooLarge = BTreeMap<MountId, LeftAlone>;

/// Until when a mount is left alone, since to look costs a walk through all directories: each time in vain for twice as
/// long.
pub(crate) struct LeftAlone {
    since: BootInstant,
    pause: Duration,
}

impl LeftAlone {
    fn is_over(&self, now: BootInstant) -> bool {
        now.saturating_duration_since(self.since) >= self.pause
    }

    /// The one after `last`.
    fn after(last: Option<Self>, now: BootInstant) -> Self {
        let pause = last.map_or(limits::BUDGET_RETRY_AFTER, |last| last.pause * 2);
        Self { since: now, pause: pause.min(limits::BUDGET_RETRY_AFTER_MAX) }
    }
}

/// Brings each mount that is over its budget below it, unless that was in vain a moment ago.
pub(crate) async fn keep_all(shared: &Arc<Shared>, too_large: &mut TooLarge) -> Result<(), MasterError> {
    let budget = shared.loaded_entries_max;
    if budget == 0 {
        return Ok(());
    }
    let known = |state: &dyn StateReader| {
        // What cannot be listed again stays.
        let may_be_asked = |mount: &MountRecord| {
            !mount.options.is_in_maintenance() && shared.under_stores.failure(mount.id).is_none()
        };
        let mounts = query::mounts(state)?.into_iter().filter(may_be_asked);
        let known = mounts.map(|mount| {
            let totals = query::mount_totals(state, mount.id)?;
            Ok::<_, MasterError>((mount.id, totals.files + totals.symlinks))
        });
        known.collect::<Result<Vec<_>, _>>()
    };
    for (mount, known) in shared.query(known).await? {
        if known <= budget {
            too_large.remove(&mount);
            continue;
        }
        let now = shared.clock.boot_instant();
        if too_large.get(&mount).is_some_and(|alone| !alone.is_over(now)) {
            continue;
        }
        let goal = budget - budget / limits::BUDGET_SLACK_PART;
        let (mut before, mut left) = (u64::MAX, known);
        while goal < left && left < before {
            (before, left) = (left, forget_until(shared, mount, left, goal).await?);
        }
        let alone = too_large.remove(&mount);
        if left <= budget {
            continue;
        }
        if alone.is_none() {
            tracing::warn!(
                %mount, known = left, budget,
                "more is known of a mount than its budget, and all of it is in use or pinned; \
                 more files and links may be known with under_store.loaded_entries_max"
            );
        }
        too_large.insert(mount, LeftAlone::after(alone, now));
    }
    Ok(())
}

/// Forgets directories of a mount of which so much is known, until no more than `goal` is; gives what is left.
async fn forget_until(
    shared: &Arc<Shared>,
    mount: MountId,
    mut known: u64,
    goal: u64,
) -> Result<u64, MasterError> {
    for directory in longest_unused(shared, mount).await? {
        if known <= goal {
            break;
        }
        known = known.saturating_sub(forget(shared, directory).await?);
    }
    Ok(known)
}

/// Forgets one directory, in small steps between which other changes go first; gives how many entries that were.
async fn forget(shared: &Arc<Shared>, directory: InodeId) -> Result<u64, MasterError> {
    let mut forgotten = 0;
    loop {
        if !shared.query(|state| may_be_forgotten(shared, state, directory)).await? {
            return Ok(forgotten);
        }
        let command = ForgetDirectory { directory, limit: limits::FORGET_PER_ENTRY };
        let more = match shared.propose(None, Command::ForgetDirectory(command)).await? {
            Success::Forgotten { dropped, more } => {
                forgotten += u64::from(dropped);
                shared.metrics.count_forgotten(dropped);
                more
            }
            _ => return Err(MasterError::WrongAnswer("forget a directory")),
        };
        if !more {
            return Ok(forgotten);
        }
        tokio::time::sleep(limits::FORGET_PAUSE).await;
    }
}

/// Whether a directory is still unused, and there is something in it to forget.
fn may_be_forgotten(
    shared: &Shared,
    state: &dyn StateReader,
    directory: InodeId,
) -> Result<bool, MasterError> {
    let last_used = shared.checks.lock().last_used(directory);
    if is_in_use(last_used, shared.clock.boot_instant()) || shared.listings.is_under_way(directory) {
        return Ok(false);
    }
    if query::Pins::read(state)?.keep(state, directory)? {
        return Ok(false);
    }
    let known = query::listing(state, directory)?;
    let after = known.forget_cursor.as_ref();
    let edges = query::list_edges(state, directory, after, limits::FORGET_PER_ENTRY as usize)?;
    let is_full = edges.len() == limits::FORGET_PER_ENTRY as usize;
    let is_to_forget = |edge: &forebay_metadata::Edge| {
        edge.origin == EdgeOrigin::Loaded && edge.kind != EntryKind::Directory
    };
    // Beyond a thousand directories there may be files.
    Ok(is_full || edges.iter().any(|(_, edge)| is_to_forget(edge)))
}

fn is_in_use(last_used: Option<BootInstant>, now: BootInstant) -> bool {
    last_used.is_some_and(|used| now.saturating_duration_since(used) < limits::USE_MEMORY_MIN)
}

/// When a directory was last used, as far as that is remembered, and when it was first listed: the first to go is the
/// least.
type Rank = (Option<BootInstant>, LogIndex, InodeId);

/// The directories of a mount that were not used for longest, the longest first.
async fn longest_unused(shared: &Arc<Shared>, mount: MountId) -> Result<Vec<InodeId>, MasterError> {
    let mut ranks = BTreeSet::<Rank>::new();
    let mut after = None;
    loop {
        let page = |state: &dyn StateReader| {
            let page = query::listed_directories(state, after, limits::FORGET_SCAN_PAGE)?;
            let is_last = page.len() < limits::FORGET_SCAN_PAGE;
            let last = page.last().map(|(directory, _)| *directory);
            let pins = query::Pins::read(state)?;
            for (directory, known) in page {
                rank(shared, state, (mount, directory), (&known, &pins), &mut ranks)?;
            }
            Ok((last, is_last))
        };
        let (last, is_last) = shared.query(page).await?;
        if is_last {
            return Ok(ranks.into_iter().map(|(.., directory)| directory).collect());
        }
        after = last;
        tokio::task::yield_now().await;
    }
}

/// Adds a directory to `ranks` if it is the mount's and among the first to go.
fn rank(
    shared: &Shared,
    state: &dyn StateReader,
    (mount, directory): (MountId, InodeId),
    (known, pins): (&Directory, &query::Pins),
    ranks: &mut BTreeSet<Rank>,
) -> Result<(), MasterError> {
    // One that was being forgotten when the master stopped is not listed any more, and goes first.
    if known.loaded_at.is_none() && known.forget_cursor.is_none() {
        return Ok(());
    }
    let last_used = shared.checks.lock().last_used(directory);
    let rank = (last_used, known.loaded_at.unwrap_or_default(), directory);
    let is_full = ranks.len() >= limits::FORGET_CANDIDATES_MAX;
    if is_in_use(last_used, shared.clock.boot_instant()) || (is_full && ranks.last() < Some(&rank)) {
        return Ok(());
    }
    let is_of_mount = query::attributes(state, directory)?.is_some_and(|inode| inode.mount == Some(mount));
    if is_of_mount && !pins.keep(state, directory)? {
        ranks.insert(rank);
        if is_full {
            ranks.pop_last();
        }
    }
    Ok(())
}
