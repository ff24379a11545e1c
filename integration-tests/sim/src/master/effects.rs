//! What entries ask of the world, on its way to whoever does it, and the feed of changes that is made of it.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use forebay_metadata::Effect;
use forebay_proto::{FeedPosition, Followed, News};
use forebay_types::{ErrorKind, LogIndex};

use super::Master;
use crate::limits::{EFFECT_LATE_MILLIS, EFFECTS_SHORT, FEED_SETTLE_LOOK};
use crate::plan::{Fault, Planted};
use crate::world::World;

/// As master/raft/src/effects.rs: what does not fit is dropped, and the receiver is told to look for itself, which it
/// hears before what is in the queue.
#[derive(Debug, Default)]
pub(super) struct EffectQueue {
    batches: VecDeque<(Duration, LogIndex, Vec<Effect>)>,
    /// The last entry whose effects were dropped, where the receiver does not know yet.
    dropped: Option<LogIndex>,
}

impl Master {
    pub(super) fn send_effects(&self, world: &World, index: LogIndex, effects: Vec<Effect>) {
        if effects.is_empty() {
            return;
        }
        let most = if world.plan.has(Fault::EffectsLost) { EFFECTS_SHORT } else { usize::MAX };
        let latest = if world.plan.has(Fault::EffectsLate) { EFFECT_LATE_MILLIS } else { 2 };
        let mut queue = self.effects.borrow_mut();
        if queue.batches.len() >= most {
            queue.dropped = Some(index);
        } else {
            let at = world.now() + world.dice("effects", |random| random.millis(latest));
            queue.batches.push_back((at, index, effects));
        }
        drop(queue);
        self.effect_came.raise();
    }

    /// What the entries up to this one did is in the rows only.
    pub(super) fn lose_effects(&self, index: LogIndex) {
        self.effects.borrow_mut().dropped = Some(index);
        self.effect_came.raise();
    }

    pub(super) async fn work_effects(&self, world: &Rc<World>) {
        loop {
            let seen = self.effect_came.count();
            let dropped = self.effects.borrow_mut().dropped.take();
            if let Some(up_to) = dropped {
                world.note(format_args!("master {} has lost effects up to {up_to}", self.number));
                self.feed.lost(up_to);
                self.news.raise();
                self.reaping.raise();
                self.jobs.wake.raise();
                continue;
            }
            let first = self.effects.borrow().batches.front().map(|(at, ..)| *at);
            let Some(at) = first else {
                self.effect_came.beyond(seen).await;
                continue;
            };
            world.sleep(at.saturating_sub(world.now())).await;
            let batch = self.effects.borrow_mut().batches.pop_front();
            if let Some((_, index, effects)) = batch {
                self.work_batch(world, index, &effects);
            }
        }
    }

    fn work_batch(&self, world: &World, index: LogIndex, effects: &[Effect]) {
        let is_forgotten = world.plan.planted == Some(Planted::FeedForgets)
            && world.dice("planted", |random| random.chance(1, 3));
        if is_forgotten {
            world.note(format_args!("the feed forgets {index}: {effects:?}"));
        } else {
            self.feed.note(index, effects);
            self.news.raise();
        }
        for effect in effects {
            match effect {
                Effect::ForgetVersions(files) => self.registry.borrow_mut().forget(files),
                Effect::DisownVersions(_) => {}
                Effect::ReapNeeded => self.reaping.raise(),
                Effect::JobsChanged => self.jobs.wake.raise(),
                Effect::DirectoriesChanged(_) | Effect::MountsChanged => {}
            }
        }
    }

    /// What changed after a place, as soon as there is something or the wait is over.
    pub(crate) async fn follow(
        self: &Rc<Self>,
        world: &Rc<World>,
        after: Option<FeedPosition>,
        wait: Duration,
    ) -> Result<Followed, ErrorKind> {
        self.confirm(world).await?;
        // As the real one, it vouches only once the feed knows of all that can be read.
        let readable = LogIndex::new(self.applied.get());
        while self.is_behind(readable) {
            world.sleep(FEED_SETTLE_LOOK).await;
        }
        let end = world.now() + wait;
        loop {
            let seen = self.news.count();
            let followed = self.feed.since(after);
            let left = end.saturating_sub(world.now());
            if after.is_none() || followed.news != News::Changes(Vec::new()) || left.is_zero() {
                return Ok(followed);
            }
            if world.executor.within(left, self.news.beyond(seen)).await.is_some() {
                let time = world.dice("feed", |random| random.millis(5));
                world.sleep(time).await;
            }
        }
    }

    /// Whether effects of entries up to this one were not worked yet.
    fn is_behind(&self, readable: LogIndex) -> bool {
        let effects = self.effects.borrow();
        effects.dropped.is_some() || effects.batches.iter().any(|(_, index, _)| *index <= readable)
    }
}
