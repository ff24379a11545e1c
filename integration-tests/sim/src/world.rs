//! The whole of one run: under-stores, a master, clients, workers, the network between them, and what befalls them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use forebay_metadata::{Coherence, Command, Format, Freshness, Inode, Mount, MountOptions, OnOutage, query};
use forebay_types::{
    ByteCount, ClusterId, ClusterMap, ErrorKind, InodeId, MountId, NamespacePath, PAGE_LENGTH, Timestamp,
    WorkerId,
};

use crate::executor::{Executor, Node, Sleep};
use crate::limits::DRIFT_MILLIONTHS;
use crate::master::{INCARNATION, Master, log::Log};
use crate::network::Network;
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::random::Random;
use crate::store::UnderStore;
use crate::trace::Trace;
use crate::worker::{Disk, Worker};

/// How many clients there are.
pub(crate) const CLIENTS: u8 = 3;
/// How many workers there are.
pub(crate) const WORKERS: u8 = 2;
const MOUNTS: usize = 2;

/// A mount, and its under-store.
#[derive(Debug)]
pub(crate) struct MountedStore {
    /// Its place in the namespace.
    pub(crate) path: NamespacePath,
    /// Its options.
    pub(crate) options: MountOptions,
    /// Its root directory.
    pub(crate) root: InodeId,
    /// Its id.
    pub(crate) id: MountId,
    /// The truth.
    pub(crate) store: UnderStore,
}

impl MountedStore {
    /// Whether clients may go on using what they were told.
    pub(crate) fn grants(&self) -> bool {
        self.options.coherence == Coherence::Relaxed
            && self.options.freshness != Freshness::Bound(Duration::ZERO)
    }

    /// Whether nothing is told past the freshness, not even in an outage.
    pub(crate) fn fails_in_outage(&self) -> bool {
        self.options.on_outage == OnOutage::Fail
    }

    /// How old an answer may be.
    pub(crate) fn freshness(&self) -> Freshness {
        self.options.freshness
    }
}

/// A clock that began at another time and runs a little faster or slower.
#[derive(Clone, Copy, Debug)]
struct Clock {
    begin: Duration,
    /// In millionths of the true speed.
    speed: u64,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    /// What is to happen.
    pub(crate) plan: Plan,
    /// Runs the actors.
    pub(crate) executor: Executor,
    /// What happened.
    pub(crate) trace: Trace,
    /// What is allowed.
    pub(crate) oracle: Oracle,
    /// The way between nodes.
    pub(crate) network: Network,
    /// The under-stores.
    pub(crate) mounts: Vec<MountedStore>,
    /// What survives the master.
    pub(crate) log: Log,
    /// What survives the workers.
    pub(crate) disks: Vec<Disk>,
    /// How many steps were done.
    pub(crate) step: Cell<u64>,
    master: RefCell<Option<Rc<Master>>>,
    workers: RefCell<BTreeMap<u8, Rc<Worker>>>,
    clocks: BTreeMap<Node, Clock>,
    /// By how many nanoseconds the time of day is off.
    pub(crate) time_of_day_off: Cell<i64>,
    dice: RefCell<BTreeMap<&'static str, Random>>,
    /// Where moments of the standard library count from: they cannot be made otherwise.
    epoch: Instant,
}

impl World {
    /// A world in which nothing has happened, with a master, clients and workers that are about to begin.
    pub(crate) fn new(plan: Plan) -> Rc<Self> {
        let mut random = Random::new(plan.seed, "world");
        let nodes = (0..CLIENTS)
            .map(Node::Client)
            .chain((0..WORKERS).map(Node::Worker))
            .chain([Node::Master, Node::Environment]);
        let clocks = nodes.map(|node| (node, some_clock(&mut random))).collect();
        let log = Log::default();
        let mut options: Vec<_> = (0..MOUNTS).map(|_| some_options(&mut random)).collect();
        let mut outages = Random::new(plan.seed, "on-outage");
        for options in options.iter_mut().filter(|_| outages.chance(1, 3)) {
            options.on_outage = OnOutage::Fail;
        }
        let mounts = (0..MOUNTS)
            .zip(&options)
            .map(|(number, options)| MountedStore {
                path: mount_path(number),
                options: options.clone(),
                // The log gives the ids in this order; `begin` looks.
                root: InodeId::new(0),
                id: MountId::new(0),
                store: UnderStore::new(&mut random),
            })
            .collect();
        let mut world = Self {
            plan,
            executor: Executor::default(),
            trace: Trace::default(),
            oracle: Oracle::default(),
            network: Network::default(),
            mounts,
            log,
            disks: (0..WORKERS).map(|_| Disk::default()).collect(),
            step: Cell::default(),
            master: RefCell::default(),
            workers: RefCell::default(),
            clocks,
            time_of_day_off: Cell::default(),
            dice: RefCell::default(),
            epoch: Instant::now(),
        };
        world.begin();
        let world = Rc::new(world);
        world.log.compare_replicas(&world);
        world.start_master();
        (0..CLIENTS).for_each(|number| crate::client::Client::start(&world, number));
        (0..WORKERS).for_each(|number| world.start_worker(number));
        crate::trouble::begin(&world);
        world
    }

    /// Formats and mounts, before anybody is there.
    fn begin(&mut self) {
        let format =
            Format { cluster: ClusterId::new([7; 16]), incarnation: INCARNATION, capability_secret: [7; 32] };
        let mut commands = vec![Command::Format(format)];
        commands.extend(self.mounts.iter().enumerate().map(|(number, mount)| {
            let uri = format!("s3://store-{number}").parse().expect("a legal URI");
            Command::Mount(Mount { path: mount.path.clone(), uri, options: mount.options.clone() })
        }));
        self.log.begin(self.time_of_day(), commands);
        let state = self.log.store.borrow();
        for record in query::mounts(&*state).expect("memory can be read") {
            let mount = self.mounts.iter_mut().find(|mount| mount.path == record.path);
            let mount = mount.expect("only these were mounted");
            (mount.root, mount.id) = (record.root, record.id);
        }
    }

