//! Works the outbox as master/server/src/outbox.rs does.

use std::rc::Rc;

use forebay_metadata::{Command, Success, TrimOutbox, query};
use forebay_types::OutboxSequence;

use super::Master;
use crate::limits::{OUTBOX_LOOK_INTERVAL, OUTBOX_PAGE_ROWS, OUTBOX_START_WAIT};
use crate::plan::Planted;
use crate::world::World;

/// Looks now and then, for as long as the master lives.
pub(super) async fn work(world: &Rc<World>, master: &Rc<Master>) {
    loop {
        world.sleep(OUTBOX_LOOK_INTERVAL).await;
        if master.confirm(world).await.is_err() {
            continue;
        }
        let (counts, oldest) = {
            let state = master.store.borrow();
            let oldest = query::outbox(&*state, OutboxSequence::default(), 1).expect("memory can be read");
            let counts = query::outbox_counts(&*state).expect("memory can be read");
            (counts, oldest.first().map(|(sequence, _)| *sequence))
        };
        let is_read = world.plan.planted != Some(Planted::OutboxIsNotRead);
        master.registry.borrow_mut().look_at_outbox(counts.last());
        while is_read && tell(master) {}
        let done = match is_read {
            true => master.registry.borrow().outbox_done(counts.last()),
            false => counts.last(),
        };
        let are_back = world.now().saturating_sub(master.leads_since.get()) >= OUTBOX_START_WAIT;
        if are_back && oldest.is_some_and(|oldest| oldest <= done) {
            trim(world, master, done).await;
        }
    }
}

/// Tells one page; whether there was one to tell.
fn tell(master: &Master) -> bool {
    let wanted = master.registry.borrow().outbox_wanted();
    let Some(after) = wanted else { return false };
    let page = query::outbox(&*master.store.borrow(), after, OUTBOX_PAGE_ROWS);
    let page = page.expect("memory can be read");
    let through = match page.last() {
        Some((last, _)) if page.len() == OUTBOX_PAGE_ROWS => *last,
        _ => OutboxSequence::new(u64::MAX),
    };
    master.registry.borrow_mut().tell_outbox(&page, through);
    true
}

async fn trim(world: &Rc<World>, master: &Rc<Master>, through: OutboxSequence) {
    loop {
        let command = Command::TrimOutbox(TrimOutbox { through });
        match master.propose(world, command, Vec::new()).await {
            Ok(Success::OutboxTrimmed { rows, more }) => {
                world.oracle.count(|counts| counts.trimmed += u64::from(rows));
                if !more {
                    return;
                }
            }
            // It is tried again with the next look.
            _ => return,
        }
    }
}
