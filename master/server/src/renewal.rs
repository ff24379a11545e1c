//! Lists directories in use again before their freshness is over, so that nobody waits for it.

use std::sync::Arc;

use forebay_metadata::query;
use forebay_types::InodeId;
use tokio_util::sync::CancellationToken;

use crate::error::MasterError;
use crate::limits;
use crate::listing::{self, Place};
use crate::shared::Shared;

/// Works until `cancelled`.
pub(crate) async fn renew(shared: Arc<Shared>, cancelled: CancellationToken) {
    let places = Arc::clone(&shared.listings.background);
    let mut ticks = tokio::time::interval(limits::RENEWAL_TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = cancelled.cancelled() => return,
            _ = ticks.tick() => {}
        }
        // Jobs have places of these, too: what is due is taken out only for a place that is there.
        while let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let due = shared.checks.lock().take_due(shared.clock.boot_instant(), 1).pop();
            let Some(directory) = due else { break };
            let shared = Arc::clone(&shared);
            let (stage, cancelled) = (shared.background.clone(), cancelled.clone());
            stage.spawn(async move {
                let _place = place;
                tokio::select! {
                    () = cancelled.cancelled() => {}
                    // A failure is remembered and logged by the listing itself.
                    _ = list(&shared, directory) => {}
                }
            });
        }
    }
}

async fn list(shared: &Arc<Shared>, directory: InodeId) -> Result<(), MasterError> {
    let place = shared
        .query(|state| match query::attributes(state, directory)? {
            Some(inode) => Place::of(state, inode, None).map(Some),
            None => Ok(None),
        })
        .await?;
    match place {
        Some(place) => listing::renew(shared, &place).await,
        None => Ok(()),
    }
}
