//! A master: a shell around the real state machine, freshness, listings and feed, as master/server is, over a model of
//! the log that masters share.
//!
//! What is here is soft and goes with a crash; [`disk::MasterDisk`] stays.

pub(crate) mod answers;
pub(crate) mod changes;
pub(crate) mod disk;
mod effects;
pub(crate) mod listing;
mod outbox;
pub(crate) mod raft;
mod reign;
pub(crate) mod state;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use forebay_master::{Checks, Feed, Listings, SingleNames};
use forebay_metadata::query;
use forebay_metadata::store::MemoryStore;
use forebay_runtime::BootInstant;
use forebay_types::{Incarnation, InodeId, LogIndex};

use self::disk::MasterDisk;
use self::effects::EffectQueue;
use self::raft::Raft;
use crate::executor::{Node, Signal};
use crate::job::Jobs;
use crate::plan::Planted;
use crate::registry::Registry;
use crate::world::World;

/// The life of the cluster; it has one only.
pub(crate) const INCARNATION: Incarnation = Incarnation::new(1);

/// One life of a master.
#[derive(Debug)]
pub(crate) struct Master {
    /// Its slot.
    pub(crate) number: u8,
    planted: Option<Planted>,
    pub(crate) disk: Rc<MasterDisk>,
    pub(crate) raft: Raft,
    /// The rows after the last entry that was applied.
    pub(crate) store: RefCell<MemoryStore>,
    pub(crate) applied: Cell<u64>,
    /// Raised with each batch that was applied.
    applies: Signal,
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
    /// When it took over last.
    pub(crate) leads_since: Cell<Duration>,
    reigns_ended: Signal,
    /// When it was started, which tells its lives apart.
    pub(crate) began: Duration,
}

impl Master {
    /// Starts a master on what its disk has.
    pub(crate) fn start(world: &Rc<World>, number: u8) -> Rc<Self> {
        let disk = world.disk_of(number);
        let snapshot = Rc::clone(&disk.snapshot.borrow());
        let master = Rc::new(Self {
            number,
            planted: world.plan.planted,
            raft: Raft::new(disk.id, disk.vote.get(), world.now(), snapshot.index),
            disk,
            store: RefCell::new(snapshot.store.clone()),
            applied: Cell::new(snapshot.index),
            applies: Signal::default(),
            checks: RefCell::default(),
            listings: Listings::default(),
            single_names: SingleNames::default(),
            feed: Feed::new(INCARNATION, LogIndex::new(snapshot.index)),
            news: Signal::default(),
            is_away: world.mounts.iter().map(|_| Cell::new(false)).collect(),
            begun: RefCell::default(),
            effects: RefCell::default(),
            effect_came: Signal::default(),
            reaping: Signal::default(),
            renewals: Cell::default(),
            registry: RefCell::default(),
            jobs: Jobs::default(),
            leads_since: Cell::default(),
            reigns_ended: Signal::default(),
            began: world.now(),
        });
        master.run(world, |master, world| async move { master.write(&world).await });
        master.run(world, |master, world| async move { master.stand(&world).await });
        master.run(world, |master, world| async move { master.apply(&world).await });
        master.run(world, |master, world| async move { master.work_effects(&world).await });
        master.run(world, |master, world| async move { master.reign(&world).await });
        if !master.votes() {
            master.run(world, |master, world| async move { master.join(&world).await });
        }
        master
    }

    fn run<F: Future<Output = ()> + 'static>(
        self: &Rc<Self>,
        world: &Rc<World>,
        work: impl FnOnce(Rc<Self>, Rc<World>) -> F,
    ) {
        world.executor.spawn(self.node(), work(Rc::clone(self), Rc::clone(world)));
    }

    /// Where it is.
    pub(crate) fn node(&self) -> Node {
        Node::Master(self.number)
    }

    /// The master's own clock.
    pub(crate) fn now(&self, world: &World) -> BootInstant {
        BootInstant::from_boot(world.clock(self.node()))
    }

    /// The last entry that its rows have.
    pub(crate) fn applied_index(&self) -> LogIndex {
        LogIndex::new(self.applied.get())
    }

    /// Whether nobody may ask a mount's under-store, as this master's rows have it.
    pub(crate) fn is_in_maintenance(&self, world: &World, mount: usize) -> bool {
        let record = query::mount(&*self.store.borrow(), world.mounts[mount].id);
        record.expect("memory can be read").is_some_and(|mount| mount.options.is_in_maintenance())
    }
}
