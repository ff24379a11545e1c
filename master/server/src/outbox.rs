//! Works the outbox: looks now and then at the rows that wait, has workers told what they still hold of them, and trims
//! those that are done.
//!
//! The wake-up of a row, an effect, tells the workers that are there and known to hold what it names. That is all that is
//! done in good times, and here the row is found to be done. It is also here that nothing is lost: a row stays until each
//! worker that is remembered has told all that it has and taken what it was to forget, and a master that has started
//! trims none before the workers had time to come back.

use std::sync::Arc;

use forebay_metadata::{Command, StateReader, Success, TrimOutbox, query};
use forebay_runtime::BootInstant;
use forebay_types::OutboxSequence;
use tokio_util::sync::CancellationToken;

use crate::error::MasterError;
use crate::limits;
use crate::shared::Shared;

/// Works until `cancelled`.
pub(crate) async fn work(shared: Arc<Shared>, cancelled: CancellationToken) {
    let began = shared.clock.boot_instant();
    let mut ticks = tokio::time::interval(limits::OUTBOX_LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = cancelled.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let looked = tokio::select! {
            () = cancelled.cancelled() => return,
            looked = look(&shared, began) => looked,
        };
        if let Err(error) = looked {
            tracing::debug!(%error, "the outbox was not looked at; it is tried again");
        }
    }
}

/// Looks once, for a master that began at `began`.
pub(crate) async fn look(shared: &Shared, began: BootInstant) -> Result<(), MasterError> {
    let waiting = |state: &dyn StateReader| {
        let oldest = query::outbox(state, OutboxSequence::default(), 1)?;
        Ok((query::outbox_counts(state)?, oldest.first().map(|(sequence, _)| *sequence)))
    };
    let (counts, oldest) = shared.query(waiting).await?;
    shared.metrics.outbox.rows.set(i64::try_from(counts.rows).unwrap_or(i64::MAX));
    let (now, due) = (shared.clock.boot_instant(), began.saturating_add(limits::OUTBOX_START_WAIT));
    {
        let mut registry = shared.registry.lock();
        registry.note_oldest_row(oldest, now, due);
        registry.look_at_outbox(counts.last());
    }
    tell(shared).await?;
    let done = shared.registry.lock().outbox_done(counts.last());
    let are_back = shared.clock.boot_instant() >= due;
    if are_back && oldest.is_some_and(|oldest| oldest <= done) {
        trim(shared, done).await?;
    }
    Ok(())
}

/// Tells workers what they hold of the rows that they were not compared with yet.
async fn tell(shared: &Shared) -> Result<(), MasterError> {
    loop {
        let wanted = shared.registry.lock().outbox_wanted();
        let Some(after) = wanted else { return Ok(()) };
        let page = |state: &dyn StateReader| Ok(query::outbox(state, after, limits::OUTBOX_PAGE_ROWS)?);
        let rows = shared.query(page).await?;
        let through = match rows.last() {
            Some((last, _)) if rows.len() == limits::OUTBOX_PAGE_ROWS => *last,
            // These were all.
            _ => OutboxSequence::new(u64::MAX),
        };
        shared.registry.lock().tell_outbox(after, &rows, through);
    }
}

async fn trim(shared: &Shared, through: OutboxSequence) -> Result<(), MasterError> {
    loop {
        match shared.propose(None, Command::TrimOutbox(TrimOutbox { through })).await? {
            Success::OutboxTrimmed { rows, more } => {
                shared.metrics.outbox.rows_done.inc_by(rows.into());
                if !more {
                    return Ok(());
                }
            }
            _ => return Err(MasterError::WrongAnswer("trim outbox")),
        }
    }
}
