//! The leading master: a shell around the real state machine, freshness, listings and feed, as master/server is.
//!
//! What is here is soft and goes with a crash; [`log::Log`] stays.

pub(crate) mod answers;
pub(crate) mod listing;
pub(crate) mod log;
mod outbox;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use forebay_master::{Checks, Feed, Listings, SingleNames};
use forebay_metadata::{Command, Effect, ForgetDirectory, Proposal, Reap, Success, query};
use forebay_proto::{FeedPosition, Followed, News};
use forebay_runtime::BootInstant;
use forebay_types::{ErrorKind, Incarnation, InodeId, LogIndex};

use crate::executor::{Node, Signal};
use crate::job::Jobs;
use crate::limits::{
    EFFECT_LATE_MILLIS, EFFECTS_SHORT, FEED_SETTLE_LOOK, FORGET_PAUSE_MILLIS, FORGET_PER_ENTRY,
    PROPOSE_DEADLINE, REAP_PER_ENTRY, RENEWAL_TICK, RENEWALS_IN_FLIGHT_MAX,
};
use crate::plan::{Fault, Planted};
use crate::registry::Registry;
use crate::world::World;
use log::Evidence;

/// The life of the cluster; it has one only.
pub(crate) const INCARNATION: Incarnation = Incarnation::new(1);

/// One life of the master.
#[derive(Debug)]
pub(crate) struct Master {
    pub(crate) checks: RefCell<Checks>,
    pub(crate) listings: Listings,
    pub(crate) single_names: SingleNames,
    pub(crate) feed: Feed,
    /// Raised with each change of the feed.
    news: Signal,
    /// Whether the under-store of a mount last failed.
    pub(crate) is_away: Vec<Cell<bool>>,
    /// The last entry that was applied when the last listing of a directory began.
    pub(crate) begun: RefCell<BTreeMap<InodeId, LogIndex>>,
    effects: RefCell<EffectQueue>,
    effect_came: Signal,
    reaping: Signal,
    /// Directories that are being renewed.
    renewals: Cell<usize>,
    pub(crate) registry: RefCell<Registry>,
    pub(crate) jobs: Jobs,
    pub(crate) leads_since: Duration,
}

/// As master/raft/src/effects.rs: what does not fit is dropped, and the receiver is told to look for itself, which it
/// hears before what is in the queue.
#[derive(Debug, Default)]
struct EffectQueue {
    batches: VecDeque<(Duration, LogIndex, Vec<Effect>)>,
    dropped: bool,
}

