//! What a master does only while it leads: the work of the background, begun when it takes over and ended when it lost
//! the lead, so that no two masters do it at the same time for long.
//!
//! Soft state that only a leader keeps up is dropped at the take-over: what an earlier reign of this master knew of
//! under-stores may be old.

use std::sync::Arc;
use std::time::Duration;

use forebay_metadata::{Command, ExpireSessions, StateReader, query};
use forebay_raft::Role;
use forebay_runtime::Stage;
use forebay_types::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::MasterError;
use crate::freshness::Checks;
use crate::limits::{ROLE_WAIT, SESSION_IDLE_MAX, SESSIONS_LOOK_INTERVAL, SESSIONS_PAGE};
use crate::shared::Shared;
use crate::{budget, jobs, listing, membership, outbox, renewal};

/// How long a master that leads but cannot take over waits before it tries again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Reigns whenever this master leads, until `cancelled`.
pub(super) async fn follow(shared: Arc<Shared>, cancelled: CancellationToken) {
    let reigns = async {
        loop {
            if !has_role(&shared, true).await {
                return;
            }
            match take_over(&shared).await {
                Ok(()) => reign(&shared, &cancelled).await,
                Err(error) => {
                    tracing::debug!(%error, "this master cannot take over yet");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    };
    let _ = cancelled.run_until_cancelled(reigns).await;
}

/// Waits until this master leads, or does not; `false` when it has stopped.
async fn has_role(shared: &Shared, leads: bool) -> bool {
    loop {
        let deadline = Instant::now() + ROLE_WAIT;
        let role = shared.raft.wait_until(deadline, |status| (status.role == Role::Leader) == leads).await;
        match role {
            Ok(status) => return status.role != Role::Stopped,
            Err(_) if shared.raft.status().role == Role::Stopped => return false,
            Err(_) => {}
        }
    }
}

async fn take_over(shared: &Shared) -> Result<(), MasterError> {
    // Ends nothing: it moves the clock of the state to where this master's is, so that the numbers which this reign
    // makes of it are above those of all before.
    let nothing = Command::ExpireSessions(ExpireSessions { before: Timestamp::from_nanos(i64::MIN) });
    shared.propose(None, nothing).await?;
    let now = shared.query(|state| Ok(query::clock(state)?)).await?;
    *shared.checks.lock() = Checks::default();
    let seed = u64::try_from(now.nanos() / 1_000_000).unwrap_or(0);
    let since = shared.clock.boot_instant();
    shared.registry.lock().lead(since, seed.saturating_add(1));
    // What the feed of changes has it has of the log, like that of the leader before: clients go on where they were.
    shared.listings.wake_reaper();
    shared.jobs.wake();
    Ok(())
}

async fn reign(shared: &Arc<Shared>, cancelled: &CancellationToken) {
    let token = cancelled.child_token();
    let stage: &Stage = &shared.background;
    tracing::info!(term = shared.raft.status().term, "this master leads");
    let tasks = [
        stage.spawn(listing::reap(Arc::clone(shared), token.clone())),
        stage.spawn(renewal::renew(Arc::clone(shared), token.clone())),
        stage.spawn(budget::keep(Arc::clone(shared), token.clone())),
        stage.spawn(outbox::work(Arc::clone(shared), token.clone())),
        stage.spawn(jobs::work(Arc::clone(shared), token.clone())),
        stage.spawn(expire_sessions(Arc::clone(shared), token.clone())),
        stage.spawn({
            let (raft, token) = (Arc::clone(&shared.raft), token.clone());
            async move { membership::settle(&raft, token).await }
        }),
    ];
    has_role(shared, false).await;
    tracing::info!("this master does not lead any more");
    token.cancel();
    for task in tasks {
        // One that panicked has said so.
        let _ = task.await;
    }
    shared.jobs.stop_all();
    shared.registry.lock().follow();
}

/// Has sessions end that nobody used for long.
async fn expire_sessions(shared: Arc<Shared>, cancelled: CancellationToken) {
    loop {
        tokio::select! {
            () = cancelled.cancelled() => return,
            () = tokio::time::sleep(SESSIONS_LOOK_INTERVAL) => {}
        }
        if let Err(error) = expire(&shared).await {
            tracing::debug!(%error, "old sessions were not ended; it is tried again");
        }
    }
}

async fn expire(shared: &Shared) -> Result<(), MasterError> {
    let idle = i64::try_from(SESSION_IDLE_MAX.as_nanos()).unwrap_or(i64::MAX);
    let due = |state: &dyn StateReader| {
        let before = Timestamp::from_nanos(query::clock(state)?.nanos().saturating_sub(idle));
        let mut after = None;
        loop {
            let page = query::sessions(state, after, SESSIONS_PAGE)?;
            let Some(last) = page.last() else { return Ok(None) };
            if page.iter().any(|session| session.last_used < before) {
                return Ok(Some(before));
            }
            after = Some(last.session);
        }
    };
    if let Some(before) = shared.query(due).await? {
        shared.propose(None, Command::ExpireSessions(ExpireSessions { before })).await?;
    }
    Ok(())
}