    /// Lets go of all actors, which own the world that owns them.
    pub(crate) fn end(&self) {
        drop(self.master.take());
        self.workers.borrow_mut().clear();
        self.executor.end();
    }

    /// Draws for one purpose.
    pub(crate) fn dice<T>(&self, purpose: &'static str, draw: impl FnOnce(&mut Random) -> T) -> T {
        let mut dice = self.dice.borrow_mut();
        draw(dice.entry(purpose).or_insert_with(|| Random::new(self.plan.seed, purpose)))
    }

    /// The true time.
    pub(crate) fn now(&self) -> Duration {
        self.executor.now()
    }

    pub(crate) fn sleep(&self, time: Duration) -> Sleep {
        self.executor.sleep(time)
    }

    /// Adds a line to the trace.
    pub(crate) fn note(&self, what: std::fmt::Arguments<'_>) {
        self.trace.add(self.now(), what);
    }

    /// The time since a node's boot, by its own clock.
    pub(crate) fn clock(&self, node: Node) -> Duration {
        let Clock { begin, speed } = self.clocks[&node];
        let micros = u64::try_from(self.now().as_micros()).expect("a short run");
        begin
            + Duration::from_micros(
                micros + micros * speed / 1_000_000 - micros * DRIFT_MILLIONTHS / 1_000_000,
            )
    }

    /// The same as the standard library has it.
    pub(crate) fn instant(&self, node: Node) -> Instant {
        self.epoch + self.clock(node)
    }

    /// The time of day at the master, which jumps.
    pub(crate) fn time_of_day(&self) -> Timestamp {
        const BEGIN: i64 = 1_700_000_000_000_000_000;
        let now = i64::try_from(self.now().as_nanos()).expect("a short run");
        Timestamp::from_nanos(BEGIN + now + self.time_of_day_off.get())
    }

    /// The master, while it runs.
    pub(crate) fn leader(&self) -> Result<Rc<Master>, ErrorKind> {
        self.master.borrow().clone().ok_or(ErrorKind::Unavailable)
    }

    /// The cluster map, as clients have it.
    pub(crate) fn map(&self) -> ClusterMap {
        self.leader().map(|leader| leader.registry.borrow().map()).unwrap_or_default()
    }

    pub(crate) fn worker(&self, node: Node) -> Option<Rc<Worker>> {
        let Node::Worker(number) = node else { return None };
        self.workers.borrow().get(&number).cloned()
    }

    pub(crate) fn node_of(&self, id: WorkerId) -> Option<Node> {
        (0..WORKERS).find(|number| u32::from(*number) + 1 == id.get()).map(Node::Worker)
    }

    /// Whether somebody is at home.
    pub(crate) fn is_up(&self, node: Node) -> bool {
        match node {
            Node::Master => self.master.borrow().is_some(),
            Node::Worker(number) => self.workers.borrow().contains_key(&number),
            Node::Client(_) | Node::Environment | Node::Trouble => true,
        }
    }

    /// The number of the mount that an inode lies in.
    pub(crate) fn mount_of(&self, inode: &Inode) -> Option<usize> {
        inode.mount.and_then(|id| self.mount_number(id))
    }

    /// Whether nobody may ask a mount's under-store, as the state has it.
    pub(crate) fn is_in_maintenance(&self, mount: usize) -> bool {
        let record = query::mount(&*self.log.store.borrow(), self.mounts[mount].id);
        record.expect("memory can be read").is_some_and(|mount| mount.options.is_in_maintenance())
    }

    pub(crate) fn mount_number(&self, id: MountId) -> Option<usize> {
        self.mounts.iter().position(|mount| mount.id == id)
    }

    pub(crate) fn start_master(self: &Rc<Self>) {
        let master = Master::start(self);
        *self.master.borrow_mut() = Some(master);
    }

    /// The master ends where it is; what it was asked is not answered.
    pub(crate) fn crash_master(&self) {
        drop(self.master.take());
        self.executor.crash(Node::Master);
        self.log.crash();
    }

    pub(crate) fn start_worker(self: &Rc<Self>, number: u8) {
        let worker = Worker::start(self, number);
        self.workers.borrow_mut().insert(number, worker);
    }

    pub(crate) fn crash_worker(&self, number: u8) {
        self.workers.borrow_mut().remove(&number);
        self.executor.crash(Node::Worker(number));
    }
}

fn mount_path(number: usize) -> NamespacePath {
    format!("/m{number}").parse().expect("a legal path")
}

/// Short bounds, so that a run sees many of them, and now and then the default.
fn some_options(random: &mut Random) -> MountOptions {
    const SECONDS: [u64; 6] = [0, 1, 3, 10, 20, 60];
    let freshness = Freshness::Bound(Duration::from_secs(SECONDS[random.index(SECONDS.len())]));
    let coherence = if random.chance(1, 5) { Coherence::Strict } else { Coherence::Relaxed };
    MountOptions {
        freshness,
        coherence,
        block_length: ByteCount::new(PAGE_LENGTH),
        ..MountOptions::default()
    }
}

fn some_clock(random: &mut Random) -> Clock {
    let begin = Duration::from_secs(100 + random.below(100_000));
    Clock { begin, speed: random.below(2 * DRIFT_MILLIONTHS + 1) }
}