impl Master {
    /// Starts a master on what the log has.
    pub(crate) fn start(world: &Rc<World>) -> Rc<Self> {
        let replayed = world.log.apply_rest(world);
        let master = Rc::new(Self {
            checks: RefCell::default(),
            listings: Listings::default(),
            single_names: SingleNames::default(),
            feed: Feed::new(INCARNATION, world.log.applied()),
            news: Signal::default(),
            is_away: world.mounts.iter().map(|_| Cell::new(false)).collect(),
            begun: RefCell::default(),
            effects: RefCell::default(),
            effect_came: Signal::default(),
            reaping: Signal::default(),
            renewals: Cell::default(),
            registry: RefCell::default(),
            jobs: Jobs::default(),
            leads_since: world.now(),
        });
        if let Some((index, effects)) = replayed {
            master.send_effects(world, index, effects);
        }
        let spawn = |future| world.executor.spawn(Node::Master, future);
        let (of, to) = (Rc::clone(world), Rc::clone(&master));
        spawn(Box::pin(async move { to.apply(&of).await }) as futures::future::LocalBoxFuture<'static, ()>);
        let (of, to) = (Rc::clone(world), Rc::clone(&master));
        spawn(Box::pin(async move { to.work_effects(&of).await }));
        let (of, to) = (Rc::clone(world), Rc::clone(&master));
        spawn(Box::pin(async move { to.renew(&of).await }));
        let (of, to) = (Rc::clone(world), Rc::clone(&master));
        spawn(Box::pin(async move { to.reap(&of).await }));
        let (of, to) = (Rc::clone(world), Rc::clone(&master));
        spawn(Box::pin(async move { crate::job::work(&of, &to).await }));
        let (of, to) = (Rc::clone(world), Rc::clone(&master));
        spawn(Box::pin(async move { to.forget(&of).await }));
        let (of, to) = (Rc::clone(world), Rc::clone(&master));
        spawn(Box::pin(async move { outbox::work(&of, &to).await }));
        master
    }

    /// The master's own clock.
    pub(crate) fn now(world: &World) -> BootInstant {
        BootInstant::from_boot(world.clock(Node::Master))
    }

    /// Waits until the state has all that was acknowledged before.
    pub(crate) async fn confirm(&self, world: &Rc<World>) {
        let time = world.dice("read", |random| random.millis(2));
        world.sleep(time).await;
    }

    /// Changes the namespace.
    pub(crate) async fn propose(
        &self,
        world: &Rc<World>,
        command: Command,
        evidence: Vec<Evidence>,
    ) -> Result<Success, ErrorKind> {
        let is_slow = world.plan.has(Fault::LogSlow) && world.dice("log", |random| random.chance(1, 15));
        let time = world.dice("log", |random| random.millis(if is_slow { 3000 } else { 8 }));
        world.sleep(time).await;
        let proposal = Proposal { issued_at: world.time_of_day(), session: None, command };
        if is_slow {
            // Whoever waits for a listing cannot tell a slow log from a silent under-store.
            world.mounts.iter().for_each(|mount| mount.store.note_trouble(world.now()));
        }
        let reply = world.log.append(&proposal, evidence);
        match world.executor.within(PROPOSE_DEADLINE, reply).await {
            Some(Ok(reply)) => reply.map_err(|rejection| rejection.kind()),
            Some(Err(_)) | None => Err(ErrorKind::TimedOut),
        }
    }

    async fn apply(&self, world: &Rc<World>) {
        loop {
            let seen = world.log.appended.count();
            if let Some((index, effects)) = world.log.apply_rest(world) {
                self.send_effects(world, index, effects);
                continue;
            }
            world.log.appended.beyond(seen).await;
            // Entries that come meanwhile are one batch.
            let time = world.dice("apply", |random| random.millis(4));
            world.sleep(time).await;
        }
    }

    fn send_effects(&self, world: &World, index: LogIndex, effects: Vec<Effect>) {
        if effects.is_empty() {
            return;
        }
        let most = if world.plan.has(Fault::EffectsLost) { EFFECTS_SHORT } else { usize::MAX };
        let latest = if world.plan.has(Fault::EffectsLate) { EFFECT_LATE_MILLIS } else { 2 };
        let mut queue = self.effects.borrow_mut();
        if queue.batches.len() >= most {
            queue.dropped = true;
        } else {
            let at = world.now() + world.dice("effects", |random| random.millis(latest));
            queue.batches.push_back((at, index, effects));
        }
        drop(queue);
        self.effect_came.raise();
    }

    async fn work_effects(&self, world: &Rc<World>) {
        loop {
            let seen = self.effect_came.count();
            if std::mem::take(&mut self.effects.borrow_mut().dropped) {
                world.note(format_args!("effects were lost"));
                self.feed.lost();
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
        &self,
        world: &Rc<World>,
        after: Option<FeedPosition>,
        wait: Duration,
    ) -> Followed {
        self.confirm(world).await;
        // As the real one, it vouches only once the feed knows of all that can be read.
        let readable = world.log.applied();
        while self.is_behind(readable) {
            world.sleep(FEED_SETTLE_LOOK).await;
        }
        let end = world.now() + wait;
        loop {
            let seen = self.news.count();
            let followed = self.feed.since(after);
            let left = end.saturating_sub(world.now());
            if after.is_none() || followed.news != News::Changes(Vec::new()) || left.is_zero() {
                return followed;
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
        effects.dropped || effects.batches.iter().any(|(_, index, _)| *index <= readable)
    }

    async fn renew(self: &Rc<Self>, world: &Rc<World>) {
        loop {
            world.sleep(RENEWAL_TICK).await;
            let free = RENEWALS_IN_FLIGHT_MAX - self.renewals.get();
            let due = self.checks.borrow_mut().take_due(Self::now(world), free);
            for directory in due {
                self.renewals.set(self.renewals.get() + 1);
                let (master, world) = (Rc::clone(self), Rc::clone(world));
                let of = Rc::clone(&world);
                of.executor.spawn(Node::Master, async move {
                    // A failure is remembered by the listing itself.
                    let _ = listing::renew(&world, &master, directory).await;
                    master.renewals.set(master.renewals.get() - 1);
                });
            }
        }
    }

    /// Forgets any directory at any time: the real master spares those in use, which must not be what truth rests on.
    async fn forget(&self, world: &Rc<World>) {
        while world.plan.has(Fault::Forgets) {
            let pause = world.dice("forget", |random| random.millis(FORGET_PAUSE_MILLIS));
            world.sleep(pause).await;
            let listed = query::listed_directories(&*world.log.store.borrow(), None, usize::MAX);
            let listed = listed.expect("memory can be read");
            let Some(last) = listed.len().checked_sub(1) else { continue };
            let directory = listed[world.dice("forget", |random| random.index(last + 1))].0;
            let command = || Command::ForgetDirectory(ForgetDirectory { directory, limit: FORGET_PER_ENTRY });
            while let Ok(Success::Forgotten { more: true, .. }) =
                self.propose(world, command(), Vec::new()).await
            {}
        }
    }

    async fn reap(&self, world: &Rc<World>) {
        loop {
            let seen = self.reaping.count();
            loop {
                let command = Command::Reap(Reap { limit: REAP_PER_ENTRY });
                match self.propose(world, command, Vec::new()).await {
                    Ok(Success::Reaped { more: true, .. }) => {}
                    _ => break,
                }
            }
            self.reaping.beyond(seen).await;
        }
    }
}
